//! The keeper of one disk: starts its chunk server, makes the control plane know it, starts it again when it
//! failed, and sees to it that it is a member in sync of its groups, or none.

mod membership;
mod rebuild;
mod slowness;

use crate::error::Error;
use crate::limits::{
    KEEPER_TICK, LOCK_PAUSE, LOCK_TRIES, MEMBERSHIP_TIMEOUT, REGISTER_TIMEOUT, RESTART_PAUSE,
    RESTART_PAUSE_MOST,
};
use crate::shelf::{ShelfConfig, Slot, find};
use blockd::server::{ChunkServer, Missing, ServerConfig};
use membership::Membership;
use meta::limits::MAX_LABEL_BYTES;
use meta::record::{DiskRecord, NodeRecord};
use proto::DiskId;
use proto::control::PoolToken;
use rt::device::{Access, FileDevice};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{oneshot, watch};

pub struct Keeper {
    slot: Arc<Slot>,
    node: NodeRecord,
    meta: meta::client::Client,
    token: PoolToken,
    listen: IpAddr,
    stop: watch::Receiver<bool>,
    /// Made anew only until it was once there.
    create_bytes: Option<u64>,
    /// What the control plane was told last.
    registered: Option<DiskRecord>,
    restart_pause: Duration,
    membership: Membership,
}

impl Keeper {
    pub fn new(slot: Arc<Slot>, config: &ShelfConfig, stop: watch::Receiver<bool>) -> Self {
        Self {
            create_bytes: slot.spec.create_bytes,
            slot,
            node: config.node.clone(),
            meta: config.meta.clone(),
            token: config.token,
            listen: config.listen,
            stop,
            registered: None,
            restart_pause: RESTART_PAUSE,
            membership: Membership::new(config.meta.clone(), config.token),
        }
    }

    /// Until told to stop. `tried` is told when the first start is over and, if it went well, the disk is
    /// registered or the control plane can't be reached.
    pub async fn run(mut self, tried: oneshot::Sender<()>) {
        let mut stop = self.stop.clone();
        let work = async {
            let mut tried = Some(tried);
            loop {
                let pause = self.turn().await;
                if let Some(tried) = tried.take() {
                    let _ = tried.send(());
                }
                tokio::time::sleep(pause).await;
            }
        };
        tokio::select! {
            () = work => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
    }

    /// One look at the disk; how long until the next.
    async fn turn(&mut self) -> Duration {
        if let Err(why) = self.keep_running().await {
            let path = self.slot.spec.path.display();
            tracing::error!(disk = %path, why, "a disk does not serve; it is tried again");
            self.slot.set_failure(&why);
            if let Some(disk) = self.slot.disk()
                && let Ok(Err(error)) =
                    tokio::time::timeout(REGISTER_TIMEOUT, self.membership.failed(disk, &why)).await
            {
                tracing::warn!(%disk, %error, "the control plane can't be told of a failed disk");
            }
            let pause = self.restart_pause;
            self.restart_pause = (pause * 2).min(RESTART_PAUSE_MOST);
            return pause;
        }
        self.restart_pause = RESTART_PAUSE;
        let told = tokio::time::timeout(MEMBERSHIP_TIMEOUT, self.tell()).await;
        if let Ok(Err(error)) = told {
            tracing::debug!(%error, "the control plane can't be told of a disk now");
        }
        KEEPER_TICK
    }

    async fn tell(&mut self) -> Result<(), Error> {
        self.register().await?;
        if let (Some(disk), Some(status)) = (self.slot.disk(), self.slot.status()) {
            self.membership.serves(&self.slot, disk, &status).await?;
        }
        Ok(())
    }

    /// Starts the chunk server if there is none, or if the one there was has failed.
    async fn keep_running(&mut self) -> Result<(), String> {
        if self.slot.is_serving() {
            return Ok(());
        }
        if let Some(server) = self.slot.take_server() {
            let failure = server.status().failure.map(|failure| failure.to_string());
            // Its failure is known; nothing can be saved.
            let _ = tokio::task::spawn_blocking(move || drop(server)).await;
            return Err(failure.unwrap_or_else(|| "its thread died".to_owned()));
        }
        let server = self.start().await?;
        tracing::info!(disk = %server.disk(), addr = %server.addr(), "a disk is served");
        self.create_bytes = None;
        self.slot.put_server(server);
        Ok(())
    }

    async fn start(&self) -> Result<ChunkServer, String> {
        let path = self.slot.spec.path.clone();
        wait_until_free(&path).await;
        let (disk, create_bytes) = match self.slot.disk() {
            Some(disk) => (disk, self.create_bytes),
            None => self.identify().await?,
        };
        let missing = create_bytes.map_or(Missing::Fail, |len_bytes| Missing::Create { len_bytes });
        let port = match self.slot.port() {
            Some(port) => port,
            None => self.port_before(disk).await,
        };
        let config = |port| ServerConfig {
            path: path.clone(),
            disk,
            missing,
            listen: SocketAddr::new(self.listen, port),
            token: self.token,
        };
        match start_server(config(port)).await {
            Err(why) if self.slot.port().is_none() && port != 0 && why.contains("listening at") => {
                tracing::warn!(%disk, port, why, "a disk can't have the port it had");
                start_server(config(0)).await
            }
            outcome => outcome,
        }
    }

    async fn identify(&self) -> Result<(DiskId, Option<u64>), String> {
        let (path, create) = (self.slot.spec.path.clone(), self.create_bytes);
        let found = tokio::task::spawn_blocking(move || find(&path, create)).await;
        let found = found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        self.slot.set_disk(found.id);
        Ok((found.id, found.create_bytes))
    }

    /// The port it listened on before, so that writers find it again without asking anybody; 0 for any.
    async fn port_before(&self, disk: DiskId) -> u16 {
        if let Some(addr) = self.slot.addr() {
            return addr.port();
        }
        let asked = tokio::time::timeout(REGISTER_TIMEOUT, self.meta.disks()).await;
        let known = asked.ok().and_then(Result::ok).unwrap_or_default();
        let before = known.iter().find(|known| known.id == disk && known.addr.ip() == self.listen);
        before.map_or(0, |known| known.addr.port())
    }

    /// Tells the control plane where the disk is, if that has changed.
    async fn register(&mut self) -> Result<(), Error> {
        let (Some(id), Some(addr), Some(status)) = (self.slot.disk(), self.slot.addr(), self.slot.status())
        else {
            return Ok(());
        };
        let record = DiskRecord {
            label: label(&self.slot.spec.path),
            ..DiskRecord::new(id, self.node.id, addr, self.node.zone.clone(), status.stat.capacity_bytes)
        };
        if self.registered.as_ref() != Some(&record) {
            self.meta.register_node(self.node.clone()).await?;
            self.meta.register_disk(record.clone()).await?;
            self.registered = Some(record);
        }
        Ok(())
    }
}

/// A path that fits: its end tells more than its beginning.
fn label(path: &Path) -> String {
    let text = path.display().to_string();
    let from = text.char_indices().map(|(at, _)| at).find(|at| text.len() - at <= MAX_LABEL_BYTES);
    text[from.unwrap_or(text.len())..].to_owned()
}

async fn start_server(config: ServerConfig) -> Result<ChunkServer, String> {
    let started = tokio::task::spawn_blocking(move || ChunkServer::start(config)).await;
    started.map_err(|error| format!("its start ended badly: {error}"))?.map_err(|error| error.to_string())
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
