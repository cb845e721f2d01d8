//! Copies that go bad while their servers are away.

use super::rows::Row;
use super::scrub;
use super::world::{World, pick};
use crate::limits::{SOAK_LOST, SOAK_SPOILED};
use std::collections::{BTreeMap, BTreeSet};
use trial::disk_file::DiskFile;
use trial::harness::Random;
use trial::w1::{self, Blocks};

/// Where each block's newest content lies on a disk: all copies of it.
type Places = BTreeMap<u64, Vec<u64>>;

impl World {
    pub(super) fn spoil(&mut self, row: Row, random: &mut Random) -> u64 {
        let mut blocks = self.end_load();
        let wanted: Vec<u64> = {
            let all: Vec<u64> = blocks.contents().map(|(index, _)| index).collect();
            let count = if row == Row::AllCopiesBad { SOAK_LOST } else { SOAK_SPOILED };
            let picked: BTreeSet<u64> =
                (0..count.min(all.len())).map(|_| all[pick(random, all.len())]).collect();
            picked.into_iter().collect()
        };
        let fired = match row {
            Row::FlippedEverywhere => self.spoil_everywhere(&blocks, &wanted, 3, random),
            Row::AllCopiesBad => self.spoil_everywhere(&blocks, &wanted, 1, random),
            _ => self.spoil_one(row, &blocks, &wanted, random),
        };
        self.wait_whole();
        if row == Row::FlippedBits {
            self.count_bad(fired);
        }
        let bad = if row == Row::AllCopiesBad { wanted.into_iter().collect() } else { BTreeSet::new() };
        self.looked_at_bytes += blocks.verify_but(&self.socket, &bad);
        self.attach_again();
        self.look_at_all(&mut blocks);
        self.start_load(blocks);
        fired
    }

    /// One disk's copies. How many blocks were spoiled.
    fn spoil_one(&mut self, row: Row, blocks: &Blocks, wanted: &[u64], random: &mut Random) -> u64 {
        let disk = self.some_disk(random);
        self.fleet.stop_disk(disk);
        let file = DiskFile::open(&self.fleet.disk_file(disk));
        let places: Places = file.find(blocks.contents());
        let there: Vec<&Vec<u64>> = wanted.iter().filter_map(|index| places.get(index)).collect();
        if there.len() != wanted.len() {
            self.wrong.push(format!("disk {disk} lacks {} flushed blocks", wanted.len() - there.len()));
        }
        let fired = match row {
            Row::FlippedBits => {
                there.iter().for_each(|one| one.iter().for_each(|at| file.flip(*at, random)));
                // One of the two superblocks too.
                file.flip(0, random);
                there.len()
            }
            Row::SwappedBlocks => {
                for pair in there.chunks_exact(2) {
                    let (first, second) = (file.read(pair[0][0]), file.read(pair[1][0]));
                    pair[0].iter().for_each(|at| file.write(*at, &second));
                    pair[1].iter().for_each(|at| file.write(*at, &first));
                }
                there.len() / 2 * 2
            }
            _ => put_back_older(&file, blocks, &places),
        };
        file.sync();
        self.fleet.start_disk(disk);
        fired as u64
    }

    /// All disks' copies: of `parts` parts of the blocks each disk loses another, or all of them lose all.
    fn spoil_everywhere(
        &mut self,
        blocks: &Blocks,
        wanted: &[u64],
        parts: usize,
        random: &mut Random,
    ) -> u64 {
        let disks = self.fleet.used().to_vec();
        disks.iter().for_each(|disk| self.fleet.stop_disk(*disk));
        for (turn, disk) in disks.iter().enumerate() {
            let file = DiskFile::open(&self.fleet.disk_file(*disk));
            let places: Places = file.find(blocks.contents());
            for index in wanted.iter().skip(turn % parts).step_by(parts) {
                match places.get(index) {
                    Some(places) => places.iter().for_each(|at| file.flip(*at, random)),
                    None => self.wrong.push(format!("disk {disk} lacks block {index}, which was flushed")),
                }
            }
            file.sync();
        }
        disks.iter().for_each(|disk| self.fleet.start_disk(*disk));
        wanted.len() as u64
    }

    /// A scrub counts exactly what was spoiled, and repairs it.
    fn count_bad(&mut self, spoiled: u64) {
        let counts = scrub::whole_pass(&self.fleet);
        if (counts.bad, counts.repaired) != (spoiled, spoiled) {
            self.wrong.push(format!("{spoiled} copies were spoiled, and the scrub says {counts:?}"));
        }
    }
}

/// Puts former contents that still lie around where the newest should be. How many.
fn put_back_older(file: &DiskFile, blocks: &Blocks, places: &Places) -> usize {
    let current: BTreeMap<u64, Vec<u8>> = blocks.contents().collect();
    let mut older = BTreeMap::<u64, Vec<u8>>::new();
    file.each_block(|_, block| {
        if older.len() < SOAK_SPOILED
            && let Some((index, _)) = w1::written_by(block)
            && current.get(&index).is_some_and(|current| current != block)
            && places.contains_key(&index)
        {
            older.insert(index, block.to_vec());
        }
    });
    older.iter().for_each(|(index, block)| places[index].iter().for_each(|at| file.write(*at, block)));
    older.len()
}
