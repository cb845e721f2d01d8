//! What the disk itself gives: a local file, written and read with O_DIRECT by as many threads as there are requests
//! in flight. No server, no queue between: the bound of sequential writes is a third of it, as three replicas share
//! the disk. Threads of blocking calls are no match for io_uring at 4 KiB, so only rows of whole mebibytes are run.

use super::Shape;
use super::side::{Disks, Keeper, Side};
use crate::limits::MAX_REQUEST_BYTES;
use anyhow::{Context, Result};
use std::fs::File;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

pub const NAME: &str = "raw file";

/// What O_DIRECT wants of a buffer's address on any disk.
const ALIGNMENT: usize = 4096;

pub fn start(folder: &Path, shape: Shape) -> Result<Side> {
    let path = |volume: u32| folder.join(format!("raw{volume}.raw"));
    let files = (0..shape.volumes).map(path).collect::<Vec<_>>();
    for file in &files {
        File::create_new(file).context("making a raw file")?.set_len(shape.size)?;
    }
    Ok(Side {
        name: NAME,
        version: None,
        durability:
            "one local file, no replica, no checksums, no server; O_DIRECT, a thread a request in flight; \
                     only rows of 1 MiB"
                .into(),
        members: vec![],
        disks: Disks::Files(files),
        keeper: Keeper::Foreign,
    })
}

/// A file of one, and a buffer that O_DIRECT takes.
pub struct Direct {
    file: File,
    memory: Vec<u8>,
    start: usize,
}

impl Direct {
    pub fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        let file = options.read(true).write(true).custom_flags(libc::O_DIRECT).open(path);
        let file = file.with_context(|| format!("opening {} with O_DIRECT", path.display()))?;
        let mut memory = vec![0; MAX_REQUEST_BYTES + ALIGNMENT];
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in memory.chunks_exact_mut(8) {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        let start = memory.as_ptr().addr().wrapping_neg() % ALIGNMENT;
        Ok(Self { file, memory, start })
    }

    pub fn write(&mut self, offset: u64) -> Result<()> {
        let buffer = &self.memory[self.start..self.start + MAX_REQUEST_BYTES];
        self.file.write_all_at(buffer, offset).context("writing the raw file")
    }

    pub fn read(&mut self, offset: u64) -> Result<()> {
        let buffer = &mut self.memory[self.start..self.start + MAX_REQUEST_BYTES];
        self.file.read_exact_at(buffer, offset).context("reading the raw file")
    }

    pub fn flush(&self) -> Result<()> {
        self.file.sync_data().context("flushing the raw file")
    }
}

pub fn fill(path: &Path, area: u64) -> Result<()> {
    let mut file = Direct::open(path)?;
    for offset in (0..area).step_by(MAX_REQUEST_BYTES) {
        file.write(offset)?;
    }
    file.flush()
}
