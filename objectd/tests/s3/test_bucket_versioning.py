"""PutBucketVersioning and GetBucketVersioning, and what versioning does to objects."""

import pytest

from conftest import enable, fails, new_bucket_name

NEVER = "0123456789abcdef0123456789abcdef"


def put(s3, bucket, body, key="k"):
    return s3.put_object(Bucket=bucket, Key=key, Body=body).get("VersionId")


def read(s3, bucket, **named):
    return s3.get_object(Bucket=bucket, Key="k", **named)["Body"].read()


def document(inner):
    return f"<VersioningConfiguration>{inner}</VersioningConfiguration>".encode()


def test_a_bucket_that_never_kept_versions_has_no_status(s3, fresh):
    assert "Status" not in s3.get_bucket_versioning(Bucket=fresh)
    assert put(s3, fresh, b"x") is None
    assert "VersionId" not in s3.head_object(Bucket=fresh, Key="k")


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_the_status_is_returned(s3, fresh, status):
    s3.put_bucket_versioning(Bucket=fresh, VersioningConfiguration={"Status": status})
    assert s3.get_bucket_versioning(Bucket=fresh)["Status"] == status


def test_versioning_can_be_suspended_and_enabled_again(s3, fresh):
    for status in ["Enabled", "Suspended", "Enabled"]:
        s3.put_bucket_versioning(Bucket=fresh, VersioningConfiguration={"Status": status})
    assert s3.get_bucket_versioning(Bucket=fresh)["Status"] == "Enabled"


@pytest.mark.parametrize("inner", [
    "<Status>enabled</Status>",
    "<Status>Off</Status>",
    "<Status></Status>",
    "<Status>Enabled</Status><Status>Suspended</Status>",
    "<Unknown>Enabled</Unknown>",
])
def test_what_is_no_status_is_malformed_xml(wire, s3, fresh, inner):
    wire.call("PUT", f"/{fresh}", {"versioning": ""}, body=document(inner)).expect(400, "MalformedXML")
    assert "Status" not in s3.get_bucket_versioning(Bucket=fresh)


def test_without_a_status_it_is_an_illegal_versioning_configuration(s3, fresh):
    with fails("IllegalVersioningConfigurationException", 400):
        s3.put_bucket_versioning(Bucket=fresh, VersioningConfiguration={})


@pytest.mark.parametrize("call", ["get", "put"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, call):
    name = new_bucket_name()
    with fails("NoSuchBucket", 404):
        s3.get_bucket_versioning(Bucket=name) if call == "get" else enable(s3, name)


def test_anonymous_requests_can_neither_see_nor_change_it(wire, s3, fresh):
    wire.anonymous("GET", f"/{fresh}", {"versioning": ""}).expect(403, "AccessDenied")
    body = document("<Status>Enabled</Status>")
    wire.anonymous("PUT", f"/{fresh}", {"versioning": ""}, body=body).expect(403, "AccessDenied")
    assert "Status" not in s3.get_bucket_versioning(Bucket=fresh)


def test_each_put_makes_a_version_and_the_newest_is_current(s3, versioned):
    ids = [put(s3, versioned, body) for body in (b"1", b"22", b"333")]
    assert len(set(ids)) == 3 and None not in ids
    assert read(s3, versioned) == b"333"
    assert [read(s3, versioned, VersionId=id) for id in ids] == [b"1", b"22", b"333"]
    assert s3.get_object(Bucket=versioned, Key="k")["VersionId"] == ids[2]
    head = s3.head_object(Bucket=versioned, Key="k", VersionId=ids[1])
    assert head["ContentLength"] == 2 and head["VersionId"] == ids[1]


def test_what_was_put_before_has_the_version_null(s3, fresh):
    put(s3, fresh, b"before")
    enable(s3, fresh)
    assert s3.head_object(Bucket=fresh, Key="k")["VersionId"] == "null"
    put(s3, fresh, b"after")
    assert read(s3, fresh) == b"after" and read(s3, fresh, VersionId="null") == b"before"


def test_a_range_of_a_version(s3, versioned):
    old = put(s3, versioned, b"0123456789")
    put(s3, versioned, b"x")
    found = s3.get_object(Bucket=versioned, Key="k", VersionId=old, Range="bytes=2-4")
    assert found["Body"].read() == b"234" and found["ContentRange"] == "bytes 2-4/10"


def test_conditions_are_about_the_version_that_is_named(s3, versioned):
    old = put(s3, versioned, b"old")
    etag = s3.head_object(Bucket=versioned, Key="k")["ETag"]
    put(s3, versioned, b"new")
    assert read(s3, versioned, VersionId=old, IfMatch=etag) == b"old"
    with fails("PreconditionFailed", 412):
        s3.get_object(Bucket=versioned, Key="k", IfMatch=etag)


def test_a_simple_delete_inserts_a_delete_marker(s3, versioned):
    old = put(s3, versioned, b"kept")
    gone = s3.delete_object(Bucket=versioned, Key="k")
    assert gone["DeleteMarker"] is True and gone["VersionId"] not in (None, old)
    assert read(s3, versioned, VersionId=old) == b"kept"
    assert "Contents" not in s3.list_objects_v2(Bucket=versioned)


def test_a_simple_get_of_a_delete_marker_is_no_such_key_and_says_so(wire, s3, versioned):
    put(s3, versioned, b"x")
    s3.delete_object(Bucket=versioned, Key="k")
    reply = wire.call("GET", f"/{versioned}/k").expect(404, "NoSuchKey")
    assert reply.header("x-amz-delete-marker") == "true"
    assert wire.call("HEAD", f"/{versioned}/k").expect(404).header("x-amz-delete-marker") == "true"


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_a_delete_marker_that_is_named_is_method_not_allowed(wire, s3, versioned, method):
    put(s3, versioned, b"x")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    reply = wire.call(method, f"/{versioned}/k", {"versionId": marker}).expect(405)
    assert reply.header("x-amz-delete-marker") == "true" and reply.header("allow") == "DELETE"
    assert reply.header("last-modified")


def test_deleting_a_delete_marker_brings_the_object_back(s3, versioned):
    put(s3, versioned, b"back")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    back = s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
    assert back["DeleteMarker"] is True and back["VersionId"] == marker
    assert read(s3, versioned) == b"back"


def test_a_simple_delete_of_a_delete_marker_adds_another(s3, versioned):
    markers = {s3.delete_object(Bucket=versioned, Key="k")["VersionId"] for _ in range(2)}
    found = s3.list_object_versions(Bucket=versioned)["DeleteMarkers"]
    assert {marker["VersionId"] for marker in found} == markers and len(markers) == 2


def test_deleting_a_version_is_for_good_and_the_one_before_is_current(s3, versioned):
    old, new = put(s3, versioned, b"old"), put(s3, versioned, b"new")
    gone = s3.delete_object(Bucket=versioned, Key="k", VersionId=new)
    assert gone["VersionId"] == new and "DeleteMarker" not in gone
    assert read(s3, versioned) == b"old" and s3.head_object(Bucket=versioned, Key="k")["VersionId"] == old
    with fails("NoSuchVersion", 404):
        s3.get_object(Bucket=versioned, Key="k", VersionId=new)


def test_deleting_a_version_that_is_not_there_is_done(s3, versioned):
    put(s3, versioned, b"x")
    s3.delete_object(Bucket=versioned, Key="k", VersionId=NEVER)
    assert read(s3, versioned) == b"x"


def test_a_version_of_another_key_is_no_such_version(s3, versioned):
    of_other = put(s3, versioned, b"x", key="other")
    put(s3, versioned, b"y")
    with fails("NoSuchVersion", 404):
        s3.get_object(Bucket=versioned, Key="k", VersionId=of_other)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("version", ["nonsense", ""])
def test_what_can_be_no_version_is_an_invalid_argument(wire, s3, versioned, method, version):
    put(s3, versioned, b"x")
    wire.call(method, f"/{versioned}/k", {"versionId": version}).expect(400, "InvalidArgument")
    assert read(s3, versioned) == b"x"


def test_suspended_a_put_replaces_the_null_version_only(s3, fresh):
    put(s3, fresh, b"null")
    enable(s3, fresh)
    kept = put(s3, fresh, b"kept")
    s3.put_bucket_versioning(Bucket=fresh, VersioningConfiguration={"Status": "Suspended"})
    assert s3.put_object(Bucket=fresh, Key="k", Body=b"null again")["VersionId"] == "null"
    assert read(s3, fresh) == b"null again" and read(s3, fresh, VersionId=kept) == b"kept"
    assert len(s3.list_object_versions(Bucket=fresh)["Versions"]) == 2


def test_suspended_a_simple_delete_leaves_a_null_delete_marker(s3, fresh):
    enable(s3, fresh)
    kept = put(s3, fresh, b"kept")
    s3.put_bucket_versioning(Bucket=fresh, VersioningConfiguration={"Status": "Suspended"})
    put(s3, fresh, b"null")
    gone = s3.delete_object(Bucket=fresh, Key="k")
    assert gone["DeleteMarker"] is True and gone["VersionId"] == "null"
    with fails("NoSuchKey", 404):
        s3.get_object(Bucket=fresh, Key="k")
    with fails("MethodNotAllowed", 405):
        s3.get_object(Bucket=fresh, Key="k", VersionId="null")
    assert read(s3, fresh, VersionId=kept) == b"kept"


def test_an_earlier_version_is_restored_by_copying_it(s3, versioned):
    old, new = put(s3, versioned, b"old"), put(s3, versioned, b"new")
    source = {"Bucket": versioned, "Key": "k", "VersionId": old}
    copied = s3.copy_object(Bucket=versioned, Key="k", CopySource=source)
    assert copied["CopySourceVersionId"] == old and copied["VersionId"] not in (old, new)
    assert read(s3, versioned) == b"old"


def test_a_delete_marker_can_not_be_copied(s3, versioned):
    put(s3, versioned, b"x")
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    with fails("InvalidRequest", 400):
        s3.copy_object(Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k", "VersionId": marker})
    with fails("NoSuchKey", 404):
        s3.copy_object(Bucket=versioned, Key="c", CopySource={"Bucket": versioned, "Key": "k"})


def test_a_completed_upload_is_a_version(s3, versioned):
    put(s3, versioned, b"before")
    named = {"Bucket": versioned, "Key": "k"}
    named["UploadId"] = s3.create_multipart_upload(**named)["UploadId"]
    part = {"PartNumber": 1, "ETag": s3.upload_part(**named, PartNumber=1, Body=b"parts")["ETag"]}
    made = s3.complete_multipart_upload(**named, MultipartUpload={"Parts": [part]})
    assert read(s3, versioned, VersionId=made["VersionId"]) == b"parts" == read(s3, versioned)
    assert len(s3.list_object_versions(Bucket=versioned)["Versions"]) == 2


def test_if_none_match_sees_no_object_where_a_delete_marker_is(s3, versioned):
    put(s3, versioned, b"x")
    with fails("PreconditionFailed", 412):
        s3.put_object(Bucket=versioned, Key="k", Body=b"y", IfNoneMatch="*")
    s3.delete_object(Bucket=versioned, Key="k")
    s3.put_object(Bucket=versioned, Key="k", Body=b"y", IfNoneMatch="*")
    assert read(s3, versioned) == b"y"


def test_delete_objects_makes_markers_and_deletes_versions(s3, versioned):
    doomed, kept = put(s3, versioned, b"1"), put(s3, versioned, b"2", key="kept")
    asked = [{"Key": "k", "VersionId": doomed}, {"Key": "kept"}, {"Key": "k", "VersionId": "nonsense"}]
    answer = s3.delete_objects(Bucket=versioned, Delete={"Objects": asked})
    found = {entry["Key"]: entry for entry in answer["Deleted"]}
    assert found["k"]["VersionId"] == doomed and "DeleteMarker" not in found["k"]
    assert found["kept"]["DeleteMarker"] is True and found["kept"]["DeleteMarkerVersionId"] != kept
    assert [(error["Key"], error["VersionId"]) for error in answer["Errors"]] == [("k", "nonsense")]


def test_a_bucket_with_nothing_but_a_delete_marker_is_not_empty(s3, versioned):
    s3.delete_object(Bucket=versioned, Key="k")
    with fails("BucketNotEmpty", 409):
        s3.delete_bucket(Bucket=versioned)


def test_anonymous_requests_can_not_read_versions(wire, s3, versioned):
    query = {"versionId": put(s3, versioned, b"x")}
    for method in ["GET", "DELETE"]:
        wire.anonymous(method, f"/{versioned}/k", query).expect(403, "AccessDenied")
    assert read(s3, versioned, VersionId=query["versionId"]) == b"x"
