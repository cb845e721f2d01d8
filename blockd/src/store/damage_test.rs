//! Flipped bits and cut files in every region, and what `check` says of them.

use super::check::{CheckReport, FindingKind, check};
use super::sim::{Cut, Rig, SimDisk, TestRng, content, range};
use super::*;
use crate::error::ErrorKind;
use proto::units::BLOCK_LEN;
use rt::device::BlockDevice;

const MIB: usize = 1 << 20;
const DISK: usize = 64 * MIB;

fn kinds(report: &CheckReport) -> Vec<FindingKind> {
    report.findings.iter().map(|finding| finding.kind).collect()
}

/// A disk with live data, dead data, a checkpoint and a log behind it.
fn used_rig() -> (Rig, Vec<Option<u64>>) {
    let mut rig = Rig::new(DISK, 1);
    for first in (0..1024).step_by(16) {
        rig.write(range(1, 0, first, 16)).unwrap();
    }
    rig.write(range(1, 0, 0, 256)).unwrap();
    rig.stop();
    rig.remount();
    rig.write(range(1, 0, 100, 20)).unwrap();
    rig.trim(range(1, 0, 300, 20)).unwrap();
    rig.flush();
    rig.step(Event::Tick);
    rig.settle();
    let versions = read_all(&mut rig);
    (rig, versions)
}

fn read_all(rig: &mut Rig) -> Vec<Option<u64>> {
    (0..1024).step_by(256).flat_map(|first| rig.read(range(1, 0, first, 256))).collect()
}

#[test]
fn a_whole_disk_is_clean() {
    let (rig, _) = used_rig();
    let before = rig.disk.image();
    let report = check(&rig.disk).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert!(report.notes.is_empty(), "{report:?}");
    assert_eq!((report.live_blocks, report.replay_batches, report.volumes), (1004, 3, 1));
    assert!(report.batches > 40 && report.checkpoint == Some(1), "{report:?}");
    assert!(before == rig.disk.image());
}

#[test]
fn a_flip_in_dead_data_harms_nothing() {
    let (mut rig, versions) = used_rig();
    let dead = content(&range(1, 0, 100, 1), versions[0].unwrap());
    rig.disk.flip(rig.disk.find(&dead[..14])[0] + 1000);
    rig.crash(Cut::All);
    assert!(check(&rig.disk).unwrap().is_clean());
    rig.remount();
    assert_eq!(read_all(&mut rig), versions);
}

#[test]
fn a_flip_in_live_data_is_found_and_clean_once_repaired() {
    let (mut rig, versions) = used_rig();
    for block in [110u16, 200, 600] {
        let version = versions[usize::from(block)].unwrap();
        let start = content(&range(1, 0, block, 1), version);
        rig.disk.flip(rig.disk.find(&start[..14])[0] + 2000);
    }
    let report = check(&rig.disk).unwrap();
    assert_eq!((report.bad_blocks, kinds(&report)), (3, vec![FindingKind::Block; 3]));
    rig.remount();
    let seen = read_all(&mut rig);
    for block in [110u16, 200, 600] {
        assert_eq!(seen[usize::from(block)], None);
        let version = versions[usize::from(block)].unwrap();
        let ticket = rig.submit_write(range(1, 0, block, 1), version, WriteKind::Repair);
        rig.settle();
        rig.result(ticket).unwrap();
    }
    assert_eq!(read_all(&mut rig), versions);
    rig.stop();
    let report = check(&rig.disk).unwrap();
    assert!(report.is_clean(), "{report:?}");
}

#[test]
fn either_superblock_is_enough() {
    for copy in [0, 128 * BLOCK_LEN] {
        let (mut rig, versions) = used_rig();
        rig.disk.flip(copy + 50);
        assert_eq!(kinds(&check(&rig.disk).unwrap()), [FindingKind::Superblock]);
        assert_eq!(rig.remount().warnings.len(), 1);
        assert_eq!(read_all(&mut rig), versions);
        assert!(check(&rig.disk).unwrap().is_clean(), "a mount mends it");
    }
    let (rig, _) = used_rig();
    rig.disk.flip(50);
    rig.disk.flip(128 * BLOCK_LEN + 50);
    assert_eq!(Store::mount(&rig.disk).unwrap_err().kind, ErrorKind::Corrupt);
    assert_eq!(Store::format(&rig.disk, Default::default()).unwrap_err().kind, ErrorKind::Invalid);
}

#[test]
fn a_bad_checkpoint_falls_back_or_refuses() {
    let (mut rig, versions) = used_rig();
    rig.stop();
    let newest = rig.disk.find(b"ASHCKPNT");
    assert!(newest.len() == 6, "two checkpoints of three parts");
    let image = rig.disk.image();
    let mut fell_back = 0;
    for at in newest {
        rig.disk.restore(&image);
        rig.disk.flip(at + 200);
        let report = check(&rig.disk).unwrap();
        fell_back += usize::from(kinds(&report) == [FindingKind::Checkpoint]);
        rig.remount();
        assert_eq!(read_all(&mut rig), versions);
        rig.stop();
        assert!(check(&rig.disk).unwrap().is_clean());
    }
    assert_eq!(fell_back, 3, "the parts of the newest checkpoint");
    rig.disk.restore(&image);
    rig.disk.find(b"ASHCKPNT").into_iter().for_each(|at| rig.disk.flip(at + 200));
    assert_eq!(kinds(&check(&rig.disk).unwrap()), [FindingKind::Log]);
    assert_eq!(Store::mount(&rig.disk).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn a_durable_batch_that_is_lost_is_never_passed_over() {
    let mut rig = Rig::new(DISK, 3);
    for first in 0..5 {
        rig.write(range(1, 0, first, 1)).unwrap();
        rig.flush();
    }
    let headers = rig.disk.find(b"ASHBATCH");
    let image = rig.disk.image();
    for (at, header) in headers.iter().enumerate() {
        rig.disk.restore(&image);
        rig.disk.flip(header + 130);
        // The last one's flush is known to nobody: for all that the disk says, it was torn.
        if at + 1 == headers.len() {
            assert_eq!(rig.remount().replayed_batches, 4);
        } else {
            assert_eq!(kinds(&check(&rig.disk).unwrap()), [FindingKind::Log]);
            assert_eq!(Store::mount(&rig.disk).unwrap_err().kind, ErrorKind::Corrupt);
        }
    }
}

#[test]
fn a_disk_cut_anywhere_says_so_and_never_panics() {
    let (rig, _) = used_rig();
    let image = rig.disk.image();
    let mut rng = TestRng::new(4);
    let random = std::iter::repeat_with(|| usize::try_from(rng.below(DISK as u64)).unwrap() / 512 * 512);
    for len in
        [0, 512, 4096, 8192, 128 * 4096, 129 * 4096, MIB, DISK - 512].into_iter().chain(random.take(10))
    {
        let disk = SimDisk::new(len);
        disk.restore(&image[..len]);
        assert!(Store::mount(&disk).is_err(), "cut at {len}");
        assert!(check(&disk).is_err(), "cut at {len}");
    }
}

/// Whatever single block is overwritten with rubbish: mount either refuses, or what it gives is right or
/// marked as bad.
#[test]
fn rubbish_anywhere_is_never_served() {
    let (mut rig, versions) = used_rig();
    let image = rig.disk.image();
    let written: Vec<usize> = (0..DISK)
        .step_by(BLOCK_LEN)
        .filter(|&at| image[at..at + BLOCK_LEN].iter().any(|&b| b != 0))
        .collect();
    let mut rng = TestRng::new(5);
    for _ in 0..40 {
        let at = written[usize::try_from(rng.below(written.len() as u64)).unwrap()];
        rig.disk.restore(&image);
        let rubbish: Vec<u8> = (0..BLOCK_LEN).map(|_| u8::try_from(rng.below(256)).unwrap()).collect();
        rig.disk.write_at(&rubbish, at as u64).unwrap();
        rig.disk.flush().unwrap();
        let Ok((store, _)) = Store::mount(&rig.disk) else { continue };
        rig.store = store;
        rig.pending.clear();
        for (seen, expected) in read_all(&mut rig).into_iter().zip(&versions) {
            assert!(seen.is_none() || seen == *expected, "byte {at}: {seen:?} for {expected:?}");
        }
    }
}

#[test]
fn the_cleaner_gets_past_bad_headers_and_bad_blocks() {
    let mut rig = Rig::new(DISK, 6);
    let mut expected = Vec::new();
    for chunk in 0..5 {
        for first in (0..1024).step_by(64) {
            rig.write(range(2, chunk, first, 64)).unwrap();
            let version = rig.write(range(1, chunk, first, 64)).unwrap();
            expected.push((range(1, chunk, first, 64), version));
        }
    }
    rig.stop();
    let headers = rig.disk.find(b"ASHBATCH");
    headers.iter().skip(1).step_by(5).for_each(|at| rig.disk.flip(at + 130));
    let (bad, version) = expected[40];
    let bad = range(1, bad.chunk.0, bad.first + 3, 1);
    rig.disk.flip(rig.disk.find(&content(&bad, version)[..14])[0] + 99);
    rig.remount();
    // Overwrites of the other volume push everything through the cleaner.
    for round in 0..20 {
        for first in (0..1024).step_by(256) {
            rig.write(range(2, round % 5, first, 256)).unwrap();
        }
    }
    assert!(rig.store.counters().moved_blocks > 100, "{:?}", rig.store.counters());
    for (r, version) in expected {
        for (seen, block) in rig.read(r).into_iter().zip(r.first..) {
            let is_bad = (r.chunk, block) == (bad.chunk, bad.first);
            assert_eq!(seen, if is_bad { None } else { Some(version) });
        }
    }
    let ticket = rig.submit_write(bad, version, WriteKind::Repair);
    rig.settle();
    rig.result(ticket).unwrap();
    rig.stop();
    assert!(check(&rig.disk).unwrap().is_clean());
}
