//! The audit log: who did what, from where, with which result, and that nobody changes it unseen.

use crate::harness::{Store, eventually, refused};
use crate::s3_client::{S3Client, runtime};
use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// All lines of one of the store's logs.
fn lines(store: &Store, log: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(file(store, log)).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn file(store: &Store, log: &str) -> PathBuf {
    store.data().join("audit").join(log).join("00000000000000000001.jsonl")
}

/// The lines of an action.
fn of<'a>(lines: &'a [Value], action: &str) -> Vec<&'a Value> {
    lines.iter().filter(|line| line["action"] == action).collect()
}

/// What is said of a log that was changed, beside the table of all logs.
fn not_whole(store: &Store, verify: &[&str]) -> String {
    let output = store.command(verify).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(String::from_utf8_lossy(&output.stdout).matches("NOT WHOLE").count(), 1);
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn who_did_what_is_told_and_nobody_changes_that_unseen() {
    let mut store = Store::start("256M");
    let runtime = runtime();
    let (s3, url, region) =
        (S3Client::of(&store), store.env("AWS_ENDPOINT_URL"), store.env("AWS_DEFAULT_REGION"));
    runtime.block_on(async {
        assert_eq!(s3.put("/told", Vec::new()).await.unwrap().status, 200);
        assert_eq!(s3.put("/told/a%20key", b"data".to_vec()).await.unwrap().status, 200);
        assert_eq!(s3.get("/told/a%20key").await.unwrap().status, 200);
        assert_eq!(
            reqwest::get(format!("{}/told/a%20key", store.env("AWS_ENDPOINT_URL"))).await.unwrap().status(),
            403
        );
        let wrong = S3Client::new(url, region, &store.env("AWS_ACCESS_KEY_ID"), "wrong-secret");
        assert_eq!(wrong.get("/told/a%20key").await.unwrap().status, 403);
        assert_eq!(s3.send("DELETE", "/told/a%20key", Vec::new()).await.unwrap().status, 204);
        assert_eq!(s3.put("/not-there/key", Vec::new()).await.unwrap().status, 404);
    });
    store.cli(&["volume", "create", "v", "--size", "64M"]);
    store.cli(&["volume", "list"]);
    let mut stranger = store.command(&["volume", "delete", "v", "--yes"]);
    refused(4, &stranger.env("ASHLAR_TOKEN", "0123456789abcdef0123").output().unwrap());
    let (key, secret) = (store.env("AWS_ACCESS_KEY_ID"), store.env("AWS_SECRET_ACCESS_KEY"));
    store.kill();

    let told = lines(&store, "gateway-1");
    let [bucket] = of(&told, "s3:CreateBucket")[..] else { panic!("{told:?}") };
    assert_eq!(bucket["resource"], "arn:aws:s3:::told");
    let [put, missing] = of(&told, "s3:PutObject")[..] else { panic!("{told:?}") };
    assert_eq!(put["who"]["type"], "key");
    assert!(put["who"]["arn"].as_str().unwrap().ends_with(":root"), "{put}");
    assert_eq!(put["who"]["access_key"], key);
    assert_eq!(
        (&put["resource"], &put["outcome"], &put["status"]),
        (&"arn:aws:s3:::told/a key".into(), &"done".into(), &200.into())
    );
    assert!(put["from"].as_str().unwrap().starts_with("127.0.0.1:") && put["time"].is_string(), "{put}");
    assert_eq!((&missing["outcome"], &missing["error"]), (&"failed".into(), &"NoSuchBucket".into()));
    let [anonymous] = of(&told, "s3:GetObject")[..] else { panic!("{told:?}") };
    assert_eq!(
        (&anonymous["who"]["type"], &anonymous["outcome"], &anonymous["error"]),
        (&"anonymous".into(), &"denied".into(), &"AccessDenied".into())
    );
    let unproven: Vec<&Value> = told.iter().filter(|line| line["who"]["type"] == "unproven").collect();
    let [wrong] = unproven[..] else { panic!("{told:?}") };
    assert_eq!(
        (&wrong["error"], &wrong["resource"]),
        (&"SignatureDoesNotMatch".into(), &"arn:aws:s3:::told/a key".into())
    );
    assert_eq!(of(&told, "s3:DeleteObject").len(), 1);

    let told = lines(&store, "control-plane");
    let [created] = of(&told, "admin:POST")[..] else { panic!("{told:?}") };
    assert_eq!((&created["who"]["type"], &created["resource"]), (&"admin".into(), &"/v1/volumes".into()));
    assert!(created["detail"].as_str().unwrap().contains("\"v\""), "{created}");
    let [denied] = of(&told, "admin:DELETE")[..] else { panic!("{told:?}") };
    assert_eq!((&denied["outcome"], &denied["resource"]), (&"denied".into(), &"/v1/volumes/v".into()));
    assert_eq!(of(&told, "pool:RegisterDisk").len(), 3);
    for log in ["gateway-1", "control-plane"] {
        assert!(!std::fs::read_to_string(file(&store, log)).unwrap().contains(&secret), "a secret in {log}");
    }

    // It goes on behind a kill.
    store.up();
    let audit = store.data().join("audit");
    let verify = ["audit", "verify", audit.to_str().unwrap()];
    let table = store.cli(&verify);
    assert_eq!(table.matches("whole").count(), 2, "{table}");
    for log in ["gateway-1", "control-plane"] {
        let path = file(&store, log);
        let good = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, good.replacen("\"outcome\":\"denied\"", "\"outcome\":\"done\"", 1)).unwrap();
        let line = not_whole(&store, &verify);
        assert!(line.contains(log) && line.contains("it was changed"), "{line}");
        let (first, rest) = good.split_once('\n').unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        std::fs::write(&path, format!("{first}\n{rest}")).unwrap();
        let line = not_whole(&store, &verify);
        assert!(line.contains(log) && line.contains("missing"), "{line}");
        std::fs::write(&path, good).unwrap();
    }
    store.cli(&verify);

    // Nothing in a log tells of lines that were cut off at its end, but the control plane knows how far it was.
    let copy = store.dir.path().join("copy");
    std::fs::create_dir_all(copy.join("gateway-1")).unwrap();
    let text = std::fs::read_to_string(file(&store, "gateway-1")).unwrap();
    let cut: Vec<&str> = text.split_inclusive('\n').collect();
    std::fs::write(copy.join("gateway-1/00000000000000000001.jsonl"), cut[..cut.len() - 1].concat()).unwrap();
    let verify = ["audit", "verify", copy.to_str().unwrap()];
    store.cli(&[&verify[..], &["--offline"]].concat());
    eventually("the control plane's knowledge of the log", MINUTE, || {
        let output = store.command(&verify).output().unwrap();
        String::from_utf8(output.stderr).unwrap().contains("missing at the end").then_some(())
    });
}
