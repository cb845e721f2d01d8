//! How lines hang together. Pure.
//!
//! ```text
//! {"seq":7,"time":"2026-11-23T10:00:00.000Z","prev":"HASH OF LINE 6", ... ,"hash":"HASH"}\n
//! ```
//! The hash is SHA-256, in hex, of all bytes of the line in front of `,"hash":"`. The first line's `prev` is 64 zeros.

use super::Entry;
use crate::error::{ErrorKind, MetaError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

/// Hex digits of a hash.
const HASH_CHARS: usize = 64;
const HASH_FIELD: &str = ",\"hash\":\"";
const END: &str = "\"}";

/// Where a chain stands: its last line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// 0 before the first line.
    pub seq: u64,
    pub hash: String,
}

impl Default for Head {
    fn default() -> Self {
        Self { seq: 0, hash: "0".repeat(HASH_CHARS) }
    }
}

/// A line's place in the chain and in time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    pub seq: u64,
    pub time: String,
    pub prev: String,
}

/// A line as it is read: its place, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Line {
    #[serde(flatten)]
    pub place: Place,
    #[serde(flatten)]
    pub entry: Entry,
    pub hash: String,
}

#[derive(Serialize)]
struct Unsealed<'a> {
    #[serde(flatten)]
    place: Place,
    #[serde(flatten)]
    entry: &'a Entry,
}

/// Appends the line that follows `head`, and moves `head` on to it.
pub fn append(head: &mut Head, time_ms: u64, entry: &Entry, out: &mut Vec<u8>) -> Result<(), MetaError> {
    let place = Place { seq: head.seq + 1, time: rfc3339(time_ms), prev: head.hash.clone() };
    let mut text = serde_json::to_string(&Unsealed { place, entry })
        .map_err(|error| MetaError::new(ErrorKind::Invalid, "a line of the audit log").with_source(error))?;
    text.pop();
    let hash = hex::encode(Sha256::digest(text.as_bytes()));
    out.extend_from_slice(text.as_bytes());
    for part in [HASH_FIELD, &hash, END, "\n"] {
        out.extend_from_slice(part.as_bytes());
    }
    *head = Head { seq: head.seq + 1, hash };
    Ok(())
}

/// Reads a line, without its end. An error says in words what is wrong with it.
pub fn read(bytes: &[u8]) -> Result<Line, &'static str> {
    let text = std::str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let body =
        text.strip_suffix(END).and_then(|rest| rest.split_at_checked(rest.len().checked_sub(HASH_CHARS)?));
    let (sealed, stated) = body.ok_or("it has no hash")?;
    let sealed = sealed.strip_suffix(HASH_FIELD).ok_or("it has no hash")?;
    if hex::encode(Sha256::digest(sealed.as_bytes())) != stated {
        return Err("its hash is not its own: it was changed");
    }
    serde_json::from_str(text).map_err(|_| "it is not a line of an audit log")
}

/// `2026-11-23T10:00:00.000Z` from milliseconds since 1970.
pub fn rfc3339(ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at(ms).format(&format).expect("a date in range has every component")
}

/// The reverse; `None` if it is no time.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let nanos = OffsetDateTime::parse(text, &Rfc3339).ok()?.unix_timestamp_nanos();
    u64::try_from(nanos / 1_000_000).ok()
}

fn at(ms: u64) -> OffsetDateTime {
    // A clock far outside of dates that can be written shows as the first one, and is no reason to write nothing.
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(ms) * 1_000_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
