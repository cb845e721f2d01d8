//! Disks that lie, and the scrub that finds it: real servers, real files, bits changed underneath.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;
#[path = "cluster/probe.rs"]
mod probe;

use blockd::ErrorKind;
use blockd::client::catchup::{Pace, Progress};
use blockd::client::scrub::{ScrubConfig, ScrubReport, scrub};
use blockd::client::{Holes, Volume};
use cluster::{Cluster, Dice, GROUPS, TOKEN};
use probe::Probe;
use proto::units::{BLOCK_BYTES, BLOCK_LEN, CHUNK_BYTES};
use proto::{GroupEpoch, GroupId};
use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const DISK_BYTES: u64 = 128 << 20;
const VOLUME_BYTES: u64 = 64 << 20;
const BLOCKS: u64 = 60;

async fn scrub_all(cluster: &Cluster) -> ScrubReport {
    let progress = Arc::new(Progress::default());
    let mut all = ScrubReport::default();
    for group in 0..GROUPS {
        let config = ScrubConfig {
            members: (0..3).map(|number| cluster.place(number)).collect(),
            group: GroupId(group),
            epoch: GroupEpoch(1),
            groups: GROUPS,
            token: TOKEN,
            pace: Pace { bytes_per_second: 200 << 20 },
            progress: Arc::clone(&progress),
        };
        let report =
            tokio::time::timeout(Duration::from_secs(60), scrub(config)).await.expect("ends").unwrap();
        all.chunks += report.chunks;
        all.blocks_checked += report.blocks_checked;
        all.bad_blocks += report.bad_blocks;
        all.missing_blocks += report.missing_blocks;
        all.repaired_blocks += report.repaired_blocks;
        all.unrepairable_blocks += report.unrepairable_blocks;
        all.conflicting_blocks += report.conflicting_blocks;
        all.skipped_blocks += report.skipped_blocks;
    }
    assert_eq!(progress.snapshot().percent(), 100);
    all
}

/// Block `number` of the test: one in every place of some chunk, with a name of its own in front.
fn content(number: u64, life: u8) -> Vec<u8> {
    let mut data = Dice(number * 3 + u64::from(life) + 1).bytes(BLOCK_LEN);
    data[..16].copy_from_slice(&[b"block", &[life][..], &number.to_le_bytes(), b"!!"].concat());
    data
}

fn offset_of(number: u64) -> u64 {
    (number % 16) * CHUNK_BYTES + number * BLOCK_BYTES
}

/// Where in a disk's file each block of the test lies, by number and life.
fn places(path: &Path) -> HashMap<(u64, u8), u64> {
    let bytes = std::fs::read(path).unwrap();
    let mut places = HashMap::new();
    for (at, data) in bytes.chunks(BLOCK_LEN).enumerate() {
        if data.starts_with(b"block") && &data[14..16] == b"!!" {
            let number = u64::from_le_bytes(data[6..14].try_into().unwrap());
            assert_eq!(data, content(number, data[5]));
            places.insert((number, data[5]), at as u64 * BLOCK_BYTES);
        }
    }
    places
}

/// A disk's file under the hands of a fault.
struct Disk {
    file: File,
    places: HashMap<(u64, u8), u64>,
}

impl Disk {
    fn open(path: &Path) -> Self {
        Self { file: File::options().read(true).write(true).open(path).unwrap(), places: places(path) }
    }

    fn flip(&self, number: u64, life: u8) {
        let at = self.places[&(number, life)] + 2000;
        let mut byte = [0];
        self.file.read_exact_at(&mut byte, at).unwrap();
        self.file.write_all_at(&[byte[0] ^ 0x10], at).unwrap();
    }

    /// Puts the content of one block of the test where another should be.
    fn misdirect(&self, number: u64, content: &[u8], life: u8) {
        self.file.write_all_at(content, self.places[&(number, life)]).unwrap();
    }
}

async fn write(volume: &Volume, number: u64, life: u8) {
    volume.write(offset_of(number), content(number, life).into()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_swapped_and_old_blocks_are_found_counted_and_repaired() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let volume = cluster.open(1, 1, VOLUME_BYTES).await;
    for number in 0..BLOCKS {
        write(&volume, number, 1).await;
    }
    // Block 40 has an older image in the log, which is valid in itself.
    write(&volume, 40, 2).await;
    volume.flush().await.unwrap();
    volume.close().await;
    let clean = scrub_all(&cluster).await;
    assert_eq!((clean.blocks_checked, clean.chunks), (3 * BLOCKS, 16));
    assert_eq!((clean.bad_blocks, clean.missing_blocks, clean.skipped_blocks), (0, 0, 0));
    (0..3).for_each(|number| cluster.stop_one(number));
    for number in 0..3u64 {
        let disk = Disk::open(&cluster.path(usize::try_from(number).unwrap()));
        // Different blocks are bad on each, and one is bad on all.
        (0..5).for_each(|block| disk.flip(number * 10 + block, 1));
        disk.flip(55, 1);
        if number == 0 {
            disk.misdirect(50, &content(51, 1), 1);
            disk.misdirect(51, &content(50, 1), 1);
        }
        if number == 1 {
            disk.misdirect(40, &content(40, 1), 2);
        }
    }
    (0..3).for_each(|number| cluster.start_one(number));
    let report = scrub_all(&cluster).await;
    assert_eq!(report.blocks_checked, 3 * BLOCKS);
    assert_eq!(report.bad_blocks, 15 + 3 + 2 + 1, "{report:?}");
    assert_eq!((report.repaired_blocks, report.unrepairable_blocks), (18, 3), "{report:?}");
    assert_eq!((report.missing_blocks, report.conflicting_blocks), (0, 0));
    let again = scrub_all(&cluster).await;
    assert_eq!((again.bad_blocks, again.unrepairable_blocks), (3, 3), "only what is bad everywhere");
    // Every disk has it again by itself, and after a kill.
    (0..3).for_each(|number| cluster.kill_one(number));
    (0..3).for_each(|number| cluster.start_one(number));
    let volume = cluster.open(1, 2, VOLUME_BYTES).await;
    let error = volume.read(offset_of(55), BLOCK_LEN, Holes::Zeros).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt, "never wrong bytes");
    write(&volume, 55, 3).await;
    volume.flush().await.unwrap();
    volume.close().await;
    for number in 0..3 {
        let held = Probe::connect(&cluster.place(number), 1).blocks(1);
        for number in 0..BLOCKS {
            let (offset, life) = (offset_of(number), [(40, 2), (55, 3)].iter().find(|l| l.0 == number));
            let chunk = u32::try_from(offset / CHUNK_BYTES).unwrap();
            let block = u16::try_from(offset % CHUNK_BYTES / BLOCK_BYTES).unwrap();
            let expected = content(number, life.map_or(1, |life| life.1));
            assert!(held[&(chunk, block)].1.as_deref() == Some(&expected[..]), "block {number}");
        }
    }
    assert_eq!(scrub_all(&cluster).await.bad_blocks, 0, "writing it anew heals it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrub_under_a_writer_raises_no_alarm() {
    let cluster = Cluster::start(4 * DISK_BYTES);
    let volume = cluster.open(1, 1, VOLUME_BYTES).await;
    let stop = Arc::new(AtomicBool::new(false));
    let writing = |seed| {
        let (stop, volume) = (Arc::clone(&stop), volume.clone());
        tokio::spawn(async move {
            let mut dice = Dice(seed);
            while !stop.load(Ordering::SeqCst) {
                let blocks = 1 + dice.roll(8);
                let offset = dice.roll(VOLUME_BYTES / BLOCK_BYTES - blocks) * BLOCK_BYTES;
                let len = blocks * BLOCK_BYTES;
                match dice.roll(20) {
                    0 => volume.flush().await.unwrap(),
                    1..=4 => volume.trim(offset, len).await.unwrap(),
                    _ => {
                        let data = dice.bytes(usize::try_from(len).unwrap());
                        volume.write(offset, data.into()).await.unwrap();
                    }
                }
            }
        })
    };
    let writers: Vec<_> = (1..4).map(writing).collect();
    let mut checked = 0;
    for _ in 0..3 {
        let report = scrub_all(&cluster).await;
        let alarms = report.bad_blocks + report.missing_blocks + report.conflicting_blocks;
        assert_eq!((alarms, report.repaired_blocks), (0, 0), "{report:?}");
        checked += report.blocks_checked;
    }
    stop.store(true, Ordering::SeqCst);
    for writer in writers {
        writer.await.unwrap();
    }
    volume.flush().await.unwrap();
    assert!(checked > 0);
    let held: Vec<_> = (0..3).map(|number| Probe::connect(&cluster.place(number), 1).blocks(1)).collect();
    assert!(held[0] == held[1] && held[1] == held[2], "and the members are the same");
}
