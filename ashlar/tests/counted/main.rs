//! What an operation costs, in counts that do not depend on the clock: system calls, context switches, allocations,
//! bytes and calls of the devices, bytes and flushes of the control plane's log. A real `ashlar up`, clients that
//! nobody here wrote, a fixed number of requests, and a bound for each count.
//!
//! The bounds are regression bounds: what was measured (in the comment beside each, on two cores, debug build) with
//! room for a busy machine. Where requests are made together, load makes batches larger and counts smaller; where
//! they are made one by one, counts are what they are. A count that fell far below its bound should have the bound
//! lowered after it. Each was seen to fail with a planted regression, which the commit that set it names.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::cast_sign_loss,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss
)]

mod bounds;
mod disks;
mod meter;
mod objects;
mod volumes;
