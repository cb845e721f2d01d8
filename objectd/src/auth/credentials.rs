//! Finding the credentials of a request: in the `Authorization` header, in the query, or nowhere.

use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName};
use http::request::Parts;

use super::scope::Scope;
use super::timestamp::Timestamp;
use super::uri::Query;
use crate::error::{S3Code, S3Error, S3Result};
use crate::payload::limits::MAX_SIGNED_HEADERS;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// The parameters of a presigned request; any of them makes it one.
const QUERY_NAMES: [&str; 6] = [
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Date",
    "X-Amz-Expires",
    "X-Amz-SignedHeaders",
    "X-Amz-Signature",
];
const SECURITY_TOKEN: &str = "x-amz-security-token";

/// What a request says about who sent it. Nothing of it is verified.
#[derive(Debug)]
pub(super) enum Credentials {
    None,
    Signed(Claim),
}

/// The parts of a signature, wherever they came from.
#[derive(Debug)]
pub(super) struct Claim {
    pub scope: Scope,
    pub timestamp: Timestamp,
    /// Lower-case names in the order they were signed.
    pub signed_headers: Vec<String>,
    pub signature: String,
    pub place: Place,
    /// Of a session.
    pub token: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Header,
    /// A presigned request, valid for this long after its timestamp.
    Query {
        expires_s: i64,
    },
}

/// Errors: whatever AWS documents for credentials in two places, in part, repeated or malformed.
pub(super) fn find(parts: &Parts, query: &Query) -> S3Result<Credentials> {
    let header = single_header(&parts.headers, &AUTHORIZATION)?;
    let in_query = QUERY_NAMES.iter().any(|name| query.get_ignoring_case(name).is_some());
    let v2_query = query.contains("AWSAccessKeyId") || query.contains("Signature");
    if header.is_some() && (in_query || v2_query) {
        return Err(S3Error::with(
            S3Code::InvalidArgument,
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string \
             parameter or the Authorization header should be specified",
        )
        .extra("ArgumentName", "Authorization"));
    }
    if v2_query {
        return Err(version_2());
    }
    let in_header = single_header(&parts.headers, &HeaderName::from_static(SECURITY_TOKEN))?;
    let token = token(in_header, query.get_ignoring_case(SECURITY_TOKEN), header.is_some())?;
    match header {
        Some(value) => from_header(value, &parts.headers, token).map(Credentials::Signed),
        None if in_query => from_query(query, token).map(Credentials::Signed),
        // A token alone is not nothing: its sender believes to be somebody.
        None if token.is_some() => Err(S3Error::new(S3Code::InvalidToken)),
        None => Ok(Credentials::None),
    }
}

/// The session's token, which is signed wherever it stands: headers of its kind must be, and queries are as a whole.
fn token(in_header: Option<&str>, in_query: Option<&str>, header: bool) -> S3Result<Option<String>> {
    match (in_header, in_query) {
        // Presigners put it into the query; whoever signs a header puts it into one.
        (Some(_), Some(_)) => Err(S3Error::new(S3Code::InvalidToken)),
        (None, Some(_)) if header => Err(S3Error::new(S3Code::InvalidToken)),
        (found, None) | (None, found) => Ok(found.map(str::to_owned)),
    }
}

/// What a form says of who signed its policy ("POST Object").
#[derive(Debug, Clone, Copy)]
pub struct SignedForm<'a> {
    /// In base64: what is signed.
    pub policy: &'a str,
    pub algorithm: &'a str,
    pub credential: &'a str,
    pub date: &'a str,
    pub signature: &'a str,
    pub token: Option<&'a str>,
}

/// The policy says when it ends, so the date only has to be one that a signing key lasts for: a week.
pub(super) fn of_form(form: &SignedForm<'_>, expires_s: i64) -> S3Result<Claim> {
    let bad = |what: &'static str| S3Error::with(S3Code::AuthorizationQueryParametersError, what);
    if form.algorithm != ALGORITHM {
        return Err(bad("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\""));
    }
    Ok(Claim {
        scope: Scope::parse(form.credential).ok_or_else(|| bad("The Credential is mal-formed"))?,
        timestamp: Timestamp::parse_basic(form.date)
            .ok_or_else(|| bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?,
        signed_headers: Vec::new(),
        token: form.token.map(str::to_owned),
        signature: parse_signature(form.signature)
            .ok_or_else(|| bad("X-Amz-Signature must be 64 lower-case hexadecimal digits"))?,
        place: Place::Query { expires_s },
    })
}

/// A header that may come once only. Errors: `InvalidArgument` if it is repeated or not visible ASCII.
pub(crate) fn single_header<'a>(headers: &'a HeaderMap, name: &HeaderName) -> S3Result<Option<&'a str>> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let bad = |message: &'static str| {
        S3Error::with(S3Code::InvalidArgument, message).extra("ArgumentName", name.as_str())
    };
    if values.next().is_some() {
        return Err(bad("A header that may be given only once was repeated"));
    }
    value.to_str().map(Some).map_err(|_| bad("A header has characters that it may not have"))
}

fn version_2() -> S3Error {
    S3Error::with(
        S3Code::InvalidRequest,
        "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.",
    )
}

fn from_header(value: &str, headers: &HeaderMap, token: Option<String>) -> S3Result<Claim> {
    let (algorithm, fields) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    match algorithm {
        ALGORITHM => {}
        "AWS" => return Err(version_2()),
        "AWS4-ECDSA-P256-SHA256" => return Err(version_4a()),
        _ => {
            return Err(S3Error::with(S3Code::InvalidArgument, "Unsupported Authorization Type")
                .extra("ArgumentName", "Authorization"));
        }
    }
    let (mut credential, mut signed_headers, mut signature) = (None, None, None);
    for field in fields.split(',') {
        let (name, value) = field
            .trim()
            .split_once('=')
            .ok_or_else(|| malformed("a field has no value; expecting Name=Value, separated by commas"))?;
        let slot = match name {
            "Credential" => &mut credential,
            "SignedHeaders" => &mut signed_headers,
            "Signature" => &mut signature,
            _ => return Err(malformed("it has a field other than Credential, SignedHeaders and Signature")),
        };
        if slot.replace(value).is_some() {
            return Err(malformed("a field is repeated"));
        }
    }
    let (Some(credential), Some(signed_headers), Some(signature)) = (credential, signed_headers, signature)
    else {
        return Err(malformed("it needs Credential, SignedHeaders and Signature"));
    };
    Ok(Claim {
        scope: Scope::parse(credential).ok_or_else(|| malformed(CREDENTIAL_FORM))?,
        timestamp: header_timestamp(headers)?,
        signed_headers: parse_signed_headers(signed_headers).ok_or_else(|| {
            malformed("SignedHeaders must be lower-case names, once each, with ';' between")
        })?,
        signature: parse_signature(signature)
            .ok_or_else(|| malformed("Signature must be 64 lower-case hexadecimal digits"))?,
        place: Place::Header,
        token,
    })
}

const CREDENTIAL_FORM: &str =
    "the Credential is mal-formed; expecting \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\"";

fn malformed(what: &str) -> S3Error {
    S3Error::with(
        S3Code::AuthorizationHeaderMalformed,
        format!("The authorization header is malformed; {what}."),
    )
}

fn version_4a() -> S3Error {
    S3Error::with(S3Code::NotImplemented, "SigV4A (AWS4-ECDSA-P256-SHA256) is not supported; use SigV4")
}

fn header_timestamp(headers: &HeaderMap) -> S3Result<Timestamp> {
    let time = match single_header(headers, &HeaderName::from_static("x-amz-date"))? {
        Some(text) => Timestamp::parse_basic(text).or_else(|| Timestamp::parse_http(text)),
        None => single_header(headers, &http::header::DATE)?
            .and_then(|text| Timestamp::parse_basic(text).or_else(|| Timestamp::parse_http(text))),
    };
    time.ok_or_else(|| {
        S3Error::with(S3Code::AccessDenied, "AWS authentication requires a valid Date or x-amz-date header")
    })
}

fn from_query(query: &Query, token: Option<String>) -> S3Result<Claim> {
    let bad = |what: &'static str| S3Error::with(S3Code::AuthorizationQueryParametersError, what);
    let mut values = [""; QUERY_NAMES.len()];
    for (value, name) in values.iter_mut().zip(QUERY_NAMES) {
        *value = query.get_ignoring_case(name).ok_or_else(|| {
            bad("Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, \
                 X-Amz-Signature, X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters.")
        })?;
    }
    let [algorithm, credential, date, expires, signed_headers, signature] = values;
    match algorithm {
        ALGORITHM => {}
        "AWS4-ECDSA-P256-SHA256" => return Err(version_4a()),
        _ => return Err(bad("X-Amz-Algorithm only supports \"AWS4-HMAC-SHA256\"")),
    }
    Ok(Claim {
        scope: Scope::parse(credential).ok_or_else(|| {
            bad("Error parsing the X-Amz-Credential parameter; the Credential is mal-formed; expecting \
                 \"<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request\".")
        })?,
        timestamp: Timestamp::parse_basic(date)
            .ok_or_else(|| bad("X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""))?,
        signed_headers: parse_signed_headers(signed_headers).ok_or_else(|| {
            bad("X-Amz-SignedHeaders must be lower-case names, once each, with ';' between")
        })?,
        signature: parse_signature(signature)
            .ok_or_else(|| bad("X-Amz-Signature must be 64 lower-case hexadecimal digits"))?,
        place: Place::Query {
            expires_s: expires.parse().map_err(|_| bad("X-Amz-Expires should be a number"))?,
        },
        token,
    })
}

fn parse_signed_headers(text: &str) -> Option<Vec<String>> {
    let names: Vec<String> = text.split(';').take(MAX_SIGNED_HEADERS + 1).map(str::to_owned).collect();
    let well_formed = |name: &String| {
        !name.is_empty()
            && !name.contains(',')
            && name.bytes().all(|b| b.is_ascii_graphic() && !b.is_ascii_uppercase())
    };
    let mut sorted: Vec<&String> = names.iter().collect();
    sorted.sort_unstable();
    let unique = sorted.windows(2).all(|pair| pair[0] != pair[1]);
    (names.len() <= MAX_SIGNED_HEADERS && unique && names.iter().all(well_formed)).then_some(names)
}

fn parse_signature(text: &str) -> Option<String> {
    let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    (text.len() == 64 && text.bytes().all(hex)).then(|| text.to_owned())
}
