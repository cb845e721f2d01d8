"""UploadPartCopy."""

import pytest

import sums
from conftest import fails

BODY = bytes(range(256)) * 40


@pytest.fixture(scope="module")
def source(s3, bucket):
    s3.put_object(Bucket=bucket, Key="upload-part-copy", Body=BODY)
    return f"{bucket}/upload-part-copy"


@pytest.fixture
def part(bucket, key, upload):
    return {"Bucket": bucket, "Key": key, "UploadId": upload, "PartNumber": 1}


def test_copies_the_whole_source_as_a_part(s3, part, source):
    answer = s3.upload_part_copy(**part, CopySource=source)["CopyPartResult"]
    assert answer["ETag"] == sums.etag(BODY) and answer["LastModified"]


@pytest.mark.parametrize("first,last", [(0, 0), (0, 10239), (100, 4999), (10239, 10239)])
def test_a_range_copies_its_bytes(s3, part, source, first, last):
    answer = s3.upload_part_copy(**part, CopySource=source, CopySourceRange=f"bytes={first}-{last}")
    assert answer["CopyPartResult"]["ETag"] == sums.etag(BODY[first:last + 1])


@pytest.mark.parametrize("asked", ["bytes=0-10240", "bytes=10240-10241", "bytes=5-", "bytes=-5", "0-5", "bytes=5-4", "x"])
def test_a_range_that_does_not_lie_in_the_source_is_refused(s3, part, source, asked):
    with pytest.raises(s3.exceptions.ClientError) as raised:
        s3.upload_part_copy(**part, CopySource=source, CopySourceRange=asked)
    assert raised.value.response["Error"]["Code"] in ("InvalidArgument", "InvalidRange", "InvalidRequest")


def test_a_source_that_does_not_exist_is_no_such_key(s3, part, bucket):
    with fails("NoSuchKey", 404):
        s3.upload_part_copy(**part, CopySource=f"{bucket}/none/there")


def test_an_upload_that_does_not_exist_is_no_such_upload(s3, part, source):
    with fails("NoSuchUpload", 404):
        s3.upload_part_copy(**{**part, "UploadId": "0" * 32}, CopySource=source)


def test_a_condition_that_fails_for_the_source_is_precondition_failed(s3, part, source):
    with fails("PreconditionFailed", 412):
        s3.upload_part_copy(**part, CopySource=source, CopySourceIfMatch='"other"')


def test_a_condition_that_holds_for_the_source_copies(s3, part, source):
    s3.upload_part_copy(**part, CopySource=source, CopySourceIfMatch=sums.etag(BODY))


def test_a_part_number_out_of_range_is_an_invalid_argument(s3, part, source):
    with fails("InvalidArgument", 400):
        s3.upload_part_copy(**{**part, "PartNumber": 10001}, CopySource=source)


def test_an_object_of_copied_parts_is_their_concatenation(s3, part, source):
    first = s3.upload_part(**part, Body=b"x" * (5 << 20))["ETag"]
    second = s3.upload_part_copy(**{**part, "PartNumber": 2}, CopySource=source, CopySourceRange="bytes=1-9")
    parts = [{"PartNumber": 1, "ETag": first}, {"PartNumber": 2, "ETag": second["CopyPartResult"]["ETag"]}]
    del part["PartNumber"]
    s3.complete_multipart_upload(**part, MultipartUpload={"Parts": parts})
    body = s3.get_object(Bucket=part["Bucket"], Key=part["Key"])["Body"].read()
    assert body == b"x" * (5 << 20) + BODY[1:10]


def test_anonymous_requests_can_not_copy_a_part(wire, part, source):
    query = {"partNumber": "1", "uploadId": part["UploadId"]}
    reply = wire.anonymous("PUT", f"/{part['Bucket']}/{part['Key']}", query, {"x-amz-copy-source": source})
    reply.expect(403, "AccessDenied")
