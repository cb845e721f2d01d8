//! The chunk store: one disk as a log, as a pure state machine.
//!
//! [`Store::mount`] brings a disk back; [`Store::step`] takes one [`Event`] and gives out [`Action`]s. A
//! driver with many events ready calls [`Store::submit`] for each and [`Store::pump`] once, which makes
//! larger batches.

mod batch;
pub mod check;
mod checkpoint;
mod chunk;
mod cleaner;
mod core;
pub mod event;
mod flush;
mod index;
pub mod limits;
mod log;
#[doc(hidden)]
pub mod micro;
mod mount;
mod packed;
mod queue;
mod read;
mod recover;
mod replay;
mod segments;
mod session;
mod slab;
mod space;
mod sums;
mod survey;

pub use self::core::{Counters, Store, VolumeInfo};
pub use event::{Action, Answer, Event, IoId, Session, Ticket, WriteKind};
pub use mount::MountReport;
pub use survey::{ChunkRun, VolumeEntry};

#[cfg(test)]
mod cleaner_test;
#[cfg(test)]
mod clear_test;
#[cfg(test)]
mod damage_test;
#[cfg(test)]
mod index_test;
#[cfg(test)]
mod medium_test;
#[cfg(test)]
mod power_test;
#[cfg(test)]
mod reserve_test;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod store_test;
#[cfg(test)]
mod sums_test;
#[cfg(test)]
mod survey_test;
