"""PutObjectLockConfiguration and GetObjectLockConfiguration, and what a default does."""

import datetime

import pytest

import sums
from conftest import enable, fails, new_bucket_name


def rule(mode="GOVERNANCE", **period):
    return {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": mode, **period}}}


def configure(s3, bucket, configuration):
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration=configuration)


def configuration(s3, bucket):
    return s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"]


def document(inner):
    return f"<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>".encode()


ENABLED = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>"


def default(inner):
    return f"{ENABLED}<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>"


def test_a_bucket_made_with_it_keeps_versions_and_has_no_default(s3, locked):
    assert configuration(s3, locked) == {"ObjectLockEnabled": "Enabled"}
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"


def test_a_bucket_without_it_has_no_configuration(s3, fresh):
    with fails("ObjectLockConfigurationNotFoundError", 404):
        configuration(s3, fresh)


@pytest.mark.parametrize("wanted", [
    rule(Days=1),
    rule("COMPLIANCE", Days=36500),
    rule(Years=1),
    rule("COMPLIANCE", Years=100),
    {"ObjectLockEnabled": "Enabled"},
])
def test_what_was_put_is_returned(s3, locked, wanted):
    configure(s3, locked, wanted)
    assert configuration(s3, locked) == wanted


def test_a_configuration_without_a_rule_takes_the_default_away(s3, locked):
    configure(s3, locked, rule(Days=1))
    configure(s3, locked, {"ObjectLockEnabled": "Enabled"})
    s3.put_object(Bucket=locked, Key="k", Body=b"x")
    assert "ObjectLockMode" not in s3.head_object(Bucket=locked, Key="k")


def test_a_bucket_that_keeps_versions_can_have_it_later(s3, versioned):
    configure(s3, versioned, rule(Days=1))
    assert configuration(s3, versioned) == rule(Days=1)


def test_a_bucket_that_keeps_none_is_in_the_wrong_state(s3, fresh):
    with fails("InvalidBucketState", 409):
        configure(s3, fresh, rule(Days=1))


def test_versioning_can_not_be_suspended_any_more(s3, locked):
    with fails("InvalidBucketState", 409):
        s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration={"Status": "Suspended"})
    enable(s3, locked)


@pytest.mark.parametrize("period", ["<Days>0</Days>", "<Days>-1</Days>", "<Years>0</Years>", "<Days>36501</Days>",
                                    "<Years>101</Years>"])
def test_a_period_that_is_none_is_an_invalid_retention_period(wire, s3, locked, period):
    body = document(default(f"<Mode>GOVERNANCE</Mode>{period}"))
    headers = {"content-md5": sums.md5(body)}
    reply = wire.call("PUT", f"/{locked}", {"object-lock": ""}, headers, body)
    reply.expect(400, "InvalidRetentionPeriod")
    assert configuration(s3, locked) == {"ObjectLockEnabled": "Enabled"}


@pytest.mark.parametrize("inner", [
    "",
    "<ObjectLockEnabled>Disabled</ObjectLockEnabled>",
    default("<Mode>governance</Mode><Days>1</Days>"),
    default("<Mode>GOVERNANCE</Mode>"),
    default("<Days>1</Days>"),
    default("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"),
    default("<Mode>GOVERNANCE</Mode><Days>many</Days>"),
])
def test_what_is_no_configuration_is_malformed_xml(wire, s3, locked, inner):
    body = document(inner)
    headers = {"content-md5": sums.md5(body)}
    wire.call("PUT", f"/{locked}", {"object-lock": ""}, headers, body).expect(400, "MalformedXML")
    assert configuration(s3, locked) == {"ObjectLockEnabled": "Enabled"}


@pytest.mark.parametrize("period,days", [({"Days": 3}, 3), ({"Years": 1}, 365)])
def test_a_default_holds_for_what_is_put_without_a_lock(s3, locked, period, days):
    configure(s3, locked, rule(**period))
    s3.put_object(Bucket=locked, Key="k", Body=b"x")
    head = s3.head_object(Bucket=locked, Key="k")
    assert head["ObjectLockMode"] == "GOVERNANCE" and "ObjectLockLegalHoldStatus" not in head
    until = head["LastModified"] + datetime.timedelta(days=days)
    # A year may have one day more.
    spare = datetime.timedelta(days=1 if "Years" in period else 0, seconds=60)
    assert abs(head["ObjectLockRetainUntilDate"] - until) <= spare


def test_a_request_that_says_otherwise_overrides_the_default(s3, locked):
    configure(s3, locked, rule(Days=1))
    until = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) + datetime.timedelta(days=30)
    s3.put_object(Bucket=locked, Key="k", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)
    assert s3.head_object(Bucket=locked, Key="k")["ObjectLockRetainUntilDate"] == until


def test_a_default_holds_for_copies_and_completed_uploads(s3, locked):
    s3.put_object(Bucket=locked, Key="k", Body=b"x")
    configure(s3, locked, rule(Days=1))
    s3.copy_object(Bucket=locked, Key="copy", CopySource={"Bucket": locked, "Key": "k"})
    named = {"Bucket": locked, "Key": "parts"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    part = {"PartNumber": 1, "ETag": s3.upload_part(**named, PartNumber=1, Body=b"x")["ETag"]}
    s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [part]})
    for key in ["copy", "parts"]:
        assert s3.get_object_retention(Bucket=locked, Key=key)["Retention"]["Mode"] == "GOVERNANCE", key
    assert "ObjectLockMode" not in s3.head_object(Bucket=locked, Key="k"), "what was there is as it was"


def test_a_delete_marker_is_never_locked(s3, locked):
    configure(s3, locked, rule(Days=1))
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    assert s3.delete_object(Bucket=locked, Key="k", VersionId=marker)["DeleteMarker"] is True


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, call):
    name = new_bucket_name()
    with fails("NoSuchBucket", 404):
        configuration(s3, name) if call == "get" else configure(s3, name, rule(Days=1))


def test_anonymous_requests_can_neither_see_nor_change_it(wire, s3, locked):
    wire.anonymous("GET", f"/{locked}", {"object-lock": ""}).expect(403, "AccessDenied")
    body = document(default("<Mode>GOVERNANCE</Mode><Days>1</Days>"))
    wire.anonymous("PUT", f"/{locked}", {"object-lock": ""}, body=body).expect(403, "AccessDenied")
    assert configuration(s3, locked) == {"ObjectLockEnabled": "Enabled"}
