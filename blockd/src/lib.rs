//! Ashlar's block layer: the chunk server and the client that every writer of a volume uses.
//!
//! [`store`] is the log of one disk, [`replica`] one disk's side of the replication protocol, [`client`]
//! the writer's side. These are pure; [`server`] and the client's drivers run them on `rt`'s reactor.

pub mod client;
pub mod error;
mod fast_map;
pub mod limits;
mod link;
pub mod replica;
pub mod server;
pub mod store;

pub use error::{ClientError, Error, ErrorKind};
