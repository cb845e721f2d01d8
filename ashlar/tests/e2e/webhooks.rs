//! Notifications by `ashlar up`: a webhook that fails, a kill right after the answers, and a webhook that has come to itself.

use crate::harness::{Store, eventually};
use crate::s3_client::{S3Client, runtime};
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

/// What a webhook was posted, with its request's head; and whether it takes it.
#[derive(Clone, Default)]
struct Hook {
    well: Arc<AtomicBool>,
    taken: Arc<Mutex<Vec<(String, Value)>>>,
}

impl Hook {
    /// Serves until the process ends. Answers where it is.
    fn serve(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let hook = self.clone();
        std::thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let (mut seen, mut piece) = (Vec::new(), [0; 4096]);
                let (head, body) = loop {
                    let len = stream.read(&mut piece).unwrap_or(0);
                    seen.extend_from_slice(&piece[..len]);
                    let text = String::from_utf8_lossy(&seen).to_lowercase();
                    if let Some((head, body)) = text.split_once("\r\n\r\n") {
                        let wanted = head.split_once("content-length: ").unwrap().1;
                        let wanted: usize = wanted.split("\r\n").next().unwrap().parse().unwrap();
                        if body.len() >= wanted {
                            break (head.to_owned(), seen[seen.len() - wanted..].to_vec());
                        }
                    }
                    if len == 0 {
                        break (String::new(), Vec::new());
                    }
                };
                let well = hook.well.load(Ordering::SeqCst) && !head.is_empty();
                if well {
                    let body = serde_json::from_slice(&body).unwrap();
                    hook.taken.lock().unwrap().push((head, body));
                }
                let status = if well { "200 OK" } else { "503 Later" };
                let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        url
    }

    /// Of each key, the sizes of the objects that were told, and that their sequencers went up.
    fn told(&self) -> BTreeMap<String, Vec<u64>> {
        let mut found: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
        for (_, body) in self.taken.lock().unwrap().iter() {
            let object = &body["Records"][0]["s3"]["object"];
            let Some(key) = object["key"].as_str() else { continue };
            let said = (object["sequencer"].as_str().unwrap().to_owned(), object["size"].as_u64().unwrap());
            let events = found.entry(key.to_owned()).or_default();
            if !events.contains(&said) {
                assert!(events.last().is_none_or(|last| *last < said), "{events:?} and then {said:?}");
                events.push(said);
            }
        }
        found
            .into_iter()
            .map(|(key, events)| (key, events.into_iter().map(|(_, size)| size).collect()))
            .collect()
    }
}

#[test]
fn what_was_answered_is_told_though_all_was_killed() {
    let mut store = Store::start("256M");
    let hook = Hook::default();
    let url = hook.serve();
    let token = store.dir.path().join("token");
    std::fs::write(&token, "a-token-of-webhooks\n").unwrap();
    let made =
        store.json(&["webhook", "add", "hook", "--url", &url, "--auth-token-file", token.to_str().unwrap()]);
    let arn = made["arn"].as_str().unwrap().to_owned();
    store.fails(5, &["webhook", "add", "hook", "--url", &url]);
    store.fails(2, &["webhook", "add", "other", "--url", "file:///etc/passwd"]);
    let config = format!(
        "<NotificationConfiguration><QueueConfiguration><Queue>{arn}</Queue><Event>s3:ObjectCreated:*</Event>\
         </QueueConfiguration></NotificationConfiguration>"
    );
    let (runtime, s3) = (runtime(), S3Client::of(&store));
    runtime.block_on(async {
        assert_eq!(s3.put("/told", Vec::new()).await.unwrap().status, 200);
        assert_eq!(s3.put("/told?notification", config.into_bytes()).await.unwrap().status, 200);
        for size in 1..=12 {
            let path = format!("/told/k{}", size % 3);
            assert_eq!(s3.put(&path, vec![7; size]).await.unwrap().status, 200);
        }
    });
    store.kill();
    store.up();
    store.fails(5, &["webhook", "remove", "hook"]);
    let waiting = store.json(&["webhook", "list"])[0]["waiting"].as_u64().unwrap();
    assert_eq!(waiting, 13, "the test of the configuration, and every object");
    hook.well.store(true, Ordering::SeqCst);
    eventually("all events are told", MINUTE, || {
        (store.json(&["webhook", "list"])[0]["waiting"] == 0).then_some(())
    });
    let told = hook.told();
    let expected = [("k0", vec![3, 6, 9, 12]), ("k1", vec![1, 4, 7, 10]), ("k2", vec![2, 5, 8, 11])];
    assert_eq!(told, expected.map(|(key, sizes)| (key.to_owned(), sizes)).into_iter().collect());
    let taken = hook.taken.lock().unwrap().clone();
    assert!(taken.iter().all(|(head, _)| head.contains("authorization: bearer a-token-of-webhooks")));
    assert!(taken.iter().any(|(_, body)| body["Event"] == "s3:TestEvent"));
    // The token is nowhere to be read.
    let audit = std::fs::read_to_string(store.data().join("audit/control-plane/00000000000000000001.jsonl"));
    let audit = audit.unwrap();
    assert!(audit.contains("/v1/webhooks") && !audit.contains("a-token-of-webhooks"));
    runtime.block_on(async {
        let s3 = S3Client::of(&store);
        let none = b"<NotificationConfiguration/>".to_vec();
        assert_eq!(s3.put("/told?notification", none).await.unwrap().status, 200);
    });
    store.cli(&["webhook", "remove", "hook"]);
    store.fails(3, &["webhook", "remove", "hook"]);
}
