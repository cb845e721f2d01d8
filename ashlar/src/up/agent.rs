//! The agent of this machine: serves volumes as vhost-user-blk sockets and runs VMs on them.

use crate::api::{AttachmentView, ReplicaView, VolumeDetail, VolumeView};
use crate::error::{Error, Exit};
use crate::folder::Folder;
use crate::limits::DISK_STAT_TIMEOUT;
use crate::up::deleter::Deletion;
use crate::up::disks::Disk;
use blockd::client::{OnFull, VolumeConfig, admin};
use compute::{Compute, Exit as VmExit, VmInfo, VmSpec};
use meta::record::{Attachment, VolumeKind, VolumeRecord, VolumeState};
use proto::ClientId;
use proto::control::PoolToken;
use proto::ids::NodeId;
use rt::rng::{Rng, SystemRng};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{mpsc, oneshot};
use vhost_user::{Device, DeviceConfig, DeviceHandle};

/// The one machine of an embedded store.
pub const NODE: NodeId = NodeId(1);

pub struct Agent {
    pub folder: Folder,
    pub meta: meta::client::Client,
    pub token: PoolToken,
    pub compute: Compute,
    /// Emptied when the daemon stops.
    pub disks: Mutex<Vec<Disk>>,
    deletions: mpsc::Sender<Deletion>,
    served: Mutex<BTreeMap<String, Served>>,
    /// One change of attachments at a time: an attach is several steps, and two must not mix.
    changes: tokio::sync::Mutex<()>,
}

/// A volume that is recorded as attached here.
enum Served {
    Device(DeviceHandle),
    /// It could not be served again after a restart, and why.
    Failed(String),
}

/// What an [`Agent`] is made of.
pub struct AgentParts {
    pub folder: Folder,
    pub meta: meta::client::Client,
    pub token: PoolToken,
    pub compute: Compute,
    pub disks: Vec<Disk>,
    pub deletions: mpsc::Sender<Deletion>,
}

impl Agent {
    pub fn new(parts: AgentParts) -> Arc<Self> {
        Arc::new(Self {
            folder: parts.folder,
            meta: parts.meta,
            token: parts.token,
            compute: parts.compute,
            disks: Mutex::new(parts.disks),
            deletions: parts.deletions,
            served: Mutex::new(BTreeMap::new()),
            changes: tokio::sync::Mutex::new(()),
        })
    }

    /// Serves again what was attached when the last daemon ended; lets go of the disks of VMs that are gone.
    pub async fn reattach(&self) -> Result<(), Error> {
        let _change = self.changes.lock().await;
        for volume in self.meta.volumes().await? {
            let Some(attachment) = &volume.attachment else { continue };
            if attachment.node != NODE {
                continue;
            }
            let socket = PathBuf::from(&attachment.socket);
            let owner = self.vm_of(&socket);
            let gone =
                owner.as_ref().is_some_and(|vm| !self.compute.get(vm).is_ok_and(|vm| vm.state.is_running()));
            if gone {
                tracing::info!(volume = %volume.name, vm = ?owner, "the VM is gone, so its disk is detached");
                self.meta.set_attachment(&volume.name, None).await?;
                continue;
            }
            let served = match self.serve(&volume, &socket).await {
                Ok(handle) => Served::Device(handle),
                Err(error) => {
                    tracing::error!(volume = %volume.name, %error, "an attached volume can't be served");
                    Served::Failed(error.to_string())
                }
            };
            self.served().insert(volume.name.clone(), served);
        }
        Ok(())
    }

    pub async fn create(&self, name: &str, size_bytes: u64) -> Result<VolumeView, Error> {
        let volume = self.meta.create_volume(name, size_bytes).await?;
        Ok(self.view(&volume))
    }

    /// Every user's volume.
    pub async fn list(&self) -> Result<Vec<VolumeView>, Error> {
        let volumes = self.meta.volumes().await?;
        Ok(volumes.iter().filter(|volume| volume.kind == VolumeKind::User).map(|v| self.view(v)).collect())
    }

    pub async fn show(&self, name: &str) -> Result<VolumeDetail, Error> {
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

    pub async fn attach(&self, name: &str, socket: &Path) -> Result<VolumeView, Error> {
        if !socket.is_absolute() {
            return Err(Error::usage(format!("the socket {} must be an absolute path", socket.display())));
        }
        let _change = self.changes.lock().await;
        self.attach_locked(name, socket).await
    }

    pub async fn detach(&self, name: &str) -> Result<VolumeView, Error> {
        let _change = self.changes.lock().await;
        let volume = self.meta.volume(name).await?;
        let Some(attachment) = &volume.attachment else {
            return Err(Error::new(Exit::Conflict, format!("volume '{name}' is not attached")));
        };
        if let Some(vm) = self.running_vm_of(Path::new(&attachment.socket)) {
            return Err(Error::new(
                Exit::Conflict,
                format!(
                    "volume '{name}' is the disk of VM '{vm}', which runs; stop it first: ashlar vm stop {vm}"
                ),
            ));
        }
        self.detach_locked(name).await
    }

    /// Deletes a volume that is not attached: its name at once, its data before this returns.
    pub async fn delete(&self, name: &str) -> Result<(), Error> {
        let _change = self.changes.lock().await;
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
            |_| Error::new(Exit::Unavailable, "the daemon is stopping; its next start goes on deleting");
        self.deletions.send(Deletion { volume, done: Some(done) }).await.map_err(|_| {
            Error::new(Exit::Unavailable, "the daemon is stopping; its next start goes on deleting")
        })?;
        outcome.await.map_err(gone)?.map_err(|why| {
            Error::new(
                Exit::Unavailable,
                format!(
                    "volume '{name}' is deleted, but its data is not yet removed ({why}); this is tried again"
                ),
            )
        })
    }

    /// Attaches the VM's volume and starts it.
    pub async fn run_vm(&self, spec: VmSpec) -> Result<VmInfo, Error> {
        spec.check()?;
        let _change = self.changes.lock().await;
        self.compute.check_qemu()?;
        self.compute.check_free(&spec.name)?;
        let socket = self.compute.disk_socket(&spec.name)?;
        let volume = spec.volume.clone();
        self.attach_locked(&volume, &socket).await?;
        match self.compute.run(spec, &socket).await {
            Ok(vm) => Ok(vm),
            Err(error) => {
                if let Err(error) = self.detach_locked(&volume).await {
                    tracing::warn!(%volume, %error, "the disk of a VM that did not start stays attached");
                }
                Err(error.into())
            }
        }
    }

    /// Lets go of the disk of a VM that ended.
    pub async fn vm_ended(&self, exit: &VmExit) {
        let _change = self.changes.lock().await;
        let socket = exit.disk_socket.display().to_string();
        let volumes = match self.meta.volumes().await {
            Ok(volumes) => volumes,
            Err(error) => {
                tracing::warn!(vm = %exit.name, %error, "the disk of a VM that ended stays attached");
                return;
            }
        };
        let disk = volumes.into_iter().find(|volume| {
            volume.attachment.as_ref().is_some_and(|at| at.node == NODE && at.socket == socket)
        });
        if let Some(volume) = disk
            && let Err(error) = self.detach_locked(&volume.name).await
        {
            tracing::warn!(vm = %exit.name, %error, "the disk of a VM that ended stays attached");
        }
    }

    /// Stops serving, but remembers what was attached for the next start.
    pub async fn close_devices(&self) {
        let _change = self.changes.lock().await;
        let served = std::mem::take(&mut *self.served());
        for (name, served) in served {
            if let Served::Device(handle) = served
                && tokio::task::spawn_blocking(move || handle.stop()).await.is_err()
            {
                tracing::warn!(volume = %name, "a device did not stop well");
            }
        }
    }

    /// Why attached volumes are not served, by name; and what ails those that are.
    pub fn attachment_problems(&self) -> Vec<String> {
        self.served()
            .iter()
            .filter_map(|(name, served)| match served {
                Served::Failed(why) => Some(format!("volume '{name}' is attached but not served: {why}")),
                Served::Device(_) => None,
            })
            .collect()
    }

    /// Calls `each` with every device that is served.
    pub fn each_device(&self, mut each: impl FnMut(&str, &vhost_user::DeviceStatus)) {
        for (name, served) in self.served().iter() {
            if let Served::Device(handle) = served {
                each(name, &handle.status());
            }
        }
    }

    pub fn attached_count(&self) -> usize {
        self.served().len()
    }

    pub fn disks(&self) -> MutexGuard<'_, Vec<Disk>> {
        self.disks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A volume that may be opened now: ready and not attached. Hold [`Self::exclusive`] meanwhile.
    pub async fn free_volume(&self, name: &str) -> Result<VolumeRecord, Error> {
        let volume = self.meta.volume(name).await?;
        if volume.state != VolumeState::Ready {
            return Err(Error::new(Exit::NotFound, format!("volume '{name}' is being deleted")));
        }
        match &volume.attachment {
            None => Ok(volume),
            Some(attachment) => Err(Error::new(
                Exit::Conflict,
                format!("volume '{name}' is already attached at {}; detach it first", attachment.socket),
            )),
        }
    }

    /// Keeps every other change of attachments waiting.
    pub async fn exclusive(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changes.lock().await
    }

    /// The right to write the volume, with a new epoch.
    pub async fn open(&self, volume: &VolumeRecord, on_full: OnFull) -> Result<VolumeConfig, Error> {
        let lease = self.meta.open_volume(volume.id).await?;
        Ok(VolumeConfig {
            lease,
            token: self.token,
            client: ClientId(SystemRng.id()),
            on_full,
            control: None,
        })
    }

    async fn attach_locked(&self, name: &str, socket: &Path) -> Result<VolumeView, Error> {
        let volume = self.free_volume(name).await?;
        let text = socket
            .to_str()
            .ok_or_else(|| Error::usage(format!("the socket's path {} is not UTF-8", socket.display())))?;
        let handle = self.serve(&volume, socket).await?;
        let attachment = Attachment { node: NODE, socket: text.to_owned() };
        // Recorded once it is served: a crash between the two leaves a volume that is simply not attached.
        let volume = match self.meta.set_attachment(name, Some(attachment)).await {
            Ok(volume) => volume,
            Err(error) => {
                let _ = tokio::task::spawn_blocking(move || handle.stop()).await;
                return Err(error.into());
            }
        };
        self.served().insert(name.to_owned(), Served::Device(handle));
        Ok(self.view(&volume))
    }

    async fn detach_locked(&self, name: &str) -> Result<VolumeView, Error> {
        let served = self.served().remove(name);
        if let Some(Served::Device(handle)) = served {
            tokio::task::spawn_blocking(move || handle.stop()).await.map_err(|error| {
                Error::failed(format!("the device of '{name}' did not stop well: {error}"))
            })?;
        }
        let volume = self.meta.set_attachment(name, None).await?;
        Ok(self.view(&volume))
    }

    async fn serve(&self, volume: &VolumeRecord, socket: &Path) -> Result<DeviceHandle, Error> {
        let opened = self.open(volume, OnFull::Wait).await?;
        let config = DeviceConfig::new(socket.to_owned(), volume.name.clone(), opened);
        let place = socket.display().to_string();
        tokio::task::spawn_blocking(move || Device::serve(config))
            .await
            .map_err(|error| Error::failed(format!("the device of {place} died at its start: {error}")))?
            .map_err(|error| Error::failed(format!("can't serve '{}' at {place}: {error}", volume.name)))
    }

    fn view(&self, volume: &VolumeRecord) -> VolumeView {
        let attachment = volume.attachment.as_ref().map(|attachment| AttachmentView {
            vm: self.vm_of(Path::new(&attachment.socket)),
            error: match self.served().get(&volume.name) {
                Some(Served::Failed(why)) => Some(why.clone()),
                _ => None,
            },
            socket: attachment.socket.clone(),
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
        }
    }

    /// The VM whose folder a socket is in.
    fn vm_of(&self, socket: &Path) -> Option<String> {
        let vms = self.compute.list();
        vms.into_iter().find(|vm| vm.console.parent() == socket.parent()).map(|vm| vm.name)
    }

    fn running_vm_of(&self, socket: &Path) -> Option<String> {
        let name = self.vm_of(socket)?;
        self.compute.get(&name).is_ok_and(|vm| vm.state.is_running()).then_some(name)
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<String, Served>> {
        self.served.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
