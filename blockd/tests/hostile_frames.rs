//! What a hostile or broken peer sends to a chunk server: replayed, truncated, oversized and unknown frames
//! (HOSTILE 35 to 37). Each is refused, and the server goes on serving others.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;
#[path = "cluster/probe.rs"]
mod probe;

use bytes::Bytes;
use cluster::{Cluster, GROUPS, TOKEN};
use probe::Probe;
use proto::checksum::{BlockCrcs, crc32};
use proto::message::{BlockRange, OpenMode, ReplyBody, Request, RequestBody, WriteKind};
use proto::units::BLOCK_LEN;
use proto::{ChunkIndex, ClientId, DiskId, ErrorCode, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

const VOLUME: u64 = 5;

fn range(volume: u64) -> BlockRange {
    BlockRange { volume: VolumeId(volume), chunk: ChunkIndex(0), first: 0, count: 2 }
}

fn version(epoch: u32, counter: u64) -> Version {
    Version(Version::first_of(VolumeEpoch(epoch)).0 + counter)
}

fn copy_in(version: Version) -> RequestBody {
    let data = Bytes::from(vec![3; 2 * BLOCK_LEN]);
    RequestBody::CopyIn { range: range(VOLUME), version, expect: None, crcs: BlockCrcs::of(&data), data }
}

/// One of every request that names what is on a disk.
fn requests() -> Vec<RequestBody> {
    let (volume, group) = (VolumeId(VOLUME), GroupId(1));
    let data = Bytes::from(vec![3; 2 * BLOCK_LEN]);
    let crcs = BlockCrcs::of(&data);
    vec![
        RequestBody::Write {
            range: range(VOLUME),
            version: version(2, 1),
            crcs,
            data,
            kind: WriteKind::Normal,
        },
        RequestBody::Trim { range: range(VOLUME), version: version(2, 1), kind: WriteKind::Normal },
        RequestBody::Read { range: range(VOLUME), epoch: VolumeEpoch(2) },
        RequestBody::Flush { volume, through: Version::ZERO, stable: Version::ZERO, whole: true },
        RequestBody::List { volume, above: Version::ZERO, cursor: 0 },
        RequestBody::Digests { volume, group, groups: GROUPS, cursor: 0 },
        RequestBody::ListChunk { volume, chunk: ChunkIndex(0) },
        copy_in(version(2, 1)),
        RequestBody::CopyTrim { range: range(VOLUME), version: version(2, 1) },
        RequestBody::Fence { volume, epoch: VolumeEpoch(9) },
        RequestBody::Verify { range: range(VOLUME) },
        RequestBody::AdoptGroup { group },
        RequestBody::ClearGroup { group, groups: GROUPS },
        RequestBody::Volumes { cursor: 0 },
        RequestBody::DiskStat,
    ]
}

fn frame(sequence: u64, body: RequestBody) -> Vec<u8> {
    let request = Request { sequence, settled: Version::ZERO, group_epoch: GroupEpoch(1), body };
    let encoded = request.encode();
    [&encoded.head[..], &encoded.data.concat()].concat()
}

/// Says hello, sends `bytes` and nothing more; returns what came back behind the greeting until the server
/// hung up, which it must.
fn send_and_hang_up(cluster: &Cluster, bytes: &[u8]) -> usize {
    let place = cluster.place(0);
    let mut stream = TcpStream::connect(place.addr).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let client = ClientId([4; 16]);
    stream.write_all(&frame(0, RequestBody::Hello { token: TOKEN.0, client, disk: place.disk })).unwrap();
    let mut greeting = [0; 64 + 32];
    stream.read_exact(&mut greeting).unwrap();
    // The server may hang up in the middle of it.
    let _ = stream.write_all(bytes).and_then(|()| stream.shutdown(Shutdown::Write));
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    rest.len()
}

fn resealed(mut frame: Vec<u8>, change: impl FnOnce(&mut [u8])) -> Vec<u8> {
    change(&mut frame);
    let crc = crc32(&frame[..60]);
    frame[60..64].copy_from_slice(&crc.to_le_bytes());
    frame
}

#[test]
fn damaged_frames_end_their_connection_and_nothing_else() {
    let cluster = Cluster::start(128 << 20);
    for body in requests() {
        let whole = frame(1, body.clone());
        for len in [1, 63, 64, whole.len() / 2, whole.len() - 1] {
            if len < whole.len() {
                assert_eq!(send_and_hang_up(&cluster, &whole[..len]), 0, "{len} bytes of {body:?}");
            }
        }
        let mut flipped = whole.clone();
        flipped[20] ^= 4;
        assert_eq!(send_and_hang_up(&cluster, &flipped), 0, "a bit of the header of {body:?}");
        for len in [u32::MAX, proto::limits::MAX_PAYLOAD_BYTES + 1] {
            let long = resealed(whole.clone(), |head| head[52..56].copy_from_slice(&len.to_le_bytes()));
            assert_eq!(send_and_hang_up(&cluster, &long), 0, "{len} bytes of payload in {body:?}");
        }
        for kind in [0, 19, 0x84, 0x87, 0x92, 0xff] {
            let strange = resealed(whole.clone(), |head| head[5] = kind);
            assert_eq!(send_and_hang_up(&cluster, &strange), 0, "{body:?} as type {kind}");
        }
        if whole.len() > 64 {
            let mut table = whole.clone();
            table[64] ^= 1;
            assert_eq!(send_and_hang_up(&cluster, &table), 0, "a bit of the table of {body:?}");
        }
    }
    let mut probe = Probe::connect(&cluster.place(0), 1);
    assert!(matches!(probe.ask(RequestBody::DiskStat), Ok(ReplyBody::DiskStat(_))));
    assert_eq!(probe.volumes().len(), 0, "and nothing of all that was done");
}

#[test]
fn frames_replayed_elsewhere_are_refused() {
    let cluster = Cluster::start(128 << 20);
    let place = cluster.place(0);
    let mut writer = Probe::connect(&place, 3);
    writer.open(VOLUME, OpenMode::Writer, 2).unwrap();
    let mut repairer = Probe::connect(&place, 3);
    repairer.open(VOLUME, OpenMode::Repair, 0).unwrap();
    let code = |probe: &mut Probe, body| probe.ask(body).unwrap_err().code;
    // On a connection that opened nothing, or another volume (row 37: a lease for one used on another).
    let mut other = Probe::connect(&place, 3);
    other.open(VOLUME + 1, OpenMode::Writer, 2).unwrap();
    other.open(VOLUME + 2, OpenMode::Repair, 0).unwrap();
    let free = |body: &RequestBody| {
        matches!(
            body,
            RequestBody::AdoptGroup { .. }
                | RequestBody::ClearGroup { .. }
                | RequestBody::Volumes { .. }
                | RequestBody::DiskStat
        )
    };
    for body in requests().into_iter().filter(|body| !free(body)) {
        assert_eq!(code(&mut other, body.clone()), ErrorCode::BadRequest, "{body:?}");
    }
    // Of another epoch of the group, or of the volume; above the fence; to another disk.
    for group in 0..GROUPS {
        repairer.ask(RequestBody::AdoptGroup { group: GroupId(group) }).unwrap();
    }
    repairer.epoch = GroupEpoch(2);
    assert_eq!(code(&mut repairer, copy_in(version(2, 1))), ErrorCode::StaleGroupEpoch);
    repairer.epoch = GroupEpoch(3);
    assert_eq!(code(&mut repairer, copy_in(version(3, 1))), ErrorCode::BadRequest);
    repairer.ask(copy_in(version(2, 1))).unwrap();
    assert_eq!(code(&mut repairer, requests().remove(0)), ErrorCode::BadRequest, "a write among copies");
    let mut next = Probe::connect(&place, 3);
    repairer.ask(RequestBody::Fence { volume: VolumeId(VOLUME), epoch: VolumeEpoch(4) }).unwrap();
    assert_eq!(code(&mut writer, requests().remove(0)), ErrorCode::Fenced, "a copied fence fences, too");
    let open = next.open(VOLUME, OpenMode::Writer, 3).unwrap_err();
    assert_eq!(open.code, ErrorCode::Fenced);
    let elsewhere = RequestBody::Hello { token: TOKEN.0, client: ClientId([4; 16]), disk: DiskId([9; 16]) };
    assert_eq!(code(&mut next, elsewhere), ErrorCode::Unauthorized);
}
