//! A chunk server as catch-up and scrub see it: a table of blocks. For tests of their cores.

use super::talk::{Peer, TalkInput, TalkOutput};
use proto::checksum::{BlockCrcs, crc32};
use proto::control::DiskPlace;
use proto::message::{
    BlockRange, BlockState, HelloReply, LIST_END, ListEntry, ListKind, OpenReply, ReadBlock, Reply,
    ReplyBody, Request, RequestBody, VolumeState,
};
use proto::placement::group_of;
use proto::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};
use proto::{
    ChunkId, ChunkIndex, DiskId, ErrorCode, GroupEpoch, GroupId, NodeId, Version, VolumeEpoch, VolumeId,
    WireError,
};
use rt::clock::Instant;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

pub const GROUP: GroupId = GroupId(0);
pub const GROUPS: u32 = 2;
pub const EPOCH: GroupEpoch = GroupEpoch(7);

/// One block: its version, what it holds (`None`: trimmed), and whether this copy is bad on the medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    pub version: Version,
    pub byte: Option<u8>,
    pub bad: bool,
}

type Place = (VolumeId, u32, u16);

#[derive(Debug, Clone, Default)]
pub struct Server {
    pub blocks: BTreeMap<Place, Held>,
    pub volumes: BTreeMap<VolumeId, (VolumeEpoch, bool)>,
    pub settled: Version,
    pub stable: BTreeMap<VolumeId, Version>,
    pub epoch: GroupEpoch,
    pub adopted: usize,
    /// What copies are answered with.
    pub refusal: Option<ErrorCode>,
    /// How often verifying says `Busy` first.
    pub busy: usize,
    pub copied_blocks: u64,
    pub opened: BTreeSet<VolumeId>,
    pub dead: bool,
}

/// A version of epoch 3.
pub fn version(counter: u64) -> Version {
    Version(Version::first_of(VolumeEpoch(3)).0 + counter)
}

/// The first chunks of a volume that lie in the group, or outside.
pub fn chunks_of(volume: u64, inside: bool) -> impl Iterator<Item = u32> {
    let volume = VolumeId(volume);
    (0..).filter(move |&index| {
        (group_of(ChunkId { volume, index: ChunkIndex(index) }, GROUPS) == GROUP) == inside
    })
}

impl Server {
    pub fn put(&mut self, (volume, chunk, block): (u64, u32, u16), counter: u64, byte: Option<u8>) {
        let volume = VolumeId(volume);
        self.volumes.entry(volume).or_insert((VolumeEpoch(3), false));
        self.take((volume, chunk, block), Held { version: version(counter), byte, bad: false }, false);
    }

    pub fn held(&mut self, (volume, chunk, block): (u64, u32, u16)) -> &mut Held {
        self.blocks.get_mut(&(VolumeId(volume), chunk, block)).unwrap()
    }

    fn take(&mut self, place: Place, new: Held, replaces: bool) {
        let old = self.blocks.get(&place).map_or(Version::ZERO, |held| held.version);
        if new.version > old || replaces && new.version == old {
            self.blocks.insert(place, new);
        }
    }

    pub fn chunk(&self, volume: VolumeId, chunk: u32) -> impl Iterator<Item = (u16, Held)> + '_ {
        let last = u16::try_from(BLOCKS_PER_CHUNK - 1).unwrap();
        self.blocks.range((volume, chunk, 0)..=(volume, chunk, last)).map(|(place, held)| (place.2, *held))
    }

    /// As strong as a chunk server's own: a sum of anything weaker has two writes that outweigh each other.
    fn digest(&self, volume: VolumeId, chunk: u32) -> u64 {
        let one = |(block, held): (u16, Held)| {
            let mut hasher = DefaultHasher::new();
            (block, held.version, held.byte.is_none()).hash(&mut hasher);
            hasher.finish()
        };
        self.chunk(volume, chunk).map(one).fold(0, u64::wrapping_add)
    }

    fn volume_of(body: &RequestBody) -> Option<VolumeId> {
        match body {
            RequestBody::Digests { volume, .. }
            | RequestBody::ListChunk { volume, .. }
            | RequestBody::Fence { volume, .. } => Some(*volume),
            RequestBody::CopyIn { range, .. }
            | RequestBody::CopyTrim { range, .. }
            | RequestBody::Verify { range }
            | RequestBody::Read { range, .. } => Some(range.volume),
            _ => None,
        }
    }

    pub fn answer(&mut self, request: &Request) -> ReplyBody {
        let refuse = |code| ReplyBody::Error(WireError::new(code, "refused"));
        if let Some(volume) = Self::volume_of(&request.body) {
            if self.volumes.get(&volume).is_some_and(|held| held.1) {
                return refuse(ErrorCode::Deleted);
            }
            assert!(self.opened.contains(&volume), "{:?} of a volume that is not open", request.body);
        }
        if request.group_epoch < self.epoch {
            return refuse(ErrorCode::StaleGroupEpoch);
        }
        match &request.body {
            RequestBody::Hello { disk, .. } => {
                ReplyBody::Hello(HelloReply { disk: *disk, incarnation: 1, capacity_bytes: 1 })
            }
            RequestBody::AdoptGroup { group } => {
                assert_eq!(*group, GROUP);
                self.adopted += 1;
                self.epoch = request.group_epoch;
                ReplyBody::Ack
            }
            RequestBody::Volumes { cursor } => self.list_volumes(*cursor),
            RequestBody::Open { volume, .. } => {
                let (fence, deleted) = *self.volumes.entry(*volume).or_default();
                if deleted {
                    return refuse(ErrorCode::Deleted);
                }
                self.opened.insert(*volume);
                let (settled, highest) = (self.settled, self.settled);
                let stable = self.stable.get(volume).copied().unwrap_or_default();
                ReplyBody::Open(OpenReply {
                    volume: *volume,
                    settled,
                    stable,
                    highest,
                    held_sequence: 0,
                    fence,
                })
            }
            RequestBody::DeleteVolume { volume, epoch } => {
                let held = self.volumes.entry(*volume).or_default();
                assert!(held.1 || *epoch >= held.0, "a delete below the fence");
                held.1 = true;
                self.blocks.retain(|place, _| place.0 != *volume);
                ReplyBody::Ack
            }
            RequestBody::Fence { volume, epoch } => {
                let held = self.volumes.entry(*volume).or_default();
                held.0 = held.0.max(*epoch);
                ReplyBody::Ack
            }
            RequestBody::Flush { volume, stable, whole, .. } => {
                assert!(self.opened.contains(volume) && self.adopted > 0 && !whole);
                self.stable.insert(*volume, *stable);
                ReplyBody::Ack
            }
            RequestBody::Digests { volume, group, groups, cursor } => {
                assert_eq!((*group, *groups), (GROUP, GROUPS));
                self.list_digests(*volume, *cursor)
            }
            RequestBody::ListChunk { volume, chunk } => {
                let entry = |(block, held): (u16, Held)| ListEntry {
                    chunk: *chunk,
                    first: block,
                    count: 1,
                    version: held.version,
                    kind: if held.byte.is_some() { ListKind::Data } else { ListKind::Trimmed },
                };
                let entries = self.chunk(*volume, chunk.0).map(entry).collect();
                ReplyBody::List { entries, next_cursor: LIST_END }
            }
            RequestBody::Verify { range } if self.busy == 0 => {
                ReplyBody::Verify { range: *range, blocks: self.read(range).0 }
            }
            RequestBody::Verify { .. } => {
                self.busy -= 1;
                refuse(ErrorCode::Busy)
            }
            RequestBody::Read { range, .. } => {
                let (blocks, data) = self.read(range);
                ReplyBody::Read { range: *range, blocks, data: vec![data.into()] }
            }
            RequestBody::CopyIn { .. } | RequestBody::CopyTrim { .. } if self.refusal.is_some() => {
                refuse(self.refusal.unwrap())
            }
            RequestBody::CopyIn { range, version, expect, crcs, data } => {
                let held =
                    |block| self.blocks.get(&(range.volume, range.chunk.0, block)).map(|held| held.version);
                let changed = |expect: Version| {
                    (range.first..range.first + range.count).any(|b| held(b).unwrap_or_default() != expect)
                };
                if expect.is_some_and(changed) {
                    return refuse(ErrorCode::Changed);
                }
                assert_eq!(BlockCrcs::of(data), *crcs);
                self.copy(range, *version, data.chunks(BLOCK_LEN).map(|block| Some(block[0])));
                self.copied_blocks += u64::from(range.count);
                ReplyBody::Ack
            }
            RequestBody::CopyTrim { range, version } => {
                self.copy(range, *version, std::iter::repeat_n(None, usize::from(range.count)));
                ReplyBody::Ack
            }
            other => panic!("nobody should ask {other:?}"),
        }
    }

    fn list_volumes(&self, cursor: u64) -> ReplyBody {
        let mut held = self.volumes.range(VolumeId(cursor)..);
        let state = |(&volume, &(fence, deleted)): (&VolumeId, &_)| VolumeState { volume, fence, deleted };
        let volumes = held.by_ref().take(2).map(state).collect();
        ReplyBody::Volumes { volumes, next: held.next().map_or(LIST_END, |(volume, _)| volume.0) }
    }

    fn list_digests(&self, volume: VolumeId, cursor: u64) -> ReplyBody {
        let all: BTreeSet<u32> =
            self.blocks.keys().filter(|place| place.0 == volume).map(|place| place.1).collect();
        let mut left = all.range(u32::try_from(cursor).unwrap()..).copied();
        let inside = |&index: &u32| group_of(ChunkId { volume, index: ChunkIndex(index) }, GROUPS) == GROUP;
        let page = left.by_ref().take(3).filter(inside);
        let chunks = page.map(|chunk| (ChunkIndex(chunk), self.digest(volume, chunk))).collect();
        ReplyBody::Digests { chunks, next: left.next().map_or(LIST_END, u64::from) }
    }

    fn read(&self, range: &BlockRange) -> (Vec<ReadBlock>, Vec<u8>) {
        let mut data = Vec::new();
        let mut one = |block| {
            let hole = ReadBlock { version: Version::ZERO, crc: 0, state: BlockState::Hole };
            let Some(held) = self.blocks.get(&(range.volume, range.chunk.0, block)) else { return hole };
            let (version, bytes) = (held.version, [held.byte.unwrap_or(0); BLOCK_LEN]);
            let state = match held.byte {
                None => BlockState::Trimmed,
                Some(_) if held.bad => BlockState::Corrupt,
                Some(_) => BlockState::Data,
            };
            if state == BlockState::Data {
                data.extend_from_slice(&bytes);
            }
            ReadBlock { version, crc: crc32(&bytes), state }
        };
        let blocks = (range.first..range.first + range.count).map(&mut one).collect();
        (blocks, data)
    }

    fn copy(&mut self, range: &BlockRange, version: Version, bytes: impl Iterator<Item = Option<u8>>) {
        assert!(version.epoch() <= self.volumes[&range.volume].0, "a copy above the fence");
        for (block, byte) in (range.first..).zip(bytes) {
            self.take((range.volume, range.chunk.0, block), Held { version, byte, bad: false }, true);
        }
    }
}

pub fn place(number: u8) -> DiskPlace {
    let addr = format!("127.0.0.1:{}", 4000 + u16::from(number)).parse().unwrap();
    DiskPlace { disk: DiskId([number; 16]), node: NodeId(1), addr }
}

/// Runs a core against fake servers, one request at a time, until it is done. `between` is called before
/// each answer.
pub fn drive<R>(
    servers: &mut [Server],
    mut step: impl FnMut(Instant, TalkInput, &mut Vec<TalkOutput<R>>),
    deadline: impl Fn() -> Instant,
    mut between: impl FnMut(&mut [Server], usize),
) -> Result<R, crate::Error> {
    let mut now = Instant(1);
    let mut inputs = VecDeque::from([TalkInput::Tick]);
    let mut queue: VecDeque<(Peer, Request)> = VecDeque::new();
    let mut answered = 0;
    for _ in 0..1_000_000 {
        let mut out = Vec::new();
        if let Some(input) = inputs.pop_front() {
            step(now, input, &mut out);
        } else if let Some((peer, request)) = queue.pop_front() {
            between(servers, answered);
            answered += 1;
            if servers[peer.0].dead {
                step(now, TalkInput::Disconnected(peer, "killed".into()), &mut out);
            } else {
                let body = servers[peer.0].answer(&request);
                let reply = Reply { sequence: request.sequence, body };
                step(now, TalkInput::Reply(peer, reply), &mut out);
            }
        } else {
            now = deadline().max(Instant(now.0 + 1_000_000));
            step(now, TalkInput::Tick, &mut out);
        }
        for output in out {
            match output {
                TalkOutput::Connect(peer) if servers[peer.0].dead => {
                    inputs.push_back(TalkInput::Disconnected(peer, "nobody listens".into()));
                }
                TalkOutput::Connect(peer) => inputs.push_back(TalkInput::Connected(peer)),
                TalkOutput::Send(peer, request) => queue.push_back((peer, request)),
                TalkOutput::Done(result) => return result,
            }
        }
    }
    panic!("the run does not end");
}
