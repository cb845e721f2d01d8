//! What is at a disk's path: one of ours, nothing yet, or something that is not to be touched.

use crate::error::{Error, Exit};
use crate::limits::{MAX_DISK_BYTES, MIN_DISK_BYTES};
use blockd::ErrorKind;
use blockd::store::Store;
use proto::DiskId;
use proto::units::BLOCK_LEN;
use rt::buf::AlignedBuf;
use rt::device::{Access, BlockDevice, FileDevice};
use rt::rng::{Rng, SystemRng};
use std::io;
use std::path::Path;

/// How much of a device's beginning and end must be zero before it is taken for empty: partition tables,
/// file systems, LVM and RAID all leave marks there.
const LOOKED_AT_BYTES: u64 = 1 << 20;

/// A disk that can be served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub id: DiskId,
    /// It is to be made with this size.
    pub create_bytes: Option<u64>,
}

/// Looks at a path. An empty device or file becomes a disk; foreign content is refused and left as it is; a
/// path with nothing at it becomes a disk of `size_bytes`.
pub fn find(path: &Path, size_bytes: Option<u64>) -> Result<Found, Error> {
    let device = match FileDevice::open(path, Access::ReadWrite) {
        Ok(device) => device,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return to_be_made(path, size_bytes),
        Err(error) => return Err(cannot_open(path, &error)),
    };
    match Store::identify(&device) {
        Ok(id) => Ok(Found { id, create_bytes: None }),
        Err(error) if error.kind == ErrorKind::NotADisk => {
            if device.len_bytes() < MIN_DISK_BYTES {
                return Err(Error::usage(format!(
                    "{} is no Ashlar disk and too small to become one: it needs {}; nothing was changed",
                    path.display(),
                    proto::size::show(MIN_DISK_BYTES)
                )));
            }
            if !is_empty(&device).map_err(|error| cannot_open(path, &error))? {
                return Err(Error::new(
                    Exit::Conflict,
                    format!(
                        "{} is no Ashlar disk and is not empty; nothing was changed; \
                         if its content may go, wipe its first and last MiB and start again",
                        path.display()
                    ),
                ));
            }
            let id = DiskId(SystemRng.id());
            Store::format(&device, id)
                .map_err(|error| Error::failed(format!("can't format {}: {error}", path.display())))?;
            tracing::info!(disk = %id, path = %path.display(), "an empty disk was formatted");
            Ok(Found { id, create_bytes: None })
        }
        Err(error) => Err(Error::failed(format!("disk {} can't be used: {error}", path.display()))),
    }
}

fn to_be_made(path: &Path, size_bytes: Option<u64>) -> Result<Found, Error> {
    let Some(bytes) = size_bytes else {
        return Err(Error::new(
            Exit::NotFound,
            format!("there is no disk at {0}; to make a file there, give its size: {0}:10G", path.display()),
        ));
    };
    if !(MIN_DISK_BYTES..=MAX_DISK_BYTES).contains(&bytes) {
        return Err(Error::usage(format!(
            "a disk of {} is not possible; give {} to {}",
            proto::size::show(bytes),
            proto::size::show(MIN_DISK_BYTES),
            proto::size::show(MAX_DISK_BYTES)
        )));
    }
    Ok(Found { id: DiskId(SystemRng.id()), create_bytes: Some(bytes >> 20 << 20) })
}

fn cannot_open(path: &Path, error: &io::Error) -> Error {
    let why = format!("can't open the disk {}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::new(Exit::Denied, why),
        io::ErrorKind::ResourceBusy => Error::new(Exit::Unavailable, why),
        _ => Error::failed(why),
    }
}

fn is_empty(device: &FileDevice) -> io::Result<bool> {
    let end = device.len_bytes() / BLOCK_LEN as u64 * BLOCK_LEN as u64;
    let head = 0..LOOKED_AT_BYTES.min(end);
    let tail = end.saturating_sub(LOOKED_AT_BYTES).max(head.end)..end;
    let mut block = AlignedBuf::zeroed(BLOCK_LEN);
    for offset in head.chain(tail).step_by(BLOCK_LEN) {
        device.read_at(&mut block, offset)?;
        if block.iter().any(|byte| *byte != 0) {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_what_is_empty_and_leaves_the_rest_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        assert_eq!(find(&path, None).expect_err("nothing there").exit, Exit::NotFound);
        assert_eq!(find(&path, Some(1)).expect_err("too small").exit, Exit::Usage);
        let made = find(&path, Some(MIN_DISK_BYTES)).unwrap();
        assert_eq!(made.create_bytes, Some(MIN_DISK_BYTES));
        assert!(!path.exists(), "making it is left to the chunk server");

        std::fs::File::create(&path).unwrap().set_len(MIN_DISK_BYTES).unwrap();
        let formatted = find(&path, None).unwrap();
        assert_eq!(find(&path, None).unwrap(), formatted, "it is a disk now, and stays the same one");

        let small = dir.path().join("hostname");
        std::fs::write(&small, "a\n").unwrap();
        assert_eq!(find(&small, None).expect_err("too small").exit, Exit::Usage);
        assert_eq!(std::fs::read(&small).unwrap(), b"a\n");

        let at_end = dir.path().join("raid");
        let mut content = vec![0; 64 << 20];
        *content.last_mut().unwrap() = 1;
        for position in [0, content.len() - 1] {
            content.fill(0);
            content[position] = 1;
            std::fs::write(&at_end, &content).unwrap();
            assert_eq!(find(&at_end, None).expect_err("foreign").exit, Exit::Conflict);
            assert!(std::fs::read(&at_end).unwrap() == content, "it was changed");
        }
    }
}
