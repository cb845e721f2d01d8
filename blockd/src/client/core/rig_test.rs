//! A core with scripted members and a control plane, for the tests of its rules.

use super::*;
use crate::client::{Holes, VolumeOp};
use bytes::Bytes;
use proto::checksum::{BlockCrcs, crc32};
use proto::control::{DiskPlace, Group, Lease, Member, MemberState, PoolMap};
use proto::message::{
    BlockRange, BlockState, HelloReply, LIST_END, ListEntry, ListKind, OpenReply, ReadBlock, Reply,
    ReplyBody, WriteKind,
};
use proto::placement::group_of;
use proto::units::BLOCK_LEN;
use proto::{ChunkId, ChunkIndex, DiskId, ErrorCode, GroupId, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Disks there are; the first three are the members at first.
pub const DISKS: usize = 5;
pub const GROUPS: u32 = 4;

type Block = (Version, Option<Bytes>);

/// A member that keeps blocks in memory and answers at once.
#[derive(Default)]
pub struct FakeMember {
    pub blocks: BTreeMap<(u32, u16), Block>,
    pub corrupt: Vec<(u32, u16)>,
    pub incarnation: u64,
    pub held_sequence: u64,
    pub fence: VolumeEpoch,
    pub stable: Version,
    /// It has no room for data where it has none, but for an open's, as far as this reserve goes.
    pub full: bool,
    pub reserve_blocks: usize,
    pub flushes: usize,
    pub repairs: usize,
    pub fail_flush: bool,
    /// Its disk has failed: every request of the volume gets that for an answer.
    pub broken: bool,
    /// Its server has another disk.
    pub replaced: bool,
    /// The least epoch that it accepts of each group.
    pub adopted: BTreeMap<u32, GroupEpoch>,
    pub reads: usize,
    /// The highest horizon it was told, settled or stable.
    pub told: Version,
    /// Whether its newest flush said that all groups are whole.
    pub whole: bool,
    pub sequence: u64,
    /// What a power cut leaves: blocks and sequence.
    durable: (BTreeMap<(u32, u16), Block>, u64),
}

impl FakeMember {
    /// Starts again with all it had.
    pub fn restart(&mut self) {
        self.incarnation += 1;
        self.held_sequence = self.sequence;
    }

    /// Starts again with what it had flushed.
    pub fn power_cut(&mut self) {
        (self.blocks, self.sequence) = self.durable.clone();
        self.restart();
    }

    /// Takes a group's blocks that are newer, durably.
    pub fn copy_in(&mut self, blocks: &BTreeMap<(u32, u16), Block>, group: u32) {
        for (&(chunk, first), block) in blocks {
            let id = ChunkId { volume: VolumeId(7), index: ChunkIndex(chunk) };
            let held = self.blocks.get(&(chunk, first)).map_or(Version::ZERO, |held| held.0);
            if group_of(id, GROUPS).0 == group && block.0 > held {
                self.blocks.insert((chunk, first), block.clone());
            }
        }
        self.durable = (self.blocks.clone(), self.sequence);
    }

    /// Refuses what is of an older membership of the group, and learns of a newer one.
    fn check_group(&mut self, range: &BlockRange, epoch: GroupEpoch) -> bool {
        let group = group_of(ChunkId { volume: range.volume, index: range.chunk }, GROUPS).0;
        let known = self.adopted.entry(group).or_insert(epoch);
        *known = (*known).max(epoch);
        *known == epoch
    }

    /// As a store sees it, which asks for no room where there is data.
    fn has_no_room(&mut self, body: &RequestBody) -> bool {
        let RequestBody::Write { range, kind, .. } = body else { return false };
        let has_data =
            |at: u16| self.blocks.get(&(range.chunk.0, range.first + at)).is_some_and(|b| b.1.is_some());
        let fresh = (0..range.count).filter(|&at| !has_data(at)).count();
        if !self.full || fresh == 0 {
            return false;
        }
        let taken = *kind == WriteKind::Reconcile && fresh <= self.reserve_blocks;
        self.reserve_blocks -= if taken { fresh } else { 0 };
        !taken
    }

    fn put(&mut self, range: &BlockRange, version: Version, data: Option<&Bytes>, repair: bool) {
        for at in 0..range.count {
            let key = (range.chunk.0, range.first + at);
            let from = usize::from(at) * BLOCK_LEN;
            let data = data.map(|data| data.slice(from..from + BLOCK_LEN));
            let held = self.blocks.get(&key).map_or(Version::ZERO, |block| block.0);
            if version > held || repair && version == held {
                self.blocks.insert(key, (version, data));
                self.corrupt.retain(|bad| *bad != key);
            }
        }
    }

    fn read(&self, range: BlockRange) -> ReplyBody {
        let (mut blocks, mut data) = (Vec::new(), Vec::new());
        for at in 0..range.count {
            let key = (range.chunk.0, range.first + at);
            let (version, crc, state) = match self.blocks.get(&key) {
                None => (Version::ZERO, 0, BlockState::Hole),
                Some((version, None)) => (*version, 0, BlockState::Trimmed),
                Some((version, Some(_))) if self.corrupt.contains(&key) => (*version, 0, BlockState::Corrupt),
                Some((version, Some(bytes))) => {
                    data.push(bytes.clone());
                    (*version, crc32(bytes), BlockState::Data)
                }
            };
            blocks.push(ReadBlock { version, crc, state });
        }
        ReplyBody::Read { range, blocks, data }
    }

    fn answer(&mut self, number: usize, request: Request) -> Reply {
        let refuse = |code| ReplyBody::Error(proto::WireError::new(code, "no"));
        self.told = self.told.max(request.settled);
        let ranged = match &request.body {
            RequestBody::Write { range, .. }
            | RequestBody::Trim { range, .. }
            | RequestBody::Read { range, .. } => Some(*range),
            _ => None,
        };
        let is_write = matches!(request.body, RequestBody::Write { .. } | RequestBody::Trim { .. });
        if self.broken && !matches!(request.body, RequestBody::Hello { .. }) {
            return Reply { sequence: request.sequence, body: refuse(ErrorCode::Io) };
        }
        if ranged.is_some_and(|range| !self.check_group(&range, request.group_epoch)) {
            return Reply { sequence: request.sequence, body: refuse(ErrorCode::StaleGroupEpoch) };
        }
        let refused = self.has_no_room(&request.body);
        if is_write && !refused {
            self.sequence = self.sequence.max(request.sequence);
        }
        let body = match request.body {
            RequestBody::Hello { .. } if self.replaced => refuse(ErrorCode::Unauthorized),
            RequestBody::Hello { .. } => ReplyBody::Hello(HelloReply {
                disk: disk(number),
                incarnation: self.incarnation,
                capacity_bytes: 1 << 40,
            }),
            RequestBody::Open { volume, epoch, .. } => {
                self.fence = self.fence.max(epoch);
                let highest = self.blocks.values().map(|block| block.0).max().unwrap_or_default();
                ReplyBody::Open(OpenReply {
                    volume,
                    settled: Version::ZERO,
                    stable: self.stable,
                    highest,
                    held_sequence: self.held_sequence,
                    fence: self.fence,
                })
            }
            RequestBody::List { above, .. } => {
                let entry = |(&(chunk, first), (version, data)): (&(u32, u16), &Block)| ListEntry {
                    chunk: ChunkIndex(chunk),
                    first,
                    count: 1,
                    version: *version,
                    kind: if data.is_some() { ListKind::Data } else { ListKind::Trimmed },
                };
                let newer = self.blocks.iter().filter(|(_, block)| block.0 > above);
                ReplyBody::List { entries: newer.map(entry).collect(), next_cursor: LIST_END }
            }
            RequestBody::Write { .. } if refused => refuse(ErrorCode::NoSpace),
            RequestBody::Write { range, version, data, crcs, kind } => {
                assert_eq!(BlockCrcs::of(&data), crcs);
                self.repairs += usize::from(kind == WriteKind::Repair);
                self.put(&range, version, Some(&data), kind == WriteKind::Repair);
                ReplyBody::Ack
            }
            RequestBody::Trim { range, version, .. } => {
                self.put(&range, version, None, false);
                ReplyBody::Ack
            }
            RequestBody::Flush { .. } if self.fail_flush => refuse(ErrorCode::Io),
            RequestBody::Flush { stable, whole, .. } => {
                self.flushes += 1;
                self.stable = self.stable.max(stable);
                self.told = self.told.max(stable);
                self.whole = whole;
                self.durable = (self.blocks.clone(), self.sequence);
                ReplyBody::Ack
            }
            RequestBody::Read { range, .. } => {
                self.reads += 1;
                self.read(range)
            }
            _ => refuse(ErrorCode::BadRequest),
        };
        Reply { sequence: request.sequence, body }
    }
}

pub fn disk(number: usize) -> DiskId {
    DiskId([u8::try_from(number).unwrap() + 1; 16])
}

pub fn config(epoch: u32, on_full: OnFull, map: PoolMap) -> VolumeConfig {
    let lease = Lease { volume: VolumeId(7), epoch: VolumeEpoch(epoch), size_bytes: 64 << 20, map };
    VolumeConfig { lease, token: PoolToken([9; 32]), client: ClientId([3; 16]), on_full, control: None }
}

/// The control plane's side of membership, by its rules.
pub struct FakeControl {
    pub map: PoolMap,
    pub is_up: bool,
    /// Disks reported, with what was left of each report's groups.
    pub reports: Vec<(usize, usize)>,
    pub complaints: Vec<Complaint>,
}

impl FakeControl {
    fn new() -> Self {
        let place =
            |number| DiskPlace { disk: disk(number), node: NodeId(1), addr: "127.0.0.1:1".parse().unwrap() };
        let group = |id| Group {
            id: GroupId(id),
            epoch: GroupEpoch(1),
            members: (0..3).map(|number| Member::in_sync(disk(number))).collect(),
        };
        let map = PoolMap {
            groups: (0..GROUPS).map(group).collect(),
            disks: (0..DISKS).map(place).collect(),
            copies: Vec::new(),
            min_in_sync: 2,
            version: 1,
        };
        Self { map, is_up: true, reports: Vec::new(), complaints: Vec::new() }
    }

    /// Changes a disk's membership of every group; a new member is added.
    pub fn set(&mut self, number: usize, state: MemberState) {
        for id in 0..GROUPS {
            self.set_in(id, number, state);
        }
    }

    pub fn set_in(&mut self, group: u32, number: usize, state: MemberState) {
        let group = &mut self.map.groups[group as usize];
        match group.members.iter_mut().find(|member| member.disk == disk(number)) {
            Some(member) => member.state = state,
            None => group.members.push(Member { disk: disk(number), state, replaces: None }),
        }
        group.epoch.0 += 1;
        self.map.version += 1;
    }

    pub fn state(&self, number: usize) -> Vec<MemberState> {
        let member =
            |group: &Group| group.member(disk(number)).map_or(MemberState::Out, |member| member.state);
        self.map.groups.iter().map(member).collect()
    }

    fn evict(&mut self, who: DiskId, groups: &[(GroupId, GroupEpoch)]) {
        let number = (0..DISKS).find(|&number| disk(number) == who).unwrap();
        self.reports.push((number, groups.len()));
        for (id, epoch) in groups {
            let group = &self.map.groups[id.0 as usize];
            let others = group.in_sync().filter(|member| member.disk != who).count();
            if group.epoch == *epoch && others > 0 {
                self.set_in(id.0, number, MemberState::Out);
            }
        }
    }
}

/// A core and its members; requests wait in queues until `deliver`.
pub struct Rig {
    pub core: VolumeCore,
    pub members: Vec<FakeMember>,
    pub control: FakeControl,
    pub queues: Vec<VecDeque<Request>>,
    pub reachable: [bool; DISKS],
    /// Members that take requests in but do not answer.
    pub silent: [bool; DISKS],
    pub now: Instant,
    pub done: Vec<(u64, Result<Option<Bytes>, ClientError>)>,
    pub opened: Option<Result<(), ClientError>>,
    /// The disk of each peer.
    disks: Vec<usize>,
}

impl Rig {
    pub fn new(on_full: OnFull) -> Self {
        Self::over((0..3).map(|_| FakeMember::default()).collect(), 1, on_full)
    }

    pub fn over(mut members: Vec<FakeMember>, epoch: u32, on_full: OnFull) -> Self {
        let control = FakeControl::new();
        members.resize_with(DISKS, FakeMember::default);
        Self::with(members, control, epoch, on_full)
    }

    pub fn with(members: Vec<FakeMember>, control: FakeControl, epoch: u32, on_full: OnFull) -> Self {
        Rig {
            core: VolumeCore::new(config(epoch, on_full, control.map.clone())).unwrap(),
            members,
            control,
            queues: vec![VecDeque::new(); DISKS],
            reachable: [true; DISKS],
            silent: [false; DISKS],
            disks: Vec::new(),
            now: Instant(1_000_000_000),
            done: Vec::new(),
            opened: None,
        }
    }

    pub fn open(mut self) -> Self {
        self.input(CoreInput::Tick);
        self.settle();
        self.opened.clone().expect("it opens").unwrap();
        self
    }

    /// The writer gone, the next one with the same members.
    pub fn next_writer(self, epoch: u32) -> Self {
        Self::with(self.members, self.control, epoch, OnFull::Fail)
    }

    fn disk_of(&self, peer: Peer) -> usize {
        self.disks[usize::from(peer.0)]
    }

    fn peer_of(&self, number: usize) -> Option<Peer> {
        let at = self.disks.iter().position(|&disk| disk == number)?;
        Some(Peer(u16::try_from(at).unwrap()))
    }

    pub fn input(&mut self, input: CoreInput) {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut out = Vec::new();
            self.core.step(self.now, input, &mut out);
            for output in out {
                inputs.extend(self.perform(output));
            }
        }
    }

    fn perform(&mut self, output: CoreOutput) -> Option<CoreInput> {
        match output {
            CoreOutput::Connect { peer, disk: id, .. } => {
                let number = (0..DISKS).find(|&number| disk(number) == id).unwrap();
                if self.disks.len() <= usize::from(peer.0) {
                    self.disks.resize(usize::from(peer.0) + 1, usize::MAX);
                }
                self.disks[usize::from(peer.0)] = number;
                self.queues[number].clear();
                let up = self.reachable[number];
                return Some(if up { CoreInput::Connected(peer) } else { CoreInput::Disconnected(peer) });
            }
            CoreOutput::Disconnect(peer) => {
                let number = self.disk_of(peer);
                self.queues[number].clear();
            }
            CoreOutput::Send(peer, request) => {
                let number = self.disk_of(peer);
                self.queues[number].push_back(request);
            }
            CoreOutput::Complete { id, result } => self.done.push((id, result)),
            CoreOutput::Opened(result) => self.opened = Some(result),
            CoreOutput::Report { .. } | CoreOutput::WantMap { .. } if !self.control.is_up => {
                return Some(CoreInput::NoMap);
            }
            CoreOutput::Report { disk, groups, complaint, .. } => {
                self.control.complaints.push(complaint);
                self.control.evict(disk, &groups);
                return Some(CoreInput::Map(self.control.map.clone()));
            }
            CoreOutput::WantMap { version } => {
                let newer = self.control.map.version > version;
                let map = newer.then(|| self.control.map.clone());
                return Some(map.map_or(CoreInput::NoMap, CoreInput::Map));
            }
        }
        None
    }

    /// Lets one member answer its oldest request.
    pub fn deliver(&mut self, number: usize) -> bool {
        let Some(peer) = self.peer_of(number).filter(|_| !self.silent[number]) else { return false };
        let Some(request) = self.queues[number].pop_front() else { return false };
        let reply = self.members[number].answer(number, request);
        self.input(CoreInput::Reply(peer, reply));
        true
    }

    pub fn settle(&mut self) {
        while (0..DISKS).any(|member| self.deliver(member)) {}
    }

    pub fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now =
                self.core.next_deadline().unwrap_or(end).min(end).max(self.now + Duration::from_millis(1));
            self.input(CoreInput::Tick);
            self.settle();
        }
    }

    pub fn cut(&mut self, number: usize) {
        self.queues[number].clear();
        if let Some(peer) = self.peer_of(number) {
            self.input(CoreInput::Disconnected(peer));
        }
    }

    /// Its process is gone.
    pub fn kill(&mut self, number: usize) {
        self.reachable[number] = false;
        self.cut(number);
    }

    pub fn submit(&mut self, id: u64, op: VolumeOp) {
        self.input(CoreInput::Submit { id, op });
    }

    pub fn take(&mut self, id: u64) -> Option<Result<Option<Bytes>, ClientError>> {
        let at = self.done.iter().position(|(done, _)| *done == id)?;
        Some(self.done.remove(at).1)
    }

    pub fn run(&mut self, op: VolumeOp) -> Result<Option<Bytes>, ClientError> {
        self.submit(u64::MAX, op);
        self.settle();
        self.take(u64::MAX).expect("it completes")
    }

    pub fn write(&mut self, offset: u64, fill: u8, len: usize) {
        self.run(VolumeOp::Write { offset, data: Bytes::from(vec![fill; len]) }).unwrap();
    }

    pub fn read(&mut self, offset: u64, len: usize) -> Vec<u8> {
        self.run(VolumeOp::Read { offset, len, holes: Holes::Zeros }).unwrap().unwrap().to_vec()
    }
}

pub fn kind(result: Result<Option<Bytes>, ClientError>) -> ErrorKind {
    result.unwrap_err().kind
}
