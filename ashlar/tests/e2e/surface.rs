//! The surface that scripts use: the ready line, env.sh, keys that stay, attachments that come back.

use crate::block_client::BlockClient;
use crate::harness::{Store, noise};
use crate::s3_client::{S3Client, runtime};
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_restart_goes_on_where_it_stopped() {
    let mut store = Store::start("256M");
    let first = ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "ASHLAR_TOKEN"]
        .map(|name| store.env(name));
    assert!(store.stdout().contains(&first[1]), "the first start shows the key");
    let mode = std::fs::metadata(store.data().join("env.sh")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let runtime = runtime();
    let s3 = S3Client::of(&store);
    runtime.block_on(async {
        assert_eq!(s3.put("/kept", Vec::new()).await.unwrap().status, 200);
        for (key, len) in [("small", 100), ("large", 200_000)] {
            assert_eq!(s3.put(&format!("/kept/{key}"), noise(5, len)).await.unwrap().status, 200);
        }
    });
    store.cli(&["volume", "create", "v", "--size", "64M"]);
    let socket = store.dir.path().join("v.sock");
    store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    store.fails(5, &["volume", "attach", "v", "--socket", "/tmp/ashlar-second.sock"]);
    store.fails(5, &["volume", "delete", "v", "--yes"]);
    let mut client = BlockClient::connect(&socket);
    assert_eq!(client.capacity(), 64 << 20);
    assert_eq!(client.write(8192, &noise(6, 4096)), 0);
    assert_eq!(client.write(512, &noise(7, 512)), 0);
    assert_eq!(client.flush(), 0);
    drop(client);
    store.stop();
    assert!(!socket.exists(), "a stopped daemon leaves no socket");

    // Everything in sled's folder can be made again from the log.
    std::fs::remove_dir_all(store.data().join("meta/state")).unwrap();
    store.up();
    assert_eq!(
        first,
        ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "ASHLAR_TOKEN"]
            .map(|name| store.env(name))
    );
    assert!(!store.stdout().contains(&first[1]), "only the first start shows the key");
    let mut client = BlockClient::connect(&socket);
    assert!(client.read(8192, 4096) == noise(6, 4096));
    assert!(client.read(512, 512) == noise(7, 512));
    assert!(client.read(0, 512) == vec![0; 512]);
    assert_eq!(client.discard(8192, 4096), 0);
    drop(client);
    let s3 = S3Client::of(&store);
    runtime.block_on(async {
        for (key, len) in [("small", 100), ("large", 200_000)] {
            assert!(s3.get(&format!("/kept/{key}")).await.unwrap().body == noise(5, len), "{key}");
        }
    });
    let status = store.json(&["status"]);
    assert_eq!(status["health"], "healthy", "{status}");
    assert_eq!(status["disks"].as_array().unwrap().len(), 3);
    assert!(store.cli(&["status"]).starts_with("Healthy"));
    metrics(&store);
    store.cli(&["volume", "detach", "v"]);
    store.cli(&["volume", "delete", "v", "--yes"]);
    assert_eq!(store.json(&["volume", "list"]), serde_json::json!([]));
    store.stop();
}

/// Every part counts: what the chunk servers show is refreshed now and then, so it is waited for.
fn metrics(store: &Store) {
    const NAMES: [&str; 3] =
        ["ashlar_disk_up{", "ashlar_disk_written_bytes_total{", "ashlar_volume_reads_total{volume=\"v\"}"];
    let url = format!("{}/metrics", store.env("ASHLAR_ADMIN"));
    let counted = |text: &str| {
        let counts = |name: &&str| text.lines().any(|line| line.starts_with(*name) && !line.ends_with(" 0"));
        NAMES.iter().all(counts)
    };
    runtime().block_on(async {
        let mut text = String::new();
        for _ in 0..100 {
            text = reqwest::get(&url).await.unwrap().text().await.unwrap();
            assert!(text.ends_with("# EOF\n"), "{text}");
            if counted(&text) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        }
        panic!("a counter stays at zero: {text}");
    });
}

#[test]
fn images_go_in_and_come_out() {
    let store = Store::start("256M");
    let image = store.dir.path().join("in.img");
    let mut data = noise(1, 3 << 20);
    data[1 << 20..2 << 20].fill(0);
    data.truncate((3 << 20) - 1000);
    std::fs::write(&image, &data).unwrap();
    store.cli(&["volume", "create", "v", "--size", "8M"]);
    let path = |name: &str| store.dir.path().join(name).to_str().unwrap().to_owned();
    store.cli(&["volume", "import", "v", "--file", &path("in.img")]);
    let copied = store.json(&["volume", "export", "v", "--file", &path("out.img")]);
    assert_eq!(copied["bytes"], 8 << 20);
    let out = std::fs::read(path("out.img")).unwrap();
    assert_eq!(out.len(), 8 << 20);
    assert!(out[..data.len()] == data[..] && out[data.len()..].iter().all(|byte| *byte == 0));
    store.fails(1, &["volume", "export", "v", "--file", &path("out.img")]);
    store.cli(&["volume", "create", "small", "--size", "1M"]);
    store.fails(2, &["volume", "import", "small", "--file", &path("in.img")]);
}
