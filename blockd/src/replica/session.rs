//! What a replica remembers of connections and writers.

use super::ConnId;
use proto::message::OpenMode;
use proto::{ClientId, Version, VolumeEpoch, VolumeId};

/// A volume as one connection has it open.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opened {
    pub volume: VolumeId,
    pub epoch: VolumeEpoch,
    pub client: ClientId,
    pub mode: OpenMode,
    pub groups: u32,
}

/// One connection.
#[derive(Debug, Default)]
pub(super) struct Conn {
    /// `Hello` was accepted.
    pub greeted: bool,
    /// Requests that the store has not answered.
    pub unanswered: usize,
    /// Nearly always one, so a list.
    pub opens: Vec<Opened>,
}

/// The newest writer of a volume.
#[derive(Debug, Default)]
pub(super) struct Writer {
    pub epoch: VolumeEpoch,
    pub client: ClientId,
    /// Its connection, while it stands.
    pub conn: Option<ConnId>,
    /// What the store was last told is settled.
    pub settled: Version,
}
