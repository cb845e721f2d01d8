//! S3's XML: a bounded reader that knows no DTD, and a writer that escapes everything.

mod read;
mod write;

pub use read::{Element, parse};
pub use write::{S3_NAMESPACE, XmlWriter, escape};
