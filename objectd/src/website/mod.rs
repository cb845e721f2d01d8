//! Buckets as websites: what a configuration is, where it sends a browser, and the pages that say what went wrong.
//!
//! All of it is pure; [`ops::website`](crate::ops) serves.
//!
//! Source: S3 User Guide, "Hosting a static website using Amazon S3", "Configuring advanced conditional redirects"; S3 API
//! reference, PutBucketWebsite.

mod page;
mod parse;
mod route;
mod rules;

pub use page::error_page;
pub use route::{Asked, Redirection};
pub use rules::Website;
