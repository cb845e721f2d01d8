//! Hostile frames on a real chunk server: truncated, oversized, unknown, replayed, out of epoch. The connection
//! may end and the frame is refused; nothing is stored, and others are served.

use proto::ErrorCode;
use proto::checksum::{BlockCrcs, crc32};
use proto::frame::{FrameHeader, FrameType, HEADER_BYTES};
use proto::ids::{ChunkIndex, ClientId, DiskId, GroupEpoch, Version, VolumeEpoch, VolumeId};
use proto::message::{BlockRange, OpenMode, Reply, ReplyBody, Request, RequestBody, WriteKind};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use trial::harness::{Random, Store, seed};
use trial::w1::{self, Blocks};

const BLOCK: usize = 4096;
const CLIENT: ClientId = ClientId([7; 16]);
/// No volume of the control plane has this id.
const VOLUME: VolumeId = VolumeId(1 << 40);
const GROUPS: u32 = 128;

struct Peer {
    stream: TcpStream,
    sequence: u64,
    epoch: GroupEpoch,
}

/// One disk of a running store.
struct Disk {
    addr: String,
    id: DiskId,
    token: [u8; 32],
}

impl Disk {
    fn of(store: &Store) -> Self {
        let status = store.json(&["status"]);
        let disk = &status["disks"][0];
        let text = std::fs::read_to_string(store.data().join("secrets/pool-token")).unwrap();
        Self {
            addr: disk["address"].as_str().unwrap().to_owned(),
            id: disk["id"].as_str().unwrap().parse().unwrap(),
            token: hex::decode(text.trim()).unwrap().try_into().unwrap(),
        }
    }

    fn connect(&self) -> Peer {
        let stream = TcpStream::connect(&self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream, sequence: 0, epoch: GroupEpoch(1) }
    }

    fn hello(&self) -> Peer {
        let mut peer = self.connect();
        let body = RequestBody::Hello { token: self.token, client: CLIENT, disk: self.id };
        assert!(matches!(peer.ask(body), Some(ReplyBody::Hello(_))));
        peer
    }

    /// A connection that has the volume open for writing.
    fn open(&self, epoch: u32) -> Peer {
        let mut peer = self.hello();
        let answer = peer.ask(open(epoch));
        assert!(matches!(answer, Some(ReplyBody::Open(_))), "{answer:?}");
        peer
    }
}

fn open(epoch: u32) -> RequestBody {
    let (epoch, mode) = (VolumeEpoch(epoch), OpenMode::Writer);
    RequestBody::Open { volume: VOLUME, epoch, client: CLIENT, mode, groups: GROUPS }
}

fn write(version: Version, byte: u8) -> RequestBody {
    let data = vec![byte; BLOCK];
    let range = BlockRange { volume: VOLUME, chunk: ChunkIndex(0), first: 0, count: 1 };
    RequestBody::Write {
        range,
        version,
        crcs: BlockCrcs::of(&data),
        data: data.into(),
        kind: WriteKind::Normal,
    }
}

fn version(epoch: u32, counter: u64) -> Version {
    Version(Version::first_of(VolumeEpoch(epoch)).0 + counter)
}

impl Peer {
    fn bytes(&mut self, body: RequestBody) -> Vec<u8> {
        self.sequence += 1;
        let request =
            Request { sequence: self.sequence, settled: Version::ZERO, group_epoch: self.epoch, body };
        let encoded = request.encode();
        let mut bytes = encoded.head.to_vec();
        encoded.data.iter().for_each(|data| bytes.extend_from_slice(data));
        bytes
    }

    fn ask(&mut self, body: RequestBody) -> Option<ReplyBody> {
        let bytes = self.bytes(body);
        self.send(&bytes)
    }

    /// Sends bytes and waits for an answer; none if the connection ends instead.
    fn send(&mut self, bytes: &[u8]) -> Option<ReplyBody> {
        // The server may have hung up already.
        let _ = self.stream.write_all(bytes);
        self.answer()
    }

    fn answer(&mut self) -> Option<ReplyBody> {
        let mut header = [0; HEADER_BYTES];
        if let Err(error) = self.stream.read_exact(&mut header) {
            let ended =
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut);
            assert!(ended, "neither an answer nor an end");
            return None;
        }
        let header = FrameHeader::decode(&header).unwrap();
        let mut payload = vec![0; header.payload_len as usize];
        self.stream.read_exact(&mut payload).unwrap();
        Some(Reply::decode(&header, &payload.into()).unwrap().body)
    }
}

#[track_caller]
fn assert_refused(what: &str, answer: Option<ReplyBody>) {
    assert!(matches!(answer, None | Some(ReplyBody::Error(_))), "{what} was answered with {answer:?}");
}

#[track_caller]
fn assert_code(what: &str, answer: Option<ReplyBody>, codes: &[ErrorCode]) {
    match answer {
        Some(ReplyBody::Error(error)) if codes.contains(&error.code) => {}
        other => panic!("{what} was answered with {other:?}"),
    }
}

/// The kilobytes that a process holds in memory.
fn resident_kib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Rows 35 and 36 of the hostile inputs.
#[test]
fn hostile_frames_are_refused_and_nobody_else_notices() {
    let seed = seed();
    let mut random = Random(seed);
    let store = Store::start("256M");
    store.cli(&["volume", "create", "v", "--size", "32M"]);
    let socket = store.dir.path().join("v.sock");
    store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    let disk = Disk::of(&store);
    let load = w1::Load::start(&socket, 1024, Blocks::default(), seed);
    w1::wait_operations(&load.live, 100, Duration::from_secs(60));
    let before = resident_kib(store.pid());

    strangers(&disk);
    malformed(&disk, &mut random);
    replayed(&disk);

    w1::wait_operations(&load.live, 100, Duration::from_secs(60));
    let grown = resident_kib(store.pid()).saturating_sub(before);
    assert!(grown < 256 << 10, "seed {seed}: hostile frames made the daemon {grown} KiB larger");
    let mut blocks = load.finish();
    blocks.verify(&socket);
    blocks.assert_whole(seed);
}

/// Without the token, with another disk's name, before a hello, with a reply.
fn strangers(disk: &Disk) {
    let hello = |token, id| RequestBody::Hello { token, client: CLIENT, disk: id };
    let mut wrong = disk.token;
    wrong[31] ^= 1;
    assert_code("a wrong token", disk.connect().ask(hello(wrong, disk.id)), &[ErrorCode::Unauthorized]);
    let other = DiskId([9; 16]);
    assert_code(
        "another disk's name",
        disk.connect().ask(hello(disk.token, other)),
        &[ErrorCode::Unauthorized],
    );
    assert_refused("an open before a hello", disk.connect().ask(open(1)));
    assert_refused("a write before an open", disk.hello().ask(write(version(1, 1), 1)));
    let reply = Reply { sequence: 1, body: ReplyBody::Ack }.encode();
    assert_refused("a reply", disk.hello().send(&reply.head));
}

/// Lengths, types and checksums that lie; frames cut anywhere.
fn malformed(disk: &Disk, random: &mut Random) {
    for len in [u32::MAX, u32::MAX / 2, 1 << 30, proto::limits::MAX_PAYLOAD_BYTES + 1] {
        let mut header = FrameHeader::new(FrameType::Write, 9);
        header.payload_len = len;
        assert_refused("an oversized frame", disk.hello().send(&header.encode()));
    }
    for kind in [0u8, 0x70, 0x7f, 0xfe] {
        let mut bytes = FrameHeader::new(FrameType::DiskStat, 9).encode();
        bytes[5] = kind;
        let crc = crc32(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_refused("an unknown type", disk.hello().send(&bytes));
    }
    for _ in 0..40 {
        let mut peer = disk.open(1);
        let mut bytes = peer.bytes(write(version(1, 5), 3));
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        assert_refused("a frame with a flipped bit", peer.send(&bytes));
    }
    for _ in 0..40 {
        let mut peer = disk.open(1);
        let bytes = peer.bytes(write(version(1, 5), 3));
        let cut = 1 + random.below(bytes.len() as u64 - 1) as usize;
        peer.stream.write_all(&bytes[..cut]).unwrap();
        peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_refused("half a frame", peer.answer());
    }
    // Nothing of that was stored.
    let mut peer = disk.open(1);
    let range = BlockRange { volume: VOLUME, chunk: ChunkIndex(0), first: 0, count: 1 };
    match peer.ask(RequestBody::Read { range, epoch: VolumeEpoch(1) }) {
        Some(ReplyBody::Read { data, .. }) => {
            assert!(data.iter().all(|data| data.is_empty()), "something was stored")
        }
        other => panic!("{other:?}"),
    }
}

/// A frame of an older writer, of another epoch, of another volume, and the same frame twice.
fn replayed(disk: &Disk) {
    let mut old = disk.open(2);
    let first = old.bytes(write(version(2, 1), 2));
    assert!(matches!(old.send(&first), Some(ReplyBody::Ack)));
    // The same again changes nothing: an equal version stays.
    match old.send(&first) {
        None | Some(ReplyBody::Ack | ReplyBody::Error(_)) => {}
        other => panic!("{other:?}"),
    }
    let mut new = disk.open(3);
    assert!(matches!(new.ask(write(version(3, 1), 3)), Some(ReplyBody::Ack)));
    // The old writer is fenced, also when its frames come over the new one's connection.
    let mut late = disk.hello();
    assert_code("an older writer's open", late.ask(open(2)), &[ErrorCode::Fenced]);
    let read = |volume| {
        let range = BlockRange { volume, chunk: ChunkIndex(0), first: 0, count: 1 };
        RequestBody::Read { range, epoch: VolumeEpoch(3) }
    };
    assert_refused("another volume's frame", new.ask(read(VolumeId(VOLUME.0 + 1))));
    assert_refused("an older writer's frame", new.send(&first));
    let mut reader = disk.open(3);
    match reader.ask(read(VOLUME)) {
        Some(ReplyBody::Read { data, .. }) => {
            let data: Vec<u8> = data.iter().flat_map(|data| data.to_vec()).collect();
            assert!(data == vec![3; BLOCK], "the older writer's frame was applied");
        }
        other => panic!("{other:?}"),
    }
}
