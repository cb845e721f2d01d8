//! Copies that went bad while nothing ran: flipped, misdirected, lost. Good ones are served and mend them; where
//! none is left there is an error, never wrong bytes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;
use trial::block_client::BlockClient;
use trial::disk_file::DiskFile;
use trial::harness::{Random, Store, clean, eventually, seed};
use trial::process::program;
use trial::w1::{self, BLOCK, Blocks};

const BLOCKS: u64 = 2048;
const OPERATIONS: u64 = 1500;
const DISKS: usize = 3;

/// A store that was written to for a while and stopped well.
struct Written {
    store: Store,
    socket: PathBuf,
    blocks: Blocks,
    seed: u64,
    random: Random,
}

impl Written {
    fn new() -> Self {
        let seed = seed();
        let mut store = Store::start("256M");
        store.cli(&["volume", "create", "v", "--size", "64M"]);
        let socket = store.dir.path().join("v.sock");
        store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
        let load = w1::Load::start(&socket, BLOCKS, Blocks::default(), seed);
        w1::wait_operations(&load.live, OPERATIONS, Duration::from_secs(120));
        let blocks = load.finish();
        blocks.assert_whole(seed);
        store.stop();
        Self { store, socket, blocks, seed, random: Random(seed) }
    }

    fn disk(&self, disk: usize) -> DiskFile {
        DiskFile::open(&self.store.disk_file(disk))
    }

    /// Where every block's newest content lies on a disk; all copies of it.
    fn places(&self, disk: usize) -> BTreeMap<u64, Vec<u64>> {
        let places = self.disk(disk).find(self.blocks.contents());
        assert_eq!(places.len(), self.blocks.contents().count(), "disk {disk} lacks content");
        places
    }

    /// Each of `wanted` blocks at random, from those with content.
    fn pick(&mut self, wanted: usize) -> BTreeSet<u64> {
        let all: Vec<u64> = self.blocks.contents().map(|(index, _)| index).collect();
        assert!(all.len() > wanted * 2, "only {} blocks were written", all.len());
        let mut picked = BTreeSet::new();
        while picked.len() < wanted {
            picked.insert(all[self.random.below(all.len() as u64) as usize]);
        }
        picked
    }

    /// Starts, and reads everything once from each member: reads go to the next one with each attachment.
    fn read_every_copy(&mut self) {
        self.store.up();
        for turn in 0..DISKS {
            self.blocks.verify(&self.socket);
            self.blocks.assert_whole(self.seed);
            if turn + 1 < DISKS {
                self.store.cli(&["volume", "detach", "v"]);
                self.store.cli(&["volume", "attach", "v", "--socket", self.socket.to_str().unwrap()]);
            }
        }
    }

    /// Until the disks have mended this many blocks.
    #[track_caller]
    fn wait_repaired(&self, wanted: u64) {
        eventually("the repair", Duration::from_secs(60), || {
            let status = self.store.json(&["status"]);
            let disks = status["disks"].as_array().unwrap();
            let repaired: u64 = disks.iter().map(|disk| disk["repaired_blocks"].as_u64().unwrap()).sum();
            (repaired >= wanted).then_some(())
        });
    }

    /// Stops, and looks at every disk as an operator would.
    fn all_clean(mut self) {
        self.store.stop();
        for disk in 0..DISKS {
            let (code, text) = check(&self.store.disk_file(disk));
            assert_eq!(code, 0, "seed {}, disk {disk}: {text}", self.seed);
        }
    }
}

fn check(path: &Path) -> (i32, String) {
    let output = clean(program()).args(["disk", "check"]).arg(path).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code().unwrap_or(-1), String::from_utf8_lossy(&text).into_owned())
}

/// Row 20, of what a mount survives; row 22 for the data.
#[test]
fn flips_in_any_copy_are_read_right_and_mended() {
    let mut written = Written::new();
    let mut spoiled = 0;
    let mut left = written.pick(60).into_iter();
    for disk in 0..DISKS {
        let (file, places) = (written.disk(disk), written.places(disk));
        for index in left.by_ref().take(20) {
            places[&index].iter().for_each(|at| file.flip(*at, &mut written.random));
            spoiled += 1;
        }
        // One copy of the superblock, and old headers: a stopped disk needs them no more.
        if disk == 1 {
            file.flip(0, &mut written.random);
            let headers = file.find_magic(b"ASHBATCH");
            file.flip(headers[headers.len() / 2], &mut written.random);
        }
        file.sync();
        let (code, text) = check(&written.store.disk_file(disk));
        assert_eq!(code, 1, "disk {disk} is bad and its check says: {text}");
    }
    written.read_every_copy();
    written.wait_repaired(spoiled);
    written.store.stop();
    for disk in 0..DISKS {
        let (_, text) = check(&written.store.disk_file(disk));
        assert!(text.contains(", 0 corrupt"), "seed {}, disk {disk}: {text}", written.seed);
    }
}

/// Row 23.
#[test]
fn with_every_copy_bad_there_is_an_error_and_never_wrong_bytes() {
    let mut written = Written::new();
    let bad = written.pick(5);
    for disk in 0..DISKS {
        let (file, places) = (written.disk(disk), written.places(disk));
        for index in &bad {
            places[index].iter().for_each(|at| file.flip(*at, &mut written.random));
        }
        file.sync();
    }
    written.store.up();
    let mut client = BlockClient::connect(&written.socket);
    let contents: Vec<_> = written.blocks.contents().collect();
    for (index, content) in &contents {
        match client.try_read(index * BLOCK as u64, BLOCK) {
            Ok(data) => {
                assert!(!bad.contains(index), "seed {}: block {index} is bad everywhere", written.seed);
                assert!(data == *content, "seed {}: block {index}", written.seed);
            }
            Err(errno) => {
                assert!(bad.contains(index), "seed {}: block {index}: {errno}", written.seed);
                assert_eq!(errno, -rustix::io::Errno::IO.raw_os_error());
            }
        }
    }
    // What is written anew is good again.
    for index in &bad {
        let data = w1::content(*index, u64::MAX >> 1);
        assert_eq!(client.write(index * BLOCK as u64, &data), 0);
        assert!(client.read(index * BLOCK as u64, BLOCK) == data);
    }
    assert_eq!(client.flush(), 0);
    drop(client);
    written.all_clean();
}

/// Row 24.
#[test]
fn two_blocks_that_changed_places_are_noticed() {
    let mut written = Written::new();
    let pairs: Vec<u64> = written.pick(20).into_iter().collect();
    let (file, places) = (written.disk(2), written.places(2));
    for pair in pairs.chunks_exact(2) {
        let (one, other) = (&places[&pair[0]], &places[&pair[1]]);
        let (first, second) = (file.read(one[0]), file.read(other[0]));
        one.iter().for_each(|at| file.write(*at, &second));
        other.iter().for_each(|at| file.write(*at, &first));
    }
    file.sync();
    written.read_every_copy();
    written.wait_repaired(20);
    written.all_clean();
}

/// Row 25.
#[test]
fn an_older_image_of_a_block_is_noticed() {
    let mut written = Written::new();
    let current: BTreeMap<u64, Vec<u8>> = written.blocks.contents().collect();
    let (file, places) = (written.disk(0), written.places(0));
    // Former contents that still lie around in the log.
    let mut older = BTreeMap::<u64, Vec<u8>>::new();
    file.each_block(|_, block| {
        if let Some((index, _)) = w1::written_by(block)
            && current.get(&index).is_some_and(|current| current != block)
        {
            older.insert(index, block.to_vec());
        }
    });
    assert!(older.len() > 20, "seed {}: only {} older images", written.seed, older.len());
    for (index, block) in older.iter().take(20) {
        places[index].iter().for_each(|at| file.write(*at, block));
    }
    file.sync();
    written.read_every_copy();
    written.wait_repaired(20);
    written.all_clean();
}
