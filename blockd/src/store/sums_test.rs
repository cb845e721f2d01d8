//! CRCs of runs: what reads pay for them, counted, and what becomes of them when disks are damaged.

use super::check::check;
use super::sim::{Rig, SECTOR, TestRng, content, range};
use super::sums::{SumCache, Sums};
use super::*;
use proto::checksum::{BlockCrcs, crc32};
use proto::disk::Run;
use proto::message::BlockRange;
use proto::units::BLOCK_LEN;
use proto::{Version, VolumeId};

const DISK: usize = 64 << 20;
const CHUNKS: u32 = 4;
/// With its header, two such batches fill a segment of this small disk: none is cut.
const LEN: u16 = 127;
/// Writes to each chunk, all that fit.
const WRITES: u16 = 8;

/// Chunks written in batches of their own, and the version of each batch.
fn written() -> (Rig, Vec<(BlockRange, u64)>) {
    let mut rig = Rig::new(DISK, 1);
    let mut all = Vec::new();
    for chunk in 0..CHUNKS {
        for first in (0..WRITES).map(|n| n * LEN) {
            let r = range(1, chunk, first, LEN);
            all.push((r, rig.write(r).unwrap()));
        }
    }
    (rig, all)
}

/// As after a start: nothing is remembered but the index.
fn cold() -> (Rig, Vec<(BlockRange, u64)>) {
    let (mut rig, all) = written();
    rig.stop();
    rig.remount();
    (rig, all)
}

/// Blocks of each read of the device that reads of these ranges begin with.
fn device_reads(rig: &mut Rig, ranges: &[BlockRange]) -> Vec<usize> {
    for &range in ranges {
        let ticket = rig.ticket();
        rig.step(Event::Read { ticket, range });
    }
    let blocks = |action: &Action| match action {
        Action::DiskRead { buf, .. } => buf.len() / BLOCK_LEN,
        other => panic!("{other:?}"),
    };
    let reads = rig.pending.iter().map(blocks).collect();
    rig.settle();
    reads
}

#[test]
fn a_random_read_of_runs_costs_one_more_where_no_crcs_are_in_memory_yet() {
    let (mut rig, all) = cold();
    let mut rng = TestRng::new(3);
    let mut pick = || {
        let chunk = u32::try_from(rng.below(u64::from(CHUNKS))).unwrap();
        range(1, chunk, u16::try_from(rng.below(u64::from(WRITES * LEN))).unwrap(), 1)
    };
    let (mut reads, mut blocks) = (0, 0);
    for _ in 0..1000 {
        let done = device_reads(&mut rig, &[pick()]);
        reads += done.len();
        blocks += done.iter().sum::<usize>();
    }
    // Each of the 32 batches' headers once.
    assert_eq!((reads, blocks), (1032, 1032));
    for (r, version) in all {
        assert_eq!(device_reads(&mut rig, &[r]), [usize::from(LEN)]);
        assert_eq!(rig.read(r), vec![Some(version); usize::from(LEN)]);
    }
}

#[test]
fn what_was_written_lately_is_read_at_once() {
    let (mut rig, _) = written();
    for block in [0, LEN - 1, LEN, 700] {
        assert_eq!(device_reads(&mut rig, &[range(1, 2, block, 1)]), [1]);
    }
    // In flight as well: nothing of it can be read yet.
    let version = rig.version + 1;
    rig.submit_write(range(1, 0, 100, 64), version, WriteKind::Normal);
    let ticket = rig.ticket();
    rig.step(Event::Read { ticket, range: range(1, 0, 100, 64) });
    let Ok(Answer::Read { data, blocks, .. }) = rig.result(ticket) else { panic!("not at once") };
    let expected = content(&range(1, 0, 100, 64), version);
    assert!(data.concat() == expected);
    assert!(blocks.iter().map(|block| block.crc).eq(BlockCrcs::of(&expected).iter()));
}

#[test]
fn many_who_want_the_same_header_read_it_once() {
    let (mut rig, _) = cold();
    let blocks: Vec<_> = (0..32).map(|n| range(1, 0, n * 3, 1)).collect();
    assert_eq!(device_reads(&mut rig, &blocks).len(), 33);
    // One read over two batches asks for two.
    assert_eq!(device_reads(&mut rig, &[range(1, 1, 100, 100)]), [1, 1, 27, 73]);
}

fn header_of(rig: &Rig, number: usize) -> usize {
    rig.disk.find(b"ASHBATCH")[number]
}

#[test]
fn a_bad_header_costs_no_data() {
    for unreadable in [false, true] {
        let (mut rig, all) = cold();
        let header = header_of(&rig, 5);
        if unreadable {
            rig.disk.0.borrow_mut().bad_sectors.push(header / SECTOR * SECTOR);
        } else {
            rig.disk.flip(header + 200);
        }
        for &(r, version) in &all {
            assert_eq!(rig.read(range(1, r.chunk.0, r.first + 9, 3)), vec![Some(version); 3]);
            assert_eq!(rig.read(r), vec![Some(version); usize::from(LEN)]);
        }
        assert!(check(&rig.disk).unwrap().bad_blocks == 0);
        // A bad block of the same piece: then nothing vouches for the others.
        let (r, version) = all[5];
        let bad = range(1, r.chunk.0, r.first + 17, 1);
        rig.disk.flip(rig.disk.find(&content(&bad, version)[..14])[0] + 77);
        rig.remount();
        assert_eq!(rig.read(range(1, r.chunk.0, r.first, 2)), [None; 2]);
        assert_eq!(rig.read(r), vec![None; usize::from(LEN)]);
        assert_eq!(rig.read(all[4].0), vec![Some(all[4].1); usize::from(LEN)]);
        assert_eq!(check(&rig.disk).unwrap().bad_blocks, u64::from(LEN));
        let ticket = rig.submit_write(r, version, WriteKind::Repair);
        rig.settle();
        rig.result(ticket).unwrap();
        assert_eq!(rig.read(r), vec![Some(version); usize::from(LEN)]);
        assert_eq!(rig.store.counters().repaired_blocks, u64::from(LEN));
    }
}

/// A header whose write never arrived leaves the one of the segment's former life, with right checksums.
#[test]
fn a_header_of_a_former_life_is_not_believed() {
    let (mut rig, all) = cold();
    let header = header_of(&rig, 5);
    let image = rig.disk.image();
    let mut old = image[header..header + BLOCK_LEN].to_vec();
    // The same batch but for one block's CRC: the entries' checksum and the header's are made to fit.
    old[128 + 40] ^= 1;
    let len = u32::from_le_bytes(old[76..80].try_into().unwrap()) as usize;
    let entries = crc32(&old[128..128 + len]).to_le_bytes();
    old[80..84].copy_from_slice(&entries);
    let crc = crc32(&old[..124]).to_le_bytes();
    old[124..128].copy_from_slice(&crc);
    let mut changed = image;
    changed[header..header + BLOCK_LEN].copy_from_slice(&old);
    rig.disk.restore(&changed);
    let (r, version) = all[5];
    assert_eq!(rig.read(r), vec![Some(version); usize::from(LEN)], "the piece itself tells");
    assert!(check(&rig.disk).unwrap().bad_blocks == 0);
}

/// Moves what is alive past headers that are bad, though each run's CRCs have to be found first.
#[test]
fn the_cleaner_moves_runs_with_bad_headers() {
    let (mut rig, all) = cold();
    for number in [1, 6, 11] {
        let header = header_of(&rig, number);
        rig.disk.flip(header + 150);
    }
    let (mut filled, capacity) = (0, rig.store.stat().capacity_bytes);
    while rig.store.stat().live_bytes < capacity * 95 / 100 {
        rig.write(range(
            2,
            filled / u32::from(WRITES),
            u16::try_from(filled % u32::from(WRITES)).unwrap() * LEN,
            LEN,
        ))
        .unwrap();
        filled += 1;
    }
    // Half of each batch dies, many times over: their segments are cleaned.
    for round in 0..20 {
        for (r, _) in &all {
            rig.write(range(1, r.chunk.0, r.first + 32, 64)).unwrap();
        }
        assert!(round < 19 || rig.store.counters().moved_blocks > 500, "{:?}", rig.store.counters());
    }
    for (r, version) in all {
        for first in [r.first, r.first + 96] {
            assert_eq!(rig.read(range(1, r.chunk.0, first, 31)), vec![Some(version); 31]);
        }
    }
    assert_eq!(rig.store.counters().corrupt_blocks, 0);
    rig.stop();
    assert!(check(&rig.disk).unwrap().is_clean());
}

/// What a build before runs left: parts of version 1, all of it in slots.
#[test]
fn a_checkpoint_of_the_first_version_is_taken_into_use() {
    let mut rig = Rig::new(DISK, 1);
    let versions: Vec<u64> = (0..64).map(|n| rig.write(range(1, 0, n * 3, 1)).unwrap()).collect();
    rig.stop();
    let mut image = rig.disk.image();
    let parts = rig.disk.find(b"ASHCKPNT");
    assert!(parts.len() > 1);
    for at in parts {
        image[at + 8] = 1;
        let crc = crc32(&image[at..at + 124]).to_le_bytes();
        image[at + 124..at + 128].copy_from_slice(&crc);
    }
    rig.disk.restore(&image);
    assert_eq!(rig.remount().replayed_batches, 0);
    for (n, version) in (0..).zip(versions) {
        assert_eq!(rig.read(range(1, 0, n * 3, 1)), [Some(version)]);
    }
    rig.stop();
    assert!(check(&rig.disk).unwrap().is_clean());
}

/// DESIGN 4's bound, also after a start.
#[test]
fn runs_take_little_memory_and_as_little_after_a_start() {
    let mut rig = Rig::new(DISK, 1);
    for chunk in 0..8 {
        // Four of them, with their headers, are a segment.
        for first in (0..1008).step_by(63) {
            rig.write(range(1, chunk, first, 63)).unwrap();
        }
    }
    for start in 0..2 {
        let stat = rig.store.stat();
        let share = stat.index_bytes as f64 / stat.live_bytes as f64;
        assert!(share * 1024.0 < 0.3, "{:.3} GiB/TiB, start {start}", share * 1024.0);
        rig.stop();
        rig.remount();
    }
    assert_eq!(rig.store.sums_bytes(), 0);
    rig.read(range(1, 0, 0, 256));
    let sums = rig.store.sums_bytes();
    assert!((5 * 63 * 4..2048).contains(&sums), "{sums}: five headers of 63 CRCs");
    assert_eq!(rig.store.volume_stat(VolumeId(1)).live_blocks, 8 * 1008);
}

fn sums_at(at: u32) -> (Run, Sums) {
    let crcs = vec![u8::try_from(at % 251).unwrap(); 1024];
    (Run::new(0, (at + 1, at), Version(1), &crcs), Sums::new(at + 1, crcs.into()))
}

#[test]
fn the_cache_keeps_its_bound_and_what_is_asked_for() {
    let most = 64 << 10;
    let mut cache = SumCache::new(most);
    let (favourite, sums) = sums_at(5);
    cache.put(5, sums);
    for at in (1000..200_000).step_by(300) {
        assert!(cache.piece(&favourite).is_some(), "{at}");
        cache.put(at, sums_at(at).1);
        assert!(cache.bytes() <= most);
    }
    assert!(cache.piece(&sums_at(199_900).0).is_some());
    assert!(cache.bytes() > most - 2048);
    assert!(cache.piece(&sums_at(1000).0).is_none());
    // A batch of a later life in its place.
    let other = sums_at(6).1.piece(&sums_at(6).0).unwrap();
    cache.put(5, other);
    assert!(cache.piece(&favourite).is_none());
}
