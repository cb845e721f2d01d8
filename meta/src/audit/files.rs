//! The files of an audit log: `00000000000000000001.jsonl`, named after the number of their first line.

use super::chain::{self, Head};
use crate::error::{ErrorKind, MetaError};
use crate::limits::MAX_AUDIT_LINE_BYTES;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind as IoErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

const EXTENSION: &str = "jsonl";

/// One file, by its first line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    pub first: u64,
    pub path: PathBuf,
}

impl LogFile {
    pub fn at(dir: &Path, first: u64) -> Self {
        Self { first, path: dir.join(format!("{first:020}.{EXTENSION}")) }
    }

    /// When its first line was written, in milliseconds since 1970; `None` if that can't be read from it.
    pub fn first_time(&self) -> Option<u64> {
        let mut reader = BufReader::new(File::open(&self.path).ok()?);
        let line = next_line(&mut reader).ok()??;
        chain::parse_rfc3339(&chain::read(line.text()).ok()?.place.time)
    }
}

/// A log's files in order. Others in the folder are not its own.
pub fn list(dir: &Path) -> Result<Vec<LogFile>, MetaError> {
    let entries = std::fs::read_dir(dir).map_err(|error| failed("can't read", dir, error))?;
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(|error| failed("can't read", dir, error))?.path();
        if path.extension().is_some_and(|extension| extension == EXTENSION)
            && let Some(first) = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok())
        {
            files.push(LogFile { first, path });
        }
    }
    files.sort_by_key(|file| file.first);
    Ok(files)
}

/// Makes a log's folder, for nobody else to read.
pub fn make(dir: &Path) -> Result<(), MetaError> {
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|error| failed("can't make", dir, error))
}

/// Holds a log's folder for as long as the file is open.
pub fn lock(dir: &Path) -> Result<File, MetaError> {
    let path = dir.join("lock");
    let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
    let file = file.map_err(|error| failed("can't open", &path, error))?;
    file.try_lock().map_err(|_| {
        MetaError::new(ErrorKind::Storage, format!("another daemon writes the audit log {}", dir.display()))
    })?;
    Ok(file)
}

pub fn open(file: &LogFile) -> Result<File, MetaError> {
    let opened = OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(&file.path);
    opened.map_err(|error| failed("can't open", &file.path, error))
}

/// What a file holds at its end.
pub struct Tail {
    /// The last whole line; `None` of an empty file.
    pub head: Option<Head>,
    /// Bytes up to the end of that line. What is behind them was never answered.
    pub len: u64,
    /// What is wrong with it.
    pub fault: Option<&'static str>,
}

/// Reads a file to its end.
pub fn tail(file: &LogFile) -> Result<Tail, MetaError> {
    let unread = |error| failed("can't read", &file.path, error);
    let mut reader = BufReader::new(File::open(&file.path).map_err(unread)?);
    let mut tail = Tail { head: None, len: 0, fault: None };
    while let Some(line) = next_line(&mut reader).map_err(unread)? {
        if !line.is_whole() {
            break;
        }
        tail.len += line.0.len() as u64;
        match chain::read(line.text()) {
            Ok(line) => tail.head = Some(Head { seq: line.place.seq, hash: line.hash }),
            Err(fault) => tail.fault = Some(fault),
        }
    }
    Ok(tail)
}

/// A line with its end, if it has one.
pub struct RawLine(Vec<u8>);

impl RawLine {
    pub fn is_whole(&self) -> bool {
        self.0.ends_with(b"\n")
    }

    pub fn text(&self) -> &[u8] {
        self.0.strip_suffix(b"\n").unwrap_or(&self.0)
    }
}

/// The next line; `None` at the end of the file. One that is longer than any line may be is an error.
pub fn next_line(reader: &mut impl BufRead) -> std::io::Result<Option<RawLine>> {
    let mut line = Vec::new();
    reader.take(MAX_AUDIT_LINE_BYTES as u64 + 1).read_until(b'\n', &mut line)?;
    if line.len() > MAX_AUDIT_LINE_BYTES {
        return Err(std::io::Error::new(IoErrorKind::InvalidData, "it has a line of no sensible length"));
    }
    Ok((!line.is_empty()).then_some(RawLine(line)))
}

/// Cuts a file to `len` bytes and goes to its end.
pub fn cut(file: &mut File, len: u64) -> std::io::Result<()> {
    file.set_len(len)?;
    file.seek(SeekFrom::End(0)).map(drop)
}

pub fn failed(what: &str, path: &Path, error: std::io::Error) -> MetaError {
    MetaError::new(ErrorKind::Storage, format!("{what} the audit log's {}", path.display()))
        .with_source(error)
}
