//! The check of objects: `GET /v1/scrub/objects`, and `POST`, which begins one.

use objectd::scrub::Report;
use serde::{Deserialize, Serialize};

/// `POST /v1/scrub/objects`
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StartObjectScrub {
    /// Read all data, too.
    #[serde(default)]
    pub deep: bool,
    /// Give orphans back, and put usages right.
    #[serde(default)]
    pub repair: bool,
}

/// The check that runs, or else the last one.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ObjectScrubView {
    pub running: bool,
    pub started_ms: u64,
    /// `None` while it runs, and if there was none since the daemon's start.
    pub finished_ms: Option<u64>,
    pub deep: bool,
    pub repair: bool,
    #[serde(flatten)]
    pub report: Report,
}
