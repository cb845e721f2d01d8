//! The whole block path: a foreign driver, the device, and three real chunk servers on three files.

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use crate::device::{Device, DeviceConfig, DeviceHandle};
use crate::error::ErrorKind;
use crate::test_client::{Client, Io};
use blockd::client::{Complaint, ControlFuture, ControlHandle, ControlPlane, OnFull, VolumeConfig};
use blockd::server::{ChunkServer, Missing, ServerConfig};
use proto::control::{DiskPlace, Group, Lease, Member, MemberState, PoolMap, PoolToken};
use proto::{ClientId, DiskId, GroupEpoch, GroupId, NodeId, VolumeEpoch, VolumeId};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

const SIZE: u64 = 48 << 20;
const DISK_BYTES: u64 = 1 << 30;
const TOKEN: PoolToken = PoolToken([7; 32]);

fn start_servers(folder: &Path) -> Vec<ChunkServer> {
    let start = |number: u8| {
        ChunkServer::start(ServerConfig {
            path: folder.join(format!("disk{number}")),
            disk: DiskId([number; 16]),
            missing: Missing::Create { len_bytes: DISK_BYTES },
            listen: "127.0.0.1:0".parse().unwrap(),
            token: TOKEN,
        })
        .unwrap()
    };
    (1..=3).map(start).collect()
}

fn volume(servers: &[ChunkServer], epoch: u32) -> VolumeConfig {
    let places =
        servers.iter().map(|server| DiskPlace { disk: server.disk(), node: NodeId(1), addr: server.addr() });
    let member = |server: &ChunkServer| Member::in_sync(server.disk());
    let group =
        |id| Group { id: GroupId(id), epoch: GroupEpoch(1), members: servers.iter().map(member).collect() };
    let map = PoolMap {
        groups: (0..8).map(group).collect(),
        disks: places.collect(),
        copies: Vec::new(),
        min_in_sync: 2,
        version: 1,
    };
    let lease = Lease { volume: VolumeId(5), epoch: VolumeEpoch(epoch), size_bytes: SIZE, map };
    VolumeConfig {
        lease,
        token: TOKEN,
        client: ClientId([epoch as u8; 16]),
        on_full: OnFull::Wait,
        control: None,
    }
}

fn serve(folder: &Path, servers: &[ChunkServer], epoch: u32) -> DeviceHandle {
    let socket = folder.join("disk.sock");
    let config =
        DeviceConfig { num_queues: 3, ..DeviceConfig::new(socket, "five".into(), volume(servers, epoch)) };
    Device::serve(config).unwrap()
}

struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % below
    }
}

/// A round of requests that are all in flight at once, of any sectors, each within a slot of its own.
fn round(client: &mut Client, model: &mut [u8], dice: &mut Dice) {
    const STRIPE: u64 = 1 << 20;
    const SLOT: u64 = 128 << 10;
    let base = dice.roll(SIZE / STRIPE) * STRIPE;
    let mut expected = Vec::new();
    let mut queued = [0; 3];
    for slot in 0..8u64 {
        let len = 512 * (1 + dice.roll(SLOT / 512));
        let offset = base + slot * SLOT + 512 * dice.roll((SLOT - len) / 512 + 1);
        let queue = dice.roll(3) as usize;
        let range = offset as usize..(offset + len) as usize;
        let at = slot * SLOT;
        queued[queue] += 1;
        let io = match dice.roll(8) {
            0..3 => {
                let fill = dice.roll(256) as u8;
                let data: Vec<u8> = (0..len).map(|at| fill.wrapping_add((at / 7) as u8)).collect();
                client.put(at, &data);
                model[range].copy_from_slice(&data);
                Io::Write { offset, len }
            }
            3..6 => {
                expected.push((at, range));
                Io::Read { offset, len }
            }
            6 => {
                model[range].fill(0);
                Io::WriteZeroes { offset, len }
            }
            _ => Io::Flush,
        };
        client.submit(queue, io, at as usize);
    }
    (0..3).for_each(|queue| client.kick(queue));
    for (queue, count) in queued.into_iter().enumerate() {
        assert!(client.wait(queue, count).iter().all(|&result| result == 0));
    }
    for (at, range) in expected {
        assert!(client.get(at, range.len()) == model[range.clone()], "{range:?}");
    }
}

fn check_all(client: &mut Client, model: &[u8]) {
    const STEP: usize = 1 << 20;
    for offset in (0..SIZE).step_by(STEP) {
        assert_eq!(client.io(0, Io::Read { offset, len: STEP as u64 }), 0);
        assert!(client.get(0, STEP) == model[offset as usize..offset as usize + STEP], "at {offset}");
    }
}

#[test]
fn a_replicated_disk_keeps_what_it_was_given() {
    let folder = tempfile::tempdir().unwrap();
    let servers = start_servers(folder.path());
    let socket = folder.path().join("disk.sock");
    let mut model = vec![0; SIZE as usize];
    let mut dice = Dice(11);

    let device = serve(folder.path(), &servers, 1);
    for _ in 0..2 {
        let mut client = Client::connect(&socket, 3);
        assert_eq!(client.capacity(), SIZE);
        for _ in 0..150 {
            round(&mut client, &mut model, &mut dice);
        }
        assert_eq!(client.io(1, Io::Flush), 0);
        check_all(&mut client, &model);
    }
    assert_eq!(device.status().errors, 0);
    device.stop();

    // Another device, so another writer: it finds the same.
    let device = serve(folder.path(), &servers, 2);
    let mut client = Client::connect(&socket, 3);
    check_all(&mut client, &model);
    // Discarded whole blocks read as zeros.
    assert_eq!(client.io(0, Io::Discard { offset: 0, len: SIZE }), 0);
    model.fill(0);
    check_all(&mut client, &model);
    drop(client);
    device.stop();

    // The chunk servers restart, and the disk is what it was.
    servers.into_iter().for_each(|server| server.stop().unwrap());
    let servers = start_servers(folder.path());
    let _device = serve(folder.path(), &servers, 3);
    let mut client = Client::connect(&socket, 3);
    check_all(&mut client, &model);
    round(&mut client, &mut model, &mut dice);
    check_all(&mut client, &model);
}

#[test]
fn sectors_of_one_block_written_at_once_are_all_kept() {
    let folder = tempfile::tempdir().unwrap();
    let servers = start_servers(folder.path());
    let device = serve(folder.path(), &servers, 1);
    let mut client = Client::connect(&folder.path().join("disk.sock"), 2);
    for turn in 0..40u8 {
        let base = u64::from(turn % 4) * 4096;
        for sector in 0..8u8 {
            let at = u64::from(sector) * 512;
            client.put(at, &[turn * 6 + sector; 512]);
            client.submit(usize::from(sector % 2), Io::Write { offset: base + at, len: 512 }, at as usize);
        }
        (0..2).for_each(|queue| client.kick(queue));
        (0..2).for_each(|queue| assert_eq!(client.wait(queue, 4), [0; 4]));
        assert_eq!(client.io(0, Io::Read { offset: base, len: 4096 }), 0);
        let block = client.get(0, 4096);
        for (sector, bytes) in (0..8u8).zip(block.chunks(512)) {
            assert!(bytes.iter().all(|&byte| byte == turn * 6 + sector), "turn {turn} sector {sector}");
        }
    }
    drop(client);
    device.stop();
}

/// Takes every disk that is reported out of all its groups.
struct Evicts(Mutex<PoolMap>);

impl ControlPlane for Evicts {
    fn evict(
        &self,
        disk: DiskId,
        _: Vec<(GroupId, GroupEpoch)>,
        _: (Complaint, String),
    ) -> ControlFuture<PoolMap> {
        let mut map = self.0.lock().unwrap();
        map.version += 1;
        for group in &mut map.groups {
            group.epoch.0 += 1;
            let mut members = group.members.iter_mut();
            members.find(|member| member.disk == disk).unwrap().state = MemberState::Out;
        }
        let map = map.clone();
        Box::pin(async move { Ok(map) })
    }

    fn map_since(&self, version: u64) -> ControlFuture<Option<PoolMap>> {
        let map = Some(self.0.lock().unwrap().clone()).filter(|map| map.version > version);
        Box::pin(async move { Ok(map) })
    }
}

#[test]
fn a_lost_replica_is_a_pause_and_never_a_lie() {
    let folder = tempfile::tempdir().unwrap();
    let mut servers = start_servers(folder.path());
    let socket = folder.path().join("disk.sock");
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let mut volume = volume(&servers, 1);
    let evicts = Arc::new(Evicts(Mutex::new(volume.lease.map.clone())));
    volume.control = Some(ControlHandle::new(evicts.clone(), runtime.handle().clone()));
    let device = Device::serve(DeviceConfig::new(socket.clone(), "five".into(), volume)).unwrap();
    let mut client = Client::connect(&socket, 1);
    client.put(0, &[3; 4096]);
    assert_eq!(client.io(0, Io::Write { offset: 8192, len: 4096 }), 0);
    assert_eq!(client.io(0, Io::Flush), 0);

    drop(servers.pop());
    client.put(0, &[4; 4096]);
    assert_eq!(client.io(0, Io::Write { offset: 8192, len: 4096 }), 0, "it waits, and is kept by two");
    assert!(evicts.0.lock().unwrap().version > 1, "the third has left first");
    assert_eq!(client.io(0, Io::Flush), 0);
    client.put(0, &[0; 4096]);
    assert_eq!(client.io(0, Io::Read { offset: 8192, len: 4096 }), 0);
    assert!(client.get(0, 4096) == [4; 4096]);
    assert_eq!(device.status().errors, 0);
    drop(client);
    device.stop();
}

#[test]
fn a_volume_that_does_not_open_is_not_served() {
    let folder = tempfile::tempdir().unwrap();
    let servers = start_servers(folder.path());
    let socket = folder.path().join("disk.sock");
    let stranger = VolumeConfig { token: PoolToken([8; 32]), ..volume(&servers, 1) };
    let error = Device::serve(DeviceConfig::new(socket.clone(), "five".into(), stranger)).map(drop);
    assert_eq!(error.unwrap_err().kind, ErrorKind::Volume);
    assert!(!socket.exists());
}

/// HOSTILE 33: what one guest asks for must not starve another one.
#[test]
fn a_flooding_guest_leaves_its_neighbour_a_share() {
    let folder = tempfile::tempdir().unwrap();
    let servers = start_servers(folder.path());
    let serve = |name: &str, id: u64| {
        let mut volume = volume(&servers, 1);
        volume.lease.volume = VolumeId(id);
        volume.client = ClientId([id as u8; 16]);
        let socket = folder.path().join(name);
        (Device::serve(DeviceConfig::new(socket.clone(), name.into(), volume)).unwrap(), socket)
    };
    let (flooded, flood_socket) = serve("flood", 8);
    let (device, socket) = serve("quiet", 9);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut client = Client::connect(&flood_socket, 8);
            let mut dice = Dice(1);
            while !is_over.load(Ordering::Relaxed) {
                for queue in 0..8 {
                    for _ in 0..100 {
                        client.submit(queue, Io::Write { offset: 4096 * dice.roll(8192), len: 4096 }, 0);
                    }
                    client.kick(queue);
                }
                for queue in 0..8 {
                    client.wait(queue, 100);
                }
            }
        });
        let mut client = Client::connect(&socket, 1);
        // It keeps 128 in flight, the flood more than six times as many.
        let mut next = 0;
        let mut submit = |client: &mut Client, count: usize| {
            for _ in 0..count {
                client.submit(0, Io::Write { offset: 4096 * (next % 8192), len: 4096 }, 0);
                next += 1;
            }
            client.kick(0);
        };
        submit(&mut client, 128);
        let (before, own) = (flooded.status().writes, device.status().writes);
        for _ in 0..250 {
            assert_eq!(client.wait(0, 16), [0; 16]);
            submit(&mut client, 16);
        }
        let (flood, own) = (flooded.status().writes - before, device.status().writes - own);
        // 80 % of a half.
        assert!(own * 100 >= (own + flood) * 40, "{own} writes beside {flood}");
        assert!(flood > 1000, "that was no flood: {flood}");
        is_over.store(true, Ordering::Relaxed);
    });
    device.stop();
    flooded.stop();
}
