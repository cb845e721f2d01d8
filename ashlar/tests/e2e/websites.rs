//! A website by `ashlar up`: each step is denied before it is allowed.

use crate::up::{Up, python};

const SCRIPT: &str = r#"
import boto3, json, os, urllib.error, urllib.request
s3 = boto3.client("s3")
gateway = os.environ["AWS_ENDPOINT_URL"]

class Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args):
        return None

browser = urllib.request.build_opener(urllib.request.ProxyHandler({}), Stay)

def visit(path):
    try:
        answer = browser.open(urllib.request.Request(gateway + path, headers={"Host": "site.web.localhost"}))
    except urllib.error.HTTPError as error:
        answer = error
    return answer.status, answer.read().decode(), answer.headers.get("Location")

def denied(code, call, **args):
    try:
        call(Bucket="site", **args)
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
        return
    raise AssertionError(call)

policy = json.dumps({"Version": "2012-10-17", "Statement": [
    {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::site/*"}]})
s3.create_bucket(Bucket="site")
s3.put_object(Bucket="site", Key="index.html", Body=b"home", ContentType="text/html")
s3.put_object(Bucket="site", Key="oops.html", Body=b"oops", ContentType="text/html")
assert visit("/")[0] == 404
s3.put_bucket_website(Bucket="site", WebsiteConfiguration={
    "IndexDocument": {"Suffix": "index.html"}, "ErrorDocument": {"Key": "oops.html"},
    "RoutingRules": [{"Condition": {"KeyPrefixEquals": "a/"}, "Redirect": {"ReplaceKeyPrefixWith": "b/"}}]})
assert visit("/")[0] == 403
denied("AccessDenied", s3.put_bucket_policy, Policy=policy)
s3.put_public_access_block(Bucket="site", PublicAccessBlockConfiguration={
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": True})
s3.put_bucket_policy(Bucket="site", Policy=policy)
assert visit("/")[0] == 403
s3.put_public_access_block(Bucket="site", PublicAccessBlockConfiguration={
    "BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": False, "RestrictPublicBuckets": False})
assert visit("/") == (200, "home", None), visit("/")
assert visit("/none") == (403, "oops", None), visit("/none")
assert visit("/a/x")[::2] == (301, "http://site.web.localhost/b/x"), visit("/a/x")
s3.delete_bucket_policy(Bucket="site")
assert visit("/")[0] == 403
print("ALL-RIGHT")
"#;

#[test]
fn a_website_needs_both_the_policy_and_the_lifted_block() {
    let Some(python) = python("a_website_needs_both_the_policy_and_the_lifted_block", "boto3") else {
        return;
    };
    Up::start(&["--s3-website-domain", "Web.localhost"]).check(&python, SCRIPT, &[]);
}
