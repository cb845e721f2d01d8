//! One file of the log: a header and records one after another, then zeros that were written ahead, so that
//! a flush need not change the file's size.
//!
//! ```text
//!  0 magic "ASHMLOG1"   8 format version u32   12 zero u32   16 first index u64   24 salt u64
//! 32 CRC of bytes 0..32 u32   36 zero u32   40 records
//! ```

use super::files::{check_version, sync_parent};
use super::record::{self, Header};
use super::{LogId, io_failed};
use crate::error::{ErrorKind, MetaError};
use crate::limits::{FORMAT_VERSION, SEGMENT_ZERO_BYTES};
use proto::checksum::crc32;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"ASHMLOG1";
pub const HEADER_BYTES: usize = 40;

/// The path of the segment whose first entry has this index.
pub fn path_of(dir: &Path, first_index: u64) -> PathBuf {
    dir.join(format!("{first_index:020}.log"))
}

/// What is known of a segment: where each record starts.
#[derive(Debug)]
pub struct SegmentIndex {
    pub path: PathBuf,
    pub first_index: u64,
    pub salt: u64,
    /// The start of each record, in order of index.
    pub offsets: Vec<u32>,
    /// Where the next record goes.
    pub end: u32,
}

impl SegmentIndex {
    /// One above the last index.
    pub fn next_index(&self) -> u64 {
        self.first_index + self.offsets.len() as u64
    }

    /// Where the record of `index` starts and ends.
    pub fn span(&self, index: u64) -> Option<(u32, u32)> {
        let at = usize::try_from(index.checked_sub(self.first_index)?).ok()?;
        let start = *self.offsets.get(at)?;
        Some((start, self.offsets.get(at + 1).copied().unwrap_or(self.end)))
    }
}

/// What reading a segment found.
#[derive(Debug)]
pub struct Scan {
    pub index: SegmentIndex,
    pub last: Option<LogId>,
    /// One above the last index that is known to be committed.
    pub committed: u64,
    /// Whether something follows the last whole record: a write that never finished.
    pub torn: bool,
}

/// Where a segment stands in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Later ones follow, so all of it had been flushed.
    Middle,
    Last,
}

fn encode_header(first_index: u64, salt: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&first_index.to_le_bytes());
    header[24..32].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32(&header[..32]);
    header[32..36].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Refuses a segment that a newer version wrote, with nothing else looked at.
pub fn check_format(path: &Path) -> Result<(), MetaError> {
    let mut head = [0; 12];
    let file = File::open(path).map_err(|e| io_failed("open", path, e))?;
    match file.read_exact_at(&mut head, 0) {
        Ok(()) if head[..8] == MAGIC => {
            check_version(path, u32::from_le_bytes(head[8..].try_into().expect("four bytes")))
        }
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(()),
        Err(error) => Err(io_failed("read", path, error)),
    }
}

/// Reads and verifies a segment. `Ok(None)` is a last segment whose making was cut off before any record.
pub fn scan(path: &Path, first_index: u64, place: Place) -> Result<Option<Scan>, MetaError> {
    let bytes = fs::read(path).map_err(|e| io_failed("read", path, e))?;
    let header_ok = bytes.len() >= HEADER_BYTES && {
        let salt = u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes"));
        bytes[..HEADER_BYTES] == encode_header(first_index, salt)
    };
    if !header_ok {
        let rest = bytes.get(HEADER_BYTES..).unwrap_or_default();
        if place == Place::Last && is_zero(rest) {
            return Ok(None);
        }
        return Err(corrupt(path, 0, "the segment's header"));
    }
    let salt = u64::from_le_bytes(bytes[24..32].try_into().expect("eight bytes"));
    let mut index = SegmentIndex { path: path.to_owned(), first_index, salt, offsets: Vec::new(), end: 40 };
    let (mut last, mut committed) = (None, 0);
    let mut at = HEADER_BYTES;
    while let Some(header) = record::verify(&bytes[at..], salt) {
        if header.log_id.index != index.next_index() {
            return Err(corrupt(path, at, "a record's index"));
        }
        index.offsets.push(offset(path, at)?);
        at += header.record_bytes();
        last = Some(header.log_id);
        committed = committed.max(header.marks.committed);
    }
    index.end = offset(path, at)?;
    let torn = !is_zero(&bytes[at..]);
    if torn && (place == Place::Middle || was_flushed(&bytes[at..], salt, index.next_index())) {
        return Err(corrupt(path, at, &format!("the entry of index {}", index.next_index())));
    }
    Ok(Some(Scan { index, last, committed, torn }))
}

/// Whether a record further on says that the damaged entry of `index` had been flushed.
fn was_flushed(bytes: &[u8], salt: u64, index: u64) -> bool {
    let bytes = without_trailing_zeros(bytes);
    let says_so = |header: Header| header.log_id.index >= index && header.marks.durable > index;
    (1..bytes.len())
        .filter(|&at| record::may_start(&bytes[at..]))
        .filter_map(|at| record::decode_header(&bytes[at..], salt))
        .any(says_so)
}

fn is_zero(bytes: &[u8]) -> bool {
    without_trailing_zeros(bytes).is_empty()
}

/// The bytes up to the last one that is not zero, found by pages: most of a segment's tail is zeros.
fn without_trailing_zeros(mut bytes: &[u8]) -> &[u8] {
    const ZEROS: [u8; 4096] = [0; 4096];
    while let Some(rest) = bytes.strip_suffix(&ZEROS) {
        bytes = rest;
    }
    let len = bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &bytes[..len]
}

fn offset(path: &Path, at: usize) -> Result<u32, MetaError> {
    u32::try_from(at).map_err(|_| corrupt(path, at, "the segment's length"))
}

fn corrupt(path: &Path, at: usize, what: &str) -> MetaError {
    let message = format!(
        "{} is corrupt at byte {at}: {what} had been made durable and can't be read. The control plane does \
         not start without it; restore the file or the data folder from a backup",
        path.display()
    );
    MetaError::new(ErrorKind::Corrupt, message)
}

/// The open end of the log.
#[derive(Debug)]
pub struct SegmentWriter {
    path: PathBuf,
    file: File,
    /// Up to here the file was written, with records or zeros.
    len: u64,
}

impl SegmentWriter {
    /// Makes a new segment, durable before anything is written into it.
    pub fn create(path: &Path, first_index: u64, salt: u64) -> Result<Self, MetaError> {
        let write = || -> io::Result<File> {
            let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
            file.write_all_at(&encode_header(first_index, salt), 0)?;
            file.sync_all()?;
            Ok(file)
        };
        let file = write().map_err(|e| io_failed("make", path, e))?;
        sync_parent(path)?;
        Ok(Self { path: path.to_owned(), file, len: HEADER_BYTES as u64 })
    }

    /// Opens a segment to go on at its end.
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        let open = || -> io::Result<(File, u64)> {
            let file = OpenOptions::new().read(true).write(true).open(path)?;
            let len = file.metadata()?.len();
            Ok((file, len))
        };
        let (file, len) = open().map_err(|e| io_failed("open", path, e))?;
        Ok(Self { path: path.to_owned(), file, len })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Writes records and makes them durable.
    pub fn write(&mut self, at: u64, records: &[u8]) -> Result<(), MetaError> {
        let end = at + records.len() as u64;
        let write = |len: u64| -> io::Result<u64> {
            self.file.write_all_at(records, at)?;
            let mut len = len.max(end);
            if end + SEGMENT_ZERO_BYTES / 2 > len {
                // Ahead of need, in the same flush: then most flushes change no file size.
                let zeros = vec![0; usize::try_from(SEGMENT_ZERO_BYTES).expect("a few MiB")];
                self.file.write_all_at(&zeros, len)?;
                len += SEGMENT_ZERO_BYTES;
            }
            self.file.sync_data()?;
            Ok(len)
        };
        self.len = write(self.len).map_err(|e| io_failed("write", &self.path, e))?;
        Ok(())
    }

    /// Drops everything from `end` on.
    pub fn cut(&mut self, end: u64) -> Result<(), MetaError> {
        let cut = || self.file.set_len(end).and_then(|()| self.file.sync_all());
        cut().map_err(|e| io_failed("cut", &self.path, e))?;
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn golden_header_never_changes() {
        let header = encode_header(300, 0x0123_4567_89ab_cdef);
        let golden = "4153484d4c4f473102000000000000002c01000000000000efcdab8967452301";
        assert_eq!(hex::encode(&header[..32]), golden);
    }

    #[test]
    fn a_newer_segment_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_of(dir.path(), 0);
        SegmentWriter::create(&path, 0, 1).unwrap();
        check_format(&path).unwrap();
        let mut bytes = fs::read(&path).unwrap();
        bytes[8] = 3;
        fs::write(&path, &bytes).unwrap();
        assert_eq!(check_format(&path).unwrap_err().kind(), ErrorKind::NewerFormat);
    }
}
