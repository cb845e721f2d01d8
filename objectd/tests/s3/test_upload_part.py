"""UploadPart."""

import pytest

import sigv4
import sums
from conftest import fails

BODY = b"a part"
NO_UPLOAD = "0" * 32


@pytest.fixture
def part(bucket, key, upload):
    return {"Bucket": bucket, "Key": key, "UploadId": upload}


def test_returns_the_parts_md5_as_etag(s3, part):
    assert s3.upload_part(**part, PartNumber=1, Body=BODY)["ETag"] == sums.etag(BODY)


def test_a_part_of_the_same_number_is_overwritten(s3, part):
    for body in (b"first", b"second and longer"):
        s3.upload_part(**part, PartNumber=1, Body=body)
    parts = s3.list_parts(**part)["Parts"]
    assert [(found["PartNumber"], found["Size"], found["ETag"]) for found in parts] == [
        (1, 17, sums.etag(b"second and longer"))
    ]


@pytest.mark.parametrize("number", [1, 2, 9999, 10000])
def test_a_part_number_may_be(s3, part, number):
    s3.upload_part(**part, PartNumber=number, Body=BODY)
    assert s3.list_parts(**part)["Parts"][0]["PartNumber"] == number


@pytest.mark.parametrize("number", ["0", "10001", "-1", "x", ""])
def test_a_part_number_out_of_range_is_an_invalid_argument(wire, part, number):
    query = {"partNumber": number, "uploadId": part["UploadId"]}
    wire.call("PUT", f"/{part['Bucket']}/{part['Key']}", query, body=BODY).expect(400, "InvalidArgument")


@pytest.mark.parametrize("made", [NO_UPLOAD, "x", "../.."])
def test_an_upload_that_does_not_exist_is_no_such_upload(wire, bucket, key, made):
    reply = wire.call("PUT", f"/{bucket}/{key}", {"partNumber": "1", "uploadId": made}, body=BODY)
    reply.expect(404, "NoSuchUpload")


def test_an_upload_of_another_key_is_no_such_upload(s3, part):
    with fails("NoSuchUpload", 404):
        s3.upload_part(**{**part, "Key": part["Key"] + "x"}, PartNumber=1, Body=BODY)


def test_an_aborted_upload_is_no_such_upload(s3, part):
    s3.abort_multipart_upload(**part)
    with fails("NoSuchUpload", 404):
        s3.upload_part(**part, PartNumber=1, Body=BODY)


def test_a_wrong_content_md5_is_bad_digest_and_no_part(wire, s3, part):
    query = {"partNumber": "1", "uploadId": part["UploadId"]}
    headers = {"content-md5": sums.md5(b"other")}
    wire.call("PUT", f"/{part['Bucket']}/{part['Key']}", query, headers, BODY).expect(400, "BadDigest")
    assert "Parts" not in s3.list_parts(**part)


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_checksum_of_the_uploads_algorithm_is_returned(wire, bucket, key, algorithm):
    path = f"/{bucket}/{key}"
    made = wire.call("POST", path, {"uploads": ""}, {"x-amz-checksum-algorithm": algorithm}).texts("UploadId")[0]
    headers = {sums.header(algorithm): sums.of(algorithm, BODY)}
    reply = wire.call("PUT", path, {"partNumber": "1", "uploadId": made}, headers, BODY).expect(200)
    assert reply.header(sums.header(algorithm)) == sums.of(algorithm, BODY)
    wire.call("DELETE", path, {"uploadId": made}).expect(204)


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_wrong_checksum_is_bad_digest(wire, part, algorithm):
    query = {"partNumber": "1", "uploadId": part["UploadId"]}
    headers = {sums.header(algorithm): sums.of(algorithm, b"other")}
    wire.call("PUT", f"/{part['Bucket']}/{part['Key']}", query, headers, BODY).expect(400, "BadDigest")


def test_a_checksum_of_another_algorithm_than_the_uploads_is_an_invalid_request(wire, bucket, key):
    path = f"/{bucket}/{key}"
    made = wire.call("POST", path, {"uploads": ""}, {"x-amz-checksum-algorithm": "SHA256"}).texts("UploadId")[0]
    headers = {sums.header("CRC32"): sums.of("CRC32", BODY)}
    wire.call("PUT", path, {"partNumber": "1", "uploadId": made}, headers, BODY).expect(400, "InvalidRequest")
    wire.call("DELETE", path, {"uploadId": made}).expect(204)


def test_a_length_above_five_gibibytes_is_entity_too_large(wire, part):
    query = {"partNumber": "1", "uploadId": part["UploadId"]}
    headers = {"content-length": str((5 << 30) + 1), "expect": "100-continue"}
    reply = wire.call("PUT", f"/{part['Bucket']}/{part['Key']}", query, headers, payload=sigv4.UNSIGNED)
    reply.expect(400, "EntityTooLarge")


def test_an_empty_part_is_taken(s3, part):
    assert s3.upload_part(**part, PartNumber=1, Body=b"")["ETag"] == sums.etag(b"")


def test_anonymous_requests_can_not_upload_a_part(wire, s3, part):
    query = {"partNumber": "1", "uploadId": part["UploadId"]}
    wire.anonymous("PUT", f"/{part['Bucket']}/{part['Key']}", query, body=BODY).expect(403, "AccessDenied")
    assert "Parts" not in s3.list_parts(**part)


def test_parts_may_come_in_any_order(s3, part):
    for number in (3, 1, 2):
        s3.upload_part(**part, PartNumber=number, Body=BODY)
    assert [found["PartNumber"] for found in s3.list_parts(**part)["Parts"]] == [1, 2, 3]
