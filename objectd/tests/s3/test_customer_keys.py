"""Server-side encryption with customers' keys (SSE-C), over HTTPS."""

import base64
import hashlib

import pytest

from conftest import fails

A = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"the first of two customers' keys"}
B = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b"the other of two customers' keys"}
MD5 = base64.b64encode(hashlib.md5(A["SSECustomerKey"]).digest()).decode()
# Botocore encodes a key itself, but not where its MD5 is given, nor for GetObjectAttributes.
ENCODED = {**A, "SSECustomerKey": base64.b64encode(A["SSECustomerKey"]).decode(), "SSECustomerKeyMD5": MD5}
PART = 5 << 20


def of_source(key):
    return {"CopySource" + name: value for name, value in key.items()}


@pytest.fixture
def sealed(secure, bucket, key):
    secure.put_object(Bucket=bucket, Key=key, Body=b"x" * 70_000, **A)
    return {"Bucket": bucket, "Key": key}


@pytest.mark.parametrize("size", [0, 100, 200_000])
def test_the_key_that_it_was_put_with_opens_an_object(secure, bucket, key, size):
    body = bytes(at % 251 for at in range(size))
    put = secure.put_object(Bucket=bucket, Key=key, Body=body, **A)
    assert (put["SSECustomerAlgorithm"], put["SSECustomerKeyMD5"]) == ("AES256", MD5)
    got = secure.get_object(Bucket=bucket, Key=key, **A)
    assert (got["Body"].read(), got["SSECustomerKeyMD5"]) == (body, MD5)
    assert secure.head_object(Bucket=bucket, Key=key, **A)["ContentLength"] == size


def test_a_range_needs_the_key_too(secure, sealed):
    assert secure.get_object(**sealed, **A, Range="bytes=65519-65521")["Body"].read() == b"xxx"
    with fails("InvalidRequest", 400):
        secure.get_object(**sealed, Range="bytes=0-1")


def test_without_the_key_a_read_is_an_invalid_request(secure, sealed):
    with fails("InvalidRequest", 400):
        secure.get_object(**sealed)
    with fails("400", 400):
        secure.head_object(**sealed)
    with fails("InvalidRequest", 400):
        secure.get_object_attributes(**sealed, ObjectAttributes=["ETag"])


def test_with_another_key_access_is_denied(secure, sealed):
    with fails("AccessDenied", 403):
        secure.get_object(**sealed, **B)
    with fails("403", 403):
        secure.head_object(**sealed, **B)


def test_a_key_for_an_object_that_has_none_is_an_invalid_request(secure, bucket, key):
    secure.put_object(Bucket=bucket, Key=key, Body=b"x")
    with fails("InvalidRequest", 400):
        secure.get_object(Bucket=bucket, Key=key, **A)


def test_attributes_need_the_key(secure, sealed):
    answer = secure.get_object_attributes(**sealed, **ENCODED, ObjectAttributes=["ObjectSize"])
    assert answer["ObjectSize"] == 70_000


def test_a_key_whose_md5_is_another_is_an_invalid_argument(secure, bucket, key):
    wrong = base64.b64encode(hashlib.md5(b"another").digest()).decode()
    with fails("InvalidArgument", 400):
        secure.put_object(Bucket=bucket, Key=key, Body=b"x", **{**ENCODED, "SSECustomerKeyMD5": wrong})


def test_a_key_of_another_length_is_an_invalid_argument(secure, bucket, key):
    with fails("InvalidArgument", 400):
        secure.put_object(Bucket=bucket, Key=key, Body=b"x", SSECustomerAlgorithm="AES256", SSECustomerKey=b"short")


def test_both_kinds_of_encryption_are_an_invalid_argument(secure, bucket, key):
    with fails("InvalidArgument", 400):
        secure.put_object(Bucket=bucket, Key=key, Body=b"x", **A, ServerSideEncryption="AES256")


def test_parts_need_the_key_of_their_upload(secure, bucket, key):
    created = secure.create_multipart_upload(Bucket=bucket, Key=key, **A)
    assert created["SSECustomerKeyMD5"] == MD5
    named = {"Bucket": bucket, "Key": key, "UploadId": created["UploadId"]}
    for other in ({}, B):
        with fails("InvalidRequest", 400):
            secure.upload_part(**named, PartNumber=1, Body=b"x", **other)
    parts = []
    for number, body in ((1, b"a" * PART), (2, b"b")):
        part = secure.upload_part(**named, PartNumber=number, Body=body, **A)
        assert part["SSECustomerKeyMD5"] == MD5
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    secure.complete_multipart_upload(**named, MultipartUpload={"Parts": parts}, **A)
    got = secure.get_object(Bucket=bucket, Key=key, **A, Range=f"bytes={PART - 1}-{PART}")
    assert got["Body"].read() == b"ab"


def test_a_copy_reads_with_one_key_and_writes_with_another(secure, sealed, key):
    made = {"Bucket": sealed["Bucket"], "Key": key + "-copy"}
    with fails("InvalidRequest", 400):
        secure.copy_object(**made, CopySource=sealed, **B)
    with fails("AccessDenied", 403):
        secure.copy_object(**made, CopySource=sealed, **of_source(B))
    copied = secure.copy_object(**made, CopySource=sealed, **of_source(A), **B)
    assert copied["SSECustomerAlgorithm"] == "AES256"
    assert secure.get_object(**made, **B)["Body"].read() == b"x" * 70_000
    with fails("AccessDenied", 403):
        secure.get_object(**made, **A)


def test_a_copied_part_reads_with_one_key_and_writes_with_another(secure, sealed, key):
    named = {"Bucket": sealed["Bucket"], "Key": key + "-parts"}
    named["UploadId"] = secure.create_multipart_upload(**named, **B)["UploadId"]
    part = secure.upload_part_copy(**named, PartNumber=1, CopySource=sealed, **of_source(A), **B)
    parts = [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]
    secure.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    del named["UploadId"]
    assert secure.get_object(**named, **B)["Body"].read() == b"x" * 70_000


def test_deleting_and_tagging_need_no_key(secure, sealed):
    secure.put_object_tagging(**sealed, Tagging={"TagSet": [{"Key": "a", "Value": "b"}]})
    secure.delete_object(**sealed)


def test_a_policy_can_deny_customers_keys(secure, fresh):
    policy = """{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::%s/*",
        "Condition": {"Null": {"s3:x-amz-server-side-encryption-customer-algorithm": "false"}}}]}"""
    secure.put_bucket_policy(Bucket=fresh, Policy=policy % fresh)
    with fails("AccessDenied", 403):
        secure.put_object(Bucket=fresh, Key="k", Body=b"x", **A)
    secure.put_object(Bucket=fresh, Key="k", Body=b"x")
