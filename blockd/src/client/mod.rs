//! The writer's side: a pure [`core`] and what runs it.

pub mod core;
mod op;

pub use op::{Holes, OnFull, VolumeConfig, VolumeOp};
