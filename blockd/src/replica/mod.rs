//! One disk's side of the replication protocol.

mod types;

pub use types::{ConnId, ReplicaConfig, ReplicaInput, ReplicaOutput};
