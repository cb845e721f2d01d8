"""PutBucketNotificationConfiguration, GetBucketNotificationConfiguration.

A case that needs a destination takes it from S3_NOTIFICATION_QUEUE, the ARN of one that the endpoint may use.
"""

import os

import pytest

from conftest import fails, new_bucket_name

PUT = "s3:ObjectCreated:Put"


def arn(region, name="no-such-destination", service="sqs", account=""):
    return f"arn:aws:{service}:{region}:{account}:{name}"


def queue(queue_arn, *events, **more):
    return {"QueueArn": queue_arn, "Events": list(events) or [PUT], **more}


def filtered(prefix=None, suffix=None):
    rules = [("Prefix", prefix), ("Suffix", suffix)]
    return {"Filter": {"Key": {"FilterRules": [{"Name": name, "Value": value} for name, value in rules if value is not None]}}}


def configure(s3, bucket, *queues, **more):
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={"QueueConfigurations": list(queues), **more})


def configured(s3, bucket):
    found = s3.get_bucket_notification_configuration(Bucket=bucket)
    found.pop("ResponseMetadata")
    return found


@pytest.fixture
def destination():
    found = os.environ.get("S3_NOTIFICATION_QUEUE")
    if not found:
        pytest.skip("S3_NOTIFICATION_QUEUE is not set")
    return found


def test_a_new_bucket_has_an_empty_configuration(s3, fresh):
    assert configured(s3, fresh) == {}


def test_an_empty_configuration_can_be_put(s3, fresh):
    s3.put_bucket_notification_configuration(Bucket=fresh, NotificationConfiguration={})
    assert configured(s3, fresh) == {}


def test_a_missing_bucket_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        configured(s3, new_bucket_name())
    with fails("NoSuchBucket", 404):
        configure(s3, new_bucket_name())


def test_a_configuration_is_returned_as_it_was_put(s3, fresh, destination):
    one = queue(destination, PUT, "s3:ObjectRemoved:*", Id="one", **filtered("images/", ".jpg"))
    two = queue(destination, "s3:ObjectCreated:Copy", Id="two")
    configure(s3, fresh, one, two)
    assert configured(s3, fresh) == {"QueueConfigurations": [one, two]}


def test_a_configuration_without_an_id_is_given_one(s3, fresh, destination):
    configure(s3, fresh, queue(destination))
    assert configured(s3, fresh)["QueueConfigurations"][0]["Id"]


def test_a_configuration_replaces_the_one_before_and_an_empty_one_ends_it(s3, fresh, destination):
    configure(s3, fresh, queue(destination, Id="one"))
    configure(s3, fresh, queue(destination, "s3:ObjectTagging:*", Id="two"))
    assert [one["Id"] for one in configured(s3, fresh)["QueueConfigurations"]] == ["two"]
    s3.put_bucket_notification_configuration(Bucket=fresh, NotificationConfiguration={})
    assert configured(s3, fresh) == {}


def test_a_bucket_that_notifies_takes_objects(s3, fresh, destination):
    configure(s3, fresh, queue(destination, "s3:ObjectCreated:*", "s3:ObjectRemoved:*"))
    s3.put_object(Bucket=fresh, Key="k", Body=b"data")
    s3.copy_object(Bucket=fresh, Key="c", CopySource={"Bucket": fresh, "Key": "k"})
    deleted = s3.delete_objects(Bucket=fresh, Delete={"Objects": [{"Key": "k"}, {"Key": "c"}]})["Deleted"]
    assert {one["Key"] for one in deleted} == {"k", "c"}


def test_an_unknown_destination_is_an_invalid_argument(s3, fresh, region):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, queue(arn(region)))
    assert configured(s3, fresh) == {}


def test_a_malformed_arn_is_an_invalid_argument(s3, fresh):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, queue("http://127.0.0.1/"))


def test_a_destination_of_another_region_is_an_invalid_argument(s3, fresh):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, queue(arn("eu-nowhere-1")))


@pytest.mark.parametrize("event", ["s3:ObjectCreated", "s3:ObjectCreated:put", "s3:Nothing:*", "ObjectCreated:Put"])
def test_an_unknown_event_is_an_invalid_argument(s3, fresh, region, event):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, queue(arn(region), event))


@pytest.mark.parametrize(
    "one,two",
    [
        (filtered(), filtered("a")),
        (filtered("a"), filtered("ab")),
        (filtered("a", "png"), filtered("a", "g")),
    ],
)
def test_overlapping_filters_of_one_event_are_an_invalid_argument(s3, fresh, region, one, two):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, queue(arn(region), "s3:ObjectCreated:*", **one), queue(arn(region, "other"), PUT, **two))


def test_a_filter_by_something_else_than_prefix_and_suffix_is_an_invalid_argument(wire, fresh, region):
    rule = "<FilterRule><Name>infix</Name><Value>x</Value></FilterRule>"
    assert raw(wire, fresh, queue_xml(region, f"<Filter><S3Key>{rule}</S3Key></Filter>")).code == "InvalidArgument"


@pytest.mark.parametrize("name", ["prefix", "suffix"])
def test_two_prefixes_or_two_suffixes_of_one_filter_are_an_invalid_argument(wire, fresh, region, name):
    rule = f"<FilterRule><Name>{name}</Name><Value>x</Value></FilterRule>"
    assert raw(wire, fresh, queue_xml(region, f"<Filter><S3Key>{rule}{rule}</S3Key></Filter>")).code == "InvalidArgument"


def test_an_id_twice_is_an_invalid_argument(s3, fresh, region):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, queue(arn(region), Id="i"), queue(arn(region), "s3:ObjectCreated:Copy", Id="i"))


def test_functions_are_not_offered(s3, fresh, region):
    function = {"LambdaFunctionArn": arn(region, "function:f", "lambda", "111122223333"), "Events": [PUT]}
    with fails("NotImplemented", 501):
        configure(s3, fresh, LambdaFunctionConfigurations=[function])


def test_eventbridge_is_not_offered(s3, fresh):
    with fails("NotImplemented", 501):
        s3.put_bucket_notification_configuration(Bucket=fresh, NotificationConfiguration={"EventBridgeConfiguration": {}})


@pytest.mark.parametrize(
    "body",
    [
        "",
        "<Other/>",
        "<NotificationConfiguration><QueueConfiguration/></NotificationConfiguration>",
        "<NotificationConfiguration><Unknown/></NotificationConfiguration>",
    ],
)
def test_a_malformed_document_is_malformed_xml(wire, fresh, body):
    answer = wire.call("PUT", f"/{fresh}", [("notification", "")], body=body.encode())
    assert (answer.status, answer.code) == (400, "MalformedXML")


def test_it_is_the_owners_to_read_and_write(wire, fresh):
    assert wire.anonymous("GET", f"/{fresh}", [("notification", "")]).status == 403
    assert wire.anonymous("PUT", f"/{fresh}", [("notification", "")], body=b"<NotificationConfiguration/>").status == 403


def queue_xml(region, inner):
    return (
        f"<NotificationConfiguration><QueueConfiguration><Queue>{arn(region)}</Queue><Event>{PUT}</Event>{inner}"
        "</QueueConfiguration></NotificationConfiguration>"
    )


def raw(wire, bucket, body):
    return wire.call("PUT", f"/{bucket}", [("notification", "")], body=body.encode())
