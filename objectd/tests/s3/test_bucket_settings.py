"""GetBucketLocation, GetBucketAcl, GetObjectAcl, and the settings that a new bucket does not have."""

import pytest

from conftest import fails, new_bucket_name


def test_location_is_the_region(s3, bucket, region):
    expected = None if region == "us-east-1" else region
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] == expected


def test_the_acl_of_a_bucket_gives_its_owner_full_control(s3, bucket):
    answer = s3.get_bucket_acl(Bucket=bucket)
    owner = s3.list_buckets()["Owner"]["ID"]
    assert answer["Owner"]["ID"] == owner
    assert [(grant["Grantee"]["Type"], grant["Grantee"]["ID"], grant["Permission"]) for grant in answer["Grants"]] == [
        ("CanonicalUser", owner, "FULL_CONTROL")
    ]


def test_the_acl_of_an_object_gives_its_owner_full_control(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=b"")
    answer = s3.get_object_acl(Bucket=bucket, Key=key)
    assert [grant["Permission"] for grant in answer["Grants"]] == ["FULL_CONTROL"]


def test_the_acl_of_an_object_that_does_not_exist_is_no_such_key(s3, bucket):
    with fails("NoSuchKey", 404):
        s3.get_object_acl(Bucket=bucket, Key="none/there")


ABSENT = {
    "get_bucket_encryption": "ServerSideEncryptionConfigurationNotFoundError",
    "get_bucket_replication": "ReplicationConfigurationNotFoundError",
    "get_bucket_website": "NoSuchWebsiteConfiguration",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
    "get_bucket_policy": "NoSuchBucketPolicy",
    "get_bucket_policy_status": "NoSuchBucketPolicy",
}


@pytest.mark.parametrize("operation", ABSENT)
def test_a_new_bucket_has_no_such_setting(s3, fresh, operation):
    with fails(ABSENT[operation], 404):
        getattr(s3, operation)(Bucket=fresh)


@pytest.mark.parametrize("operation", [*ABSENT, "get_bucket_location", "get_bucket_acl", "get_bucket_ownership_controls"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, operation):
    with fails("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=new_bucket_name())


@pytest.mark.parametrize("name", ["accelerate", "acl", "cors", "lifecycle", "location", "policy", "tagging", "website"])
def test_an_anonymous_request_for_a_setting_is_access_denied(wire, bucket, name):
    wire.anonymous("GET", f"/{bucket}", {name: ""}).expect(403, "AccessDenied")


@pytest.mark.parametrize("query", [{"acl": "", "policy": ""}, {"torrent": ""}, {"inventory": ""}])
def test_what_is_not_offered_is_not_implemented(wire, bucket, query):
    reply = wire.call("GET", f"/{bucket}", query)
    assert reply.status in (400, 501), reply
