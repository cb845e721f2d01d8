"""PutPublicAccessBlock, GetPublicAccessBlock, DeletePublicAccessBlock."""

import json

import pytest

from conftest import fails, new_bucket_name

NAMES = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"]


def public(bucket):
    return json.dumps({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}]})


@pytest.mark.parametrize("name", NAMES)
def test_a_setting_can_be_on_alone(s3, fresh, name):
    s3.put_public_access_block(Bucket=fresh, PublicAccessBlockConfiguration={name: True})
    found = s3.get_public_access_block(Bucket=fresh)["PublicAccessBlockConfiguration"]
    assert found == {other: other == name for other in NAMES}


def test_delete_removes_the_configuration_with_204(s3, fresh):
    assert s3.delete_public_access_block(Bucket=fresh)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchPublicAccessBlockConfiguration", 404):
        s3.get_public_access_block(Bucket=fresh)


def test_restrict_public_buckets_closes_a_public_bucket(wire, s3, fresh):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    s3.delete_public_access_block(Bucket=fresh)
    s3.put_bucket_policy(Bucket=fresh, Policy=public(fresh))
    wire.anonymous("GET", f"/{fresh}/k").expect(200)
    s3.put_public_access_block(Bucket=fresh, PublicAccessBlockConfiguration={"RestrictPublicBuckets": True})
    wire.anonymous("GET", f"/{fresh}/k").expect(403, "AccessDenied")
    s3.get_object(Bucket=fresh, Key="k")


def test_block_public_policy_leaves_a_policy_that_is_there(wire, s3, fresh):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    s3.delete_public_access_block(Bucket=fresh)
    s3.put_bucket_policy(Bucket=fresh, Policy=public(fresh))
    s3.put_public_access_block(Bucket=fresh, PublicAccessBlockConfiguration={"BlockPublicPolicy": True})
    wire.anonymous("GET", f"/{fresh}/k").expect(200)
    with fails("AccessDenied", 403):
        s3.put_bucket_policy(Bucket=fresh, Policy=public(fresh))


@pytest.mark.parametrize("document", [b"", b"x", b"<Other/>", b"<PublicAccessBlockConfiguration><BlockPublicAcls>yes</BlockPublicAcls></PublicAccessBlockConfiguration>"])
def test_a_document_that_is_none_is_malformed_xml(wire, s3, fresh, document):
    reply = wire.call("PUT", f"/{fresh}", {"publicAccessBlock": ""}, body=document)
    assert reply.status == 400 and reply.code in ("MalformedXML", "MissingRequestBodyError"), reply
    assert all(s3.get_public_access_block(Bucket=fresh)["PublicAccessBlockConfiguration"].values())


@pytest.mark.parametrize("operation", ["get_public_access_block", "delete_public_access_block"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, operation):
    with fails("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=new_bucket_name())


def test_anonymous_requests_can_not_lift_it(wire, s3, fresh):
    wire.anonymous("DELETE", f"/{fresh}", {"publicAccessBlock": ""}).expect(403, "AccessDenied")
    assert all(s3.get_public_access_block(Bucket=fresh)["PublicAccessBlockConfiguration"].values())
