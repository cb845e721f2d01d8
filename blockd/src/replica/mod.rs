//! One disk's side of the replication protocol.
