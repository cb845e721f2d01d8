//! The chunk store: one disk as a log, as a pure state machine.
//!
//! The shape of its use:
//!
//! ```text
//! Store::format(&dyn BlockDevice, DiskId) -> Result<(), Error>
//! Store::mount(&dyn BlockDevice) -> Result<(Store, MountReport), Error>     // synchronous
//! store.step(now, Event, &mut Vec<Action>)                                        // never blocks
//!     // = store.submit(now, Event, &mut Vec<Action>), then store.pump(now, &mut Vec<Action>): a driver
//!     // with many events ready submits all of them and pumps once, which makes larger batches
//! store.stat() -> DiskStat; store.counters() -> Counters; store.volume_stat(VolumeId) -> VolumeStat
//! store.volume_info(VolumeId) -> VolumeInfo { fence, settled, stable, highest, deleted }
//! store.held_sequence(ClientId) -> u64
//! store.disk_id() -> DiskId; store.incarnation() -> u64; store.failure() -> Option<&WireError>
//! ```

pub mod event;
pub mod limits;

pub use event::{Action, Answer, Event, IoId, Session, Ticket, WriteKind};
