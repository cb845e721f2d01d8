//! Bugs planted on purpose, to prove that the checkers see them, and the troubles of bad days.

use clap::ValueEnum;

/// What is broken in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum SimFault {
    #[default]
    None,
    /// One replica acks flushes without doing them.
    FlushIsALie,
    /// A new writer sees empty lists, so it never makes the replicas agree.
    SkipReconcile,
    /// One replica acks some writes without doing them.
    WriteIsALie,
    /// A writer that is told it is fenced hears that its request was done.
    FencedIsDone,
    /// Corrupt blocks come back as if they were good, with checksums to match.
    CorruptIsData,
    /// A client checks its precondition itself, some time before it writes.
    StalePrecondition,
    /// Flushes wait for the control plane.
    ControlOnPath,
    /// A member joins without having caught up.
    JoinEarly,
    /// Writers go on with one member in sync, where the pool asks for two.
    MinIgnored,
    /// A writer fails what it should keep waiting.
    ErrorNotStall,
    /// A writer's timer is set and never goes off.
    LostWakeup,
    /// The control plane's log misses some of the commands that it applied.
    LogForgets,
    /// One replica acks deletions without doing them.
    DeleteIsALie,
    /// One replica says that it cleared a group, and did not.
    ClearIsALie,
    /// A store that was full once never takes anything again.
    FullForEver,
    /// A new volume of a deleted one's name is the deleted one.
    NameKeepsVolume,
    /// What can't be read from any copy is given as nothing.
    CorruptIsNothing,
    /// A new writer is told the size that the volume had at first.
    LeaseForgetsSize,
    /// A scrub that is told that everything is good.
    ScrubIsBlind,
    /// A scrub that is told that good copies are bad.
    ScrubSeesGhosts,
    /// A leader acks what no other voter has.
    AckAlone,
    /// A leader answers reads without asking whether it still leads.
    ReadsAlone,
    /// A voter that dies loses the end of its log.
    VoterForgets,
    /// Whoever does not hear what became of a change makes it again, and takes the second answer for the first.
    AsksTwice,
}

/// What goes wrong on bad days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    Reset,
    KillServer,
    LongKill,
    DiskDies,
    KillAll,
    PowerCut,
    PowerCutAll,
    Isolate,
    OneWay,
    NonTransitive,
    SlowNetwork,
    SlowDisk,
    Flip,
    Unreadable,
    LostWrite,
    Misdirected,
    WriteError,
    DiskFull,
    FlushError,
    PoolFull,
    ClockJump,
    WriterCrash,
    WriterMove,
    ControlDown,
    /// The control plane's leader dies: what it was asked for may be done, though nobody hears of it.
    AnswersLost,
    VolumeDeleted,
    VolumeGrown,
    /// A copy that rots when all is well.
    RottenCopy,
    /// All copies of a block rot.
    EveryCopyBad,
    /// The control plane's leader dies, in the middle of a change.
    LeaderDies,
    /// The leader does not reach the other voters, or is not reached: they may depose it, and it not know.
    LeaderCut,
    /// The leader and one other voter can't reach each other.
    VotersCut,
    /// One voter dies, or two.
    VoterDies,
    /// A voter comes back without the state that it had worked out of its log.
    VoterRebuilt,
    /// A chunk store that has no room, because somebody filled it.
    PoolFills,
}

impl Trouble {
    /// What comes at any time, by chance.
    pub const AT_RANDOM: [Self; 27] = [
        Self::Reset,
        Self::KillServer,
        Self::LongKill,
        Self::DiskDies,
        Self::KillAll,
        Self::PowerCut,
        Self::PowerCutAll,
        Self::Isolate,
        Self::OneWay,
        Self::NonTransitive,
        Self::SlowNetwork,
        Self::SlowDisk,
        Self::Flip,
        Self::Unreadable,
        Self::LostWrite,
        Self::Misdirected,
        Self::WriteError,
        Self::DiskFull,
        Self::FlushError,
        Self::PoolFull,
        Self::ClockJump,
        Self::WriterCrash,
        Self::WriterMove,
        Self::ControlDown,
        Self::AnswersLost,
        Self::VolumeDeleted,
        Self::VolumeGrown,
    ];

    /// What the control plane's voters meet.
    pub const OF_VOTERS: [Self; 4] = [Self::LeaderDies, Self::LeaderCut, Self::VotersCut, Self::VoterDies];

    /// What a run meets by its own course.
    const IN_COURSE: [Self; 4] = [Self::RottenCopy, Self::EveryCopyBad, Self::VoterRebuilt, Self::PoolFills];

    pub fn all() -> impl Iterator<Item = Self> {
        Self::AT_RANDOM.into_iter().chain(Self::OF_VOTERS).chain(Self::IN_COURSE)
    }
}
