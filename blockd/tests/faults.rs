//! Members that die, come back and lie, with real chunk servers and a control plane that keeps the map.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;

use blockd::ErrorKind;
use blockd::client::{Complaint, ControlError, ControlFuture, ControlHandle, ControlPlane, Holes, Volume};
use bytes::Bytes;
use cluster::{Cluster, GROUPS};
use proto::control::{MemberState, PoolMap};
use proto::units::CHUNK_BYTES;
use proto::{DiskId, GroupEpoch, GroupId};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::timeout;

const DISK_BYTES: u64 = 512 << 20;
const VOLUME_BYTES: u64 = 32 << 20;
const PATIENCE: Duration = Duration::from_secs(60);

/// The control plane's rules of membership, over a map in memory.
struct Control {
    map: Mutex<PoolMap>,
    evictions: AtomicU64,
}

impl Control {
    fn of(cluster: &Cluster) -> Arc<Self> {
        let map = cluster.volume(1, 1, VOLUME_BYTES).lease.map;
        Arc::new(Self { map: Mutex::new(map), evictions: AtomicU64::new(0) })
    }

    fn map(&self) -> PoolMap {
        self.map.lock().unwrap().clone()
    }

    fn take_out(&self, disk: DiskId, groups: &[(GroupId, GroupEpoch)]) -> PoolMap {
        let mut map = self.map.lock().unwrap();
        for (id, epoch) in groups {
            let group = &mut map.groups[id.0 as usize];
            let others = group.in_sync().filter(|member| member.disk != disk).count();
            let member = group.members.iter_mut().find(|member| member.disk == disk);
            if let Some(member) = member
                && group.epoch == *epoch
                && others > 0
            {
                member.state = MemberState::Out;
                group.epoch.0 += 1;
            }
        }
        map.version += 1;
        map.clone()
    }

    /// A server listens elsewhere now.
    fn moved(&self, cluster: &Cluster, number: usize) {
        let mut map = self.map.lock().unwrap();
        map.disks[number] = cluster.place(number);
        map.version += 1;
    }

    fn is_out(&self, number: usize) -> bool {
        let disk = Cluster::disk_id(number);
        self.map().groups.iter().all(|group| group.member(disk).unwrap().state == MemberState::Out)
    }
}

struct Line(Arc<Control>);

impl ControlPlane for Line {
    fn evict(
        &self,
        disk: DiskId,
        groups: Vec<(GroupId, GroupEpoch)>,
        _: (Complaint, String),
    ) -> ControlFuture<PoolMap> {
        self.0.evictions.fetch_add(1, Ordering::Relaxed);
        let map = self.0.take_out(disk, &groups);
        Box::pin(async move { Ok::<_, ControlError>(map) })
    }

    fn map_since(&self, version: u64) -> ControlFuture<Option<PoolMap>> {
        let map = Some(self.0.map()).filter(|map| map.version > version);
        Box::pin(async move { Ok(map) })
    }
}

async fn open(cluster: &Cluster, control: &Arc<Control>, volume: u64, epoch: u32) -> Volume {
    let mut config = cluster.volume(volume, epoch, VOLUME_BYTES);
    config.lease.map = control.map();
    config.control =
        Some(ControlHandle::new(Arc::new(Line(Arc::clone(control))), tokio::runtime::Handle::current()));
    timeout(PATIENCE, Volume::open(config)).await.expect("opens in time").unwrap()
}

fn filled(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

/// A task that rewrites its own part of the volume, round after round, until it is told to stop; it gives
/// its last round. Every round ends with a flush.
struct Load {
    stop: Arc<AtomicBool>,
    rounds: Vec<Arc<AtomicU64>>,
    tasks: Vec<tokio::task::JoinHandle<u8>>,
}

const PARTS: u64 = 4;
const STEP: u64 = VOLUME_BYTES / PARTS;

impl Load {
    fn start(volume: &Volume) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (mut rounds, mut tasks) = (Vec::new(), Vec::new());
        for part in 0..PARTS {
            let (volume, stop, round) = (volume.clone(), Arc::clone(&stop), Arc::new(AtomicU64::new(0)));
            rounds.push(Arc::clone(&round));
            tasks.push(tokio::spawn(async move {
                let mut fill = 0u8;
                while !stop.load(Ordering::Relaxed) {
                    fill = fill % 250 + 1;
                    for at in 0..8 {
                        let offset = part * STEP + at * (CHUNK_BYTES / 4) + 512;
                        volume.write(offset, filled(fill, 10_000 / 512 * 512)).await.expect("no error");
                    }
                    volume.flush().await.expect("no error");
                    round.fetch_add(1, Ordering::Relaxed);
                }
                fill
            }));
        }
        Self { stop, rounds, tasks }
    }

    fn done(&self) -> u64 {
        self.rounds.iter().map(|round| round.load(Ordering::Relaxed)).min().unwrap()
    }

    /// Waits until every task has done so many rounds more.
    async fn go_on(&self, rounds: u64) {
        let goal = self.done() + rounds;
        let waiting = async {
            while self.done() < goal {
                assert!(!self.tasks.iter().any(|task| task.is_finished()), "a task failed");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, waiting).await.expect("writes go on");
    }

    /// Ends it, and checks that the volume holds what was written last.
    async fn check(self, volume: &Volume) -> Vec<u8> {
        self.stop.store(true, Ordering::Relaxed);
        let mut fills = Vec::new();
        for task in self.tasks {
            fills.push(timeout(PATIENCE, task).await.expect("ends").unwrap());
        }
        check(volume, &fills).await;
        fills
    }
}

async fn check(volume: &Volume, fills: &[u8]) {
    for (part, &fill) in (0..PARTS).zip(fills) {
        for at in 0..8 {
            let offset = part * STEP + at * (CHUNK_BYTES / 4) + 512;
            let len = 10_000 / 512 * 512;
            let seen = volume.read(offset, len, Holes::Zeros).await.unwrap();
            assert!(seen == filled(fill, len), "part {part}, {at}: {} is not {fill}", seen[0]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_server_is_evicted_while_writes_go_on() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let control = Control::of(&cluster);
    let volume = open(&cluster, &control, 1, 1).await;
    let load = Load::start(&volume);
    load.go_on(3).await;
    cluster.kill_one(1);
    load.go_on(3).await;
    assert!(control.is_out(1) && control.evictions.load(Ordering::Relaxed) == 1);
    let fills = load.check(&volume).await;
    volume.close().await;
    // The next writer opens with the two that are left, and finds all of it.
    let volume = open(&cluster, &control, 1, 2).await;
    check(&volume, &fills).await;
    assert!(!control.is_out(0) && !control.is_out(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_two_killed_writes_wait_until_they_are_back_elsewhere() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let control = Control::of(&cluster);
    let volume = open(&cluster, &control, 1, 1).await;
    let load = Load::start(&volume);
    load.go_on(2).await;
    cluster.kill_one(0);
    cluster.kill_one(2);
    // Past the grace, and the report of the one that is evicted.
    let evicted = async {
        while !control.is_out(0) && !control.is_out(2) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, evicted).await.unwrap();
    let before = load.done();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(load.done() <= before + 1, "writes wait");
    volume.read(512, 4096, Holes::Zeros).await.unwrap();
    for number in [0, 2] {
        cluster.start_one(number);
        control.moved(&cluster, number);
    }
    load.go_on(3).await;
    assert!(control.is_out(0) != control.is_out(2), "one leaves; the other would help nobody by it");
    load.check(&volume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_comes_back_without_what_it_acked_is_evicted() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let control = Control::of(&cluster);
    let volume = open(&cluster, &control, 1, 1).await;
    volume.write(0, filled(1, 8192)).await.unwrap();
    volume.flush().await.unwrap();
    let old = cluster.path(1).with_extension("old");
    std::fs::copy(cluster.path(1), &old).unwrap();
    let load = Load::start(&volume);
    load.go_on(2).await;
    cluster.kill_one(1);
    std::fs::rename(&old, cluster.path(1)).unwrap();
    cluster.start_one(1);
    control.moved(&cluster, 1);
    load.go_on(3).await;
    assert!(control.is_out(1));
    load.check(&volume).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eviction_by_somebody_else_is_heard_of_without_an_error() {
    let cluster = Cluster::start(DISK_BYTES);
    let control = Control::of(&cluster);
    let first = open(&cluster, &control, 1, 1).await;
    let load = Load::start(&first);
    load.go_on(2).await;
    let groups: Vec<_> = control.map().groups.iter().map(|group| (group.id, group.epoch)).collect();
    control.take_out(Cluster::disk_id(2), &groups);
    // Another volume's writer brings the new epochs to the servers.
    let second = open(&cluster, &control, 2, 1).await;
    for chunk in 0..VOLUME_BYTES / CHUNK_BYTES {
        second.write(chunk * CHUNK_BYTES, filled(9, 4096)).await.unwrap();
    }
    load.go_on(3).await;
    load.check(&first).await;
    assert_eq!(control.evictions.load(Ordering::Relaxed), 0);
    assert!(control.map().groups.len() == GROUPS as usize && control.is_out(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_writer_fences_the_first_while_that_writes() {
    let cluster = Cluster::start(DISK_BYTES);
    let control = Control::of(&cluster);
    let first = open(&cluster, &control, 1, 1).await;
    let writer = first.clone();
    let writing = tokio::spawn(async move {
        let mut acked = 0u8;
        for fill in 1..=u8::MAX {
            match writer.write(0, filled(fill, 64 << 10)).await {
                Ok(()) => acked = fill,
                Err(error) => return (acked, fill, error),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the first writer was never fenced");
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let second = open(&cluster, &control, 1, 2).await;
    let seen = second.read(0, 64 << 10, Holes::Zeros).await.unwrap();
    let (acked, failed, error) = timeout(PATIENCE, writing).await.unwrap().unwrap();
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert!(seen[0] == acked || seen[0] == failed, "{} was seen, {acked} was acked", seen[0]);
    assert!(seen.iter().all(|byte| *byte == seen[0]), "one write, whole");
    second.write(0, filled(0xee, 4096)).await.unwrap();
    assert!(first.write(0, filled(1, 4096)).await.is_err() && first.flush().await.is_err());
    assert!(second.read(0, 4096, Holes::Zeros).await.unwrap() == filled(0xee, 4096));
    assert_eq!(control.evictions.load(Ordering::Relaxed), 0);
}
