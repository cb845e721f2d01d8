//! Every payload mode, from a client's bytes through the authenticator and the body's reader, and what
//! becomes of a body or head that was changed on its way. No sockets: the gateway's own tests have those.

mod support;

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use objectd::auth::{Authenticator, Holder, KeyRecord, KeyStatus, KeyStore, Secret};
use objectd::error::{S3Code, S3Result};
use objectd::payload::{BodyPlan, PayloadDigest};
use rt::clock::SystemClock;
use support::{Call, Client, Payload, Prepared, Signing};

struct OneKey;

impl KeyStore for OneKey {
    fn key<'a>(&'a self, access_key_id: &'a str, _: Option<&'a str>) -> objectd::auth::KeyFuture<'a> {
        let record = (access_key_id == "AKID").then(|| KeyRecord {
            secret: Secret::new("secret"),
            status: KeyStatus::Active,
            owner: "owner".into(),
            holder: Holder::root("owner"),
        });
        Box::pin(async move { Ok(record.map(Arc::new)) })
    }
}

fn client() -> Client {
    Client::new(([127, 0, 0, 1], 9000).into(), "AKID", "secret", "us-east-1")
}

/// What the gateway does before a PUT's data may be stored.
async fn receive(sent: &Prepared) -> S3Result<(Bytes, PayloadDigest)> {
    let mut request = http::Request::builder().method(sent.method.as_str()).uri(&sent.target);
    for (name, value) in &sent.headers {
        request = request.header(name, value);
    }
    let (parts, ()) = request.body(()).expect("a request").into_parts();
    let authenticator = Authenticator::new(Arc::new(OneKey), Arc::new(SystemClock), "us-east-1");
    let found = authenticator.authenticate(&parts).await?;
    found.principal.require()?;
    let plan = BodyPlan::object(&parts, found.payload)?;
    plan.reader(Full::new(Bytes::from(sent.body.clone()))).collect().await
}

fn put(payload: Payload, body: &[u8]) -> Call {
    Call { method: "PUT", target: "/bucket/key".into(), body: body.into(), payload, ..Call::default() }
}

#[tokio::test]
async fn every_mode_delivers_its_body() {
    for length in [0, 1, 8192, 65_536, 65_537, 300_000] {
        let body: Vec<u8> = (0..length).map(|n: u32| n.to_le_bytes()[0]).collect();
        for payload in Payload::ALL {
            let (data, digest) = receive(&client().prepare(&put(payload, &body)))
                .await
                .unwrap_or_else(|error| panic!("{payload:?} {length}: {error:?}"));
            assert_eq!((&data[..], digest.length_bytes), (&body[..], u64::from(length)), "{payload:?}");
        }
        let presigned = Call { signing: Signing::Query(60), ..put(Payload::Unsigned, &body) };
        let (data, _) = receive(&client().prepare(&presigned)).await.expect("presigned");
        assert_eq!(&data[..], &body[..]);
    }
}

#[tokio::test]
async fn a_wrong_secret_is_refused_in_every_mode() {
    let wrong = Client { secret: "guess".into(), ..client() };
    for payload in Payload::ALL {
        let error = receive(&wrong.prepare(&put(payload, b"data"))).await.expect_err("refused");
        assert_eq!(error.code(), S3Code::SignatureDoesNotMatch, "{payload:?}");
    }
    let presigned = Call { signing: Signing::Query(60), ..put(Payload::Unsigned, b"data") };
    let error = receive(&wrong.prepare(&presigned)).await.expect_err("refused");
    assert_eq!(error.code(), S3Code::SignatureDoesNotMatch);
}

#[tokio::test]
async fn a_mode_can_not_be_swapped_for_another() {
    let names = [
        "UNSIGNED-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER",
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD",
    ];
    for payload in Payload::ALL {
        let sent = client().prepare(&put(payload, b"data"));
        for name in names.into_iter().filter(|name| sent.header("x-amz-content-sha256") != Some(name)) {
            let swapped = sent.clone().set("x-amz-content-sha256", name);
            let error = receive(&swapped).await.expect_err("refused");
            let expected =
                if name.contains("ECDSA") { S3Code::NotImplemented } else { S3Code::SignatureDoesNotMatch };
            assert_eq!(error.code(), expected, "{payload:?} as {name}");
        }
        let unsaid = receive(&sent.without("x-amz-content-sha256")).await.expect_err("refused");
        assert_eq!(unsaid.code(), S3Code::InvalidRequest);
    }
}

#[tokio::test]
async fn changed_data_is_refused_in_every_mode_that_protects_it() {
    for payload in Payload::ALL.into_iter().filter(|payload| *payload != Payload::Unsigned) {
        let mut sent = client().prepare(&put(payload, &[b'a'; 20_000]));
        let at = sent.body.len() / 2;
        sent.body[at] ^= 1;
        let error = receive(&sent).await.expect_err("refused");
        assert!(error.status().is_client_error(), "{payload:?}");
    }
}

#[tokio::test]
async fn declared_lengths_are_part_of_the_signature() {
    for payload in Payload::ALL.into_iter().filter(|payload| payload.is_streaming()) {
        let sent = client().prepare(&put(payload, b"data")).set("x-amz-decoded-content-length", "3");
        assert_eq!(receive(&sent).await.expect_err("refused").code(), S3Code::SignatureDoesNotMatch);
    }
}
