//! How a request's body is read: its framing, signatures and checksums, verified before the object is seen.
//!
//! `BodyPlan::object(&parts, authenticated.payload)?.reader(body)`, then `next()` until it gives `None`, then
//! `finish()` for the digest. No digest, no object.

mod checksum;
mod chunked;
mod expect;
pub mod limits;
mod mode;
mod multipart;
mod plan;
mod reader;

pub use checksum::{Checksum, ChecksumAlgorithm, ChecksumSet, PayloadDigest};
pub use chunked::ChunkedDecoder;
pub use mode::{PayloadAuth, PayloadMode};
pub use multipart::{composite_checksum, full_object_checksum, multipart_etag};
pub use plan::{BodyPlan, strip_aws_chunked};
pub use reader::PayloadReader;

#[cfg(test)]
mod chunked_test;
#[cfg(test)]
mod reader_test;
