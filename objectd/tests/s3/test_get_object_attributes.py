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


@pytest.fixture(scope="module", params=["SHA256", "CRC32", "CRC64NVME"])
def parted(request, s3, bucket):
    """An object of three parts with checksums: its name, the algorithm, and the parts' bodies."""
    algorithm, named = request.param, {"Bucket": bucket, "Key": f"parted/{request.param}"}
    bodies = [b"x" * (5 << 20), b"y" * (5 << 20), b"end"]
    upload = s3.create_multipart_upload(**named, ChecksumAlgorithm=algorithm)["UploadId"]
    parts = []
    for n, body in enumerate(bodies, 1):
        checksum = {sums.field(algorithm): sums.of(algorithm, body)}
        sent = s3.upload_part(**named, UploadId=upload, PartNumber=n, Body=body, **checksum)
        parts.append({"PartNumber": n, "ETag": sent["ETag"], **checksum})
    s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload={"Parts": parts})
    return named, algorithm, bodies


def listed(parts):
    return [part["PartNumber"] for part in parts["Parts"]]


def test_parts_tell_their_numbers_sizes_and_checksums(s3, parted):
    named, algorithm, bodies = parted
    found = s3.get_object_attributes(**named, ObjectAttributes=["ObjectParts"])["ObjectParts"]
    assert found["Parts"] == [
        {"PartNumber": n, "Size": len(body), sums.field(algorithm): sums.of(algorithm, body)}
        for n, body in enumerate(bodies, 1)
    ]
    assert found["TotalPartsCount"] == 3 and found["IsTruncated"] is False and found["MaxParts"] == 1000
    assert found["PartNumberMarker"] == 0 and "NextPartNumberMarker" not in found


def test_max_parts_limits_the_page_and_the_marker_goes_on(s3, parted):
    asked = {**parted[0], "ObjectAttributes": ["ObjectParts"]}
    first = s3.get_object_attributes(**asked, MaxParts=2)["ObjectParts"]
    assert listed(first) == [1, 2] and first["IsTruncated"] is True and first["MaxParts"] == 2
    assert first["TotalPartsCount"] == 3
    marker = first["NextPartNumberMarker"]
    second = s3.get_object_attributes(**asked, MaxParts=2, PartNumberMarker=marker)["ObjectParts"]
    assert listed(second) == [3] and second["IsTruncated"] is False and second["PartNumberMarker"] == marker == 2


def test_a_marker_past_the_last_part_has_none(s3, parted):
    found = s3.get_object_attributes(**parted[0], ObjectAttributes=["ObjectParts"], PartNumberMarker=3)["ObjectParts"]
    assert "Parts" not in found and found["IsTruncated"] is False and found["TotalPartsCount"] == 3


@pytest.mark.parametrize("name", ["x-amz-max-parts", "x-amz-part-number-marker"])
@pytest.mark.parametrize("value", ["-1", "x", "2147483648"])
def test_a_number_that_is_none_is_an_invalid_argument(wire, parted, name, value):
    headers = {"x-amz-object-attributes": "ObjectParts", name: value}
    path = f"/{parted[0]['Bucket']}/{parted[0]['Key']}"
    wire.call("GET", path, {"attributes": ""}, headers).expect(400, "InvalidArgument")


@pytest.mark.parametrize("call", ["get_object", "head_object"])
def test_a_part_that_is_read_has_its_own_checksum(s3, parted, call):
    named, algorithm, bodies = parted
    for n, body in enumerate(bodies, 1):
        found = getattr(s3, call)(**named, PartNumber=n, ChecksumMode="ENABLED")
        assert found[sums.field(algorithm)] == sums.of(algorithm, body) and found["PartsCount"] == 3


def test_a_copy_in_one_piece_has_no_parts(s3, parted):
    named, _, bodies = parted
    copy = {**named, "Key": named["Key"] + "/copy"}
    s3.copy_object(**copy, CopySource=named)
    found = s3.get_object_attributes(**copy, ObjectAttributes=ALL)
    assert "ObjectParts" not in found and found["ObjectSize"] == sum(map(len, bodies))


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
