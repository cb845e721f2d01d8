//! The S3 gateway.

pub mod conditional;
pub mod error;
pub mod http_date;
pub mod limits;
pub mod names;
pub mod operation;
pub mod range;
pub mod target;
pub mod xml;
