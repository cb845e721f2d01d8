use std::convert::Infallible;

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Frame;
use http_body_util::StreamBody;
use sha2::{Digest as _, Sha256};

use super::{BodyPlan, ChecksumAlgorithm, PayloadAuth, PayloadDigest, PayloadMode};
use crate::error::{S3Code, S3Result};

fn head(headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::put("/b/k");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("request").into_parts().0
}

fn body(pieces: &[&'static [u8]]) -> impl http_body::Body<Data = Bytes, Error = Infallible> + Unpin + use<> {
    let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from_static(piece)))).collect();
    StreamBody::new(futures_util::stream::iter(frames))
}

fn plan(mode: PayloadMode, headers: &[(&str, &str)]) -> S3Result<BodyPlan> {
    BodyPlan::object(&head(headers), PayloadAuth::new(mode, None)?)
}

async fn read(
    mode: PayloadMode,
    headers: &[(&str, &str)],
    pieces: &[&'static [u8]],
) -> S3Result<(Bytes, PayloadDigest)> {
    plan(mode, headers)?.reader(body(pieces)).collect().await
}

async fn refused(mode: PayloadMode, headers: &[(&str, &str)], pieces: &[&'static [u8]]) -> S3Code {
    read(mode, headers, pieces).await.expect_err("must be refused").code()
}

/// A mode, its headers, and the refusal.
type Case<'a> = (PayloadMode, &'a [(&'a str, &'a str)], S3Code);

const ABC: &[&[u8]] = &[b"ab", b"", b"c"];
const LENGTH: (&str, &str) = ("content-length", "3");

#[tokio::test]
async fn a_plain_body_gets_an_etag_and_a_checksum() {
    let (data, digest) = read(PayloadMode::Unsigned, &[LENGTH], ABC).await.expect("read");
    assert_eq!(&data[..], b"abc");
    assert_eq!(digest.etag(), "900150983cd24fb0d6963f7d28e17f72");
    assert_eq!(digest.checksum.algorithm(), ChecksumAlgorithm::Crc64Nvme);
    assert_eq!((digest.length_bytes, digest.sha256), (3, None));
    let plan = plan(PayloadMode::Unsigned, &[LENGTH]).expect("plan");
    let reader = plan.with_default_checksum(ChecksumAlgorithm::Sha1).reader(body(ABC));
    let (_, digest) = reader.collect().await.expect("read");
    assert_eq!(digest.checksum.to_base64(), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0=");
}

#[tokio::test]
async fn the_signed_hash_is_verified() {
    let right: [u8; 32] = Sha256::digest(b"abc").into();
    let (_, digest) = read(PayloadMode::Sha256(right), &[LENGTH], ABC).await.expect("read");
    assert_eq!(digest.sha256, Some(right));
    assert_eq!(
        refused(PayloadMode::Sha256([0; 32]), &[LENGTH], ABC).await,
        S3Code::XAmzContentSHA256Mismatch
    );
}

#[tokio::test]
async fn declared_checksums_are_verified() {
    for (name, value) in [
        ("content-md5", "kAFQmDzST7DWlj99KOF/cg=="),
        ("x-amz-checksum-crc32", "NSRBwg=="),
        ("x-amz-checksum-crc32c", "Nks/tw=="),
        ("x-amz-checksum-sha1", "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
        ("x-amz-checksum-sha256", "ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0="),
    ] {
        read(PayloadMode::Unsigned, &[LENGTH, (name, value)], ABC)
            .await
            .unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(
            refused(PayloadMode::Unsigned, &[LENGTH, (name, value)], &[b"abd"]).await,
            S3Code::BadDigest
        );
    }
}

#[tokio::test]
async fn heads_that_contradict_themselves_are_refused() {
    let unsigned = PayloadMode::Unsigned;
    let trailer = PayloadMode::StreamingUnsignedTrailer;
    let decoded = ("x-amz-decoded-content-length", "3");
    let cases: [Case<'_>; 15] = [
        (unsigned, &[], S3Code::MissingContentLength),
        (unsigned, &[("transfer-encoding", "chunked")], S3Code::MissingContentLength),
        (unsigned, &[("content-length", "5368709121")], S3Code::EntityTooLarge),
        (unsigned, &[LENGTH, ("content-md5", "kAFQ")], S3Code::InvalidDigest),
        (unsigned, &[LENGTH, ("x-amz-checksum-crc32", "NSRB")], S3Code::InvalidRequest),
        (
            unsigned,
            &[LENGTH, ("x-amz-checksum-crc32", "NSRBwg=="), ("x-amz-checksum-crc32c", "Nks/tw==")],
            S3Code::InvalidRequest,
        ),
        (unsigned, &[LENGTH, ("x-amz-sdk-checksum-algorithm", "CRC32")], S3Code::InvalidRequest),
        (
            unsigned,
            &[LENGTH, ("x-amz-sdk-checksum-algorithm", "SHA1"), ("x-amz-checksum-crc32", "NSRBwg==")],
            S3Code::InvalidRequest,
        ),
        (unsigned, &[LENGTH, ("x-amz-trailer", "x-amz-checksum-crc32")], S3Code::InvalidRequest),
        (trailer, &[LENGTH, ("x-amz-trailer", "x-amz-checksum-crc32")], S3Code::MissingContentLength),
        (trailer, &[decoded], S3Code::InvalidRequest),
        (trailer, &[decoded, ("x-amz-trailer", "x-amz-meta-a")], S3Code::InvalidRequest),
        (
            trailer,
            &[("x-amz-decoded-content-length", "+3"), ("x-amz-trailer", "x-amz-checksum-crc32")],
            S3Code::InvalidArgument,
        ),
        (
            trailer,
            &[("x-amz-decoded-content-length", "5368709121"), ("x-amz-trailer", "x-amz-checksum-crc32")],
            S3Code::EntityTooLarge,
        ),
        (
            trailer,
            &[decoded, ("x-amz-trailer", "x-amz-checksum-crc32"), ("x-amz-checksum-crc32", "NSRBwg==")],
            S3Code::InvalidRequest,
        ),
    ];
    for (mode, headers, expected) in cases {
        let error = plan(mode, headers).expect_err("must be refused");
        assert_eq!(error.code(), expected, "{headers:?}");
    }
}

#[tokio::test]
async fn a_trailer_is_verified_and_chosen() {
    let headers = [
        ("x-amz-decoded-content-length", "3"),
        ("x-amz-trailer", "x-amz-checksum-crc32"),
        ("x-amz-sdk-checksum-algorithm", "CRC32"),
        ("transfer-encoding", "chunked"),
    ];
    let mode = PayloadMode::StreamingUnsignedTrailer;
    let good: &[&[u8]] = &[b"3\r\nabc\r\n0\r\nx-amz-check", b"sum-crc32:NSRBwg==\r\n\r\n"];
    let (data, digest) = read(mode, &headers, good).await.expect("read");
    assert_eq!((&data[..], digest.checksum.to_base64().as_str()), (&b"abc"[..], "NSRBwg=="));
    let bad: &[&[u8]] = &[b"3\r\nabd\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n"];
    assert_eq!(refused(mode, &headers, bad).await, S3Code::BadDigest);
    assert_eq!(refused(mode, &headers, &[b"3\r\nabc\r\n0\r\n\r\n"]).await, S3Code::IncompleteBody);
}

#[tokio::test]
async fn bodies_of_another_length_are_refused() {
    assert_eq!(refused(PayloadMode::Unsigned, &[LENGTH], &[b"ab"]).await, S3Code::IncompleteBody);
    assert_eq!(refused(PayloadMode::Unsigned, &[LENGTH], &[b"abc", b"d"]).await, S3Code::IncompleteBody);
}

#[tokio::test]
async fn there_is_no_digest_before_the_end() {
    let mut reader = plan(PayloadMode::Unsigned, &[LENGTH]).expect("plan").reader(body(&[b"abc"]));
    assert!(reader.next().await.expect("data").is_some());
    assert_eq!(reader.finish().expect_err("no digest").code(), S3Code::IncompleteBody);
}

#[tokio::test]
async fn documents_may_lack_a_length_but_not_pass_their_bound() {
    let document = |headers: &[(&str, &str)], max| {
        BodyPlan::document(&head(headers), PayloadAuth::new(PayloadMode::Unsigned, None).expect("auth"), max)
    };
    let (data, _) = document(&[], 8).expect("plan").reader(body(&[])).collect().await.expect("empty");
    assert!(data.is_empty());
    let chunked = [("transfer-encoding", "chunked")];
    let (data, _) = document(&chunked, 3).expect("plan").reader(body(ABC)).collect().await.expect("read");
    assert_eq!(&data[..], b"abc");
    let error = document(&chunked, 2).expect("plan").reader(body(ABC)).collect().await.expect_err("too long");
    assert_eq!(error.code(), S3Code::MaxMessageLengthExceeded);
    assert_eq!(document(&[LENGTH], 2).expect_err("too long").code(), S3Code::MaxMessageLengthExceeded);
}
