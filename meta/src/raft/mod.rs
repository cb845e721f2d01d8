//! The state machine behind openraft: types, log, snapshots, and the machine that applies what is committed.

pub mod apply;
pub mod files;
pub mod hard_state;
pub mod log;
pub mod log_thread;
pub mod network;
pub mod proposer;
pub mod record;
pub mod segment;
pub mod sled_kv;
pub mod snapshot;
pub mod view;

use crate::command::{Command, Response};
use crate::error::{ErrorKind, MetaError, Refusal};
use openraft::{BasicNode, StorageError, StorageIOError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::Arc;

openraft::declare_raft_types!(
    /// openraft's types, as the control plane uses them.
    pub TypeConfig:
        D = CommandBatch,
        R = BatchResult,
        NodeId = u64,
        Node = BasicNode,
        Entry = openraft::Entry<TypeConfig>,
        SnapshotData = tokio::fs::File,
        AsyncRuntime = openraft::TokioRuntime,
);

pub type NodeIdOf = u64;
pub type Entry = openraft::Entry<TypeConfig>;
pub type LogId = openraft::LogId<NodeIdOf>;
pub type Vote = openraft::Vote<NodeIdOf>;
pub type SnapshotMeta = openraft::SnapshotMeta<NodeIdOf, BasicNode>;
pub type StoredMembership = openraft::StoredMembership<NodeIdOf, BasicNode>;
pub type Raft = openraft::Raft<TypeConfig>;
pub type RaftStorageError = StorageError<NodeIdOf>;

/// What one log entry carries: all the commands that arrived while the entry before it was being written.
///
/// openraft 0.9 waits for each append to be durable before it takes the next proposal, so this is what
/// makes one flush serve many. Shared, since the log, the core and the state machine all hold it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandBatch(pub Arc<Vec<Command>>);

impl Serialize for CommandBatch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for CommandBatch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(|commands| Self(Arc::new(commands)))
    }
}

/// The result of each command of an entry, in order; empty for entries without commands.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct BatchResult(pub Vec<Result<Response, Refusal>>);

/// A failure to read, as openraft takes it.
pub fn cant_read(error: &MetaError) -> RaftStorageError {
    StorageIOError::read(openraft::AnyError::new(error)).into()
}

/// A failure to write, as openraft takes it: fatal to the node.
pub fn cant_write(error: &MetaError) -> RaftStorageError {
    StorageIOError::write(openraft::AnyError::new(error)).into()
}

/// An I/O error with what was being done to which file.
pub fn io_failed(doing: &str, path: &std::path::Path, error: std::io::Error) -> MetaError {
    MetaError::new(ErrorKind::Storage, format!("can't {doing} {}", path.display())).with_source(error)
}
