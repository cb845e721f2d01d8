//! Preconditions of reads, of copy sources and of writes.
//!
//! Source: S3 API reference, GetObject ("Overriding..., conditional requests"), RFC 9110 section 13.

use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use http::HeaderMap;
use http::header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};

/// The four conditions of a read. Dates are whole seconds since 1970; a date that can't be read is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReadConditions {
    pub if_match: Option<String>,
    pub if_none_match: Option<String>,
    pub if_modified_since: Option<u64>,
    pub if_unmodified_since: Option<u64>,
}

/// What the conditions of a read decide.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Proceed,
    NotModified,
    Failed,
}

impl ReadConditions {
    /// The conditions of GET and HEAD.
    pub fn of_read(headers: &HeaderMap) -> Self {
        let names = [IF_MATCH, IF_NONE_MATCH, IF_MODIFIED_SINCE, IF_UNMODIFIED_SINCE];
        Self::from_names(headers, names.each_ref().map(http::HeaderName::as_str))
    }

    /// The conditions of a copy's source.
    pub fn of_copy_source(headers: &HeaderMap) -> Self {
        Self::from_names(
            headers,
            [
                "x-amz-copy-source-if-match",
                "x-amz-copy-source-if-none-match",
                "x-amz-copy-source-if-modified-since",
                "x-amz-copy-source-if-unmodified-since",
            ],
        )
    }

    fn from_names(headers: &HeaderMap, names: [&str; 4]) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let date = |name: &str| text(name).and_then(|value| http_date::parse(&value));
        let [matches, none, modified, unmodified] = names;
        Self {
            if_match: text(matches),
            if_none_match: text(none),
            if_modified_since: date(modified),
            if_unmodified_since: date(unmodified),
        }
    }

    /// Decides for an object with this ETag (unquoted) and modification time in milliseconds.
    ///
    /// A tag condition that is present replaces the date condition of its kind: that is how AWS documents the
    /// pairs If-Match with If-Unmodified-Since, and If-None-Match with If-Modified-Since.
    pub fn check(&self, etag: &str, modified_ms: u64) -> Verdict {
        let modified = modified_ms / 1000;
        let refused = match (&self.if_match, self.if_unmodified_since) {
            (Some(tags), _) => !matches_any(tags, etag),
            (None, Some(since)) => modified > since,
            (None, None) => false,
        };
        if refused {
            return Verdict::Failed;
        }
        let unchanged = match (&self.if_none_match, self.if_modified_since) {
            (Some(tags), _) => matches_any(tags, etag),
            (None, Some(since)) => modified <= since,
            (None, None) => false,
        };
        if unchanged { Verdict::NotModified } else { Verdict::Proceed }
    }
}

/// Whether a list of entity tags (`"a", W/"b"`, unquoted too, or `*`) names `etag`.
fn matches_any(tags: &str, etag: &str) -> bool {
    tags.split(',').map(unquote).any(|tag| tag == "*" || tag == etag)
}

/// An entity tag without quotes or weakness.
pub fn unquote(tag: &str) -> &str {
    let tag = tag.trim();
    let tag = tag.strip_prefix("W/").unwrap_or(tag);
    tag.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(tag)
}

/// The precondition of a write: checked by the control plane in the very step that stores the entry.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum WriteCondition {
    #[default]
    None,
    /// `If-None-Match: *`: only if no object has the key.
    Absent,
    /// `If-Match: etag`: only over that object. `*` matches any.
    Matches(String),
}

impl WriteCondition {
    /// The condition of PutObject, CompleteMultipartUpload and CopyObject.
    pub fn of_write(headers: &HeaderMap) -> S3Result<Self> {
        let text = |name| match headers.get(name).map(http::HeaderValue::to_str) {
            None => Ok(None),
            Some(Ok(text)) => Ok(Some(text)),
            Some(Err(_)) => Err(S3Error::with(S3Code::InvalidArgument, "A conditional header is not text")),
        };
        match (text(IF_MATCH)?, text(IF_NONE_MATCH)?) {
            (None, None) => Ok(Self::None),
            (None, Some(tag)) if tag.trim() == "*" => Ok(Self::Absent),
            (Some(tag), None) => Ok(Self::Matches(unquote(tag).to_owned())),
            // AWS takes no other form on a write.
            _ => Err(S3Error::new(S3Code::NotImplemented).extra("Header", "If-None-Match")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Verdict::{Failed, NotModified, Proceed};

    fn conditions(m: &str, n: &str, modified: Option<u64>, unmodified: Option<u64>) -> ReadConditions {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        ReadConditions {
            if_match: text(m),
            if_none_match: text(n),
            if_modified_since: modified,
            if_unmodified_since: unmodified,
        }
    }

    #[test]
    fn reads_follow_the_table() {
        // The object: tag "e", modified at second 100.
        let cases = [
            (("", "", None, None), Proceed),
            (("\"e\"", "", None, None), Proceed),
            (("e", "", None, None), Proceed),
            (("*", "", None, None), Proceed),
            (("\"x\", \"e\"", "", None, None), Proceed),
            (("\"x\"", "", None, None), Failed),
            (("", "\"e\"", None, None), NotModified),
            (("", "W/\"e\"", None, None), NotModified),
            (("", "*", None, None), NotModified),
            (("", "\"x\"", None, None), Proceed),
            (("", "", Some(99), None), Proceed),
            (("", "", Some(100), None), NotModified),
            (("", "", None, Some(99)), Failed),
            (("", "", None, Some(100)), Proceed),
            // The pairs: the tag decides.
            (("\"e\"", "", None, Some(1)), Proceed),
            (("\"x\"", "", None, Some(500)), Failed),
            (("", "\"e\"", Some(1), None), NotModified),
            (("", "\"x\"", Some(500), None), Proceed),
            // A failed match wins over "not modified".
            (("\"x\"", "\"e\"", None, None), Failed),
        ];
        for ((m, n, modified, unmodified), verdict) in cases {
            let conditions = conditions(m, n, modified, unmodified);
            assert_eq!(conditions.check("e", 100_999), verdict, "{conditions:?}");
        }
    }

    #[test]
    fn writes_take_only_what_aws_takes() {
        let of = |pairs: &[(&'static str, &'static str)]| {
            let headers = pairs.iter().map(|(name, value)| {
                (http::HeaderName::from_static(name), http::HeaderValue::from_static(value))
            });
            WriteCondition::of_write(&headers.collect()).map_err(|error| error.code())
        };
        assert_eq!(of(&[]), Ok(WriteCondition::None));
        assert_eq!(of(&[("if-none-match", "*")]), Ok(WriteCondition::Absent));
        assert_eq!(of(&[("if-match", "\"e\"")]), Ok(WriteCondition::Matches("e".to_owned())));
        assert_eq!(of(&[("if-none-match", "\"e\"")]), Err(S3Code::NotImplemented));
        assert_eq!(of(&[("if-none-match", "*"), ("if-match", "e")]), Err(S3Code::NotImplemented));
    }
}
