//! Catching up: a member of a group gets from one in sync what it does not have (RFD 0002).
//!
//! [`catch_up`] runs it against real servers; [`CatchUpCore`] is what it runs, pure. Whatever stops a run
//! leaves its group as it was: nothing counts until the control plane lets the member join, and the next run
//! compares again and copies what is still missing.

mod core;
pub(crate) mod diff;
pub(crate) mod driver;
pub mod limits;
pub(crate) mod pace;
pub(crate) mod progress;
pub(crate) mod survey;
pub(crate) mod talk;

pub use self::core::{CatchUpCore, CatchUpReport};
pub use driver::{CatchUpConfig, catch_up};
pub use pace::Pace;
pub use progress::{Progress, ProgressSnapshot};
pub use talk::{Peer, TalkInput, TalkOutput};

#[cfg(test)]
mod core_test;
#[cfg(test)]
pub(crate) mod fake_test;
