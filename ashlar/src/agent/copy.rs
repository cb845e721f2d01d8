//! Raw images in and out of volumes: bulk streams on tokio-uring, in a thread of their own.
//!
//! A volume that is made larger meanwhile is copied at the size it had: the handle that copies it knows only its
//! lease's. Nothing else here has a handle that outlives a resize: an attached volume's device is told, and a
//! gateway's log has its whole address space from the start and can't be resized.

use super::Agent;
use crate::api::Copied;
use crate::error::{Error, Exit};
use blockd::client::{Holes, OnFull, Volume};
use bytes::Bytes;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Bytes of one piece; also the most that one read or write of a volume takes.
const PIECE_BYTES: u64 = 1 << 20;
/// Pieces between the file's thread and the volume.
const PIECES: usize = 8;

/// A part of the image: where, and what; `None` is zeros.
type Piece = (u64, Bytes);

/// Copies a volume that is not attached into a new file; what is zero stays a hole.
pub async fn export(agent: &Agent, name: &str, file: &Path) -> Result<Copied, Error> {
    check_path(file)?;
    let _exclusive = agent.exclusive().await;
    let record = agent.free_volume(name).await?;
    let volume = open(agent, name, OnFull::Fail).await?;
    let (pieces, receiver) = mpsc::channel::<Piece>(PIECES);
    let writer = in_uring(file, move |path| write_file(path, record.size_bytes, receiver));
    let mut copied = Copied { bytes: record.size_bytes, data_bytes: 0 };
    let copying = agent.copies.begin(name, record.size_bytes);
    let read = async {
        let mut offset = 0;
        while offset < record.size_bytes {
            let len = PIECE_BYTES.min(record.size_bytes - offset);
            let wanted = usize::try_from(len).expect("a piece is 1 MiB");
            let data = volume
                .read(offset, wanted, Holes::Zeros)
                .await
                .map_err(|error| Error::failed(format!("can't read '{name}' at byte {offset}: {error}")))?;
            if data.iter().any(|byte| *byte != 0) {
                copied.data_bytes += len;
                // The file's thread has given up: its error says why.
                if pieces.send((offset, data)).await.is_err() {
                    break;
                }
            }
            offset += len;
            copying.done(len);
        }
        drop(pieces);
        Ok(())
    };
    let (read, written) = tokio::join!(read, writer);
    volume.close().await;
    written.and(read).map(|()| copied)
}

/// Copies a file into a volume that is not attached and at least as large.
pub async fn import(agent: &Agent, name: &str, file: &Path) -> Result<Copied, Error> {
    check_path(file)?;
    let _exclusive = agent.exclusive().await;
    let record = agent.free_volume(name).await?;
    let metadata = std::fs::metadata(file)
        .map_err(|error| Error::usage(format!("can't read {}: {error}", file.display())))?;
    let size = metadata.len();
    if !metadata.is_file() || size > record.size_bytes {
        return Err(Error::usage(format!(
            "{} ({}) is not a file that fits into volume '{name}' ({})",
            file.display(),
            proto::size::show(size),
            proto::size::show(record.size_bytes)
        )));
    }
    let volume = open(agent, name, OnFull::Fail).await?;
    let (pieces, mut receiver) = mpsc::channel::<Piece>(PIECES);
    let reader = in_uring(file, move |path| read_file(path, size, pieces));
    let mut copied = Copied { bytes: size, data_bytes: 0 };
    let copying = agent.copies.begin(name, size);
    let write = async {
        let failed = |error| {
            let exit = if matches!(error, blockd::Error { kind: blockd::ErrorKind::NoSpace, .. }) {
                Exit::Unavailable
            } else {
                Exit::Failed
            };
            Error::new(exit, format!("can't write '{name}': {error}"))
        };
        while let Some((offset, data)) = receiver.recv().await {
            let len = data.len() as u64;
            if data.iter().all(|byte| *byte == 0) {
                volume.trim(offset, len).await.map_err(failed)?;
            } else {
                copied.data_bytes += len;
                volume.write(offset, data).await.map_err(failed)?;
            }
            copying.done(len);
        }
        volume.flush().await.map_err(failed)
    };
    let (written, read) = tokio::join!(write, reader);
    volume.close().await;
    written.and(read).map(|()| copied)
}

async fn open(agent: &Agent, name: &str, on_full: OnFull) -> Result<Volume, Error> {
    let record = agent.free_volume(name).await?;
    let config = agent.open(&record, on_full).await?;
    Volume::open(config)
        .await
        .map_err(|error| Error::new(Exit::Unavailable, format!("can't open '{name}': {error}")))
}

fn check_path(file: &Path) -> Result<(), Error> {
    if file.is_absolute() {
        return Ok(());
    }
    Err(Error::usage(format!("{} must be an absolute path", file.display())))
}

/// Runs a future of tokio-uring, whose runtime must be a thread's own.
async fn in_uring<F, R>(file: &Path, work: F) -> Result<(), Error>
where
    F: FnOnce(PathBuf) -> R + Send + 'static,
    R: Future<Output = std::io::Result<()>>,
{
    let path = file.to_owned();
    let outcome = tokio::task::spawn_blocking(move || tokio_uring::start(work(path))).await;
    let failed = |why: String| Error::failed(format!("can't copy {}: {why}", file.display()));
    outcome.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))
}

async fn write_file(path: PathBuf, size: u64, mut pieces: mpsc::Receiver<Piece>) -> std::io::Result<()> {
    // Never over an existing file: an export must not be able to destroy one.
    let file = tokio_uring::fs::OpenOptions::new().write(true).create_new(true).open(&path).await?;
    while let Some((offset, data)) = pieces.recv().await {
        file.write_all_at(data, offset).await.0?;
    }
    file.sync_all().await?;
    file.close().await?;
    // The end may be a hole.
    std::fs::OpenOptions::new().write(true).open(&path)?.set_len(size)
}

async fn read_file(path: PathBuf, size: u64, pieces: mpsc::Sender<Piece>) -> std::io::Result<()> {
    let file = tokio_uring::fs::File::open(&path).await?;
    let mut offset = 0;
    while offset < size {
        let len = usize::try_from(PIECE_BYTES.min(size - offset)).expect("a piece is 1 MiB");
        let (outcome, mut data) = file.read_exact_at(Vec::with_capacity(len), offset).await;
        outcome?;
        // A volume's writes are whole sectors; the rest of the last one is zero.
        data.resize(len.next_multiple_of(512), 0);
        if pieces.send((offset, Bytes::from(data))).await.is_err() {
            break;
        }
        offset += len as u64;
    }
    file.close().await
}
