//! A side of the comparison: disks, and the processes that pay for them.

use super::drive::fill;
use super::{Shape, raw};
use crate::ceph::Ceph;
use crate::counters::{self, Member};
use crate::report::SideFacts;
use crate::server::Server;
use crate::store::{self, Store};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

pub struct Side {
    pub name: &'static str,
    pub version: Option<String>,
    pub durability: String,
    pub members: Vec<Member>,
    pub disks: Disks,
    /// Ends with the side.
    pub keeper: Keeper,
}

/// Where a client finds the volumes.
pub enum Disks {
    /// A vhost-user-blk socket each.
    Sockets(Vec<PathBuf>),
    /// A file each, without a server.
    Files(Vec<PathBuf>),
}

/// What keeps a side alive, until it is dropped.
pub enum Keeper {
    Ours(Box<Store>),
    /// The first one stops first.
    Servers(#[expect(dead_code, reason = "dropping them ends them")] Vec<Server>),
    /// The client stops before what it is a client of.
    Ceph {
        _client: Server,
        _cluster: Ceph,
    },
    /// Somebody else does.
    Foreign,
}

impl Side {
    /// Attaches the volumes of a store with three replicas.
    pub fn of_store(mut ours: Store, shape: Shape) -> Result<Self> {
        let sockets =
            (1..=shape.volumes).map(|volume| ours.attach_new(&format!("bench{volume}"), shape.size));
        let sockets = sockets.collect::<Result<_>>()?;
        Ok(Self {
            name: store::NAME,
            version: ours.console.version(),
            durability:
                "three replicas on three files, all in one process, a checksum per 4 KiB; O_DIRECT; a write is acked when the \
                         devices of all three have it, a flush is fdatasync on all three"
                    .into(),
            members: ours.members(),
            disks: Disks::Sockets(sockets),
            keeper: Keeper::Ours(Box::new(ours)),
        })
    }

    /// A server of ours that somebody else started.
    pub fn foreign(socket: &Path, pid: u32) -> Self {
        Self {
            name: store::NAME,
            version: None,
            durability: "as the server at --socket has it".into(),
            members: vec![store::member(pid)],
            disks: Disks::Sockets(vec![socket.to_owned()]),
            keeper: Keeper::Foreign,
        }
    }

    pub fn facts(&self) -> SideFacts {
        SideFacts::new(self.name, &self.durability).with_version(self.version.clone())
    }

    /// Writes the area that is worked on, so that no side answers from holes.
    pub fn fill(&self, shape: Shape) -> Result<()> {
        let what = || format!("filling {}'s volumes", self.name);
        match &self.disks {
            Disks::Sockets(sockets) => {
                sockets.iter().try_for_each(|socket| fill(socket, shape)).with_context(what)
            }
            Disks::Files(files) => {
                files.iter().try_for_each(|file| raw::fill(file, shape.area)).with_context(what)
            }
        }
    }

    /// Waits until what it does in the background is done.
    pub fn settle(&self) -> Result<()> {
        counters::settle(self.name, &self.members)
    }
}
