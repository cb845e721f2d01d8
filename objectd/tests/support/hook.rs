//! A webhook: a real HTTP server that answers as it is told to, and keeps what it was posted.

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// What was posted, and how it was answered.
#[derive(Debug, Clone)]
pub struct Posted {
    pub status: u16,
    pub token: Option<String>,
    pub body: Value,
}

impl Posted {
    /// The event's name and key; of a test, its name.
    pub fn named(&self) -> String {
        let record = &self.body["Records"][0];
        match record["eventName"].as_str() {
            Some(name) => format!("{name} {}", record["s3"]["object"]["key"].as_str().unwrap()),
            None => self.body["Event"].as_str().unwrap().to_owned(),
        }
    }
}

#[derive(Clone, Default)]
struct Shared {
    status: Arc<AtomicU16>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

pub struct Hook {
    pub addr: SocketAddr,
    shared: Shared,
    task: JoinHandle<()>,
}

impl Hook {
    /// One that answers with this status.
    pub async fn start(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let shared = Shared::default();
        shared.status.store(status, Ordering::SeqCst);
        let router = Router::new().fallback(post).with_state(shared.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { addr, shared, task }
    }

    pub fn url(&self) -> String {
        format!("http://{}/hook", self.addr)
    }

    pub fn answer(&self, status: u16) {
        self.shared.status.store(status, Ordering::SeqCst);
    }

    pub fn posted(&self) -> Vec<Posted> {
        self.shared.posted.lock().unwrap().clone()
    }

    /// What it took, by event and key.
    pub fn taken(&self) -> Vec<String> {
        self.posted().iter().filter(|posted| posted.status == 200).map(Posted::named).collect()
    }

    /// Waits until what was posted is as it should be.
    pub async fn wait(&self, what: &str, is_so: impl Fn(&[Posted]) -> bool) {
        for _ in 0..600 {
            if is_so(&self.posted()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("{what}: {:#?}", self.posted());
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn post(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let status = shared.status.load(Ordering::SeqCst);
    let token = headers.get("authorization").map(|token| token.to_str().unwrap().to_owned());
    assert_eq!(headers["content-type"], "application/json");
    let body = serde_json::from_slice(&body).unwrap();
    shared.posted.lock().unwrap().push(Posted { status, token, body });
    StatusCode::from_u16(status).unwrap()
}
