"""GetBucketOwnershipControls, PutBucketOwnershipControls, DeleteBucketOwnershipControls."""

import pytest

from conftest import fails, new_bucket_name

ENFORCED = {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}


def test_a_new_bucket_is_bucket_owner_enforced(s3, fresh):
    assert s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"] == ENFORCED


def test_bucket_owner_enforced_can_be_put(s3, fresh):
    s3.put_bucket_ownership_controls(Bucket=fresh, OwnershipControls=ENFORCED)
    assert s3.get_bucket_ownership_controls(Bucket=fresh)["OwnershipControls"] == ENFORCED


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
