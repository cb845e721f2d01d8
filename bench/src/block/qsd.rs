//! qemu-storage-daemon: serves raw local files over vhost-user-blk, one export and one I/O thread a volume.

use super::Shape;
use super::side::{Disks, Keeper, Side};
use crate::counters::Member;
use crate::packages::{self, Needed};
use crate::server::Server;
use anyhow::{Context, Result};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const NAME: &str = "qemu-storage-daemon";
pub const NEEDED: Needed = Needed { file: NAME, package: "qemu-system-common" };

/// Starts the daemon on new files, with the fastest asynchronous I/O it was built with.
pub fn start(folder: &Path, shape: Shape, install: bool) -> Result<Result<Side, String>> {
    if let Err(why) = packages::ensure(&[NEEDED], install)? {
        return Ok(Err(why));
    }
    let image = |volume: u32| folder.join(format!("qsd{volume}.raw"));
    for volume in 0..shape.volumes {
        let file = File::create_new(image(volume));
        file.and_then(|file| file.set_len(shape.size)).context("making the peer's file")?;
    }
    let mut last = None;
    for aio in ["io_uring", "native", "threads"] {
        let driver = |volume: u32| {
            format!(
                "driver=file,filename={},cache.direct=on,aio={aio},discard=unmap",
                image(volume).display()
            )
        };
        match serve(Path::new(NAME), folder, "qsd", (shape.volumes, &driver)) {
            Ok((server, sockets)) => return Ok(Ok(side(server, sockets, aio))),
            Err(error) => last = Some(error),
        }
    }
    Err(last.context("no kind of I/O was tried")?)
}

fn side(server: Server, sockets: Vec<PathBuf>, aio: &str) -> Side {
    Side {
        name: NAME,
        version: packages::version(Path::new(NAME), "--version"),
        durability: format!(
            "one local file, no replica, no checksums; O_DIRECT, aio={aio}; a write is acked when the device has \
             it, a flush is fdatasync"
        ),
        members: vec![Member::one(server.pid(), "daemon")],
        disks: Disks::Sockets(sockets),
        keeper: Keeper::Servers(vec![server]),
    }
}

/// A daemon that serves so many volumes, each by the block driver that is described for it.
pub fn serve(
    program: &Path,
    folder: &Path,
    name: &str,
    (volumes, driver): (u32, &dyn Fn(u32) -> String),
) -> Result<(Server, Vec<PathBuf>)> {
    let mut command = Command::new(program);
    let mut sockets = Vec::new();
    for volume in 0..volumes {
        let socket = folder.join(format!("{name}{volume}.sock"));
        // An attempt that failed may have left one.
        let _ = std::fs::remove_file(&socket);
        command.args(["--object", &format!("iothread,id=io{volume}")]);
        command.args(["--blockdev", &format!("{},node-name=disk{volume}", driver(volume))]);
        command.arg("--export").arg(format!(
            "type=vhost-user-blk,id=export{volume},node-name=disk{volume},addr.type=unix,addr.path={},writable=on,\
             logical-block-size=512,num-queues=1,iothread=io{volume}",
            socket.display()
        ));
        sockets.push(socket);
    }
    let mut server = Server::start(NAME, command.stdout(Stdio::null()), folder.join(format!("{name}.log")))?;
    for socket in &sockets {
        server.wait_for_socket(socket)?;
    }
    Ok((server, sockets))
}
