//! Real processes on trial: starts them, loads them, hurts them, and knows what they must still hold.
//!
//! Shared by the tests of the `ashlar` binary and by `bench soak`. It reaches the daemons as anybody does: over
//! vhost-user (libblkio), S3, the CLI, signals, files and sockets, and the frames of the wire. What can't be done is a panic; what the
//! daemons got wrong is a violation in an [`oracle`](w1::Blocks) and in the end a failed trial.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    reason = "it is what tests are made of"
)]

pub mod block_client;
pub mod disk_file;
pub mod fault_disk;
pub mod fleet;
pub mod harness;
pub mod net;
pub mod peer;
pub mod process;
pub mod s3_client;
pub mod w1;
pub mod w2;
