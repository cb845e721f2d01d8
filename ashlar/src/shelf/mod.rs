//! The disks of one machine: each with its chunk server and the keeper that tends it.
//!
//! A disk that can't be used does not keep the others from being served: its slot says why, and its keeper
//! goes on trying.

mod find;
mod metrics;
pub mod plan;

pub use find::find;

use crate::api::{DiskView, ServiceView};
use crate::error::{Error, Exit};
use crate::fleet::{DaemonId, DaemonKind, Part, Performing, Rebuild, Report, Task};
use crate::folder::Folder;
use crate::keeper::Keeper;
use crate::limits::{MAX_SHELF_DISKS, MOUNT_SIGN};
use blockd::server::{ChunkServer, ServerStatus};
use meta::record::NodeRecord;
use proto::DiskId;
use proto::control::PoolToken;
use serde_json::json;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a shelf needs to know of its machine and its pool.
pub struct ShelfConfig {
    pub node: NodeRecord,
    pub meta: meta::client::Client,
    pub token: PoolToken,
    /// Chunk servers listen on this address.
    pub listen: IpAddr,
    /// The first disk's port; the next ones follow. Without it each takes the port it had before, or a free one.
    pub first_port: Option<u16>,
    /// Where disks that are added later are written down, if there is such a place.
    pub folder: Option<Arc<Folder>>,
}

/// A disk to serve.
#[derive(Debug, Clone)]
pub struct DiskSpec {
    pub path: PathBuf,
    /// The disk that must be there; if that is not known, whichever is.
    pub id: Option<DiskId>,
    /// Made with this size if there is nothing at the path.
    pub create_bytes: Option<u64>,
}

/// The disks of this machine.
pub struct Shelf {
    config: ShelfConfig,
    slots: Mutex<Vec<Arc<Slot>>>,
    keepers: Mutex<Vec<JoinHandle<()>>>,
    stop: watch::Sender<bool>,
    /// One change of the slots at a time.
    changes: tokio::sync::Mutex<()>,
}

/// One disk, whether it serves or not.
pub struct Slot {
    pub spec: DiskSpec,
    /// Where it has to listen, if that is fixed.
    port: Option<u16>,
    state: Mutex<SlotState>,
}

#[derive(Default)]
struct SlotState {
    id: Option<DiskId>,
    server: Option<ChunkServer>,
    /// Why it does not serve.
    failure: Option<String>,
    /// Where it listened last.
    addr: Option<SocketAddr>,
    rebuild: Option<Rebuild>,
}

impl Shelf {
    pub fn new(config: ShelfConfig) -> Arc<Self> {
        Arc::new(Self {
            config,
            slots: Mutex::default(),
            keepers: Mutex::default(),
            stop: watch::channel(false).0,
            changes: tokio::sync::Mutex::default(),
        })
    }

    /// Starts disks, all at once; returns when each serves or is known not to.
    pub async fn start(&self, disks: Vec<DiskSpec>) -> Vec<Arc<Slot>> {
        let mut starting = Vec::new();
        for spec in disks {
            let index = self.slots().len();
            let offset = u16::try_from(index).unwrap_or(u16::MAX);
            let port = self.config.first_port.map(|first| first.saturating_add(offset));
            let state = SlotState { id: spec.id, ..SlotState::default() };
            let slot = Arc::new(Slot { spec, port, state: Mutex::new(state) });
            self.slots().push(Arc::clone(&slot));
            let (tried, first_try) = tokio::sync::oneshot::channel();
            let keeper = Keeper::new(Arc::clone(&slot), &self.config, self.stop.subscribe());
            let running = tokio::spawn(keeper.run(tried));
            self.keepers.lock().unwrap_or_else(PoisonError::into_inner).push(running);
            starting.push((slot, first_try));
        }
        let mut slots = Vec::new();
        for (slot, mut first_try) in starting {
            // A keeper that panicked has dropped it: then the slot serves nothing, and says nothing.
            while tokio::time::timeout(MOUNT_SIGN, &mut first_try).await.is_err() {
                tracing::info!(disk = %slot.spec.path.display(), "still mounting: what was written is read again");
            }
            slots.push(slot);
        }
        slots
    }

    /// Every disk's slot.
    pub fn slots(&self) -> MutexGuard<'_, Vec<Arc<Slot>>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops the keepers and then the disks, which checkpoint.
    pub async fn stop(&self) -> Result<(), Error> {
        self.stop.send_replace(true);
        let keepers = std::mem::take(&mut *self.keepers.lock().unwrap_or_else(PoisonError::into_inner));
        for keeper in keepers {
            let _ = keeper.await;
        }
        let slots = std::mem::take(&mut *self.slots());
        let stops: Vec<_> = slots
            .into_iter()
            .filter_map(|slot| Some((slot.spec.path.display().to_string(), slot.take_server()?)))
            .map(|(path, server)| {
                tokio::task::spawn_blocking(move || {
                    server
                        .stop()
                        .map_err(|error| Error::failed(format!("disk {path} did not stop well: {error}")))
                })
            })
            .collect();
        let mut outcome = Ok(());
        for stop in stops {
            let stopped = stop
                .await
                .unwrap_or_else(|error| Err(Error::failed(format!("a disk's stop ended badly: {error}"))));
            outcome = outcome.and(stopped);
        }
        outcome
    }

    async fn add(&self, path: PathBuf, size_bytes: Option<u64>) -> Result<DiskView, Error> {
        let _change = self.changes.lock().await;
        if self.slots().len() >= MAX_SHELF_DISKS {
            return Err(Error::new(
                Exit::Conflict,
                format!("one machine has at most {MAX_SHELF_DISKS} disks"),
            ));
        }
        if self.slots().iter().any(|slot| slot.spec.path == path) {
            return Err(Error::new(Exit::Conflict, format!("{} is in use already", path.display())));
        }
        let found = {
            let path = path.clone();
            tokio::task::spawn_blocking(move || find(&path, size_bytes))
                .await
                .map_err(|error| Error::failed(format!("looking at the disk ended badly: {error}")))??
        };
        let spec = DiskSpec { path: path.clone(), id: Some(found.id), create_bytes: found.create_bytes };
        let slots = self.start(vec![spec]).await;
        let slot = slots.first().expect("one disk was started");
        if let Some(why) = slot.view(0).error {
            self.slots().retain(|other| !Arc::ptr_eq(other, slot));
            return Err(Error::failed(format!("disk {} can't be used: {why}", path.display())));
        }
        if let Some(folder) = &self.config.folder {
            plan::remember(folder, &path, found.id)?;
        }
        Ok(slot.view(0))
    }
}

impl Slot {
    pub fn disk(&self) -> Option<DiskId> {
        self.state().id
    }

    /// How its chunk server is doing, if there is one.
    pub fn status(&self) -> Option<ServerStatus> {
        self.state().server.as_ref().map(ChunkServer::status)
    }

    /// Why it does not serve, if it does not.
    pub fn failure(&self) -> Option<String> {
        let state = self.state();
        match &state.server {
            Some(server) => match server.status().failure {
                Some(failure) => Some(failure.to_string()),
                None => (!server.is_running()).then(|| "its thread died".to_owned()),
            },
            None => Some(state.failure.clone().unwrap_or_else(|| "it is being started".to_owned())),
        }
    }

    pub fn addr(&self) -> Option<SocketAddr> {
        let state = self.state();
        state.server.as_ref().map(ChunkServer::addr).or(state.addr)
    }

    /// Where it has to listen, if that is fixed.
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    pub fn is_serving(&self) -> bool {
        let state = self.state();
        state.server.as_ref().is_some_and(|server| server.is_running() && server.status().failure.is_none())
    }

    pub fn set_disk(&self, id: DiskId) {
        self.state().id = Some(id);
    }

    pub fn set_failure(&self, why: &str) {
        self.state().failure = Some(why.to_owned());
    }

    pub fn set_rebuild(&self, rebuild: Option<Rebuild>) {
        self.state().rebuild = rebuild;
    }

    pub fn change_rebuild(&self, change: impl FnOnce(&mut Rebuild)) {
        if let Some(rebuild) = &mut self.state().rebuild {
            change(rebuild);
        }
    }

    pub fn put_server(&self, server: ChunkServer) {
        let mut state = self.state();
        state.addr = Some(server.addr());
        state.server = Some(server);
        state.failure = None;
    }

    pub fn take_server(&self) -> Option<ChunkServer> {
        let mut state = self.state();
        let server = state.server.take();
        if let Some(server) = &server {
            state.addr = Some(server.addr());
        }
        server
    }

    fn view(&self, node: u64) -> DiskView {
        let status = self.status().unwrap_or_default();
        DiskView {
            id: self.disk().map_or_else(|| "unknown".to_owned(), |id| id.to_string()),
            node,
            address: self.addr().map(|addr| addr.to_string()).unwrap_or_default(),
            file: self.spec.path.clone(),
            capacity_bytes: status.stat.capacity_bytes,
            used_bytes: status.stat.live_bytes,
            free_bytes: status.stat.free_bytes,
            repaired_blocks: status.stat.repaired_blocks,
            error: self.failure(),
        }
    }

    fn state(&self) -> MutexGuard<'_, SlotState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Part for Shelf {
    fn daemon(&self) -> DaemonId {
        DaemonId {
            kind: DaemonKind::Blockd,
            node: self.config.node.id,
            node_name: self.config.node.name.clone(),
            name: String::new(),
        }
    }

    fn report(&self) -> Report {
        let slots: Vec<_> = self.slots().clone();
        let disks: Vec<DiskView> = slots.iter().map(|slot| slot.view(self.config.node.id.0)).collect();
        let services = disks.iter().map(|disk| ServiceView {
            name: "chunk server".into(),
            address: disk.address.clone(),
            state: disk.error.clone().unwrap_or_else(|| "running".into()),
        });
        Report {
            services: services.collect(),
            rebuilds: slots.iter().filter_map(|slot| slot.state().rebuild.clone()).collect(),
            metrics: metrics::of(&slots),
            disks,
            ..Report::default()
        }
    }

    fn perform(self: Arc<Self>, task: Task) -> Performing {
        Box::pin(async move {
            match task {
                Task::AddDisk { path, size_bytes } => {
                    let added = self.add(path, size_bytes).await?;
                    Ok(json!({ "disk": added, "remembered": self.config.folder.is_some() }))
                }
                _ => Err(Error::usage("blockd only has disks; ask the agent of that machine")),
            }
        })
    }
}

/// Where two disks of a list are the same file.
pub fn check_distinct(disks: &[(PathBuf, Option<u64>)]) -> Result<(), Error> {
    for (index, (path, _)) in disks.iter().enumerate() {
        if disks[..index].iter().any(|(other, _): &(PathBuf, _)| same(other, path)) {
            return Err(Error::usage(format!("the disk {} is given twice", path.display())));
        }
    }
    Ok(())
}

fn same(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}
