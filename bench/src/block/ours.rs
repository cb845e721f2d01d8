//! Ours: a volume of a store, attached as a user would.

use super::{Process, Side};
use crate::store::Store;
use anyhow::{Context, Result};
use std::path::Path;

const VOLUME: &str = "bench";

/// Starts a store with three replicas in `folder` and attaches a volume of `size` bytes.
pub fn start(folder: &Path, size: u64, binary: Option<&Path>) -> Result<Side> {
    // A log needs room to clean in; the files are sparse.
    let mut store = Store::start(folder, (size >> 20) * 5 / 2 + 2048, binary)?;
    let socket = folder.join("ours.sock");
    store.ashlar(&["volume", "create", VOLUME, "--size", &format!("{}M", size >> 20)])?;
    let path = socket.to_str().context("the folder's path is not text")?;
    store.ashlar(&["volume", "attach", VOLUME, "--socket", path])?;
    store.server.wait_for_socket(&socket)?;
    Ok(Side {
        name: "ashlar",
        socket,
        durability:
            "three replicas on three files, a checksum per 4 KiB; O_DIRECT; a write is acked when the \
                     devices of all three have it, a flush is fdatasync on all three"
                .into(),
        process: Process::Started(store.server),
    })
}
