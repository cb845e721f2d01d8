"""DeleteObject."""

import pytest

import sums
from conftest import fails, new_bucket_name

BODY = b"what is stored"


def test_removes_the_object_with_204(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    answer = s3.delete_object(Bucket=bucket, Key=key)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchKey", 404):
        s3.get_object(Bucket=bucket, Key=key)


def test_a_key_that_does_not_exist_is_204_too(s3, bucket, key):
    assert s3.delete_object(Bucket=bucket, Key=key)["ResponseMetadata"]["HTTPStatusCode"] == 204


def test_twice_is_204_twice(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    for _ in range(2):
        s3.delete_object(Bucket=bucket, Key=key)


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.delete_object(Bucket=new_bucket_name(), Key="k")


def test_in_a_bucket_without_versioning_there_is_no_delete_marker(wire, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    reply = wire.call("DELETE", f"/{bucket}/{key}").expect(204)
    assert reply.header("x-amz-delete-marker") is None and reply.header("x-amz-version-id") is None
    assert reply.body == b""


def test_if_match_of_the_etag_removes_the_object(s3, bucket, key):
    etag = s3.put_object(Bucket=bucket, Key=key, Body=BODY)["ETag"]
    s3.delete_object(Bucket=bucket, Key=key, IfMatch=etag)
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key=key)


def test_if_match_of_another_etag_is_precondition_failed(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    with fails("PreconditionFailed", 412):
        s3.delete_object(Bucket=bucket, Key=key, IfMatch=sums.etag(b"other"))
    s3.head_object(Bucket=bucket, Key=key)


def test_if_match_star_removes_an_object_that_exists(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    s3.delete_object(Bucket=bucket, Key=key, IfMatch="*")
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key=key)


def test_only_the_exact_key_is_removed(s3, fresh):
    for name in ("a", "a/", "a/b", "A", " a"):
        s3.put_object(Bucket=fresh, Key=name, Body=BODY)
    s3.delete_object(Bucket=fresh, Key="a/")
    assert [found["Key"] for found in s3.list_objects_v2(Bucket=fresh)["Contents"]] == [" a", "A", "a", "a/b"]


def test_anonymous_requests_can_not_delete(wire, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    wire.anonymous("DELETE", f"/{bucket}/{key}").expect(403, "AccessDenied")
    s3.head_object(Bucket=bucket, Key=key)


def test_an_expected_bucket_owner_that_does_not_own_it_is_access_denied(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    with fails("AccessDenied", 403):
        s3.delete_object(Bucket=bucket, Key=key, ExpectedBucketOwner="111122223333")
    s3.head_object(Bucket=bucket, Key=key)
