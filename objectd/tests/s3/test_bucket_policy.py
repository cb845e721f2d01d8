"""PutBucketPolicy, GetBucketPolicy, DeleteBucketPolicy, GetBucketPolicyStatus."""

import json

import pytest

from conftest import fails, new_bucket_name


def statement(bucket, effect="Allow", action="s3:GetObject", resource="/*", principal="*", **more):
    return {
        "Effect": effect, "Principal": principal, "Action": action, "Resource": f"arn:aws:s3:::{bucket}{resource}", **more,
    }


def policy(*statements):
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


@pytest.fixture
def open_bucket(s3, fresh):
    """A bucket whose public access block is lifted, with an object."""
    s3.delete_public_access_block(Bucket=fresh)
    s3.put_object(Bucket=fresh, Key="k", Body=b"data")
    return fresh


def test_a_policy_is_returned_as_it_was_put(s3, fresh):
    text = policy(statement(fresh, "Deny", "s3:DeleteObject"))
    assert s3.put_bucket_policy(Bucket=fresh, Policy=text)["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert json.loads(s3.get_bucket_policy(Bucket=fresh)["Policy"]) == json.loads(text)


def test_a_policy_replaces_the_one_before(s3, fresh):
    for action in ("s3:DeleteObject", "s3:PutObject"):
        s3.put_bucket_policy(Bucket=fresh, Policy=policy(statement(fresh, "Deny", action)))
    assert json.loads(s3.get_bucket_policy(Bucket=fresh)["Policy"])["Statement"][0]["Action"] == "s3:PutObject"


def test_delete_removes_it_with_204(s3, fresh):
    s3.put_bucket_policy(Bucket=fresh, Policy=policy(statement(fresh, "Deny", "s3:DeleteObject")))
    assert s3.delete_bucket_policy(Bucket=fresh)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=fresh)


def test_delete_where_there_is_none_is_204(s3, fresh):
    s3.delete_bucket_policy(Bucket=fresh)


@pytest.mark.parametrize("operation", ["get_bucket_policy", "delete_bucket_policy", "get_bucket_policy_status"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, operation):
    with fails("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=new_bucket_name())


BROKEN = {
    "no_json": lambda b: "x",
    "an_empty_document": lambda b: "",
    "no_statement": lambda b: '{"Version":"2012-10-17"}',
    "an_unknown_version": lambda b: policy(statement(b)).replace("2012-10-17", "2020-01-01"),
    "an_unknown_effect": lambda b: policy(statement(b, "Maybe")),
    "no_principal": lambda b: policy({k: v for k, v in statement(b).items() if k != "Principal"}),
    "no_action": lambda b: policy({k: v for k, v in statement(b).items() if k != "Action"}),
    "no_resource": lambda b: policy({k: v for k, v in statement(b).items() if k != "Resource"}),
    "an_unknown_element": lambda b: policy(statement(b, Colour="blue")),
    "an_action_of_no_service": lambda b: policy(statement(b, action="GetObject")),
    "an_action_that_does_not_exist": lambda b: policy(statement(b, action="s3:GetObjekt")),
    "a_resource_of_another_bucket": lambda b: policy(statement("another-bucket-of-ours")),
    "a_resource_that_is_no_arn": lambda b: policy({**statement(b), "Resource": f"{b}/*"}),
    "an_unknown_operator": lambda b: policy(statement(b, Condition={"StringIs": {"aws:SourceIp": "10.0.0.1"}})),
    "an_address_that_is_none": lambda b: policy(statement(b, Condition={"IpAddress": {"aws:SourceIp": "10.0.0.300"}})),
    "a_principal_that_does_not_exist": lambda b: policy(statement(b, principal={"AWS": "arn:aws:iam::111122223333:user/none"})),
    "both_action_and_not_action": lambda b: policy(statement(b, NotAction="s3:PutObject")),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_policy_is_malformed_with(s3, fresh, case):
    with fails("MalformedPolicy", 400):
        s3.put_bucket_policy(Bucket=fresh, Policy=BROKEN[case](fresh))
    with fails("NoSuchBucketPolicy", 404):
        s3.get_bucket_policy(Bucket=fresh)


def test_a_policy_above_20_kibibytes_is_refused(s3, fresh):
    text = policy(*(statement(fresh, "Deny", "s3:DeleteObject", f"/{'k' * 900}{number}") for number in range(25)))
    assert len(text) > 20480
    with pytest.raises(s3.exceptions.ClientError) as raised:
        s3.put_bucket_policy(Bucket=fresh, Policy=text)
    assert raised.value.response["Error"]["Code"] in ("MalformedPolicy", "PolicyTooLarge", "InvalidRequest")


def test_a_public_policy_is_refused_while_public_policies_are_blocked(s3, fresh):
    with fails("AccessDenied", 403):
        s3.put_bucket_policy(Bucket=fresh, Policy=policy(statement(fresh)))


def test_a_public_policy_lets_everybody_in(wire, s3, open_bucket):
    wire.anonymous("GET", f"/{open_bucket}/k").expect(403)
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(statement(open_bucket)))
    assert wire.anonymous("GET", f"/{open_bucket}/k").expect(200).body == b"data"
    wire.anonymous("PUT", f"/{open_bucket}/k", body=b"x").expect(403, "AccessDenied")
    wire.anonymous("GET", f"/{open_bucket}").expect(403, "AccessDenied")


def test_what_is_revoked_is_denied_at_once(wire, s3, open_bucket):
    for _ in range(5):
        s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(statement(open_bucket)))
        wire.anonymous("GET", f"/{open_bucket}/k").expect(200)
        s3.delete_bucket_policy(Bucket=open_bucket)
        wire.anonymous("GET", f"/{open_bucket}/k").expect(403, "AccessDenied")


def test_a_deny_wins_over_an_allow(wire, s3, open_bucket):
    text = policy(statement(open_bucket), statement(open_bucket, "Deny", resource="/k"))
    s3.put_bucket_policy(Bucket=open_bucket, Policy=text)
    wire.anonymous("GET", f"/{open_bucket}/k").expect(403, "AccessDenied")


def test_a_deny_holds_for_the_owner_too(s3, fresh):
    s3.put_object(Bucket=fresh, Key="k", Body=b"")
    s3.put_bucket_policy(Bucket=fresh, Policy=policy(statement(fresh, "Deny", "s3:DeleteObject")))
    with fails("AccessDenied", 403):
        s3.delete_object(Bucket=fresh, Key="k")


@pytest.mark.parametrize("condition,status", [
    ({"IpAddress": {"aws:SourceIp": "203.0.113.0/24"}}, 403),
    ({"Bool": {"aws:SecureTransport": "maybe"}}, None),
    ({"StringEquals": {"aws:Referer": "https://example.com/"}}, 200),
    ({"StringLike": {"aws:UserAgent": "none-such*"}}, 403),
    ({"DateLessThan": {"aws:CurrentTime": "2001-01-01T00:00:00Z"}}, 403),
    ({"DateGreaterThan": {"aws:CurrentTime": "2001-01-01T00:00:00Z"}}, 200),
])
def test_a_condition_decides(wire, s3, open_bucket, condition, status):
    text = policy(statement(open_bucket, Condition=condition))
    if status is None:
        with fails("MalformedPolicy", 400):
            s3.put_bucket_policy(Bucket=open_bucket, Policy=text)
        return
    s3.put_bucket_policy(Bucket=open_bucket, Policy=text)
    wire.anonymous("GET", f"/{open_bucket}/k", headers={"referer": "https://example.com/"}).expect(status)


@pytest.mark.parametrize("resource,key,status", [
    ("/*", "a/b", 200), ("/a/*", "a/b", 200), ("/a/*", "b", 403), ("/?", "b", 200), ("/?", "bb", 403), ("/b", "b", 200),
    ("/B", "b", 403),
])
def test_a_resource_matches_with_stars_and_question_marks(wire, s3, open_bucket, resource, key, status):
    s3.put_object(Bucket=open_bucket, Key=key, Body=b"")
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(statement(open_bucket, resource=resource)))
    wire.anonymous("GET", f"/{open_bucket}/{key}").expect(status)


def test_status_of_a_public_policy(s3, open_bucket):
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(statement(open_bucket)))
    assert s3.get_bucket_policy_status(Bucket=open_bucket)["PolicyStatus"] == {"IsPublic": True}


@pytest.mark.parametrize("condition", [
    {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}},
    {"IpAddress": {"aws:SourceIp": "203.0.113.7/32"}},
    {"StringEquals": {"aws:SourceVpc": "vpc-91237329"}},
])
def test_status_of_a_policy_limited_to_fixed_values_is_not_public(s3, fresh, condition):
    s3.put_bucket_policy(Bucket=fresh, Policy=policy(statement(fresh, Condition=condition)))
    assert s3.get_bucket_policy_status(Bucket=fresh)["PolicyStatus"] == {"IsPublic": False}


@pytest.mark.parametrize("condition", [
    {"IpAddress": {"aws:SourceIp": "0.0.0.0/1"}},
    {"StringLike": {"aws:SourceVpc": "vpc-*"}},
    {"StringEquals": {"aws:Referer": "https://example.com/"}},
])
def test_status_of_a_policy_limited_to_less_is_public(s3, open_bucket, condition):
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(statement(open_bucket, Condition=condition)))
    assert s3.get_bucket_policy_status(Bucket=open_bucket)["PolicyStatus"] == {"IsPublic": True}


def test_a_deny_alone_is_not_public(s3, fresh):
    s3.put_bucket_policy(Bucket=fresh, Policy=policy(statement(fresh, "Deny", "s3:DeleteObject")))
    assert s3.get_bucket_policy_status(Bucket=fresh)["PolicyStatus"] == {"IsPublic": False}


def test_who_may_not_list_is_not_told_that_a_key_is_missing(wire, s3, open_bucket):
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(statement(open_bucket)))
    wire.anonymous("GET", f"/{open_bucket}/none").expect(403, "AccessDenied")
    listing = statement(open_bucket, action="s3:ListBucket", resource="")
    s3.put_bucket_policy(Bucket=open_bucket, Policy=policy(statement(open_bucket), listing))
    wire.anonymous("GET", f"/{open_bucket}/none").expect(404, "NoSuchKey")


def test_anonymous_requests_can_not_change_a_policy(wire, s3, open_bucket):
    text = policy(statement(open_bucket, action="s3:*"), statement(open_bucket, action="s3:*", resource=""))
    s3.put_bucket_policy(Bucket=open_bucket, Policy=text)
    reply = wire.anonymous("PUT", f"/{open_bucket}", {"policy": ""}, body=text.encode())
    assert reply.status in (403, 405), reply
    wire.anonymous("DELETE", f"/{open_bucket}", {"policy": ""})
    assert s3.get_bucket_policy(Bucket=open_bucket)["Policy"]
