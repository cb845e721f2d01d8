//! Buckets named by the host, as AWS's clients do it unless told otherwise: boto3 with `addressing_style=virtual`.
//!
//! BUCKET.s3.localhost resolves on few machines, so the client is told that the gateway is its proxy: it then asks it
//! for whole URLs, whose hosts it need not resolve.

use crate::up::{Up, python};

const SCRIPT: &str = r#"
import boto3, os, sys
from botocore.config import Config

def client(style):
    config = Config(s3={"addressing_style": style}, retries={"max_attempts": 1},
                    proxies={"http": os.environ["GATEWAY"]})
    return boto3.client("s3", config=config)

sent = []
s3 = client("virtual")
s3.meta.events.register("before-send.s3.*", lambda request, **_: sent.append(request.url))
s3.create_bucket(Bucket="virtual-hosts")
body = bytes(range(256)) * 40
key = "with space/größe+%2F"
s3.put_object(Bucket="virtual-hosts", Key=key, Body=body, Metadata={"a": "b"})
assert s3.get_object(Bucket="virtual-hosts", Key=key)["Body"].read() == body
listed = s3.list_objects_v2(Bucket="virtual-hosts", Prefix="with")
assert [entry["Key"] for entry in listed["Contents"]] == [key], listed
s3.copy_object(Bucket="virtual-hosts", Key="copy", CopySource={"Bucket": "virtual-hosts", "Key": key})
upload = s3.create_multipart_upload(Bucket="virtual-hosts", Key="parts")["UploadId"]
tag = s3.upload_part(Bucket="virtual-hosts", Key="parts", UploadId=upload, PartNumber=1, Body=body)["ETag"]
parts = {"Parts": [{"ETag": tag, "PartNumber": 1}]}
s3.complete_multipart_upload(Bucket="virtual-hosts", Key="parts", UploadId=upload, MultipartUpload=parts)
# The other way of addressing sees the same.
path = client("path")
for name in [key, "copy", "parts"]:
    assert path.get_object(Bucket="virtual-hosts", Key=name)["Body"].read() == body, name
assert all(url.startswith("http://virtual-hosts.s3.localhost:") for url in sent), sent
assert len(sent) == 8, sent
# A bucket that is not there, and one whose name is in neither place.
for name, code in [("none-such", "NoSuchBucket")]:
    try:
        s3.list_objects_v2(Bucket=name)
        sys.exit("it listed " + name)
    except s3.exceptions.ClientError as error:
        assert error.response["Error"]["Code"] == code, error
deleted = s3.delete_objects(Bucket="virtual-hosts", Delete={"Objects": [{"Key": k} for k in [key, "copy", "parts"]]})
assert len(deleted["Deleted"]) == 3, deleted
s3.delete_bucket(Bucket="virtual-hosts")
print("ALL-RIGHT")
"#;

#[test]
fn boto3_names_buckets_by_host() {
    let Some(python) = python("boto3_names_buckets_by_host", "boto3") else { return };
    let up = Up::start(&["--s3-domain", "S3.localhost"]);
    let gateway = up.http();
    let port = gateway.rsplit(':').next().unwrap();
    let named = format!("http://s3.localhost:{port}");
    up.check(&python, SCRIPT, &[("GATEWAY", &gateway), ("AWS_ENDPOINT_URL", &named)]);
}
