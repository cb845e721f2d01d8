//! Digests, listings, horizons and adopted groups: what catch-up leans on.

use super::sim::{CLIENT, Cut, Rig, code, range};
use super::*;
use proto::message::BlockState;
use proto::{ChunkIndex, ErrorCode, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId};

const DISK: usize = 64 << 20;
const V: VolumeId = VolumeId(1);

fn digest(rig: &Rig, chunk: u32) -> u64 {
    rig.store.digest(V, ChunkIndex(chunk))
}

fn horizon(rig: &mut Rig, stable: u64, whole: bool) {
    let stable = Version(stable);
    rig.step(Event::Horizon { volume: V, settled: stable, stable, whole });
}

fn write(rig: &mut Rig, at: proto::message::BlockRange, version: u64, kind: WriteKind) {
    let ticket = rig.submit_write(at, version, kind);
    rig.settle();
    rig.result(ticket).unwrap();
}

fn trim(rig: &mut Rig, range: proto::message::BlockRange, version: u64, kind: WriteKind) {
    let ticket = rig.ticket();
    let session = Session { client: CLIENT, sequence: ticket.0 };
    rig.step(Event::Trim { ticket, session, range, version: Version(version), kind });
    rig.settle();
    rig.result(ticket).unwrap();
}

/// A catch-up takes away what its source holds nothing of, under the version it has.
#[test]
fn a_trim_takes_the_place_of_data_of_its_own_version_once() {
    let mut rig = Rig::new(DISK, 1);
    let at = range(1, 0, 5, 1);
    let is_trimmed = |rig: &Rig| {
        let runs = rig.store.chunk_runs(V, ChunkIndex(0));
        let runs: Vec<_> = runs.iter().map(|r| (r.first, r.count, r.version.0, r.state)).collect();
        runs == [(5, 1, 15, BlockState::Trimmed)] && rig.store.volume_stat(V).live_blocks == 0
    };
    write(&mut rig, at, 15, WriteKind::Normal);
    trim(&mut rig, at, 15, WriteKind::Repair);
    assert!(is_trimmed(&rig));
    rig.crash(Cut::Kill);
    rig.remount();
    assert!(is_trimmed(&rig));
    // The write comes again, late.
    write(&mut rig, at, 15, WriteKind::Normal);
    trim(&mut rig, at, 15, WriteKind::Repair);
    assert!(is_trimmed(&rig));
}

/// Two members that were told the same, in whatever order, in whatever pieces, agree; any difference shows.
#[test]
fn digests_are_equal_when_the_content_is() {
    let (mut a, mut b) = (Rig::new(DISK, 1), Rig::new(DISK, 2));
    let n = WriteKind::Normal;
    write(&mut a, range(1, 0, 0, 4), 5, n);
    write(&mut a, range(1, 0, 2, 1), 7, n);
    trim(&mut a, range(1, 0, 9, 2), 6, n);
    assert_ne!(digest(&a, 0), digest(&b, 0));
    trim(&mut b, range(1, 0, 9, 2), 6, WriteKind::Repair);
    for (first, count, version) in [(2, 1, 7), (3, 1, 5), (2, 1, 5), (0, 2, 5)] {
        assert_ne!(digest(&a, 0), digest(&b, 0));
        write(&mut b, range(1, 0, first, count), version, WriteKind::Repair);
    }
    assert_eq!(digest(&a, 0), digest(&b, 0));
    a.crash(Cut::Kill);
    a.remount();
    b.stop();
    b.remount();
    assert_eq!(digest(&a, 0), digest(&b, 0));
    // The same versions one block further are something else, and so is a trim in a write's place.
    let mut c = Rig::new(DISK, 3);
    write(&mut c, range(1, 0, 1, 1), 5, n);
    let one = digest(&c, 0);
    let mut d = Rig::new(DISK, 4);
    write(&mut d, range(1, 0, 2, 1), 5, n);
    assert_ne!(one, digest(&d, 0));
    let mut d = Rig::new(DISK, 4);
    trim(&mut d, range(1, 0, 1, 1), 5, n);
    assert_ne!(one, digest(&d, 0));
}

/// A change of these numbers makes every chunk differ between builds.
#[test]
fn golden_digests() {
    let mut rig = Rig::new(DISK, 1);
    write(&mut rig, range(1, 0, 3, 1), 5, WriteKind::Normal);
    trim(&mut rig, range(1, 1, 1023, 1), 1 << 40 | 7, WriteKind::Normal);
    assert_eq!([digest(&rig, 0), digest(&rig, 1), digest(&rig, 2)], GOLDEN);
}

const GOLDEN: [u64; 3] = [8_857_471_719_570_398_452, 1_944_473_376_299_023_143, 0];

/// A trim of a whole chunk and trims of its parts are the same; blocks above it are their own.
#[test]
fn a_trimmed_chunk_is_the_same_however_it_was_trimmed() {
    let (mut a, mut b) = (Rig::new(DISK, 1), Rig::new(DISK, 2));
    let n = WriteKind::Normal;
    write(&mut a, range(1, 0, 100, 3), 2, n);
    trim(&mut a, range(1, 0, 0, 1024), 9, n);
    write(&mut a, range(1, 0, 7, 1), 12, n);
    write(&mut b, range(1, 0, 7, 1), 12, n);
    trim(&mut b, range(1, 0, 0, 500), 9, n);
    trim(&mut b, range(1, 0, 500, 524), 9, n);
    assert_eq!(digest(&a, 0), digest(&b, 0));
    assert_eq!(a.store.chunk_runs(V, ChunkIndex(0)), b.store.chunk_runs(V, ChunkIndex(0)));
    let runs: Vec<_> = a
        .store
        .chunk_runs(V, ChunkIndex(0))
        .iter()
        .map(|r| (r.first, r.count, r.version.0, r.state))
        .collect();
    let (data, trimmed) = (BlockState::Data, BlockState::Trimmed);
    assert_eq!(runs, [(0, 7, 9, trimmed), (7, 1, 12, data), (8, 1016, 9, trimmed)]);
}

/// Tombstones go only when the writer says that the volume is whole, and a hole is then the same as one.
#[test]
fn tombstones_stay_until_every_group_is_whole() {
    let n = WriteKind::Normal;
    for chunk_trim in [false, true] {
        let (mut a, mut b) = (Rig::new(DISK, 1), Rig::new(DISK, 2));
        let trimmed = if chunk_trim { range(1, 0, 0, 1024) } else { range(1, 0, 0, 4) };
        for rig in [&mut a, &mut b] {
            write(rig, range(1, 0, 0, 4), 5, n);
            trim(rig, trimmed, 6, n);
            trim(rig, range(1, 0, 50, 1), 8, n);
            write(rig, range(1, 0, 90, 1), 7, n);
        }
        let before = digest(&a, 0);
        horizon(&mut a, 7, false);
        a.stop();
        a.remount();
        assert_eq!(digest(&a, 0), before, "stable alone forgets nothing");
        assert_eq!(a.store.volume_info(V).stable, Version(7));
        horizon(&mut a, 7, true);
        assert_ne!(digest(&a, 0), digest(&b, 0), "one has forgotten, the other has not yet");
        a.stop();
        a.remount();
        horizon(&mut b, 7, true);
        assert_eq!(digest(&a, 0), digest(&b, 0), "told is as good as done");
        assert_eq!(a.store.chunk_runs(V, ChunkIndex(0)), b.store.chunk_runs(V, ChunkIndex(0)));
        let left: Vec<_> =
            b.store.chunk_runs(V, ChunkIndex(0)).iter().map(|r| (r.first, r.version.0)).collect();
        assert_eq!(left, [(50, 8), (90, 7)]);
    }
}

#[test]
fn digests_and_volumes_come_in_pages() {
    let mut rig = Rig::new(DISK, 1);
    for chunk in [0, 2, 3, 9] {
        write(&mut rig, range(1, chunk, 0, 1), 5, WriteKind::Normal);
    }
    for volume in [7, 3, 12] {
        let fence = |ticket| Event::Fence { ticket, volume: VolumeId(volume), epoch: VolumeEpoch(2) };
        rig.simple(fence).unwrap();
    }
    rig.simple(|ticket| Event::DeleteVolume { ticket, volume: VolumeId(7) }).unwrap();
    let not_two = |chunk: ChunkIndex| chunk.0 != 2;
    let (first, next) = rig.store.digests(V, ChunkIndex(0), 3, not_two);
    assert_eq!(first.iter().map(|(chunk, _)| chunk.0).collect::<Vec<_>>(), [0, 3]);
    assert_eq!(next, Some(ChunkIndex(9)));
    let (rest, next) = rig.store.digests(V, ChunkIndex(9), 3, not_two);
    assert_eq!((rest, next), (vec![(ChunkIndex(9), digest(&rig, 9))], None));
    let (first, next) = rig.store.volumes(VolumeId(0), 2);
    assert_eq!(next, Some(VolumeId(7)));
    let (rest, next) = rig.store.volumes(VolumeId(7), 2);
    assert_eq!(next, None);
    let all: Vec<_> =
        first.iter().chain(&rest).map(|entry| (entry.volume.0, entry.fence.0, entry.deleted)).collect();
    assert_eq!(all, [(1, 0, false), (3, 2, false), (7, 2, true), (12, 2, false)]);
}

#[test]
fn an_adopted_group_outlives_a_power_cut_and_a_checkpoint() {
    let mut rig = Rig::new(DISK, 1);
    let adopt = |group, epoch| {
        move |ticket| Event::AdoptGroup { ticket, group: GroupId(group), epoch: GroupEpoch(epoch) }
    };
    rig.simple(adopt(5, 9)).unwrap();
    rig.simple(adopt(5, 4)).unwrap();
    rig.crash(Cut::All);
    rig.remount();
    rig.simple(adopt(0, 2)).unwrap();
    for _ in 0..2 {
        assert_eq!(rig.store.group_epoch(GroupId(5)), GroupEpoch(9));
        assert_eq!(rig.store.group_epoch(GroupId(0)), GroupEpoch(2));
        assert_eq!(rig.store.group_epoch(GroupId(1)), GroupEpoch(0));
        rig.stop();
        rig.remount();
    }
    assert_eq!(code(rig.simple(adopt(u32::MAX, 1))), ErrorCode::BadRequest);
}

/// What a peer copies: in if it is newer or this copy may be bad, and below the fence as well.
#[test]
fn copies_never_take_the_place_of_a_higher_version() {
    let mut rig = Rig::new(DISK, 1);
    let of = |epoch: u32, counter: u64| Version::first_of(VolumeEpoch(epoch)).0 + counter;
    write(&mut rig, range(1, 0, 0, 4), of(2, 7), WriteKind::Normal);
    trim(&mut rig, range(1, 0, 1, 1), of(3, 1), WriteKind::Normal);
    rig.simple(|ticket| Event::Fence { ticket, volume: V, epoch: VolumeEpoch(4) }).unwrap();
    write(&mut rig, range(1, 0, 0, 2), of(2, 9), WriteKind::Repair);
    trim(&mut rig, range(1, 0, 2, 1), of(2, 6), WriteKind::Repair);
    trim(&mut rig, range(1, 0, 3, 1), of(2, 8), WriteKind::Repair);
    for _ in 0..2 {
        let seen = rig.read(range(1, 0, 0, 4));
        assert_eq!(seen, [Some(of(2, 9)), Some(0), Some(of(2, 7)), Some(0)]);
        rig.crash(Cut::Kill);
        rig.remount();
    }
    let ticket = rig.submit_trim(range(1, 0, 0, 1), of(2, 10));
    assert_eq!(code(rig.result(ticket)), ErrorCode::Fenced);
}
