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
    let encoded_path = uri_encode(&percent_decode(raw_path, false)?, true);
    let queries = [encoded_query(query), raw_query(query)];
    let paths = [encoded_path.as_str(), raw_path];
    let headers = canonical_headers(parts, claim);
    let mut candidates: Vec<Vec<u8>> = Vec::with_capacity(1);
    for path in paths {
        for query in &queries {
            let mut canonical = format!("{}\n{path}\n{query}\n", parts.method).into_bytes();
            canonical.extend_from_slice(&headers);
            canonical.extend_from_slice(
                format!("\n{}\n{payload_hash}", claim.signed_headers.join(";")).as_bytes(),
            );
            if !candidates.contains(&canonical) {
                candidates.push(canonical);
            }
        }
    }
    Ok(candidates)
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
