//! The writer's side: a pure [`core`] and what runs it.

pub mod admin;
pub mod core;
mod driver;
mod op;
mod volume;

pub use driver::VolumeDriver;
pub use op::{Holes, OnFull, VolumeConfig, VolumeOp};
pub use volume::Volume;
