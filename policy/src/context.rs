//! What a request says about itself: the values that conditions and variables are compared with.

use std::collections::BTreeMap;

use crate::error::{Error, ErrorKind, Result};

/// Keys outside `s3:` that a request's own headers decide. All other keys come from the server.
const CLAIMED_GLOBAL: &[&str] = &["aws:referer", "aws:useragent"];
/// Keys in `s3:` that the server decides, not a header or parameter of the request.
const SERVER_S3: &[&str] = &[
    "s3:authtype",
    "s3:dataaccesspointaccount",
    "s3:dataaccesspointarn",
    "s3:resourceaccount",
    "s3:signatureage",
    "s3:signatureversion",
    "s3:tlsversion",
];

/// The condition keys of one request. Names ignore case; a key without values is a key that is missing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Context {
    values: BTreeMap<String, Vec<String>>,
}

impl Context {
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a key to what the server knows to be true: replaces what was there.
    pub fn set(&mut self, key: &str, value: impl Into<String>) -> &mut Self {
        self.values.insert(key.to_ascii_lowercase(), vec![value.into()]);
        self
    }

    /// Sets a key with many values, `s3:RequestObjectTagKeys` for example.
    pub fn set_all(&mut self, key: &str, values: impl IntoIterator<Item = String>) -> &mut Self {
        self.values.insert(key.to_ascii_lowercase(), values.into_iter().collect());
        self
    }

    /// Sets a key to what the request says of itself (a header, a parameter, a tag that it carries).
    /// Keys that only the server may know are refused, and a key can't be claimed twice.
    pub fn claim(&mut self, key: &str, value: impl Into<String>) -> Result<&mut Self> {
        let lower = key.to_ascii_lowercase();
        let own_tag = lower.starts_with("s3:existingobjecttag/");
        let s3 = lower.starts_with("s3:") && !own_tag && !SERVER_S3.contains(&lower.as_str());
        if !s3 && !CLAIMED_GLOBAL.contains(&lower.as_str()) {
            let message = format!("{key} is set by the server, never by a request");
            return Err(Error::new(ErrorKind::UntrustedKey, key, message));
        }
        if self.values.contains_key(&lower) {
            return Err(Error::new(ErrorKind::UntrustedKey, key, format!("{key} is given twice")));
        }
        Ok(self.set(key, value))
    }

    /// All values of a key whose name is in lower case.
    pub(crate) fn all(&self, lower_key: &str) -> &[String] {
        self.values.get(lower_key).map_or(&[], Vec::as_slice)
    }

    /// The value of a key that has exactly one: only those can be variables.
    pub(crate) fn single(&self, lower_key: &str) -> Option<&str> {
        match self.all(lower_key) {
            [one] => Some(one),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_cannot_set_what_the_server_knows() {
        let mut context = Context::new();
        for key in [
            "aws:SourceIp",
            "AWS:sourceip",
            "aws:PrincipalArn",
            "aws:username",
            "aws:SecureTransport",
            "s3:ResourceAccount",
            "s3:signatureAge",
            "s3:ExistingObjectTag/class",
            "x",
        ] {
            let error = context.claim(key, "1").expect_err(key);
            assert_eq!(error.kind, ErrorKind::UntrustedKey);
        }
        assert_eq!(context, Context::new());
        context.claim("aws:UserAgent", "curl").unwrap().claim("s3:prefix", "a/").unwrap();
        context.claim("S3:Prefix", "b/").expect_err("twice");
        assert_eq!(context.single("s3:prefix"), Some("a/"));
    }
}
