//! Files that are whole or absent, and the data folder they lie in.

use super::io_failed;
use crate::error::{ErrorKind, MetaError};
use crate::limits::FORMAT_VERSION;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The data folder's layout.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    pub fn format(&self) -> PathBuf {
        self.root.join("FORMAT")
    }

    pub fn hard_state(&self) -> PathBuf {
        self.root.join("raft")
    }

    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    pub fn snapshots(&self) -> PathBuf {
        self.root.join("snapshots")
    }

    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// Makes the folder if it is not there, checks its format and takes its lock. Changes nothing in a
    /// folder of a newer format.
    pub fn open(&self) -> Result<FolderLock, MetaError> {
        let format = self.format();
        match fs::read_to_string(&format) {
            Ok(text) => check_format(&format, &text)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(io_failed("read", &format, error)),
        }
        for dir in [&self.root, &self.log(), &self.snapshots()] {
            fs::create_dir_all(dir).map_err(|e| io_failed("make", dir, e))?;
        }
        let lock = self.lock()?;
        if !format.exists() {
            write_atomically(&format, format!("ashlar-meta {FORMAT_VERSION}\n").as_bytes())?;
        }
        Ok(lock)
    }

    fn lock(&self) -> Result<FolderLock, MetaError> {
        let path = self.root.join("LOCK");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|e| io_failed("open", &path, e))?;
        match file.try_lock() {
            Ok(()) => Ok(FolderLock { _file: file }),
            Err(TryLockError::WouldBlock) => {
                let message =
                    format!("another process uses the control plane's data in {}", self.root.display());
                Err(MetaError::new(ErrorKind::Storage, message))
            }
            Err(TryLockError::Error(error)) => Err(io_failed("lock", &path, error)),
        }
    }
}

/// Holds the folder for this process until it is dropped.
#[derive(Debug)]
pub struct FolderLock {
    _file: File,
}

fn check_format(path: &Path, text: &str) -> Result<(), MetaError> {
    let version = text.strip_prefix("ashlar-meta ").and_then(|rest| rest.trim_end().parse::<u32>().ok());
    match version {
        Some(version) => check_version(path, version),
        None => {
            let message = format!("{} is not a format file of the control plane", path.display());
            Err(MetaError::new(ErrorKind::Corrupt, message))
        }
    }
}

/// Refuses what a newer version wrote, and format 1, whose records lack what this version keeps in them.
pub fn check_version(path: &Path, version: u32) -> Result<(), MetaError> {
    if version == 0 {
        return Err(MetaError::new(
            ErrorKind::Corrupt,
            format!("{} is corrupt: it has format 0", path.display()),
        ));
    }
    if version == FORMAT_VERSION {
        return Ok(());
    }
    if version < FORMAT_VERSION {
        let message = format!(
            "{} has format {version}, which was never released and which this version of Ashlar does not \
             read (its format is {FORMAT_VERSION}): start the version that wrote it, or begin with an empty \
             folder; nothing was changed",
            path.display()
        );
        return Err(MetaError::new(ErrorKind::NewerFormat, message));
    }
    let message = format!(
        "{} has format {version}, and this version of Ashlar knows formats up to {FORMAT_VERSION}: \
         start the newer version that wrote it; nothing was changed",
        path.display()
    );
    Err(MetaError::new(ErrorKind::NewerFormat, message))
}

/// Replaces a file so that it has either the old or the new content after a crash, and is durable.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), MetaError> {
    let temporary = path.with_extension("tmp");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(&temporary, path)
    };
    write().map_err(|e| io_failed("write", path, e))?;
    sync_parent(path)
}

/// Makes the names in a file's folder durable.
pub fn sync_parent(path: &Path) -> Result<(), MetaError> {
    let parent = path.parent().unwrap_or(Path::new("."));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(|e| io_failed("sync", parent, e))
}

/// Removes a file; it is no error if it is not there.
pub fn remove_file(path: &Path) -> Result<(), MetaError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_failed("remove", path, error)),
        _ => Ok(()),
    }
}
