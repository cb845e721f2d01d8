//! Lifecycles by `ashlar up`, whose clock for them is moved while it runs.

use crate::up::{Up, python};

const SCRIPT: &str = r#"
import boto3, glob, json, os, time
s3 = boto3.client("s3")
ahead = os.environ["AHEAD"]

def move(days):
    with open(ahead + ".new", "w") as file:
        file.write(str(days * 86400))
    os.rename(ahead + ".new", ahead)

def eventually(holds):
    for _ in range(600):
        if holds():
            return
        time.sleep(0.1)
    raise AssertionError("it did not come to pass")

def names():
    return [o["Key"] for o in s3.list_objects_v2(Bucket="bucket").get("Contents", [])]

s3.create_bucket(Bucket="bucket")
s3.put_bucket_lifecycle_configuration(Bucket="bucket", LifecycleConfiguration={"Rules": [
    {"ID": "logs", "Status": "Enabled", "Filter": {"Prefix": "logs/"}, "Expiration": {"Days": 30}},
    {"Status": "Enabled", "Filter": {"Prefix": ""}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}}]})
put = s3.put_object(Bucket="bucket", Key="logs/old", Body=b"x" * 10000)
assert 'rule-id="logs"' in put["Expiration"], put
s3.put_object(Bucket="bucket", Key="kept", Body=b"x")
upload = s3.create_multipart_upload(Bucket="bucket", Key="big")["UploadId"]
s3.upload_part(Bucket="bucket", Key="big", UploadId=upload, PartNumber=1, Body=b"x" * 10000)
move(8)
eventually(lambda: "Uploads" not in s3.list_multipart_uploads(Bucket="bucket"))
assert names() == ["kept", "logs/old"], names()
move(31)
eventually(lambda: names() == ["kept"])
s3.put_object(Bucket="bucket", Key="signed/by/the/machine's/clock", Body=b"x")
lines = [json.loads(line) for name in glob.glob(os.environ["AUDIT"] + "/*.jsonl") for line in open(name)]
gone = [line for line in lines if line["action"] == "s3:LifecycleExpiration"]
assert [line["resource"] for line in gone] == ["arn:aws:s3:::bucket"] * 2, gone
assert [line["items"] for line in gone] == [[{"key": "big", "version": "upload " + upload}], [{"key": "logs/old"}]], gone
print("ALL-RIGHT")
"#;

#[test]
fn what_is_due_goes_when_the_clock_is_moved() {
    let Some(python) = python("what_is_due_goes_when_the_clock_is_moved", "boto3") else { return };
    let dir = tempfile::tempdir().unwrap();
    let ahead = dir.path().join("ahead");
    let ahead = ahead.to_str().unwrap();
    let up = Up::start(&["--lifecycle-ahead", ahead]);
    let audit = up.data().join("audit/gateway-1");
    up.check(&python, SCRIPT, &[("AHEAD", ahead), ("AUDIT", audit.to_str().unwrap())]);
}
