"""PutBucketAcl, PutObjectAcl, PutBucketOwnershipControls and DeleteBucketOwnershipControls where ACLs are disabled."""

import pytest

from conftest import fails, new_bucket_name


@pytest.mark.parametrize("acl", ["private", "public-read", "public-read-write", "authenticated-read"])
def test_a_bucket_acl_can_not_be_set_where_acls_are_disabled(s3, fresh, acl):
    with fails("AccessControlListNotSupported", 400):
        s3.put_bucket_acl(Bucket=fresh, ACL=acl)


@pytest.mark.parametrize("acl", ["private", "public-read", "bucket-owner-read"])
def test_an_object_acl_can_not_be_set_where_acls_are_disabled(s3, fresh, acl):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    with fails("AccessControlListNotSupported", 400):
        s3.put_object_acl(Bucket=fresh, Key="k", ACL=acl)


def test_a_grant_can_not_be_set_where_acls_are_disabled(s3, fresh):
    with fails("AccessControlListNotSupported", 400):
        s3.put_bucket_acl(Bucket=fresh, GrantRead="uri=http://acs.amazonaws.com/groups/global/AllUsers")


def test_the_acl_of_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.put_bucket_acl(Bucket=new_bucket_name(), ACL="private")


def test_anonymous_requests_can_not_set_an_acl(wire, s3, fresh):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    for path in (f"/{fresh}", f"/{fresh}/k"):
        wire.anonymous("PUT", path, {"acl": ""}, {"x-amz-acl": "public-read"}).expect(403, "AccessDenied")
