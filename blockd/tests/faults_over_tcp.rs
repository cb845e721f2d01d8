//! The tests of `faults`, over TCP.

#[path = "faults.rs"]
mod faults;
