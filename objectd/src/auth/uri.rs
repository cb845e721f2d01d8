//! Percent-encoding, once and the same for the signature and for routing.
//!
//! Routing uses [`Query`] and [`decode_path`] too, so that the name a signature covers is the name that is
//! stored.

use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::{MAX_FORM_PARAMETERS, MAX_QUERY_PARAMETERS};

/// Undoes `%XX`. `plus_is_space` for queries. Errors: `InvalidURI` if an escape is cut or not hexadecimal.
pub fn percent_decode(text: &str, plus_is_space: bool) -> S3Result<Vec<u8>> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let high = bytes.next().and_then(hex_value);
                let low = bytes.next().and_then(hex_value);
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(S3Error::new(S3Code::InvalidURI));
                };
                out.push(high << 4 | low);
            }
            b'+' if plus_is_space => out.push(b' '),
            other => out.push(other),
        }
    }
    Ok(out)
}

/// A request's raw path, decoded once. Errors: `InvalidURI` for bad escapes or bytes that are not UTF-8.
pub fn decode_path(raw: &str) -> S3Result<String> {
    String::from_utf8(percent_decode(raw, false)?)
        .map_err(|error| S3Error::new(S3Code::InvalidURI).source(error))
}

/// S3's `UriEncode`: everything but unreserved characters, with upper-case hex; `/` is kept in paths.
pub fn uri_encode(bytes: &[u8], keep_slash: bool) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(bytes.len() + 16);
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            b'/' if keep_slash => out.push('/'),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
    out
}

fn hex_value(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

/// One query parameter: as sent, and decoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    pub raw_name: String,
    pub raw_value: String,
    pub name: String,
    pub value: String,
}

/// A request's query, decoded once. Names are unique.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    parameters: Vec<Parameter>,
}

impl Query {
    /// Errors: `InvalidURI` for bad escapes or UTF-8; `InvalidArgument` for a parameter given twice, since two
    /// readers of one request could then act on different values, or for more than any operation takes.
    pub fn parse(raw: Option<&str>) -> S3Result<Query> {
        Self::parse_at_most(raw, MAX_QUERY_PARAMETERS)
    }

    /// The same of a form in a body, which may have more of them.
    pub fn parse_form(raw: &str) -> S3Result<Query> {
        Self::parse_at_most(Some(raw), MAX_FORM_PARAMETERS)
    }

    fn parse_at_most(raw: Option<&str>, most: usize) -> S3Result<Query> {
        let mut parameters: Vec<Parameter> = Vec::new();
        for pair in raw.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (raw_name, raw_value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode_text(raw_name)?;
            let value = decode_text(raw_value)?;
            if parameters.len() >= most {
                return Err(S3Error::with(S3Code::InvalidArgument, "The query has too many parameters"));
            }
            if parameters.iter().any(|known| known.name.eq_ignore_ascii_case(&name)) {
                return Err(S3Error::with(
                    S3Code::InvalidArgument,
                    "A query parameter may be given only once",
                )
                .extra("ArgumentName", name));
            }
            parameters.push(Parameter {
                raw_name: raw_name.to_owned(),
                raw_value: raw_value.to_owned(),
                name,
                value,
            });
        }
        Ok(Query { parameters })
    }

    /// The decoded value of the parameter with exactly this name; empty if it came without one (`?acl`).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    /// As [`Query::get`], ignoring case: the signature's own parameters come in several spellings.
    pub fn get_ignoring_case(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|p| p.name.eq_ignore_ascii_case(name)).map(|p| p.value.as_str())
    }

    pub fn contains(&self, name: &str) -> bool {
        self.get(name).is_some()
    }

    /// In the order sent.
    pub fn iter(&self) -> impl Iterator<Item = &Parameter> {
        self.parameters.iter()
    }
}

fn decode_text(raw: &str) -> S3Result<String> {
    String::from_utf8(percent_decode(raw, true)?)
        .map_err(|error| S3Error::new(S3Code::InvalidURI).source(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_as_s3_documents() {
        assert_eq!(uri_encode(b"a b+c/d~e*%", true), "a%20b%2Bc/d~e%2A%25");
        assert_eq!(uri_encode("é".as_bytes(), false), "%C3%A9");
        assert_eq!(uri_encode(b"/", false), "%2F");
    }

    #[test]
    fn decodes_paths_once() {
        assert_eq!(decode_path("/b/a%252Fb+c").expect("path"), "/b/a%2Fb+c");
        for bad in ["/%", "/%2", "/%zz", "/%ff", "/%2é"] {
            assert_eq!(decode_path(bad).expect_err(bad).code(), S3Code::InvalidURI);
        }
    }

    #[test]
    fn reads_queries() {
        let query = Query::parse(Some("prefix=a+b%2B&acl&x=1=2&&empty=")).expect("query");
        assert_eq!(query.get("prefix"), Some("a b+"));
        assert_eq!(query.get("acl"), Some(""));
        assert_eq!(query.get("x"), Some("1=2"));
        assert_eq!(query.get("empty"), Some(""));
        assert_eq!(query.get("PREFIX"), None);
        assert_eq!(query.get_ignoring_case("PREFIX"), Some("a b+"));
    }

    #[test]
    fn refuses_repeated_parameters_in_any_spelling() {
        for bad in ["a=1&a=1", "a=1&%61=2", "a&A"] {
            assert_eq!(Query::parse(Some(bad)).expect_err(bad).code(), S3Code::InvalidArgument);
        }
    }
}
