"""DeleteBucket."""

from conftest import fails, new_bucket_name


def test_an_empty_bucket_is_deleted_with_204(s3, buckets):
    name = buckets()
    answer = s3.delete_bucket(Bucket=name)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("404", 404):
        s3.head_bucket(Bucket=name)


def test_a_bucket_with_an_object_is_bucket_not_empty(s3, fresh):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    with fails("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=fresh)
    s3.head_object(Bucket=fresh, Key="k")


def test_a_bucket_whose_objects_are_deleted_can_be_deleted(s3, buckets):
    name = buckets()
    s3.put_object(Bucket=name, Key="k", Body=b"")
    s3.delete_object(Bucket=name, Key="k")
    s3.delete_bucket(Bucket=name)


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.delete_bucket(Bucket=new_bucket_name())


def test_a_name_can_be_used_again_and_begins_anew(s3, buckets):
    name = buckets()
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"s3:PutObject",' \
        f'"Resource":"arn:aws:s3:::{name}/x"}}]}}'
    s3.put_bucket_policy(Bucket=name, Policy=policy)
    s3.delete_bucket(Bucket=name)
    buckets(name)
    with fails("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=name)


def test_anonymous_requests_can_not_delete_buckets(wire, s3, fresh):
    wire.anonymous("DELETE", f"/{fresh}").expect(403, "AccessDenied")
    s3.head_bucket(Bucket=fresh)
