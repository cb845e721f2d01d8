//! The tests of `end_to_end`, over TCP.

#[path = "end_to_end.rs"]
mod end_to_end;
