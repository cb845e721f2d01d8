"""GetBucketOwnershipControls, PutBucketOwnershipControls, DeleteBucketOwnershipControls."""

import pytest

from conftest import fails, make_bucket, new_bucket_name

ENFORCED = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_a_new_bucket_is_bucket_owner_enforced(s3, fresh):
    assert s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"] == ENFORCED


def test_bucket_owner_enforced_can_be_put(s3, fresh):
    s3.put_bucket_ownership_controls(Bucket=fresh, OwnershipControls=ENFORCED)
    assert s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"] == ENFORCED


def controls(ownership):
    return {"Rules": [{"ObjectOwnership": ownership}]}


@pytest.mark.parametrize("ownership", ["BucketOwnerPreferred", "ObjectWriter"])
def test_one_with_acls_can_be_put_and_taken_back(s3, fresh, ownership):
    s3.put_bucket_ownership_controls(Bucket=fresh, OwnershipControls=controls(ownership))
    assert s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"] == controls(ownership)
    s3.put_bucket_ownership_controls(Bucket=fresh, OwnershipControls=ENFORCED)
    assert s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"] == ENFORCED


def test_after_delete_there_are_none_and_acls_are_enabled(s3, fresh):
    assert s3.delete_bucket_ownership_controls(Bucket=fresh)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("OwnershipControlsNotFoundError", 404):
        s3.get_bucket_ownership_controls(Bucket=fresh)
    s3.put_bucket_acl(Bucket=fresh, ACL="private")
    s3.delete_bucket_ownership_controls(Bucket=fresh)


@pytest.mark.parametrize("ownership", ["BucketOwnerPreferred", "ObjectWriter"])
def test_a_bucket_is_created_with_one(s3, buckets, ownership):
    name = buckets(create=False)
    make_bucket(s3, name, ObjectOwnership=ownership, ACL="private")
    assert s3.get_bucket_ownership_controls(Bucket=name)["OwnershipControls"] == controls(ownership)
    block = s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"]
    assert all(block.values()) and len(block) == 4, block


@pytest.mark.parametrize("acl", ["public-read", "public-read-write", "authenticated-read"])
def test_a_bucket_can_not_be_created_with_a_public_acl(s3, buckets, acl):
    name = buckets(create=False)
    with fails("InvalidBucketAclWithBlockPublicAccessError", 400):
        make_bucket(s3, name, ObjectOwnership="ObjectWriter", ACL=acl)
    with fails("NoSuchBucket", 404):
        s3.get_bucket_acl(Bucket=name)


def test_acls_can_not_be_disabled_while_the_bucket_acl_grants_others(s3, fresh):
    s3.put_bucket_ownership_controls(Bucket=fresh, OwnershipControls=controls("ObjectWriter"))
    s3.put_bucket_acl(Bucket=fresh, ACL="log-delivery-write")
    with fails("InvalidBucketAclWithObjectOwnership", 400):
        s3.put_bucket_ownership_controls(Bucket=fresh, OwnershipControls=ENFORCED)
    s3.put_bucket_acl(Bucket=fresh, ACL="private")
    s3.put_bucket_ownership_controls(Bucket=fresh, OwnershipControls=ENFORCED)


@pytest.mark.parametrize("document", [
    b"", b"x", b"<Other/>", b"<OwnershipControls/>", b"<OwnershipControls><Rule/></OwnershipControls>",
    b"<OwnershipControls><Rule><ObjectOwnership>Nobody</ObjectOwnership></Rule></OwnershipControls>",
])
def test_a_document_that_is_none_is_malformed_xml(wire, fresh, document):
    reply = wire.call("PUT", f"/{fresh}", {"ownershipControls": ""}, body=document)
    assert reply.status == 400 and reply.code in ("MalformedXML", "MissingRequestBodyError"), reply


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    for operation in (s3.get_bucket_ownership_controls, s3.delete_bucket_ownership_controls):
        with fails("NoSuchBucket", 404):
            operation(Bucket=new_bucket_name())


def test_anonymous_requests_can_not_change_them(wire, s3, fresh):
    wire.anonymous("DELETE", f"/{fresh}", {"ownershipControls": ""}).expect(403, "AccessDenied")
    assert s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"] == ENFORCED
