"""HeadObject."""

import pytest

import sums
from conftest import fails

BODY = b"what is stored"


@pytest.fixture(scope="module")
def stored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="head-object", Body=BODY, Metadata={"a": "b"}, CacheControl="no-store")
    return {"Bucket": bucket, "Key": "head-object"}


def test_returns_the_headers_of_get_without_a_body(wire, stored):
    path = f"/{stored['Bucket']}/{stored['Key']}"
    got, head = wire.call("GET", path), wire.call("HEAD", path)
    assert head.expect(200).body == b""
    changing = ("date", "x-amz-request-id", "x-amz-id-2", "connection")
    shown = [{name: value for name, value in reply.headers if name not in changing} for reply in (got, head)]
    assert shown[0] == shown[1]


def test_a_key_that_does_not_exist_is_404_without_a_body(wire, s3, bucket):
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key="none/there")
    assert wire.call("HEAD", f"/{bucket}/none/there").expect(404).body == b""


def test_if_match_of_another_etag_is_412_without_a_body(s3, stored):
    with fails("412", 412):
        s3.head_object(**stored, IfMatch='"other"')


def test_if_none_match_of_the_etag_is_304(s3, stored):
    with fails("304", 304):
        s3.head_object(**stored, IfNoneMatch=sums.etag(BODY))


def test_if_match_of_the_etag_is_200(s3, stored):
    assert s3.head_object(**stored, IfMatch=sums.etag(BODY))["ETag"] == sums.etag(BODY)


def test_a_range_is_206_with_its_length(wire, stored):
    reply = wire.call("HEAD", f"/{stored['Bucket']}/{stored['Key']}", headers={"range": "bytes=2-5"}).expect(206)
    assert reply.header("content-length") == "4"
    assert reply.header("content-range") == f"bytes 2-5/{len(BODY)}"


def test_a_range_beyond_the_object_is_416(s3, stored):
    with fails("416", 416):
        s3.head_object(**stored, Range="bytes=99-")


def test_checksum_mode_enabled_returns_the_checksum(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY, ChecksumAlgorithm="SHA256")
    found = s3.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
    assert found["ChecksumSHA256"] == sums.of("SHA256", BODY) and found["ChecksumType"] == "FULL_OBJECT"
    assert "ChecksumSHA256" not in s3.head_object(Bucket=bucket, Key=key)


def test_a_response_parameter_overrides_the_header(s3, stored):
    assert s3.head_object(**stored, ResponseContentType="image/png")["ContentType"] == "image/png"


def test_part_1_of_an_object_in_one_piece_is_206(s3, stored):
    found = s3.head_object(**stored, PartNumber=1)
    assert found["ResponseMetadata"]["HTTPStatusCode"] == 206 and found["ContentLength"] == len(BODY)
    assert "PartsCount" not in found


def test_a_part_that_does_not_exist_is_416(s3, stored):
    with fails("416", 416):
        s3.head_object(**stored, PartNumber=2)


def test_an_anonymous_request_is_403_without_a_body(wire, stored):
    assert wire.anonymous("HEAD", f"/{stored['Bucket']}/{stored['Key']}").expect(403).body == b""


def test_an_empty_object_has_length_0(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    found = s3.head_object(Bucket=bucket, Key=key)
    assert found["ContentLength"] == 0 and found["ETag"] == sums.etag(b"")


def test_the_standard_storage_class_is_not_shown(wire, stored):
    reply = wire.call("HEAD", f"/{stored['Bucket']}/{stored['Key']}")
    assert reply.header("x-amz-storage-class") is None
