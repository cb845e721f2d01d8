//! A disk's file while no daemon uses it: finds blocks by their content, and spoils them.

use crate::harness::Random;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

const BLOCK: usize = 4096;
const WINDOW: usize = 1 << 20;

pub struct DiskFile {
    file: File,
    len: u64,
}

impl DiskFile {
    pub fn open(path: &Path) -> Self {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let len = file.metadata().unwrap().len();
        Self { file, len }
    }

    /// Visits every block of windows that hold anything.
    pub fn each_block(&self, mut visit: impl FnMut(u64, &[u8])) {
        let mut window = vec![0; WINDOW];
        let mut at = 0;
        while at < self.len {
            let count = self.file.read_at(&mut window, at).unwrap();
            if window[..count].iter().any(|byte| *byte != 0) {
                for (index, block) in window[..count].chunks_exact(BLOCK).enumerate() {
                    visit(at + (index * BLOCK) as u64, block);
                }
            }
            at += count as u64;
        }
    }

    /// Where blocks with these contents lie: every copy, by the content's key. Contents differ within their
    /// first 16 bytes.
    pub fn find(&self, contents: impl Iterator<Item = (u64, Vec<u8>)>) -> BTreeMap<u64, Vec<u64>> {
        let by_start: BTreeMap<[u8; 16], (u64, Vec<u8>)> =
            contents.map(|(key, content)| (content[..16].try_into().unwrap(), (key, content))).collect();
        let mut found = BTreeMap::<u64, Vec<u64>>::new();
        self.each_block(|at, block| {
            let start: [u8; 16] = block[..16].try_into().unwrap();
            if let Some((key, content)) = by_start.get(&start)
                && content == block
            {
                found.entry(*key).or_default().push(at);
            }
        });
        found
    }

    /// Where blocks start with these bytes: headers of batches, checkpoints, superblocks.
    pub fn find_magic(&self, magic: &[u8]) -> Vec<u64> {
        let mut found = Vec::new();
        self.each_block(|at, block| {
            if block.starts_with(magic) {
                found.push(at);
            }
        });
        found
    }

    pub fn read(&self, at: u64) -> Vec<u8> {
        let mut block = vec![0; BLOCK];
        self.file.read_exact_at(&mut block, at).unwrap();
        block
    }

    pub fn write(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).unwrap();
    }

    /// Turns one bit over, somewhere in the block at `at`.
    pub fn flip(&self, at: u64, random: &mut Random) {
        let mut block = self.read(at);
        block[random.below(BLOCK as u64) as usize] ^= 1 << random.below(8);
        self.write(at, &block);
    }

    pub fn sync(&self) {
        self.file.sync_all().unwrap();
    }
}
