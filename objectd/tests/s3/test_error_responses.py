"""What every error has: "REST error responses" of the S3 API reference."""

import pytest

from conftest import new_bucket_name


def test_an_error_is_xml_with_code_message_resource_and_request_id(wire, bucket):
    reply = wire.call("GET", f"/{bucket}/none/there").expect(404, "NoSuchKey")
    assert reply.header("content-type") == "application/xml"
    assert reply.xml.tag == "Error" and reply.xml.findtext("Message")
    assert reply.xml.findtext("RequestId") == reply.header("x-amz-request-id")
    assert reply.xml.findtext("HostId") == reply.header("x-amz-id-2")


def test_every_request_has_an_id_of_its_own(wire, bucket):
    ids = {wire.call("GET", f"/{bucket}").header("x-amz-request-id") for _ in range(5)}
    assert len(ids) == 5


def test_an_error_of_head_has_no_body(wire, bucket):
    reply = wire.call("HEAD", f"/{bucket}/none/there").expect(404)
    assert reply.body == b"" and reply.header("x-amz-request-id")


def test_xml_special_characters_in_names_are_escaped(wire, bucket):
    reply = wire.call("GET", f"/{bucket}/a%26b%3Cc%3E").expect(404, "NoSuchKey")
    assert reply.xml.findtext("Key") == "a&b<c>"


@pytest.mark.parametrize("method", ["PATCH", "TRACE", "BREW"])
def test_a_method_that_s3_does_not_have_is_refused(wire, bucket, method):
    assert wire.call(method, f"/{bucket}/k").status in (400, 405, 501)


@pytest.mark.parametrize("path", ["/%00", "/a%zz", "/%"])
def test_a_path_that_is_no_utf8_or_badly_encoded_is_refused(wire, path):
    assert wire.call("GET", path).status == 400


def test_two_lengths_are_refused(wire, bucket):
    head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: {wire.host}\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"
    assert wire.exchange(head.encode()).status == 400


def test_a_length_and_a_transfer_encoding_are_refused(wire, bucket):
    head = f"PUT /{bucket}/k HTTP/1.1\r\nHost: {wire.host}\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    assert wire.exchange(head.encode()).status == 400


ROUTES = [
    ("GET", "", {}), ("GET", "", {"list-type": "2"}), ("GET", "", {"uploads": ""}), ("GET", "", {"versions": ""}),
    ("GET", "", {"location": ""}), ("GET", "", {"acl": ""}), ("GET", "", {"policy": ""}), ("GET", "", {"policyStatus": ""}),
    ("GET", "", {"publicAccessBlock": ""}), ("PUT", "", {"policy": ""}), ("PUT", "", {"publicAccessBlock": ""}),
    ("PUT", "", {"acl": ""}), ("PUT", "", {"versioning": ""}), ("PUT", "", {"cors": ""}), ("PUT", "", {"tagging": ""}),
    ("PUT", "", {"lifecycle": ""}), ("PUT", "", {"website": ""}), ("PUT", "", {"object-lock": ""}), ("DELETE", "", {}),
    ("DELETE", "", {"policy": ""}), ("DELETE", "", {"cors": ""}), ("POST", "", {"delete": ""}), ("GET", "/k", {}),
    ("GET", "/k", {"acl": ""}), ("GET", "/k", {"tagging": ""}), ("GET", "/k", {"attributes": ""}),
    ("GET", "/k", {"versionId": "x"}), ("GET", "/k", {"retention": ""}), ("PUT", "/k", {}), ("PUT", "/k", {"acl": ""}),
    ("PUT", "/k", {"tagging": ""}), ("PUT", "/k", {"retention": ""}), ("PUT", "/k", {"legal-hold": ""}),
    ("DELETE", "/k", {}), ("DELETE", "/k", {"tagging": ""}), ("POST", "/k", {"uploads": ""}), ("POST", "/k", {"restore": ""}),
]


@pytest.mark.parametrize("method,path,query", ROUTES, ids=lambda value: str(value).strip("{}") or "bare")
def test_an_anonymous_request_is_access_denied_whatever_it_asks_for(wire, bucket, method, path, query):
    wire.anonymous(method, f"/{bucket}{path}", query).expect(403, "AccessDenied")


@pytest.mark.parametrize("method,path,query", ROUTES, ids=lambda value: str(value).strip("{}") or "bare")
def test_a_bucket_that_does_not_exist_is_never_created(wire, method, path, query):
    name = new_bucket_name()
    assert wire.call(method, f"/{name}{path}", query).status in (400, 404, 411, 501)
    wire.call("HEAD", f"/{name}").expect(404)
