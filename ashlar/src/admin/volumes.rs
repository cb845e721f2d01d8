//! Volumes as people see them.

use super::Shared;
use super::deleter::Deletion;
use crate::api::{
    AttachVolume, AttachmentView, CopyView, CopyVolume, DetachVolume, ReplicaView, ResizeVolume,
    VolumeDetail, VolumeView,
};
use crate::error::{Error, Exit};
use crate::fleet::{DaemonId, DaemonKind, Seen, Task};
use crate::limits::DISK_STAT_TIMEOUT;
use blockd::client::admin;
use meta::record::{VolumeKind, VolumeRecord, VolumeState};
use proto::ids::NodeId;
use serde_json::Value;
use tokio::sync::oneshot;

impl Shared {
    pub async fn create(&self, name: &str, size_bytes: u64) -> Result<VolumeView, Error> {
        Ok(self.view(&self.meta.create_volume(name, size_bytes).await?))
    }

    /// Every user's volume.
    pub async fn volumes(&self) -> Result<Vec<VolumeView>, Error> {
        let volumes = self.meta.volumes().await?;
        Ok(volumes.iter().filter(|volume| volume.kind == VolumeKind::User).map(|v| self.view(v)).collect())
    }

    pub async fn volume(&self, name: &str) -> Result<VolumeDetail, Error> {
        let volume = self.meta.volume(name).await?;
        let map = self.meta.pool_map().await?;
        let mut replicas = Vec::new();
        for place in &map.disks {
            let asked = admin::volume_stat(place, self.token, volume.id);
            let answer = match tokio::time::timeout(DISK_STAT_TIMEOUT, asked).await {
                Ok(Ok(stat)) => Ok(stat.live_blocks * proto::units::BLOCK_BYTES),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("it does not answer".to_owned()),
            };
            replicas.push(ReplicaView {
                disk: place.disk.to_string(),
                address: place.addr.to_string(),
                used_bytes: *answer.as_ref().unwrap_or(&0),
                error: answer.err(),
            });
        }
        let answered = replicas.iter().filter(|replica| replica.error.is_none()).count().max(1);
        let total: u64 = replicas.iter().map(|replica| replica.used_bytes).sum();
        // Each block is on as many disks as a group has members; disks that did not answer are estimated.
        let copies = answered.min(proto::limits::REPLICAS) as u64;
        Ok(VolumeDetail { volume: self.view(&volume), used_bytes: total / copies, replicas })
    }

    /// Makes a volume larger, and tells the machine that serves it.
    pub async fn resize(self, name: String, asked: ResizeVolume) -> Result<VolumeView, Error> {
        let record = self.meta.resize_volume(&name, asked.size_bytes).await?;
        if let Some(attachment) = &record.attachment {
            let agent = self.agent_of(attachment.node)?;
            self.fleet.ask(&agent, Task::Resized { volume: name }).await?;
        }
        Ok(self.view(&record))
    }

    pub async fn attach(self, name: String, asked: AttachVolume) -> Result<VolumeView, Error> {
        let AttachVolume { socket, node, takeover } = asked;
        let record = self.meta.volume(&name).await?;
        if let Some(attachment) = record.attachment.as_ref().filter(|_| !takeover) {
            return Err(Error::new(
                Exit::Conflict,
                format!("volume '{name}' is already attached at {}; detach it first", attachment.socket),
            ));
        }
        let agent = self.fleet.find(DaemonKind::Agent, node.as_deref())?;
        self.fleet.ask(&agent, Task::Attach { volume: name.clone(), socket, takeover }).await?;
        Ok(self.view(&self.meta.volume(&name).await?))
    }

    /// Detaches a volume; with `force` even if the machine that serves it does not answer: whoever opens it next
    /// fences the writer there.
    pub async fn detach(self, name: String, asked: DetachVolume) -> Result<VolumeView, Error> {
        let record = self.meta.volume(&name).await?;
        let task = Task::Detach { volume: name.clone() };
        if asked.node.is_some() {
            let agent = self.fleet.find(DaemonKind::Agent, asked.node.as_deref())?;
            self.fleet.ask(&agent, task).await?;
            return Ok(self.view(&self.meta.volume(&name).await?));
        }
        let Some(attachment) = &record.attachment else {
            return Err(Error::new(Exit::Conflict, format!("volume '{name}' is not attached")));
        };
        let detached = match self.agent_of(attachment.node) {
            Ok(agent) => self.fleet.ask(&agent, task).await.map(drop),
            Err(error) => Err(error),
        };
        match detached {
            Err(error) if asked.force && error.exit == Exit::Unavailable => {
                Ok(self.view(&self.meta.set_attachment(&name, None).await?))
            }
            outcome => {
                outcome?;
                Ok(self.view(&self.meta.volume(&name).await?))
            }
        }
    }

    pub async fn export(self, volume: String, asked: CopyVolume) -> Result<Value, Error> {
        let agent = self.fleet.find(DaemonKind::Agent, asked.node.as_deref())?;
        self.fleet.ask(&agent, Task::Export { volume, file: asked.file }).await
    }

    pub async fn import(self, volume: String, asked: CopyVolume) -> Result<Value, Error> {
        let agent = self.fleet.find(DaemonKind::Agent, asked.node.as_deref())?;
        self.fleet.ask(&agent, Task::Import { volume, file: asked.file }).await
    }

    /// Deletes a volume that is not attached: its name at once, its data before this returns.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let volume = self.meta.volume(name).await?;
        if let Some(attachment) = &volume.attachment {
            return Err(Error::new(
                Exit::Conflict,
                format!(
                    "volume '{name}' is attached at {}; detach it first: ashlar volume detach {name}",
                    attachment.socket
                ),
            ));
        }
        let volume = self.meta.delete_volume(name).await?;
        let (done, outcome) = oneshot::channel();
        let gone =
            || Error::new(Exit::Unavailable, "the daemon is stopping; its next start goes on deleting");
        self.deletions.send(Deletion { volume, done: Some(done) }).await.map_err(|_| gone())?;
        outcome.await.map_err(|_| gone())?.map_err(|why| {
            Error::new(
                Exit::Unavailable,
                format!(
                    "volume '{name}' is deleted, but its data is not yet removed ({why}); this is tried again"
                ),
            )
        })
    }

    /// The agent that serves the attachments of a node.
    pub fn agent_of(&self, node: NodeId) -> Result<DaemonId, Error> {
        let found = self.fleet.seen().into_iter().find(|seen| is_agent(seen, node));
        found.filter(|seen| seen.silent.is_none()).map(|seen| seen.daemon).ok_or_else(|| {
            Error::new(
                Exit::Unavailable,
                format!("the agent of node {node}, which serves it, does not answer; start it again"),
            )
        })
    }

    /// How far the import or export is that some machine has begun.
    fn copy(&self, volume: &str) -> Option<CopyView> {
        let reports = self.fleet.seen().into_iter().filter(|seen| seen.silent.is_none());
        let mut copies = reports.flat_map(|seen| seen.report.copies);
        copies.find(|copy| copy.volume == volume).map(|copy| copy.far)
    }

    pub fn view(&self, volume: &VolumeRecord) -> VolumeView {
        let attachment = volume.attachment.as_ref().map(|attachment| {
            let agent = self.fleet.seen().into_iter().find(|seen| is_agent(seen, attachment.node));
            let (vm, error) = match agent {
                Some(Seen { silent: None, report, .. }) => {
                    let found = report.attachments.into_iter().find(|found| found.volume == volume.name);
                    found.map_or((None, None), |found| (found.vm, found.error))
                }
                _ => (None, Some(format!("the agent of node {} does not answer", attachment.node))),
            };
            AttachmentView { socket: attachment.socket.clone(), node: attachment.node.0, vm, error }
        });
        VolumeView {
            name: volume.name.clone(),
            id: volume.id.0,
            size_bytes: volume.size_bytes,
            state: match volume.state {
                VolumeState::Ready => "ready".to_owned(),
                VolumeState::Deleting => "deleting".to_owned(),
            },
            epoch: volume.epoch.0,
            created_ms: volume.created_ms,
            attachment,
            copy: self.copy(&volume.name),
        }
    }
}

fn is_agent(seen: &Seen, node: NodeId) -> bool {
    seen.daemon.kind == DaemonKind::Agent && seen.daemon.node == node
}
