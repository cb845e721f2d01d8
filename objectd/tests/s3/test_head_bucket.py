"""HeadBucket."""

from conftest import fails, new_bucket_name


def test_a_bucket_that_exists_is_200_with_its_region(s3, bucket, region):
    answer = s3.head_bucket(Bucket=bucket)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert answer["BucketRegion"] == region


def test_a_bucket_that_does_not_exist_is_404_without_a_body(wire, s3):
    name = new_bucket_name()
    with fails("404", 404):
        s3.head_bucket(Bucket=name)
    assert wire.call("HEAD", f"/{name}").expect(404).body == b""


def test_an_anonymous_request_is_403_without_a_body(wire, bucket):
    assert wire.anonymous("HEAD", f"/{bucket}").expect(403).body == b""


def test_a_trailing_slash_names_the_same_bucket(wire, bucket):
    wire.call("HEAD", f"/{bucket}/").expect(200)


def test_an_invalid_name_is_400(wire):
    wire.call("HEAD", "/Not_A_Bucket").expect(400)


def test_says_whether_the_bucket_is_an_access_point_alias(s3, bucket):
    assert s3.head_bucket(Bucket=bucket)["AccessPointAlias"] is False


def test_an_expected_bucket_owner_that_does_not_own_it_is_403(wire, bucket):
    wire.call("HEAD", f"/{bucket}", headers={"x-amz-expected-bucket-owner": "111122223333"}).expect(403)
