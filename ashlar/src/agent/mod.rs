//! The agent of this machine: serves volumes as vhost-user-blk sockets and runs VMs on them.

mod copies;
mod copy;
mod metrics;
mod moving;
mod relay;
mod takeover;
mod waking;

use crate::api::ServiceView;
use crate::control;
use crate::error::{Error, Exit};
use crate::fleet::{AttachmentReport, DaemonId, DaemonKind, Part, Performing, Report, Task};
use crate::limits::{RECONCILE_EVERY, SERVE_RETRY};
use blockd::client::{OnFull, VolumeConfig};
use compute::{Compute, Exit as VmExit, VmInfo, VmSpec};
use meta::record::{Attachment, NodeRecord, VolumeRecord, VolumeState};
use proto::ClientId;
use proto::control::PoolToken;
use rt::rng::{Rng, SystemRng};
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use vhost_user::{Device, DeviceConfig, DeviceHandle, MemorySlots, Open};

pub struct Agent {
    /// The machine it serves.
    pub node: NodeRecord,
    pub meta: meta::client::Client,
    pub token: PoolToken,
    pub compute: Compute,
    /// Where VMs that move here come in; port 0 is any.
    receive_at: SocketAddr,
    served: Mutex<BTreeMap<String, Served>>,
    moves: Mutex<moving::Moves>,
    takeovers: Mutex<takeover::Takeovers>,
    copies: copies::Copies,
    /// One change of attachments at a time: an attach is several steps, and two must not mix.
    changes: tokio::sync::Mutex<()>,
}

/// A volume that is recorded as attached here.
enum Served {
    Device(DeviceHandle),
    /// It could not be served again after a restart, and why.
    Failed(String),
}

impl Agent {
    pub fn new(
        node: NodeRecord,
        meta: meta::client::Client,
        token: PoolToken,
        compute: Compute,
        receive_at: SocketAddr,
    ) -> Arc<Self> {
        Arc::new(Self {
            node,
            meta,
            token,
            compute,
            receive_at,
            served: Mutex::default(),
            moves: Mutex::default(),
            takeovers: Mutex::default(),
            copies: copies::Copies::default(),
            changes: tokio::sync::Mutex::new(()),
        })
    }

    /// Serves again what was attached when the last daemon ended, and looks after it all until the tasks are dropped.
    pub async fn start(self: &Arc<Self>, exits: mpsc::Receiver<VmExit>) -> Result<JoinSet<()>, Error> {
        let mut tasks = JoinSet::new();
        // First, since a VM that is ended on the way waits for who follows exits.
        tasks.spawn(Arc::clone(self).follow(exits));
        self.reattach().await?;
        tasks.spawn(Arc::clone(self).tend());
        Ok(tasks)
    }

    /// Serves again what was attached; lets go of the disks of VMs that are gone.
    async fn reattach(&self) -> Result<(), Error> {
        let _change = self.changes.lock().await;
        for volume in self.meta.volumes().await? {
            let Some(attachment) = &volume.attachment else { continue };
            if attachment.node != self.node.id {
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
        self.settle_interrupted_moves().await
    }

    async fn attach(&self, name: &str, socket: &Path) -> Result<(), Error> {
        if !socket.is_absolute() {
            return Err(Error::usage(format!("the socket {} must be an absolute path", socket.display())));
        }
        let _change = self.changes.lock().await;
        self.attach_locked(name, socket).await
    }

    async fn detach(&self, name: &str) -> Result<(), Error> {
        let _change = self.changes.lock().await;
        if self.call_takeover_off(name).await {
            return Ok(());
        }
        let volume = self.meta.volume(name).await?;
        let Some(attachment) = &volume.attachment else {
            return Err(Error::new(Exit::Conflict, format!("volume '{name}' is not attached")));
        };
        if attachment.node != self.node.id {
            return Err(Error::new(
                Exit::Conflict,
                format!("volume '{name}' is attached on another machine, and none is to take it over here"),
            ));
        }
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

    /// The volume has grown: its guest hears of it.
    async fn resized(&self, name: &str) -> Result<(), Error> {
        let _change = self.changes.lock().await;
        let volume = self.meta.volume(name).await?;
        match self.served().get(name) {
            // The device's own thread answers between two requests of the guest.
            Some(Served::Device(device)) => tokio::task::block_in_place(|| device.resize(volume.size_bytes))
                .map_err(|error| {
                    Error::failed(format!(
                        "volume '{name}' has grown, but its guest was not told ({error}); \
                         it sees it when the volume is attached again"
                    ))
                }),
            // The next device is made with the new size.
            _ => Ok(()),
        }
    }

    /// Attaches the VM's volume and starts it.
    async fn run_vm(&self, spec: VmSpec) -> Result<VmInfo, Error> {
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

    /// Lets go of the disks of VMs that end.
    async fn follow(self: Arc<Self>, mut exits: mpsc::Receiver<VmExit>) {
        while let Some(exit) = exits.recv().await {
            // Beside the rest: a VM's end may be what the rest waits for.
            let agent = Arc::clone(&self);
            tokio::spawn(async move { agent.vm_ended(&exit).await });
        }
    }

    /// Tries again to serve what could not be served, and sees to moves and disks that nobody else sees to.
    async fn tend(self: Arc<Self>) {
        let mut retry = tokio::time::interval(SERVE_RETRY);
        let mut reconcile = tokio::time::interval(RECONCILE_EVERY);
        let mut silent = waking::Silent::default();
        loop {
            tokio::select! {
                _ = retry.tick() => {
                    self.serve_failed().await;
                    self.tend_moves().await;
                    self.wake_disks(&mut silent).await;
                }
                _ = reconcile.tick() => self.drop_what_is_elsewhere().await,
            }
        }
    }

    async fn serve_failed(&self) {
        let failed: Vec<String> = {
            let served = self.served();
            served
                .iter()
                .filter(|(_, served)| served.error().is_some())
                .map(|(name, _)| name.clone())
                .collect()
        };
        for name in failed {
            let _change = self.changes.lock().await;
            let volume = match self.meta.volume(&name).await {
                Ok(volume) => volume,
                Err(error) => {
                    tracing::debug!(volume = %name, %error, "an attached volume can't be looked up");
                    continue;
                }
            };
            let attachment = volume.attachment.as_ref().filter(|at| at.node == self.node.id);
            let Some(attachment) = attachment else {
                // Detached by force meanwhile.
                self.served().remove(&name);
                continue;
            };
            match self.serve(&volume, Path::new(&attachment.socket)).await {
                Ok(handle) => {
                    tracing::info!(volume = %name, "an attached volume is served again");
                    self.served().insert(name, Served::Device(handle));
                }
                Err(error) => {
                    self.served().insert(name, Served::Failed(error.to_string()));
                }
            }
        }
    }

    /// Lets go of the disk of a VM that ended.
    async fn vm_ended(&self, exit: &VmExit) {
        let outcome = async {
            // One that has moved has no disk here, and who moves it holds the lock until it has ended.
            if self.disk_at(&exit.disk_socket).await?.is_none() {
                return Ok(());
            }
            let _change = self.changes.lock().await;
            match self.disk_at(&exit.disk_socket).await? {
                Some(volume) => self.detach_locked(&volume.name).await,
                None => Ok(()),
            }
        };
        if let Err(error) = outcome.await {
            tracing::warn!(vm = %exit.name, %error, "the disk of a VM that ended stays attached");
        }
    }

    /// The volume that is recorded as served at a socket of this machine.
    async fn disk_at(&self, socket: &Path) -> Result<Option<VolumeRecord>, Error> {
        let mut volumes = self.meta.volumes().await?.into_iter();
        Ok(volumes.find(|volume| self.is_here(volume, socket)))
    }

    /// Stops serving, but remembers what was attached for the next start.
    pub async fn close_devices(&self) {
        let _change = self.changes.lock().await;
        self.discard_all_moves().await;
        let served = std::mem::take(&mut *self.served());
        for (name, served) in served {
            if let Served::Device(handle) = served
                && tokio::task::spawn_blocking(move || handle.stop()).await.is_err()
            {
                tracing::warn!(volume = %name, "a device did not stop well");
            }
        }
    }

    /// Calls `each` with every device that is served.
    pub fn each_device(&self, mut each: impl FnMut(&str, &vhost_user::DeviceStatus)) {
        for (name, served) in self.served().iter() {
            if let Served::Device(handle) = served {
                each(name, &handle.status());
            }
        }
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
            control: Some(control::handle(&self.meta)),
        })
    }

    async fn attach_locked(&self, name: &str, socket: &Path) -> Result<(), Error> {
        let volume = self.free_volume(name).await?;
        let text = socket
            .to_str()
            .ok_or_else(|| Error::usage(format!("the socket's path {} is not UTF-8", socket.display())))?;
        let handle = self.serve(&volume, socket).await?;
        let attachment = Attachment { node: self.node.id, socket: text.to_owned() };
        // Recorded once it is served: a crash between the two leaves a volume that is simply not attached.
        if let Err(error) = self.meta.set_attachment(name, Some(attachment)).await {
            let _ = tokio::task::spawn_blocking(move || handle.stop()).await;
            return Err(error.into());
        }
        self.served().insert(name.to_owned(), Served::Device(handle));
        Ok(())
    }

    async fn detach_locked(&self, name: &str) -> Result<(), Error> {
        self.stop_serving(name).await?;
        self.meta.set_attachment(name, None).await?;
        Ok(())
    }

    /// Ends the device of a volume, if there is one.
    async fn stop_serving(&self, name: &str) -> Result<(), Error> {
        let served = self.served().remove(name);
        if let Some(Served::Device(handle)) = served {
            tokio::task::spawn_blocking(move || handle.stop()).await.map_err(|error| {
                Error::failed(format!("the device of '{name}' did not stop well: {error}"))
            })?;
        }
        Ok(())
    }

    async fn serve(&self, volume: &VolumeRecord, socket: &Path) -> Result<DeviceHandle, Error> {
        let opened = self.open(volume, OnFull::Wait).await?;
        self.serve_opened(volume, opened, socket, Open::AtOnce).await
    }

    /// Serves a volume with a lease that was got before.
    async fn serve_opened(
        &self,
        volume: &VolumeRecord,
        opened: VolumeConfig,
        socket: &Path,
        open: Open,
    ) -> Result<DeviceHandle, Error> {
        // Whoever else connects may want them (libblkio does); for QEMU they are a danger.
        let is_qemu = self.compute.is_disk_socket(socket);
        let memory_slots = if is_qemu { MemorySlots::Withheld } else { MemorySlots::Offered };
        let config = DeviceConfig {
            open,
            memory_slots,
            ..DeviceConfig::new(socket.to_owned(), volume.name.clone(), opened)
        };
        let place = socket.display().to_string();
        tokio::task::spawn_blocking(move || Device::serve(config))
            .await
            .map_err(|error| Error::failed(format!("the device of {place} died at its start: {error}")))?
            .map_err(|error| Error::failed(format!("can't serve '{}' at {place}: {error}", volume.name)))
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

    /// With the VM that each is the disk of: by its socket, which is in the VM's folder.
    fn attachments(&self, served: Vec<(String, Option<String>)>) -> Vec<AttachmentReport> {
        let owner = |volume: &str| {
            let vms = self.compute.list();
            vms.into_iter().find(|vm| vm.volume == volume && vm.state.is_running()).map(|vm| vm.name)
        };
        served
            .into_iter()
            .map(|(volume, error)| AttachmentReport { vm: owner(&volume), volume, error })
            .collect()
    }

    fn served(&self) -> MutexGuard<'_, BTreeMap<String, Served>> {
        lock(&self.served)
    }
}

impl Part for Agent {
    fn daemon(&self) -> DaemonId {
        DaemonId {
            kind: DaemonKind::Agent,
            node: self.node.id,
            node_name: self.node.name.clone(),
            name: String::new(),
        }
    }

    fn report(&self) -> Report {
        let mut attachments: Vec<_> =
            self.served().iter().map(|(name, served)| (name.clone(), served.error())).collect();
        attachments.extend(self.failed_takeovers());
        Report {
            services: vec![ServiceView {
                name: "agent".into(),
                address: String::new(),
                state: "running".into(),
            }],
            attachments: self.attachments(attachments),
            vms: self.compute.list(),
            copies: self.copies.report(),
            metrics: metrics::of(self),
            ..Report::default()
        }
    }

    fn perform(self: Arc<Self>, task: Task) -> Performing {
        Box::pin(async move {
            match task {
                Task::Attach { volume, socket, takeover: false } => {
                    answer(self.attach(&volume, &socket).await?)
                }
                Task::Attach { volume, socket, takeover: true } => {
                    answer(self.await_takeover(&volume, &socket).await?)
                }
                Task::Detach { volume } => answer(self.detach(&volume).await?),
                Task::Export { volume, file } => answer(copy::export(&self, &volume, &file).await?),
                Task::Import { volume, file } => answer(copy::import(&self, &volume, &file).await?),
                Task::RunVm { spec } => answer(self.run_vm(spec).await?),
                Task::StopVm { name, deadline_ms } => {
                    answer(self.compute.stop(&name, Duration::from_millis(deadline_ms)).await?)
                }
                Task::DescribeVm { name } => answer(self.describe_vm(&name)?),
                Task::ReceiveVm { spec, acceleration } => answer(self.receive_vm(spec, &acceleration).await?),
                Task::SendVm { name, door } => answer(self.send_vm(&name, &door).await?),
                Task::AcceptVm { name } => answer(self.accept_vm(&name).await?),
                Task::DiscardVm { name } => answer(self.discard_vm(&name).await?),
                Task::SettleVm { name } => answer(self.settle_vm(&name).await?),
                Task::Resized { volume } => answer(self.resized(&volume).await?),
                Task::AddDisk { .. } => Err(Error::usage("the agent has no disks; ask blockd")),
            }
        })
    }
}

impl Served {
    fn error(&self) -> Option<String> {
        match self {
            Self::Device(_) => None,
            Self::Failed(why) => Some(why.clone()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer<T: Serialize>(value: T) -> Result<Value, Error> {
    serde_json::to_value(value).map_err(|error| Error::failed(format!("can't write the answer: {error}")))
}
