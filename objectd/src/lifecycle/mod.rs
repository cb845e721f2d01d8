//! Lifecycles of buckets: what their rules are, when something is due by them, and the worker that takes it away.
//!
//! [`rules`] reads and writes configurations, [`due`] judges one thing, [`walk`] a bucket's entries in order; all three
//! are pure. [`worker`] asks the control plane for entries and has it take away what is due.
//!
//! Source: S3 User Guide, "Managing the lifecycle of objects", "Lifecycle configuration elements"; S3 API reference,
//! PutBucketLifecycleConfiguration.

mod clock;
mod due;
mod known;
mod parse;
mod rules;
mod walk;
mod worker;

pub use clock::MovableClock;
pub use due::Subject;
pub use known::{KnownLifecycles, expiration, show};
pub use rules::Lifecycle;
pub use worker::{LifecycleWorker, Tools};
