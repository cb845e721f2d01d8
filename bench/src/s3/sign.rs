//! Signature Version 4 in the `Authorization` header, cheap enough that the client is not what is measured.
//!
//! The general signers sort, copy and escape what they are given; here every request has the same three signed
//! headers, and the day's key is derived once. A test holds it to the `aws-sigv4` crate.

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};
use time::OffsetDateTime;

/// Of an empty body.
pub const EMPTY_SHA256: &[u8; 64] = b"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const SIGNED_HEADERS: &str = "host;x-amz-content-sha256;x-amz-date";

/// Who signs, and for which region.
#[derive(Clone)]
pub struct Identity {
    pub region: String,
    pub key_id: String,
    pub secret: String,
}

/// What of a request is signed.
#[derive(Clone, Copy)]
pub struct Head<'a> {
    pub method: &'a str,
    /// Absolute, and made of unreserved characters and slashes only.
    pub path: &'a str,
    /// In the order of its names, escaped; empty if there is none.
    pub query: &'a str,
    pub host: &'a str,
    /// The body's SHA-256 in hexadecimal, or `UNSIGNED-PAYLOAD`.
    pub payload: &'a [u8],
    pub body_bytes: usize,
}

/// Signs requests of one identity.
pub struct Signer {
    identity: Identity,
    second: u64,
    stamp: String,
    scope: String,
    key: Hmac<Sha256>,
    canonical: Vec<u8>,
}

impl Signer {
    pub fn new(identity: &Identity) -> Self {
        let mut signer = Self {
            identity: identity.clone(),
            second: 0,
            stamp: String::new(),
            scope: String::new(),
            key: keyed(b""),
            canonical: Vec::with_capacity(512),
        };
        signer.turn_to(0);
        signer
    }

    /// Appends the request's head, as it goes out now.
    pub fn write(&mut self, out: &mut Vec<u8>, head: &Head<'_>) {
        let second = now_s();
        if second != self.second {
            self.turn_to(second);
        }
        let signature = self.signature(head);
        let Head { method, path, query, host, payload, body_bytes } = *head;
        let mark = if query.is_empty() { "" } else { "?" };
        let (key_id, scope, stamp) = (&self.identity.key_id, &self.scope, &self.stamp);
        let payload = String::from_utf8_lossy(payload);
        // Writing to a vector does not fail.
        let _ = write!(
            out,
            "{method} {path}{mark}{query} HTTP/1.1\r\nhost: {host}\r\nx-amz-date: {stamp}\r\n\
             x-amz-content-sha256: {payload}\r\ncontent-length: {body_bytes}\r\n\
             authorization: AWS4-HMAC-SHA256 Credential={key_id}/{scope}, SignedHeaders={SIGNED_HEADERS}, \
             Signature={signature}\r\n\r\n"
        );
    }

    fn signature(&mut self, head: &Head<'_>) -> String {
        let canonical = &mut self.canonical;
        canonical.clear();
        let _ = write!(
            canonical,
            "{}\n{}\n{}\nhost:{}\nx-amz-content-sha256:",
            head.method, head.path, head.query, head.host
        );
        canonical.extend_from_slice(head.payload);
        let _ = write!(canonical, "\nx-amz-date:{}\n\n{SIGNED_HEADERS}\n", self.stamp);
        canonical.extend_from_slice(head.payload);
        let hash = hex::encode(Sha256::digest(&*canonical));
        let mut mac = self.key.clone();
        for part in ["AWS4-HMAC-SHA256\n", &self.stamp, "\n", &self.scope, "\n", &hash] {
            mac.update(part.as_bytes());
        }
        hex::encode(mac.finalize().into_bytes())
    }

    /// Takes on another time, and the key of its day.
    fn turn_to(&mut self, second: u64) {
        let at =
            i64::try_from(second).ok().and_then(|second| OffsetDateTime::from_unix_timestamp(second).ok());
        let at = at.unwrap_or(OffsetDateTime::UNIX_EPOCH);
        let day = format!("{:04}{:02}{:02}", at.year(), u8::from(at.month()), at.day());
        let scope = format!("{day}/{}/s3/aws4_request", self.identity.region);
        if scope != self.scope {
            let mut key = format!("AWS4{}", self.identity.secret).into_bytes();
            for part in [day.as_str(), &self.identity.region, "s3", "aws4_request"] {
                let mut mac = keyed(&key);
                mac.update(part.as_bytes());
                key = mac.finalize().into_bytes().to_vec();
            }
            (self.key, self.scope) = (keyed(&key), scope);
        }
        self.stamp = format!("{day}T{:02}{:02}{:02}Z", at.hour(), at.minute(), at.second());
        self.second = second;
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("a key may have any length")
}

#[expect(clippy::disallowed_methods, reason = "signatures carry the real time")]
fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_credential_types::Credentials;
    use aws_sigv4::http_request::{
        PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings, sign,
    };
    use aws_sigv4::sign::v4;
    use std::time::Duration;

    fn by_the_crate(identity: &Identity, second: u64, head: &Head<'_>) -> String {
        let who = Credentials::new(&identity.key_id, &identity.secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        let params = v4::SigningParams::builder()
            .identity(&who)
            .region(&identity.region)
            .name("s3")
            .time(UNIX_EPOCH + Duration::from_secs(second))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let mark = if head.query.is_empty() { "" } else { "?" };
        let url = format!("http://{}{}{mark}{}", head.host, head.path, head.query);
        let payload = String::from_utf8(head.payload.to_vec()).unwrap();
        let request =
            SignableRequest::new(head.method, url, std::iter::empty(), SignableBody::Precomputed(payload));
        sign(request.unwrap(), &params).unwrap().signature().to_owned()
    }

    #[test]
    fn it_signs_as_the_sdk_does() {
        let identity =
            Identity { region: "ashlar-1".into(), key_id: "AK1".into(), secret: "very/secret+".into() };
        let heads = [
            ("PUT", "/bench/new/000000000017", "", EMPTY_SHA256.as_slice()),
            ("GET", "/bench/got/4096/1", "", b"UNSIGNED-PAYLOAD".as_slice()),
            (
                "GET",
                "/bench",
                "delimiter=%2F&list-type=2&max-keys=1000&start-after=0001%2F000001",
                EMPTY_SHA256,
            ),
        ];
        let mut signer = Signer::new(&identity);
        for (method, path, query, payload) in heads {
            let head = Head { method, path, query, host: "127.0.0.1:9000", payload, body_bytes: 0 };
            // The third is of another day than the second.
            for second in [1_440_938_160, 1_440_979_199, 1_440_979_200] {
                signer.turn_to(second);
                assert_eq!(
                    signer.signature(&head),
                    by_the_crate(&identity, second, &head),
                    "{method} {second}"
                );
            }
        }
    }

    #[test]
    fn a_head_is_whole() {
        let identity = Identity { region: "r".into(), key_id: "AK1".into(), secret: "s".into() };
        let mut out = Vec::new();
        let head = Head {
            method: "GET",
            path: "/b",
            query: "list-type=2",
            host: "h:1",
            payload: EMPTY_SHA256,
            body_bytes: 0,
        };
        Signer::new(&identity).write(&mut out, &head);
        let text = String::from_utf8(out).unwrap();
        assert!(text.starts_with("GET /b?list-type=2 HTTP/1.1\r\nhost: h:1\r\nx-amz-date: 20"), "{text}");
        assert!(
            text.contains("\r\ncontent-length: 0\r\nauthorization: AWS4-HMAC-SHA256 Credential=AK1/"),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\n"));
    }
}
