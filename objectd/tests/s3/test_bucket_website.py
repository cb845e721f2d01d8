"""PutBucketWebsite, GetBucketWebsite, DeleteBucketWebsite. What a website's host answers is tested in objectd/tests/website.rs."""

import pytest

from conftest import fails, new_bucket_name

INDEX = {"IndexDocument": {"Suffix": "index.html"}}


def configure(s3, bucket, website):
    s3.put_bucket_website(Bucket=bucket, WebsiteConfiguration=website)


def kept(s3, bucket):
    answer = s3.get_bucket_website(Bucket=bucket)
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def rule(redirect, **condition):
    return {"Redirect": redirect, **({"Condition": condition} if condition else {})}


@pytest.mark.parametrize("website", [
    INDEX,
    {**INDEX, "ErrorDocument": {"Key": "errors/oops.html"}},
    {**INDEX, "RoutingRules": [
        rule({"ReplaceKeyPrefixWith": "documents/"}, KeyPrefixEquals="docs/"),
        rule({"HostName": "a.example.com", "Protocol": "https", "HttpRedirectCode": "302", "ReplaceKeyWith": "x"},
             KeyPrefixEquals="a", HttpErrorCodeReturnedEquals="404"),
        rule({"HostName": "b.example.com"})]},
    {"RedirectAllRequestsTo": {"HostName": "example.com"}},
    {"RedirectAllRequestsTo": {"HostName": "example.com", "Protocol": "https"}},
], ids=["index", "error", "rules", "all", "all-https"])
def test_a_configuration_is_returned_as_it_was_put(s3, fresh, website):
    configure(s3, fresh, website)
    assert kept(s3, fresh) == website


def test_a_configuration_replaces_the_one_before(s3, fresh):
    configure(s3, fresh, {"RedirectAllRequestsTo": {"HostName": "example.com"}})
    configure(s3, fresh, INDEX)
    assert kept(s3, fresh) == INDEX


def test_a_bucket_without_one_is_no_such_website_configuration(s3, fresh):
    with fails("NoSuchWebsiteConfiguration", 404):
        kept(s3, fresh)


def test_delete_removes_it_with_204(s3, fresh):
    configure(s3, fresh, INDEX)
    assert s3.delete_bucket_website(Bucket=fresh)["ResponseMetadata"]["HTTPStatusCode"] == 204
    with fails("NoSuchWebsiteConfiguration", 404):
        kept(s3, fresh)


def test_delete_where_there_is_none_is_204(s3, fresh):
    s3.delete_bucket_website(Bucket=fresh)


@pytest.mark.parametrize("operation", ["get_bucket_website", "delete_bucket_website"])
def test_a_bucket_that_does_not_exist_is_no_such_bucket(s3, operation):
    with fails("NoSuchBucket", 404):
        getattr(s3, operation)(Bucket=new_bucket_name())


@pytest.mark.parametrize("website", [
    {}, {"ErrorDocument": {"Key": "e"}}, {"IndexDocument": {"Suffix": ""}}, {"IndexDocument": {"Suffix": "a/b"}},
], ids=str)
def test_a_configuration_is_an_invalid_argument_with(s3, fresh, website):
    with fails("InvalidArgument", 400):
        configure(s3, fresh, website)


@pytest.mark.parametrize("redirect,condition", [
    ({"HttpRedirectCode": "300"}, {}), ({"HttpRedirectCode": "404"}, {}), ({"Protocol": "ftp"}, {}),
    ({"ReplaceKeyWith": "a", "ReplaceKeyPrefixWith": "b"}, {}), ({"HostName": "a/b"}, {}),
    ({"HostName": "a"}, {"HttpErrorCodeReturnedEquals": "302"}),
], ids=str)
def test_a_rule_is_an_invalid_request_with(s3, fresh, redirect, condition):
    with fails("InvalidRequest", 400):
        configure(s3, fresh, {**INDEX, "RoutingRules": [rule(redirect, **condition)]})


def test_redirecting_all_goes_with_nothing_else(s3, fresh):
    with fails("InvalidRequest", 400):
        configure(s3, fresh, {**INDEX, "RedirectAllRequestsTo": {"HostName": "a"}})


def test_fifty_rules_are_the_limit(s3, fresh):
    rules = [rule({"HostName": "a"}, KeyPrefixEquals=str(number)) for number in range(51)]
    configure(s3, fresh, {**INDEX, "RoutingRules": rules[:50]})
    with fails("InvalidRequest", 400):
        configure(s3, fresh, {**INDEX, "RoutingRules": rules})


@pytest.mark.parametrize("text", [
    "x", "<Other/>", "<WebsiteConfiguration><Other/></WebsiteConfiguration>",
    "<WebsiteConfiguration><IndexDocument/></WebsiteConfiguration>",
    "<WebsiteConfiguration><RedirectAllRequestsTo/></WebsiteConfiguration>",
    "<WebsiteConfiguration><IndexDocument><Suffix>i</Suffix></IndexDocument><RoutingRules/></WebsiteConfiguration>",
])
def test_a_document_that_is_none_is_malformed_xml(wire, fresh, text):
    wire.call("PUT", f"/{fresh}", {"website": ""}, body=text.encode()).expect(400, "MalformedXML")


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_strangers_may_neither_read_nor_change_it(wire, fresh, method):
    wire.anonymous(method, f"/{fresh}", {"website": ""}).expect(403, "AccessDenied")
