use super::*;
use crate::store::{ChunkRun, VolumeEntry, VolumeInfo};
use bytes::Bytes;
use proto::DiskId;
use proto::checksum::BlockCrcs;
use proto::control::PoolToken;
use proto::message::{DiskStat, LIST_END, VolumeStat};
use proto::units::BLOCK_LEN;
use std::collections::BTreeMap;

const TOKEN: PoolToken = PoolToken([5; 32]);
const DISK: DiskId = DiskId([6; 16]);
const VOLUME: VolumeId = VolumeId(3);

/// A log that answers at the next pump and keeps what it was told.
#[derive(Default)]
struct FakeLog {
    told: Vec<String>,
    due: Vec<(Ticket, Answer)>,
    info: VolumeInfo,
    deleted: bool,
    groups: BTreeMap<GroupId, GroupEpoch>,
    volumes: Vec<VolumeEntry>,
    chunks: Vec<(ChunkIndex, u64)>,
    runs: Vec<ChunkRun>,
}

impl Log for FakeLog {
    fn submit(&mut self, _now: Instant, event: Event, _out: &mut Vec<Action>) {
        let (ticket, what, answer) = match event {
            Event::Write { ticket, version, kind, session, .. } => {
                (ticket, format!("write {version} {kind:?} {}", session.sequence), Answer::Done)
            }
            Event::Trim { ticket, version, .. } => (ticket, format!("trim {version}"), Answer::Done),
            Event::Flush { ticket } => (ticket, "flush".into(), Answer::Done),
            Event::Fence { ticket, epoch, .. } => {
                self.info.fence = self.info.fence.max(epoch);
                (ticket, format!("fence {epoch}"), Answer::Done)
            }
            Event::List { ticket, .. } => {
                (ticket, "list".into(), Answer::List { entries: Vec::new(), next_cursor: LIST_END })
            }
            Event::Read { ticket, range } => {
                (ticket, "read".into(), Answer::Read { range, blocks: Vec::new(), data: Vec::new() })
            }
            Event::DeleteVolume { ticket, .. } => {
                self.deleted = true;
                (ticket, "delete".into(), Answer::Done)
            }
            Event::Horizon { settled, stable, whole, .. } => {
                let whole = if whole { " whole" } else { "" };
                self.told.push(format!("horizon {settled} {stable}{whole}"));
                return;
            }
            Event::Verify { ticket, range } => {
                (ticket, "verify".into(), Answer::Read { range, blocks: Vec::new(), data: Vec::new() })
            }
            Event::AdoptGroup { ticket, group, epoch } => {
                self.groups.insert(group, epoch);
                (ticket, format!("adopt {group} {epoch}"), Answer::Done)
            }
            Event::ClearGroup { ticket, group, epoch, .. } => {
                self.groups.insert(group, epoch);
                (ticket, format!("clear {group} {epoch}"), Answer::Done)
            }
            Event::Stop { ticket } => (ticket, "stop".into(), Answer::Done),
            Event::DiskDone { .. } | Event::Tick => return,
        };
        self.told.push(what);
        self.due.push((ticket, answer));
    }

    fn pump(&mut self, _now: Instant, out: &mut Vec<Action>) {
        out.extend(self.due.drain(..).map(|(ticket, answer)| Action::Answer { ticket, result: Ok(answer) }));
    }

    fn disk_id(&self) -> DiskId {
        DISK
    }

    fn incarnation(&self) -> u64 {
        11
    }

    fn volume_info(&self, _volume: VolumeId) -> VolumeInfo {
        VolumeInfo { deleted: self.deleted, ..self.info }
    }

    fn held_sequence(&self, _client: ClientId) -> u64 {
        17
    }

    fn stat(&self) -> DiskStat {
        DiskStat::default()
    }

    fn volume_stat(&self, _volume: VolumeId) -> VolumeStat {
        VolumeStat::default()
    }

    fn group_epoch(&self, group: GroupId) -> GroupEpoch {
        self.groups.get(&group).copied().unwrap_or_default()
    }

    fn volumes(&self, cursor: VolumeId, max: usize) -> (Vec<VolumeEntry>, Option<VolumeId>) {
        assert!(max > 0);
        (self.volumes.iter().copied().filter(|held| held.volume >= cursor).collect(), None)
    }

    fn digests(
        &self,
        _volume: VolumeId,
        cursor: ChunkIndex,
        max: usize,
        wanted: &dyn Fn(ChunkIndex) -> bool,
    ) -> (Vec<(ChunkIndex, u64)>, Option<ChunkIndex>) {
        assert!(max > 0);
        let chunks = self.chunks.iter().copied().filter(|&(chunk, _)| chunk >= cursor && wanted(chunk));
        (chunks.collect(), Some(ChunkIndex(9)))
    }

    fn chunk_runs(&self, _volume: VolumeId, _chunk: ChunkIndex) -> Vec<ChunkRun> {
        self.runs.clone()
    }
}

struct Rig {
    replica: Replica<FakeLog>,
    sequence: u64,
    closed: Vec<ConnId>,
    settled: Version,
    group_epoch: GroupEpoch,
}

fn hello() -> RequestBody {
    RequestBody::Hello { token: TOKEN.0, client: ClientId([1; 16]), disk: DISK }
}

fn open_as(epoch: u32, client: u8, mode: OpenMode) -> RequestBody {
    let client = ClientId([client; 16]);
    RequestBody::Open { volume: VOLUME, epoch: VolumeEpoch(epoch), client, mode, groups: 8 }
}

fn open(epoch: u32, client: u8) -> RequestBody {
    open_as(epoch, client, OpenMode::Writer)
}

fn range() -> BlockRange {
    BlockRange { volume: VOLUME, chunk: ChunkIndex(0), first: 0, count: 1 }
}

fn version(epoch: u32, counter: u64) -> Version {
    Version(Version::first_of(VolumeEpoch(epoch)).0 + counter)
}

fn write(epoch: u32, counter: u64) -> RequestBody {
    let data = Bytes::from(vec![1; BLOCK_LEN]);
    let crcs = BlockCrcs::of(&data);
    RequestBody::Write {
        range: range(),
        version: version(epoch, counter),
        crcs,
        data,
        kind: WriteKind::Normal,
    }
}

fn flush(stable: Version) -> RequestBody {
    RequestBody::Flush { volume: VOLUME, through: stable, stable, whole: false }
}

impl Rig {
    fn new() -> Self {
        let replica = Replica::new(FakeLog::default(), ReplicaConfig { token: TOKEN });
        let (settled, group_epoch) = (Version::ZERO, GroupEpoch(0));
        Self { replica, sequence: 0, closed: Vec::new(), settled, group_epoch }
    }

    fn ask(&mut self, conn: u64, body: RequestBody) -> Option<ReplyBody> {
        self.sequence += 1;
        let sequence = self.sequence;
        let request = Request { sequence, settled: self.settled, group_epoch: self.group_epoch, body };
        let mut out = Vec::new();
        self.replica.step(Instant(1), ReplicaInput::Request(ConnId(conn), request), &mut out);
        let mut answer = None;
        for output in out {
            match output {
                ReplicaOutput::Send(to, reply) => {
                    assert_eq!((to, reply.sequence), (ConnId(conn), sequence));
                    answer = Some(reply.body);
                }
                ReplicaOutput::Close(conn) => self.closed.push(conn),
                _ => panic!("unexpected {output:?}"),
            }
        }
        answer
    }

    fn connect(&mut self, conn: u64) {
        self.replica.step(Instant(1), ReplicaInput::Connected(ConnId(conn)), &mut Vec::new());
        assert!(matches!(self.ask(conn, hello()), Some(ReplyBody::Hello(hello)) if hello.incarnation == 11));
    }

    fn refused(&mut self, conn: u64, body: RequestBody) -> ErrorCode {
        match self.ask(conn, body) {
            Some(ReplyBody::Error(error)) => error.code,
            other => panic!("not refused: {other:?}"),
        }
    }

    fn acked(&mut self, conn: u64, body: RequestBody) {
        assert_eq!(self.ask(conn, body), Some(ReplyBody::Ack));
    }

    fn opened(&mut self, conn: u64, body: RequestBody) -> OpenReply {
        match self.ask(conn, body) {
            Some(ReplyBody::Open(open)) => open,
            other => panic!("not opened: {other:?}"),
        }
    }
}

#[test]
fn nothing_is_served_before_the_right_hello() {
    let wrong = [
        RequestBody::DiskStat,
        open(1, 1),
        RequestBody::Hello { token: [4; 32], client: ClientId([1; 16]), disk: DISK },
        RequestBody::Hello { token: TOKEN.0, client: ClientId([1; 16]), disk: DiskId([7; 16]) },
    ];
    for (conn, body) in wrong.into_iter().enumerate() {
        let mut rig = Rig::new();
        let conn = conn as u64;
        rig.replica.step(Instant(1), ReplicaInput::Connected(ConnId(conn)), &mut Vec::new());
        assert_eq!(rig.refused(conn, body), ErrorCode::Unauthorized);
        assert_eq!(rig.closed, [ConnId(conn)]);
        assert_eq!(rig.ask(conn, hello()), None, "a closed connection gets no answers");
        assert!(rig.replica.store().told.is_empty());
    }
    let mut rig = Rig::new();
    rig.connect(1);
    assert_eq!(rig.refused(1, hello()), ErrorCode::Unauthorized);
}

#[test]
fn the_fence_is_logged_before_the_open_is_answered_and_refuses_what_is_older() {
    let mut rig = Rig::new();
    rig.connect(1);
    assert_eq!(rig.refused(1, write(5, 1)), ErrorCode::BadRequest, "not open");
    let reply = rig.opened(1, open(5, 1));
    assert_eq!((reply.fence, reply.held_sequence), (VolumeEpoch(5), 17));
    rig.acked(1, write(5, 1));
    rig.connect(2);
    assert_eq!(rig.refused(2, open(4, 2)), ErrorCode::Fenced);
    assert_eq!(rig.refused(2, open(5, 2)), ErrorCode::Fenced, "the epoch is another client's");
    assert_eq!(rig.refused(2, open(0, 2)), ErrorCode::BadRequest);
    rig.opened(2, open(6, 2));
    assert_eq!(rig.refused(1, write(5, 2)), ErrorCode::Fenced);
    assert_eq!(rig.refused(1, flush(Version::ZERO)), ErrorCode::Fenced);
    let old_read = RequestBody::Read { range: range(), epoch: VolumeEpoch(5) };
    assert_eq!(rig.refused(1, old_read.clone()), ErrorCode::Fenced);
    rig.connect(3);
    rig.opened(3, open_as(0, 3, OpenMode::Reader));
    assert!(matches!(rig.ask(3, old_read), Some(ReplyBody::Read { .. })), "readers are not fenced");
    assert_eq!(rig.refused(3, write(6, 9)), ErrorCode::BadRequest);
    rig.acked(2, write(6, 1));
    assert_eq!(rig.refused(2, write(7, 1)), ErrorCode::BadRequest);
    assert_eq!(rig.refused(2, write(5, 1)), ErrorCode::BadRequest);
    assert!(rig.closed.is_empty());
    let told = &rig.replica.store().told;
    assert_eq!(*told, ["fence 5", "write 5.1 Normal 4", "fence 6", "read", "write 6.1 Normal 17"]);
}

#[test]
fn a_reconnected_writer_takes_over_from_its_dead_connection() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, open(5, 1));
    rig.connect(2);
    rig.opened(2, open(5, 1));
    assert_eq!(rig.closed, [ConnId(1)]);
    assert_eq!(rig.ask(1, write(5, 1)), None);
    rig.acked(2, write(5, 1));
    // A connection that is closed late takes nothing from its successor.
    rig.replica.step(Instant(1), ReplicaInput::Closed(ConnId(1)), &mut Vec::new());
    rig.acked(2, write(5, 2));
    rig.replica.step(Instant(1), ReplicaInput::Closed(ConnId(2)), &mut Vec::new());
    assert_eq!(rig.replica.connections(), 0);
}

#[test]
fn horizons_and_group_epochs_are_checked_and_passed_on() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, open(5, 1));
    rig.settled = version(5, 40);
    rig.acked(1, flush(version(5, 30)));
    rig.settled = version(6, 0);
    assert_eq!(rig.refused(1, write(5, 50)), ErrorCode::BadRequest);
    assert_eq!(rig.refused(1, flush(Version::ZERO)), ErrorCode::BadRequest);
    rig.settled = version(5, 41);
    rig.group_epoch = GroupEpoch(3);
    rig.acked(1, write(5, 50));
    rig.settled = version(5, 5000);
    rig.acked(1, write(5, 5001));
    rig.group_epoch = GroupEpoch(2);
    assert_eq!(rig.refused(1, write(5, 5002)), ErrorCode::StaleGroupEpoch);
    let horizons = ["fence 5", "horizon 5.40 5.30", "flush", "write 5.50 Normal 6", "horizon 5.5000 0.0"];
    assert_eq!(rig.replica.store().told[..5], horizons);
}

#[test]
fn unanswered_requests_are_bounded() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, open(5, 1));
    let mut out = Vec::new();
    for sequence in 0..MAX_REQUESTS_PER_CONNECTION as u64 + 1 {
        let body = write(5, sequence + 1);
        let request =
            Request { sequence: 100 + sequence, settled: Version::ZERO, group_epoch: GroupEpoch(0), body };
        rig.replica.submit(Instant(1), ReplicaInput::Request(ConnId(1), request), &mut out);
    }
    assert!(matches!(out[..], [ReplicaOutput::Send(..), ReplicaOutput::Close(ConnId(1))]));
    out.clear();
    rig.replica.pump(Instant(1), &mut out);
    assert!(out.is_empty(), "answers to a closed connection go nowhere");
}

#[test]
fn deletes_stats_and_stop() {
    let mut rig = Rig::new();
    rig.connect(1);
    assert!(matches!(rig.ask(1, RequestBody::DiskStat), Some(ReplyBody::DiskStat(_))));
    assert!(matches!(rig.ask(1, RequestBody::VolumeStat { volume: VOLUME }), Some(ReplyBody::VolumeStat(_))));
    rig.opened(1, open(5, 1));
    let delete = |epoch| RequestBody::DeleteVolume { volume: VOLUME, epoch: VolumeEpoch(epoch) };
    assert_eq!(rig.refused(1, delete(4)), ErrorCode::Fenced);
    rig.acked(1, delete(6));
    rig.acked(1, delete(1));
    assert_eq!(rig.refused(1, open(9, 1)), ErrorCode::Deleted);
    let mut out = Vec::new();
    rig.replica.step(Instant(1), ReplicaInput::Stop, &mut out);
    assert!(matches!(out[..], [ReplicaOutput::Stopped]));
}

#[path = "upkeep_test.rs"]
mod upkeep;
