//! What expires objects says to the control plane: who is at work and how far, and what is to go, as it was seen.
//!
//! The control plane knows no rules. It takes away only what still is as the gateway that judged it saw it, under the
//! rules that it judged by, and never what is locked.

use crate::object::{UploadId, VersionRef};
use serde::{Deserialize, Serialize};

/// An entry of a bucket's index as far as rules look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenVersion {
    pub version: VersionRef,
    pub marker: bool,
    pub size: u64,
    pub etag: String,
    pub last_modified_ms: u64,
    pub tags: Vec<(String, String)>,
}

/// What is to go, and what must still hold of it then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Expiring {
    /// An object that is its key's newest version: as a DELETE of the key would, whose delete marker has this nonce.
    Current { seen: SeenVersion, nonce: u64 },
    /// A version that its key's newest one of then still covers, with at least `newer` others above it but the newest.
    /// If that one went, this may have been the newest in between, and its days may have begun anew.
    Noncurrent { seen: SeenVersion, under: Cover, newer: u32 },
    /// A delete marker that is all there is of its key.
    LoneMarker { seen: SeenVersion },
    /// An unfinished upload.
    Upload { upload: UploadId },
}

/// A key's newest version at some moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cover {
    pub version: VersionRef,
    pub last_modified_ms: u64,
}

/// One thing to take away of [`Command::Expire`](crate::command::Command::Expire).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expiry {
    pub key: String,
    pub what: Expiring,
}

/// A page of what may expire, in order of key, each key's newest version first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ListExpirable {
    pub bucket: String,
    pub prefix: String,
    /// Only what comes after this slot of this key, or after all of the key's.
    pub after: Option<(String, Option<u64>)>,
    pub limit: u32,
}

/// An entry, and its place among its key's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExpirableVersion {
    pub key: String,
    pub slot: u64,
    pub seen: SeenVersion,
    /// It can't be deleted before this time, or at all until somebody lifts its hold.
    pub locked_until_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExpirablePage {
    pub versions: Vec<ExpirableVersion>,
    /// Whether more follow the last of these.
    pub more: bool,
}

/// How far a pass over all buckets is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LifecycleMark {
    /// Those before it are done; empty at the beginning.
    pub bucket: String,
    pub stage: LifecycleStage,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum LifecycleStage {
    /// All of these keys up to this one are done.
    Versions { after_key: Option<String> },
    /// All objects are done.
    Uploads,
}

/// Passes over all buckets, by the clock that rules are judged by.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LifecycleProgress {
    /// When the pass began that is under way, or else the last one.
    pub began_ms: Option<u64>,
    /// Where the pass is; `None` if none is under way.
    pub mark: Option<LifecycleMark>,
    /// When the last whole one ended.
    pub ended_ms: Option<u64>,
}

/// Who is at work in the whole pool, and how far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LifecycleRecord {
    /// Random, of one life of a gateway.
    pub worker: u64,
    /// Until then, by the control plane's clock, nobody else takes the work over.
    pub until_ms: u64,
    pub progress: LifecycleProgress,
}
