//! A vhost-user-blk client that nobody here wrote: libblkio, on one queue.
#![allow(unsafe_code)]

use blkio::{Blkio, Blkioq, Completion, MemoryRegion, ReqFlags};
use std::fs::{File, OpenOptions};
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

/// Bytes that one slot of the client's memory holds.
pub const SLOT: usize = 64 << 10;
/// Requests with data that may be in flight.
pub const SLOTS: usize = 32;

/// A connection to a volume's socket.
pub struct BlockClient {
    // Dropped before the rest, as libblkio wants it.
    queue: Blkioq,
    region: MemoryRegion,
    /// The region's memory as a file: data goes in and out without pointers.
    memory: File,
    blkio: Blkio,
}

/// One finished request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    pub tag: usize,
    /// 0, or a negative errno.
    pub result: i32,
}

impl BlockClient {
    pub fn connect(socket: &Path) -> Self {
        let mut blkio = Blkio::new("virtio-blk-vhost-user").unwrap();
        blkio.set_str("path", socket.to_str().unwrap()).unwrap();
        blkio.connect().unwrap_or_else(|error| panic!("can't connect to {}: {error:?}", socket.display()));
        let mut started = blkio.start().unwrap();
        let region = blkio.alloc_mem_region(SLOT * SLOTS).unwrap();
        blkio.map_mem_region(&region).unwrap();
        let memory =
            OpenOptions::new().read(true).write(true).open(format!("/proc/self/fd/{}", region.fd)).unwrap();
        Self { queue: started.queues.remove(0), region, memory, blkio }
    }

    pub fn capacity(&self) -> u64 {
        self.blkio.get_u64("capacity").unwrap()
    }

    /// Starts a write of `data` from a slot; `tag` comes back with its result.
    pub fn start_write(&mut self, tag: usize, slot: usize, offset: u64, data: &[u8]) {
        assert!(data.len() <= SLOT && slot < SLOTS);
        self.memory.write_all_at(data, self.place(slot)).unwrap();
        let at = (self.region.addr + slot * SLOT) as *const u8;
        self.queue.write(offset, at, data.len(), tag, ReqFlags::empty());
    }

    /// Starts a read into a slot.
    pub fn start_read(&mut self, tag: usize, slot: usize, offset: u64, len: usize) {
        assert!(len <= SLOT && slot < SLOTS);
        let at = (self.region.addr + slot * SLOT) as *mut u8;
        self.queue.read(offset, at, len, tag, ReqFlags::empty());
    }

    /// What a read brought into its slot.
    pub fn data(&self, slot: usize, len: usize) -> Vec<u8> {
        let mut data = vec![0; len];
        self.memory.read_exact_at(&mut data, self.place(slot)).unwrap();
        data
    }

    /// Reads, or the negative errno.
    pub fn try_read(&mut self, offset: u64, len: usize) -> Result<Vec<u8>, i32> {
        self.start_read(usize::MAX, 0, offset, len);
        match self.finish("read") {
            0 => Ok(self.data(0, len)),
            errno => Err(errno),
        }
    }

    pub fn start_flush(&mut self, tag: usize) {
        self.queue.flush(tag, ReqFlags::empty());
    }

    /// Waits for at least one result, or none if `limit` passes first.
    pub fn wait(&mut self, limit: Duration) -> Vec<Done> {
        const EMPTY: MaybeUninit<Completion> = MaybeUninit::uninit();
        let mut completions = [EMPTY; SLOTS];
        let mut limit = limit;
        let count = match self.queue.do_io(&mut completions, 1, Some(&mut limit), None) {
            Ok(count) => count,
            Err(error) if error.errno() == blkio::Errno::TIME => 0,
            Err(error) => panic!("libblkio failed: {error:?}"),
        };
        completions[..count]
            .iter()
            .map(|completion| {
                // SAFETY: `do_io` initialises as many completions as it returns, from the first on.
                let completion = unsafe { completion.assume_init_ref() };
                Done { tag: completion.user_data, result: completion.ret }
            })
            .collect()
    }

    pub fn write(&mut self, offset: u64, data: &[u8]) -> i32 {
        self.start_write(usize::MAX, 0, offset, data);
        self.finish("write")
    }

    pub fn read(&mut self, offset: u64, len: usize) -> Vec<u8> {
        self.try_read(offset, len).unwrap_or_else(|errno| panic!("reading {len} bytes at {offset}: {errno}"))
    }

    pub fn flush(&mut self) -> i32 {
        self.start_flush(usize::MAX);
        self.finish("flush")
    }

    pub fn discard(&mut self, offset: u64, len: u64) -> i32 {
        self.queue.discard(offset, len, usize::MAX, ReqFlags::empty());
        self.finish("discard")
    }

    fn finish(&mut self, what: &str) -> i32 {
        let done = self.wait(Duration::from_secs(60));
        assert_eq!(done.len(), 1, "no answer to a {what} in a minute");
        done[0].result
    }

    fn place(&self, slot: usize) -> u64 {
        self.region.fd_offset as u64 + (slot * SLOT) as u64
    }
}
