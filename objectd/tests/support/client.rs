//! Calls, signed as an unmodified SDK would sign them.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningParams, SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use base64::Engine as _;
use bytes::Bytes;
use rt::clock::{Clock as _, SystemClock};
use sha2::{Digest as _, Sha256};

use super::wire::{Prepared, Response};

/// How the body is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payload {
    Sha256,
    Unsigned,
    StreamingSigned,
    StreamingSignedTrailer,
    StreamingUnsignedTrailer,
}

impl Payload {
    pub const ALL: [Payload; 5] = [
        Payload::Sha256,
        Payload::Unsigned,
        Payload::StreamingSigned,
        Payload::StreamingSignedTrailer,
        Payload::StreamingUnsignedTrailer,
    ];

    pub fn is_streaming(self) -> bool {
        !matches!(self, Payload::Sha256 | Payload::Unsigned)
    }

    fn has_trailer(self) -> bool {
        matches!(self, Payload::StreamingSignedTrailer | Payload::StreamingUnsignedTrailer)
    }

    fn hash(self, body: &[u8]) -> String {
        match self {
            Payload::Sha256 => hex::encode(Sha256::digest(body)),
            Payload::Unsigned => "UNSIGNED-PAYLOAD".into(),
            Payload::StreamingSigned => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD".into(),
            Payload::StreamingSignedTrailer => "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER".into(),
            Payload::StreamingUnsignedTrailer => "STREAMING-UNSIGNED-PAYLOAD-TRAILER".into(),
        }
    }
}

/// Where the signature goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signing {
    Header,
    /// In the query, valid for this many seconds. Such a request has an unsigned payload.
    Query(u64),
    Anonymous,
}

/// One request to make. `..Call::default()` for what does not matter.
#[derive(Debug, Clone)]
pub struct Call {
    pub method: &'static str,
    /// Path and query, percent-encoded.
    pub target: String,
    /// Signed ones.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub payload: Payload,
    pub signing: Signing,
    /// Data bytes of a chunk of the streaming modes.
    pub chunk_len: usize,
    /// Seconds that the client's clock is wrong by.
    pub clock_off_s: i64,
}

impl Default for Call {
    fn default() -> Call {
        Call {
            method: "GET",
            target: "/".into(),
            headers: Vec::new(),
            body: Vec::new(),
            payload: Payload::Sha256,
            signing: Signing::Header,
            chunk_len: 64 << 10,
            clock_off_s: 0,
        }
    }
}

impl Call {
    /// One with headers and a body.
    pub fn new(method: &'static str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Call {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Call { method, target: target.into(), headers, body: body.into(), ..Call::default() }
    }
}

/// Who calls, and whom.
#[derive(Debug, Clone)]
pub struct Client {
    pub address: SocketAddr,
    pub access_key_id: String,
    pub secret: String,
    pub region: String,
    pub service: String,
}

impl Client {
    pub fn new(address: SocketAddr, access_key_id: &str, secret: &str, region: &str) -> Client {
        Client {
            address,
            access_key_id: access_key_id.into(),
            secret: secret.into(),
            region: region.into(),
            service: "s3".into(),
        }
    }

    pub async fn get(&self, target: &str) -> Response {
        self.call(&Call { target: target.into(), ..Call::default() }).await
    }

    pub async fn head(&self, target: &str) -> Response {
        self.call(&Call { method: "HEAD", target: target.into(), ..Call::default() }).await
    }

    pub async fn delete(&self, target: &str) -> Response {
        self.call(&Call { method: "DELETE", target: target.into(), ..Call::default() }).await
    }

    pub async fn put(&self, target: &str, body: &[u8]) -> Response {
        self.call(&Call { method: "PUT", target: target.into(), body: body.into(), ..Call::default() }).await
    }

    pub async fn post(&self, target: &str, body: &[u8]) -> Response {
        self.call(&Call { method: "POST", target: target.into(), body: body.into(), ..Call::default() }).await
    }

    pub async fn send_with(
        &self,
        method: &'static str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Response {
        self.call(&Call::new(method, target, headers, body)).await
    }

    /// Signs and sends. A test that talks to nobody fails here.
    pub async fn call(&self, call: &Call) -> Response {
        self.send(&self.prepare(call)).await
    }

    pub async fn send(&self, prepared: &Prepared) -> Response {
        match prepared.send(self.address).await {
            Ok(response) => response,
            Err(error) => panic!("{} {}: no answer: {error}", prepared.method, prepared.target),
        }
    }

    /// Signs without sending.
    pub fn prepare(&self, call: &Call) -> Prepared {
        let mut headers = vec![("host".to_owned(), self.address.to_string())];
        headers.extend(call.headers.iter().cloned());
        let payload = if call.signing == Signing::Header { call.payload } else { Payload::Unsigned };
        if payload.is_streaming() {
            headers.push(("content-encoding".into(), "aws-chunked".into()));
            headers.push(("x-amz-decoded-content-length".into(), call.body.len().to_string()));
        }
        if payload.has_trailer() {
            headers.push(("x-amz-trailer".into(), "x-amz-checksum-crc32".into()));
        }
        let mut prepared = Prepared {
            method: call.method.into(),
            target: call.target.clone(),
            headers,
            body: call.body.clone(),
        };
        if call.signing != Signing::Anonymous {
            self.sign(call, payload, &mut prepared);
        }
        if !prepared.body.is_empty() || matches!(call.method, "PUT" | "POST") {
            prepared = prepared.clone().set("content-length", &prepared.body.len().to_string());
        }
        prepared.add("connection", "close")
    }

    fn sign(&self, call: &Call, payload: Payload, prepared: &mut Prepared) {
        let time = wall(call.clock_off_s);
        let identity = Credentials::new(&*self.access_key_id, &*self.secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        if let Signing::Query(expires_s) = call.signing {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(expires_s));
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name(&self.service)
            .time(time)
            .settings(settings)
            .build()
            .expect("all parameters are given")
            .into();
        let uri = format!("http://{}{}", self.address, prepared.target);
        let body = SignableBody::Precomputed(payload.hash(&call.body));
        let headers = prepared.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(&prepared.method, uri, headers, body).expect("a valid request");
        let (instructions, seed) = sign(signable, &params).expect("signing works").into_parts();
        let (headers, query) = instructions.into_parts();
        for (name, value) in query {
            let separator = if prepared.target.contains('?') { '&' } else { '?' };
            let value = encode(&value);
            prepared.target = format!("{}{separator}{name}={value}", prepared.target);
        }
        for header in headers {
            prepared.headers.push((header.name().to_owned(), header.value().to_owned()));
        }
        if payload.is_streaming() {
            prepared.body = self.frame(call, payload, &params, (time, seed));
        }
    }

    /// The body in `aws-chunked` framing.
    fn frame(
        &self,
        call: &Call,
        payload: Payload,
        params: &SigningParams<'_>,
        (time, seed): (SystemTime, String),
    ) -> Vec<u8> {
        let SigningParams::V4(params) = params else { panic!("signed with version 4") };
        let (mut out, mut previous) = (Vec::with_capacity(call.body.len() + 1024), seed);
        for chunk in call.body.chunks(call.chunk_len).chain([&[][..]]) {
            out.extend_from_slice(format!("{:x}", chunk.len()).as_bytes());
            if payload != Payload::StreamingUnsignedTrailer {
                let chunk = Bytes::copy_from_slice(chunk);
                previous =
                    v4::sign_chunk(&chunk, &previous, params).expect("signing works").signature().into();
                out.extend_from_slice(format!(";chunk-signature={previous}").as_bytes());
            }
            out.extend_from_slice(b"\r\n");
            out.extend_from_slice(chunk);
            if !chunk.is_empty() {
                out.extend_from_slice(b"\r\n");
            }
        }
        if payload.has_trailer() {
            let crc = crc32fast::hash(&call.body).to_be_bytes();
            let line =
                format!("x-amz-checksum-crc32:{}", base64::engine::general_purpose::STANDARD.encode(crc));
            out.extend_from_slice(format!("{line}\r\n").as_bytes());
            if payload == Payload::StreamingSignedTrailer {
                let signature = self.trailer_signature(time, &line, &previous);
                out.extend_from_slice(format!("x-amz-trailer-signature:{signature}\r\n").as_bytes());
            }
        }
        out.extend_from_slice(b"\r\n");
        out
    }

    fn trailer_signature(&self, time: SystemTime, line: &str, previous: &str) -> String {
        let stamp = time::OffsetDateTime::from(time);
        let date = format!("{:04}{:02}{:02}", stamp.year(), u8::from(stamp.month()), stamp.day());
        let to_sign = format!(
            "AWS4-HMAC-SHA256-TRAILER\n{date}T{:02}{:02}{:02}Z\n{date}/{}/{}/aws4_request\n{previous}\n{}",
            stamp.hour(),
            stamp.minute(),
            stamp.second(),
            self.region,
            self.service,
            hex::encode(Sha256::digest(format!("{line}\n")))
        );
        let key = v4::generate_signing_key(&self.secret, time, &self.region, &self.service);
        v4::calculate_signature(key, to_sign.as_bytes())
    }
}

/// Percent-encodes a query value.
pub fn encode(value: &str) -> String {
    percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC)
        .to_string()
        .replace("%2D", "-")
        .replace("%2E", ".")
        .replace("%5F", "_")
        .replace("%7E", "~")
}

fn wall(off_s: i64) -> SystemTime {
    let millis = SystemClock.wall().0.saturating_add_signed(off_s * 1000);
    UNIX_EPOCH + Duration::from_secs(millis / 1000)
}
