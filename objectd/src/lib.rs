//! The S3 gateway.

pub mod error;
