//! AWS's published examples, which no code of ours had a part in making.
//!
//! Source: S3 API reference, "Signature Calculations for the Authorization Header", "... in Multiple Chunks",
//! "... with trailing headers", and "Authenticating Requests: Using Query Parameters".

use http::Request;

use super::fixture::{EXAMPLE_S, KEY_ID, authenticate};
use super::{Holder, Principal};
use crate::error::S3Code;
use crate::payload::PayloadMode;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn request(method: &str, uri: &str, signed: &str, signature: &str, headers: &[(&str, &str)]) -> Request<()> {
    let authorization = format!(
        "AWS4-HMAC-SHA256 Credential={KEY_ID}/20130524/us-east-1/s3/aws4_request,\
         SignedHeaders={signed},Signature={signature}"
    );
    let mut request = Request::builder()
        .method(method)
        .uri(uri)
        .header("x-amz-date", "20130524T000000Z")
        .header("Authorization", authorization);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("request")
}

const HOST: (&str, &str) = ("Host", "examplebucket.s3.amazonaws.com");

#[tokio::test]
async fn get_object() {
    let request = request(
        "GET",
        "/test.txt",
        "host;range;x-amz-content-sha256;x-amz-date",
        "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
        &[HOST, ("Range", "bytes=0-9"), ("x-amz-content-sha256", EMPTY)],
    );
    let found = authenticate(request, EXAMPLE_S).await.expect("signed");
    let holder = Holder::root("owner");
    let signer = Principal::Key { access_key_id: KEY_ID.into(), owner: "owner".into(), holder };
    assert_eq!(found.principal, signer);
    assert!(!found.presigned && matches!(found.payload.mode(), PayloadMode::Sha256(_)));
}

#[tokio::test]
async fn put_object() {
    let request = request(
        "PUT",
        "/test$file.text",
        "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
        "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
        &[
            HOST,
            ("Date", "Fri, 24 May 2013 00:00:00 GMT"),
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"),
        ],
    );
    authenticate(request, EXAMPLE_S).await.expect("signed");
}

#[tokio::test]
async fn get_bucket_lifecycle() {
    let request = request(
        "GET",
        "/?lifecycle",
        "host;x-amz-content-sha256;x-amz-date",
        "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543",
        &[HOST, ("x-amz-content-sha256", EMPTY)],
    );
    authenticate(request, EXAMPLE_S).await.expect("signed");
}

#[tokio::test]
async fn list_objects() {
    let request = request(
        "GET",
        "/?max-keys=2&prefix=J",
        "host;x-amz-content-sha256;x-amz-date",
        "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7",
        &[HOST, ("x-amz-content-sha256", EMPTY)],
    );
    authenticate(request, EXAMPLE_S).await.expect("signed");
}

fn presigned() -> Request<()> {
    let uri = format!(
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256\
         &X-Amz-Credential={KEY_ID}%2F20130524%2Fus-east-1%2Fs3%2Faws4_request\
         &X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host\
         &X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    );
    Request::get(uri).header(HOST.0, HOST.1).body(()).expect("request")
}

#[tokio::test]
async fn presigned_get() {
    for later_s in [0, 86_400] {
        let found = authenticate(presigned(), EXAMPLE_S + later_s).await.expect("signed");
        assert!(found.presigned && found.payload.mode() == PayloadMode::Unsigned);
    }
    let error = authenticate(presigned(), EXAMPLE_S + 86_401).await.expect_err("expired");
    assert_eq!((error.code(), error.message()), (S3Code::AccessDenied, "Request has expired"));
}

const STREAMING_HEADERS: [(&str, &str); 6] = [
    ("Host", "s3.amazonaws.com"),
    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    ("Content-Encoding", "aws-chunked"),
    ("x-amz-decoded-content-length", "66560"),
    ("Content-Length", "66824"),
];

/// AWS's chunked upload: 65 KiB of `a` in a chunk of 64 KiB, one of 1 KiB and the empty one.
#[tokio::test]
async fn chunk_signatures() {
    use sha2::{Digest, Sha256};
    let request = request(
        "PUT",
        "/examplebucket/chunkObject.txt",
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;\
         x-amz-decoded-content-length;x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
        &STREAMING_HEADERS,
    );
    let found = authenticate(request, EXAMPLE_S).await.expect("signed");
    let mut signer = found.payload.into_signer().expect("signed chunks");
    let chunks = [
        (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
        (1024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
        (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
    ];
    for (length, expected) in chunks {
        let hash: [u8; 32] = Sha256::digest(vec![b'a'; length]).into();
        assert_eq!(signer.sign_chunk(&hash), expected, "{length}");
    }
}

/// The same upload with a trailing CRC32C.
#[tokio::test]
async fn trailer_signature() {
    use sha2::{Digest, Sha256};
    let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
    let key = aws_sigv4::sign::v4::generate_signing_key(
        super::fixture::SECRET,
        std::time::UNIX_EPOCH + std::time::Duration::from_secs(EXAMPLE_S),
        "us-east-1",
        "s3",
    );
    let key: [u8; 32] = key.as_ref().try_into().expect("32 bytes");
    let scope = "20130524/us-east-1/s3/aws4_request".to_owned();
    let mut signer = super::ChunkSigner::new(key, "20130524T000000Z", scope, seed);
    let chunks = [
        (65_536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
        (1024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
        (0, "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992"),
    ];
    for (length, expected) in chunks {
        let hash: [u8; 32] = Sha256::digest(vec![b'a'; length]).into();
        assert_eq!(signer.sign_chunk(&hash), expected, "{length}");
    }
    assert_eq!(
        signer.sign_trailer(b"x-amz-checksum-crc32c:sOO8/Q==\n"),
        "d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435"
    );
}
