//! The parts as processes of their own. Each serves what `ashlar up` serves in one, with the same code.

mod agent;
mod blockd;
mod config;
mod meta;
mod objectd;
mod remote;

pub use agent::{AgentArgs, run as run_agent};
pub use blockd::{BlockdArgs, disk as disk_and_size, run as run_blockd};
pub use meta::{MetaArgs, run as run_meta};
pub use objectd::{ObjectdArgs, run as run_objectd};
