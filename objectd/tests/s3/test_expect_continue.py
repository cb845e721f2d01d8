"""Expect: 100-continue, as clients of S3 use it. botocore takes the status of an answer without a 100 for that of the
next one on the same connection too, so such an answer must end its connection (RFC 9110 10.1.1)."""

import io

import pytest

from conftest import fails, new_bucket_name


def test_a_refusal_before_the_body_ends_the_connection(wire):
    headers = {"expect": "100-continue", "content-length": "10"}
    reply = wire.anonymous("PUT", f"/{new_bucket_name()}/k", headers=headers)
    assert reply.expect(403).header("connection") == "close"


@pytest.mark.parametrize("body", [b"", b"some"])
def test_after_a_refusal_the_next_request_is_answered_for_itself(s3, bucket, key, body):
    with fails("NoSuchBucket", 404):
        s3.put_object(Bucket=new_bucket_name(), Key=key, Body=io.BytesIO(body))
    s3.put_object(Bucket=bucket, Key=key, Body=io.BytesIO(b"data"))
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"data"


def test_after_an_empty_body_the_next_failure_is_seen(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=io.BytesIO(b""))
    with fails("NoSuchBucket", 404):
        s3.put_object(Bucket=new_bucket_name(), Key=key, Body=io.BytesIO(b"data"))
    with fails("PreconditionFailed", 412):
        s3.put_object(Bucket=bucket, Key=key, Body=io.BytesIO(b""), IfNoneMatch="*")
