//! The three disks of a machine: their identities, their files, their chunk servers.

use crate::error::{Error, Exit};
use crate::folder::{Folder, make_private_dir};
use crate::limits::{DISKS, LOCK_PAUSE, LOCK_TRIES};
use blockd::server::{ChunkServer, Missing, ServerConfig, ServerStatus};
use proto::DiskId;
use proto::control::{DiskPlace, PoolToken};
use proto::ids::NodeId;
use rt::device::{Access, FileDevice};
use rt::rng::{Rng, SystemRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

/// `DIR/disks/disks.json`: written before the first disk is made, so that every later start knows which disks
/// there must be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    format: u32,
    disk_bytes: u64,
    disks: Vec<DiskId>,
}

/// One disk and its chunk server.
pub struct Disk {
    pub file: PathBuf,
    pub size_bytes: u64,
    server: ChunkServer,
}

impl Disk {
    pub fn id(&self) -> DiskId {
        self.server.disk()
    }

    pub fn addr(&self) -> SocketAddr {
        self.server.addr()
    }

    pub fn status(&self) -> ServerStatus {
        self.server.status()
    }

    pub fn place(&self, node: NodeId) -> DiskPlace {
        DiskPlace { disk: self.id(), node, addr: self.addr() }
    }

    /// Checkpoints and ends. Blocks.
    pub fn stop(self) -> Result<(), Error> {
        let file = self.file.display().to_string();
        self.server.stop().map_err(|error| Error::failed(format!("disk {file} did not stop well: {error}")))
    }
}

/// What the disks are started with.
#[derive(Debug, Clone)]
pub struct DisksConfig {
    /// For disks that are to be made.
    pub disk_bytes: u64,
    pub token: PoolToken,
    /// Disks that the control plane knows: these must be there, and are never made anew.
    pub known: BTreeSet<DiskId>,
}

/// Refuses another size than the disks have, before anything is started.
pub fn check_size(folder: &Folder, wanted_bytes: u64) -> Result<(), Error> {
    match read_plan(folder)? {
        Some(plan) if plan.disk_bytes != wanted_bytes => Err(Error::new(
            Exit::Conflict,
            format!(
                "the disks in {} were made with {} each, and can't become {}; leave --disk-size away",
                folder.path.join("disks").display(),
                proto::size::show(plan.disk_bytes),
                proto::size::show(wanted_bytes)
            ),
        )),
        _ => Ok(()),
    }
}

/// Starts all disks at once; a mount reads, so three take as long as one.
pub async fn start(folder: &Folder, config: DisksConfig) -> Result<Vec<Disk>, Error> {
    let plan = match read_plan(folder)? {
        Some(plan) => plan,
        None => make_plan(folder, &config)?,
    };
    let mut starting = Vec::new();
    for (index, id) in plan.disks.iter().enumerate() {
        let path = folder.disk(index);
        let missing = if config.known.contains(id) {
            Missing::Fail
        } else {
            Missing::Create { len_bytes: plan.disk_bytes }
        };
        if missing == Missing::Fail && !path.exists() {
            return Err(Error::failed(format!(
                "disk {} is missing and holds one of the three replicas; put the file back (nothing was changed)",
                path.display()
            )));
        }
        wait_until_free(&path).await;
        let server = ServerConfig {
            path: path.clone(),
            disk: *id,
            missing,
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            token: config.token,
        };
        let size_bytes = plan.disk_bytes;
        starting.push(tokio::task::spawn_blocking(move || {
            let server = ChunkServer::start(server)
                .map_err(|error| Error::failed(format!("disk {} can't be used: {error}", path.display())))?;
            Ok::<_, Error>(Disk { file: path, size_bytes, server })
        }));
    }
    let mut disks = Vec::new();
    for disk in starting {
        disks.push(
            disk.await.map_err(|error| Error::failed(format!("a disk's start ended badly: {error}")))??,
        );
    }
    Ok(disks)
}

/// The kernel ends a killed daemon's rings a little after its process, and they keep its disks locked until
/// then. A disk that stays busy is refused by its chunk server, which says why.
async fn wait_until_free(path: &Path) {
    for _ in 0..LOCK_TRIES {
        match FileDevice::open(path, Access::ReadOnly) {
            Err(error) if error.kind() == std::io::ErrorKind::ResourceBusy => {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            _ => return,
        }
    }
}

fn read_plan(folder: &Folder) -> Result<Option<Plan>, Error> {
    let path = folder.path.join("disks").join("disks.json");
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::failed(format!("can't understand {}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed(format!("can't read {}: {error}", path.display()))),
    }
}

fn make_plan(folder: &Folder, config: &DisksConfig) -> Result<Plan, Error> {
    let dir = folder.path.join("disks");
    if !config.known.is_empty() {
        return Err(Error::failed(format!(
            "{} has no disks.json, but the control plane knows disks; put the folder back (nothing was changed)",
            dir.display()
        )));
    }
    make_private_dir(&dir)?;
    let disks = (0..DISKS).map(|_| DiskId(SystemRng.id())).collect();
    let plan = Plan { format: 1, disk_bytes: config.disk_bytes, disks };
    let text = serde_json::to_vec_pretty(&plan).expect("a plan has only text keys");
    folder.write("disks/disks.json", &text)?;
    Ok(plan)
}
