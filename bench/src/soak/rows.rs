//! The rows of the list of faults that a soak mixes.

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
    SwappedBlocks,
}

impl Row {
    pub const ALL: [Self; 16] = [
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
        Self::SwappedBlocks,
    ];

    pub fn number(self) -> u32 {
        match self {
            Self::KillServer => 1,
            Self::FreezeServer => 2,
            Self::KillTwo => 3,
            Self::KillAllServers => 4,
            Self::KillAgent => 5,
            Self::RollingRestart => 6,
            Self::KillGateway => 11,
            Self::KillInRecovery => 12,
            Self::LinkDown => 13,
            Self::OneWay => 14,
            Self::BlindPeers => 16,
            Self::SlowNetwork => 17,
            Self::LyingNetwork => 18,
            Self::Flaps => 19,
            Self::FlippedBits => 20,
            Self::SwappedBlocks => 24,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::KillServer => "a chunk server is killed",
            Self::FreezeServer => "a chunk server is frozen",
            Self::KillTwo => "two of three are killed",
            Self::KillAllServers => "all three are killed",
            Self::KillAgent => "the agent is killed",
            Self::RollingRestart => "everything is restarted in turn",
            Self::KillGateway => "the S3 gateway is killed",
            Self::KillInRecovery => "killed again while recovering",
            Self::LinkDown => "a link is down",
            Self::OneWay => "a link carries one way",
            Self::BlindPeers => "two servers don't see each other",
            Self::SlowNetwork => "delays, resets, a narrow link",
            Self::LyingNetwork => "flipped, repeated, replayed frames",
            Self::Flaps => "a link flaps",
            Self::FlippedBits => "bits flip in a copy",
            Self::SwappedBlocks => "blocks of a copy change places",
        }
    }

    /// Whether it happens on the way between daemons.
    pub fn needs_relays(self) -> bool {
        self >= Self::LinkDown && self <= Self::Flaps
    }
}
