//! boto3 at its current defaults: uploads, downloads, copies, listings, checksums, presigned URLs.

use super::{Shop, Tree, Way, installed, tell_version};
use crate::up::python;

const TEST: &str = "the_everyday_of_boto3";

#[test]
fn the_everyday_of_boto3() {
    let Some(python) = python(TEST, "boto3") else { return };
    if !installed(TEST, &["curl"]) {
        return;
    }
    tell_version("boto3", &python, &["-c", "import boto3; print(boto3.__version__)"]);
    let shop = Shop::open();
    for way in shop.ways() {
        everyday(&shop, &way, &python);
    }
}

fn everyday(shop: &Shop, way: &Way, python: &str) {
    let bucket = format!("boto3-{}", way.name);
    let tree = Tree::new(shop.path(&bucket));
    tree.plant();
    let script = |script: &str| {
        let mut command = shop.client(python);
        command
            .args(["-c", &format!("{PRELUDE}{script}\nprint('ALL-RIGHT')")])
            .args([&bucket])
            .arg(tree.path());
        command.env("AWS_ENDPOINT_URL", &way.url);
        if let Some(ca) = &way.ca {
            command.env("AWS_CA_BUNDLE", ca);
        }
        let said = shop.run(&mut command);
        assert!(said.contains("ALL-RIGHT"), "{said}");
    };
    script(FIRST_DAY);
    tree.tend();
    script(SECOND_DAY);
    shop.expect_gone(&bucket);
}

/// What both days begin with.
const PRELUDE: &str = r#"
import boto3, hashlib, io, os, subprocess, sys
name, root = sys.argv[1:]
s3 = boto3.client("s3")
bucket = boto3.resource("s3").Bucket(name)

def files():
    for folder, _, names in os.walk(root):
        for one in names:
            path = os.path.join(folder, one)
            yield os.path.relpath(path, root), path

def data(path):
    with open(path, "rb") as file:
        return file.read()

def listed():
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=name, PaginationConfig={"PageSize": 40})
    return {o["Key"]: o for page in pages for o in page.get("Contents", [])}

def restore():
    for key, path in files():
        assert s3.get_object(Bucket=name, Key=key)["Body"].read() == data(path), key
    back = io.BytesIO()
    s3.download_fileobj(name, "large", back)
    assert back.getvalue() == data(os.path.join(root, "large"))
    assert set(listed()) == {key for key, _ in files()}

def md5(body):
    return hashlib.md5(body).hexdigest()
"#;

const FIRST_DAY: &str = r#"
s3.create_bucket(Bucket=name)
for key, path in files():
    if key == "large":
        s3.upload_file(path, name, key, ExtraArgs={"Metadata": {"of": "large"}})
    else:
        with open(path, "rb") as body:
            answer = s3.put_object(Bucket=name, Key=key, Body=body)
        # What it computes by itself is kept, and computed again when it reads.
        assert answer["ChecksumCRC32"] and answer["ETag"] == f'"{md5(data(path))}"', answer
restore()

head = s3.head_object(Bucket=name, Key="large", ChecksumMode="ENABLED")
assert head["Metadata"] == {"of": "large"} and head["ETag"].endswith('-3"') and head["ChecksumCRC32"], head
assert "ContentEncoding" not in head, head
body = data(os.path.join(root, "large"))
part = s3.get_object(Bucket=name, Key="large", Range="bytes=8388600-8388700")["Body"].read()
assert part == body[8388600:8388701]

# By a stream whose length is not known, and by objects.
bucket.upload_fileobj(io.BytesIO(body[:9_000_000]), "streamed")
back = io.BytesIO()
bucket.download_fileobj("streamed", back)
assert back.getvalue() == body[:9_000_000]
# Copies, in one piece and in parts.
bucket.copy({"Bucket": name, "Key": "streamed"}, "copy/whole")
s3.copy({"Bucket": name, "Key": "large"}, name, "copy/parts", Config=boto3.s3.transfer.TransferConfig(
    multipart_threshold=8 << 20, multipart_chunksize=8 << 20))
assert md5(bucket.Object("copy/whole").get()["Body"].read()) == md5(body[:9_000_000])
assert bucket.Object("copy/parts").get()["Body"].read() == body
page = s3.list_objects_v2(Bucket=name, Delimiter="/")
assert "copy/" in [p["Prefix"] for p in page["CommonPrefixes"]], page
s3.delete_object(Bucket=name, Key="streamed")
bucket.objects.filter(Prefix="copy/").delete()

# Presigned, for somebody who has no key.
def curl(url, *args):
    ca = ["--cacert", os.environ["AWS_CA_BUNDLE"]] if "AWS_CA_BUNDLE" in os.environ else []
    return subprocess.run(["curl", "-sSf", *ca, *args, url], check=True, capture_output=True).stdout
url = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": "large"})
assert curl(url) == body
url = s3.generate_presigned_url("put_object", Params={"Bucket": name, "Key": "given"})
curl(url, "-T", os.path.join(root, "large"))
assert s3.get_object(Bucket=name, Key="given")["Body"].read() == body
s3.delete_object(Bucket=name, Key="given")
restore()
"#;

const SECOND_DAY: &str = r#"
there, sent = listed(), 0
for key, path in files():
    old = there.pop(key, None)
    changed = old is None or old["Size"] != os.path.getsize(path) or os.path.getmtime(path) > 1_650_000_000
    if changed:
        s3.upload_file(path, name, key)
        sent += 1
assert sent == 4, sent
answer = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in there]})
assert "Errors" not in answer and len(answer["Deleted"]) == len(there) > 1, answer
restore()
assert "Uploads" not in s3.list_multipart_uploads(Bucket=name)
try:
    s3.delete_bucket(Bucket=name)
    raise AssertionError("it is not empty")
except s3.exceptions.ClientError as error:
    assert error.response["Error"]["Code"] == "BucketNotEmpty", error
bucket.objects.all().delete()
assert not listed()
bucket.delete()
"#;
