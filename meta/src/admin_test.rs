use super::*;
use crate::node::{MetaConfig, MetaNode};
use crate::record::{AccessKey, DiskRecord, NodeRecord, PoolRecord, Secret};
use proto::ids::{DiskId, NodeId};
use serde_json::{Value, json};
use std::net::SocketAddr;

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

struct Api {
    url: String,
    http: reqwest::Client,
    node: MetaNode,
    server: tokio::task::JoinHandle<()>,
    _dir: tempfile::TempDir,
}

impl Api {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let node = MetaNode::start(MetaConfig::new(dir.path(), NodeId(1))).await.unwrap();
        let app = router(node.client(), AdminToken::new(TOKEN).unwrap(), node.metrics());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, http: reqwest::Client::builder().no_proxy().build().unwrap(), node, server, _dir: dir }
    }

    async fn call(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        let request = self.http.request(method.parse().unwrap(), format!("{}{path}", self.url));
        let request = request.bearer_auth(TOKEN);
        let request = if body.is_null() { request } else { request.json(&body) };
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap())
    }

    async fn stop(self) {
        self.server.abort();
        self.node.stop().await.unwrap();
    }

    async fn make_pool(&self) {
        let client = self.node.client();
        let pool = PoolRecord { id: "p".into(), created_ms: 1, groups: 8, min_in_sync: 2 };
        client.init_pool(pool).await.unwrap();
        let node = NodeRecord { id: NodeId(1), name: "n1".into(), zone: "z1".into() };
        client.register_node(node).await.unwrap();
        for disk in 1..=3 {
            let addr: SocketAddr = format!("127.0.0.1:{}", 7000 + u16::from(disk)).parse().unwrap();
            let disk = DiskRecord::new(DiskId([disk; 16]), NodeId(1), addr, "z1".into(), 1 << 30);
            client.register_disk(disk).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_open_without_the_token() {
    let api = Api::start().await;
    for path in ["/", "/v1/status", "/v1/volumes", "/v1/volumes/x", "/v1/propose", "/v1/nothing", "/metrics"]
    {
        for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"] {
            let url = format!("{}{path}", api.url);
            let request = || api.http.request(method.parse().unwrap(), &url);
            let status = |response: reqwest::Response| response.status().as_u16();
            assert_eq!(status(request().send().await.unwrap()), 401, "{method} {path}");
            for wrong in [
                "Bearer ",
                "Bearer 0123456789abcdef0123456789abcdee",
                "Bearer x",
                &format!("Bearer {TOKEN}0"),
            ] {
                let response = request().header("authorization", wrong).send().await.unwrap();
                assert!([401, 403].contains(&response.status().as_u16()), "{method} {path} {wrong}");
                let body = response.text().await.unwrap();
                assert!(!body.contains(TOKEN));
            }
            let basic = request().basic_auth("root", Some(TOKEN)).send().await.unwrap();
            assert_eq!(status(basic), 401);
            let twice = request().bearer_auth(TOKEN).bearer_auth(TOKEN).send().await.unwrap();
            assert_eq!(status(twice), 401, "two credentials");
        }
    }
    let (status, _) = api.call("GET", "/v1/nothing", Value::Null).await;
    assert_eq!(status, 404);
    let (status, _) = api.call("PUT", "/v1/volumes", Value::Null).await;
    assert_eq!(status, 405);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_live_and_die() {
    let api = Api::start().await;
    let (status, made) = api.call("POST", "/v1/volumes", json!({"name": "v1", "size_bytes": 1 << 30})).await;
    assert_eq!((status, &made["state"], &made["epoch"]), (201, &json!("ready"), &json!(0)));
    let (status, error) = api.call("POST", "/v1/volumes", json!({"name": "v1", "size_bytes": 1 << 30})).await;
    assert_eq!(
        (status, &error["error"]["kind"], &error["error"]["what"]),
        (409, &json!("exists"), &json!("volume"))
    );
    for (name, size) in [
        ("V1", json!(1 << 30)),
        ("v2", json!(4095)),
        ("v2", json!(4096)),
        ("v2", json!(u64::MAX)),
        ("v2", json!(-1)),
    ] {
        let (status, error) =
            api.call("POST", "/v1/volumes", json!({"name": name, "size_bytes": size})).await;
        assert_eq!((status, &error["error"]["kind"]), (400, &json!("invalid")), "{name} {size}");
    }
    let unknown = json!({"name": "v2", "size_bytes": 1 << 30, "replicas": 1});
    assert_eq!(api.call("POST", "/v1/volumes", unknown).await.0, 400);
    let large = json!({"name": "v".repeat(MAX_JSON_BYTES), "size_bytes": 1 << 30});
    assert_eq!(api.call("POST", "/v1/volumes", large).await.0, 413);
    assert_eq!(api.call("GET", "/v1/volumes/v1", Value::Null).await.1, made);
    assert_eq!(api.call("GET", "/v1/volumes", Value::Null).await.1, json!({ "volumes": [made] }));
    for missing in ["/v1/volumes/v2", "/v1/volumes/..%2f", "/v1/volumes/%ff", "/v1/volumes/.objectlog-a"] {
        assert_eq!(api.call("GET", missing, Value::Null).await.0, 404, "{missing}");
    }
    let (status, gone) = api.call("DELETE", "/v1/volumes/v1", Value::Null).await;
    assert_eq!((status, &gone["state"]), (202, &json!("deleting")));
    assert_eq!(api.call("DELETE", "/v1/volumes/v1", Value::Null).await.0, 404);
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_remote_client_is_as_good_as_a_local_one() {
    let api = Api::start().await;
    let remote = Client::remote(&api.url, TOKEN).unwrap();
    let error = remote.volume("v1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound(Entity::Volume));
    let made = remote.create_volume("v1", 1 << 30).await.unwrap();
    assert_eq!(api.node.client().volume("v1").await.unwrap(), made);
    assert_eq!(remote.open_volume(made.id).await.unwrap_err().kind(), ErrorKind::Unavailable);
    api.make_pool().await;
    let lease = remote.open_volume(made.id).await.unwrap();
    assert_eq!((lease.epoch.0, lease.map.groups.len(), lease.map.disks.len()), (1, 8, 3));
    let status = remote.status().await.unwrap();
    assert_eq!((status.groups_whole, status.volumes, status.problems), (8, 1, Vec::new()));
    let (_, json) = api.call("GET", "/v1/status", Value::Null).await;
    assert_eq!(json["failure_domain"], json!("disk"));
    assert_eq!(api.call("GET", "/v1/disks", Value::Null).await.1["disks"].as_array().unwrap().len(), 3);
    assert_eq!(api.call("GET", "/v1/nodes", Value::Null).await.1["nodes"][0]["name"], json!("n1"));
    let key = AccessKey {
        id: "AKIA".into(),
        secret: Secret("hidden-canary".into()),
        owner: "root".into(),
        enabled: true,
        created_ms: 1,
    };
    assert!(!format!("{key:?}").contains("canary"));
    remote.put_access_key(key.clone()).await.unwrap();
    assert_eq!(remote.access_key("AKIA").await.unwrap(), key);
    let wrong = Client::remote(&api.url, "not-the-token-at-all").unwrap();
    assert_eq!(wrong.status().await.unwrap_err().kind(), ErrorKind::Unauthorized);
    let text = api.http.post(format!("{}/v1/query", api.url)).bearer_auth(TOKEN).body("x");
    assert_eq!(text.send().await.unwrap().status().as_u16(), 415);
    for body in [vec![], vec![0xff; 100], vec![0, 0]] {
        let bad = api.http.post(format!("{}/v1/query", api.url)).bearer_auth(TOKEN);
        let bad = bad.header("content-type", crate::wire::POSTCARD).body(body);
        assert_eq!(bad.send().await.unwrap().status().as_u16(), 400);
    }
    let bucket = "bucket";
    remote.create_bucket(bucket, "root").await.unwrap();
    api.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_is_counted() {
    let api = Api::start().await;
    let mut registry = prometheus_client::registry::Registry::default();
    api.node.metrics().register(&mut registry);
    let client = api.node.client();
    client.create_volume("v1", 1 << 30).await.unwrap();
    client.create_volume("v1", 1 << 30).await.unwrap_err();
    client.volume("v1").await.unwrap();
    client.volume("v2").await.unwrap_err();
    api.call("GET", "/v1/status", Value::Null).await;
    api.call("GET", "/v1/nothing", Value::Null).await;
    api.http.get(&api.url).send().await.unwrap();
    api.node.snapshot().await.unwrap();
    let has = |text: &str| {
        let mut out = String::new();
        prometheus_client::encoding::text::encode(&mut out, &registry).unwrap();
        out.lines().any(|line| line.starts_with(text)).then_some(()).ok_or(out)
    };
    for line in [
        "ashlar_meta_proposals_total{outcome=\"applied\"} 1",
        "ashlar_meta_proposals_total{outcome=\"refused\"} 1",
        "ashlar_meta_queries_total{outcome=\"not_found\"} 1",
        "ashlar_meta_queries_total{outcome=\"answered\"} 2",
        "ashlar_meta_admin_requests_total{outcome=\"ok\"} 1",
        "ashlar_meta_admin_requests_total{outcome=\"failed\"} 1",
        "ashlar_meta_admin_requests_total{outcome=\"refused\"} 1",
        "ashlar_meta_batch_commands_count 2",
        "ashlar_meta_applied_index 3",
        "ashlar_meta_rebuilds_total 0",
        "ashlar_meta_log_bytes_total",
        "ashlar_meta_log_flush_seconds_count",
    ] {
        has(line).unwrap();
    }
    while has("ashlar_meta_snapshots_total 1").is_err() {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    api.stop().await;
}
