//! What a write's headers say about the object: the headers to keep, user metadata, and requests for what is
//! not served, which are refused rather than ignored.

use crate::auth::single_header;
use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::MAX_USER_METADATA_BYTES;
use crate::payload::strip_aws_chunked;
use http::header::{
    CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LANGUAGE, CONTENT_TYPE, EXPIRES,
};
use http::{HeaderMap, HeaderName};
use meta::object::StoredHeaders;

const META_PREFIX: &str = "x-amz-meta-";
/// Prefixes of headers that ask for what is not served yet.
const UNSERVED: &[&str] = &["x-amz-website-redirect-location", "x-amz-write-offset-bytes"];
/// Those that only a request which makes an object can mean.
const OF_NEW_OBJECTS: &[&str] = &["x-amz-tagging", "x-amz-object-lock-"];

/// The headers kept with an object. Values are text without control characters: they go into answers as they
/// are.
pub fn stored_headers(headers: &HeaderMap) -> S3Result<StoredHeaders> {
    let text = |name: &HeaderName| match headers.get(name) {
        None => Ok(None),
        Some(_) => single_value(headers, name).map(Some),
    };
    Ok(StoredHeaders {
        content_type: text(&CONTENT_TYPE)?,
        cache_control: text(&CACHE_CONTROL)?,
        content_disposition: text(&CONTENT_DISPOSITION)?,
        content_encoding: text(&CONTENT_ENCODING)?.and_then(|coding| strip_aws_chunked(&coding)),
        content_language: text(&CONTENT_LANGUAGE)?,
        expires: text(&EXPIRES)?,
    })
}

/// The user metadata of a request: names without their prefix.
pub fn user_metadata(headers: &HeaderMap) -> S3Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut bytes = 0;
    for name in headers.keys() {
        let Some(short) = name.as_str().strip_prefix(META_PREFIX) else { continue };
        // Repeated metadata headers are one value, as HTTP joins them.
        let values: S3Result<Vec<String>> =
            headers.get_all(name).iter().map(|value| utf8(value, name)).collect();
        let value = values?.join(",");
        bytes += short.len() + value.len();
        found.push((short.to_owned(), value));
    }
    if bytes > MAX_USER_METADATA_BYTES {
        return Err(S3Error::new(S3Code::MetadataTooLarge)
            .extra("Size", bytes.to_string())
            .extra("MaxSizeAllowed", MAX_USER_METADATA_BYTES.to_string()));
    }
    Ok(found)
}

/// Refuses headers that ask for what the gateway does not do. Ignoring one would be a lie: a client that asked
/// for encryption and got a 200 believes in it.
pub fn refuse_unserved(headers: &HeaderMap) -> S3Result<()> {
    for name in headers.keys().map(HeaderName::as_str) {
        let tags = name == "x-amz-tagging-directive" || name == "x-amz-tagging-count";
        if !tags && OF_NEW_OBJECTS.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(S3Error::new(S3Code::NotImplemented).extra("Header", name));
        }
    }
    refuse_unserved_of_object(headers)
}

/// The same of a request that makes an object.
pub fn refuse_unserved_of_object(headers: &HeaderMap) -> S3Result<()> {
    for name in headers.keys().map(HeaderName::as_str) {
        if UNSERVED.iter().any(|prefix| name.starts_with(prefix)) {
            return Err(S3Error::new(S3Code::NotImplemented).extra("Header", name));
        }
    }
    let text = |name: &'static str| single_header(headers, &HeaderName::from_static(name));
    match text("x-amz-storage-class")? {
        None | Some("STANDARD") => Ok(()),
        Some(_) => Err(S3Error::new(S3Code::InvalidStorageClass)),
    }
}

fn single_value(headers: &HeaderMap, name: &HeaderName) -> S3Result<String> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => utf8(value, name),
        _ => Err(S3Error::with(S3Code::InvalidArgument, "A header that may be given once was repeated")
            .extra("ArgumentName", name.as_str())),
    }
}

fn utf8(value: &http::HeaderValue, name: &HeaderName) -> S3Result<String> {
    let text = std::str::from_utf8(value.as_bytes());
    text.map(str::to_owned).map_err(|_| {
        S3Error::with(S3Code::InvalidArgument, "A header's value must be UTF-8")
            .extra("ArgumentName", name.as_str())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &[u8])]) -> HeaderMap {
        let value = |bytes| HeaderValue::from_bytes(bytes).unwrap();
        let mut map = HeaderMap::new();
        for &(name, bytes) in pairs {
            map.append(name, value(bytes));
        }
        map
    }

    #[test]
    fn keeps_headers_but_not_the_framing() {
        let kept = stored_headers(&headers(&[
            ("content-type", b"text/plain"),
            ("content-encoding", b"aws-chunked,gzip"),
            ("x-other", b"x"),
        ]));
        let expected = StoredHeaders {
            content_type: Some("text/plain".to_owned()),
            content_encoding: Some("gzip".to_owned()),
            ..StoredHeaders::default()
        };
        assert_eq!(kept.unwrap(), expected);
        let twice = stored_headers(&headers(&[("expires", b"a"), ("expires", b"b")]));
        assert_eq!(twice.unwrap_err().code(), S3Code::InvalidArgument);
    }

    #[test]
    fn user_metadata_is_bounded_utf8() {
        let found = user_metadata(&headers(&[("x-amz-meta-a", "é".as_bytes()), ("x-amz-meta-a", b"2")]));
        assert_eq!(found.unwrap(), [("a".to_owned(), "é,2".to_owned())]);
        let code = |pairs: &[(&'static str, &[u8])]| user_metadata(&headers(pairs)).unwrap_err().code();
        assert_eq!(code(&[("x-amz-meta-a", b"\xff")]), S3Code::InvalidArgument);
        assert_eq!(code(&[("x-amz-meta-a", &[b'x'; 2048])]), S3Code::MetadataTooLarge);
        assert!(user_metadata(&headers(&[("x-amz-meta-a", &[b'x'; 2047])])).is_ok());
    }

    #[test]
    fn what_is_not_served_is_refused() {
        let code = |name, value: &str| {
            refuse_unserved(&headers(&[(name, value.as_bytes())])).err().map(|error| error.code())
        };
        assert_eq!(code("x-amz-write-offset-bytes", "1"), Some(S3Code::NotImplemented));
        assert_eq!(code("x-amz-tagging", "a=b"), Some(S3Code::NotImplemented));
        assert_eq!(code("x-amz-storage-class", "GLACIER"), Some(S3Code::InvalidStorageClass));
        assert_eq!(code("x-amz-storage-class", "STANDARD"), None);
        assert_eq!(code("x-amz-tagging-directive", "COPY"), None);
        let of_object = |name| refuse_unserved_of_object(&headers(&[(name, b"x")])).is_ok();
        assert!(of_object("x-amz-tagging") && of_object("x-amz-object-lock-mode"));
        assert!(!of_object("x-amz-write-offset-bytes"));
    }
}
