//! What the gateway computes for a request, by itself: `cargo bench -p objectd`.
#![allow(clippy::unwrap_used)]

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use http::request::Parts;
use objectd::auth::{Authenticator, Holder, KeyFuture, KeyRecord, KeyStatus, KeyStore, Secret};
use objectd::payload::{ChecksumAlgorithm, ChecksumSet};
use rt::clock::{Clock, Instant, WallMillis};
use std::sync::Arc;
use std::time::{Duration, UNIX_EPOCH};

const KEY_ID: &str = "AKIAIOSFODNN7EXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY";
const REGION: &str = "ashlar-1";
const NOW_S: u64 = 1_369_353_600;

fn main() {
    divan::main();
}

struct StillClock;

impl Clock for StillClock {
    fn now(&self) -> Instant {
        Instant(1)
    }

    fn wall(&self) -> WallMillis {
        WallMillis(NOW_S * 1000)
    }
}

struct OneKey;

impl KeyStore for OneKey {
    fn key<'a>(&'a self, _: &'a str, _: Option<&'a str>) -> KeyFuture<'a> {
        let record = KeyRecord {
            secret: Secret::new(SECRET),
            status: KeyStatus::Active,
            owner: "owner".into(),
            holder: Holder::root("owner"),
        };
        Box::pin(async move { Ok(Some(Arc::new(record))) })
    }
}

/// A GET's head as the SDKs send it.
fn signed() -> Parts {
    let url = "http://127.0.0.1:9000/bucket/folder/key%20with%20spaces?x-id=GetObject";
    let identity = Credentials::new(KEY_ID, SECRET, None, None, "bench").into();
    let mut settings = SigningSettings::default();
    settings.payload_checksum_kind = aws_sigv4::http_request::PayloadChecksumKind::XAmzSha256;
    settings.percent_encoding_mode = aws_sigv4::http_request::PercentEncodingMode::Single;
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region(REGION)
        .name("s3")
        .time(UNIX_EPOCH + Duration::from_secs(NOW_S))
        .settings(settings)
        .build()
        .unwrap()
        .into();
    let signable = SignableRequest::new("GET", url, std::iter::empty(), SignableBody::Bytes(b"")).unwrap();
    let (instructions, _) = sign(signable, &params).unwrap().into_parts();
    let request = http::Request::get(url).header("host", "127.0.0.1:9000").header("accept", "*/*");
    let mut request = request.header("user-agent", "a client").body(()).unwrap();
    instructions.apply_to_request_http1x(&mut request);
    let (mut parts, ()) = request.into_parts();
    // A server sees the path alone.
    parts.uri = parts.uri.path_and_query().unwrap().as_str().parse().unwrap();
    parts
}

#[divan::bench]
fn sigv4_verify(bencher: Bencher<'_, '_>) {
    let authenticator = Authenticator::new(Arc::new(OneKey), Arc::new(StillClock), REGION);
    let parts = signed();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    bencher.bench_local(|| runtime.block_on(authenticator.authenticate(black_box(&parts))).unwrap());
}

const SIZES: [usize; 3] = [4096, 128 << 10, 8 << 20];

/// What a PUT's body goes through in any case: an MD5 for the ETag, and this.
#[divan::bench(args = SIZES, consts = [0, 1, 2])]
fn put_checksums<const CHOSEN: usize>(bencher: Bencher<'_, '_>, len: usize) {
    // CRC32, CRC64NVME, and CRC64NVME beside the SHA-256 that a signature names.
    let (algorithm, with_sha256) = [
        (ChecksumAlgorithm::Crc32, false),
        (ChecksumAlgorithm::Crc64Nvme, false),
        (ChecksumAlgorithm::Crc64Nvme, true),
    ][CHOSEN];
    let data = vec![7; len];
    bencher.counter(BytesCount::new(len)).bench(|| {
        let mut set = ChecksumSet::new(algorithm, with_sha256);
        set.update(black_box(&data));
        set.finish()
    });
}

#[divan::bench(args = SIZES)]
fn md5_alone(bencher: Bencher<'_, '_>, len: usize) {
    use md5::Digest;
    let data = vec![7; len];
    bencher.counter(BytesCount::new(len)).bench(|| md5::Md5::digest(black_box(&data)));
}

#[divan::bench(args = SIZES)]
fn sha256_alone(bencher: Bencher<'_, '_>, len: usize) {
    use sha2::Digest;
    let data = vec![7; len];
    bencher.counter(BytesCount::new(len)).bench(|| sha2::Sha256::digest(black_box(&data)));
}

#[divan::bench(args = SIZES)]
fn crc64nvme_alone(bencher: Bencher<'_, '_>, len: usize) {
    let data = vec![7; len];
    let algorithm = crc_fast::CrcAlgorithm::Crc64Nvme;
    bencher.counter(BytesCount::new(len)).bench(|| crc_fast::checksum(algorithm, black_box(&data)));
}
