//! The vhost-user-blk device: guest queues in, volume requests out.
//!
//! [`Device::serve`] listens on a socket; a VM monitor (or any vhost-user front end) connects, hands over
//! guest memory and queues, and gets one volume as a virtio-blk disk. A device has a control
//! thread, which speaks the vhost-user protocol, and a data task on an event loop, which owns the queues and the
//! volume's connections. The guest and the front end are hostile input throughout: what they can break is their own
//! session.

mod chain;
mod config_space;
mod continuing;
mod control;
mod data;
mod device;
#[cfg(test)]
#[path = "device_test.rs"]
mod device_tests;
mod dirty;
mod engine;
mod error;
#[cfg(test)]
#[path = "flood_test.rs"]
mod flood_tests;
#[cfg(test)]
#[path = "front_end_test.rs"]
mod front_end_tests;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzz;
mod inflight;
pub mod limits;
mod mem;
#[cfg(test)]
#[path = "migrate_test.rs"]
mod migrate_tests;
mod opening;
mod pending;
#[cfg(test)]
#[path = "reconnect_test.rs"]
mod reconnect_tests;
#[cfg(test)]
#[path = "replicated_test.rs"]
mod replicated_tests;
mod request;
#[cfg(test)]
#[path = "resize_test.rs"]
mod resize_tests;
mod session;
mod shared;
mod tap;
#[cfg(test)]
mod test_client;
#[cfg(test)]
mod test_guest;
mod vring;

pub use config_space::MemorySlots;
pub use device::{Device, DeviceConfig, DeviceHandle, DeviceStatus};
pub use error::{Error, ErrorKind};
pub use opening::Open;
