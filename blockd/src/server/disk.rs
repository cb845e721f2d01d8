//! The disk's file: made, found and locked.

use super::{Missing, ServerConfig};
use crate::store::Store;
use crate::{Error, ErrorKind};
use rt::device::{Access, FileDevice};
use std::fs::File;
use std::io::ErrorKind as IoKind;
use std::path::Path;

/// Opens the disk, after making it if that is wanted and it is not there.
pub(super) fn open(config: &ServerConfig) -> Result<FileDevice, Error> {
    let path = &config.path;
    match FileDevice::open(path, Access::ReadWrite) {
        Ok(device) => Ok(device),
        Err(error) if error.kind() == IoKind::NotFound => match config.missing {
            Missing::Fail => {
                let why = format!("there is no disk at {}; attach it or correct its path", path.display());
                Err(Error::caused(ErrorKind::Io, why, error))
            }
            Missing::Create { len_bytes } => create(config, len_bytes),
        },
        Err(error) => Err(Error::io(format_args!("opening the disk {}", path.display()), error)),
    }
}

/// Makes and formats the file under another name first: a crash half-way leaves no half-made disk.
fn create(config: &ServerConfig, len_bytes: u64) -> Result<FileDevice, Error> {
    let path = &config.path;
    let failed = |error| Error::io(format_args!("making the disk {}", path.display()), error);
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let unfinished = Path::new(&name);
    match std::fs::remove_file(unfinished) {
        Err(error) if error.kind() != IoKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    let device = FileDevice::create(unfinished, len_bytes).map_err(failed)?;
    Store::format(&device, config.disk)?;
    std::fs::rename(unfinished, path).map_err(failed)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(device)
}
