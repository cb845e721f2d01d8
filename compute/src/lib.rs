//! The compute shim: QEMU's life, from a VM's spec to the reason it ended.
//!
//! It starts QEMU with shared memory and one vhost-user-blk disk, watches it over QMP, and stops it. It knows
//! sockets, processes and QEMU's command line; what serves the disk's socket is somebody else's business.

pub mod command;
mod compute;
mod error;
mod keeper;
pub mod limits;
mod moving;
mod probe;
mod process;
pub mod qmp;
pub mod record;
pub mod spec;

pub use compute::{Compute, ComputeConfig, Exit};
pub use error::{ComputeError, ErrorKind};
pub use probe::{Accel, AccelChoice, Acceleration};
pub use record::{VmInfo, VmState};
pub use spec::{Boot, VmSpec};
