//! Recovery: the newest checkpoint, then every batch after it that is whole, in order.
//!
//! What comes back is a prefix of the log. Batches that were durable before the crash are taken as they
//! are (a flipped bit in their data shows when the block is read); behind them, a batch counts only if its
//! data matches its CRCs, and the first that does not ends the log. If a batch that was durable is missing,
//! the disk has lost what it promised to keep: that is an error, not a shorter log.

use super::index::Index;
use super::limits::RECOVERY_WINDOW_BYTES;
use super::segments::{Geometry, Segments, Use};
use super::session::Sessions;
use crate::error::{Error, ErrorKind};
use proto::checksum::crc32;
use proto::disk::superblock::COPY_BLOCKS;
use proto::disk::{
    BatchHeader, CheckpointCommit, CheckpointRoot, DiskError, Entry, PartHeader, PartKind, Superblock,
    entries, is_zero,
};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use proto::{GroupEpoch, GroupId};
use rt::buf::AlignedBuf;
use rt::device::BlockDevice;
use std::collections::BTreeMap;
use std::io;

/// What a disk holds, in memory.
pub(super) struct Recovered {
    pub superblock: Superblock,
    pub index: Index,
    pub segments: Segments,
    pub sessions: Sessions,
    pub groups: BTreeMap<GroupId, GroupEpoch>,
    pub next_sequence: u64,
    /// Segments of the newest and the previous checkpoint, and the newest's size.
    pub checkpoint_segments: Vec<u32>,
    pub previous_segments: Vec<u32>,
    pub checkpoint_bytes: u64,
    pub report: Replay,
}

/// What recovery did and what it noticed.
#[derive(Debug, Clone, Default)]
pub(super) struct Replay {
    pub batches: u64,
    pub blocks: u64,
    pub bytes_read: u64,
    /// Batches beyond the end of the log: torn by the crash, never acked as durable.
    pub torn_batches: u64,
    /// What is wrong with each copy of the superblock.
    pub copies: [Option<DiskError>; 2],
    /// Why the newest checkpoint could not be used.
    pub checkpoint_error: Option<String>,
}

/// A batch found on the disk, its header and entries checked.
pub(super) struct Found {
    pub header: BatchHeader,
    pub entries: Vec<u8>,
}

/// Reads of blocks through a large window, so that walking a log costs few reads.
pub(super) struct Reader<'a> {
    dev: &'a dyn BlockDevice,
    end_block: u64,
    buf: AlignedBuf,
    start: u64,
    blocks: u64,
    pub bytes_read: u64,
}

impl<'a> Reader<'a> {
    pub fn new(dev: &'a dyn BlockDevice) -> Self {
        // What is handed out was read before.
        let buf = AlignedBuf::recycled(RECOVERY_WINDOW_BYTES);
        Self { dev, end_block: dev.len_bytes() / BLOCK_BYTES, buf, start: 0, blocks: 0, bytes_read: 0 }
    }

    /// `count` blocks from `first`; reads ahead as far as the window goes, but not past `limit`.
    pub fn get(&mut self, first: u64, count: u32, limit: u64) -> io::Result<&[u8]> {
        let end = first + u64::from(count);
        if first < self.start || end > self.start + self.blocks {
            let window = (RECOVERY_WINDOW_BYTES / BLOCK_LEN) as u64;
            let last = limit.min(self.end_block).min(first + window);
            if end > last {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    "past the end of the segment or disk",
                ));
            }
            self.blocks = 0;
            let len = to_len(last - first);
            self.dev.read_at(&mut self.buf[..len], first * BLOCK_BYTES)?;
            (self.start, self.blocks) = (first, last - first);
            self.bytes_read += len as u64;
        }
        let from = to_len(first - self.start);
        Ok(&self.buf[from..from + count as usize * BLOCK_LEN])
    }
}

fn to_len(blocks: u64) -> usize {
    usize::try_from(blocks).expect("within the window") * BLOCK_LEN
}

/// Reads both superblocks and returns the one that counts, with what is wrong with either.
pub(super) fn read_superblock(dev: &dyn BlockDevice) -> Result<(Superblock, [Option<DiskError>; 2]), Error> {
    let mut best: Option<Superblock> = None;
    let mut problems = [None, None];
    let mut newer = None;
    for (problem, block) in problems.iter_mut().zip(COPY_BLOCKS) {
        let offset = u64::from(block) * BLOCK_BYTES;
        if offset + BLOCK_BYTES > dev.len_bytes() {
            *problem = Some(DiskError::Magic);
            continue;
        }
        let mut buf = AlignedBuf::zeroed(BLOCK_LEN);
        dev.read_at(&mut buf, offset).map_err(|error| Error::io("the superblock can't be read", error))?;
        let bytes: &[u8; BLOCK_LEN] = buf[..].try_into().expect("one block");
        match Superblock::decode(bytes) {
            Ok(superblock) => {
                if best.as_ref().is_none_or(|best| superblock.generation > best.generation) {
                    best = Some(superblock);
                }
            }
            Err(error) => {
                if let DiskError::NewerFormat(version) = error {
                    newer = Some(version);
                }
                *problem = Some(error);
            }
        }
    }
    match (best, newer) {
        (Some(superblock), _) => {
            if superblock.end_block() > dev.len_bytes() / BLOCK_BYTES {
                let wanted = proto::size::show(superblock.end_block() * BLOCK_BYTES);
                let message = format!(
                    "the disk was formatted with {wanted} and now has {}: it was cut short",
                    proto::size::show(dev.len_bytes())
                );
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
            Ok((superblock, problems))
        }
        (None, Some(version)) => Err(Error::new(
            ErrorKind::NewerFormat,
            format!(
                "the disk has format version {version}, and this program knows up to {}; use a newer one",
                proto::disk::FORMAT_VERSION
            ),
        )),
        (None, None) if problems == [Some(DiskError::Magic); 2] => {
            Err(Error::new(ErrorKind::NotADisk, "this is no Ashlar disk: neither superblock is there"))
        }
        (None, None) => Err(Error::new(
            ErrorKind::Corrupt,
            "both superblocks are damaged; this disk must be replaced and rebuilt from its peers",
        )),
    }
}

/// Brings a disk's content back. Writes nothing.
pub(super) fn recover(dev: &dyn BlockDevice) -> Result<Recovered, Error> {
    let (mut superblock, copies) = read_superblock(dev)?;
    let mut reader = Reader::new(dev);
    let durable = durable_sequence(&superblock);
    let mut report = Replay { copies, ..Replay::default() };
    let newest = superblock.checkpoint;
    let mut loaded = load(&superblock, newest, &mut reader);
    if let Err(error) = &loaded {
        report.checkpoint_error = Some(error.to_string());
        tracing::error!(disk = %superblock.disk, %error, "the newest checkpoint is damaged; trying the one before");
        superblock.checkpoint = superblock.previous.take();
        loaded = load(&superblock, superblock.checkpoint, &mut reader);
    }
    let (mut state, commit) = loaded.map_err(|error| damaged(&superblock, &error.to_string()))?;
    if let Some(previous) = superblock.previous {
        match read_commit(&superblock, previous, &mut reader) {
            Ok((commit, _)) => {
                state.previous_segments = commit.segments.iter().map(|&(segment, _)| segment).collect();
            }
            Err(_) => superblock.previous = None,
        }
    }
    let pointed: Vec<bool> = (0..superblock.segments).map(|s| state.segments.get(s).live > 0).collect();
    let mut found = find_batches(&superblock, commit.as_ref(), &mut reader);
    found.sort_by_key(|found| found.header.sequence);
    let from = commit.as_ref().map_or(1, |commit| commit.replay_from);
    let cut = check_log(&superblock, &found, (from, durable), &mut reader, &mut report)?;
    for batch in &found {
        if batch.header.sequence < cut {
            // Not for torn ones: their sequences come again, and a segment must not look younger than it is.
            let segment = state.segments.get_mut(batch.header.segment);
            segment.last_sequence = batch.header.sequence;
            segment.data_sequence = batch.header.sequence;
            report.batches += 1;
            report.blocks += u64::from(batch.header.data_blocks);
            state.replay(batch);
        } else {
            report.torn_batches += 1;
        }
    }
    state.settle_segments(&pointed, &found, cut);
    report.bytes_read = reader.bytes_read;
    Ok(Recovered { superblock, next_sequence: cut, report, ..state })
}

/// Every batch below it was durable when somebody last said so.
fn durable_sequence(superblock: &Superblock) -> u64 {
    let life = superblock.lives.last().map_or(1, |life| life.first_sequence);
    superblock.checkpoint.map_or(life, |root| life.max(root.next_sequence))
}

fn damaged(superblock: &Superblock, why: &str) -> Error {
    Error::new(
        ErrorKind::Corrupt,
        format!("disk {} can't be brought back whole: {why}; rebuild it from its peers", superblock.disk),
    )
}

/// Reads a checkpoint's commit part; also returns its size in bytes.
fn read_commit(
    superblock: &Superblock,
    root: CheckpointRoot,
    reader: &mut Reader<'_>,
) -> Result<(CheckpointCommit, u64), Error> {
    let place = Place { checkpoint: root.id, segment: root.segment, block: root.block };
    let (header, payload) = read_part(superblock, place, reader)?;
    let commit = CheckpointCommit::decode(&payload).map_err(|error| bad_part(place, &error))?;
    let listed = commit.segments.iter().all(|&(segment, _)| segment < superblock.segments)
        && commit
            .heads
            .iter()
            .all(|h| h.segment < superblock.segments && h.block <= superblock.segment_blocks);
    if header.kind != PartKind::Commit || header.part != commit.parts || !listed {
        return Err(bad_part(place, &DiskError::Content("it is not the commit it should be")));
    }
    Ok((commit, header.blocks() as u64 * BLOCK_BYTES))
}

#[derive(Debug, Clone, Copy)]
struct Place {
    checkpoint: u64,
    segment: u32,
    block: u32,
}

fn bad_part(place: Place, error: &DiskError) -> Error {
    let Place { checkpoint, segment, block } = place;
    let message = format!("checkpoint {checkpoint}, segment {segment}, block {block}: {error}");
    Error::new(ErrorKind::Corrupt, message)
}

fn read_part(
    superblock: &Superblock,
    place: Place,
    reader: &mut Reader<'_>,
) -> Result<(PartHeader, Vec<u8>), Error> {
    let geometry = Geometry::of(superblock);
    let io = |error: io::Error| Error::io("a checkpoint can't be read", error);
    let start = u64::from(geometry.start(place.segment));
    let limit = start + u64::from(geometry.segment_blocks);
    let at = start + u64::from(place.block);
    let bad = |error: DiskError| bad_part(place, &error);
    let header = PartHeader::decode(reader.get(at, 1, limit).map_err(io)?).map_err(bad)?;
    let here = (header.disk, header.checkpoint, header.segment, header.block);
    if here != (superblock.disk, place.checkpoint, place.segment, place.block) {
        return Err(bad(DiskError::Content("it belongs somewhere else")));
    }
    let blocks = u32::try_from(header.blocks()).expect("bounded by the header's check");
    let part = reader.get(at, blocks, limit).map_err(io)?;
    let payload = header.check_payload(part).map_err(bad)?.to_vec();
    Ok((header, payload))
}

/// Loads a checkpoint, or an empty state if there is none.
fn load(
    superblock: &Superblock,
    root: Option<CheckpointRoot>,
    reader: &mut Reader<'_>,
) -> Result<(Recovered, Option<CheckpointCommit>), Error> {
    let mut state = Recovered {
        superblock: superblock.clone(),
        index: Index::default(),
        segments: Segments::new(Geometry::of(superblock)),
        sessions: Sessions::default(),
        groups: BTreeMap::new(),
        next_sequence: 1,
        checkpoint_segments: Vec::new(),
        previous_segments: Vec::new(),
        checkpoint_bytes: 0,
        report: Replay::default(),
    };
    let Some(root) = root else { return Ok((state, None)) };
    let (commit, commit_bytes) = read_commit(superblock, root, reader)?;
    state.checkpoint_bytes = commit_bytes;
    let mut part = 0;
    for &(segment, parts) in &commit.segments {
        let mut block = 0;
        for _ in 0..parts {
            let place = Place { checkpoint: root.id, segment, block };
            let (header, payload) = read_part(superblock, place, reader)?;
            if header.part != part || header.kind != PartKind::Records {
                return Err(bad_part(place, &DiskError::Content("the parts are out of order")));
            }
            state.load_records(&payload).map_err(|error| bad_part(place, &error))?;
            part += 1;
            block += u32::try_from(header.blocks()).expect("a part is small");
            state.checkpoint_bytes += header.blocks() as u64 * BLOCK_BYTES;
        }
        state.checkpoint_segments.push(segment);
    }
    Ok((state, Some(commit)))
}

/// Walks every segment that may hold batches to replay. What belongs to a life that ended before the
/// batch's sequence is left out: it was beyond the end that recovery found then.
fn find_batches(
    superblock: &Superblock,
    commit: Option<&CheckpointCommit>,
    reader: &mut Reader<'_>,
) -> Vec<Found> {
    let from = commit.map_or(1, |commit| commit.replay_from);
    let mut found = Vec::new();
    for segment in 0..superblock.segments {
        let head = commit.and_then(|commit| commit.heads.iter().find(|head| head.segment == segment));
        // A segment that was open at the checkpoint may have been freed and begun anew since.
        let head = head.filter(|head| {
            let geometry = Geometry::of(superblock);
            let limit = u64::from(geometry.start(segment)) + u64::from(geometry.segment_blocks);
            let first = batch_at(superblock, (segment, 0), reader, limit);
            first.is_none_or(|first| first.header.segment_first == head.segment_first)
        });
        let (block, life) = head.map_or((0, None), |head| (head.block, Some(head.segment_first)));
        walk_segment(superblock, (segment, block, life), reader, |batch| {
            // A segment that starts before the checkpoint and was not open then has nothing new.
            let old = batch.header.sequence < from;
            if !old && life_holds(superblock, &batch.header) {
                found.push(batch);
            }
            !old
        });
    }
    found
}

fn life_holds(superblock: &Superblock, header: &BatchHeader) -> bool {
    let lives = &superblock.lives;
    let Some(at) = lives.iter().position(|life| life.incarnation == header.incarnation) else { return false };
    let end = lives.get(at + 1).map_or(u64::MAX, |next| next.first_sequence);
    (lives[at].first_sequence..end).contains(&header.sequence)
}

/// Gives `each` the batches of a segment from `block` on, until it has had enough or the segment ends.
///
/// Where no batch is, the log may have ended, or a header may be damaged: the rest of the segment is
/// searched for another batch of the same life, which then shows by its sequence that one is missing. Only
/// segments that surely hold nothing new are spared that.
fn walk_segment(
    superblock: &Superblock,
    (segment, mut block, mut life): (u32, u32, Option<u64>),
    reader: &mut Reader<'_>,
    mut each: impl FnMut(Found) -> bool,
) {
    let geometry = Geometry::of(superblock);
    let start = u64::from(geometry.start(segment));
    let limit = start + u64::from(geometry.segment_blocks);
    let mut sequence = 0;
    if life.is_none() && first_block_is_foreign(superblock, segment, reader) {
        return;
    }
    while block < geometry.segment_blocks {
        let found = batch_at(superblock, (segment, block), reader, limit);
        let found = found.filter(|found| {
            found.header.sequence > sequence && life.is_none_or(|life| life == found.header.segment_first)
        });
        let Some(found) = found else {
            block += 1;
            continue;
        };
        life = Some(found.header.segment_first);
        sequence = found.header.sequence;
        block += found.header.blocks();
        if !each(found) {
            return;
        }
    }
}

/// Whether a segment's first block says by itself that no batch to replay is in it: it was never written,
/// or is a checkpoint's.
fn first_block_is_foreign(superblock: &Superblock, segment: u32, reader: &mut Reader<'_>) -> bool {
    let start = u64::from(Geometry::of(superblock).start(segment));
    let Ok(bytes) = reader.get(start, 1, start + 1) else { return false };
    is_zero(bytes) || PartHeader::decode(bytes).is_ok()
}

/// The whole header of the batch at a block of a segment, if one is there.
fn batch_at(
    superblock: &Superblock,
    (segment, block): (u32, u32),
    reader: &mut Reader<'_>,
    limit: u64,
) -> Option<Found> {
    let geometry = Geometry::of(superblock);
    let at = u64::from(geometry.start(segment)) + u64::from(block);
    // A first look at a segment takes one block: most have nothing to replay.
    let ahead = if block == 0 { at + 1 } else { limit };
    let header = BatchHeader::decode(reader.get(at, 1, ahead).ok()?).ok()?;
    let ours = header.disk == superblock.disk
        && (header.segment, header.block) == (segment, block)
        && block + header.blocks() <= geometry.segment_blocks;
    if !ours {
        return None;
    }
    let blocks = reader.get(at, u32::from(header.header_blocks), limit).ok()?;
    let entries = header.check_entries(blocks).ok()?.to_vec();
    Some(Found { header, entries })
}

/// Batches, and data blocks in them, that a walk of a segment from its start finds.
pub(super) fn count_batches(superblock: &Superblock, segment: u32, reader: &mut Reader<'_>) -> (u64, u64) {
    let (mut batches, mut data_blocks) = (0, 0);
    walk_segment(superblock, (segment, 0, None), reader, |found| {
        batches += 1;
        data_blocks += u64::from(found.header.data_blocks);
        true
    });
    (batches, data_blocks)
}

/// The first sequence that is not part of the log any more.
fn check_log(
    superblock: &Superblock,
    found: &[Found],
    (from, durable): (u64, u64),
    reader: &mut Reader<'_>,
    report: &mut Replay,
) -> Result<u64, Error> {
    let durable = found.iter().map(|batch| batch.header.flushed).fold(durable, u64::max);
    let mut next = from;
    for batch in found {
        if batch.header.sequence != next {
            break;
        }
        if next >= durable && !data_is_whole(superblock, batch, reader) {
            break;
        }
        next += 1;
    }
    if next < durable {
        let lost = durable - next;
        let why = format!("batch {next} of its log is damaged, and {lost} from there on were durable");
        return Err(damaged(superblock, &why));
    }
    report.torn_batches = 0;
    Ok(next)
}

fn data_is_whole(superblock: &Superblock, batch: &Found, reader: &mut Reader<'_>) -> bool {
    let geometry = Geometry::of(superblock);
    let header = &batch.header;
    let start = u64::from(geometry.start(header.segment));
    let limit = start + u64::from(geometry.segment_blocks);
    let mut at = start + u64::from(header.block) + u64::from(header.header_blocks);
    for entry in entries(&batch.entries).flatten() {
        let Entry::Data { crcs, .. } = entry else { continue };
        for crc in crcs.chunks_exact(4) {
            let Ok(block) = reader.get(at, 1, limit) else { return false };
            if crc32(block).to_le_bytes() != crc {
                return false;
            }
            at += 1;
        }
    }
    true
}

impl Recovered {
    /// Says what each segment is for. Free is only what neither the checkpoint nor the log after it needs:
    /// after another crash, recovery begins at that checkpoint again.
    fn settle_segments(&mut self, pointed: &[bool], found: &[Found], cut: u64) {
        let mut needed = pointed.to_vec();
        for batch in found.iter().filter(|batch| batch.header.sequence < cut) {
            needed[batch.header.segment as usize] = true;
        }
        for (segment, needed) in (0u32..).zip(needed) {
            let keep = needed || self.segments.get(segment).live > 0;
            self.segments.get_mut(segment).used = if keep { Use::Sealed } else { Use::Free };
        }
        for &segment in self.checkpoint_segments.iter().chain(&self.previous_segments) {
            self.segments.get_mut(segment).used = Use::Checkpoint;
        }
        self.segments.recount();
    }
}
