//! libblkio's virtio-blk-vhost-user driver, with one memory region registered once.

// The driver fills an array of `MaybeUninit` and says how many: there is no safe way to look at those.
#![allow(unsafe_code)]

use crate::limits::{MAX_REQUEST_BYTES, QUEUE_SIZE, REGION_BYTES, REQUEST_TIMEOUT_S};
use anyhow::{Context, Result, anyhow, bail};
use blkio::{Blkio, Blkioq, Completion, MemoryRegion, ReqFlags};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// A disk, as a guest with one queue sees it.
pub struct Client {
    queue: Blkioq,
    blkio: Blkio,
    region: MemoryRegion,
    completions: Vec<MaybeUninit<Completion>>,
    in_flight: usize,
    /// The last one, which stands for all: nobody has different kinds in flight at once.
    asked: Asked,
}

/// What to do with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
enum Asked {
    Data(Direction, usize),
    Flush,
}

impl Client {
    pub fn connect(socket: &Path) -> Result<Self> {
        let mut blkio = Blkio::new("virtio-blk-vhost-user").map_err(plain)?;
        let path = socket.to_str().context("the socket's path is not text")?;
        blkio.set_str("path", path).map_err(plain)?;
        blkio.connect().map_err(plain).with_context(|| format!("connecting to {path}"))?;
        blkio.set_i32("queue-size", QUEUE_SIZE).map_err(plain)?;
        let mut queues = blkio.start().map_err(plain)?.queues;
        let queue = queues.pop().context("the driver has no queue")?;
        let region = blkio.alloc_mem_region(REGION_BYTES).map_err(plain)?;
        fill_with_noise(&region)?;
        blkio.map_mem_region(&region).map_err(plain)?;
        let completions = (0..QUEUE_SIZE).map(|_| MaybeUninit::uninit()).collect();
        Ok(Self { queue, blkio, region, completions, in_flight: 0, asked: Asked::Flush })
    }

    pub fn capacity(&self) -> Result<u64> {
        self.blkio.get_u64("capacity").map_err(plain)
    }

    /// Queues a request with the buffer of `slot`, page-aligned. It goes out with the next
    /// [`wait`](Self::wait), whose answer carries `slot`.
    pub fn submit(&mut self, direction: Direction, offset: u64, len: usize, slot: usize) {
        assert!(len <= MAX_REQUEST_BYTES && (slot + 1) * MAX_REQUEST_BYTES <= self.region.len);
        self.asks(Asked::Data(direction, len));
        let at = self.region.addr + slot * MAX_REQUEST_BYTES;
        let buffer = std::ptr::with_exposed_provenance_mut::<u8>(at);
        match direction {
            Direction::Read => self.queue.read(offset, buffer, len, slot, ReqFlags::empty()),
            Direction::Write => self.queue.write(offset, buffer, len, slot, ReqFlags::empty()),
        }
    }

    /// Reads a block, and waits for it.
    pub fn read_once(&mut self, offset: u64) -> Result<()> {
        self.submit(Direction::Read, offset, 4096, 0);
        self.wait(|_| {})
    }

    /// Queues a flush.
    pub fn flush(&mut self, slot: usize) {
        self.asks(Asked::Flush);
        self.queue.flush(slot, ReqFlags::empty());
    }

    /// Sends what was queued, waits for one completion at least, and gives each one's slot to `done`.
    pub fn wait(&mut self, mut done: impl FnMut(usize)) -> Result<()> {
        let mut timeout = Duration::from_secs(REQUEST_TIMEOUT_S);
        let count = self.queue.do_io(&mut self.completions, 1, Some(&mut timeout), None);
        let count = count.map_err(|error| match error.errno().raw_os_error() {
            libc::ETIME => anyhow!(self.asked.unanswered(self.in_flight)),
            _ => plain(error),
        })?;
        self.in_flight -= count;
        for completion in &self.completions[..count] {
            // SAFETY: `do_io` returned that it filled the first `count` entries.
            let completion = unsafe { completion.assume_init_ref() };
            if completion.ret != 0 {
                let error = std::io::Error::from_raw_os_error(-completion.ret);
                bail!("a request failed: {error}");
            }
            done(completion.user_data);
        }
        Ok(())
    }

    fn asks(&mut self, asked: Asked) {
        self.asked = asked;
        self.in_flight += 1;
    }
}

impl Asked {
    fn unanswered(self, in_flight: usize) -> String {
        let what = match self {
            Self::Data(Direction::Read, len) => format!("reads of {} KiB", len >> 10),
            Self::Data(Direction::Write, len) => format!("writes of {} KiB", len >> 10),
            Self::Flush => "flushes".to_owned(),
        };
        format!("no answer within {REQUEST_TIMEOUT_S} s to {what}, of which {in_flight} are in flight")
    }
}

/// Data that nothing can take for holes or compress. Written through the file behind the memory.
fn fill_with_noise(region: &MemoryRegion) -> Result<()> {
    let file = File::options().write(true).open(format!("/proc/self/fd/{}", region.fd))?;
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut chunk = vec![0u8; MAX_REQUEST_BYTES];
    for word in chunk.chunks_exact_mut(8) {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        word.copy_from_slice(&state.to_le_bytes());
    }
    for (index, offset) in (0..region.len).step_by(MAX_REQUEST_BYTES).enumerate() {
        // Slots differ, so that a request that went to another's place would show in a check.
        chunk[..8].copy_from_slice(&index.to_le_bytes());
        file.write_all_at(&chunk, u64::try_from(offset)?)?;
    }
    Ok(())
}

fn plain(error: blkio::Error) -> anyhow::Error {
    anyhow::anyhow!("{} ({})", error.message(), error.errno())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_answered_is_told() {
        let of = |asked: Asked| asked.unanswered(32);
        let writes = of(Asked::Data(Direction::Write, 4096));
        assert_eq!(writes, "no answer within 60 s to writes of 4 KiB, of which 32 are in flight");
        assert!(of(Asked::Data(Direction::Read, 1 << 20)).contains("reads of 1024 KiB"));
        assert!(of(Asked::Flush).contains("to flushes"));
    }
}
