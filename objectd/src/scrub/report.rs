//! What a check found.

use meta::check::{IndexFault, Recounted};
use meta::object::{BucketUsage, Extent};
use serde::{Deserialize, Serialize};

/// What the check is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    #[default]
    Index,
    Logs,
    Usages,
    Data,
    SecondLook,
    Done,
}

/// An extent that is named and not there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lost {
    pub extent: Extent,
    /// Of its bytes, how many are missing.
    pub missing_bytes: u64,
    /// What names it, in words.
    pub owner: String,
}

/// A kept usage that isn't what there is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CounterOff {
    /// `bucket NAME` or `project NUMBER`.
    pub of: String,
    pub kept: BucketUsage,
    pub counted: BucketUsage,
    pub mended: bool,
}

impl CounterOff {
    pub fn new(of: String, found: Recounted, mended: bool) -> Self {
        Self { of, kept: found.kept, counted: found.counted, mended }
    }
}

/// An object whose data isn't what was put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BadObject {
    /// Bucket, key and version, in words.
    pub object: String,
    pub why: String,
}

/// All that was looked at and found. Lists hold the first of each; the numbers are of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub phase: Phase,
    pub logs: u64,
    /// Of `logs`, those that were gone through.
    pub logs_done: u64,
    /// Versions and delete markers, and parts of unfinished uploads.
    pub entries: u64,
    pub extents: u64,
    /// Bytes of all these, as clients see them.
    pub bytes: u64,
    /// What the logs hold, of one copy.
    pub held_bytes: u64,
    pub lost_extents: u64,
    pub lost: Vec<Lost>,
    /// The index contradicts itself.
    pub index_fault_count: u64,
    pub index_faults: Vec<IndexFault>,
    /// Held, and named by nothing.
    pub orphaned_bytes: u64,
    pub orphans: Vec<Extent>,
    /// Of them, what is given back now.
    pub reclaimed_bytes: u64,
    /// Garbage that is still to be trimmed.
    pub waiting_bytes: u64,
    /// Too new to be judged: bodies on their way, or of gateways that didn't say how far theirs are.
    pub in_flight_bytes: u64,
    /// Chunks of which no copy, or not every copy that counts, could be looked at.
    pub unproven_chunks: u64,
    pub usages: u64,
    pub counters_off: Vec<CounterOff>,
    /// Of a deep check: objects and bytes read.
    pub objects_read: u64,
    pub bytes_read: u64,
    pub bad_object_count: u64,
    pub bad_objects: Vec<BadObject>,
    /// What could not be looked at, and why.
    pub troubles: Vec<String>,
}

impl Report {
    /// Whether everything was looked at and nothing is wrong that was not put right.
    pub fn is_well(&self) -> bool {
        self.lost_extents == 0
            && self.index_fault_count == 0
            && self.orphaned_bytes == self.reclaimed_bytes
            && self.unproven_chunks == 0
            && self.bad_object_count == 0
            && self.counters_off.iter().all(|counter| counter.mended)
            && self.troubles.is_empty()
    }
}
