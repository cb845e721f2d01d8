//! Making a disk and taking it into use.

use super::core::Store;
use super::event::{Action, Event};
use super::limits::{
    FIRST_SEGMENT_BYTES, MAX_LIVES_WITHOUT_CHECKPOINT, MAX_SEGMENT_BYTES, MIN_DISK_BYTES, MIN_SEGMENT_BYTES,
    SEGMENTS_PER_DISK,
};
use super::recover::{Recovered, read_superblock, recover};
use crate::error::{Error, ErrorKind};
use proto::DiskId;
use proto::disk::superblock::COPY_BLOCKS;
use proto::disk::{Life, Superblock};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use rt::buf::{AlignedBuf, Gather};
use rt::clock::Instant;
use rt::device::BlockDevice;

/// What a mount found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountReport {
    pub disk: DiskId,
    pub incarnation: u64,
    /// Batches replayed after the newest checkpoint, and the blocks of data in them.
    pub replayed_batches: u64,
    pub replayed_blocks: u64,
    /// Bytes read from the device.
    pub read_bytes: u64,
    /// Batches a crash left torn behind the end of the log; nobody was told that they are durable.
    pub torn_batches: u64,
    /// What was wrong and could be mended: one line each.
    pub warnings: Vec<String>,
}

impl Store {
    /// Makes an empty disk of `dev`. A device that already is a disk, of any version, is left as it is.
    pub fn format(dev: &dyn BlockDevice, disk: DiskId) -> Result<(), Error> {
        let len_bytes = dev.len_bytes();
        if len_bytes < MIN_DISK_BYTES {
            let (has, needs) = (proto::size::show(len_bytes), proto::size::show(MIN_DISK_BYTES));
            let message = format!("a disk needs at least {needs}, and this one has {has}");
            return Err(Error::new(ErrorKind::Invalid, message));
        }
        match read_superblock(dev) {
            Err(error) if error.kind == ErrorKind::NotADisk => {}
            Err(error) if error.kind != ErrorKind::Corrupt => return Err(error),
            _ => {
                let message = "this already is an Ashlar disk; wipe its first megabyte to use it afresh";
                return Err(Error::new(ErrorKind::Invalid, message));
            }
        }
        let superblock = layout(len_bytes, disk);
        write_superblock(dev, &superblock, [0, 1])
    }

    /// Which disk a device is, by its superblock. `NotADisk` if it is none.
    pub fn identify(dev: &dyn BlockDevice) -> Result<DiskId, Error> {
        read_superblock(dev).map(|(superblock, _)| superblock.disk)
    }

    /// Takes a disk into use: brings back what it holds and begins a new life of it.
    pub fn mount(dev: &dyn BlockDevice) -> Result<(Self, MountReport), Error> {
        let Recovered {
            mut superblock,
            index,
            segments,
            sessions,
            groups,
            next_sequence,
            checkpoint_segments,
            previous_segments,
            checkpoint_bytes,
            report,
        } = recover(dev)?;
        // What was replayed may be in the device's cache only; before anything is built upon it, and
        // before an old version's segment is reused because of it, it must be durable.
        dev.flush().map_err(|error| Error::io("the disk can't be flushed", error))?;
        let incarnation = superblock.lives.last().map_or(0, |life| life.incarnation) + 1;
        superblock.lives.push(Life { incarnation, first_sequence: next_sequence });
        superblock.generation += 1;
        // A copy that a crash left torn is mended first: the other one is all there is.
        let order = if report.copies[1].is_some() { [1, 0] } else { [0, 1] };
        write_superblock(dev, &superblock, order)?;
        let mut warnings: Vec<String> =
            report.copies.iter().flatten().map(|error| format!("a superblock copy: {error}")).collect();
        warnings.extend(report.checkpoint_error.iter().cloned());
        let mount_report = MountReport {
            disk: superblock.disk,
            incarnation,
            replayed_batches: report.batches,
            replayed_blocks: report.blocks,
            read_bytes: report.bytes_read,
            torn_batches: report.torn_batches,
            warnings,
        };
        let mut store = Self::assemble(superblock, index, segments, sessions, groups, next_sequence);
        store.newest.segments = checkpoint_segments;
        store.newest.previous_segments = previous_segments;
        store.newest.replay_from = store.superblock.checkpoint.map_or(1, |root| root.replay_from);
        store.newest.bytes = checkpoint_bytes;
        store.counters.replayed_batches = report.batches;
        store.counters.replayed_blocks = report.blocks;
        // Counts as log that a checkpoint has to take over, so that replays do not add up over crashes.
        store.log.since_checkpoint = report.blocks * BLOCK_BYTES;
        store.shorten_lives(dev)?;
        Ok((store, mount_report))
    }

    /// A disk that was mounted many times and never lived to see a checkpoint gets two here, so that its
    /// superblock can go on telling its lives apart. (Two, since the one before the newest is kept usable.)
    fn shorten_lives(&mut self, dev: &dyn BlockDevice) -> Result<(), Error> {
        for _ in 0..2 {
            if self.superblock.lives.len() > MAX_LIVES_WITHOUT_CHECKPOINT && self.start_checkpoint() {
                self.drive(dev)?;
            }
        }
        Ok(())
    }

    /// Performs what the store wants, one operation at a time, until it wants nothing more.
    fn drive(&mut self, dev: &dyn BlockDevice) -> Result<(), Error> {
        let mut actions = Vec::new();
        self.pump(Instant::default(), &mut actions);
        while !actions.is_empty() {
            for action in std::mem::take(&mut actions) {
                let (io, buf, result) = match action {
                    Action::DiskRead { io, offset, mut buf } => {
                        let result = dev.read_at(&mut buf, offset);
                        (io, Some(buf), result)
                    }
                    Action::DiskWrite { io, offset, buf } => {
                        let result = write_pieces(dev, &buf, offset);
                        (io, Some(buf.into_head()), result)
                    }
                    Action::DiskFlush { io } => (io, None, dev.flush()),
                    Action::Answer { .. } => continue,
                };
                self.step(Instant::default(), Event::DiskDone { io, buf, result }, &mut actions);
            }
        }
        match self.failure() {
            Some(error) => Err(Error::new(ErrorKind::Io, error.message.clone())),
            None => Ok(()),
        }
    }
}

fn write_pieces(dev: &dyn BlockDevice, buf: &Gather, mut offset: u64) -> std::io::Result<()> {
    for piece in buf.pieces() {
        dev.write_at(piece, offset)?;
        offset += piece.len() as u64;
    }
    Ok(())
}

fn layout(len_bytes: u64, disk: DiskId) -> Superblock {
    let wanted = (len_bytes / SEGMENTS_PER_DISK).clamp(MIN_SEGMENT_BYTES, MAX_SEGMENT_BYTES);
    let segment_bytes = wanted / MIN_SEGMENT_BYTES * MIN_SEGMENT_BYTES;
    // Locations have 32 bits, of which the two highest values are taken: 16 TiB, less a segment or so.
    let addressable = u64::from(u32::MAX) * BLOCK_BYTES - segment_bytes;
    let segments = (len_bytes.min(addressable) - FIRST_SEGMENT_BYTES) / segment_bytes;
    let number = |value: u64| u32::try_from(value).expect("bounded by the addressable size");
    Superblock {
        disk,
        generation: 1,
        segment_blocks: number(segment_bytes / BLOCK_BYTES),
        segments: number(segments),
        first_block: number(FIRST_SEGMENT_BYTES / BLOCK_BYTES),
        checkpoint: None,
        previous: None,
        lives: Vec::new(),
    }
}

/// Writes both copies, one after the other, each made durable: if the one written last was whole before, one of
/// them is at any moment.
fn write_superblock(dev: &dyn BlockDevice, superblock: &Superblock, order: [usize; 2]) -> Result<(), Error> {
    let mut buf = AlignedBuf::zeroed(BLOCK_LEN);
    buf.copy_from_slice(&superblock.encode());
    for copy in order {
        dev.write_at(&buf, u64::from(COPY_BLOCKS[copy]) * BLOCK_BYTES)
            .and_then(|()| dev.flush())
            .map_err(|error| Error::io("the superblock can't be written", error))?;
    }
    Ok(())
}
