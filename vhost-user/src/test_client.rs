//! libblkio's virtio-blk driver as the guest of tests.

#![allow(clippy::cast_possible_truncation, reason = "test sizes are small")]

use crate::mem::written;
use blkio::{Blkio, Blkioq, MemoryRegion, ReqFlags};
use std::fs::File;
use std::mem::MaybeUninit;
use std::os::unix::fs::FileExt;
use std::path::Path;

const REGION_BYTES: usize = 4 << 20;

pub struct Client {
    // Before the memory it was told of.
    queues: Vec<Blkioq>,
    blkio: Blkio,
    region: MemoryRegion,
    /// The memory, as the file behind it: safe to read and write.
    file: File,
}

/// A request; its data starts at the memory's start unless said otherwise.
#[derive(Clone, Copy)]
pub enum Io {
    Read { offset: u64, len: u64 },
    Write { offset: u64, len: u64 },
    WriteZeroes { offset: u64, len: u64 },
    Discard { offset: u64, len: u64 },
    Flush,
}

impl Client {
    pub fn connect(socket: &Path, num_queues: i32) -> Self {
        let mut blkio = Blkio::new("virtio-blk-vhost-user").unwrap();
        blkio.set_str("path", socket.to_str().unwrap()).unwrap();
        blkio.connect().unwrap();
        blkio.set_i32("num-queues", num_queues).unwrap();
        let queues = blkio.start().unwrap().queues;
        let region = blkio.alloc_mem_region(REGION_BYTES).unwrap();
        blkio.map_mem_region(&region).unwrap();
        let path = format!("/proc/self/fd/{}", region.fd);
        let file = File::options().read(true).write(true).open(path).unwrap();
        Self { queues, blkio, region, file }
    }

    pub fn capacity(&self) -> u64 {
        self.blkio.get_u64("capacity").unwrap()
    }

    pub fn put(&self, at: u64, bytes: &[u8]) {
        self.file.write_all_at(bytes, at).unwrap();
    }

    pub fn get(&self, at: u64, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        self.file.read_exact_at(&mut bytes, at).unwrap();
        bytes
    }

    /// Takes the memory away from under the device.
    pub fn truncate(&self) {
        self.file.set_len(0).unwrap();
    }

    /// Queues a request whose data is at byte `at` of the memory.
    pub fn submit(&mut self, queue: usize, io: Io, at: usize) {
        let buffer = std::ptr::with_exposed_provenance_mut::<u8>(self.region.addr + at);
        let (queue, none) = (&mut self.queues[queue], ReqFlags::empty());
        match io {
            Io::Read { offset, len } => queue.read(offset, buffer, len as usize, 0, none),
            Io::Write { offset, len } => queue.write(offset, buffer, len as usize, 0, none),
            Io::WriteZeroes { offset, len } => queue.write_zeroes(offset, len, 0, none),
            Io::Discard { offset, len } => queue.discard(offset, len, 0, none),
            Io::Flush => queue.flush(0, none),
        }
    }

    /// Tells the device without waiting for it.
    pub fn kick(&mut self, queue: usize) {
        self.queues[queue].do_io(&mut [], 0, None, None).unwrap();
    }

    /// Waits for `count` requests: their results, 0 or a negated errno.
    pub fn wait(&mut self, queue: usize, count: usize) -> Vec<i32> {
        let mut completions = [const { MaybeUninit::uninit() }; 256];
        let done = self.queues[queue].do_io(&mut completions[..count], count, None, None).unwrap();
        written(&completions[..done]).iter().map(|completion| completion.ret).collect()
    }

    pub fn io(&mut self, queue: usize, io: Io) -> i32 {
        self.submit(queue, io, 0);
        self.wait(queue, 1)[0]
    }
}
