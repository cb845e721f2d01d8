//! A disk used one call at a time: to format, mount and check it. The data path goes through the ring.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
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
    /// Opens an existing file or device.
    pub fn open(path: &Path, access: Access) -> io::Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(access == Access::ReadWrite)
            .custom_flags(libc::O_DIRECT | libc::O_CLOEXEC)
            .open(path)?;
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
        file.set_len(len_bytes)?;
        file.sync_all()?;
        Ok(Self { file, len_bytes })
    }

    /// The open file, for the ring.
    pub fn into_file(self) -> File {
        self.file
    }
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
