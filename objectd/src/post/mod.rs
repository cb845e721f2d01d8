//! Uploads by browser forms: POST Object. The form, its policy, and what its fields say, as headers of a PUT would.
//!
//! Source: S3 API reference, "POST Object", "Creating an HTML Form (Using AWS Signature Version 4)".

mod file;
mod form;
mod policy;

pub use file::FileBody;
pub use form::{Field, Form, FormReader};
pub use policy::{LengthRange, PostPolicy};

use crate::annotations;
use crate::auth::uri::uri_encode;
use crate::error::{S3Code, S3Error, S3Result};
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, REFERER, USER_AGENT};
use http::{HeaderMap, Method};

/// What of the request's own headers counts. Nobody signed them: all that is said of the object is in the form.
const KEPT: [HeaderName; 3] = [HOST, USER_AGENT, REFERER];
/// Fields that mean what the header of the same name means.
const SAME: [&str; 6] = [
    "cache-control",
    "content-type",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
];
/// The same, by how they begin.
const SAME_PREFIXES: [&str; 9] = [
    "x-amz-meta-",
    "x-amz-acl",
    "x-amz-grant-",
    "x-amz-storage-class",
    "x-amz-server-side-encryption",
    "x-amz-website-redirect-location",
    "x-amz-object-lock-",
    "x-amz-checksum-",
    "x-amz-sdk-checksum-algorithm",
];

/// Whether a request is a form that a browser sends to a bucket.
pub fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    let form = |value: &HeaderValue| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        kind.trim_ascii().eq_ignore_ascii_case(b"multipart/form-data")
    };
    *method == Method::POST && headers.get(CONTENT_TYPE).is_some_and(form)
}

impl Form {
    /// A field's value. Errors: `InvalidArgument` if it is there twice: a policy would see one of them.
    pub fn field(&self, name: &str) -> S3Result<Option<&str>> {
        let mut found = self.fields.iter().filter(|field| field.name == name);
        match (found.next(), found.next()) {
            (field, None) => Ok(field.map(|field| field.value.as_str())),
            _ => Err(S3Error::with(S3Code::InvalidArgument, "A field of a form may be given only once")
                .extra("ArgumentName", name)),
        }
    }

    /// Puts the file's name in the key, where that asks for it: before anything is decided by the key.
    ///
    /// Errors: `InvalidArgument` without a key, or with a field twice.
    pub fn settle(mut self) -> S3Result<Self> {
        let missing = || {
            let why = "Bucket POST must contain a field named 'key'.  If it is specified, please check the order of \
                       the fields.";
            S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", "key")
        };
        for field in &self.fields {
            self.field(&field.name)?;
        }
        // Of a path, as some browsers send it, only the last part.
        let filename = self.filename.rsplit(['/', '\\']).next().unwrap_or_default().to_owned();
        let key = self.fields.iter_mut().find(|field| field.name == "key").ok_or_else(missing)?;
        key.value = key.value.replace("${filename}", &filename);
        Ok(self)
    }

    /// The headers of a PUT that says the same.
    pub fn headers(&self, own: &HeaderMap) -> S3Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        for name in KEPT {
            for value in own.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        for Field { name, value } in &self.fields {
            let (name, value) = match name.as_str() {
                "acl" => ("x-amz-acl", value.clone()),
                "tagging" => ("x-amz-tagging", tags_as_query(value)?),
                other if is_header(other) && !value.is_empty() => (other, value.clone()),
                _ => continue,
            };
            let bad = || {
                S3Error::with(S3Code::InvalidArgument, "A header can't have this value")
                    .extra("ArgumentName", name)
            };
            let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
            headers.insert(header, HeaderValue::from_bytes(value.as_bytes()).map_err(|_| bad())?);
        }
        Ok(headers)
    }
}

fn is_header(name: &str) -> bool {
    SAME.contains(&name) || SAME_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

fn tags_as_query(document: &str) -> S3Result<String> {
    let tags = annotations::tags_of_xml(document.as_bytes())?;
    let pairs = tags.iter().map(|(name, value)| {
        format!("{}={}", uri_encode(name.as_bytes(), false), uri_encode(value.as_bytes(), false))
    });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(pairs: &[(&str, &str)]) -> Form {
        let fields = pairs.iter().map(|(name, value)| Field { name: (*name).into(), value: (*value).into() });
        Form { fields: fields.collect(), filename: "C:\\photos\\a b.jpg".into(), content_type: None }
    }

    #[test]
    fn the_key_gets_the_files_name() {
        let key =
            |key: &str| form(&[("key", key)]).settle().unwrap().field("key").unwrap().unwrap().to_owned();
        assert_eq!(key("user/${filename}"), "user/a b.jpg");
        assert_eq!(key("user/$filename"), "user/$filename");
        for bad in [&[][..], &[("key", "a"), ("key", "b")], &[("key", "a"), ("acl", "b"), ("acl", "b")]] {
            assert_eq!(form(bad).settle().unwrap_err().code(), S3Code::InvalidArgument);
        }
    }

    #[test]
    fn only_the_form_says_what_the_object_is() {
        let mut own = HeaderMap::new();
        for name in ["host", "referer", "x-amz-meta-evil", "x-amz-acl", "content-type", "if-none-match"] {
            own.insert(HeaderName::from_static(name), HeaderValue::from_static("own"));
        }
        let form = form(&[
            ("key", "k"),
            ("policy", "p"),
            ("acl", "private"),
            ("content-type", "image/png"),
            ("x-amz-meta-a", "b"),
            ("x-amz-signature", "s"),
            ("x-ignore-a", "b"),
            ("tagging", "<Tagging><TagSet><Tag><Key>a b</Key><Value>+</Value></Tag></TagSet></Tagging>"),
        ]);
        let headers = form.headers(&own).unwrap();
        let mut shown: Vec<_> =
            headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "content-type: image/png",
                "host: own",
                "referer: own",
                "x-amz-acl: private",
                "x-amz-meta-a: b",
                "x-amz-tagging: a%20b=%2B"
            ]
        );
        for value in ["a\r\nx-evil: 1", "\u{0}"] {
            let error = self::form(&[("x-amz-meta-a", value)]).headers(&own).unwrap_err();
            assert_eq!(error.code(), S3Code::InvalidArgument);
        }
    }

    #[test]
    fn only_forms_are_forms() {
        let is = |method, kind: &'static str| {
            is_form(&method, &HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]))
        };
        assert!(is(Method::POST, "Multipart/Form-Data; boundary=x"));
        assert!(!is(Method::POST, "application/xml") && !is(Method::PUT, "multipart/form-data; boundary=x"));
    }
}
