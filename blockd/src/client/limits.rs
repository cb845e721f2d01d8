//! Bounds of what a volume's writer asks of the control plane, and of how long it waits for members.

use std::time::Duration;

/// How long the control plane has to answer a writer; then it is asked again.
pub const CONTROL_TIMEOUT: Duration = Duration::from_secs(5);
