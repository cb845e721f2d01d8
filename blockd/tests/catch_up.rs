//! A member comes back after it missed things, and catches up with one in sync: real servers, real files.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;
#[path = "cluster/probe.rs"]
mod probe;

use blockd::ErrorKind;
use blockd::client::catchup::{CatchUpConfig, CatchUpReport, Pace, Progress, catch_up};
use blockd::client::{Volume, VolumeConfig, admin};
use bytes::Bytes;
use cluster::{Cluster, Dice, GROUPS, TOKEN};
use probe::Probe;
use proto::checksum::BlockCrcs;
use proto::control::{DiskPlace, MemberState};
use proto::message::{BlockRange, OpenMode, RequestBody, WriteKind};
use proto::placement::group_of;
use proto::units::{BLOCK_BYTES, BLOCK_LEN};
use proto::{ChunkId, ChunkIndex, ClientId, ErrorCode, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId};
use rt::rng::{Rng, SystemRng};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DISK_BYTES: u64 = 512 << 20;
const VOLUME_BYTES: u64 = 64 << 20;
/// The disk that goes away.
const AWAY: usize = 2;

/// `config` for another writer, with these members, at a later epoch of every group.
fn again(config: &VolumeConfig, volume: u64, epoch: u32, members: usize, group_epoch: u32) -> VolumeConfig {
    let mut config = config.clone();
    config.client = ClientId(SystemRng.id());
    (config.lease.volume, config.lease.epoch) = (VolumeId(volume), VolumeEpoch(epoch));
    for group in &mut config.lease.map.groups {
        group.members[members..].iter_mut().for_each(|member| member.state = MemberState::Out);
        group.epoch = GroupEpoch(group_epoch);
    }
    config
}

async fn open(config: VolumeConfig) -> Volume {
    tokio::time::timeout(Duration::from_secs(30), Volume::open(config)).await.expect("opens in time").unwrap()
}

/// Writes and trims at random; returns the blocks that were written.
async fn scribble(volume: &Volume, dice: &mut Dice, operations: usize) -> BTreeSet<u64> {
    let mut written = BTreeSet::new();
    for _ in 0..operations {
        let blocks = if dice.roll(10) == 0 { 1 + dice.roll(100) } else { 1 + dice.roll(3) };
        let first = dice.roll(VOLUME_BYTES / BLOCK_BYTES - blocks);
        let (offset, len) = (first * BLOCK_BYTES, blocks * BLOCK_BYTES);
        if dice.roll(6) == 0 {
            volume.trim(offset, len).await.unwrap();
            written.retain(|block| !(first..first + blocks).contains(block));
        } else {
            let data = dice.bytes(usize::try_from(len).unwrap());
            volume.write(offset, data.into()).await.unwrap();
            written.extend(first..first + blocks);
        }
    }
    written
}

fn config(cluster: &Cluster, group: u32, epoch: u32, progress: &Arc<Progress>) -> CatchUpConfig {
    CatchUpConfig {
        target: cluster.place(AWAY),
        source: cluster.place(0),
        others: vec![cluster.place(1)],
        group: GroupId(group),
        epoch: GroupEpoch(epoch),
        groups: GROUPS,
        token: TOKEN,
        leases: Vec::new(),
        pace: Pace { bytes_per_second: 200 << 20 },
        progress: Arc::clone(progress),
    }
}

/// In every group.
async fn catch_all_up(cluster: &Cluster, epoch: u32) -> CatchUpReport {
    let progress = Arc::new(Progress::default());
    let mut all = CatchUpReport::default();
    for group in 0..GROUPS {
        let running = catch_up(config(cluster, group, epoch, &progress));
        let report = tokio::time::timeout(Duration::from_secs(60), running).await.expect("ends").unwrap();
        all.bytes_copied += report.bytes_copied;
        all.blocks_trimmed += report.blocks_trimmed;
        all.volumes_deleted = all.volumes_deleted.max(report.volumes_deleted);
        all.orphans_replaced += report.orphans_replaced;
        all.chunks_compared += report.chunks_compared;
    }
    let seen = progress.snapshot();
    assert_eq!((seen.finished_runs, seen.percent()), (GROUPS.into(), 100));
    assert_eq!(seen.done_bytes, all.bytes_copied);
    all
}

/// A write of a writer that died before it reached another member: in the volume's last block but one.
fn leave_orphan(place: &DiskPlace) {
    let mut probe = Probe::connect(place, 1);
    probe.open(2, OpenMode::Writer, 2).unwrap();
    let data = Bytes::from(vec![66; BLOCK_LEN]);
    let version = Version(Version::first_of(VolumeEpoch(2)).0 + 7);
    let range = BlockRange { volume: VolumeId(2), chunk: ChunkIndex(40), first: 1022, count: 1 };
    let crcs = BlockCrcs::of(&data);
    probe.ask(RequestBody::Write { range, version, crcs, data, kind: WriteKind::Normal }).unwrap();
    probe
        .ask(RequestBody::Flush {
            volume: VolumeId(2),
            through: version,
            stable: Version::ZERO,
            whole: false,
        })
        .unwrap();
}

/// Byte for byte and version for version. Of a trim, one may know longer than the other.
fn assert_same(cluster: &Cluster, volume: u64, epoch: u32) {
    let held = |number| Probe::connect(&cluster.place(number), epoch).blocks(volume);
    let (source, target) = (held(0), held(AWAY));
    assert!(!source.is_empty());
    for (block, known) in &source {
        assert!(target.get(block) == Some(known), "volume {volume}: {block:?} differs");
    }
    assert!(target.iter().all(|(block, known)| source.contains_key(block) || known.1.is_none()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_holds_the_same_afterwards_while_a_writer_goes_on() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let before = cluster.volume(1, 1, VOLUME_BYTES);
    let mut dice = Dice(3);
    for number in [1, 2, 3] {
        let volume = open(again(&before, number, 1, 3, 1)).await;
        scribble(&volume, &mut dice, 60).await;
        volume.flush().await.unwrap();
        volume.close().await;
    }
    leave_orphan(&cluster.place(AWAY));
    cluster.kill_one(AWAY);
    let mut missed = 0;
    for number in [1, 2, 4] {
        let volume = open(again(&before, number, 3, 2, 2)).await;
        missed += scribble(&volume, &mut dice, 150).await.len() as u64;
        volume.flush().await.unwrap();
        volume.close().await;
    }
    for number in [0, 1] {
        admin::delete_volume(&cluster.place(number), TOKEN, VolumeId(3), VolumeEpoch(3)).await.unwrap();
    }
    cluster.start_one(AWAY);
    let mut present = cluster.volume(1, 4, VOLUME_BYTES);
    for group in &mut present.lease.map.groups {
        group.epoch = GroupEpoch(3);
        group.members[AWAY].state = MemberState::CatchingUp;
    }
    let writer = open(present).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut dice = Dice(9);
            let mut operations = 0;
            while !stop.load(Ordering::SeqCst) || operations < 50 {
                scribble(&writer, &mut dice, 1).await;
                operations += 1;
            }
            writer.flush().await.unwrap();
            writer.close().await;
        }
    });
    let report = catch_all_up(&cluster, 3).await;
    stop.store(true, Ordering::SeqCst);
    writing.await.unwrap();
    assert_eq!((report.volumes_deleted, report.orphans_replaced), (1, 1));
    assert!(report.bytes_copied > 0 && report.blocks_trimmed > 0, "{report:?}");
    assert!(report.bytes_copied <= 2 * missed * BLOCK_BYTES, "{report:?}, {missed} blocks were missed");
    for volume in [1, 2, 4] {
        assert_same(&cluster, volume, 3);
    }
    let volumes = |number| Probe::connect(&cluster.place(number), 3).volumes();
    assert_eq!(volumes(AWAY), volumes(0), "fences and deletions, too");
    // It is durable: a kill takes nothing away.
    cluster.kill_one(AWAY);
    cluster.start_one(AWAY);
    assert_same(&cluster, 4, 3);
    let again = catch_all_up(&cluster, 3).await;
    assert_eq!((again.bytes_copied, again.blocks_trimmed), (0, 0), "there is nothing left to copy");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_disk_gets_everything_and_an_old_epoch_is_refused_even_after_a_kill() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let two = cluster.volume(1, 1, VOLUME_BYTES);
    let volume = open(again(&two, 1, 1, 2, 4)).await;
    let written = scribble(&volume, &mut Dice(5), 200).await.len() as u64;
    volume.flush().await.unwrap();
    volume.close().await;
    let report = catch_all_up(&cluster, 5).await;
    assert_eq!(report.bytes_copied, written * BLOCK_BYTES);
    assert_same(&cluster, 1, 5);
    // The adoption outlives the source.
    cluster.kill_one(0);
    cluster.start_one(0);
    for (number, mode, epoch) in [(0, OpenMode::Writer, 9), (AWAY, OpenMode::Repair, 0)] {
        let mut probe = Probe::connect(&cluster.place(number), 4);
        probe.open(1, mode, epoch).unwrap();
        for group in 0..GROUPS {
            let stale = probe.ask(RequestBody::AdoptGroup { group: GroupId(group) }).unwrap_err();
            assert_eq!(stale.code, ErrorCode::StaleGroupEpoch);
        }
    }
    let progress = Arc::new(Progress::default());
    let error = catch_up(config(&cluster, 3, 4, &progress)).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    // Nobody there, and somebody else's token.
    let nowhere = config(&cluster, 3, 5, &progress);
    let mut strange = nowhere.clone();
    strange.token = proto::control::PoolToken([9; 32]);
    cluster.kill_one(0);
    for config in [nowhere, strange] {
        let error = catch_up(config).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
    }
    assert_eq!(progress.snapshot().total_bytes, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_source_killed_in_the_middle_is_followed_by_another() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let two = cluster.volume(1, 1, VOLUME_BYTES);
    let volume = open(again(&two, 1, 1, 2, 1)).await;
    let data = Bytes::from(Dice(8).bytes(1 << 20));
    for offset in (0..VOLUME_BYTES).step_by(1 << 20) {
        volume.write(offset, data.clone()).await.unwrap();
    }
    volume.flush().await.unwrap();
    volume.close().await;
    let progress = Arc::new(Progress::default());
    let mut copied = 0;
    for round in 0..3 {
        // Some groups hold none of the volume's chunks; each round takes another of those that do.
        let holds = |group: &u32| {
            (0..16).any(|index| {
                let chunk = ChunkId { volume: VolumeId(1), index: ChunkIndex(index) };
                group_of(chunk, GROUPS) == GroupId(*group)
            })
        };
        let group = (0..GROUPS).filter(holds).nth(round).unwrap();
        let before = progress.snapshot().done_bytes;
        let mut slow = config(&cluster, group, 1, &progress);
        slow.pace = Pace { bytes_per_second: 1 << 20 };
        let running = tokio::spawn(catch_up(slow));
        while progress.snapshot().done_bytes == before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let seen = progress.snapshot();
        assert!(seen.percent() < 100 && seen.done_bytes < seen.total_bytes, "{seen:?}");
        cluster.kill_one(0);
        let error = running.await.unwrap().unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{error}");
        copied += catch_up(config_without_source(&cluster, group, &progress)).await.unwrap().bytes_copied;
        cluster.start_one(0);
    }
    assert!(copied > 0, "the second source copied the rest");
    catch_all_up(&cluster, 1).await;
    assert_same(&cluster, 1, 1);
}

/// The second member is the source, and there is no other.
fn config_without_source(cluster: &Cluster, group: u32, progress: &Arc<Progress>) -> CatchUpConfig {
    CatchUpConfig {
        target: cluster.place(AWAY),
        source: cluster.place(1),
        others: Vec::new(),
        group: GroupId(group),
        epoch: GroupEpoch(1),
        groups: GROUPS,
        token: TOKEN,
        leases: Vec::new(),
        pace: Pace::UNLIMITED,
        progress: Arc::clone(progress),
    }
}
