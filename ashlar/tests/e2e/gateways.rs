//! Gateways as processes of their own: two that were given one name, and what each counts.

use crate::harness::{eventually, seed};
use crate::s3_client::runtime;
use serde_json::Value;
use std::time::Duration;
use trial::fleet::{Fleet, Network};

const MINUTE: Duration = Duration::from_secs(60);

fn gateway_state(status: &Value, address: &str) -> String {
    let services = status["services"].as_array().unwrap();
    let found = services.iter().find(|service| service["address"] == address);
    found.and_then(|service| service["state"].as_str()).unwrap_or_default().to_owned()
}

#[test]
fn a_fenced_gateway_is_seen_and_the_other_is_counted() {
    let fleet = Fleet::start("1G", Network::Plain, seed()).unwrap();
    fleet.await_gateway(MINUTE);
    let first = fleet.s3_url();
    let first = first.trim_start_matches("http://");
    let other = fleet.second_gateway("gateway-node-s3");
    let status = eventually("the first seen as fenced", MINUTE, || {
        fleet.status().filter(|status| gateway_state(status, first).starts_with("fenced"))
    });
    let causes = status["causes"].to_string();
    assert!(status["health"] == "unavailable" && causes.contains("--gateway"), "{status}");
    let second = other.ready("s3");
    assert_eq!(gateway_state(&status, second.trim_start_matches("http://")), "running", "{status}");

    let s3 = fleet.s3_at(second);
    let metrics = runtime().block_on(async {
        assert_eq!(s3.put("/counted", Vec::new()).await.unwrap().status, 200);
        assert_eq!(s3.put("/counted/key", vec![1; 9000]).await.unwrap().status, 200);
        let url = format!("{}/metrics", fleet.env("ASHLAR_ADMIN"));
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
