use super::*;
use http::{HeaderValue, StatusCode};

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const BYTES: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

fn md5() -> String {
    BASE64.encode(CustomerKey::new(*BYTES).md5())
}

fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
    pairs
        .iter()
        .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
        .collect()
}

fn asked(pairs: &[(&'static str, &str)]) -> Result<Asked, (S3Code, String)> {
    of_new(&headers(pairs), Transport::Https).map_err(|error| (error.code(), error.message().to_owned()))
}

#[test]
fn writes_say_how_they_are_encrypted() {
    assert_eq!(asked(&[]), Ok(Asked::Unsaid));
    assert_eq!(asked(&[(ENCRYPTION, "AES256")]), Ok(Asked::Pool));
    assert_eq!(asked(&[(ENCRYPTION, "AES256"), (BUCKET_KEY, "true")]), Ok(Asked::Pool));
    let key = [(OWN.algorithm, "AES256"), (OWN.key, KEY), (OWN.md5, &md5())];
    assert_eq!(asked(&key), Ok(Asked::Customer(CustomerKey::new(*BYTES))));
    for kms in ["aws:kms", "aws:kms:dsse"] {
        assert_eq!(asked(&[(ENCRYPTION, kms)]).unwrap_err().0, S3Code::NotImplemented);
    }
    for bad in [
        vec![(ENCRYPTION, "aes256")],
        vec![(ENCRYPTION, "")],
        vec![(KMS_KEY, "k")],
        vec![(ENCRYPTION, "AES256"), (KMS_KEY, "k")],
        vec![(ENCRYPTION, "AES256"), (KMS_CONTEXT, "e30=")],
        vec![(BUCKET_KEY, "yes")],
        [&key[..], &[(ENCRYPTION, "AES256")]].concat(),
    ] {
        assert_eq!(asked(&bad).unwrap_err().0, S3Code::InvalidArgument, "{bad:?}");
    }
}

#[test]
fn a_customer_s_key_is_whole_and_right_or_refused() {
    let md5 = md5();
    let cases = [
        (vec![(OWN.key, KEY), (OWN.md5, &md5[..])], "valid encryption algorithm"),
        (vec![(OWN.algorithm, "AES128"), (OWN.key, KEY), (OWN.md5, &md5)], "Supported value: AES256"),
        (vec![(OWN.algorithm, "AES256"), (OWN.md5, &md5)], "appropriate secret key"),
        (vec![(OWN.algorithm, "AES256"), (OWN.key, KEY)], "client calculated MD5"),
        (vec![(OWN.algorithm, "AES256"), (OWN.key, "c2hvcnQ="), (OWN.md5, &md5)], "secret key was invalid"),
        (vec![(OWN.algorithm, "AES256"), (OWN.key, "!"), (OWN.md5, &md5)], "secret key was invalid"),
        (vec![(OWN.algorithm, "AES256"), (OWN.key, KEY), (OWN.md5, "AAAA")], "did not match"),
    ];
    for (pairs, part) in cases {
        let (code, message) = asked(&pairs).unwrap_err();
        assert_eq!(code, S3Code::InvalidArgument, "{pairs:?}");
        assert!(message.contains(part) && !message.contains(KEY), "{message}");
    }
    let key = headers(&[(OWN.algorithm, "AES256"), (OWN.key, KEY), (OWN.md5, &md5)]);
    for refused in [
        of_new(&key, Transport::Clear).unwrap_err(),
        of_existing(&key, Transport::Clear).unwrap_err(),
        of_source(&headers(&[(SOURCE.algorithm, "AES256")]), Transport::Clear).unwrap_err(),
    ] {
        assert_eq!(refused.code(), S3Code::InvalidRequest);
        assert!(refused.message().contains("secure connection"));
    }
    assert!(of_existing(&key, Transport::Https).unwrap().is_some());
    assert_eq!(of_source(&key, Transport::Https).unwrap(), None);
    let read = of_existing(&headers(&[(ENCRYPTION, "AES256")]), Transport::Https).unwrap_err();
    assert_eq!((read.code(), read.status()), (S3Code::InvalidArgument, StatusCode::BAD_REQUEST));
}
