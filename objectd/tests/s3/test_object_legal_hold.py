"""PutObjectLegalHold and GetObjectLegalHold, and what a hold forbids."""

import datetime

import pytest

from conftest import fails


def hold(s3, named, status):
    s3.put_object_legal_hold(**named, LegalHold={"Status": status})


def put(s3, bucket, **lock):
    version = s3.put_object(Bucket=bucket, Key="k", Body=b"x", **lock)["VersionId"]
    return {"Bucket": bucket, "Key": "k", "VersionId": version}


@pytest.mark.parametrize("status", ["ON", "OFF"])
def test_the_status_is_returned(s3, locked, status):
    named = put(s3, locked)
    hold(s3, named, status)
    assert s3.get_object_legal_hold(**named)["LegalHold"] == {"Status": status}
    assert s3.head_object(**named)["ObjectLockLegalHoldStatus"] == status


def test_it_can_come_with_the_object(s3, locked):
    named = put(s3, locked, ObjectLockLegalHoldStatus="ON")
    assert s3.get_object_legal_hold(**named)["LegalHold"]["Status"] == "ON"


def test_an_object_that_never_had_one_has_no_such_configuration(s3, locked):
    with fails("NoSuchObjectLockConfiguration", 404):
        s3.get_object_legal_hold(**put(s3, locked))


def test_a_held_version_can_not_be_deleted_until_it_is_lifted(s3, locked):
    named = put(s3, locked, ObjectLockLegalHoldStatus="ON")
    for bypass in [{}, {"BypassGovernanceRetention": True}]:
        with fails("AccessDenied", 403):
            s3.delete_object(**named, **bypass)
    assert s3.get_object(**named)["Body"].read() == b"x"
    hold(s3, named, "OFF")
    s3.delete_object(**named)
    with fails("NoSuchVersion", 404):
        s3.get_object(**named)


def test_a_simple_delete_inserts_a_marker_and_the_version_stays(s3, locked):
    named = put(s3, locked, ObjectLockLegalHoldStatus="ON")
    assert s3.delete_object(Bucket=locked, Key="k")["DeleteMarker"] is True
    assert s3.get_object(**named)["Body"].read() == b"x"


def test_it_holds_whatever_retention_says(s3, locked):
    until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(hours=1)
    named = put(s3, locked, ObjectLockLegalHoldStatus="ON", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    s3.put_object_retention(**named, Retention={}, BypassGovernanceRetention=True)
    with fails("AccessDenied", 403):
        s3.delete_object(**named, BypassGovernanceRetention=True)
    hold(s3, named, "OFF")
    s3.delete_object(**named)


def test_each_version_has_one_of_its_own(s3, locked):
    old, new = put(s3, locked), put(s3, locked)
    hold(s3, old, "ON")
    s3.delete_object(**new)
    with fails("AccessDenied", 403):
        s3.delete_object(**old)


def test_a_copy_does_not_bring_it(s3, locked):
    put(s3, locked, ObjectLockLegalHoldStatus="ON")
    s3.copy_object(Bucket=locked, Key="copy", CopySource={"Bucket": locked, "Key": "k"})
    with fails("NoSuchObjectLockConfiguration", 404):
        s3.get_object_legal_hold(Bucket=locked, Key="copy")


def test_a_bucket_without_object_lock_is_an_invalid_request(s3, versioned):
    named = put(s3, versioned)
    with fails("InvalidRequest", 400):
        s3.get_object_legal_hold(**named)
    with fails("InvalidRequest", 400):
        hold(s3, named, "ON")
    with fails("InvalidRequest", 400):
        put(s3, versioned, ObjectLockLegalHoldStatus="ON")


@pytest.mark.parametrize("inner", ["", "<Status>on</Status>", "<Status>ON</Status><Status>OFF</Status>", "<Other/>"])
def test_what_is_no_hold_is_malformed_xml(wire, s3, locked, inner):
    put(s3, locked)
    body = f"<LegalHold>{inner}</LegalHold>".encode()
    wire.call("PUT", f"/{locked}/k", {"legal-hold": ""}, body=body).expect(400, "MalformedXML")


def test_a_key_that_does_not_exist_is_no_such_key(s3, locked):
    named = {"Bucket": locked, "Key": "none"}
    with fails("NoSuchKey", 404):
        s3.get_object_legal_hold(**named)
    with fails("NoSuchKey", 404):
        hold(s3, named, "ON")


def test_anonymous_requests_can_neither_see_nor_change_it(wire, s3, locked):
    named = put(s3, locked, ObjectLockLegalHoldStatus="ON")
    wire.anonymous("GET", f"/{locked}/k", {"legal-hold": ""}).expect(403, "AccessDenied")
    body = b"<LegalHold><Status>OFF</Status></LegalHold>"
    wire.anonymous("PUT", f"/{locked}/k", {"legal-hold": ""}, body=body).expect(403, "AccessDenied")
    assert s3.get_object_legal_hold(**named)["LegalHold"]["Status"] == "ON"
