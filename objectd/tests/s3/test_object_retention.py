"""PutObjectRetention and GetObjectRetention, and what retention forbids."""

import datetime
import json
import time

import pytest

from conftest import fails, make_bucket, new_bucket_name, remove_bucket

# Long enough that a case is done before it is over, and short enough to wait for at the end.
COMPLIANCE_SECONDS = 30


def now():
    return datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0)


def later(seconds):
    return now() + datetime.timedelta(seconds=seconds)


def iso(time):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def retention(mode, seconds):
    return {"Mode": mode, "RetainUntilDate": later(seconds)}


def put(s3, bucket, mode=None, seconds=3600, key="k"):
    """An object version, by its names."""
    lock = {"ObjectLockMode": mode, "ObjectLockRetainUntilDate": later(seconds)} if mode else {}
    version = s3.put_object(Bucket=bucket, Key=key, Body=b"x", **lock)["VersionId"]
    return {"Bucket": bucket, "Key": key, "VersionId": version}


@pytest.fixture(scope="module")
def complying(s3):
    """A bucket for what nobody can delete before its time."""
    name = new_bucket_name()
    make_bucket(s3, name, ObjectLockEnabledForBucket=True)
    yield name
    for version in s3.list_object_versions(Bucket=name).get("Versions", []):
        head = s3.head_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
        while now() <= head["ObjectLockRetainUntilDate"]:
            time.sleep(0.5)
    remove_bucket(s3, name)


@pytest.fixture
def complied(s3, complying, key):
    return put(s3, complying, "COMPLIANCE", COMPLIANCE_SECONDS, key)


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_retention_of_a_put_is_returned(s3, complying, key, mode):
    named = put(s3, complying, mode, COMPLIANCE_SECONDS, key)
    found = s3.get_object_retention(**named)["Retention"]
    assert found["Mode"] == mode and abs((found["RetainUntilDate"] - later(COMPLIANCE_SECONDS)).total_seconds()) < 20
    head = s3.head_object(**named)
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == (mode, found["RetainUntilDate"])


def test_retention_that_is_put_later_is_returned(s3, locked):
    named = put(s3, locked)
    wanted = retention("GOVERNANCE", 3600)
    s3.put_object_retention(**named, Retention=wanted)
    assert s3.get_object_retention(**named)["Retention"] == wanted


def test_an_object_without_retention_has_no_such_configuration(s3, locked):
    with fails("NoSuchObjectLockConfiguration", 404):
        s3.get_object_retention(**put(s3, locked))


def test_a_bucket_without_object_lock_is_an_invalid_request(s3, versioned):
    named = put(s3, versioned)
    with fails("InvalidRequest", 400):
        s3.get_object_retention(**named)
    with fails("InvalidRequest", 400):
        s3.put_object_retention(**named, Retention=retention("GOVERNANCE", 3600))
    with fails("InvalidRequest", 400):
        put(s3, versioned, "GOVERNANCE")


@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_retained_version_can_not_be_deleted(s3, complying, key, mode):
    named = put(s3, complying, mode, COMPLIANCE_SECONDS, key)
    with fails("AccessDenied", 403):
        s3.delete_object(**named)
    doomed = [{"Key": named["Key"], "VersionId": named["VersionId"]}]
    answer = s3.delete_objects(Bucket=complying, Delete={"Objects": doomed})
    assert [error["Code"] for error in answer["Errors"]] == ["AccessDenied"]
    assert s3.get_object(**named)["Body"].read() == b"x"


def test_a_simple_delete_inserts_a_marker_and_the_version_stays(s3, locked):
    named = put(s3, locked, "GOVERNANCE")
    assert s3.delete_object(Bucket=locked, Key="k")["DeleteMarker"] is True
    assert s3.get_object(**named)["Body"].read() == b"x"


def test_an_overwrite_makes_a_version_without_the_lock(s3, locked):
    old = put(s3, locked, "GOVERNANCE")
    new = put(s3, locked)
    with fails("NoSuchObjectLockConfiguration", 404):
        s3.get_object_retention(**new)
    assert s3.get_object_retention(**old)["Retention"]["Mode"] == "GOVERNANCE"


def test_governance_can_be_bypassed_by_who_asks_for_it(s3, locked):
    named = put(s3, locked, "GOVERNANCE")
    s3.delete_object(**named, BypassGovernanceRetention=True)
    with fails("NoSuchVersion", 404):
        s3.get_object(**named)


def test_many_can_be_deleted_past_governance(s3, locked):
    doomed = [put(s3, locked, "GOVERNANCE", key=key) for key in "ab"]
    asked = [{"Key": named["Key"], "VersionId": named["VersionId"]} for named in doomed]
    answer = s3.delete_objects(Bucket=locked, Delete={"Objects": asked}, BypassGovernanceRetention=True)
    assert len(answer["Deleted"]) == 2 and "Errors" not in answer


def test_bypassing_is_a_permission_of_its_own(s3, locked):
    named = put(s3, locked, "GOVERNANCE")
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:BypassGovernanceRetention",
                 "Resource": f"arn:aws:s3:::{locked}/*"}
    s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    with fails("AccessDenied", 403):
        s3.delete_object(**named, BypassGovernanceRetention=True)
    with fails("AccessDenied", 403):
        s3.put_object_retention(**named, Retention=retention("GOVERNANCE", 60), BypassGovernanceRetention=True)
    assert s3.get_object(**named)["Body"].read() == b"x"


def test_governance_is_extended_by_anybody_and_shortened_by_bypassing(s3, locked):
    named = put(s3, locked, "GOVERNANCE", 3600)
    s3.put_object_retention(**named, Retention=retention("GOVERNANCE", 7200))
    with fails("AccessDenied", 403):
        s3.put_object_retention(**named, Retention=retention("GOVERNANCE", 600))
    s3.put_object_retention(**named, Retention=retention("GOVERNANCE", 600), BypassGovernanceRetention=True)
    assert s3.get_object_retention(**named)["Retention"]["RetainUntilDate"] <= later(600)


def test_governance_is_taken_away_by_bypassing_only(wire, s3, locked):
    named = put(s3, locked, "GOVERNANCE")
    with fails("AccessDenied", 403):
        s3.put_object_retention(**named, Retention={})
    s3.put_object_retention(**named, Retention={}, BypassGovernanceRetention=True)
    with fails("NoSuchObjectLockConfiguration", 404):
        s3.get_object_retention(**named)
    s3.delete_object(**named)


def test_compliance_is_bypassed_by_nobody(s3, complied):
    with fails("AccessDenied", 403):
        s3.delete_object(**complied, BypassGovernanceRetention=True)
    for less in [retention("COMPLIANCE", 5), retention("GOVERNANCE", 3600), {}]:
        with fails("AccessDenied", 403):
            s3.put_object_retention(**complied, Retention=less, BypassGovernanceRetention=True)
    assert s3.get_object_retention(**complied)["Retention"]["Mode"] == "COMPLIANCE"


def test_compliance_can_be_extended(s3, complied):
    wanted = retention("COMPLIANCE", COMPLIANCE_SECONDS + 5)
    s3.put_object_retention(**complied, Retention=wanted)
    assert s3.get_object_retention(**complied)["Retention"] == wanted


def test_governance_becomes_compliance_by_bypassing_only(s3, complying, key):
    named = put(s3, complying, "GOVERNANCE", COMPLIANCE_SECONDS, key)
    wanted = retention("COMPLIANCE", COMPLIANCE_SECONDS + 5)
    with fails("AccessDenied", 403):
        s3.put_object_retention(**named, Retention=wanted)
    s3.put_object_retention(**named, Retention=wanted, BypassGovernanceRetention=True)
    assert s3.get_object_retention(**named)["Retention"] == wanted


def test_a_date_that_is_over_is_an_invalid_argument(s3, locked):
    with fails("InvalidArgument", 400):
        put(s3, locked, "GOVERNANCE", -60)
    with fails("InvalidArgument", 400):
        s3.put_object_retention(**put(s3, locked), Retention=retention("GOVERNANCE", -60))


LOCK_HEADERS = {
    "mode_alone": {"x-amz-object-lock-mode": "GOVERNANCE"},
    "date_alone": {"x-amz-object-lock-retain-until-date": "2999-01-01T00:00:00Z"},
    "unknown_mode": {
        "x-amz-object-lock-mode": "governance",
        "x-amz-object-lock-retain-until-date": "2999-01-01T00:00:00Z",
    },
    "no_date": {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "tomorrow"},
}


@pytest.mark.parametrize("case", LOCK_HEADERS)
def test_headers_that_are_no_lock_are_an_invalid_argument(wire, locked, case):
    reply = wire.call("PUT", f"/{locked}/k", headers={**LOCK_HEADERS[case], "content-md5": "nQ1h6Hl7XIrS9eR3f9BRhA=="})
    reply.expect(400, "InvalidArgument")


LOCKS = {
    "retention": {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2099-01-01T00:00:00Z"},
    "hold": {"x-amz-object-lock-legal-hold": "ON"},
}


@pytest.mark.parametrize("case", LOCKS)
def test_a_put_that_locks_needs_a_checksum_of_its_body(wire, s3, locked, case):
    wire.call("PUT", f"/{locked}/k", headers=LOCKS[case], body=b"x").expect(400, "InvalidRequest")
    with fails("404", 404):
        s3.head_object(Bucket=locked, Key="k")
    md5 = {"content-md5": "ndTkYSaMgDT1yFZOFVxnpg=="}
    wire.call("PUT", f"/{locked}/k", headers={**LOCKS[case], **md5}, body=b"x").expect(200)


@pytest.mark.parametrize("inner", [
    "<Mode>GOVERNANCE</Mode>",
    "<RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate>",
    "<Mode>governance</Mode><RetainUntilDate>2999-01-01T00:00:00Z</RetainUntilDate>",
])
def test_what_is_no_retention_is_malformed_xml(wire, s3, locked, inner):
    put(s3, locked)
    body = f"<Retention>{inner}</Retention>".encode()
    wire.call("PUT", f"/{locked}/k", {"retention": ""}, body=body).expect(400, "MalformedXML")


def test_each_version_has_retention_of_its_own(s3, locked):
    old, new = put(s3, locked), put(s3, locked)
    s3.put_object_retention(**old, Retention=retention("GOVERNANCE", 3600))
    with fails("NoSuchObjectLockConfiguration", 404):
        s3.get_object_retention(Bucket=locked, Key="k")
    s3.delete_object(**new)
    with fails("AccessDenied", 403):
        s3.delete_object(**old)


def test_a_copy_does_not_bring_it(s3, locked):
    put(s3, locked, "GOVERNANCE")
    s3.copy_object(Bucket=locked, Key="copy", CopySource={"Bucket": locked, "Key": "k"})
    with fails("NoSuchObjectLockConfiguration", 404):
        s3.get_object_retention(Bucket=locked, Key="copy")


def test_a_policy_can_limit_how_long(s3, locked):
    statement = {"Effect": "Deny", "Principal": "*", "Action": ["s3:PutObjectRetention", "s3:PutObject"],
                 "Resource": f"arn:aws:s3:::{locked}/*",
                 "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}}
    s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    named = put(s3, locked, "GOVERNANCE", 9 * 86400)
    with fails("AccessDenied", 403):
        put(s3, locked, "GOVERNANCE", 12 * 86400)
    with fails("AccessDenied", 403):
        s3.put_object_retention(**named, Retention=retention("GOVERNANCE", 12 * 86400))


def test_a_key_that_does_not_exist_is_no_such_key(s3, locked):
    with fails("NoSuchKey", 404):
        s3.get_object_retention(Bucket=locked, Key="none")
    with fails("NoSuchKey", 404):
        s3.put_object_retention(Bucket=locked, Key="none", Retention=retention("GOVERNANCE", 60))


def test_a_delete_marker_can_not_be_retained(s3, locked):
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    with fails("MethodNotAllowed", 405):
        s3.put_object_retention(Bucket=locked, Key="k", VersionId=marker, Retention=retention("GOVERNANCE", 60))


def test_anonymous_requests_can_neither_see_nor_change_it(wire, s3, locked):
    named = put(s3, locked, "GOVERNANCE")
    before = s3.get_object_retention(**named)["Retention"]
    wire.anonymous("GET", f"/{locked}/k", {"retention": ""}).expect(403, "AccessDenied")
    bypass = {"x-amz-bypass-governance-retention": "true"}
    wire.anonymous("PUT", f"/{locked}/k", {"retention": ""}, bypass, b"<Retention/>").expect(403, "AccessDenied")
    query = {"versionId": named["VersionId"]}
    wire.anonymous("DELETE", f"/{locked}/k", query, bypass).expect(403, "AccessDenied")
    assert s3.get_object_retention(**named)["Retention"] == before
