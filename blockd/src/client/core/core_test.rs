use super::*;
use crate::client::{Holes, VolumeOp};
use crate::limits::{CORE_GRACE, CORE_NO_SPACE_WAIT};
use bytes::Bytes;
use proptest::prelude::*;
use proto::checksum::{BlockCrcs, crc32};
use proto::control::{DiskPlace, Group, Lease, Member, PoolMap};
use proto::message::{
    BlockRange, BlockState, HelloReply, LIST_END, ListEntry, ListKind, OpenReply, ReadBlock, Reply, ReplyBody,
};
use proto::units::BLOCK_LEN;
use proto::{ChunkIndex, DiskId, ErrorCode, GroupId, NodeId};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

type Block = (Version, Option<Bytes>);

/// A member that keeps blocks in memory and answers at once.
#[derive(Default)]
struct FakeMember {
    blocks: BTreeMap<(u32, u16), Block>,
    corrupt: Vec<(u32, u16)>,
    incarnation: u64,
    held_sequence: u64,
    fence: VolumeEpoch,
    stable: Version,
    full: bool,
    flushes: usize,
    repairs: usize,
    fail_flush: bool,
}

impl FakeMember {
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
        let body = match request.body {
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
            RequestBody::Write { .. } if self.full => refuse(ErrorCode::NoSpace),
            RequestBody::Write { range, version, data, crcs, repair } => {
                assert_eq!(BlockCrcs::of(&data), crcs);
                self.repairs += usize::from(repair);
                self.put(&range, version, Some(&data), repair);
                ReplyBody::Ack
            }
            RequestBody::Trim { range, version } => {
                self.put(&range, version, None, false);
                ReplyBody::Ack
            }
            RequestBody::Flush { .. } if self.fail_flush => refuse(ErrorCode::Io),
            RequestBody::Flush { stable, .. } => {
                self.flushes += 1;
                self.stable = self.stable.max(stable);
                ReplyBody::Ack
            }
            RequestBody::Read { range, .. } => self.read(range),
            _ => refuse(ErrorCode::BadRequest),
        };
        Reply { sequence: request.sequence, body }
    }
}

fn disk(number: usize) -> DiskId {
    DiskId([u8::try_from(number).unwrap() + 1; 16])
}

fn config(epoch: u32, on_full: OnFull) -> VolumeConfig {
    let place =
        |number| DiskPlace { disk: disk(number), node: NodeId(1), addr: "127.0.0.1:1".parse().unwrap() };
    let member = |number| Member::in_sync(disk(number));
    let group = |id| Group { id: GroupId(id), epoch: GroupEpoch(1), members: (0..3).map(member).collect() };
    let map = PoolMap {
        groups: (0..4).map(group).collect(),
        disks: (0..3).map(place).collect(),
        min_in_sync: 2,
        version: 1,
    };
    let lease = Lease { volume: VolumeId(7), epoch: VolumeEpoch(epoch), size_bytes: 64 << 20, map };
    VolumeConfig { lease, token: PoolToken([9; 32]), client: ClientId([3; 16]), on_full, control: None }
}

/// A core and three members; requests wait in queues until `deliver`.
struct Rig {
    core: VolumeCore,
    members: Vec<FakeMember>,
    queues: Vec<VecDeque<Request>>,
    reachable: [bool; 3],
    /// Members that take requests in but do not answer.
    silent: [bool; 3],
    now: Instant,
    done: Vec<(u64, Result<Option<Bytes>, ClientError>)>,
    opened: Option<Result<(), ClientError>>,
}

impl Rig {
    fn new(on_full: OnFull) -> Self {
        Self::over((0..3).map(|_| FakeMember::default()).collect(), 1, on_full)
    }

    fn over(members: Vec<FakeMember>, epoch: u32, on_full: OnFull) -> Self {
        Rig {
            core: VolumeCore::new(config(epoch, on_full)).unwrap(),
            members,
            queues: vec![VecDeque::new(); 3],
            reachable: [true; 3],
            silent: [false; 3],
            now: Instant(1_000_000_000),
            done: Vec::new(),
            opened: None,
        }
    }

    fn open(mut self) -> Self {
        self.input(CoreInput::Tick);
        self.settle();
        self.opened.clone().expect("it opens").unwrap();
        self
    }

    fn input(&mut self, input: CoreInput) {
        let mut out = Vec::new();
        self.core.step(self.now, input, &mut out);
        for output in out {
            match output {
                CoreOutput::Connect { peer, .. } => {
                    self.queues[usize::from(peer.0)].clear();
                    if self.reachable[usize::from(peer.0)] {
                        self.input(CoreInput::Connected(peer));
                    } else {
                        self.input(CoreInput::Disconnected(peer));
                    }
                }
                CoreOutput::Disconnect(peer) => self.queues[usize::from(peer.0)].clear(),
                CoreOutput::Send(peer, request) => self.queues[usize::from(peer.0)].push_back(request),
                CoreOutput::Report { .. } | CoreOutput::WantMap { .. } => {}
                CoreOutput::Complete { id, result } => self.done.push((id, result)),
                CoreOutput::Opened(result) => self.opened = Some(result),
            }
        }
    }

    /// Lets one member answer its oldest request.
    fn deliver(&mut self, member: usize) -> bool {
        if self.silent[member] {
            return false;
        }
        let Some(request) = self.queues[member].pop_front() else { return false };
        let reply = self.members[member].answer(member, request);
        self.input(CoreInput::Reply(Peer(u16::try_from(member).unwrap()), reply));
        true
    }

    fn settle(&mut self) {
        while (0..3).any(|member| self.deliver(member)) {}
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        while self.now < end {
            self.now =
                self.core.next_deadline().unwrap_or(end).min(end).max(self.now + Duration::from_millis(1));
            self.input(CoreInput::Tick);
            self.settle();
        }
    }

    fn cut(&mut self, member: usize) {
        self.queues[member].clear();
        self.input(CoreInput::Disconnected(Peer(u16::try_from(member).unwrap())));
    }

    fn submit(&mut self, id: u64, op: VolumeOp) {
        self.input(CoreInput::Submit { id, op });
    }

    fn take(&mut self, id: u64) -> Option<Result<Option<Bytes>, ClientError>> {
        let at = self.done.iter().position(|(done, _)| *done == id)?;
        Some(self.done.remove(at).1)
    }

    fn run(&mut self, op: VolumeOp) -> Result<Option<Bytes>, ClientError> {
        self.submit(u64::MAX, op);
        self.settle();
        self.take(u64::MAX).expect("it completes")
    }

    fn write(&mut self, offset: u64, fill: u8, len: usize) {
        self.run(VolumeOp::Write { offset, data: Bytes::from(vec![fill; len]) }).unwrap();
    }

    fn read(&mut self, offset: u64, len: usize) -> Vec<u8> {
        self.run(VolumeOp::Read { offset, len, holes: Holes::Zeros }).unwrap().unwrap().to_vec()
    }
}

fn kind(result: Result<Option<Bytes>, ClientError>) -> ErrorKind {
    result.unwrap_err().kind
}

#[test]
fn writes_reads_trims_and_zeroes_at_any_sector() {
    let mut rig = Rig::new(OnFull::Fail).open();
    assert_eq!(rig.read(0, 1 << 20), vec![0; 1 << 20]);
    rig.write(512, 1, 9 << 20); // Over several chunks, with both edges inside blocks.
    rig.write(4096, 2, 4096);
    let expected = [vec![0; 512], vec![1; 3584], vec![2; 4096], vec![1; 512]].concat();
    assert_eq!(rig.read(0, 8704), expected);
    rig.run(VolumeOp::WriteZeroes { offset: 1024, len: 8192 }).unwrap();
    assert_eq!(rig.read(512, 9216), [vec![1; 512], vec![0; 8192], vec![1; 512]].concat());
    rig.run(VolumeOp::Trim { offset: 5 << 20, len: 4 << 20 }).unwrap();
    assert_eq!(rig.read(5 << 20, 4 << 20), vec![0; 4 << 20]);
    assert_eq!(rig.read((9 << 20) - 512, 1536), [vec![0; 512], vec![1; 1024 - 512], vec![0; 512]].concat());
    let hole = rig.run(VolumeOp::Read { offset: 4096, len: 4096, holes: Holes::Error });
    assert_eq!(kind(hole), ErrorKind::Corrupt);
    for (offset, len) in [(100, 512), (0, 100), (64 << 20, 512), (u64::MAX - 511, 512)] {
        assert_eq!(kind(rig.run(VolumeOp::Trim { offset, len })), ErrorKind::Invalid);
    }
    let all = |rig: &Rig, member: usize| rig.members[member].blocks.clone();
    assert!(all(&rig, 0) == all(&rig, 1) && all(&rig, 1) == all(&rig, 2));
}

#[test]
fn a_write_is_acked_by_all_and_a_flush_covers_it() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.submit(1, VolumeOp::Write { offset: 0, data: Bytes::from(vec![1; 4096]) });
    assert!(rig.deliver(0) && rig.deliver(1));
    assert!(rig.take(1).is_none());
    assert!(rig.deliver(2));
    rig.take(1).unwrap().unwrap();
    let flushes: Vec<usize> = rig.members.iter().map(|member| member.flushes).collect();
    rig.submit(2, VolumeOp::Flush);
    rig.submit(3, VolumeOp::Flush);
    rig.submit(4, VolumeOp::Flush);
    assert!(rig.deliver(0) && rig.deliver(1));
    assert!(rig.take(2).is_none());
    rig.settle();
    assert!((2..5).all(|id| rig.take(id).unwrap().is_ok()));
    // Those that waited found nothing more to flush.
    assert!(rig.members.iter().zip(flushes).all(|(member, before)| member.flushes == before + 1));
    // And the next flush tells what is stable.
    rig.write(0, 2, 512);
    rig.pass(Duration::from_secs(3));
    rig.write(0, 3, 512);
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.members[1].stable.counter(), 2);
}

#[test]
fn a_bad_copy_is_read_elsewhere_and_repaired() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 5, 3 * 4096);
    // A different block is bad on each member, and all are readable.
    for member in 0..3 {
        rig.members[member].corrupt.push((0, u16::try_from(member).unwrap()));
    }
    assert_eq!(rig.read(0, 3 * 4096), vec![5; 3 * 4096]);
    for _ in 0..3 {
        rig.read(0, 3 * 4096);
    }
    // Reads stick to one member, so only its copy was met and repaired.
    assert_eq!(rig.members.iter().map(|member| member.corrupt.len()).sum::<usize>(), 2);
    assert_eq!(rig.core.stats().repaired_blocks, 1);
    for member in 0..3 {
        rig.members[member].corrupt.push((0, 2));
    }
    assert_eq!(
        kind(rig.run(VolumeOp::Read { offset: 8192, len: 512, holes: Holes::Zeros })),
        ErrorKind::Corrupt
    );
    let part = rig.run(VolumeOp::Write { offset: 8192, data: Bytes::from(vec![1; 512]) });
    assert_eq!(kind(part), ErrorKind::Corrupt);
    rig.write(8192, 6, 4096);
    assert_eq!(rig.read(8192, 4096), vec![6; 4096]);
}

#[test]
fn a_member_that_comes_back_whole_is_resent_what_it_missed() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.submit(1, VolumeOp::Write { offset: 4096, data: Bytes::from(vec![2; 4096]) });
    rig.submit(2, VolumeOp::Flush);
    rig.cut(1);
    rig.settle();
    assert!(rig.take(1).is_none() && rig.take(2).is_none());
    rig.pass(Duration::from_millis(50));
    rig.take(1).unwrap().unwrap();
    rig.take(2).unwrap().unwrap();
    assert_eq!(rig.members[1].blocks, rig.members[0].blocks);
    assert_eq!(rig.core.stats().reconnects, 1);
    rig.write(0, 3, 4096);
}

#[test]
fn a_member_that_stays_away_or_forgot_stops_writes_but_not_reads() {
    for forgot in [false, true] {
        let mut rig = Rig::new(OnFull::Fail).open();
        rig.write(0, 1, 4096);
        rig.members[2].incarnation += 1;
        rig.reachable[2] = forgot;
        rig.submit(1, VolumeOp::Write { offset: 4096, data: Bytes::from(vec![2; 4096]) });
        rig.submit(2, VolumeOp::Flush);
        rig.cut(2);
        rig.pass(CORE_GRACE + Duration::from_millis(600));
        assert_eq!(kind(rig.take(1).unwrap()), ErrorKind::Unavailable);
        assert_eq!(kind(rig.take(2).unwrap()), ErrorKind::Unavailable);
        assert_eq!(kind(rig.run(VolumeOp::Flush)), ErrorKind::Unavailable);
        assert_eq!(kind(rig.run(VolumeOp::Trim { offset: 0, len: 4096 })), ErrorKind::Unavailable);
        assert_eq!(rig.read(0, 4096), vec![1; 4096]);
        assert_eq!(rig.core.stats().lost_members, 1);
    }
}

#[test]
fn a_restarted_member_that_held_all_goes_on() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.members[0].incarnation += 1;
    rig.members[0].held_sequence = 1000;
    rig.cut(0);
    rig.pass(Duration::from_millis(100));
    rig.write(0, 2, 4096);
    // It may have lost its cache once more: the next flush must ask it.
    let before = rig.members[0].flushes;
    rig.run(VolumeOp::Flush).unwrap();
    assert_eq!(rig.members[0].flushes, before + 1);
}

#[test]
fn a_failed_flush_is_never_a_success() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.write(0, 1, 4096);
    rig.members[1].fail_flush = true;
    assert!(rig.run(VolumeOp::Flush).is_err());
    rig.members[1].fail_flush = false;
    assert!(rig.run(VolumeOp::Flush).is_err());
}

#[test]
fn a_full_member_fails_or_stalls_writes_until_there_is_room() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.members[1].full = true;
    let data = Bytes::from(vec![7; 4096]);
    assert_eq!(kind(rig.run(VolumeOp::Write { offset: 0, data: data.clone() })), ErrorKind::NoSpace);
    rig.run(VolumeOp::Trim { offset: 4096, len: 4096 }).unwrap();
    rig.members[1].full = false;
    rig.pass(CORE_NO_SPACE_WAIT * 2);
    assert_eq!(rig.members[0].blocks, rig.members[1].blocks, "the failed write went everywhere in the end");
    let mut rig = Rig::new(OnFull::Wait).open();
    rig.members[1].full = true;
    rig.submit(1, VolumeOp::Write { offset: 0, data });
    rig.pass(Duration::from_secs(5));
    assert!(rig.take(1).is_none());
    rig.members[1].full = false;
    rig.pass(CORE_NO_SPACE_WAIT * 2);
    rig.take(1).unwrap().unwrap();
}

#[test]
fn open_takes_each_blocks_highest_version_to_all() {
    let (v1, v2) = (Version::first_of(VolumeEpoch(1)), Version(Version::first_of(VolumeEpoch(1)).0 + 9));
    let data = |fill| Some(Bytes::from(vec![fill; BLOCK_LEN]));
    let mut members: Vec<FakeMember> = (0..3).map(|_| FakeMember::default()).collect();
    for member in &mut members {
        member.blocks.insert((3, 9), (v1, data(1))); // Newer on one.
        member.blocks.insert((3, 10), (v1, data(1))); // The same on all.
        member.blocks.insert((3, 11), (v1, data(1))); // Trimmed on one.
        member.blocks.insert((3, 12), (v1, data(1))); // Newer on one, and bad there.
    }
    members[2].blocks.insert((3, 9), (v2, data(2)));
    members[1].blocks.insert((3, 11), (v2, None));
    members[0].blocks.insert((3, 12), (v2, data(2)));
    members[0].corrupt.push((3, 12));
    members[1].blocks.insert((4, 0), (v2, data(3))); // On one only.
    let mut rig = Rig::over(members, 2, OnFull::Fail).open();
    let chunk = 4 << 20;
    assert_eq!(rig.read(3 * chunk + 9 * 4096, 4096), vec![2; 4096]);
    assert_eq!(rig.read(3 * chunk + 10 * 4096, 4096), vec![1; 4096]);
    assert_eq!(rig.read(3 * chunk + 11 * 4096, 4096), vec![0; 4096]);
    assert_eq!(rig.read(3 * chunk + 12 * 4096, 4096), vec![1; 4096]);
    assert_eq!(rig.read(4 * chunk, 4096), vec![3; 4096]);
    assert_eq!(rig.members[0].blocks, rig.members[1].blocks);
    assert_eq!(rig.members[0].blocks, rig.members[2].blocks);
    assert_eq!(rig.core.stats().reconciled_blocks, 4);
    assert!(rig.members.iter().all(|member| member.flushes == 1));
}

#[test]
fn open_waits_queues_and_gives_up_with_the_disks_named() {
    let mut rig = Rig::new(OnFull::Fail);
    rig.reachable[1] = false;
    rig.submit(1, VolumeOp::Write { offset: 0, data: Bytes::from(vec![1; 512]) });
    rig.submit(2, VolumeOp::Flush);
    rig.pass(Duration::from_secs(5));
    assert!(rig.opened.is_none() && rig.done.is_empty());
    rig.reachable[1] = true;
    rig.pass(Duration::from_secs(1));
    assert!(rig.opened.clone().unwrap().is_ok());
    assert!(rig.take(1).unwrap().is_ok() && rig.take(2).unwrap().is_ok());
    let mut rig = Rig::new(OnFull::Fail);
    rig.reachable[1] = false;
    rig.submit(1, VolumeOp::Flush);
    rig.pass(Duration::from_secs(30));
    let error = rig.opened.clone().unwrap().unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.message.contains(&disk(1).to_string()), "{error}");
    assert!(rig.take(1).unwrap().is_err());
}

#[test]
fn a_fenced_writer_stops_for_good() {
    let mut rig = Rig::new(OnFull::Fail).open();
    rig.members[1].fence = VolumeEpoch(9);
    rig.cut(1);
    rig.pass(Duration::from_millis(100));
    assert_eq!(kind(rig.run(VolumeOp::Read { offset: 0, len: 512, holes: Holes::Zeros })), ErrorKind::Fenced);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// Writes that never share a sector but often a block, all at once and answered in any order: each is
    /// kept, beside whole-block trims of blocks that nobody else writes.
    #[test]
    fn concurrent_neighbours_are_all_kept(
        starts in proptest::collection::vec((0u64..200, 1u64..24), 1..40),
        order in proptest::collection::vec(0usize..3, 0..400),
    ) {
        let mut rig = Rig::new(OnFull::Fail).open();
        let mut model = vec![0u8; 256 * 512];
        for (id, (start, len)) in starts.into_iter().enumerate() {
            let fill = u8::try_from(id).unwrap() + 1;
            let range = usize::try_from(start).unwrap() * 512..usize::try_from(start + len).unwrap() * 512;
            if model[range.clone()].iter().any(|&byte| byte != 0) {
                continue;
            }
            model[range.clone()].fill(fill);
            let data = Bytes::from(vec![fill; range.len()]);
            // Across the boundary of two chunks.
            rig.submit(id as u64, VolumeOp::Write { offset: (4 << 20) - 64 * 512 + start * 512, data });
        }
        for member in order {
            rig.deliver(member);
        }
        rig.settle();
        prop_assert!(rig.done.iter().all(|(_, result)| result.is_ok()));
        prop_assert_eq!(rig.core.stats().operations, 0);
        prop_assert_eq!(rig.read((4 << 20) - 64 * 512, model.len()), model);
    }
}
