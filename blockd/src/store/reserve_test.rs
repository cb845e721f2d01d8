//! The room that a disk keeps for opens: they get it when nobody else gets any, and the disk goes on behind it.

use super::event::WriteKind;
use super::sim::{Cut, Rig, code, range};
use proto::ErrorCode;
use proto::message::BlockRange;
use proto::units::BLOCK_BYTES;

const DISK: usize = 64 << 20;

fn place(n: u64) -> BlockRange {
    range(1, u32::try_from(n / 1024).unwrap(), u16::try_from(n % 1024).unwrap(), 1)
}

/// Writes block after block until one is refused, the first `many` of them all at once.
fn fill(rig: &mut Rig, kind: WriteKind, many: u64, versions: &mut Vec<u64>) {
    for n in 0..many {
        rig.version += 1;
        versions.push(rig.version);
        rig.submit_write(place(n), rig.version, kind);
    }
    rig.settle();
    loop {
        rig.version += 1;
        let version = rig.version;
        let ticket = rig.submit_write(place(versions.len() as u64), version, kind);
        rig.settle();
        match rig.result(ticket) {
            Ok(_) => versions.push(version),
            Err(error) => break assert_eq!(error.code, ErrorCode::NoSpace),
        }
    }
}

#[test]
fn a_full_disk_takes_an_opens_writes_and_does_not_wedge() {
    let mut rig = Rig::new(DISK, 31);
    let capacity = rig.store.stat().capacity_bytes / BLOCK_BYTES;
    let mut versions = Vec::new();
    fill(&mut rig, WriteKind::Normal, capacity - 100, &mut versions);
    assert_eq!(versions.len() as u64, capacity);
    fill(&mut rig, WriteKind::Reconcile, 0, &mut versions);
    let reserve = versions.len() as u64 - capacity;
    assert_eq!(reserve, rig.store.space.reconcile_blocks);
    assert!(reserve > capacity / 40, "{reserve} of {capacity}");

    // Overwrites go on at random, over crashes too, and each is found.
    for round in 0..30 {
        for _ in 0..50 {
            let n = rig.rng.below(versions.len() as u64);
            versions[usize::try_from(n).unwrap()] = rig.write(place(n)).unwrap();
        }
        assert!(rig.store.queue.is_empty(), "wedged: {:?}", rig.store.counters());
        if round % 10 == 9 {
            rig.flush();
            rig.crash([Cut::Kill, Cut::Sectors][round / 10 % 2]);
            rig.remount();
        }
    }
    assert!(rig.answers.values().all(Result::is_ok));
    for (n, version) in (0u64..).zip(&versions).step_by(3) {
        assert_eq!(rig.read(place(n)), [Some(*version)]);
    }

    // Nobody else gets any room until the reserve is given back.
    for n in 0..reserve {
        assert_eq!(code(rig.write(range(2, 0, 0, 1))), ErrorCode::NoSpace);
        rig.trim(place(n)).unwrap();
    }
    assert_eq!(code(rig.write(range(2, 0, 0, 1))), ErrorCode::NoSpace);
    rig.trim(place(reserve)).unwrap();
    rig.write(range(2, 0, 0, 1)).unwrap();
}
