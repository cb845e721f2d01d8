//! Quotas and the check of objects, as people and scripts use them.

use crate::harness::{Store, eventually, noise};
use crate::s3_client::{S3Client, runtime};
use serde_json::json;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn quotas_are_set_shown_and_kept_to_and_the_check_of_objects_finds_all_well() {
    let mut store = Store::start("256M");
    let (runtime, s3) = (runtime(), S3Client::of(&store));
    let put = |target: &str, len: usize| {
        let answer = runtime.block_on(s3.put(target, noise(1, len))).unwrap();
        (answer.status, String::from_utf8_lossy(&answer.body).into_owned())
    };
    assert_eq!(put("/quota", 0).0, 200);
    assert_eq!(put("/other", 0).0, 200);
    assert_eq!(put("/quota/there", 9000).0, 200);
    store.cli(&["bucket", "quota", "quota", "--bytes", "20K", "--objects", "2"]);
    let (status, why) = put("/quota/more", 12_000);
    assert!(status == 403 && why.contains("<Code>QuotaExceeded</Code>"), "{status} {why}");
    assert!(
        why.contains("The quota of bucket 'quota' is 20480 bytes (20 KiB); it holds 9000 bytes"),
        "{why}"
    );
    assert_eq!(put("/quota/more", 11_480).0, 200);
    assert_eq!(put("/quota/third", 0).0, 403);
    let shown = store.json(&["bucket", "quota", "quota", "--objects", "none"]);
    assert_eq!(shown["quota"], json!({ "bytes": 20_480, "objects": null }));
    assert_eq!((&shown["usage"]["bytes"], &shown["usage"]["objects"]), (&json!(20_480), &json!(2)));
    let listed = store.json(&["bucket", "list"]);
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|bucket| bucket["name"].clone()).collect();
    assert_eq!(names, [json!("other"), json!("quota")]);
    assert_eq!(listed[1], shown);
    // The project's: by its name or number.
    let project = store.json(&["project", "quota", "root", "--bytes", "25000"]);
    assert_eq!((&project["usage"]["bytes"], &project["quota"]["bytes"]), (&json!(20_480), &json!(25_000)));
    let (status, why) = put("/other/a", 5000);
    assert!(
        status == 403 && why.contains("The quota of project 000000000000 is 25000 bytes"),
        "{status} {why}"
    );
    assert_eq!(put("/other/a", 4000).0, 200);
    assert_eq!(store.json(&["project", "show", "000000000000"])["usage"]["bytes"], json!(24_480));
    store.fails(3, &["bucket", "quota", "none", "--bytes", "1"]);
    store.fails(3, &["project", "quota", "none", "--bytes", "1"]);
    store.fails(2, &["bucket", "quota", "quota", "--bytes", "much"]);
    let metrics = runtime.block_on(async {
        let url = format!("{}/metrics", store.env("ASHLAR_ADMIN"));
        reqwest::get(url).await.unwrap().text().await.unwrap()
    });
    for line in
        ["bytes", "quota_bytes"].map(|name| format!("ashlar_project_{name}{{project=\"000000000000\"}} 2"))
    {
        assert!(metrics.contains(&line), "{metrics}");
    }
    // Quotas outlive a restart, and so does what is counted.
    store.stop();
    store.up();
    let s3 = S3Client::of(&store);
    let answer = runtime.block_on(s3.put("/other/b", noise(1, 600))).unwrap();
    assert_eq!(answer.status, 403);

    let report = store.json(&["scrub", "objects", "--deep"]);
    assert_eq!(
        (&report["entries"], &report["objects_read"], &report["extents"]),
        (&json!(3), &json!(3), &json!(3))
    );
    assert_eq!((&report["bytes"], &report["held_bytes"]), (&json!(24_480), &json!(12_288 * 2 + 4096)));
    for target in ["/quota/there", "/quota/more", "/other/a"] {
        let gone = runtime.block_on(s3.send("DELETE", target, Vec::new())).unwrap();
        assert_eq!(gone.status, 204);
    }
    eventually("giving all back", MINUTE, || {
        let report = store.json(&["scrub", "objects", "--repair"]);
        (report["held_bytes"] == json!(0)).then_some(())
    });
    assert!(store.cli(&["scrub", "objects", "--status"]).contains("finished: all is well"));
    let told = std::fs::read_to_string(
        store.data().join("audit").join("control-plane").join("00000000000000000001.jsonl"),
    );
    assert!(told.unwrap().contains("/v1/buckets/quota/quota"));
}
