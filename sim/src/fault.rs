//! Bugs planted on purpose, to prove that the checkers see them.

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
}
