//! Versions, tags and locks, as boto3 sees them at its defaults.

use crate::up::{Up, python};

/// What all scripts begin with.
const PRELUDE: &str = r#"
import boto3, datetime, json
s3 = boto3.client("s3")

def fails(code, status, call, **args):
    try:
        call(**args)
    except s3.exceptions.ClientError as error:
        found = error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"]
        assert found == (code, status), (found, code, status, error)
        return error.response["ResponseMetadata"]["HTTPHeaders"]
    raise AssertionError(f"{call} did not fail with {code}")

def read(key, **args):
    return s3.get_object(Bucket="bucket", Key=key, **args)["Body"].read()

def versions(**args):
    found, pages = [], s3.get_paginator("list_object_versions").paginate(Bucket="bucket", **args)
    for page in pages:
        found += [("D" if "ETag" not in v else "V", v["Key"], v["VersionId"], v["IsLatest"])
                  for v in page.get("Versions", []) + page.get("DeleteMarkers", [])]
    return found

def names(**args):
    return [o["Key"] for page in s3.get_paginator("list_objects_v2").paginate(Bucket="bucket", **args)
            for o in page.get("Contents", [])]

def empty(bucket, **args):
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket, PaginationConfig={"PageSize": 2}):
        doomed = [{"Key": v["Key"], "VersionId": v["VersionId"]}
                  for v in page.get("Versions", []) + page.get("DeleteMarkers", [])]
        answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": doomed}, **args)
        assert "Errors" not in answer, answer
    s3.delete_bucket(Bucket=bucket)
"#;

fn run(name: &str, script: &str) {
    let Some(python) = python(name, "boto3") else { return };
    Up::start(&[]).check(&python, &format!("{PRELUDE}{script}\nprint('ALL-RIGHT')"), &[]);
}

const VERSIONS: &str = r#"
s3.create_bucket(Bucket="bucket")
assert "Status" not in s3.get_bucket_versioning(Bucket="bucket")
old = s3.put_object(Bucket="bucket", Key="k", Body=b"old")
assert "VersionId" not in old
fails("IllegalVersioningConfigurationException", 400, s3.put_bucket_versioning, Bucket="bucket", VersioningConfiguration={})
fails("NotImplemented", 501, s3.put_bucket_versioning, Bucket="bucket",
      VersioningConfiguration={"Status": "Enabled", "MFADelete": "Enabled"})
s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
assert s3.get_bucket_versioning(Bucket="bucket")["Status"] == "Enabled"

# What was there before is the null version.
assert s3.head_object(Bucket="bucket", Key="k")["VersionId"] == "null"
big = bytes(range(256)) * 100
one = s3.put_object(Bucket="bucket", Key="k", Body=big)["VersionId"]
two = s3.put_object(Bucket="bucket", Key="k", Body=b"two")["VersionId"]
assert len({one, two, "null"}) == 3
assert read("k") == b"two" and read("k", VersionId=one) == big and read("k", VersionId="null") == b"old"
assert s3.get_object(Bucket="bucket", Key="k", VersionId=one, Range="bytes=256-257")["Body"].read() == b"\0\1"
assert s3.head_object(Bucket="bucket", Key="k", VersionId=one)["ContentLength"] == len(big)
assert s3.get_object_attributes(Bucket="bucket", Key="k", VersionId=one, ObjectAttributes=["ObjectSize"])["ObjectSize"] == len(big)
assert s3.get_object_acl(Bucket="bucket", Key="k", VersionId=one)["Grants"]
assert versions() == [("V", "k", two, True), ("V", "k", one, False), ("V", "k", "null", False)], versions()
none = "0123456789abcdef0123456789abcdef"
fails("NoSuchVersion", 404, s3.get_object, Bucket="bucket", Key="k", VersionId=none)
fails("InvalidArgument", 400, s3.get_object, Bucket="bucket", Key="k", VersionId="nonsense")
fails("NoSuchVersion", 404, s3.get_object, Bucket="bucket", Key="other", VersionId=one)

# A delete marker hides the key, and is a version.
gone = s3.delete_object(Bucket="bucket", Key="k")
assert gone["DeleteMarker"] is True
marker = gone["VersionId"]
head = fails("NoSuchKey", 404, s3.get_object, Bucket="bucket", Key="k")
assert head["x-amz-delete-marker"] == "true" and head["x-amz-version-id"] == marker
head = fails("MethodNotAllowed", 405, s3.get_object, Bucket="bucket", Key="k", VersionId=marker)
assert head["x-amz-delete-marker"] == "true" and head["allow"] == "DELETE" and "last-modified" in head
fails("404", 404, s3.head_object, Bucket="bucket", Key="k")
fails("405", 405, s3.head_object, Bucket="bucket", Key="k", VersionId=marker)
assert names() == [] and read("k", VersionId=two) == b"two"
assert versions()[0] == ("D", "k", marker, True) or ("D", "k", marker, True) in versions()
fails("InvalidRequest", 400, s3.copy_object, Bucket="bucket", Key="c", CopySource={"Bucket": "bucket", "Key": "k", "VersionId": marker})
fails("NoSuchKey", 404, s3.copy_object, Bucket="bucket", Key="c", CopySource={"Bucket": "bucket", "Key": "k"})
# If-None-Match sees no object; it makes one. (boto3 expects a 100 Continue, even for nothing.)
fails("NoSuchKey", 404, s3.put_object, Bucket="bucket", Key="k", Body=b"", IfMatch='"x"')
three = s3.put_object(Bucket="bucket", Key="k", Body=b"three", IfNoneMatch="*")["VersionId"]
fails("PreconditionFailed", 412, s3.put_object, Bucket="bucket", Key="k", Body=b"x", IfNoneMatch="*")
s3.delete_object(Bucket="bucket", Key="k", VersionId=three)
back = s3.delete_object(Bucket="bucket", Key="k", VersionId=marker)
assert back["DeleteMarker"] is True and back["VersionId"] == marker
assert read("k") == b"two"
# Of what never was, a marker too; of a version that never was, nothing.
assert s3.delete_object(Bucket="bucket", Key="never")["DeleteMarker"] is True
assert s3.delete_object(Bucket="bucket", Key="k", VersionId=none)["VersionId"] == none

# An earlier version is brought back by copying it over itself.
copied = s3.copy_object(Bucket="bucket", Key="k", CopySource={"Bucket": "bucket", "Key": "k", "VersionId": one})
assert copied["CopySourceVersionId"] == one and copied["VersionId"] not in (one, two)
assert read("k") == big
upload = s3.create_multipart_upload(Bucket="bucket", Key="m")["UploadId"]
part = s3.upload_part_copy(Bucket="bucket", Key="m", UploadId=upload, PartNumber=1,
                           CopySource={"Bucket": "bucket", "Key": "k", "VersionId": "null"})
assert part["CopySourceVersionId"] == "null"
parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
made = s3.complete_multipart_upload(Bucket="bucket", Key="m", UploadId=upload, MultipartUpload=parts)
assert read("m", VersionId=made["VersionId"]) == b"old"

# Suspended: the null version gives way to the next null version only.
s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Suspended"})
before = len(versions(Prefix="k"))
assert s3.put_object(Bucket="bucket", Key="k", Body=b"null again")["VersionId"] == "null"
assert len(versions(Prefix="k")) == before and read("k") == b"null again"
assert versions(Prefix="k")[0] == ("V", "k", "null", True)
hidden = s3.delete_object(Bucket="bucket", Key="k")
assert hidden["VersionId"] == "null" and hidden["DeleteMarker"] is True
fails("NoSuchKey", 404, s3.get_object, Bucket="bucket", Key="k")
assert len(versions(Prefix="k")) == before
s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})

# Listings by pages, prefixes and delimiters.
for name in ["d/1", "d/2", "e"]:
    for body in [b"1", b"2"]:
        s3.put_object(Bucket="bucket", Key=name, Body=body)
s3.delete_object(Bucket="bucket", Key="d/1")
assert names() == ["d/2", "e", "m"]
whole = versions()
for size in [1, 2, 3]:
    assert sorted(versions(PaginationConfig={"PageSize": size})) == sorted(whole), size
page = s3.list_object_versions(Bucket="bucket", Delimiter="/")
assert [p["Prefix"] for p in page["CommonPrefixes"]] == ["d/"]
assert all(not v["Key"].startswith("d/") for v in page["Versions"])
fails("InvalidArgument", 400, s3.list_object_versions, Bucket="bucket", VersionIdMarker=one)
second = s3.list_object_versions(Bucket="bucket", KeyMarker="k", VersionIdMarker=two, Prefix="k")
assert [v["VersionId"] for v in second["Versions"]] == [one]
strange = "strange \u00e9+%2F&<>"
s3.put_object(Bucket="bucket", Key=strange, Body=b"x")
assert versions(Prefix="strange")[0][1] == strange

# Many at once: markers, versions, and one that is none.
answer = s3.delete_objects(Bucket="bucket", Delete={"Objects": [
    {"Key": "e"}, {"Key": "k", "VersionId": two}, {"Key": "k", "VersionId": "nonsense"}]})
deleted = {d["Key"]: d for d in answer["Deleted"]}
assert deleted["e"]["DeleteMarker"] is True and deleted["e"]["DeleteMarkerVersionId"]
assert deleted["k"]["VersionId"] == two and "DeleteMarker" not in deleted["k"]
assert [(e["Key"], e["VersionId"], e["Code"]) for e in answer["Errors"]] == [("k", "nonsense", "InvalidArgument")]
fails("BucketNotEmpty", 409, s3.delete_bucket, Bucket="bucket")
empty("bucket")
"#;

#[test]
fn versions_are_kept_hidden_and_brought_back() {
    run("versions_are_kept_hidden_and_brought_back", VERSIONS);
}

const TAGS: &str = r#"
s3.create_bucket(Bucket="bucket")
def tags(key, **args):
    return {t["Key"]: t["Value"] for t in s3.get_object_tagging(Bucket="bucket", Key=key, **args)["TagSet"]}
def tag_set(**tags):
    return {"TagSet": [{"Key": k, "Value": v} for k, v in tags.items()]}
s3.put_object(Bucket="bucket", Key="k", Body=b"1", Tagging="a=1&b%20c=x%2By")
assert tags("k") == {"a": "1", "b c": "x+y"}
assert s3.get_object(Bucket="bucket", Key="k")["TagCount"] == 2
assert s3.head_object(Bucket="bucket", Key="k")["ResponseMetadata"]["HTTPHeaders"]["x-amz-tagging-count"] == "2"
s3.put_object_tagging(Bucket="bucket", Key="k", Tagging=tag_set(only="this"))
assert tags("k") == {"only": "this"} and read("k") == b"1"
s3.delete_object_tagging(Bucket="bucket", Key="k")
assert tags("k") == {} and "TagCount" not in s3.get_object(Bucket="bucket", Key="k")
fails("NoSuchKey", 404, s3.get_object_tagging, Bucket="bucket", Key="none")
eleven = {str(n): "" for n in range(11)}
fails("BadRequest", 400, s3.put_object_tagging, Bucket="bucket", Key="k", Tagging=tag_set(**eleven))
fails("InvalidTag", 400, s3.put_object_tagging, Bucket="bucket", Key="k", Tagging=tag_set(**{"k" * 129: ""}))
fails("InvalidTag", 400, s3.put_object_tagging, Bucket="bucket", Key="k", Tagging=tag_set(k="v" * 257))
twice = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
fails("InvalidTag", 400, s3.put_object_tagging, Bucket="bucket", Key="k", Tagging=twice)
fails("InvalidArgument", 400, s3.put_object, Bucket="bucket", Key="k", Body=b"x", Tagging="a=1&a=2")

# Copies bring their tags, or others.
s3.put_object(Bucket="bucket", Key="k", Body=b"1", Tagging="a=1")
source = {"Bucket": "bucket", "Key": "k"}
s3.copy_object(Bucket="bucket", Key="same", CopySource=source)
s3.copy_object(Bucket="bucket", Key="other", CopySource=source, TaggingDirective="REPLACE", Tagging="z=9")
s3.copy_object(Bucket="bucket", Key="bare", CopySource=source, TaggingDirective="REPLACE")
assert (tags("same"), tags("other"), tags("bare")) == ({"a": "1"}, {"z": "9"}, {})
upload = s3.create_multipart_upload(Bucket="bucket", Key="m", Tagging="m=1")["UploadId"]
part = s3.upload_part(Bucket="bucket", Key="m", UploadId=upload, PartNumber=1, Body=b"x" * 10000)["ETag"]
s3.complete_multipart_upload(Bucket="bucket", Key="m", UploadId=upload,
                             MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})
assert tags("m") == {"m": "1"}

# Each version has its own.
s3.put_bucket_versioning(Bucket="bucket", VersioningConfiguration={"Status": "Enabled"})
new = s3.put_object(Bucket="bucket", Key="k", Body=b"2", Tagging="a=2")["VersionId"]
assert tags("k") == {"a": "2"} and tags("k", VersionId="null") == {"a": "1"}
assert s3.put_object_tagging(Bucket="bucket", Key="k", VersionId="null", Tagging=tag_set(a="0"))["VersionId"] == "null"
assert tags("k", VersionId=new) == {"a": "2"} and tags("k", VersionId="null") == {"a": "0"}
marker = s3.delete_object(Bucket="bucket", Key="k")["VersionId"]
fails("NoSuchKey", 404, s3.get_object_tagging, Bucket="bucket", Key="k")
fails("MethodNotAllowed", 405, s3.put_object_tagging, Bucket="bucket", Key="k", VersionId=marker, Tagging=tag_set())
s3.delete_object(Bucket="bucket", Key="k", VersionId=marker)

# Policies ask for tags: those that are there, and those that are to be. The root is held by a Deny.
def deny(action, condition):
    return {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": "arn:aws:s3:::bucket/*", "Condition": condition}
s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
    deny(["s3:GetObject", "s3:GetObjectVersion"], {"StringEquals": {"s3:ExistingObjectTag/class": "secret"}}),
    deny(["s3:PutObject", "s3:PutObjectTagging"], {"StringEquals": {"s3:RequestObjectTag/class": "forged"}}),
    deny(["s3:GetObjectVersion"], {"StringEquals": {"s3:VersionId": new}}),
]}))
s3.put_object(Bucket="bucket", Key="s", Body=b"s", Tagging="class=open")
assert read("s") == b"s"
s3.put_object_tagging(Bucket="bucket", Key="s", Tagging=tag_set(**{"class": "secret"}))
fails("AccessDenied", 403, s3.get_object, Bucket="bucket", Key="s")
fails("403", 403, s3.head_object, Bucket="bucket", Key="s")
fails("AccessDenied", 403, s3.copy_object, Bucket="bucket", Key="t", CopySource={"Bucket": "bucket", "Key": "s"})
fails("AccessDenied", 403, s3.put_object_tagging, Bucket="bucket", Key="s", Tagging=tag_set(**{"class": "forged"}))
fails("AccessDenied", 403, s3.put_object, Bucket="bucket", Key="s", Body=b"x", Tagging="class=forged")
s3.put_object_tagging(Bucket="bucket", Key="s", Tagging=tag_set(**{"class": "open"}))
assert read("s") == b"s"
fails("AccessDenied", 403, s3.get_object, Bucket="bucket", Key="k", VersionId=new)
assert read("k") == b"2" and read("k", VersionId="null") == b"1"
empty("bucket")
"#;

#[test]
fn tags_are_kept_counted_copied_and_asked_for() {
    run("tags_are_kept_counted_copied_and_asked_for", TAGS);
}

const LOCKS: &str = r#"
def later(seconds):
    return datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=seconds)
s3.create_bucket(Bucket="plain")
fails("ObjectLockConfigurationNotFoundError", 404, s3.get_object_lock_configuration, Bucket="plain")
fails("InvalidRequest", 400, s3.put_object, Bucket="plain", Key="k", Body=b"x", ObjectLockLegalHoldStatus="ON")
rule = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}}
fails("InvalidBucketState", 409, s3.put_object_lock_configuration, Bucket="plain", ObjectLockConfiguration=rule)

s3.create_bucket(Bucket="bucket", ObjectLockEnabledForBucket=True)
assert s3.get_bucket_versioning(Bucket="bucket")["Status"] == "Enabled"
fails("InvalidBucketState", 409, s3.put_bucket_versioning, Bucket="bucket", VersioningConfiguration={"Status": "Suspended"})
assert s3.get_object_lock_configuration(Bucket="bucket")["ObjectLockConfiguration"] == {"ObjectLockEnabled": "Enabled"}
free = s3.put_object(Bucket="bucket", Key="k", Body=b"free")["VersionId"]
fails("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket="bucket", Key="k")
fails("NoSuchObjectLockConfiguration", 404, s3.get_object_legal_hold, Bucket="bucket", Key="k")

# Legal hold.
s3.put_object_legal_hold(Bucket="bucket", Key="k", VersionId=free, LegalHold={"Status": "ON"})
assert s3.head_object(Bucket="bucket", Key="k")["ObjectLockLegalHoldStatus"] == "ON"
fails("AccessDenied", 403, s3.delete_object, Bucket="bucket", Key="k", VersionId=free, BypassGovernanceRetention=True)
assert s3.delete_object(Bucket="bucket", Key="k")["DeleteMarker"] is True
s3.put_object_legal_hold(Bucket="bucket", Key="k", VersionId=free, LegalHold={"Status": "OFF"})
assert s3.get_object_legal_hold(Bucket="bucket", Key="k", VersionId=free)["LegalHold"]["Status"] == "OFF"
s3.delete_object(Bucket="bucket", Key="k", VersionId=free)

# Governance: who may bypass it says so each time.
until = later(3600)
held = s3.put_object(Bucket="bucket", Key="g", Body=b"g", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until)["VersionId"]
found = s3.get_object_retention(Bucket="bucket", Key="g")["Retention"]
assert found["Mode"] == "GOVERNANCE" and abs(found["RetainUntilDate"] - until) < datetime.timedelta(seconds=1)
assert s3.get_object(Bucket="bucket", Key="g")["ObjectLockMode"] == "GOVERNANCE"
fails("AccessDenied", 403, s3.delete_object, Bucket="bucket", Key="g", VersionId=held)
answer = s3.delete_objects(Bucket="bucket", Delete={"Objects": [{"Key": "g", "VersionId": held}]})
assert [e["Code"] for e in answer["Errors"]] == ["AccessDenied"], answer
shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": later(600)}
fails("AccessDenied", 403, s3.put_object_retention, Bucket="bucket", Key="g", Retention=shorter)
s3.put_object_retention(Bucket="bucket", Key="g", Retention=shorter, BypassGovernanceRetention=True)
s3.put_object_retention(Bucket="bucket", Key="g", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later(7200)})
fails("InvalidArgument", 400, s3.put_object_retention, Bucket="bucket", Key="g", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later(-5)})
# The permission to bypass can be denied by itself.
s3.put_bucket_policy(Bucket="bucket", Policy=json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Deny", "Principal": "*", "Action": "s3:BypassGovernanceRetention", "Resource": "arn:aws:s3:::bucket/*"},
    {"Effect": "Deny", "Principal": "*", "Action": ["s3:PutObjectRetention", "s3:PutObject"], "Resource": "arn:aws:s3:::bucket/*",
     "Condition": {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "10"}}}]}))
fails("AccessDenied", 403, s3.delete_object, Bucket="bucket", Key="g", VersionId=held, BypassGovernanceRetention=True)
eleven = later(11 * 86400)
fails("AccessDenied", 403, s3.put_object_retention, Bucket="bucket", Key="g", Retention={"Mode": "GOVERNANCE", "RetainUntilDate": eleven})
fails("AccessDenied", 403, s3.put_object, Bucket="bucket", Key="p", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=eleven)
s3.delete_bucket_policy(Bucket="bucket")
s3.delete_object(Bucket="bucket", Key="g", VersionId=held, BypassGovernanceRetention=True)

# Compliance: nobody, until it is over.
end = later(6)
kept = s3.put_object(Bucket="bucket", Key="c", Body=b"c", ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=end)["VersionId"]
fails("AccessDenied", 403, s3.delete_object, Bucket="bucket", Key="c", VersionId=kept, BypassGovernanceRetention=True)
fails("AccessDenied", 403, s3.put_object_retention, Bucket="bucket", Key="c", BypassGovernanceRetention=True,
      Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later(3600)})
fails("BucketNotEmpty", 409, s3.delete_bucket, Bucket="bucket")
copied = s3.copy_object(Bucket="bucket", Key="copy", CopySource={"Bucket": "bucket", "Key": "c"})
fails("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, Bucket="bucket", Key="copy")

# A default holds for all that says nothing itself.
s3.put_object_lock_configuration(Bucket="bucket", ObjectLockConfiguration=rule)
assert s3.get_object_lock_configuration(Bucket="bucket")["ObjectLockConfiguration"] == rule
fails("InvalidRetentionPeriod", 400, s3.put_object_lock_configuration, Bucket="bucket", ObjectLockConfiguration={
    "ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 0}}})
s3.put_object(Bucket="bucket", Key="d", Body=b"d")
upload = s3.create_multipart_upload(Bucket="bucket", Key="m", ObjectLockLegalHoldStatus="ON")["UploadId"]
part = s3.upload_part(Bucket="bucket", Key="m", UploadId=upload, PartNumber=1, Body=b"x" * 10000)["ETag"]
made = s3.complete_multipart_upload(Bucket="bucket", Key="m", UploadId=upload,
                                    MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": part}]})["VersionId"]
for key in ["d", "m"]:
    assert s3.get_object_retention(Bucket="bucket", Key=key)["Retention"]["Mode"] == "GOVERNANCE", key
assert s3.get_object_legal_hold(Bucket="bucket", Key="m")["LegalHold"]["Status"] == "ON"
s3.put_object_legal_hold(Bucket="bucket", Key="m", LegalHold={"Status": "OFF"})
import time
while later(0) <= end:
    time.sleep(0.2)
s3.delete_object(Bucket="bucket", Key="c", VersionId=kept)
empty("bucket", BypassGovernanceRetention=True)
"#;

#[test]
fn locks_hold_until_they_are_over() {
    run("locks_hold_until_they_are_over", LOCKS);
}
