"""PutBucketCors, GetBucketCors, DeleteBucketCors, preflight requests, and what they do to answers."""

import pytest

from conftest import fails, new_bucket_name

RULE = {"AllowedMethods": ["GET", "PUT"], "AllowedOrigins": ["https://*.example.com"], "AllowedHeaders": ["x-amz-*", "Content-Type"],
        "ExposeHeaders": ["ETag"], "MaxAgeSeconds": 3000, "ID": "one"}
OPEN = {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}


def configure(s3, bucket, *rules):
    s3.put_bucket_cors(Bucket=bucket, CORSConfiguration={"CORSRules": list(rules)})


@pytest.fixture
def shared(s3, fresh):
    """A bucket with both rules and an object."""
    configure(s3, fresh, RULE, OPEN)
    s3.put_object(Bucket=fresh, Key="k", Body=b"data")
    return fresh


def preflight(wire, path, origin="https://www.example.com", method="GET", headers=None):
    sent = {"origin": origin, "access-control-request-method": method, "access-control-request-headers": headers}
    return wire.anonymous("OPTIONS", path, headers={name: value for name, value in sent.items() if value is not None})


def test_a_configuration_is_returned_as_it_was_put(s3, fresh):
    configure(s3, fresh, RULE, OPEN)
    assert s3.get_bucket_cors(Bucket=fresh)["CORSRules"] == [RULE, OPEN]


def test_a_configuration_replaces_the_one_before(s3, fresh):
    configure(s3, fresh, RULE)
    configure(s3, fresh, OPEN)
    assert s3.get_bucket_cors(Bucket=fresh)["CORSRules"] == [OPEN]


def test_a_bucket_without_one_is_no_such_cors_configuration(s3, fresh):
    with fails("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=fresh)


def test_delete_removes_it_with_204(s3, fresh):
    configure(s3, fresh, RULE)
    assert s3.delete_bucket_cors(Bucket=fresh)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=fresh)


def test_delete_where_there_is_none_is_204(s3, fresh):
    s3.delete_bucket_cors(Bucket=fresh)


@pytest.mark.parametrize("operation", ["get_bucket_cors", "delete_bucket_cors"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, operation):
    with fails("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=new_bucket_name())


def test_a_hundred_rules_are_the_limit(s3, fresh):
    configure(s3, fresh, *[OPEN] * 100)
    with fails("InvalidRequest", 400):
        configure(s3, fresh, *[OPEN] * 101)


@pytest.mark.parametrize("change", [
    {"AllowedMethods": ["PATCH"]}, {"AllowedMethods": ["OPTIONS"]}, {"AllowedMethods": ["get"]},
    {"AllowedOrigins": ["http://*.*.example.com"]}, {"AllowedHeaders": ["x-*-*"]}, {"ExposeHeaders": ["x-amz-*"]},
])
def test_a_rule_is_an_invalid_request_with(s3, fresh, change):
    with fails("InvalidRequest", 400):
        configure(s3, fresh, {**OPEN, **change})
    with fails("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=fresh)


@pytest.mark.parametrize("document", [
    b"x", b"<CORSConfiguration/>", b"<Other/>", b"<CORSConfiguration><CORSRule/></CORSConfiguration>",
    b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule></CORSConfiguration>",
    b"<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>",
    b"<CORSConfiguration><Rule/></CORSConfiguration>",
])
def test_a_document_that_is_none_is_malformed_xml(wire, fresh, document):
    wire.call("PUT", f"/{fresh}", {"cors": ""}, body=document).expect(400, "MalformedXML")


def test_a_preflight_that_matches_is_200_with_what_is_allowed(wire, shared):
    reply = preflight(wire, f"/{shared}/k", method="PUT", headers="x-amz-date, Content-Type").expect(200)
    assert reply.header("access-control-allow-origin") == "https://www.example.com"
    assert reply.header("access-control-allow-methods") == "GET, PUT"
    assert reply.header("access-control-allow-headers").lower() == "x-amz-date, content-type"
    assert reply.header("access-control-expose-headers") == "ETag"
    assert reply.header("access-control-max-age") == "3000"
    assert reply.header("access-control-allow-credentials") == "true"
    assert "Origin" in reply.header("vary") and reply.body == b""


def test_an_origin_of_a_star_is_answered_with_a_star_and_without_credentials(wire, shared):
    reply = preflight(wire, f"/{shared}/k", origin="https://elsewhere.org").expect(200)
    assert reply.header("access-control-allow-origin") == "*"
    assert reply.header("access-control-allow-credentials") is None


@pytest.mark.parametrize("asked", [
    {"method": "DELETE"}, {"origin": "https://elsewhere.org", "method": "PUT"}, {"origin": "http://www.example.com", "method": "PUT"},
    {"origin": "https://www.example.com.evil.org", "method": "PUT"}, {"headers": "authorization"}, {"method": "PATCH"},
])
def test_a_preflight_that_matches_no_rule_is_access_forbidden(wire, shared, asked):
    reply = preflight(wire, f"/{shared}/k", **asked).expect(403, "AccessForbidden")
    assert reply.header("access-control-allow-origin") is None


def test_a_preflight_of_a_bucket_without_a_configuration_is_access_forbidden(wire, fresh):
    preflight(wire, f"/{fresh}/k").expect(403, "AccessForbidden")


def test_a_preflight_of_a_bucket_that_does_not_exist_is_access_forbidden(wire):
    preflight(wire, f"/{new_bucket_name()}/k").expect(403, "AccessForbidden")


def test_a_preflight_without_a_method_is_a_bad_request(wire, shared):
    preflight(wire, f"/{shared}/k", method=None).expect(400, "BadRequest")


def test_a_preflight_of_a_key_that_does_not_exist_is_answered_too(wire, shared):
    preflight(wire, f"/{shared}/none/there").expect(200)
    preflight(wire, f"/{shared}").expect(200)


def test_an_answer_to_a_page_that_may_see_it_has_the_headers(wire, shared):
    reply = wire.call("GET", f"/{shared}/k", headers={"Origin": "https://www.example.com"}).expect(200)
    assert reply.header("access-control-allow-origin") == "https://www.example.com"
    assert reply.header("access-control-expose-headers") == "ETag" and "Origin" in reply.header("vary")


def test_an_error_has_them_too(wire, shared):
    reply = wire.anonymous("GET", f"/{shared}/k", headers={"Origin": "https://www.example.com"}).expect(403)
    assert reply.header("access-control-allow-origin") == "https://www.example.com"


def test_an_answer_to_another_page_has_none(wire, shared):
    reply = wire.call("PUT", f"/{shared}/k", headers={"Origin": "https://elsewhere.org"}, body=b"x").expect(200)
    assert reply.header("access-control-allow-origin") is None


def test_an_answer_to_no_page_has_none(wire, shared):
    assert wire.call("GET", f"/{shared}/k").header("access-control-allow-origin") is None


def test_cors_gives_nobody_access(wire, shared):
    wire.anonymous("GET", f"/{shared}/k", headers={"Origin": "https://elsewhere.org"}).expect(403, "AccessDenied")


def test_what_is_taken_away_is_gone_at_once(wire, s3, shared):
    preflight(wire, f"/{shared}/k").expect(200)
    s3.delete_bucket_cors(Bucket=shared)
    preflight(wire, f"/{shared}/k").expect(403, "AccessForbidden")
    reply = wire.call("GET", f"/{shared}/k", headers={"Origin": "https://www.example.com"})
    assert reply.header("access-control-allow-origin") is None


def test_a_bucket_made_anew_has_no_configuration(s3, buckets):
    name = buckets()
    configure(s3, name, OPEN)
    s3.delete_bucket(Bucket=name)
    buckets(name)
    with fails("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=name)


def test_anonymous_requests_can_not_change_it(wire, s3, fresh):
    document = b"<CORSConfiguration><CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule></CORSConfiguration>"
    wire.anonymous("PUT", f"/{fresh}", {"cors": ""}, body=document).expect(403, "AccessDenied")
    with fails("NoSuchCORSConfiguration", 404):
        s3.get_bucket_cors(Bucket=fresh)
