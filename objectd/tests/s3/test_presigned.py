"""Signature Version 4 in the query: presigned URLs."""

import urllib.request

import pytest

import sigv4
from conftest import fails

BODY = b"what is stored"


@pytest.fixture(scope="module")
def stored(s3, bucket):
    s3.put_object(Bucket=bucket, Key="presigned", Body=BODY)
    return f"/{bucket}/presigned"


def test_a_url_of_boto3_gets_the_object(s3, wire, stored, bucket):
    url = s3.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "presigned"})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == BODY


def test_a_url_of_boto3_puts_an_object(s3, wire, bucket, key):
    url = s3.generate_presigned_url("put_object", {"Bucket": bucket, "Key": key})
    request = urllib.request.Request(url, BODY, {"Content-Type": ""}, method="PUT")
    assert urllib.request.urlopen(request).status == 200
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == BODY


@pytest.mark.parametrize("method,status", [("GET", 200), ("HEAD", 200)])
def test_a_right_signature_is_taken(wire, stored, method, status):
    wire.presigned(method, stored).expect(status)


def test_an_object_can_be_deleted(wire, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=BODY)
    wire.presigned("DELETE", f"/{bucket}/{key}").expect(204)
    with fails("404", 404):
        s3.head_object(Bucket=bucket, Key=key)


def test_a_put_with_a_signed_content_type_needs_it(wire, bucket, key):
    path, signs = f"/{bucket}/{key}", {"content-type": "text/plain"}
    wire.presigned("PUT", path, signs=signs, body=BODY).expect(200)
    wire.presigned("PUT", path, signs=signs, sends={"content-type": "x/y"}, body=BODY).expect(403, "SignatureDoesNotMatch")


def test_a_put_with_a_signed_length_refuses_another(wire, bucket, key):
    path, signs = f"/{bucket}/{key}", {"content-length": str(len(BODY))}
    wire.presigned("PUT", path, signs=signs, body=BODY).expect(200)
    reply = wire.presigned("PUT", path, signs=signs, sends={"content-length": "3"}, body=b"abc")
    reply.expect(403, "SignatureDoesNotMatch")


def test_an_expired_url_is_access_denied(wire, stored):
    reply = wire.presigned("GET", stored, expires="60", when=sigv4.When(-61)).expect(403, "AccessDenied")
    assert reply.xml.findtext("Message") == "Request has expired"


def test_a_url_is_good_until_it_expires(wire, stored):
    wire.presigned("GET", stored, expires="600", when=sigv4.When(-540)).expect(200)


def test_seven_days_are_the_longest_life(wire, stored):
    wire.presigned("GET", stored, expires="604800").expect(200)


@pytest.mark.parametrize("expires", ["604801", "-1", "x", "", "1.5", "99999999999999999999"])
def test_another_life_is_an_authorization_query_parameters_error(wire, stored, expires):
    wire.presigned("GET", stored, expires=expires).expect((400, 403), "AuthorizationQueryParametersError")


def test_a_url_from_the_future_is_refused(wire, stored):
    reply = wire.presigned("GET", stored, when=sigv4.When(16 * 60))
    assert reply.status == 403 and reply.code in ("AccessDenied", "RequestTimeTooSkewed"), reply


def test_another_method_does_not_match(wire, stored):
    pairs = sigv4.presign(wire.keys, sigv4.When(), "GET", wire.host, stored)
    wire.anonymous("DELETE", stored, pairs).expect(403, "SignatureDoesNotMatch")
    wire.anonymous("PUT", stored, pairs, body=b"x").expect(403, "SignatureDoesNotMatch")


def test_another_key_does_not_match(wire, stored):
    pairs = sigv4.presign(wire.keys, sigv4.When(), "GET", wire.host, stored)
    wire.anonymous("GET", stored + "x", pairs).expect(403, "SignatureDoesNotMatch")


def test_another_host_does_not_match(wire, stored):
    pairs = sigv4.presign(wire.keys, sigv4.When(), "GET", "elsewhere", stored)
    wire.anonymous("GET", stored, pairs).expect(403, "SignatureDoesNotMatch")


def test_an_added_parameter_does_not_match(wire, stored):
    reply = wire.presigned("GET", stored, alter=lambda pairs: [("response-content-type", "x/y"), *pairs])
    reply.expect(403, "SignatureDoesNotMatch")


def test_a_signed_parameter_is_obeyed(wire, stored):
    reply = wire.presigned("GET", stored, [("response-content-type", "x/y")]).expect(200)
    assert reply.header("content-type") == "x/y"


@pytest.mark.parametrize("name", ["X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders"])
def test_a_missing_parameter_is_an_authorization_query_parameters_error(wire, stored, name):
    reply = wire.presigned("GET", stored, alter=lambda pairs: [pair for pair in pairs if pair[0] != name])
    assert reply.status in (400, 403), reply
    assert reply.code in ("AuthorizationQueryParametersError", "AccessDenied"), reply


def test_a_wrong_signature_does_not_match(wire, stored):
    reply = wire.presigned("GET", stored, alter=lambda pairs: [*pairs[:-1], ("X-Amz-Signature", "0" * 64)])
    reply.expect(403, "SignatureDoesNotMatch")


def test_a_wrong_secret_does_not_match(wire, stored):
    keys = sigv4.Keys(wire.keys.access, "x" * 40, wire.keys.region)
    wire.presigned("GET", stored, keys=keys).expect(403, "SignatureDoesNotMatch")


def test_an_unknown_key_is_invalid_access_key_id(wire, stored):
    keys = sigv4.Keys("AKIA" + "X" * 16, wire.keys.secret, wire.keys.region)
    wire.presigned("GET", stored, keys=keys).expect(403, "InvalidAccessKeyId")


def test_another_region_is_an_authorization_query_parameters_error(wire, stored):
    other = "eu-west-1" if wire.keys.region != "eu-west-1" else "eu-west-2"
    keys = sigv4.Keys(wire.keys.access, wire.keys.secret, other)
    wire.presigned("GET", stored, keys=keys).expect((400, 403), "AuthorizationQueryParametersError")


def test_an_added_x_amz_header_is_refused(wire, bucket, key):
    reply = wire.presigned("PUT", f"/{bucket}/{key}", sends={"x-amz-acl": "private"}, body=BODY)
    reply.expect(403, "AccessDenied")


def test_a_host_that_is_not_signed_is_refused(wire, stored):
    pairs = sigv4.presign(wire.keys, sigv4.When(), "GET", wire.host, stored, headers={"x-other": "a"}, signed=["x-other"])
    reply = wire.anonymous("GET", stored, pairs, {"x-other": "a"})
    assert reply.status in (400, 403), reply


def test_a_repeated_parameter_is_refused(wire, stored):
    reply = wire.presigned("GET", stored, alter=lambda pairs: [*pairs, pairs[-1]])
    assert reply.status in (400, 403), reply


def test_signature_version_2_is_refused(wire, stored):
    query = [("AWSAccessKeyId", wire.keys.access), ("Expires", "2147483647"), ("Signature", "c2ln")]
    reply = wire.anonymous("GET", stored, query)
    assert reply.status in (400, 403), reply


def test_a_part_can_be_uploaded(wire, s3, bucket, key, upload):
    reply = wire.presigned("PUT", f"/{bucket}/{key}", [("partNumber", "1"), ("uploadId", upload)], body=BODY)
    reply.expect(200)
    assert len(s3.list_parts(Bucket=bucket, Key=key, UploadId=upload)["Parts"]) == 1
