//! Volumes that are attached on another machine and will be taken over when a guest wants them here: for VMs that
//! somebody else moves.

use super::moving::{grow, open, stop};
use super::{Agent, Served, lock};
use crate::error::{Error, Exit};
use crate::limits::TAKEOVER_POLL;
use blockd::client::OnFull;
use proto::VolumeEpoch;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vhost_user::{DeviceHandle, Open};

/// By the volumes' names.
pub type Takeovers = BTreeMap<String, Takeover>;

pub enum Takeover {
    Waiting {
        device: DeviceHandle,
        socket: PathBuf,
        epoch: VolumeEpoch,
    },
    /// And why it came to nothing.
    Failed(String),
}

impl Agent {
    /// Serves a volume that stays with its present machine until a guest starts here.
    pub(super) async fn await_takeover(self: &Arc<Self>, name: &str, socket: &Path) -> Result<(), Error> {
        if !socket.is_absolute() {
            return Err(Error::usage(format!("the socket {} must be an absolute path", socket.display())));
        }
        let _change = self.changes.lock().await;
        if let Some(Takeover::Waiting { socket, .. }) = lock(&self.takeovers).get(name) {
            return Err(Error::new(
                Exit::Conflict,
                format!("volume '{name}' is to be taken over here already, at {}", socket.display()),
            ));
        }
        super::moving::text(socket)?;
        let volume = self.attached_elsewhere(name).await?;
        let opened = self.open(&volume, OnFull::Wait).await?;
        let epoch = opened.lease.epoch;
        let device = self.serve_opened(&volume, opened, socket, Open::WhenTold).await?;
        let waiting = Takeover::Waiting { device, socket: socket.to_owned(), epoch };
        lock(&self.takeovers).insert(name.to_owned(), waiting);
        tokio::spawn(Arc::clone(self).watch_takeover(name.to_owned()));
        Ok(())
    }

    async fn watch_takeover(self: Arc<Self>, name: String) {
        loop {
            tokio::time::sleep(TAKEOVER_POLL).await;
            match lock(&self.takeovers).get(&name) {
                Some(Takeover::Waiting { device, .. }) if device.status().queue_starts > 0 => break,
                Some(Takeover::Waiting { .. }) => {}
                _ => return,
            }
        }
        self.take_over(&name).await;
    }

    async fn take_over(&self, name: &str) {
        let _change = self.changes.lock().await;
        // Called off in the last moment, or called off and asked for again.
        let Some(Takeover::Waiting { device, socket, epoch }) = lock(&self.takeovers).remove(name) else {
            return;
        };
        let served = match self.move_here(name, &socket, epoch).await {
            // Recorded first: a daemon that dies here must serve it again when it is back.
            Ok(volume) => match open(&device, name) {
                Ok(()) => {
                    tracing::info!(volume = name, "a guest has started here, and its volume is taken over");
                    grow(&device, &volume);
                    Served::Device(device)
                }
                Err(error) => {
                    stop(device).await;
                    Served::Failed(error.to_string())
                }
            },
            Err(error) => {
                tracing::error!(volume = name, %error, "a guest has started here, and can't have its volume");
                stop(device).await;
                let node = &self.node.name;
                let why = format!(
                    "node '{node}' could not take it over: {error}; ashlar volume detach {name} --node {node} \
                     makes room for another try"
                );
                lock(&self.takeovers).insert(name.to_owned(), Takeover::Failed(why));
                return;
            }
        };
        self.served().insert(name.to_owned(), served);
    }

    /// Whether there was one.
    pub(super) async fn call_takeover_off(&self, name: &str) -> bool {
        let found = lock(&self.takeovers).remove(name);
        match found {
            Some(Takeover::Waiting { device, .. }) => stop(device).await,
            Some(Takeover::Failed(_)) => {}
            None => return false,
        }
        true
    }

    pub(super) fn failed_takeovers(&self) -> Vec<(String, Option<String>)> {
        let failed = |(name, takeover): (&String, &Takeover)| match takeover {
            Takeover::Failed(why) => Some((name.clone(), Some(why.clone()))),
            Takeover::Waiting { .. } => None,
        };
        lock(&self.takeovers).iter().filter_map(failed).collect()
    }

    /// Ends devices whose volume is attached elsewhere by now: it was taken over, or detached by force.
    pub(super) async fn drop_what_is_elsewhere(&self) {
        if self.served().is_empty() {
            return;
        }
        let _change = self.changes.lock().await;
        let volumes = match self.meta.volumes().await {
            Ok(volumes) => volumes,
            Err(error) => {
                tracing::debug!(%error, "where volumes are attached is not known");
                return;
            }
        };
        let is_here = |name: &String| {
            let found = volumes.iter().find(|volume| volume.name == *name);
            found.is_some_and(|volume| volume.attachment.as_ref().is_some_and(|at| at.node == self.node.id))
        };
        let gone: Vec<String> = self.served().keys().filter(|name| !is_here(name)).cloned().collect();
        for name in gone {
            tracing::info!(volume = %name, "a volume is attached elsewhere by now, so it is not served here any more");
            if let Err(error) = self.stop_serving(&name).await {
                tracing::warn!(volume = %name, %error, "a device did not stop well");
            }
        }
    }
}
