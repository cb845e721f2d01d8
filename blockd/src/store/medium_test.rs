//! What media do: logs cut anywhere, errors at any operation, blocks in each other's place, writes that never
//! arrived, and kills in the middle of a recovery that has much to write.

use super::check::{FindingKind, check};
use super::sim::{Cut, Happened, Model, Rig, SECTOR, SimDisk, TestRng, code, range};
use super::store_test::{fill_mixed, random_op, read_all};
use super::*;
use crate::error::ErrorKind;
use proto::disk::Slot;
use proto::message::{BlockRange, BlockState};
use proto::units::BLOCK_LEN;
use proto::{ChunkIndex, ErrorCode, VolumeId};
use rt::device::BlockDevice;

const MIB: usize = 1 << 20;
const DISK: usize = 64 * MIB;

/// FAULTS 26: whatever is behind the cut is zeros, or what was there in a former life.
#[test]
fn a_log_cut_at_any_sector_opens_with_all_that_lies_in_front() {
    let mut rig = Rig::new(DISK, 1);
    rig.write(range(1, 0, 0, 200)).unwrap();
    rig.stop();
    rig.remount();
    rig.record = Some(Vec::new());
    let mut writes = Vec::new();
    for (first, count) in [(0, 1), (5, 3), (6, 9), (300, 1), (2, 2), (100, 12), (5, 1), (400, 4)] {
        let r = range(1, 0, first, count);
        writes.push((r, rig.write(r).unwrap()));
    }
    let batches: Vec<(usize, usize)> = (rig.record.take().unwrap().into_iter())
        .filter_map(|what| match what {
            Happened::WriteIssued(_, at, data) => Some((at, at + data.len())),
            _ => None,
        })
        .collect();
    assert_eq!(batches.len(), writes.len());
    rig.disk.flush().unwrap();
    let (start, end) = (batches[0].0, batches.last().unwrap().1);
    let image = rig.disk.image();
    for (number, cut) in (start..=end).step_by(SECTOR).enumerate() {
        rig.disk.mark();
        let former = &image[start..start + end - cut];
        let tail = if number % 2 == 0 { vec![0; end - cut] } else { former.to_vec() };
        // Former contents are whole batches that lie where they don't belong.
        rig.disk.write_at(&tail, cut as u64).unwrap();
        rig.disk.flush().unwrap();
        if number % 16 == 0 {
            assert!(check(&rig.disk).unwrap().is_clean(), "cut at {cut}");
        }
        rig.remount();
        let whole = batches.iter().take_while(|(_, end)| *end <= cut).count();
        let mut expected: Vec<Option<u64>> = (0..1024).map(|b| Some(u64::from(b < 200))).collect();
        for (r, version) in &writes[..whole] {
            (r.first..r.first + r.count).for_each(|block| expected[usize::from(block)] = Some(*version));
        }
        let seen: Vec<_> =
            (0..1024).step_by(256).flat_map(|first| rig.read(range(1, 0, first, 256))).collect();
        assert!(seen == expected, "cut at {cut}, {whole} batches are whole");
        rig.disk.rewind();
    }
}

/// FAULTS 27 and 28: whatever operation fails, the store is at its end: nothing more goes to the disk, nothing
/// that waited is answered as done, and what was flushed before is there for the next mount.
#[test]
fn an_error_at_any_operation_is_the_end() {
    let mut ended = 0;
    for n in 0..60u64 {
        let mut rig = Rig::new(DISK, n);
        let mut rng = TestRng::new(n);
        let mut model = Model::default();
        let mut flushes = Vec::new();
        for at in 0..100 {
            if at == n {
                (rig.fail_write, rig.fail_flush) = (n % 2 == 0, n % 2 == 1);
            }
            random_op(&mut rig, &mut rng, &mut model, &mut flushes);
            rig.complete_one();
            if n % 5 == 0 && at == n {
                // The checkpoint's own writes and flushes fail as well as a batch's.
                let ticket = rig.ticket();
                rig.step(Event::Stop { ticket });
                for _ in 0..n % 7 {
                    rig.complete_one();
                }
            }
            if rig.store.failure().is_some() {
                break;
            }
        }
        rig.settle();
        ended += usize::from(rig.store.failure().is_some());
        let flushed = flushes.iter().filter(|(ticket, _)| matches!(rig.answers.get(ticket), Some(Ok(_))));
        let floor = flushed.map(|&(_, ops)| ops).max().unwrap_or(0);
        if rig.store.failure().is_some() {
            assert_eq!(code(rig.simple(|ticket| Event::Flush { ticket })), ErrorCode::Io);
            let refused = rig.submit_write(range(1, 0, 0, 1), 1 << 40, WriteKind::Normal);
            assert_eq!(code(rig.result(refused)), ErrorCode::Io);
            rig.step(Event::Tick);
            assert!(rig.pending.is_empty(), "it still writes: {:?}", rig.pending);
            assert!(
                model.ops.iter().all(|op| rig.answers.contains_key(&op.ticket)),
                "somebody waits for ever"
            );
        }
        rig.crash(Cut::All);
        rig.remount();
        let seen = read_all(&mut rig);
        model.settle(&seen, floor);
    }
    assert!(ended > 50, "{ended}");
}

fn locations(rig: &Rig, volume: u64) -> Vec<(BlockRange, usize)> {
    let index = &rig.store.index;
    let all = index.chunks_of(&index.volumes[&VolumeId(volume)], 0).flat_map(|(chunk, entry)| {
        let live = entry.blocks().filter(|(_, place)| place.has_data());
        live.map(move |(block, place)| (range(volume, chunk, block, 1), place.location as usize * BLOCK_LEN))
    });
    all.collect()
}

fn block_at(disk: &SimDisk, at: usize) -> Vec<u8> {
    let mut data = vec![0; BLOCK_LEN];
    disk.read_at(&mut data, at as u64).unwrap();
    data
}

fn put(disk: &SimDisk, at: usize, data: &[u8]) {
    disk.write_at(data, at as u64).unwrap();
    disk.flush().unwrap();
}

fn used(seed: u64) -> Rig {
    let mut rig = Rig::new(DISK, seed);
    let mut rng = TestRng::new(seed);
    let mut model = Model::default();
    fill_mixed(&mut rig, &mut rng, &mut model);
    for _ in 0..400 {
        random_op(&mut rig, &mut rng, &mut model, &mut Vec::new());
        rig.complete_one();
    }
    rig.settle();
    rig.stop();
    rig.remount();
    rig
}

/// FAULTS 24.
#[test]
fn blocks_in_each_others_place_are_noticed_at_the_first_read() {
    let mut rig = used(1);
    let live = locations(&rig, 9);
    let mut rng = TestRng::new(5);
    for round in 0..40 {
        let mut pick = || live[usize::try_from(rng.below(live.len() as u64)).unwrap()];
        let ((a, a_at), (b, b_at)) = (pick(), pick());
        if a_at == b_at {
            continue;
        }
        let (a_data, b_data) = (block_at(&rig.disk, a_at), block_at(&rig.disk, b_at));
        put(&rig.disk, a_at, &b_data);
        put(&rig.disk, b_at, &a_data);
        assert_eq!((rig.read(a), rig.read(b)), (vec![None], vec![None]));
        if round % 10 == 0 {
            let report = check(&rig.disk).unwrap();
            assert_eq!((report.bad_blocks, report.findings[0].kind), (2, FindingKind::Block));
        }
        put(&rig.disk, a_at, &a_data);
        put(&rig.disk, b_at, &b_data);
        assert!(rig.read(a)[0].is_some() && rig.read(b)[0].is_some());
    }
    assert!(check(&rig.disk).unwrap().is_clean());
}

/// FAULTS 25: a write that the device said it did and did not leaves what was there before, with all its
/// checksums right for what it was.
#[test]
fn a_write_that_never_arrived_is_noticed() {
    let mut rig = used(2);
    let former = rig.disk.image();
    let mut rng = TestRng::new(9);
    for _ in 0..1500 {
        random_op(&mut rig, &mut rng, &mut Model::default(), &mut Vec::new());
        rig.complete_one();
    }
    rig.settle();
    rig.stop();
    rig.remount();
    let image = rig.disk.image();
    let differs = |at: usize| former[at..at + BLOCK_LEN] != image[at..at + BLOCK_LEN];
    let live: Vec<_> =
        [1, 2, 9].into_iter().flat_map(|v| locations(&rig, v)).filter(|&(_, at)| differs(at)).collect();
    assert!(live.len() > 500, "{}", live.len());
    for &(r, at) in live.iter().step_by(live.len() / 100) {
        put(&rig.disk, at, &former[at..at + BLOCK_LEN]);
        assert_eq!(rig.read(r), [None], "{r:?}");
        let state = rig.store.chunk_runs(r.volume, r.chunk);
        assert!(state.iter().all(|run| run.state != BlockState::Corrupt), "the index is right still");
        put(&rig.disk, at, &image[at..at + BLOCK_LEN]);
    }
    // The same for what recovery reads: it falls back to the checkpoint before, refuses, or is right.
    let before = read_all(&mut rig);
    let meta = rig.disk.find(b"ASHCKPNT").into_iter().chain([0, 128 * BLOCK_LEN]).filter(|&at| differs(at));
    for at in meta.collect::<Vec<_>>() {
        rig.disk.restore(&image);
        put(&rig.disk, at, &former[at..at + BLOCK_LEN]);
        match Store::mount(&rig.disk) {
            Err(error) => assert_eq!(error.kind, ErrorKind::Corrupt),
            Ok((store, _)) => {
                rig.store = store;
                rig.pending.clear();
                assert_eq!(read_all(&mut rig), before, "byte {at}");
            }
        }
    }
}

/// FAULTS 12, at its worst: so many lives without a checkpoint that the mount makes two of its own.
#[test]
fn a_mount_that_writes_checkpoints_can_be_killed_at_any_of_its_writes() {
    let mut rig = Rig::new(DISK, 3);
    for life in 0..limits::MAX_LIVES_WITHOUT_CHECKPOINT {
        rig.write(range(1, 0, u16::try_from(life).unwrap(), 2)).unwrap();
        rig.flush();
        rig.crash(Cut::Sectors);
        if life + 1 < limits::MAX_LIVES_WITHOUT_CHECKPOINT {
            rig.remount();
        }
    }
    let image = rig.disk.image();
    rig.remount();
    let digest = |rig: &Rig| rig.store.digest(VolumeId(1), ChunkIndex(0));
    let single = digest(&rig);
    let mut rng = TestRng::new(1);
    let mut killed = 0;
    for writes in 1..16 {
        for how in [Cut::Kill, Cut::Sectors, Cut::Writes, Cut::All] {
            rig.disk.restore(&image);
            rig.disk.0.borrow_mut().writes_left = Some(writes);
            let died = Store::mount(&rig.disk).is_err();
            rig.disk.0.borrow_mut().writes_left = None;
            if !died {
                continue;
            }
            killed += 1;
            rig.disk.cut(how, &mut rng);
            rig.remount();
            assert_eq!(digest(&rig), single, "after {writes} writes, {how:?}");
            assert!(rig.store.index.place(VolumeId(1), ChunkIndex(0), 0).location != Slot::HOLE);
        }
    }
    assert!(killed > 20, "{killed}: the mount wrote no checkpoint");
}

/// Tombstones stay until a catch-up ends, so its own must not wait for that.
#[test]
fn a_catch_up_s_trims_go_on_where_a_writer_s_are_refused() {
    let mut rig = Rig::new(DISK, 5);
    let mut chunk = 0;
    while (0..512u16).all(|block| rig.trim(range(1, chunk, block * 2, 1)).is_ok()) {
        chunk += 1;
    }
    assert!(chunk >= 4, "{chunk}");
    let place = range(2, 0, 3, 1);
    assert_eq!(code(rig.trim(place)), ErrorCode::NoSpace);
    let session = crate::store::Session { client: super::sim::CLIENT, sequence: 1 << 40 };
    let version = proto::Version(rig.version + 1);
    let copied =
        rig.simple(|ticket| Event::Trim { ticket, session, range: place, version, kind: WriteKind::Repair });
    assert_eq!(copied.map_err(|error| error.code), Ok(Answer::Done));
    assert_eq!(code(rig.trim(range(2, 0, 5, 1))), ErrorCode::NoSpace);
}

/// FAULTS 29, for metadata: trims that can't be forgotten are refused before they leave no room for anything
/// else; what is there can be read, written over and deleted; and they are forgotten when that is allowed.
#[test]
fn a_disk_full_of_trims_says_so_and_recovers() {
    let mut rig = Rig::new(DISK, 4);
    let mut written = Vec::new();
    for chunk in 0..4 {
        written.push((range(2, chunk, 0, 256), rig.write(range(2, chunk, 0, 256)).unwrap()));
    }
    let mut trims = 0u32;
    let full = loop {
        // Every other block of a volume that nobody ever wrote.
        let (chunk, first) = (trims / 512, u16::try_from(trims % 512 * 2).unwrap());
        match rig.trim(range(1, chunk, first, 1)) {
            Ok(_) => trims += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(full.code, ErrorCode::NoSpace);
    assert!(trims > 2000, "{trims}");
    // All of the capacity is there for data still, however scattered.
    let capacity = rig.store.stat().capacity_bytes / BLOCK_LEN as u64;
    let mut version = 1_000_000;
    let mut last = Ok(Answer::Done);
    let mut data = 1024;
    while last.is_ok() {
        let r = range(3, data / 512, u16::try_from(data % 512 * 2).unwrap(), 1);
        version += 1;
        let ticket = rig.submit_write(r, version, WriteKind::Normal);
        rig.settle();
        last = rig.result(ticket);
        data += u32::from(last.is_ok());
    }
    assert_eq!(code(last), ErrorCode::NoSpace);
    assert!(u64::from(data) * 100 > capacity * 95, "{data} of {capacity}");
    rig.version = version;
    for (r, version) in &mut written {
        assert_eq!(rig.read(*r), vec![Some(*version); 256]);
        *version = rig.write(*r).unwrap();
    }
    // A trim of data takes no room in the index; one of a hole is refused still.
    rig.trim(range(3, 2, 0, 1)).unwrap();
    assert_eq!(code(rig.trim(range(1, 5000, 0, 1))), ErrorCode::NoSpace);
    let stable = proto::Version(rig.version);
    rig.step(Event::Horizon { volume: VolumeId(1), settled: stable, stable, whole: true });
    // The refusal above and the leave to forget make a checkpoint, which does.
    rig.settle();
    rig.trim(range(1, 5000, 0, 1)).unwrap();
    rig.crash(Cut::Sectors);
    rig.remount();
    rig.simple(|ticket| Event::DeleteVolume { ticket, volume: VolumeId(3) }).unwrap();
    rig.write(range(3 + 1, 0, 0, 256)).unwrap();
    for (r, version) in written {
        assert_eq!(rig.read(r), vec![Some(version); 256]);
    }
}
