//! Lifecycles by `ashlar up`, whose clock for them is moved while it runs.

use crate::harness::{clean, expect_success, read_env, skip};
use trial::process::{Daemon, program, tail};

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
    let python = std::env::var("ASHLAR_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let has_boto3 =
        clean(&python).args(["-c", "import boto3"]).output().is_ok_and(|out| out.status.success());
    if !has_boto3 {
        return skip("what_is_due_goes_when_the_clock_is_moved", "boto3 is not installed");
    }
    let dir = tempfile::tempdir().unwrap();
    let (data, log, ahead) = (dir.path().join("data"), dir.path().join("up.log"), dir.path().join("ahead"));
    let mut up = clean(program());
    up.args(["up", "--s3", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--disk-size", "1G", "--data"])
        .arg(&data);
    up.arg("--lifecycle-ahead").arg(&ahead);
    let up = Daemon::start("ashlar up", &mut up, &log);
    let env = read_env(&data.join("env.sh"));
    let mut command = clean(&python);
    command
        .args(["-c", SCRIPT])
        .env("AHEAD", &ahead)
        .env("AUDIT", data.join("audit/gateway-1"))
        .env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"] {
        command.env(name, &env[name]);
    }
    let output = command.output().unwrap();
    let said = expect_success("boto3", &output, &tail(&log));
    assert!(said.contains("ALL-RIGHT"), "{said}");
    up.stop();
}
