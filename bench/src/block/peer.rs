//! The peer: qemu-storage-daemon serves a raw local file over vhost-user-blk.

use super::{Process, Side};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

const PROGRAM: &str = "qemu-storage-daemon";

/// Starts the daemon on a new file of `size` bytes, with the fastest asynchronous I/O it was built with.
pub fn start(folder: &Path, size: u64) -> Result<Side> {
    let found = Command::new(PROGRAM).arg("--version").stdout(Stdio::null()).status();
    if found.is_err() {
        bail!("{PROGRAM} is missing; on Debian: apt-get install qemu-system-common (or qemu-storage-daemon)");
    }
    let image = folder.join("peer.raw");
    File::create_new(&image).and_then(|file| file.set_len(size)).context("making the peer's file")?;
    let mut last = None;
    for aio in ["io_uring", "native", "threads"] {
        match start_with(folder, &image, aio) {
            Ok(side) => return Ok(side),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no kind of I/O was tried")?)
}

fn start_with(folder: &Path, image: &Path, aio: &str) -> Result<Side> {
    let socket = folder.join("peer.sock");
    let blockdev = format!(
        "driver=file,node-name=disk,filename={},cache.direct=on,aio={aio},discard=unmap",
        image.display()
    );
    let export = format!(
        "type=vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path={},writable=on,\
         logical-block-size=512,num-queues=1,iothread=io",
        socket.display()
    );
    let mut command = Command::new(PROGRAM);
    command.args(["--object", "iothread,id=io", "--blockdev", &blockdev, "--export", &export]);
    let mut server = Server::start(PROGRAM, command.stdout(Stdio::null()), folder.join("peer.log"))?;
    server.wait_for_socket(&socket)?;
    Ok(Side {
        name: PROGRAM,
        socket,
        durability: format!(
            "one local file, no replica, no checksums; O_DIRECT, aio={aio}; a write is acked when the \
             device has it, a flush is fdatasync"
        ),
        process: Process::Started(server),
    })
}
