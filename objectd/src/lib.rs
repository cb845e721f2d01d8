//! The S3 gateway.

pub mod auth;
pub mod conditional;
pub mod error;
pub mod head_guard;
pub mod http_date;
pub mod limits;
pub mod names;
pub mod operation;
pub mod payload;
pub mod range;
pub mod target;
pub mod xml;
