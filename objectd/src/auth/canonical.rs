//! The canonical request: what a SigV4 signature is made over.
//!
//! S3's rules, which differ from other services': the path is encoded once and never normalised, so `//` and
//! `..` stay as they are.

use http::HeaderMap;
use http::request::Parts;
use sha2::{Digest, Sha256};

use super::credentials::Claim;
use super::uri::{Query, percent_decode, uri_encode};
use crate::error::S3Result;

/// The canonical requests that a claim may have been made over, the documented one first.
///
/// Some clients sign the path or the query just as they send it, without encoding it the documented way
/// (botocore's query, SDKs' paths with `!`). Both forms decode to the same names, so accepting either gives
/// nobody anything they did not sign. Usually they are equal and there is one candidate.
pub(super) fn candidates(
    parts: &Parts,
    query: &Query,
    claim: &Claim,
    payload_hash: &str,
) -> S3Result<Vec<Vec<u8>>> {
    let raw_path = match parts.uri.path() {
        "" => "/",
        path => path,
    };
    let paths = either(uri_encode(&percent_decode(raw_path, false)?, true), raw_path.to_owned());
    let queries = either(encoded_query(query), raw_query(query));
    let mut rest = canonical_headers(parts, claim);
    rest.extend_from_slice(b"\n");
    for (index, name) in claim.signed_headers.iter().enumerate() {
        rest.extend_from_slice(if index > 0 { b";" } else { b"" });
        rest.extend_from_slice(name.as_bytes());
    }
    rest.extend_from_slice(b"\n");
    rest.extend_from_slice(payload_hash.as_bytes());
    let method = parts.method.as_str();
    let mut candidates = Vec::with_capacity(1);
    for path in &paths {
        for query in &queries {
            let mut canonical = Vec::with_capacity(method.len() + path.len() + query.len() + 3 + rest.len());
            for line in [method, path, query] {
                canonical.extend_from_slice(line.as_bytes());
                canonical.push(b'\n');
            }
            canonical.extend_from_slice(&rest);
            candidates.push(canonical);
        }
    }
    Ok(candidates)
}

/// Both, or one of them if they are the same.
fn either(documented: String, raw: String) -> Vec<String> {
    if documented == raw { vec![documented] } else { vec![documented, raw] }
}

pub(super) fn string_to_sign(claim: &Claim, canonical: &[u8]) -> String {
    format!(
        "AWS4-HMAC-SHA256\n{}\n{}\n{}",
        claim.timestamp.as_str(),
        claim.scope.signed_part(),
        hex::encode(Sha256::digest(canonical))
    )
}

/// `name:value\n` for each signed header, in the signed order.
fn canonical_headers(parts: &Parts, claim: &Claim) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    for name in &claim.signed_headers {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        match parts.uri.authority() {
            Some(authority) if name == "host" && !parts.headers.contains_key("host") => {
                out.extend_from_slice(authority.as_str().as_bytes());
            }
            _ => append_values(&mut out, &parts.headers, name),
        }
        out.push(b'\n');
    }
    out
}

/// All values of a header joined by commas, each trimmed and with runs of spaces made one.
fn append_values(out: &mut Vec<u8>, headers: &HeaderMap, name: &str) {
    for (index, value) in headers.get_all(name).iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        let mut words = value.as_bytes().split(|b| *b == b' ' || *b == b'\t').filter(|word| !word.is_empty());
        if let Some(first) = words.next() {
            out.extend_from_slice(first);
        }
        for word in words {
            out.push(b' ');
            out.extend_from_slice(word);
        }
    }
}

/// The parameters decoded, encoded as documented, and sorted.
fn encoded_query(query: &Query) -> String {
    sorted(
        signed_parameters(query)
            .map(|p| (uri_encode(p.name.as_bytes(), false), uri_encode(p.value.as_bytes(), false))),
    )
}

/// The parameters as they were sent, sorted.
fn raw_query(query: &Query) -> String {
    sorted(signed_parameters(query).map(|p| (p.raw_name.clone(), p.raw_value.clone())))
}

/// All but the signature itself.
fn signed_parameters(query: &Query) -> impl Iterator<Item = &super::uri::Parameter> {
    query.iter().filter(|p| !p.name.eq_ignore_ascii_case("X-Amz-Signature"))
}

fn sorted(pairs: impl Iterator<Item = (String, String)>) -> String {
    let mut pairs: Vec<(String, String)> = pairs.collect();
    pairs.sort_unstable();
    let pairs: Vec<String> = pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join("&")
}
