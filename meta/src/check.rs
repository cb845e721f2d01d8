//! What a check of the index looks at, and what it finds.

use crate::object::{BucketUsage, Extent};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What names extents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamingTable {
    /// Every version of every object.
    Objects,
    /// The parts of unfinished uploads.
    Parts,
}

/// Where a page of a table ended: opaque to whoever asks for the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place(pub(crate) Vec<u8>);

/// What is wrong with an extent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IndexFaultKind {
    /// It is named, and is not its owner's by the table of who owns what.
    NotOwned,
    /// It is owned, and its owner doesn't name it.
    NotNamed,
    /// It is past what was given out of its log, or of no log.
    Outside,
    /// Another one reaches into it.
    Overlaps,
}

impl fmt::Display for IndexFaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotOwned => "is named but owned by nobody or another",
            Self::NotNamed => "is owned by what doesn't name it",
            Self::Outside => "is outside its log",
            Self::Overlaps => "overlaps another",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexFault {
    pub kind: IndexFaultKind,
    pub extent: Extent,
    /// Who names it, in words.
    pub owner: String,
}

/// A page of what names extents, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct NamingPage {
    /// Versions or parts looked at, delete markers too.
    pub entries: u64,
    pub extents: u64,
    /// As clients see them.
    pub bytes: u64,
    pub faults: Vec<IndexFault>,
    pub next: Option<Place>,
}

/// A page of a log's owned extents, checked.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OwnedPage {
    pub extents: Vec<Extent>,
    pub faults: Vec<IndexFault>,
    /// Where the next page starts, if there is one.
    pub next_bytes: Option<u64>,
}

/// A usage as it is kept, and as it was counted anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recounted {
    pub kept: BucketUsage,
    pub counted: BucketUsage,
}

impl Recounted {
    pub fn is_right(&self) -> bool {
        self.kept == self.counted
    }
}
