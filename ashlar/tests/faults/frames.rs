//! Hostile frames on a real chunk server: truncated, oversized, unknown, replayed, out of epoch. The connection
//! may end and the frame is refused; nothing is stored, and others are served.

use proto::ErrorCode;
use proto::checksum::{BlockCrcs, crc32};
use proto::frame::{FrameHeader, FrameType};
use proto::ids::{ChunkIndex, ClientId, DiskId, Version, VolumeEpoch, VolumeId};
use proto::message::{BlockRange, OpenMode, Reply, ReplyBody, RequestBody, WriteKind};
use std::io::Write;
use std::time::Duration;
use trial::harness::{Random, Store, seed};
use trial::peer::{Door, Peer};
use trial::w1::{self, Blocks};

const BLOCK: usize = 4096;
const CLIENT: ClientId = ClientId([7; 16]);
/// No volume of the control plane has this id.
const VOLUME: VolumeId = VolumeId(1 << 40);
const GROUPS: u32 = 128;

/// The first disk of a running store.
fn door(store: &Store) -> Door {
    let status = store.json(&["status"]);
    let disk = &status["disks"][0];
    Door::new(disk["address"].as_str().unwrap(), disk["id"].as_str().unwrap(), &store.data())
}

/// A connection that has the volume open for writing.
fn opened(door: &Door, epoch: u32) -> Peer {
    let mut peer = door.hello(CLIENT);
    let answer = peer.ask(open(epoch));
    assert!(matches!(answer, Some(ReplyBody::Open(_))), "{answer:?}");
    peer
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
    let door = door(&store);
    let load = w1::Load::start(&socket, 1024, Blocks::default(), seed);
    w1::wait_operations(&load.live, 100, Duration::from_secs(60));
    let before = resident_kib(store.pid());

    strangers(&door);
    malformed(&door, &mut random);
    replayed(&door);

    w1::wait_operations(&load.live, 100, Duration::from_secs(60));
    let grown = resident_kib(store.pid()).saturating_sub(before);
    assert!(grown < 256 << 10, "seed {seed}: hostile frames made the daemon {grown} KiB larger");
    let mut blocks = load.finish();
    blocks.verify(&socket);
    blocks.assert_whole(seed);
}

/// Without the token, with another disk's name, before a hello, with a reply.
fn strangers(door: &Door) {
    let hello = |token, id| RequestBody::Hello { token, client: CLIENT, disk: id };
    let mut wrong = door.token;
    wrong[31] ^= 1;
    assert_code(
        "a wrong token",
        door.connect().unwrap().ask(hello(wrong, door.disk)),
        &[ErrorCode::Unauthorized],
    );
    let other = DiskId([9; 16]);
    assert_code(
        "another disk's name",
        door.connect().unwrap().ask(hello(door.token, other)),
        &[ErrorCode::Unauthorized],
    );
    assert_refused("an open before a hello", door.connect().unwrap().ask(open(1)));
    assert_refused("a write before an open", door.hello(CLIENT).ask(write(version(1, 1), 1)));
    let reply = Reply { sequence: 1, body: ReplyBody::Ack }.encode();
    assert_refused("a reply", door.hello(CLIENT).send(&reply.head));
}

/// Lengths, types and checksums that lie; frames cut anywhere.
fn malformed(door: &Door, random: &mut Random) {
    for len in [u32::MAX, u32::MAX / 2, 1 << 30, proto::limits::MAX_PAYLOAD_BYTES + 1] {
        let mut header = FrameHeader::new(FrameType::Write, 9);
        header.payload_len = len;
        assert_refused("an oversized frame", door.hello(CLIENT).send(&header.encode()));
    }
    for kind in [0u8, 0x70, 0x7f, 0xfe] {
        let mut bytes = FrameHeader::new(FrameType::DiskStat, 9).encode();
        bytes[5] = kind;
        let crc = crc32(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        assert_refused("an unknown type", door.hello(CLIENT).send(&bytes));
    }
    for _ in 0..40 {
        let mut peer = opened(door, 1);
        let mut bytes = peer.bytes(write(version(1, 5), 3));
        let at = random.below(bytes.len() as u64) as usize;
        bytes[at] ^= 1 << random.below(8);
        assert_refused("a frame with a flipped bit", peer.send(&bytes));
    }
    for _ in 0..40 {
        let mut peer = opened(door, 1);
        let bytes = peer.bytes(write(version(1, 5), 3));
        let cut = 1 + random.below(bytes.len() as u64 - 1) as usize;
        peer.stream.write_all(&bytes[..cut]).unwrap();
        peer.stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_refused("half a frame", peer.answer().map(|reply| reply.body));
    }
    // Nothing of that was stored.
    let mut peer = opened(door, 1);
    let range = BlockRange { volume: VOLUME, chunk: ChunkIndex(0), first: 0, count: 1 };
    match peer.ask(RequestBody::Read { range, epoch: VolumeEpoch(1) }) {
        Some(ReplyBody::Read { data, .. }) => {
            assert!(data.iter().all(|data| data.is_empty()), "something was stored")
        }
        other => panic!("{other:?}"),
    }
}

/// A frame of an older writer, of another epoch, of another volume, and the same frame twice.
fn replayed(door: &Door) {
    let mut old = opened(door, 2);
    let first = old.bytes(write(version(2, 1), 2));
    assert!(matches!(old.send(&first), Some(ReplyBody::Ack)));
    // The same again changes nothing: an equal version stays.
    match old.send(&first) {
        None | Some(ReplyBody::Ack | ReplyBody::Error(_)) => {}
        other => panic!("{other:?}"),
    }
    let mut new = opened(door, 3);
    assert!(matches!(new.ask(write(version(3, 1), 3)), Some(ReplyBody::Ack)));
    // The old writer is fenced, also when its frames come over the new one's connection.
    let mut late = door.hello(CLIENT);
    assert_code("an older writer's open", late.ask(open(2)), &[ErrorCode::Fenced]);
    let read = |volume| {
        let range = BlockRange { volume, chunk: ChunkIndex(0), first: 0, count: 1 };
        RequestBody::Read { range, epoch: VolumeEpoch(3) }
    };
    assert_refused("another volume's frame", new.ask(read(VolumeId(VOLUME.0 + 1))));
    assert_refused("an older writer's frame", new.send(&first));
    let mut reader = opened(door, 3);
    match reader.ask(read(VOLUME)) {
        Some(ReplyBody::Read { data, .. }) => {
            let data: Vec<u8> = data.iter().flat_map(|data| data.to_vec()).collect();
            assert!(data == vec![3; BLOCK], "the older writer's frame was applied");
        }
        other => panic!("{other:?}"),
    }
}
