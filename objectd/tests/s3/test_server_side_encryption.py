"""x-amz-server-side-encryption on the operations that make and read objects (SSE-S3)."""

import hashlib

import pytest

from conftest import fails

PART = 5 << 20
SIZES = [0, 1, 3000, 70_000, (1 << 20) + 1]


@pytest.mark.parametrize("size", SIZES)
def test_an_encrypted_object_comes_back_and_says_so(s3, bucket, key, size):
    body = bytes(at % 251 for at in range(size))
    put = s3.put_object(Bucket=bucket, Key=key, Body=body, ServerSideEncryption="AES256")
    assert put["ServerSideEncryption"] == "AES256"
    assert put["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key=key)
    assert (got["ServerSideEncryption"], got["Body"].read()) == ("AES256", body)
    head = s3.head_object(Bucket=bucket, Key=key)
    assert (head["ServerSideEncryption"], head["ContentLength"]) == ("AES256", size)


@pytest.mark.parametrize("first, last", [(0, 0), (65_519, 65_520), (65_536, 131_071), (199_999, 199_999)])
def test_ranges_of_an_encrypted_object(s3, bucket, key, first, last):
    body = bytes(at % 251 for at in range(200_000))
    s3.put_object(Bucket=bucket, Key=key, Body=body, ServerSideEncryption="AES256")
    got = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={first}-{last}")
    assert got["Body"].read() == body[first : last + 1]


def test_an_object_that_nobody_asked_to_encrypt_does_not_say_it_is(s3, fresh):
    assert "ServerSideEncryption" not in s3.put_object(Bucket=fresh, Key="k", Body=b"x")
    assert "ServerSideEncryption" not in s3.head_object(Bucket=fresh, Key="k")


def test_a_multipart_upload_is_encrypted_as_it_was_created(s3, bucket, key):
    created = s3.create_multipart_upload(Bucket=bucket, Key=key, ServerSideEncryption="AES256")
    named = {"Bucket": bucket, "Key": key, "UploadId": created["UploadId"]}
    parts = []
    for number, body in ((1, b"a" * PART), (2, b"b" * 1000)):
        part = s3.upload_part(**named, PartNumber=number, Body=body)
        assert part["ServerSideEncryption"] == "AES256"
        parts.append({"PartNumber": number, "ETag": part["ETag"]})
    done = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    assert (created["ServerSideEncryption"], done["ServerSideEncryption"]) == ("AES256", "AES256")
    got = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes={PART - 2}-{PART + 1}")
    assert (got["ServerSideEncryption"], got["Body"].read()) == ("AES256", b"aabb")


def test_a_copy_is_encrypted_as_it_asks(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x" * 5000)
    source = {"Bucket": bucket, "Key": key}
    copied = s3.copy_object(Bucket=bucket, Key=key + "2", CopySource=source, ServerSideEncryption="AES256")
    assert copied["ServerSideEncryption"] == "AES256"
    assert s3.get_object(Bucket=bucket, Key=key + "2")["Body"].read() == b"x" * 5000


def test_a_copy_to_itself_that_encrypts_is_a_change(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    source = {"Bucket": bucket, "Key": key}
    s3.copy_object(Bucket=bucket, Key=key, CopySource=source, ServerSideEncryption="AES256")
    assert s3.head_object(Bucket=bucket, Key=key)["ServerSideEncryption"] == "AES256"


def test_an_unknown_method_is_an_invalid_argument(wire, bucket, key):
    headers = {"x-amz-server-side-encryption": "AES512"}
    wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=b"x").expect(400, "InvalidArgument")


def test_the_header_is_not_for_reads(wire, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x", ServerSideEncryption="AES256")
    headers = {"x-amz-server-side-encryption": "AES256"}
    wire.call("GET", f"/{bucket}/{key}", headers=headers).expect(400)


def test_a_key_of_kms_needs_the_method_of_kms(s3, bucket, key):
    with fails("InvalidArgument", 400):
        s3.put_object(Bucket=bucket, Key=key, Body=b"x", ServerSideEncryption="AES256", SSEKMSKeyId="k")


def test_customer_keys_are_refused_over_plain_http(wire, bucket, key):
    if wire.endpoint.scheme == "https":
        pytest.skip("the endpoint speaks HTTPS")
    headers = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        "x-amz-server-side-encryption-customer-key-md5": "TFNUXHPR3VmXlQt5LNKDvQ==",
    }
    reply = wire.call("PUT", f"/{bucket}/{key}", headers=headers, body=b"x").expect(400, "InvalidRequest")
    assert b"must be made over a secure connection" in reply.body


def test_a_policy_that_denies_what_is_not_encrypted(s3, fresh):
    policy = """{"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:PutObject",
        "Resource": "arn:aws:s3:::%s/*", "Condition": {"Null": {"s3:x-amz-server-side-encryption": "true"}}}]}"""
    s3.put_bucket_policy(Bucket=fresh, Policy=policy % fresh)
    with fails("AccessDenied", 403):
        s3.put_object(Bucket=fresh, Key="k", Body=b"x")
    with fails("AccessDenied", 403):
        s3.create_multipart_upload(Bucket=fresh, Key="k")
    s3.put_object(Bucket=fresh, Key="k", Body=b"x", ServerSideEncryption="AES256")
    named = {"Bucket": fresh, "Key": "m"}
    named["UploadId"] = s3.create_multipart_upload(**named, ServerSideEncryption="AES256")["UploadId"]
    part = s3.upload_part(**named, PartNumber=1, Body=b"x")
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
