//! When access keys were last used, as gateways tell it now and then: not at every request, so a time may be behind.

use serde::{Deserialize, Serialize};

/// The last use of a key that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    pub key: String,
    pub used_ms: u64,
    /// As signatures name it: `s3`, `iam` or `sts`.
    pub service: String,
    pub region: String,
}
