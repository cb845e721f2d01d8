"""DeleteObjects."""

import pytest

import sums
from conftest import fails, new_bucket_name

BODY = b"what is stored"


def keys(count):
    return [f"key-{number:04}" for number in range(count)]


def post(wire, bucket, document, headers=None):
    headers = {"content-md5": sums.md5(document), **(headers or {})}
    return wire.call("POST", f"/{bucket}", {"delete": ""}, headers, document)


def test_removes_all_that_are_named_and_names_each(s3, fresh):
    for name in keys(3):
        s3.put_object(Bucket=fresh, Key=name, Body=BODY)
    answer = s3.delete_objects(Bucket=fresh, Delete={"Objects": [{"Key": name} for name in keys(3)]})
    assert [found["Key"] for found in answer["Deleted"]] == keys(3) and "Errors" not in answer
    assert s3.list_objects_v2(Bucket=fresh)["KeyCount"] == 0


def test_a_key_that_does_not_exist_is_reported_as_deleted(s3, bucket, key):
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}]})
    assert answer["Deleted"] == [{"Key": key}]


def test_quiet_reports_errors_only(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key}], "Quiet": True})
    assert "Deleted" not in answer and "Errors" not in answer
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key=key)


def test_a_thousand_keys_are_the_limit(s3, bucket):
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in keys(1000)]})
    assert len(answer["Deleted"]) == 1000


def test_more_keys_are_malformed_xml(s3, bucket):
    with fails("MalformedXML", 400):
        s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": name} for name in keys(1001)]})


def test_no_keys_are_malformed_xml(wire, bucket):
    post(wire, bucket, b"<Delete></Delete>").expect(400, "MalformedXML")


@pytest.mark.parametrize("document", [b"", b"x", b"<Delete><Object><Key>k</Key>", b"<Other/>", b"<Delete><Object/></Delete>"])
def test_a_document_that_is_none_is_malformed_xml(wire, bucket, document):
    reply = post(wire, bucket, document)
    assert reply.status == 400 and reply.code in ("MalformedXML", "MissingRequestBodyError"), reply


def test_a_document_with_an_entity_is_refused(wire, bucket):
    document = b'<!DOCTYPE d [<!ENTITY k "x">]><Delete><Object><Key>&k;</Key></Object></Delete>'
    post(wire, bucket, document).expect(400, "MalformedXML")


def test_without_content_md5_or_checksum_is_an_invalid_request(wire, bucket):
    document = b"<Delete><Object><Key>k</Key></Object></Delete>"
    wire.call("POST", f"/{bucket}", {"delete": ""}, body=document).expect(400, "InvalidRequest")


@pytest.mark.parametrize("algorithm", sums.NAMES)
def test_a_checksum_takes_the_place_of_content_md5(wire, bucket, algorithm):
    document = b"<Delete><Object><Key>k</Key></Object></Delete>"
    headers = {sums.header(algorithm): sums.of(algorithm, document)}
    wire.call("POST", f"/{bucket}", {"delete": ""}, headers, document).expect(200)


def test_a_wrong_content_md5_is_bad_digest_and_removes_nothing(wire, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    document = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
    post(wire, bucket, document, {"content-md5": sums.md5(b"other")}).expect(400, "BadDigest")
    s3.head_object(Bucket=bucket, Key=key)


def test_each_object_is_answered_for_itself(s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    objects = [{"Key": key, "ETag": sums.etag(b"other")}, {"Key": key + "x"}]
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": objects})
    assert [(error["Key"], error["Code"]) for error in answer["Errors"]] == [(key, "PreconditionFailed")]
    assert [found["Key"] for found in answer["Deleted"]] == [key + "x"]
    s3.head_object(Bucket=bucket, Key=key)


def test_a_key_too_long_is_an_error_of_that_key(s3, bucket, key):
    answer = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k" * 1025}, {"Key": key}]})
    assert answer["Errors"][0]["Code"] == "KeyTooLongError" and answer["Deleted"][0]["Key"] == key


def test_keys_with_characters_that_xml_escapes(s3, fresh):
    names = ["a&b", "<tag>", 'quo"te', " spaces ", "gr\u00f6\u00dfe"]
    for name in names:
        s3.put_object(Bucket=fresh, Key=name, Body=BODY)
    answer = s3.delete_objects(Bucket=fresh, Delete={"Objects": [{"Key": name} for name in names]})
    assert [found["Key"] for found in answer["Deleted"]] == names
    assert s3.list_objects_v2(Bucket=fresh)["KeyCount"] == 0


def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3):
    with fails("NoSuchBucket", 404):
        s3.delete_objects(Bucket=new_bucket_name(), Delete={"Objects": [{"Key": "k"}]})


def test_anonymous_requests_remove_nothing(wire, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    document = f"<Delete><Object><Key>{key}</Key></Object></Delete>".encode()
    reply = wire.anonymous("POST", f"/{bucket}", {"delete": ""}, {"content-md5": sums.md5(document)}, document)
    # AWS answers for each key.
    assert reply.status == 403 or reply.texts("Error/Code") == ["AccessDenied"], reply
    s3.head_object(Bucket=bucket, Key=key)
