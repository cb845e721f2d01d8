"""ListParts."""

import pytest

import sums
from conftest import fails


@pytest.fixture
def part(bucket, key, upload):
    return {"Bucket": bucket, "Key": key, "UploadId": upload}


@pytest.fixture
def five(s3, part):
    for number in range(1, 6):
        s3.upload_part(**part, PartNumber=number * 10, Body=b"x" * number)
    return part


def numbers(answer):
    return [found["PartNumber"] for found in answer.get("Parts", [])]


def test_lists_each_part_with_number_etag_size_and_time(s3, five):
    answer = s3.list_parts(**five)
    assert numbers(answer) == [10, 20, 30, 40, 50]
    for index, found in enumerate(answer["Parts"], 1):
        assert found["ETag"] == sums.etag(b"x" * index) and found["Size"] == index and found["LastModified"]


def test_names_the_upload_its_owner_initiator_and_storage_class(s3, five):
    answer = s3.list_parts(**five)
    assert (answer["Bucket"], answer["Key"], answer["UploadId"]) == (five["Bucket"], five["Key"], five["UploadId"])
    assert answer["Owner"]["ID"] and answer["Initiator"]["ID"] and answer["StorageClass"] == "STANDARD"
    assert answer["MaxParts"] == 1000 and answer["IsTruncated"] is False and answer["PartNumberMarker"] == 0


def test_max_parts_limits_the_page_and_the_marker_goes_on(s3, five):
    first = s3.list_parts(**five, MaxParts=2)
    assert numbers(first) == [10, 20] and first["IsTruncated"] and first["NextPartNumberMarker"] == 20
    second = s3.list_parts(**five, MaxParts=2, PartNumberMarker=20)
    assert numbers(second) == [30, 40] and second["PartNumberMarker"] == 20
    last = s3.list_parts(**five, MaxParts=2, PartNumberMarker=40)
    assert numbers(last) == [50] and last["IsTruncated"] is False


def test_a_marker_between_parts_begins_after_it(s3, five):
    assert numbers(s3.list_parts(**five, PartNumberMarker=25)) == [30, 40, 50]


def test_a_marker_after_the_last_part_is_an_empty_page(s3, five):
    answer = s3.list_parts(**five, PartNumberMarker=50)
    assert numbers(answer) == [] and answer["IsTruncated"] is False


@pytest.mark.parametrize("name", ["max-parts", "part-number-marker"])
@pytest.mark.parametrize("value", ["-1", "x"])
def test_a_number_that_is_none_is_an_invalid_argument(wire, part, name, value):
    query = {"uploadId": part["UploadId"], name: value}
    wire.call("GET", f"/{part['Bucket']}/{part['Key']}", query).expect(400, "InvalidArgument")


def test_an_upload_without_parts_is_an_empty_list(s3, part):
    assert numbers(s3.list_parts(**part)) == []


def test_an_upload_that_does_not_exist_is_no_such_upload(s3, part):
    with fails("NoSuchUpload", 404):
        s3.list_parts(**{**part, "UploadId": "0" * 32})


@pytest.mark.parametrize("algorithm,kind", [
    ("SHA1", "COMPOSITE"),
    ("SHA256", "COMPOSITE"),
    ("CRC32", "COMPOSITE"),
    ("CRC32", "FULL_OBJECT"),
    ("CRC64NVME", "FULL_OBJECT"),
])
def test_parts_show_the_uploads_checksums(s3, bucket, key, algorithm, kind):
    named = {"Bucket": bucket, "Key": key}
    made = s3.create_multipart_upload(**named, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    named["UploadId"] = made["UploadId"]
    s3.upload_part(**named, PartNumber=1, Body=b"x", **{sums.field(algorithm): sums.of(algorithm, b"x")})
    answer = s3.list_parts(**named)
    assert (answer["ChecksumAlgorithm"], answer["ChecksumType"]) == (algorithm, kind)
    assert answer["Parts"][0][sums.field(algorithm)] == sums.of(algorithm, b"x")
    s3.abort_multipart_upload(**named)


def test_anonymous_requests_can_not_list_parts(wire, part):
    query = {"uploadId": part["UploadId"]}
    wire.anonymous("GET", f"/{part['Bucket']}/{part['Key']}", query).expect(403, "AccessDenied")
