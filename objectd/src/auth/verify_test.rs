//! Requests signed by the `aws-sigv4` crate as its users sign them, and what becomes of them when one thing
//! about them is changed.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use http::Request;

use super::fixture::{DISABLED_KEY_ID, EXAMPLE_S, KEY_ID, REGION, SECRET, authenticate};
use super::{Authenticated, Principal};
use crate::error::{S3Code, S3Error};

/// How to sign; `..Signing::default()` for the rest.
struct Signing<'a> {
    method: &'a str,
    uri: &'a str,
    headers: &'a [(&'a str, &'a str)],
    key_id: &'a str,
    secret: &'a str,
    region: &'a str,
    service: &'a str,
    at_s: u64,
    /// Presigned for this long, if at all.
    expires: Option<Duration>,
}

impl Default for Signing<'_> {
    fn default() -> Self {
        Signing {
            method: "GET",
            uri: "/bucket/key",
            headers: &[],
            key_id: KEY_ID,
            secret: SECRET,
            region: REGION,
            service: "s3",
            at_s: EXAMPLE_S,
            expires: None,
        }
    }
}

impl Signing<'_> {
    fn request(&self) -> Request<()> {
        let time: SystemTime = UNIX_EPOCH + Duration::from_secs(self.at_s);
        let identity = Credentials::new(self.key_id, self.secret, None, None, "test").into();
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        if self.expires.is_some() {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = self.expires;
        }
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(self.region)
            .name(self.service)
            .time(time)
            .settings(settings)
            .build()
            .expect("params")
            .into();
        let uri = format!("http://gw:9000{}", self.uri);
        let body = match self.expires {
            Some(_) => SignableBody::UnsignedPayload,
            None => SignableBody::Bytes(b""),
        };
        let signable = SignableRequest::new(self.method, uri.as_str(), self.headers.iter().copied(), body)
            .expect("signable");
        let (instructions, _) = sign(signable, &params).expect("signed").into_parts();
        let mut builder = Request::builder().method(self.method).uri(uri.as_str());
        for (name, value) in self.headers {
            builder = builder.header(*name, *value);
        }
        let mut request = builder.body(()).expect("request");
        instructions.apply_to_request_http1x(&mut request);
        // On the wire the authority is in the Host header.
        let path = request.uri().path_and_query().expect("path").as_str().parse().expect("uri");
        *request.uri_mut() = path;
        request.headers_mut().insert("host", "gw:9000".parse().expect("host"));
        request
    }

    async fn sent(&self) -> Result<Authenticated, S3Error> {
        authenticate(self.request(), EXAMPLE_S).await
    }
}

/// What the gateway says to `request`, as code and status.
async fn refusal(request: Request<()>) -> (S3Code, u16) {
    let error = authenticate(request, EXAMPLE_S).await.expect_err("must be refused");
    (error.code(), error.status().as_u16())
}

fn with_uri(mut request: Request<()>, edit: impl FnOnce(String) -> String) -> Request<()> {
    *request.uri_mut() = edit(request.uri().to_string()).parse().expect("uri");
    request
}

fn with_header(mut request: Request<()>, name: &'static str, value: &str) -> Request<()> {
    request.headers_mut().append(name, value.parse().expect("value"));
    request
}

fn with_authorization(mut request: Request<()>, edit: impl FnOnce(&str) -> String) -> Request<()> {
    let old = request.headers()["authorization"].to_str().expect("text").to_owned();
    request.headers_mut().insert("authorization", edit(&old).parse().expect("value"));
    request
}

const ODD_URIS: [&str; 14] = [
    "/",
    "/bucket",
    "/bucket/",
    "/bucket/a%20b",
    "/bucket/a+b",
    "/bucket/a%2Bb",
    "/bucket/caf%C3%A9/%E2%82%AC",
    "/bucket/a%2Fb%252Fc",
    "/bucket//a//b",
    "/bucket/../a/./b",
    "/bucket/!$'()*,;=:@",
    "/bucket?prefix=a%20b+c%2B&delimiter=%2F&list-type=2",
    "/bucket?uploads",
    "/bucket/key?versionId=null&partNumber=1&uploadId=a-b_c.d~e",
];

#[tokio::test]
async fn odd_paths_and_queries_verify_in_header_and_query() {
    for uri in ODD_URIS {
        for expires in [None, Some(Duration::from_secs(60))] {
            let signing = Signing { uri, expires, ..Signing::default() };
            let found = signing.sent().await.unwrap_or_else(|error| panic!("{uri}: {error:?}"));
            assert!(matches!(found.principal, Principal::Key { .. }));
            assert_eq!(found.presigned, expires.is_some());
        }
    }
}

#[tokio::test]
async fn headers_are_folded_as_the_client_folds_them() {
    let headers = [("x-amz-meta-a", "  two   words  "), ("x-amz-meta-b", "x"), ("x-amz-meta-empty", "")];
    Signing { method: "PUT", headers: &headers, ..Signing::default() }.sent().await.expect("signed");
}

#[tokio::test]
async fn any_other_method_path_query_or_header_is_refused() {
    let expected = (S3Code::SignatureDoesNotMatch, 403);
    for expires in [None, Some(Duration::from_secs(60))] {
        let signing = Signing {
            uri: "/bucket/key?acl=",
            headers: &[("x-amz-meta-a", "b")],
            expires,
            ..Signing::default()
        };
        let mut method = signing.request();
        *method.method_mut() = http::Method::DELETE;
        assert_eq!(refusal(method).await, expected);
        assert_eq!(refusal(with_uri(signing.request(), |uri| uri.replace("/key", "/Key"))).await, expected);
        assert_eq!(refusal(with_uri(signing.request(), |uri| uri.replace("/key", "//key"))).await, expected);
        assert_eq!(refusal(with_uri(signing.request(), |uri| uri.replace("acl", "tagging"))).await, expected);
        assert_eq!(refusal(with_uri(signing.request(), |uri| format!("{uri}&versionId=1"))).await, expected);
        let mut header = signing.request();
        header.headers_mut().insert("x-amz-meta-a", "c".parse().expect("value"));
        assert_eq!(refusal(header).await, expected);
        let mut missing = signing.request();
        missing.headers_mut().remove("x-amz-meta-a");
        assert_eq!(refusal(missing).await, expected);
        assert_eq!(refusal(with_header(signing.request(), "x-amz-meta-a", "c")).await, expected);
        let mut host = signing.request();
        host.headers_mut().insert("host", "other:9000".parse().expect("value"));
        assert_eq!(refusal(host).await, expected);
    }
}

#[tokio::test]
async fn the_answer_to_a_wrong_signature_helps_and_tells_no_secret() {
    let error = Signing { secret: "wrong", ..Signing::default() }.sent().await.expect_err("refused");
    assert_eq!(error.code(), S3Code::SignatureDoesNotMatch);
    let names: Vec<&str> = error.extras().iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["AWSAccessKeyId", "StringToSign", "SignatureProvided", "CanonicalRequest"]);
    assert!(error.extras()[3].1.starts_with("GET\n/bucket/key\n\nhost:gw:9000\n"));
    assert!(!format!("{error:?}").contains(SECRET));
}

#[tokio::test]
async fn unsigned_host_or_added_amz_headers_are_refused() {
    for expires in [None, Some(Duration::from_secs(60))] {
        let signing = Signing { expires, ..Signing::default() };
        let request = with_header(signing.request(), "x-amz-acl", "public-read");
        assert_eq!(refusal(request).await, (S3Code::AccessDenied, 403));
    }
    let request = with_authorization(Signing::default().request(), |old| {
        old.replace("SignedHeaders=host;", "SignedHeaders=")
    });
    assert_eq!(refusal(request).await, (S3Code::AccessDenied, 403));
}

#[tokio::test]
async fn a_quarter_of_an_hour_of_skew_is_allowed() {
    for at_s in [EXAMPLE_S - 14 * 60, EXAMPLE_S + 14 * 60] {
        Signing { at_s, ..Signing::default() }.sent().await.expect("within the skew");
    }
    for at_s in [EXAMPLE_S - 16 * 60, EXAMPLE_S + 16 * 60] {
        let request = Signing { at_s, ..Signing::default() }.request();
        assert_eq!(refusal(request).await, (S3Code::RequestTimeTooSkewed, 403));
    }
}

#[tokio::test]
async fn presigned_requests_expire() {
    let day = Some(Duration::from_secs(86_400));
    Signing { expires: day, at_s: EXAMPLE_S - 86_400, ..Signing::default() }
        .sent()
        .await
        .expect("last second");
    for (at_s, expires_s) in [(EXAMPLE_S - 86_401, 86_400), (EXAMPLE_S, 0), (EXAMPLE_S + 16 * 60, 86_400)] {
        let expires = Some(Duration::from_secs(expires_s));
        let request = Signing { expires, at_s, ..Signing::default() }.request();
        assert_eq!(refusal(request).await, (S3Code::AccessDenied, 403), "{at_s} {expires_s}");
    }
    let week = Signing { expires: Some(Duration::from_secs(604_800)), ..Signing::default() };
    week.sent().await.expect("a week is allowed");
    let longer = Signing { expires: Some(Duration::from_secs(604_801)), ..Signing::default() }.request();
    assert_eq!(refusal(longer).await, (S3Code::AuthorizationQueryParametersError, 403));
    for (edit, status) in [("-1", 403), ("604801", 403), ("x", 400), ("", 400), ("1e3", 400)] {
        let request = with_uri(week.request(), |uri| uri.replace("604800", edit));
        assert_eq!(refusal(request).await, (S3Code::AuthorizationQueryParametersError, status), "{edit}");
    }
    let request = with_uri(week.request(), |uri| uri.replace("604800", "604799"));
    assert_eq!(refusal(request).await, (S3Code::SignatureDoesNotMatch, 403));
}

#[tokio::test]
async fn scopes_for_elsewhere_are_refused() {
    for expires in [None, Some(Duration::from_secs(60))] {
        let code = match expires {
            None => S3Code::AuthorizationHeaderMalformed,
            Some(_) => S3Code::AuthorizationQueryParametersError,
        };
        let region = Signing { region: "eu-west-1", expires, ..Signing::default() };
        let error = region.sent().await.expect_err("refused");
        assert_eq!((error.code(), error.status().as_u16()), (code, 403));
        assert_eq!(error.extras(), &[("Region", REGION.to_owned())]);
        let service = Signing { service: "ec2", expires, ..Signing::default() }.request();
        assert_eq!(refusal(service).await, (code, 403));
    }
    let date = with_authorization(Signing::default().request(), |old| old.replace("20130524", "20130523"));
    assert_eq!(refusal(date).await, (S3Code::AuthorizationHeaderMalformed, 403));
}

#[tokio::test]
async fn clients_that_know_no_region_get_in() {
    for region in ["us-east-1", "US"] {
        Signing { region, ..Signing::default() }.sent().await.expect("a fallback region");
    }
}

#[tokio::test]
async fn unknown_and_disabled_keys_are_refused_alike() {
    for key_id in ["AKIANOBODY", DISABLED_KEY_ID] {
        let request = Signing { key_id, ..Signing::default() }.request();
        assert_eq!(refusal(request).await, (S3Code::InvalidAccessKeyId, 403));
    }
}

#[tokio::test]
async fn credentials_come_from_one_place_once() {
    let header = Signing::default();
    let query = Signing { expires: Some(Duration::from_secs(60)), ..Signing::default() };
    let value = header.request().headers()["authorization"].to_str().expect("text").to_owned();
    let invalid = (S3Code::InvalidArgument, 400);
    assert_eq!(refusal(with_header(query.request(), "authorization", &value)).await, invalid);
    assert_eq!(refusal(with_header(header.request(), "authorization", &value)).await, invalid);
    assert_eq!(refusal(with_uri(header.request(), |uri| format!("{uri}?X-Amz-Signature=0"))).await, invalid);
    assert_eq!(refusal(with_uri(header.request(), |uri| format!("{uri}?Signature=0"))).await, invalid);
    for name in ["X-Amz-Signature", "X-Amz-Expires", "x-amz-date", "X-Amz-Credential", "%58-Amz-Algorithm"] {
        assert_eq!(refusal(with_uri(query.request(), |uri| format!("{uri}&{name}=1"))).await, invalid);
    }
    assert_eq!(refusal(with_header(header.request(), "x-amz-date", "20130524T000000Z")).await, invalid);
    let twice = with_header(header.request(), "x-amz-content-sha256", "UNSIGNED-PAYLOAD");
    assert_eq!(refusal(twice).await, invalid);
}

#[tokio::test]
async fn malformed_credentials_get_their_documented_error() {
    let malformed = (S3Code::AuthorizationHeaderMalformed, 400);
    for (from, to) in [
        ("Credential=", "Credentials="),
        (", Signature=", ", Signature=0, Signature="),
        ("/aws4_request", "/aws4"),
        ("/20130524/", "/2013/"),
        ("Signature=", "Signature=X"),
        ("SignedHeaders=host;", "SignedHeaders=host;host;"),
        ("SignedHeaders=host;", "SignedHeaders=Host;"),
        ("SignedHeaders=host;", "SignedHeaders=;"),
    ] {
        let request = with_authorization(Signing::default().request(), |old| {
            assert!(old.contains(from), "{old} has no {from}");
            old.replacen(from, to, 1)
        });
        assert_eq!(refusal(request).await, malformed, "{from}");
    }
    for (value, expected) in [
        ("", (S3Code::InvalidArgument, 400)),
        ("AWS4-HMAC-SHA256", malformed),
        ("AWS AKID:c2ln", (S3Code::InvalidRequest, 400)),
        ("Basic dTpw", (S3Code::InvalidArgument, 400)),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", (S3Code::NotImplemented, 501)),
    ] {
        let request = with_authorization(Signing::default().request(), |_| value.to_owned());
        assert_eq!(refusal(request).await, expected, "{value}");
    }
    let request = Request::get("/b/k?X-Amz-Algorithm=AWS4-HMAC-SHA256").body(()).expect("request");
    assert_eq!(refusal(request).await, (S3Code::AuthorizationQueryParametersError, 400));
    let request = Request::get("/b/k?AWSAccessKeyId=a&Signature=b&Expires=1").body(()).expect("request");
    assert_eq!(refusal(request).await, (S3Code::InvalidRequest, 400));
    // Added to a signed request; in two places; with nothing else.
    let request = with_header(Signing::default().request(), "x-amz-security-token", "t");
    assert_eq!(refusal(request).await, (S3Code::AccessDenied, 403));
    let request = Request::get("/b/k").header("x-amz-security-token", "t").body(()).expect("request");
    assert_eq!(refusal(request).await, (S3Code::InvalidToken, 400));
    let request = Request::get("/b/k?X-Amz-Security-Token=t").header("authorization", "x").body(());
    assert_eq!(refusal(request.expect("request")).await, (S3Code::InvalidToken, 400));
    let mut request = Signing::default().request();
    request.headers_mut().remove("x-amz-date");
    assert_eq!(refusal(request).await, (S3Code::AccessDenied, 403));
    let request = Request::get("/b/%zz").header("authorization", "x").body(()).expect("request");
    assert!(authenticate(request, EXAMPLE_S).await.is_err());
}

#[tokio::test]
async fn nobody_is_anonymous_and_owns_nothing() {
    let request = Request::get("/b/k").body(()).expect("request");
    let found = authenticate(request, EXAMPLE_S).await.expect("anonymous");
    assert_eq!(found.principal, Principal::Anonymous);
    assert_eq!(found.principal.require().expect_err("denied").code(), S3Code::AccessDenied);
    let request = Request::put("/b/k")
        .header("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")
        .body(())
        .expect("request");
    assert_eq!(refusal(request).await, (S3Code::AccessDenied, 403));
}

mod hostile {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Whatever the credentials look like, the answer is an error, never a principal or a panic.
        #[test]
        fn made_up_credentials_never_verify(value in "[ -~]{0,200}", query in "[!-~&&[^#]]{0,100}") {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
            for authorization in [value.clone(), format!("AWS4-HMAC-SHA256 Credential={value}")] {
                let Ok(request) = Request::get(format!("/b?{query}"))
                    .header("host", "gw")
                    .header("authorization", authorization)
                    .body(()) else { continue };
                prop_assert!(runtime.block_on(authenticate(request, EXAMPLE_S)).is_err());
            }
            if let Ok(request) = Request::get(format!("/b?X-Amz-Signature={query}")).body(()) {
                prop_assert!(runtime.block_on(authenticate(request, EXAMPLE_S)).is_err());
            }
        }
    }
}
