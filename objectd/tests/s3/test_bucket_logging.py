"""PutBucketLogging, GetBucketLogging, and what log objects hold is checked in objectd/tests/access_logs.rs."""

import json

import pytest

from conftest import fails, make_bucket, new_bucket_name, remove_bucket


@pytest.fixture
def target(s3):
    name = new_bucket_name()
    make_bucket(s3, name)
    yield name
    remove_bucket(s3, name)


def let_in(s3, target, prefix="", principal={"Service": "logging.s3.amazonaws.com"}, **statement):
    allow = {"Effect": "Allow", "Principal": principal, "Action": "s3:PutObject", "Resource": f"arn:aws:s3:::{target}/{prefix}*"}
    policy = {"Version": "2012-10-17", "Statement": [{**allow, **statement}]}
    s3.put_bucket_policy(Bucket=target, Policy=json.dumps(policy))


def enable(s3, bucket, target, prefix="logs/", **more):
    status = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix, **more}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=status)


def enabled(s3, bucket):
    return s3.get_bucket_logging(Bucket=bucket).get("LoggingEnabled")


def test_a_new_bucket_does_not_log(s3, fresh):
    assert enabled(s3, fresh) is None


def test_a_missing_bucket_is_no_such_bucket(s3, target):
    with fails("NoSuchBucket", 404):
        enabled(s3, new_bucket_name())
    with fails("NoSuchBucket", 404):
        enable(s3, new_bucket_name(), target)


def test_a_configuration_is_returned_as_it_was_put(s3, fresh, target):
    let_in(s3, target, "logs/")
    enable(s3, fresh, target)
    assert enabled(s3, fresh) == {"TargetBucket": target, "TargetPrefix": "logs/"}


@pytest.mark.parametrize(
    "key_format",
    [
        {"SimplePrefix": {}},
        {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}},
        {"PartitionedPrefix": {"PartitionDateSource": "DeliveryTime"}},
    ],
)
def test_a_key_format_is_returned_as_it_was_put(s3, fresh, target, key_format):
    let_in(s3, target)
    enable(s3, fresh, target, TargetObjectKeyFormat=key_format)
    assert enabled(s3, fresh)["TargetObjectKeyFormat"] == key_format


def test_an_empty_status_ends_it(s3, fresh, target):
    let_in(s3, target)
    enable(s3, fresh, target)
    s3.put_bucket_logging(Bucket=fresh, BucketLoggingStatus={})
    assert enabled(s3, fresh) is None


def test_a_bucket_can_log_into_itself(s3, fresh):
    let_in(s3, fresh, "logs/")
    enable(s3, fresh, fresh)
    assert enabled(s3, fresh)["TargetBucket"] == fresh
    s3.put_bucket_logging(Bucket=fresh, BucketLoggingStatus={})


def test_a_target_that_does_not_exist_is_an_invalid_target(s3, fresh):
    with fails("InvalidTargetBucketForLogging", 400):
        enable(s3, fresh, new_bucket_name())
    assert enabled(s3, fresh) is None


def test_a_target_without_a_policy_is_an_invalid_target(s3, fresh, target):
    with fails("InvalidTargetBucketForLogging", 400):
        enable(s3, fresh, target)


@pytest.mark.parametrize(
    "prefix,statement",
    [
        ("elsewhere/", {}),
        ("", {"Action": "s3:GetObject"}),
        ("", {"Condition": {"ArnLike": {"aws:SourceArn": "arn:aws:s3:::another-bucket"}}}),
        ("", {"Condition": {"StringEquals": {"aws:SourceAccount": "999999999999"}}}),
        ("", {"principal": {"Service": "delivery.logs.amazonaws.com"}}),
    ],
)
def test_a_policy_that_does_not_let_the_service_in_is_an_invalid_target(s3, fresh, target, prefix, statement):
    let_in(s3, target, prefix, **statement)
    with fails("InvalidTargetBucketForLogging", 400):
        enable(s3, fresh, target)


def test_a_policy_may_name_the_source_bucket(s3, fresh, target):
    let_in(s3, target, "logs/", Condition={"ArnLike": {"aws:SourceArn": f"arn:aws:s3:::{fresh}"}})
    enable(s3, fresh, target)
    assert enabled(s3, fresh)["TargetBucket"] == target


def test_target_grants_are_not_offered(s3, fresh, target):
    let_in(s3, target)
    grant = {"Grantee": {"Type": "CanonicalUser", "ID": "somebody"}, "Permission": "READ"}
    with fails("NotImplemented", 501):
        enable(s3, fresh, target, TargetGrants=[grant])


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<Other/>",
        "<BucketLoggingStatus><LoggingEnabled/></BucketLoggingStatus>",
        "<BucketLoggingStatus><LoggingEnabled><TargetBucket>abc</TargetBucket></LoggingEnabled></BucketLoggingStatus>",
        "<BucketLoggingStatus><Unknown/></BucketLoggingStatus>",
    ],
)
def test_a_malformed_document_is_malformed_xml(wire, fresh, body):
    answer = wire.call("PUT", f"/{fresh}", [("logging", "")], body=body.encode())
    assert (answer.status, answer.code) == (400, "MalformedXML")


def test_it_is_the_owners_to_read_and_write(wire, fresh):
    assert wire.anonymous("GET", f"/{fresh}", [("logging", "")]).status == 403
    assert wire.anonymous("PUT", f"/{fresh}", [("logging", "")], body=b"<BucketLoggingStatus/>").status == 403
