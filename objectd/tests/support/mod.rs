//! An S3 client for tests: it signs with the `aws-sigv4` crate, sends every payload mode, and lets a test
//! change anything between signing and sending.
#![allow(dead_code, unused_imports, reason = "each test file uses a part of it")]

mod client;
mod wire;

pub use client::{Call, Client, Payload, Signing};
pub use wire::{Prepared, Response, exchange};
