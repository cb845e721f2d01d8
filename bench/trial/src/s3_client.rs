//! A small S3 client for load: signs with `aws-sigv4`, sends with `reqwest`.

use crate::harness::Store;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::time::{Duration, SystemTime};

#[derive(Clone)]
pub struct S3Client {
    http: reqwest::Client,
    endpoint: String,
    region: String,
    credentials: Credentials,
}

/// A whole answer.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl S3Client {
    pub fn of(store: &Store) -> Self {
        let names = ["AWS_ENDPOINT_URL", "AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];
        let [endpoint, region, id, secret] = names.map(|name| store.env(name));
        Self::new(endpoint, region, &id, &secret)
    }

    pub fn new(endpoint: String, region: String, id: &str, secret: &str) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap(),
            endpoint,
            region,
            credentials: Credentials::new(id, secret, None, None, "test"),
        }
    }

    /// One signed request; `None` if the connection broke before the answer was whole.
    pub async fn send(&self, method: &str, path: &str, body: Vec<u8>) -> Option<Answer> {
        self.send_with(method, path, body, &[]).await
    }

    /// The same with headers of its own.
    async fn send_with(
        &self,
        method: &str,
        path: &str,
        body: Vec<u8>,
        headers: &[(&str, &str)],
    ) -> Option<Answer> {
        let url = format!("{}{path}", self.endpoint);
        let identity = self.credentials.clone().into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = aws_sigv4::http_request::PercentEncodingMode::Single;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(now())
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let signable =
            SignableRequest::new(method, url.as_str(), headers.iter().copied(), SignableBody::Bytes(&body))
                .unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let mut request = http::Request::builder().method(method).uri(&url).body(()).unwrap();
        instructions.apply_to_request_http1x(&mut request);
        let mut asked = self.http.request(method.parse().unwrap(), &url);
        for (name, value) in headers {
            asked = asked.header(*name, *value);
        }
        let mut response = asked
            .headers(request.headers().clone())
            // Of an empty body it is left out otherwise, and S3 wants to know.
            .header("content-length", body.len())
            .body(body)
            .send()
            .await
            .ok()?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.ok()? {
            body.extend_from_slice(&chunk);
        }
        Some(Answer { status, body })
    }

    pub async fn put(&self, path: &str, body: Vec<u8>) -> Option<Answer> {
        self.send("PUT", path, body).await
    }

    /// A POST with the checksum that S3 wants of a list of things to delete.
    pub async fn post_checked(&self, path: &str, body: Vec<u8>) -> Option<Answer> {
        let sum = STANDARD.encode(Sha256::digest(&body));
        self.send_with("POST", path, body, &[("x-amz-checksum-sha256", &sum)]).await
    }

    pub async fn get(&self, path: &str) -> Option<Answer> {
        self.send("GET", path, Vec::new()).await
    }
}

#[expect(clippy::disallowed_methods, reason = "signatures carry the real time")]
fn now() -> SystemTime {
    SystemTime::now()
}

/// A runtime for a test's client.
pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}
