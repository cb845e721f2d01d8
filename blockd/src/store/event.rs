//! What goes into the store and what comes out.

use bytes::Bytes;
use proto::checksum::BlockCrcs;
pub use proto::message::WriteKind;
use proto::message::{BlockRange, ListEntry, ReadBlock};
use proto::{ClientId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId, WireError};
use rt::buf::{AlignedBuf, Gather};
use std::io;

/// The caller's name for a request; its [`Action::Answer`] repeats it. The store never compares them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// The store's name for one disk operation; its [`Event::DiskDone`] repeats it. Fits in 48 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct IoId(pub u64);

/// Whose request this is, and its number in that client's session with this disk. It is logged with the
/// write, so that after a restart [`super::Store::held_sequence`] tells how far the log got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    pub client: ClientId,
    pub sequence: u64,
}

/// One input of [`super::Store::step`]. Each event with a ticket is answered exactly once.
#[derive(Debug)]
pub enum Event {
    /// Answered ([`Answer::Done`]) when it and everything accepted before it is written to the device.
    /// `data` is `range.count` whole blocks, `crcs` one CRC-32 a block, checked before the data is written. Data that
    /// [is aligned](rt::buf::is_aligned) goes to the device from where it is.
    Write {
        ticket: Ticket,
        session: Session,
        range: BlockRange,
        version: Version,
        crcs: BlockCrcs,
        data: Bytes,
        kind: WriteKind,
    },
    /// Answered like a write. The trim's version is kept as a tombstone.
    Trim { ticket: Ticket, session: Session, range: BlockRange, version: Version, kind: WriteKind },
    /// Answered with [`Answer::Read`].
    Read { ticket: Ticket, range: BlockRange },
    /// A read that sees the medium and nothing else; also answered with [`Answer::Read`]. `Busy` while one
    /// of the blocks is on its way there.
    Verify { ticket: Ticket, range: BlockRange },
    /// Answered ([`Answer::Done`]) when everything accepted before it is past the device's cache.
    Flush { ticket: Ticket },
    /// Refuses, from now on, writes and trims of the volume below `epoch`; answered when that is durable.
    /// An epoch at or below the fence that stands changes nothing, and is answered like a flush.
    Fence { ticket: Ticket, volume: VolumeId, epoch: VolumeEpoch },
    /// Drops all of the volume and remembers that it is deleted; answered when that is durable.
    DeleteVolume { ticket: Ticket, volume: VolumeId },
    /// What the writer said of the volume's horizons. No answer: it is logged with some later batch, and
    /// losing it only makes the next recovery look at more. `whole`: every group of the volume has all its
    /// members in sync, so that tombstones up to `stable` are everywhere for good, and are forgotten.
    Horizon { volume: VolumeId, settled: Version, stable: Version, whole: bool },
    /// From now on, and after any restart, `epoch` is the least the group may have; answered when that is
    /// durable. The store keeps the number; who refuses what is its owner's part.
    AdoptGroup { ticket: Ticket, group: GroupId, epoch: GroupEpoch },
    /// Drops all that is held of a group, in a pool of `groups`, and adopts `epoch` for it: what was accepted
    /// before is gone, what comes after stays. Answered when that is durable; before, a crash leaves all of
    /// it or nothing. `Changed` if the group has a higher epoch here.
    ClearGroup { ticket: Ticket, group: GroupId, groups: u32, epoch: GroupEpoch },
    /// Answered with [`Answer::List`]: one page of blocks with versions above `above`.
    List { ticket: Ticket, volume: VolumeId, above: Version, cursor: u64 },
    /// A disk operation has ended. Reads and writes give their buffer (a write the first one) back, whatever the result. The
    /// driver resumes short transfers, so `Ok` means all of it.
    DiskDone { io: IoId, buf: Option<AlignedBuf>, result: io::Result<()> },
    /// Time has passed: due every [`super::limits::TICK_INTERVAL`] or so. Nothing is lost if it is late.
    Tick,
    /// Checkpoint everything, then answer ([`Answer::Done`]): the next mount has nothing to replay.
    /// Writes that come later are answered with an error.
    Stop { ticket: Ticket },
}

/// One output of [`super::Store::step`].
#[derive(Debug)]
pub enum Action {
    /// Fill all of `buf` from byte `offset`.
    DiskRead { io: IoId, offset: u64, buf: AlignedBuf },
    /// Write all of `buf` at byte `offset`.
    DiskWrite { io: IoId, offset: u64, buf: Gather },
    /// Make every write whose `DiskDone` was given to the store so far durable.
    DiskFlush { io: IoId },
    /// The end of a request. Errors are in the words of the wire: `NoSpace`, `Fenced`, `Deleted`,
    /// `BadChecksum`, `BadRequest`, `Changed`, `Busy`, and `Io`, after which every request is answered with it.
    Answer { ticket: Ticket, result: Result<Answer, WireError> },
}

/// The results of requests that succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    /// One `ReadBlock` for each block asked; `data` holds the blocks in state `Data`, in order, over as
    /// many pieces as it took (each whole blocks).
    Read {
        range: BlockRange,
        blocks: Vec<ReadBlock>,
        data: Vec<Bytes>,
    },
    /// `next_cursor` is [`proto::message::LIST_END`] after the last page. A page may be empty.
    List {
        entries: Vec<ListEntry>,
        next_cursor: u64,
    },
}
