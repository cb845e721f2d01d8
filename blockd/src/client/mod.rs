//! The writer's side: a pure [`core`] and what runs it.

pub mod admin;
pub mod catchup;
mod control;
pub mod core;
mod driver;
mod op;
pub mod runs;
pub mod scrub;
mod volume;

pub use self::core::Complaint;
pub use crate::limits::VOLUME_REACTOR_OPERATIONS;
pub use control::{ControlError, ControlFuture, ControlHandle, ControlPlane, control_unavailable};
pub use driver::VolumeDriver;
pub use op::{Holes, OnFull, VolumeConfig, VolumeOp};
pub use volume::Volume;
