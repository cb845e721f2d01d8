"""PutBucketLifecycleConfiguration, GetBucketLifecycleConfiguration, DeleteBucketLifecycle, and x-amz-expiration."""

import datetime
import re

import pytest

from conftest import fails, new_bucket_name

RULE = {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}}


def configure(s3, bucket, *rules):
    return s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": list(rules)})


def kept(s3, bucket):
    return s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"]


def document(wire, bucket, text):
    return wire.call("PUT", f"/{bucket}", {"lifecycle": ""}, body=text.encode())


def test_a_configuration_is_returned_as_it_was_put(s3, fresh):
    midnight = datetime.datetime(2099, 12, 31, tzinfo=datetime.timezone.utc)
    rules = [
        RULE,
        {"ID": "all", "Status": "Disabled", "Filter": {}, "NoncurrentVersionExpiration": {"NoncurrentDays": 7, "NewerNoncurrentVersions": 3},
         "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 5}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
        {"ID": "tag", "Status": "Enabled", "Filter": {"Tag": {"Key": "k", "Value": "v"}}, "Expiration": {"Date": midnight}},
        {"ID": "and", "Status": "Enabled", "Expiration": {"Days": 1}, "Filter": {"And": {
            "Prefix": "p", "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": ""}],
            "ObjectSizeGreaterThan": 500, "ObjectSizeLessThan": 64000}}},
        {"ID": "size", "Status": "Enabled", "Filter": {"ObjectSizeGreaterThan": 0}, "Expiration": {"Days": 2147483647}},
    ]
    configure(s3, fresh, *rules)
    assert kept(s3, fresh) == rules


def test_a_legacy_prefix_is_returned_as_one(s3, fresh):
    rule = {"ID": "old", "Status": "Enabled", "Prefix": "logs/", "Expiration": {"Days": 1}}
    configure(s3, fresh, rule)
    assert kept(s3, fresh) == [rule]


def test_a_configuration_replaces_the_one_before(s3, fresh):
    configure(s3, fresh, RULE)
    configure(s3, fresh, {**RULE, "ID": "other"})
    assert [rule["ID"] for rule in kept(s3, fresh)] == ["other"]


def test_a_rule_without_an_id_is_given_one(s3, fresh):
    rule = {name: value for name, value in RULE.items() if name != "ID"}
    configure(s3, fresh, rule, rule)
    ids = {rule["ID"] for rule in kept(s3, fresh)}
    assert len(ids) == 2 and all(ids)


def test_the_default_minimum_size_of_transitions_is_told(s3, fresh):
    assert configure(s3, fresh, RULE)["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"
    found = s3.get_bucket_lifecycle_configuration(Bucket=fresh)
    assert found["TransitionDefaultMinimumObjectSize"] == "all_storage_classes_128K"


def test_a_bucket_without_one_is_no_such_lifecycle_configuration(s3, fresh):
    with fails("NoSuchLifecycleConfiguration", 404):
        kept(s3, fresh)


def test_delete_removes_it_with_204(s3, fresh):
    configure(s3, fresh, RULE)
    assert s3.delete_bucket_lifecycle(Bucket=fresh)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchLifecycleConfiguration", 404):
        kept(s3, fresh)


def test_delete_where_there_is_none_is_204(s3, fresh):
    s3.delete_bucket_lifecycle(Bucket=fresh)


@pytest.mark.parametrize("operation", ["get_bucket_lifecycle_configuration", "delete_bucket_lifecycle"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, operation):
    with fails("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=new_bucket_name())


def test_a_configuration_of_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        configure(s3, new_bucket_name(), RULE)


def test_a_thousand_rules_are_the_limit(s3, fresh):
    rules = [{**RULE, "ID": str(number)} for number in range(1001)]
    configure(s3, fresh, *rules[:1000])
    assert len(kept(s3, fresh)) == 1000
    with fails("MalformedXML", 400):
        configure(s3, fresh, *rules)


@pytest.mark.parametrize("change", [
    {"Expiration": {"Days": 0}}, {"Expiration": {"Days": -1}}, {"ID": "x" * 256},
    {"Expiration": {"Date": datetime.datetime(2099, 1, 1, 12, tzinfo=datetime.timezone.utc)}},
    {"NoncurrentVersionExpiration": {"NoncurrentDays": 0}},
    {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 0}},
    {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}},
    {"AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 0}},
    {"Filter": {"ObjectSizeGreaterThan": -1}},
], ids=str)
def test_a_rule_is_an_invalid_argument_with(s3, fresh, change):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, {**RULE, **change})
    with fails("NoSuchLifecycleConfiguration", 404):
        kept(s3, fresh)


def test_ids_are_unique(s3, fresh):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, RULE, RULE)


@pytest.mark.parametrize("change", [
    {"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "Expiration": {"ExpiredObjectDeleteMarker": True}},
    {"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}},
    {"Filter": {"And": {"Tags": [{"Key": "a", "Value": "b"}, {"Key": "a", "Value": "c"}]}}},
    {"Filter": {"And": {"ObjectSizeGreaterThan": 5, "ObjectSizeLessThan": 5}}},
    {"Filter": {"Prefix": "x" * 1025}},
], ids=lambda change: str(change)[:60])
def test_a_rule_is_an_invalid_request_with(s3, fresh, change):
    with fails("InvalidRequest", 400):
        configure(s3, fresh, {**RULE, **change})


def test_a_rule_without_an_action_is_an_invalid_request(s3, fresh):
    with fails("InvalidRequest", 400):
        configure(s3, fresh, {"Status": "Enabled", "Filter": {}})


def test_rules_of_both_forms_are_an_invalid_request(s3, fresh):
    with fails("InvalidRequest", 400):
        configure(s3, fresh, RULE, {"Status": "Enabled", "Prefix": "a", "Expiration": {"Days": 1}})


@pytest.mark.parametrize("action", [
    {"Transitions": [{"Days": 30, "StorageClass": "GLACIER"}]},
    {"NoncurrentVersionTransitions": [{"NoncurrentDays": 30, "StorageClass": "STANDARD_IA"}]},
], ids=lambda action: next(iter(action)))
def test_transitions_are_refused_and_never_ignored(s3, fresh, action):
    with fails("NotImplemented", 501):
        configure(s3, fresh, {**RULE, **action})
    with fails("NoSuchLifecycleConfiguration", 404):
        kept(s3, fresh)


STATUS = "<Status>Enabled</Status>"
DAYS = "<Expiration><Days>1</Days></Expiration>"


@pytest.mark.parametrize("text", [
    "x", "<Other/>", "<LifecycleConfiguration/>",
    *[f"<LifecycleConfiguration>{rule}</LifecycleConfiguration>" for rule in [
        "<Rule/>", f"<Rule>{STATUS}{DAYS}</Rule>", f"<Rule><Filter/>{DAYS}</Rule>",
        f"<Rule><Filter/><Status>enabled</Status>{DAYS}</Rule>", f"<Rule><Filter/><Prefix/>{STATUS}{DAYS}</Rule>",
        f"<Rule><Filter/>{STATUS}{DAYS}<Unknown/></Rule>", f"<Rule><Filter/>{STATUS}{DAYS}{DAYS}</Rule>",
        f"<Rule><Filter/>{STATUS}<Expiration/></Rule>",
        f"<Rule><Filter/>{STATUS}<Expiration><Date>20200101</Date></Expiration></Rule>",
        f"<Rule><Filter/>{STATUS}<Expiration><Days>1</Days><Date>2099-01-01T00:00:00Z</Date></Expiration></Rule>",
        f"<Rule><Filter><Prefix>a</Prefix><Tag><Key>b</Key><Value/></Tag></Filter>{STATUS}{DAYS}</Rule>",
        f"<Rule><Filter><And><Prefix>a</Prefix></And></Filter>{STATUS}{DAYS}</Rule>",
        f"<Rule><Filter><Unknown/></Filter>{STATUS}{DAYS}</Rule>",
    ]],
])
def test_a_document_that_is_none_is_malformed_xml(wire, fresh, text):
    document(wire, fresh, text).expect(400, "MalformedXML")


@pytest.fixture
def expiring(s3, fresh):
    """A bucket whose objects below logs/ expire, after 30 days or, if they are temporary, one."""
    tag = {"Key": "tmp", "Value": "yes"}
    configure(s3, fresh, RULE, {"ID": "a b", "Status": "Enabled", "Expiration": {"Days": 1},
                                "Filter": {"And": {"Prefix": "logs/", "Tags": [tag]}}})
    return fresh


def expected(modified, days, rule):
    """Rounded up to the next midnight."""
    due = (modified + datetime.timedelta(days=days, seconds=86399)).replace(hour=0, minute=0, second=0)
    return f'expiry-date="{due:%a, %d %b %Y} 00:00:00 GMT", rule-id="{rule}"'


def test_an_object_that_will_expire_says_when_and_by_which_rule(s3, expiring):
    put = s3.put_object(Bucket=expiring, Key="logs/a", Body=b"x")
    head = s3.head_object(Bucket=expiring, Key="logs/a")
    assert head["Expiration"] == expected(head["LastModified"], 30, "logs")
    assert put["Expiration"] == head["Expiration"] == s3.get_object(Bucket=expiring, Key="logs/a")["Expiration"]


def test_of_two_rules_the_earlier_is_said(s3, expiring):
    put = s3.put_object(Bucket=expiring, Key="logs/a", Body=b"x", Tagging="tmp=yes")
    head = s3.head_object(Bucket=expiring, Key="logs/a")
    assert head["Expiration"] == put["Expiration"] == expected(head["LastModified"], 1, "a%20b")


def test_a_copy_says_when_it_will_expire(s3, expiring):
    s3.put_object(Bucket=expiring, Key="a", Body=b"x")
    copied = s3.copy_object(Bucket=expiring, Key="logs/a", CopySource=f"{expiring}/a")
    assert re.search('rule-id="logs"$', copied["Expiration"])


def test_an_object_that_no_rule_is_about_says_nothing(s3, expiring):
    assert "Expiration" not in s3.put_object(Bucket=expiring, Key="other", Body=b"x")
    assert "Expiration" not in s3.head_object(Bucket=expiring, Key="other")


def test_a_disabled_rule_says_nothing(s3, fresh):
    configure(s3, fresh, {**RULE, "Status": "Disabled"})
    assert "Expiration" not in s3.put_object(Bucket=fresh, Key="logs/a", Body=b"x")


def test_an_object_says_nothing_once_the_configuration_is_gone(s3, expiring):
    s3.put_object(Bucket=expiring, Key="logs/a", Body=b"x")
    s3.delete_bucket_lifecycle(Bucket=expiring)
    assert "Expiration" not in s3.head_object(Bucket=expiring, Key="logs/a")


def test_strangers_may_neither_read_nor_change_it(wire, fresh):
    wire.anonymous("PUT", f"/{fresh}", {"lifecycle": ""}, body=b"x").expect(403, "AccessDenied")
    wire.anonymous("DELETE", f"/{fresh}", {"lifecycle": ""}).expect(403, "AccessDenied")
    wire.anonymous("GET", f"/{fresh}", {"lifecycle": ""}).expect(403, "AccessDenied")
