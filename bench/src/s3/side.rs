//! A side of the comparison: where its S3 API is, who may use it, and the processes that pay for it.

use super::Target;
use super::ask::Ask;
use super::loader::{Clients, Load};
use super::plan::{InTurn, Objects, Once, Work};
use super::sign::Identity;
use crate::ceph::Ceph;
use crate::console::Console;
use crate::counters::{self, Member};
use crate::limits::S3_FILL_CONNECTIONS;
use crate::report::SideFacts;
use crate::room::DiskSize;
use crate::server::Server;
use crate::store::{self, Store};
use anyhow::{Context, Result, bail, ensure};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub struct Side {
    pub name: String,
    pub version: Option<String>,
    pub durability: String,
    pub members: Vec<Member>,
    pub target: Arc<Target>,
    /// The number of the next new object.
    pub stamps: Arc<AtomicU64>,
    /// Objects that were put before the rounds, and stay.
    pub kept: Vec<Objects>,
    /// Of the volume that it serves beside its objects.
    pub socket: Option<PathBuf>,
    /// Ends with the side.
    pub keeper: Keeper,
}

pub enum Keeper {
    Ours(Box<Store>),
    Servers(#[expect(dead_code, reason = "dropping them ends them")] Vec<Server>),
    Ceph(#[expect(dead_code, reason = "dropping it ends it")] Ceph),
}

pub const BUCKET: &str = "bench";

impl Target {
    /// The gateway of ours at `url`, and the user who may do everything there.
    pub fn ours(url: &str, console: &Console) -> Result<Self> {
        let address = url.strip_prefix("http://").and_then(|address| address.parse().ok());
        let address = address.with_context(|| format!("{url} is no address of a gateway"))?;
        let identity = Identity {
            region: console.variable("AWS_DEFAULT_REGION")?.to_owned(),
            key_id: console.variable("AWS_ACCESS_KEY_ID")?.to_owned(),
            secret: console.variable("AWS_SECRET_ACCESS_KEY")?.to_owned(),
        };
        Ok(Self { addresses: vec![address], identity, bucket: BUCKET.to_owned() })
    }
}

/// Makes the bucket that all requests go to.
pub fn make_bucket(load: &Load) -> Result<()> {
    let load = Load { connections: 1, threads: 1, ..load.clone() };
    Clients::do_all(&load, |_| Once(Some(Ask::MakeBucket))).map(drop)
}

impl Side {
    /// Starts a store with three replicas in `folder`.
    pub fn ours(folder: &Path, disks: DiskSize, binary: Option<&Path>) -> Result<Self> {
        let ours = Store::start(folder, disks, binary)?;
        let target = Target::ours(ours.console.variable("AWS_ENDPOINT_URL")?, &ours.console)?;
        Ok(Self {
            name: store::NAME.to_owned(),
            version: ours.console.version(),
            durability:
                "three replicas on three files, all in one process, a checksum per 4 KiB; a PUT is answered when the devices of \
                         all three have object and index entry (flushed)"
                    .to_owned(),
            members: ours.members(),
            target: Arc::new(target),
            stamps: Arc::default(),
            kept: Vec::new(),
            socket: None,
            keeper: Keeper::Ours(Box::new(ours)),
        })
    }

    pub fn facts(&self) -> SideFacts {
        SideFacts::new(&self.name, &self.durability).with_version(self.version.clone())
    }

    /// Waits until what it does in the background is done.
    pub fn settle(&self) -> Result<()> {
        counters::settle(&self.name, &self.members)
    }

    pub fn make_bucket(&self, load: &Load) -> Result<()> {
        make_bucket(load).with_context(|| format!("making a bucket of {}", self.name))
    }

    /// Makes a volume and attaches it; answers its socket and the process behind it.
    pub fn attach_volume(&mut self, size_bytes: u64) -> Result<(PathBuf, u32)> {
        let Keeper::Ours(store) = &mut self.keeper else { bail!("{} has no volumes", self.name) };
        let socket = store.attach_new("bench", size_bytes)?;
        self.socket = Some(socket.clone());
        Ok((socket, store.server.pid()))
    }

    /// New numbers for so many objects.
    pub fn reserve(&self, folder: &'static str, len_bytes: usize, count: u64) -> Objects {
        let first = self.stamps.fetch_add(count, Ordering::Relaxed);
        Objects { folder, len_bytes, first, end: first + count }
    }

    /// Puts objects that stay.
    pub fn fill(&mut self, load: &Load, len_bytes: usize, count: u64) -> Result<()> {
        if self.kept(len_bytes).is_some() {
            return Ok(());
        }
        let objects = self.reserve("get", len_bytes, count);
        self.do_all(load, Work::Put, objects)?;
        self.kept.push(objects);
        Ok(())
    }

    pub fn kept(&self, len_bytes: usize) -> Option<Objects> {
        self.kept.iter().find(|objects| objects.len_bytes == len_bytes).copied()
    }

    /// Puts or deletes all of them, with as many connections as go well with any store.
    pub fn do_all(&self, load: &Load, work: Work, objects: Objects) -> Result<()> {
        let load = Load { connections: S3_FILL_CONNECTIONS, ..load.clone() };
        let plan = InTurn::all(work, objects);
        let window = Clients::do_all(&load, |_| plan.clone());
        let window = window.with_context(|| format!("{work:?} of {objects:?} on {}", self.name))?;
        ensure!(window.total() == objects.count(), "{} of {objects:?} were served", window.total());
        Ok(())
    }
}
