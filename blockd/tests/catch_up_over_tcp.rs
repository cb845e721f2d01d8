//! The tests of `catch_up`, over TCP.

#[path = "catch_up.rs"]
mod catch_up;
