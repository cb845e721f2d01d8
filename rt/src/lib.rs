//! What touches the machine: clock, randomness, disk, network and the io_uring reactor.
//!
//! The rest of Ashlar is pure cores driven from here, so that the simulator can put its own clock, disk
//! and network underneath. `unsafe` lives in this crate (and in vhost-user's guest memory).

pub mod allocations;
pub mod buf;
pub mod clock;
pub mod device;
pub mod event_loop;
pub mod framed;
pub mod limits;
pub mod local;
pub mod memory;
pub mod net;
pub mod ring;
pub mod rng;
