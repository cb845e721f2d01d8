//! The writer's side for one volume, pure.

mod types;

pub use types::{CoreInput, CoreOutput, CoreStats, Peer};
