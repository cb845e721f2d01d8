//! The gateway's object log: a system volume of which this gateway is the only writer. Bodies are appended,
//! flushed together, and named by index entries; what no entry names is trimmed.

mod allocator;
mod appender;
mod budget;
mod cache;
mod garbage;
mod group_flush;
mod holds;
mod layout;
mod log;
mod pins;
mod sweep;

pub use appender::{Appender, Pending};
pub use budget::{Allowance, Budget, Room, housed};
pub use garbage::GarbageWorker;
pub use layout::{Piece, Pieces};
pub use log::{Claim, ObjectLog, OpenLog};
pub use pins::Pinned;
