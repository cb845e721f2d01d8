//! Server access logs: which requests were made to a bucket, as objects in another.
//!
//! [`config`] reads and writes configurations, [`line`] writes a line; both are pure. A request to a bucket that logs is
//! seen by [`visit`], its line waits in [`collect`], and [`deliver`] puts what has gathered into the target.
//!
//! Best effort, as AWS's is: lines wait in the gateway's memory.
//!
//! Source: S3 User Guide, "Logging requests with server access logging", "Amazon S3 server access log format",
//! "Enabling Amazon S3 server access logging"; S3 API reference, PutBucketLogging.

mod collect;
mod config;
mod deliver;
mod line;
mod visit;

pub use collect::Collector;
pub use config::{Logging, Source};
pub use deliver::{LogDelivery, check_target};
pub use visit::Visit;
