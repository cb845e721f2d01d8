//! Server-side encryption: what requests ask for, which keys there are, and how data is encrypted with them.
//!
//! Each object has a random key of its own, which is kept beside it, encrypted by a pool key (SSE-S3) or by the key that
//! the client sends with every request (SSE-C). Pool keys are in a file outside of the pool's disks.

pub mod cipher;
mod headers;
pub mod key_file;
mod keyring;
mod rewrap;
mod rules;
mod sealed;
mod sink;
pub mod wrap;

pub use headers::{Asked, Shown, Transport, of_existing, of_new, of_source, says_anything};
pub use keyring::Keyring;
pub use rewrap::RewrapWorker;
pub use rules::BucketEncryption;
pub use sealed::{Opened, Origin, Seal};
pub use sink::{Data, Sink, Source};
pub use wrap::Name;
