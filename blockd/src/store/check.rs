//! `ashlar disk check`: reads a disk offline, as recovery would and then all of it, and says what is wrong.
//! Nothing is written.

use super::chunk::Sum;
use super::limits::MAX_FINDINGS;
use super::recover::{Reader, Recovered, count_batches, read_superblock, recover};
use super::segments::Use;
use super::sums::{OneByOne, read_sums};
use crate::error::{Error, ErrorKind};
use proto::checksum::crc32;
use proto::disk::{Run, Slot, Superblock};
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use proto::{ChunkIndex, DiskId, Version, VolumeId};
use rt::buf::AlignedBuf;
use rt::device::BlockDevice;
use serde::Serialize;

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    pub disk: DiskId,
    /// Mounts of the disk so far.
    pub incarnation: u64,
    pub size_bytes: u64,
    pub segments: u64,
    pub free_segments: u64,
    /// The newest checkpoint's number, if there is one.
    pub checkpoint: Option<u64>,
    /// Batches in all segments that can be walked, and those that the next mount would replay.
    pub batches: u64,
    pub replay_batches: u64,
    pub volumes: u64,
    /// Blocks the index points to, each of which was read and checked, and those that were bad.
    pub live_blocks: u64,
    pub bad_blocks: u64,
    /// What is wrong with what counts: the first hundred of them.
    pub findings: Vec<Finding>,
    pub findings_total: u64,
    /// What is unusual and harms nothing.
    pub notes: Vec<String>,
}

/// Where something is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    Superblock,
    Checkpoint,
    /// The log to be replayed: the disk can't be mounted.
    Log,
    /// A live block's data does not match its checksum, or was lost before.
    Block,
    /// The device can't read it.
    Unreadable,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub kind: FindingKind,
    pub message: String,
}

impl CheckReport {
    /// Whether everything that counts is whole.
    pub fn is_clean(&self) -> bool {
        self.findings_total == 0
    }

    fn new(dev: &dyn BlockDevice, superblock: &Superblock) -> Self {
        Self {
            disk: superblock.disk,
            incarnation: superblock.lives.last().map_or(0, |life| life.incarnation),
            size_bytes: dev.len_bytes(),
            segments: u64::from(superblock.segments),
            free_segments: 0,
            checkpoint: superblock.checkpoint.map(|root| root.id),
            batches: 0,
            replay_batches: 0,
            volumes: 0,
            live_blocks: 0,
            bad_blocks: 0,
            findings: Vec::new(),
            findings_total: 0,
            notes: Vec::new(),
        }
    }

    fn find(&mut self, kind: FindingKind, message: String) {
        self.findings_total += 1;
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(Finding { kind, message });
        }
    }
}

/// A live block and what must be there.
struct Live {
    location: u32,
    version: Version,
    /// `None`: it was found bad before.
    sum: Option<Sum>,
    volume: VolumeId,
    chunk: ChunkIndex,
    block: u16,
}

/// Checks a disk. Fails only if `dev` is no disk that this build can read; damage is in the report.
pub fn check(dev: &dyn BlockDevice) -> Result<CheckReport, Error> {
    let (superblock, copies) = read_superblock(dev)?;
    let mut report = CheckReport::new(dev, &superblock);
    for (copy, problem) in copies.iter().enumerate() {
        if let Some(error) = problem {
            report.find(FindingKind::Superblock, format!("superblock copy {copy}: {error}"));
        }
    }
    let recovered = match recover(dev) {
        Ok(recovered) => recovered,
        Err(error) if error.kind == ErrorKind::Corrupt => {
            report.find(FindingKind::Log, error.message);
            return Ok(report);
        }
        Err(error) => return Err(error),
    };
    if let Some(error) = &recovered.report.checkpoint_error {
        report.find(FindingKind::Checkpoint, error.clone());
    } else if superblock.previous.is_some() && recovered.superblock.previous.is_none() {
        report.notes.push("the checkpoint before the newest can't be read; the newest is whole".to_owned());
    }
    if recovered.report.torn_batches > 0 {
        let torn = recovered.report.torn_batches;
        report.notes.push(format!("{torn} batches behind the end of the log were torn by a crash"));
    }
    report.replay_batches = recovered.report.batches;
    report.volumes = recovered.index.volumes.values().filter(|held| !held.deleted).count() as u64;
    report.free_segments = u64::from(recovered.segments.free_count());
    check_blocks(dev, &recovered, &mut report);
    check_segments(dev, &recovered, &mut report);
    Ok(report)
}

fn check_blocks(dev: &dyn BlockDevice, recovered: &Recovered, report: &mut CheckReport) {
    let mut live = live_blocks(recovered, report);
    live.sort_unstable_by_key(|block| block.location);
    report.live_blocks = live.len() as u64;
    let mut reader = Reader::new(dev);
    let mut single = AlignedBuf::zeroed(BLOCK_LEN);
    let end = recovered.superblock.end_block();
    let mut sums = OneByOne::default();
    for block in &live {
        let location = u64::from(block.location);
        let ask = |run: &Run| read_sums(dev, report.disk, &recovered.segments.geometry, run);
        let right = block.sum.and_then(|sum| sums.crc(sum, block.location, ask));
        let crc = match reader.get(location, 1, end) {
            Ok(data) => Ok(crc32(data)),
            // One bad sector fails a whole window; what is around it may be fine.
            Err(_) => dev.read_at(&mut single, location * BLOCK_BYTES).map(|()| crc32(&single)),
        };
        let problem = match crc {
            Ok(crc) if Some(crc) == right => continue,
            Ok(_) => (FindingKind::Block, "does not match its checksum".to_owned()),
            Err(error) => (FindingKind::Unreadable, format!("can't be read: {error}")),
        };
        report.bad_blocks += 1;
        report.find(problem.0, format!("{} at byte {} {}", name(block), location * BLOCK_BYTES, problem.1));
    }
}

fn name(block: &Live) -> String {
    let Live { volume, chunk, block, version, .. } = block;
    format!("volume {volume}, chunk {chunk}, block {block}, version {version}")
}

/// All blocks with data; those that were lost before are found here.
fn live_blocks(recovered: &Recovered, report: &mut CheckReport) -> Vec<Live> {
    let mut live = Vec::new();
    for (&volume, held) in &recovered.index.volumes {
        for (chunk, entry) in recovered.index.chunks_of(held, 0) {
            for (block, place) in entry.blocks() {
                let sum = entry.sum(block);
                let (location, version) = (place.location, place.version);
                let block = Live { location, version, sum, volume, chunk: ChunkIndex(chunk), block };
                if place.has_data() {
                    live.push(block);
                } else if place.location == Slot::LOST {
                    report.bad_blocks += 1;
                    report.find(
                        FindingKind::Block,
                        format!("{} was found bad and not repaired since", name(&block)),
                    );
                }
            }
        }
    }
    live
}

/// Walks every segment that holds batches. A header that is bad only makes the cleaner take the long way.
fn check_segments(dev: &dyn BlockDevice, recovered: &Recovered, report: &mut CheckReport) {
    let mut reader = Reader::new(dev);
    let segment_blocks = recovered.superblock.segment_blocks;
    for segment in 0..recovered.superblock.segments {
        let state = recovered.segments.get(segment);
        if state.used == Use::Free || state.used == Use::Checkpoint {
            continue;
        }
        let (batches, data_blocks) = count_batches(&recovered.superblock, segment, &mut reader);
        report.batches += batches;
        if data_blocks < u64::from(state.live) {
            report.notes.push(format!(
                "segment {segment} of {segment_blocks} blocks has a damaged header in front of live blocks; \
                 the index knows where they are"
            ));
        }
    }
}
