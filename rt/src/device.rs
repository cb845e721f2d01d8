//! A disk used one call at a time: to format, mount and check it. The data path goes through the ring.

#![allow(unsafe_code)]

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// A raw device or file. Offsets and lengths are multiples of 4096; so are the buffers' addresses
/// (`AlignedBuf`), except on simulated disks.
pub trait BlockDevice {
    fn len_bytes(&self) -> u64;
    /// Fills `buf` from `offset`, or fails: never short.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `buf` at `offset`, or fails: never short.
    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;
    /// Makes everything written durable, past the device's cache.
    fn flush(&self) -> io::Result<()>;
}

/// A file or block device opened with O_DIRECT.
#[derive(Debug)]
pub struct FileDevice {
    file: File,
    len_bytes: u64,
}

/// Whether a device may be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    ReadOnly,
    ReadWrite,
}

impl FileDevice {
    /// Opens an existing file or device, and locks it until it is closed: for this user alone, or with other
    /// readers. Fails with `ResourceBusy` while somebody else has it.
    pub fn open(path: &Path, access: Access) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC)
            .open(path)?;
        lock(&file, access)?;
        // Seeking to the end gives a block device's size too, which `metadata` does not.
        let len_bytes = io::Seek::seek(&mut &file, io::SeekFrom::End(0))?;
        Ok(Self { file, len_bytes })
    }

    /// Makes a new file of `len_bytes`, all holes. Fails if the path exists.
    pub fn create(path: &Path, len_bytes: u64) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC)
            .open(path)?;
        lock(&file, Access::ReadWrite)?;
        file.set_len(len_bytes)?;
        file.sync_all()?;
        Ok(Self { file, len_bytes })
    }

    /// Whether a call that is told not to wait for the disk may do so all the same. Block devices, and the file systems
    /// that are made for local disks, keep to it; of others, such as FUSE, it is known or must be feared that they don't.
    pub fn may_hold_up(&self) -> bool {
        if self.file.metadata().is_ok_and(|about| about.file_type().is_block_device()) {
            return false;
        }
        // SAFETY: an all-zero statfs is a valid one.
        let mut about: libc::statfs = unsafe { std::mem::zeroed() };
        // SAFETY: the file is open, and `about` outlives the call.
        let told = unsafe { libc::fstatfs(self.file.as_raw_fd(), &raw mut about) } == 0;
        let local =
            [libc::EXT4_SUPER_MAGIC, libc::XFS_SUPER_MAGIC, libc::BTRFS_SUPER_MAGIC, libc::TMPFS_MAGIC];
        !(told && local.contains(&about.f_type))
    }

    /// Where the file has no blocks yet, as far as the file system tells; nothing for a device.
    pub fn holes(&self) -> Vec<Range<u64>> {
        let mut holes = Vec::new();
        let mut at = 0;
        while let Some(hole) = self.seek(at, libc::SEEK_HOLE).filter(|&hole| hole < self.len_bytes) {
            // No data behind it: the hole goes to the end.
            at = self.seek(hole, libc::SEEK_DATA).unwrap_or(self.len_bytes).max(hole + 1);
            holes.push(hole..at);
        }
        holes
    }

    fn seek(&self, from: u64, whence: libc::c_int) -> Option<u64> {
        let from = libc::off_t::try_from(from).ok()?;
        // SAFETY: the call takes no pointers, and nobody uses the file's position.
        u64::try_from(unsafe { libc::lseek(self.file.as_raw_fd(), from, whence) }).ok()
    }

    /// The open file, for the ring.
    pub fn into_file(self) -> File {
        self.file
    }
}

fn lock(file: &File, access: Access) -> io::Result<()> {
    let locked = match access {
        Access::ReadOnly => file.try_lock_shared(),
        Access::ReadWrite => file.try_lock(),
    };
    locked.map_err(|error| match error {
        TryLockError::Error(error) => error,
        TryLockError::WouldBlock => {
            io::Error::new(io::ErrorKind::ResourceBusy, "it is in use by a running chunk server or tool")
        }
    })
}

impl BlockDevice for FileDevice {
    fn len_bytes(&self) -> u64 {
        self.len_bytes
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.file.write_all_at(buf, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::buf::AlignedBuf;

    #[test]
    fn keeps_what_is_written_and_one_user() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let device = FileDevice::create(&path, 1 << 20).unwrap();
        let mut buf = AlignedBuf::zeroed(4096);
        buf.fill(7);
        device.write_at(&buf, 8192).unwrap();
        device.flush().unwrap();
        assert_eq!(device.holes(), [0..8192, 12288..1 << 20]);
        for access in [Access::ReadOnly, Access::ReadWrite] {
            assert_eq!(FileDevice::open(&path, access).unwrap_err().kind(), io::ErrorKind::ResourceBusy);
        }
        drop(device);
        let first = FileDevice::open(&path, Access::ReadOnly).unwrap();
        let second = FileDevice::open(&path, Access::ReadOnly).unwrap();
        assert_eq!((first.len_bytes(), second.len_bytes()), (1 << 20, 1 << 20));
        let mut seen = AlignedBuf::zeroed(4096);
        second.read_at(&mut seen, 8192).unwrap();
        assert_eq!(seen[..], buf[..]);
        assert!(second.read_at(&mut seen, 1 << 20).is_err(), "past the end is an error, never short");
    }
}
