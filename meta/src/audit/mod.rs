//! The audit log: who did what, when, from where and with which result, one JSON object a line.
//!
//! Each line has the hash of the one before and, at its end, its own, so that a line that was changed, added or taken out
//! shows ([`verify`]). A daemon has a log of its own, in a folder of files named after the number of their first line;
//! old files are removed by age and by size, and a line says so. A line is in the file before [`AuditLog::record`]
//! returns, and on the disk a second later.

mod chain;
pub(crate) mod decision;
mod files;
mod verify;
mod writer;

pub use verify::{Fault, Verified, verify};
pub use writer::{AuditConfig, AuditLog};

use crate::client::Client;
use crate::limits::{AUDIT_NOTE_MS, MAX_AUDIT_TEXT_BYTES};
use crate::record::AuditHead;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was allowed and done.
    Done,
    /// Its sender was not known, or may not.
    Denied,
    /// It was allowed, and could not be done, or not be known to be done.
    Failed,
}

/// Who asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "type")]
pub enum Who {
    /// Nobody who could be known.
    Anonymous,
    /// Somebody who named this access key, and did not prove to have it.
    Unproven { access_key: String },
    /// The holder of an access key.
    Key { arn: String, account: String, access_key: String },
    /// Whoever shows the admin API's token.
    Admin,
    /// The daemon itself.
    Daemon,
}

/// One of the things that a request was about, with what became of it if that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Item {
    pub key: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What a line says, beside its place in the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    pub who: Who,
    /// The other end of the connection; nothing that a header says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_agent: Option<String>,
    /// What was asked for, such as `s3:PutObject`.
    pub action: String,
    /// What it was asked of: an ARN, or a path of the admin API.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub items: Vec<Item>,
    /// What was sent to the admin API, or decided by the control plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    pub outcome: Outcome,
    /// As HTTP has it; 0 of what was no request.
    pub status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// The request's id, which its answer and the daemon's own log have too.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<String>,
}

impl Entry {
    /// What the daemon itself did.
    pub fn of_daemon(action: &str, resource: Option<String>) -> Self {
        Self {
            who: Who::Daemon,
            from: None,
            tls: None,
            user_agent: None,
            action: action.to_owned(),
            resource,
            items: Vec::new(),
            detail: None,
            outcome: Outcome::Done,
            status: 0,
            error: None,
            request: None,
        }
    }
}

/// Tells the control plane how far a log is, now and then, for as long as it runs: lines that are cut off at its end later
/// show by that.
pub async fn keep_noted(log: Arc<AuditLog>, name: String, meta: Client) {
    let mut noted = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(AUDIT_NOTE_MS)).await;
        let (seq, hash) = log.synced();
        if seq == noted {
            continue;
        }
        match meta.note_audit(AuditHead { log: name.clone(), seq, hash }).await {
            Ok(()) => noted = seq,
            Err(error) if error.is_retryable() => {}
            Err(error) => {
                tracing::error!(log = name, %error, "the audit log is not as the control plane knows it")
            }
        }
    }
}

/// A client's own text, cut to what a line has room for.
pub fn cut(text: &str) -> String {
    cut_to(text, MAX_AUDIT_TEXT_BYTES)
}

/// A text cut to so many bytes.
pub fn cut_to(text: &str, max_bytes: usize) -> String {
    text[..text.floor_char_boundary(max_bytes)].to_owned()
}

/// The outcome that HTTP's status tells.
pub fn outcome(status: u16) -> Outcome {
    match status {
        401 | 403 => Outcome::Denied,
        _ if status < 400 => Outcome::Done,
        _ => Outcome::Failed,
    }
}
