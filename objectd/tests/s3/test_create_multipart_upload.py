"""CreateMultipartUpload."""

import pytest

import sums
from conftest import fails, new_bucket_name


def test_returns_bucket_key_and_upload_id(s3, bucket, key):
    answer = s3.create_multipart_upload(Bucket=bucket, Key=key)
    assert (answer["Bucket"], answer["Key"]) == (bucket, key) and answer["UploadId"]


def test_every_upload_has_an_id_of_its_own(s3, bucket, key):
    ids = {s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"] for _ in range(3)}
    assert len(ids) == 3


def test_the_object_does_not_exist_before_it_is_complete(s3, bucket, key, upload):
    s3.upload_part(Bucket=bucket, Key=key, UploadId=upload, PartNumber=1, Body=b"x")
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key=key)


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.create_multipart_upload(Bucket=new_bucket_name(), Key="k")


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_checksum_algorithm_can_be_chosen_and_is_returned(wire, bucket, key, algorithm):
    reply = wire.call("POST", f"/{bucket}/{key}", {"uploads": ""}, {"x-amz-checksum-algorithm": algorithm})
    assert reply.expect(200).header("x-amz-checksum-algorithm") == algorithm
    kind = "FULL_OBJECT" if algorithm == "CRC64NVME" else "COMPOSITE"
    assert reply.header("x-amz-checksum-type") == kind


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
def test_a_crc_can_be_of_the_full_object(wire, bucket, key, algorithm):
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": "FULL_OBJECT"}
    reply = wire.call("POST", f"/{bucket}/{key}", {"uploads": ""}, headers).expect(200)
    assert reply.header("x-amz-checksum-type") == "FULL_OBJECT"


@pytest.mark.parametrize("algorithm,kind", [("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE")])
def test_a_type_that_the_algorithm_does_not_support_is_an_invalid_request(wire, bucket, key, algorithm, kind):
    headers = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    wire.call("POST", f"/{bucket}/{key}", {"uploads": ""}, headers).expect(400, "InvalidRequest")


def test_an_unknown_algorithm_is_an_invalid_request(wire, bucket, key):
    headers = {"x-amz-checksum-algorithm": "MD4"}
    wire.call("POST", f"/{bucket}/{key}", {"uploads": ""}, headers).expect(400, "InvalidRequest")


def test_an_unknown_type_is_an_invalid_request(wire, bucket, key):
    headers = {"x-amz-checksum-algorithm": "CRC32", "x-amz-checksum-type": "HALF"}
    wire.call("POST", f"/{bucket}/{key}", {"uploads": ""}, headers).expect(400, "InvalidRequest")


def test_an_unknown_storage_class_is_invalid(wire, bucket, key):
    headers = {"x-amz-storage-class": "FOREVER"}
    wire.call("POST", f"/{bucket}/{key}", {"uploads": ""}, headers).expect(400, "InvalidStorageClass")


def test_metadata_too_large_is_refused_at_the_start(wire, bucket, key):
    headers = {"x-amz-meta-a": "x" * 2048}
    wire.call("POST", f"/{bucket}/{key}", {"uploads": ""}, headers).expect(400, "MetadataTooLarge")


def test_an_acl_is_not_supported_where_they_are_disabled(s3, bucket, key):
    with fails("AccessControlListNotSupported", 400):
        s3.create_multipart_upload(Bucket=bucket, Key=key, ACL="public-read")


def test_a_longer_key_is_key_too_long(s3, bucket):
    with fails("KeyTooLongError", 400):
        s3.create_multipart_upload(Bucket=bucket, Key="k" * 1025)


def test_anonymous_requests_can_not_create_one(wire, bucket, key):
    wire.anonymous("POST", f"/{bucket}/{key}", {"uploads": ""}).expect(403, "AccessDenied")
