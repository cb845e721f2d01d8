//! Bounds of every queue, batch, retry and count in this crate (STYLE 7). One section a module.

// ---- client drivers ----

/// Operations that a `Volume` handle's users may have queued in front of its thread; more wait.
pub const VOLUME_QUEUE: usize = 1024;
