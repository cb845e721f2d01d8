//! The rows of the list of faults that a soak mixes.

use Needs::{FaultDisk, Nothing, Relays};

/// A fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    KillServer,
    FreezeServer,
    KillTwo,
    KillAllServers,
    KillAgent,
    RollingRestart,
    KillGateway,
    KillInRecovery,
    LinkDown,
    OneWay,
    BlindPeers,
    SlowNetwork,
    LyingNetwork,
    Flaps,
    FlippedBits,
    FlippedEverywhere,
    AllCopiesBad,
    SwappedBlocks,
    OlderBlocks,
    CutLog,
    FailedWrite,
    FailedFlush,
    FullDisks,
    StalledDisk,
    SlowDisk,
    PowerCut,
    OddDisk,
    Crowd,
    ReplacedDisk,
    Scrub,
}

/// What a row can't happen without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    Nothing,
    /// Network namespaces, with relays between them.
    Relays,
    /// A disk over FUSE.
    FaultDisk,
}

impl Row {
    pub const ALL: [Self; 30] = [
        Self::KillServer,
        Self::FreezeServer,
        Self::KillTwo,
        Self::KillAllServers,
        Self::KillAgent,
        Self::RollingRestart,
        Self::KillGateway,
        Self::KillInRecovery,
        Self::LinkDown,
        Self::OneWay,
        Self::BlindPeers,
        Self::SlowNetwork,
        Self::LyingNetwork,
        Self::Flaps,
        Self::FlippedBits,
        Self::FlippedEverywhere,
        Self::AllCopiesBad,
        Self::SwappedBlocks,
        Self::OlderBlocks,
        Self::CutLog,
        Self::FailedWrite,
        Self::FailedFlush,
        Self::FullDisks,
        Self::StalledDisk,
        Self::SlowDisk,
        Self::PowerCut,
        Self::OddDisk,
        Self::Crowd,
        Self::ReplacedDisk,
        Self::Scrub,
    ];

    /// Its number in the list, its name, and what it needs.
    fn about(self) -> (u32, &'static str, Needs) {
        match self {
            Self::KillServer => (1, "chunk servers are killed", Nothing),
            Self::FreezeServer => (2, "a chunk server is frozen", Nothing),
            Self::KillTwo => (3, "two of three are killed", Nothing),
            Self::KillAllServers => (4, "all three are killed", Nothing),
            Self::KillAgent => (5, "the agent is killed", Nothing),
            Self::RollingRestart => (6, "everything is restarted in turn", Nothing),
            Self::KillGateway => (11, "the S3 gateway is killed", Nothing),
            Self::KillInRecovery => (12, "killed again while recovering", Nothing),
            Self::LinkDown => (13, "a link is down", Relays),
            Self::OneWay => (14, "a link carries one way", Relays),
            Self::BlindPeers => (16, "two servers don't see each other", Relays),
            Self::SlowNetwork => (17, "delays, resets, a narrow link", Relays),
            Self::LyingNetwork => (18, "flipped, repeated, replayed frames", Relays),
            Self::Flaps => (19, "a link flaps", Relays),
            Self::FlippedBits => (20, "bits flip in a copy", Nothing),
            Self::FlippedEverywhere => (22, "bits flip in every copy's own blocks", Nothing),
            Self::AllCopiesBad => (23, "all copies of some blocks are bad", Nothing),
            Self::SwappedBlocks => (24, "blocks of a copy change places", Nothing),
            Self::OlderBlocks => (25, "older images of blocks come back", Nothing),
            Self::CutLog => (26, "a log is cut at any sector", FaultDisk),
            Self::FailedWrite => (27, "a write to a disk fails", FaultDisk),
            Self::FailedFlush => (28, "a flush of a disk fails", FaultDisk),
            Self::FullDisks => (29, "the disks are full", Nothing),
            Self::StalledDisk => (30, "a disk stalls", FaultDisk),
            Self::SlowDisk => (31, "a disk has 1 MB/s", FaultDisk),
            Self::PowerCut => (32, "power cut: any unflushed block lost", FaultDisk),
            Self::OddDisk => (34, "short and interrupted disk I/O", FaultDisk),
            Self::Crowd => (35, "in flight: 4x the completion queue", Nothing),
            Self::ReplacedDisk => (36, "a disk replaced, its source killed", Nothing),
            Self::Scrub => (37, "a scrub while servers are killed", Nothing),
        }
    }

    pub fn number(self) -> u32 {
        self.about().0
    }

    pub fn name(self) -> &'static str {
        self.about().1
    }

    pub fn needs(self) -> Needs {
        self.about().2
    }
}
