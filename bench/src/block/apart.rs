//! Ours again, with every daemon a process of its own: what it costs to leave the one process of `ashlar up`, where
//! messages are handed over by pointer, for TCP on loopback.

use super::Shape;
use super::side::{Disks, Keeper, Side};
use crate::console::{self, Console, word};
use crate::counters::Member;
use crate::room::{DISKS, DiskSize};
use crate::server::Server;
use anyhow::{Context, Result, ensure};
use std::path::Path;
use std::process::Command;

pub const NAME: &str = "ashlar apart";

/// Starts a voter of the control plane, a chunk server for each disk, and the agent that serves the volumes.
pub fn start(folder: &Path, (shape, disks): (Shape, DiskSize), binary: Option<&Path>) -> Result<Side> {
    let folder = folder.join("apart");
    std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    let (voter, console) = start_voter(&console::binary(binary)?, &folder)?;
    let chunk_servers = (0..DISKS).map(|disk| start_disk(&console, &folder, (disk, disks)));
    let chunk_servers = chunk_servers.collect::<Result<Vec<_>>>()?;
    let mut agent = start_agent(&console, &folder)?;
    let sockets = (1..=shape.volumes)
        .map(|volume| console.attach_new(&format!("bench{volume}"), shape.size, &mut agent))
        .collect::<Result<_>>()?;
    Ok(Side {
        name: NAME,
        version: console.version(),
        durability:
            "three replicas on three files, each behind a process of its own, over TCP on loopback, a checksum per 4 KiB; \
                     O_DIRECT; a write is acked when the devices of all three have it, a flush is fdatasync on all three"
                .into(),
        members: members(&voter, &chunk_servers, &agent),
        disks: Disks::Sockets(sockets),
        // Who needs others stops before them.
        keeper: Keeper::Servers([agent].into_iter().chain(chunk_servers).chain([voter]).collect()),
    })
}

fn start_voter(binary: &Path, folder: &Path) -> Result<(Server, Console)> {
    let data = folder.join("meta");
    let mut command = Command::new(binary);
    command.arg("meta").arg("--data").arg(&data).args(["--listen", "127.0.0.1:0"]);
    let (voter, _) = console::start("ashlar meta", &mut command, folder.join("meta.log"))?;
    Ok((voter, Console::open(binary, &data)?))
}

fn start_disk(console: &Console, folder: &Path, (disk, size): (u64, DiskSize)) -> Result<Server> {
    let name = format!("disk{disk}");
    let (path, log) = (folder.join(format!("{name}.img")), folder.join(format!("{name}.log")));
    let mut command = console.daemon("blockd", &name)?;
    command.arg("--disk").arg(format!("{}:{}M", path.display(), size.mib));
    let (server, ready) = console::start("ashlar blockd", &mut command, log)?;
    ensure!(word(&ready, "failed")? == "0", "a chunk server can't serve its disk: {ready:?}");
    Ok(server)
}

fn start_agent(console: &Console, folder: &Path) -> Result<Server> {
    let mut command = console.daemon("agent", "client")?;
    command.arg("--dir").arg(folder.join("agent"));
    Ok(console::start("ashlar agent", &mut command, folder.join("agent.log"))?.0)
}

/// A part each: who has a process of its own needs no telling apart by threads and event loops, and only the control
/// plane has metrics to tell.
fn members(voter: &Server, chunk_servers: &[Server], agent: &Server) -> Vec<Member> {
    let disks = chunk_servers.iter().map(|server| Member::one(server.pid(), "chunk servers"));
    let others = [Member::one(voter.pid(), "control plane"), Member::one(agent.pid(), "device")];
    disks.chain(others).collect()
}
