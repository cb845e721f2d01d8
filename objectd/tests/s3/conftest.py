"""Clients, buckets and keys for the cases."""

import contextlib
import os
import uuid

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

import sigv4
import wire as wires


def pytest_sessionstart(session):
    """Without an endpoint nothing may pass for having run."""
    try:
        wires.from_environment()
    except KeyError as missing:
        raise pytest.UsageError(f"{missing} is not set; see README.md")


@pytest.fixture(scope="session")
def wire():
    return wires.from_environment()


@pytest.fixture(scope="session")
def region(wire):
    return wire.keys.region


def client(wire, keys=None, **config):
    settings = {"retries": {"total_max_attempts": 1}, "s3": {"addressing_style": "path"}, **config}
    return boto3.client(
        "s3",
        endpoint_url=wire.endpoint.geturl(),
        region_name=wire.keys.region,
        aws_access_key_id=(keys or wire.keys).access,
        aws_secret_access_key=(keys or wire.keys).secret,
        verify=wire.ca or True,
        config=Config(**settings),
    )


@pytest.fixture(scope="session")
def s3(wire):
    """boto3 at its defaults, but that a failure is seen at once."""
    return client(wire)


@pytest.fixture(scope="session")
def other(wire):
    """The root of another account, and its canonical id."""
    if "S3_OTHER_ACCESS_KEY_ID" not in os.environ:
        pytest.skip("S3_OTHER_ACCESS_KEY_ID and S3_OTHER_SECRET_ACCESS_KEY are not set: a key of another account")
    names = ("S3_OTHER_ACCESS_KEY_ID", "S3_OTHER_SECRET_ACCESS_KEY")
    theirs = client(wire, sigv4.Keys(*(os.environ[name] for name in names), wire.keys.region))
    return theirs, theirs.list_buckets()["Owner"]["ID"]


@pytest.fixture(scope="session")
def secure(wire):
    """The same over HTTPS."""
    if wire.endpoint.scheme == "https":
        return client(wire)
    if "S3_TLS_ENDPOINT" not in os.environ:
        pytest.skip("S3_TLS_ENDPOINT is not set")
    return client(wires.Wire(os.environ["S3_TLS_ENDPOINT"], wire.keys, os.environ.get("S3_TLS_CA")))


@pytest.fixture(scope="session")
def configured(wire):
    """Makes boto3 clients of other configurations."""
    return lambda **config: client(wire, **config)


def new_bucket_name():
    return f"suite-{uuid.uuid4().hex[:20]}"


def make_bucket(s3, name, **settings):
    region = s3.meta.region_name
    if region != "us-east-1":
        settings["CreateBucketConfiguration"] = {"LocationConstraint": region}
    s3.create_bucket(Bucket=name, **settings)


def enable(s3, name):
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})


def remove_bucket(s3, name):
    """Whatever locks are left in it but those of COMPLIANCE, which the case waits for."""
    with contextlib.suppress(ClientError):
        s3.delete_bucket_policy(Bucket=name)
    try:
        for page in s3.get_paginator("list_multipart_uploads").paginate(Bucket=name):
            for upload in page.get("Uploads", []):
                s3.abort_multipart_upload(Bucket=name, Key=upload["Key"], UploadId=upload["UploadId"])
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=name):
            for found in page.get("Versions", []) + page.get("DeleteMarkers", []):
                remove_version(s3, {"Bucket": name, "Key": found["Key"], "VersionId": found["VersionId"]})
        s3.delete_bucket(Bucket=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchBucket":
            raise


def remove_version(s3, named):
    try:
        s3.delete_object(**named)
    except ClientError as error:
        if error.response["Error"]["Code"] != "AccessDenied":
            raise
        s3.put_object_legal_hold(**named, LegalHold={"Status": "OFF"})
        s3.delete_object(**named, BypassGovernanceRetention=True)


@pytest.fixture
def buckets(s3):
    """Makes buckets that go with the case; a name may be claimed that the case makes itself."""
    names = []

    def make(name=None, create=True):
        names.append(name or new_bucket_name())
        if create:
            make_bucket(s3, names[-1])
        return names[-1]

    yield make
    for name in names:
        remove_bucket(s3, name)


@pytest.fixture
def fresh(buckets):
    """An empty bucket for this case alone."""
    return buckets()


@pytest.fixture
def versioned(s3, fresh):
    """The same, and it keeps versions."""
    enable(s3, fresh)
    return fresh


@pytest.fixture
def locked(s3, buckets):
    """An empty bucket with Object Lock for this case alone."""
    name = buckets(create=False)
    make_bucket(s3, name, ObjectLockEnabledForBucket=True)
    return name


@pytest.fixture(scope="session")
def bucket(s3):
    """A bucket that cases share: each uses keys of its own, and none may count on what else is there."""
    name = new_bucket_name()
    make_bucket(s3, name)
    yield name
    remove_bucket(s3, name)


@pytest.fixture
def key(request):
    return f"{request.node.originalname}/{uuid.uuid4().hex[:8]}"


@pytest.fixture
def upload(s3, bucket, key):
    """A multipart upload of `key` that is aborted after the case, unless that is done."""
    made = s3.create_multipart_upload(Bucket=bucket, Key=key)["UploadId"]
    yield made
    with contextlib.suppress(s3.exceptions.NoSuchUpload):
        s3.abort_multipart_upload(Bucket=bucket, Key=key, UploadId=made)


@contextlib.contextmanager
def fails(code, status=None):
    """The call in the block fails with this code, and status if it is given. Yields the error's fields afterwards."""
    found = {}
    with pytest.raises(ClientError) as raised:
        yield found
    response = raised.value.response
    found.update(response["Error"])
    assert response["Error"]["Code"] == code, response
    if status is not None:
        assert response["ResponseMetadata"]["HTTPStatusCode"] == status, response
