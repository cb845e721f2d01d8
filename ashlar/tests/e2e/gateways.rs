//! Gateways as processes of their own: two that were given one name, and what each counts.

use crate::harness::{clean, eventually, seed};
use crate::s3_client::{S3Client, runtime};
use serde_json::Value;
use std::time::Duration;
use trial::fleet::{Fleet, Network};
use trial::process::{Daemon, program};

const MINUTE: Duration = Duration::from_secs(60);

fn gateway_state(status: &Value, address: &str) -> String {
    let services = status["services"].as_array().unwrap();
    let found = services.iter().find(|service| service["address"] == address);
    found.and_then(|service| service["state"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn a_fenced_gateway_is_seen_and_the_other_is_counted() {
    let fleet = Fleet::start("1G", Network::Plain, seed()).unwrap();
    let first = eventually("a gateway that runs", MINUTE, || {
        let status = fleet.status()?;
        let found = status["services"].as_array()?.iter().find(|service| service["name"] == "s3 gateway")?;
        (found["state"] == "running").then(|| found["address"].as_str().unwrap().to_owned())
    });
    let env: Vec<(String, String)> = fleet
        .command(&[])
        .get_envs()
        .filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned())))
        .collect();
    let of = |wanted: &str| env.iter().find(|(name, _)| name == wanted).unwrap().1.clone();
    let mut command = clean(program());
    command.args([
        "objectd",
        "--listen",
        "127.0.0.1:0",
        "--node",
        "node-s3b",
        "--gateway",
        "gateway-node-s3",
    ]);
    command.arg("--meta").arg(of("ASHLAR_ADMIN"));
    command.arg("--token-file").arg(fleet.dir.path().join("voter/secrets/daemon.token"));
    let other = Daemon::start("the other gateway", &mut command, &fleet.dir.path().join("other.log"));
    let status = eventually("the first seen as fenced", MINUTE, || {
        fleet.status().filter(|status| gateway_state(status, &first).starts_with("fenced"))
    });
    let causes = status["causes"].to_string();
    assert!(status["health"] == "unavailable" && causes.contains("--gateway"), "{status}");
    let second = other.ready("s3");
    assert_eq!(gateway_state(&status, second.trim_start_matches("http://")), "running", "{status}");

    let s3 = S3Client::new(
        second,
        of("AWS_DEFAULT_REGION"),
        &of("AWS_ACCESS_KEY_ID"),
        &of("AWS_SECRET_ACCESS_KEY"),
    );
    let metrics = runtime().block_on(async {
        assert_eq!(s3.put("/counted", Vec::new()).await.unwrap().status, 200);
        assert_eq!(s3.put("/counted/key", vec![1; 9000]).await.unwrap().status, 200);
        let url = format!("{}/metrics", of("ASHLAR_ADMIN"));
        let wanted =
            "ashlar_s3_requests_total{gateway=\"gateway-node-s3\",operation=\"PutObject\",class=\"2xx\"} 1";
        let mut last = String::new();
        for _ in 0..200 {
            last = reqwest::get(&url).await.unwrap().text().await.unwrap();
            if last.contains(wanted) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{wanted} is not in\n{last}");
    });
    assert!(
        metrics.contains("ashlar_s3_received_bytes_total{gateway=\"gateway-node-s3\"} 9000"),
        "{metrics}"
    );
    assert_eq!(metrics.matches("# TYPE ashlar_s3_requests counter").count(), 1, "{metrics}");
    assert!(metrics.ends_with("# EOF\n") && metrics.matches("# EOF").count() == 1);
    other.stop();
}
