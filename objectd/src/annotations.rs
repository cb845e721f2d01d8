//! What requests say of objects beside their data: tags, retention, legal hold.
//!
//! Source: S3 User Guide, "Categorizing your objects using tags", "Locking objects with Object Lock"; S3 API
//! reference, PutObject, PutObjectTagging, PutObjectRetention, PutObjectLegalHold.

use crate::answer;
use crate::auth::single_header;
use crate::auth::uri::Query;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::limits::MAX_BUCKET_TAGS;
use crate::xml::{self, XmlWriter};
use axum::body::Body;
use http::{HeaderMap, HeaderName, Response};
use meta::limits::{MAX_TAG_NAME_CHARS, MAX_TAG_VALUE_CHARS, MAX_TAGS};
use meta::object::{Annotations, Retention, RetentionMode};
use std::collections::BTreeSet;

const TAGGING: &str = "x-amz-tagging";
const MODE: &str = "x-amz-object-lock-mode";
const UNTIL: &str = "x-amz-object-lock-retain-until-date";
const HOLD: &str = "x-amz-object-lock-legal-hold";

pub type Tags = Vec<(String, String)>;

/// What the headers of a write say.
pub fn of_headers(headers: &HeaderMap, now_ms: u64) -> S3Result<Annotations> {
    let text = |name: &'static str| single_header(headers, &HeaderName::from_static(name));
    let tags = text(TAGGING)?.map(tags_of_header).transpose()?.unwrap_or_default();
    let retention = match (text(MODE)?, text(UNTIL)?) {
        (None, None) => None,
        (Some(mode), Some(until)) => {
            let mode = mode_of(mode).ok_or_else(|| invalid(MODE, mode, "Unknown wormMode directive."))?;
            Some(Retention { mode, until_ms: future(until, now_ms)? })
        }
        (Some(given), None) | (None, Some(given)) => {
            let why = "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied";
            return Err(invalid(MODE, given, why));
        }
    };
    let legal_hold = text(HOLD)?.map(|hold| {
        hold_of(hold).ok_or_else(|| invalid(HOLD, hold, "Legal Hold must be either of 'ON' or 'OFF'"))
    });
    Ok(Annotations { tags, retention, legal_hold: legal_hold.transpose()?, acl: None })
}

fn invalid(name: &'static str, value: &str, why: &'static str) -> S3Error {
    S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", name).extra("ArgumentValue", value)
}

/// Tags as a query.
pub fn tags_of_header(text: &str) -> S3Result<Tags> {
    let malformed = |error: S3Error| {
        let why = "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters \
                   without tag name duplicates.";
        invalid(TAGGING, text, why).source(error)
    };
    let tags = Query::parse(Some(text)).map_err(malformed)?;
    let tags: Tags = tags.iter().map(|tag| (tag.name.clone(), tag.value.clone())).collect();
    check_tags(&tags)?;
    Ok(tags)
}

/// Names that differ in case only would be one condition key with two values, of which a policy saw one.
pub fn check_tags(tags: &Tags) -> S3Result<()> {
    if tags.len() > MAX_TAGS {
        return Err(S3Error::with(S3Code::BadRequest, "Object tags cannot be greater than 10"));
    }
    check_each(tags)
}

fn check_each(tags: &Tags) -> S3Result<()> {
    let bad = |why| Err(S3Error::with(S3Code::InvalidTag, why));
    let allowed =
        |text: &str| text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "+-=._:/@".contains(c));
    let mut names = BTreeSet::new();
    for (name, value) in tags {
        let fits = (1..=MAX_TAG_NAME_CHARS).contains(&name.chars().count());
        if !fits || !allowed(name) || name.starts_with("aws:") {
            return bad("The TagKey you have provided is invalid");
        }
        if value.chars().count() > MAX_TAG_VALUE_CHARS || !allowed(value) {
            return bad("The TagValue you have provided is invalid");
        }
        if !names.insert(name.to_lowercase()) {
            return bad("Cannot provide multiple Tags with the same key");
        }
    }
    Ok(())
}

/// A `Tagging` document of an object.
pub fn tags_of_xml(body: &[u8]) -> S3Result<Tags> {
    let tags = read_tags(body)?;
    check_tags(&tags)?;
    Ok(tags)
}

/// A `Tagging` document of a bucket, which may have more.
pub fn bucket_tags_of_xml(body: &[u8]) -> S3Result<Tags> {
    let tags = read_tags(body)?;
    if tags.len() > MAX_BUCKET_TAGS {
        return Err(S3Error::with(S3Code::BadRequest, "Bucket tag count cannot be greater than 50"));
    }
    check_each(&tags)?;
    Ok(tags)
}

fn read_tags(body: &[u8]) -> S3Result<Tags> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let root = xml::parse(body, "Tagging")?;
    let [set] = &root.children[..] else { return Err(malformed()) };
    if set.name != "TagSet" {
        return Err(malformed());
    }
    let mut tags = Vec::new();
    for tag in &set.children {
        let (keys, values): (Vec<_>, Vec<_>) = (tag.all("Key").collect(), tag.all("Value").collect());
        let ([key], [value], "Tag", 2) = (&keys[..], &values[..], tag.name.as_str(), tag.children.len())
        else {
            return Err(malformed());
        };
        tags.push((key.text.clone(), value.text.clone()));
    }
    Ok(tags)
}

pub fn tags_xml(tags: &Tags) -> XmlWriter {
    let mut xml = XmlWriter::new("Tagging");
    xml.start("TagSet");
    for (name, value) in tags {
        xml.start("Tag");
        xml.text("Key", name);
        xml.text("Value", value);
        xml.end();
    }
    xml
}

/// A `Retention` document; an empty one takes retention away.
pub fn retention_of_xml(body: &[u8], now_ms: u64) -> S3Result<Option<Retention>> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let root = xml::parse(body, "Retention")?;
    if root.children.is_empty() {
        return Ok(None);
    }
    let (Some(mode), Some(until), 2) =
        (root.child_text("Mode"), root.child_text("RetainUntilDate"), root.children.len())
    else {
        return Err(malformed());
    };
    Ok(Some(Retention { mode: mode_of(mode).ok_or_else(malformed)?, until_ms: future(until, now_ms)? }))
}

/// A `LegalHold` document.
pub fn hold_of_xml(body: &[u8]) -> S3Result<bool> {
    let root = xml::parse(body, "LegalHold")?;
    let only = root.children.len() == 1;
    let status = root.child_text("Status").filter(|_| only).and_then(hold_of);
    status.ok_or_else(|| S3Error::new(S3Code::MalformedXML))
}

pub fn mode_of(text: &str) -> Option<RetentionMode> {
    match text {
        "GOVERNANCE" => Some(RetentionMode::Governance),
        "COMPLIANCE" => Some(RetentionMode::Compliance),
        _ => None,
    }
}

pub fn mode_name(mode: RetentionMode) -> &'static str {
    match mode {
        RetentionMode::Governance => "GOVERNANCE",
        RetentionMode::Compliance => "COMPLIANCE",
    }
}

fn hold_of(text: &str) -> Option<bool> {
    match text {
        "ON" => Some(true),
        "OFF" => Some(false),
        _ => None,
    }
}

pub fn hold_name(held: bool) -> &'static str {
    if held { "ON" } else { "OFF" }
}

/// An ISO 8601 time that is not over. Whether it is decides the control plane again, by its own clock.
fn future(text: &str, now_ms: u64) -> S3Result<u64> {
    let until_ms = http_date::parse_iso_ms(text)
        .ok_or_else(|| invalid(UNTIL, text, "The retain until date must be provided in ISO 8601 format"))?;
    if until_ms <= now_ms {
        return Err(invalid(UNTIL, text, "The retain until date must be in the future!"));
    }
    Ok(until_ms)
}

/// What of an object's annotations its reader may see.
#[derive(Debug, Clone, Copy)]
pub struct Visible {
    pub tags: bool,
    pub retention: bool,
    pub legal_hold: bool,
}

/// The headers of an answer to GET and HEAD.
pub fn show(answer: &mut Response<Body>, annotations: &Annotations, visible: Visible) {
    let mut set = |name, value: &str| answer::set(answer, HeaderName::from_static(name), value);
    if visible.tags && !annotations.tags.is_empty() {
        set("x-amz-tagging-count", &annotations.tags.len().to_string());
    }
    if let Some(retention) = annotations.retention.filter(|_| visible.retention) {
        set(MODE, mode_name(retention.mode));
        set(UNTIL, &http_date::iso(retention.until_ms));
    }
    if let Some(held) = annotations.legal_hold.filter(|_| visible.legal_hold) {
        set(HOLD, hold_name(held));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> Result<Annotations, S3Code> {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        of_headers(&map, 1_000_000_000_000).map_err(|error| error.code())
    }

    #[test]
    fn headers_of_a_write() {
        let until = "2030-01-02T03:04:05.678Z";
        let found =
            headers(&[(TAGGING, "a=1&b%20c=%2B&d"), (MODE, "GOVERNANCE"), (UNTIL, until), (HOLD, "OFF")]);
        let tag = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let retention = Retention { mode: RetentionMode::Governance, until_ms: 1_893_553_445_678 };
        let expected = Annotations {
            tags: vec![tag("a", "1"), tag("b c", "+"), tag("d", "")],
            retention: Some(retention),
            legal_hold: Some(false),
            acl: None,
        };
        assert_eq!(found, Ok(expected));
        assert_eq!(headers(&[]), Ok(Annotations::default()));
        for bad in [
            vec![(MODE, "GOVERNANCE")],
            vec![(UNTIL, until)],
            vec![(MODE, "governance"), (UNTIL, until)],
            vec![(MODE, "COMPLIANCE"), (UNTIL, "2001-01-01T00:00:00Z")],
            vec![(MODE, "COMPLIANCE"), (UNTIL, "tomorrow")],
            vec![(HOLD, "on")],
            vec![(TAGGING, "a=1&a=2")],
            vec![(TAGGING, "%zz")],
        ] {
            assert_eq!(headers(&bad), Err(S3Code::InvalidArgument), "{bad:?}");
        }
    }

    #[test]
    fn tags_are_bounded_and_of_few_characters() {
        let parse = |inner: &str| {
            let body = format!("<Tagging><TagSet>{inner}</TagSet></Tagging>");
            tags_of_xml(body.as_bytes()).map_err(|error| error.code())
        };
        let tag = |name: &str, value: &str| format!("<Tag><Key>{name}</Key><Value>{value}</Value></Tag>");
        assert_eq!(parse(""), Ok(vec![]));
        assert_eq!(parse(&tag("é", "x y")), Ok(vec![("é".to_owned(), "x y".to_owned())]));
        let many = |count: usize| (0..count).map(|n| tag(&n.to_string(), "")).collect::<String>();
        assert_eq!(parse(&many(10)).map(|tags| tags.len()), Ok(10));
        assert_eq!(parse(&many(11)), Err(S3Code::BadRequest));
        assert!(parse(&tag(&"k".repeat(128), &"v".repeat(256))).is_ok());
        let bad = [
            tag(&"k".repeat(129), ""),
            tag("k", &"v".repeat(257)),
            tag("", ""),
            tag("aws:x", ""),
            tag("a;b", ""),
            tag("a", "&#10;"),
            tag("a", "1") + &tag("a", "2"),
            tag("a", "1") + &tag("A", "2"),
        ];
        for bad in &bad {
            assert_eq!(parse(bad), Err(S3Code::InvalidTag), "{bad}");
        }
        for bad in ["<Tag><Key>a</Key></Tag>", "<Tag><Key>a</Key><Key>b</Key></Tag>", "<Other/>"] {
            assert_eq!(parse(bad), Err(S3Code::MalformedXML), "{bad}");
        }
        assert_eq!(tags_of_xml(b"<Tagging/>").unwrap_err().code(), S3Code::MalformedXML);
    }

    #[test]
    fn lock_documents_are_read_strictly() {
        let retention = |inner: &str| {
            let body = format!("<Retention>{inner}</Retention>");
            retention_of_xml(body.as_bytes(), 5).map_err(|error| error.code())
        };
        let until = "<RetainUntilDate>2030-01-01T00:00:00Z</RetainUntilDate>";
        assert_eq!(retention(""), Ok(None));
        let found = retention(&format!("<Mode>COMPLIANCE</Mode>{until}")).unwrap().unwrap();
        assert_eq!(found, Retention { mode: RetentionMode::Compliance, until_ms: 1_893_456_000_000 });
        for bad in [until, "<Mode>COMPLIANCE</Mode>", &format!("<Mode>x</Mode>{until}")] {
            assert_eq!(retention(bad), Err(S3Code::MalformedXML), "{bad}");
        }
        let hold = |text: &str| {
            let body = format!("<LegalHold>{text}</LegalHold>");
            hold_of_xml(body.as_bytes()).map_err(|error| error.code())
        };
        assert_eq!(hold("<Status>ON</Status>"), Ok(true));
        assert_eq!(hold("<Status>OFF</Status>"), Ok(false));
        for bad in ["", "<Status>on</Status>", "<Status>ON</Status><Status>OFF</Status>"] {
            assert_eq!(hold(bad), Err(S3Code::MalformedXML), "{bad}");
        }
    }
}
