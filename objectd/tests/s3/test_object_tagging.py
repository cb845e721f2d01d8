"""PutObjectTagging, GetObjectTagging and DeleteObjectTagging, and tags that come with other calls."""

import json

import pytest

from conftest import fails, new_bucket_name


def tag_set(tags):
    return {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}


@pytest.fixture
def named(s3, bucket, key):
    """An object with a tag."""
    s3.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging="a=1")
    return {"Bucket": bucket, "Key": key}


@pytest.fixture
def tags(s3):
    def read(**named):
        return {tag["Key"]: tag["Value"] for tag in s3.get_object_tagging(**named)["TagSet"]}

    return read


def test_tags_replace_all_that_were_there(s3, named, tags):
    s3.put_object_tagging(**named, Tagging=tag_set({"b": "2", "c": ""}))
    assert tags(**named) == {"b": "2", "c": ""}
    assert s3.get_object(**named)["Body"].read() == b"x"


def test_an_empty_set_takes_them_away(s3, named, tags):
    s3.put_object_tagging(**named, Tagging=tag_set({}))
    assert tags(**named) == {}


def test_deleted_tags_are_gone_and_the_object_stays(wire, s3, named, tags):
    path = f"/{named['Bucket']}/{named['Key']}"
    wire.call("DELETE", path, {"tagging": ""}).expect(204)
    assert tags(**named) == {} and s3.get_object(**named)["Body"].read() == b"x"
    wire.call("DELETE", path, {"tagging": ""}).expect(204)


def test_tags_change_neither_etag_nor_time(s3, named):
    before = s3.head_object(**named)
    s3.put_object_tagging(**named, Tagging=tag_set({"b": "2"}))
    after = s3.head_object(**named)
    assert [after[name] for name in ("ETag", "LastModified")] == [before[name] for name in ("ETag", "LastModified")]


def test_the_number_of_tags_is_a_header_of_what_is_read(wire, s3, named):
    path = f"/{named['Bucket']}/{named['Key']}"
    s3.put_object_tagging(**named, Tagging=tag_set({"a": "1", "b": "2"}))
    for method in ["GET", "HEAD"]:
        assert wire.call(method, path).expect(200).header("x-amz-tagging-count") == "2"
    s3.delete_object_tagging(**named)
    assert wire.call("GET", path).expect(200).header("x-amz-tagging-count") is None


def test_an_object_put_without_tags_has_none(s3, bucket, key, tags):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x")
    assert tags(Bucket=bucket, Key=key) == {}


def test_an_object_put_again_without_tags_has_none(s3, named, tags):
    s3.put_object(**named, Body=b"y")
    assert tags(**named) == {}


def test_tags_of_a_header_are_url_encoded(s3, bucket, key, tags):
    s3.put_object(Bucket=bucket, Key=key, Body=b"x", Tagging="a%20b=x%2By%3D&empty=&gr%C3%B6%C3%9Fe=1")
    assert tags(Bucket=bucket, Key=key) == {"a b": "x+y=", "empty": "", "gr\u00f6\u00dfe": "1"}


GOOD = {
    "128_letters": ("k" * 128, "v"),
    "256_letters_of_value": ("k", "v" * 256),
    "letters_beyond_ascii": ("gr\u00f6\u00dfe", "\u65e5\u672c"),
    "allowed_characters": ("a b+-=._:/@", "a b+-=._:/@"),
    "an_empty_value": ("k", ""),
}


@pytest.mark.parametrize("case", GOOD)
def test_a_tag_may_have(s3, named, tags, case):
    s3.put_object_tagging(**named, Tagging=tag_set(dict([GOOD[case]])))
    assert tags(**named) == dict([GOOD[case]])


BAD = {
    "129_letters": ("k" * 129, "v"),
    "257_letters_of_value": ("k", "v" * 257),
    "a_reserved_name": ("aws:k", "v"),
    "other_characters": ("k<", "v"),
    "other_characters_in_the_value": ("k", "v;"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_tag_with_is_an_invalid_tag(s3, named, tags, case):
    with fails("InvalidTag", 400):
        s3.put_object_tagging(**named, Tagging=tag_set(dict([BAD[case]])))
    assert tags(**named) == {"a": "1"}


def test_a_tag_without_a_name_is_an_invalid_tag(wire, named, tags):
    body = b"<Tagging><TagSet><Tag><Key></Key><Value>v</Value></Tag></TagSet></Tagging>"
    wire.call("PUT", f"/{named['Bucket']}/{named['Key']}", {"tagging": ""}, body=body).expect(400, "InvalidTag")
    assert tags(**named) == {"a": "1"}


def test_ten_tags_are_taken_and_eleven_are_not(s3, named, tags):
    ten = {f"k{n}": str(n) for n in range(10)}
    s3.put_object_tagging(**named, Tagging=tag_set(ten))
    with fails("BadRequest", 400):
        s3.put_object_tagging(**named, Tagging=tag_set({**ten, "one more": ""}))
    assert tags(**named) == ten


def test_a_name_twice_is_an_invalid_tag(s3, named):
    twice = {"TagSet": [{"Key": "k", "Value": "1"}, {"Key": "k", "Value": "2"}]}
    with fails("InvalidTag", 400):
        s3.put_object_tagging(**named, Tagging=twice)


@pytest.mark.parametrize("header", ["a=1&a=2", "a=%zz", "a=%ff"])
def test_a_header_that_is_no_tags_is_an_invalid_argument(wire, bucket, key, header):
    reply = wire.call("PUT", f"/{bucket}/{key}", headers={"x-amz-tagging": header}, body=b"x")
    reply.expect(400, "InvalidArgument")


@pytest.mark.parametrize("body", [
    b"",
    b"<Tagging/>",
    b"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>",
    b"<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>",
    b"<Tagging><TagSet><Other/></TagSet></Tagging>",
    b"<Tagging><TagSet>",
])
def test_a_document_that_is_no_tags_is_malformed_xml(wire, named, tags, body):
    path = f"/{named['Bucket']}/{named['Key']}"
    wire.call("PUT", path, {"tagging": ""}, body=body).expect(400, "MalformedXML")
    assert tags(**named) == {"a": "1"}


def test_a_copy_brings_the_tags(s3, named, tags):
    there = {**named, "Key": named["Key"] + "/copy"}
    s3.copy_object(**there, CopySource=named)
    assert tags(**there) == {"a": "1"}


@pytest.mark.parametrize("header,expected", [({"Tagging": "z=9"}, {"z": "9"}), ({}, {})])
def test_a_copy_that_replaces_tags_has_those_of_the_request(s3, named, tags, header, expected):
    there = {**named, "Key": named["Key"] + "/copy"}
    s3.copy_object(**there, CopySource=named, TaggingDirective="REPLACE", **header)
    assert tags(**there) == expected


def test_an_upload_in_parts_has_the_tags_that_it_was_created_with(s3, bucket, key, tags):
    named = {"Bucket": bucket, "Key": key}
    upload = s3.create_multipart_upload(**named, Tagging="m=1")["UploadId"]
    etag = s3.upload_part(**named, UploadId=upload, PartNumber=1, Body=b"x")["ETag"]
    parts = {"Parts": [{"PartNumber": 1, "ETag": etag}]}
    s3.complete_multipart_upload(**named, UploadId=upload, MultipartUpload=parts)
    assert tags(**named) == {"m": "1"}


def test_each_version_has_tags_of_its_own(s3, versioned, tags):
    named = {"Bucket": versioned, "Key": "k"}
    old = s3.put_object(**named, Body=b"1", Tagging="a=1")["VersionId"]
    new = s3.put_object(**named, Body=b"2", Tagging="a=2")["VersionId"]
    answer = s3.put_object_tagging(**named, VersionId=old, Tagging=tag_set({"a": "0"}))
    assert answer["VersionId"] == old
    assert tags(**named, VersionId=old) == {"a": "0"} and tags(**named) == {"a": "2"}
    assert s3.get_object_tagging(**named)["VersionId"] == new
    assert s3.delete_object_tagging(**named, VersionId=old)["VersionId"] == old
    assert tags(**named, VersionId=old) == {} and tags(**named, VersionId=new) == {"a": "2"}


def test_a_delete_marker_has_no_tags(s3, versioned):
    named = {"Bucket": versioned, "Key": "k"}
    s3.put_object(**named, Body=b"1")
    marker = s3.delete_object(**named)["VersionId"]
    with fails("NoSuchKey", 404):
        s3.get_object_tagging(**named)
    for call in [lambda **version: s3.put_object_tagging(**named, **version, Tagging=tag_set({})),
                 lambda **version: s3.get_object_tagging(**named, **version)]:
        with fails("MethodNotAllowed", 405):
            call(VersionId=marker)


def test_a_key_that_does_not_exist_is_no_such_key(s3, bucket):
    named = {"Bucket": bucket, "Key": "none/there"}
    with fails("NoSuchKey", 404):
        s3.get_object_tagging(**named)
    with fails("NoSuchKey", 404):
        s3.put_object_tagging(**named, Tagging=tag_set({}))


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.get_object_tagging(Bucket=new_bucket_name(), Key="k")


def test_anonymous_requests_can_neither_see_nor_change_tags(wire, named, tags):
    path = f"/{named['Bucket']}/{named['Key']}"
    body = b"<Tagging><TagSet/></Tagging>"
    for method, sent in [("GET", b""), ("PUT", body), ("DELETE", b"")]:
        wire.anonymous(method, path, {"tagging": ""}, body=sent).expect(403, "AccessDenied")
    assert tags(**named) == {"a": "1"}


def deny(bucket, action, condition):
    statement = {"Effect": "Deny", "Principal": "*", "Action": action, "Resource": f"arn:aws:s3:::{bucket}/*",
                 "Condition": {"StringEquals": condition}}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def test_a_policy_about_the_tags_of_an_object_that_is_there(s3, fresh):
    named = {"Bucket": fresh, "Key": "k"}
    s3.put_object(**named, Body=b"x", Tagging="class=open")
    s3.put_bucket_policy(Bucket=fresh, Policy=deny(fresh, "s3:GetObject", {"s3:ExistingObjectTag/class": "secret"}))
    assert s3.get_object(**named)["Body"].read() == b"x"
    s3.put_object_tagging(**named, Tagging=tag_set({"class": "secret"}))
    with fails("AccessDenied", 403):
        s3.get_object(**named)
    with fails("AccessDenied", 403):
        s3.copy_object(Bucket=fresh, Key="copy", CopySource=named)
    s3.delete_object_tagging(**named)
    assert s3.get_object(**named)["Body"].read() == b"x"


def test_a_policy_with_a_tag_of_the_object_in_a_variable(s3, fresh):
    named = {"Bucket": fresh, "Key": "locked"}
    s3.put_object(**named, Body=b"x", Tagging="only=other")
    statement = {"Effect": "Deny", "Principal": "*", "Action": "s3:GetObject",
                 "Resource": f"arn:aws:s3:::{fresh}/${{s3:ExistingObjectTag/only}}"}
    s3.put_bucket_policy(Bucket=fresh, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    assert s3.get_object(**named)["Body"].read() == b"x"
    s3.put_object_tagging(**named, Tagging=tag_set({"only": "locked"}))
    with fails("AccessDenied", 403):
        s3.get_object(**named)


def test_a_policy_about_the_tags_that_a_request_brings(s3, fresh):
    named = {"Bucket": fresh, "Key": "k"}
    condition = {"s3:RequestObjectTag/class": "forged"}
    s3.put_bucket_policy(Bucket=fresh, Policy=deny(fresh, ["s3:PutObject", "s3:PutObjectTagging"], condition))
    s3.put_object(**named, Body=b"x", Tagging="class=true")
    with fails("AccessDenied", 403):
        s3.put_object(**named, Body=b"y", Tagging="class=forged")
    with fails("AccessDenied", 403):
        s3.put_object_tagging(**named, Tagging=tag_set({"class": "forged"}))
    assert s3.get_object(**named)["Body"].read() == b"x"
