"""GetObjectAttributes."""

import pytest

import sums
from conftest import fails, new_bucket_name

BODY = b"what is stored"
ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


@pytest.fixture(scope="module")
def stored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="attributes", Body=BODY, ChecksumAlgorithm="SHA256")
    return {"Bucket": bucket, "Key": "attributes"}


def test_the_etag_has_no_quotes(s3, stored):
    assert s3.get_object_attributes(**stored, ObjectAttributes=["ETag"])["ETag"] == sums.etag(BODY).strip('"')


def test_the_size(s3, stored):
    assert s3.get_object_attributes(**stored, ObjectAttributes=["ObjectSize"])["ObjectSize"] == len(BODY)


def test_the_storage_class(s3, stored):
    assert s3.get_object_attributes(**stored, ObjectAttributes=["StorageClass"])["StorageClass"] == "STANDARD"


def test_the_checksum_with_its_type(s3, stored):
    found = s3.get_object_attributes(**stored, ObjectAttributes=["Checksum"])["Checksum"]
    assert found == {"ChecksumSHA256": sums.of("SHA256", BODY), "ChecksumType": "FULL_OBJECT"}


def test_parts_are_not_returned_for_an_object_in_one_piece(s3, stored):
    assert "ObjectParts" not in s3.get_object_attributes(**stored, ObjectAttributes=ALL)


@pytest.mark.parametrize("name", ALL)
def test_only_what_is_asked_for_is_returned(s3, stored, name):
    found = s3.get_object_attributes(**stored, ObjectAttributes=[name])
    assert [other for other in ALL if other in found] == ([name] if name != "ObjectParts" else [])


def test_last_modified_is_a_header(s3, stored):
    found = s3.get_object_attributes(**stored, ObjectAttributes=["ETag"])
    assert found["LastModified"] == s3.head_object(**stored)["LastModified"]


def test_names_in_one_header_with_commas_are_taken(wire, stored):
    headers = {"x-amz-object-attributes": "ETag,ObjectSize"}
    reply = wire.call("GET", f"/{stored['Bucket']}/{stored['Key']}", {"attributes": ""}, headers).expect(200)
    assert reply.texts("ETag") and reply.texts("ObjectSize") == [str(len(BODY))]


def test_an_unknown_attribute_is_an_invalid_argument(s3, stored):
    with fails("InvalidArgument", 400):
        s3.get_object_attributes(**stored, ObjectAttributes=["Colour"])


def test_without_attributes_is_an_invalid_argument(wire, stored):
    wire.call("GET", f"/{stored['Bucket']}/{stored['Key']}", {"attributes": ""}).expect(400, "InvalidArgument")


def test_the_number_of_parts_of_a_multipart_object(s3, bucket, key, upload):
    named = {"Bucket": bucket, "Key": key, "UploadId": upload}
    bodies = [b"x" * (5 << 20), b"end"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**named, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": parts})
    found = s3.get_object_attributes(Bucket=bucket, Key=key, ObjectAttributes=ALL)
    assert found["ObjectParts"]["TotalPartsCount"] == 2 and found["ObjectSize"] == (5 << 20) + 3
    assert found["ETag"] == sums.multipart_etag(bodies).strip('"')


def test_a_key_that_does_not_exist_is_no_such_key(s3, bucket):
    with fails("NoSuchKey", 404):
        s3.get_object_attributes(Bucket=bucket, Key="none/there", ObjectAttributes=["ETag"])


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.get_object_attributes(Bucket=new_bucket_name(), Key="k", ObjectAttributes=["ETag"])


def test_anonymous_requests_can_not_read_attributes(wire, stored):
    headers = {"x-amz-object-attributes": "ETag"}
    path = f"/{stored['Bucket']}/{stored['Key']}"
    wire.anonymous("GET", path, {"attributes": ""}, headers).expect(403, "AccessDenied")
