//! VMs that move between machines while they run: the agents' sides of it. [`crate::admin`] leads.
//!
//! The guest is paused on both machines from when all of it was sent until one of them lets it go on. Which one is
//! decided by the control plane's record of where the volume is attached. The new machine moves it with the epoch
//! of its lease; the old one that wants the guest back takes a newer epoch first, which forbids that. So whoever is
//! killed or cut off in between, exactly one goes on.

use super::{Agent, Served, lock, relay};
use crate::error::{Error, Exit};
use crate::fleet::{DescribedVm, Door, Settled};
use crate::limits::{MOVE_PATIENCE, SERVE_RETRY, SETTLE_AFTER};
use blockd::client::OnFull;
use compute::{Acceleration, VmInfo, VmSpec};
use meta::record::{Attachment, VolumeRecord};
use proto::VolumeEpoch;
use rt::clock::{Clock, Instant, SystemClock};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use tokio::net::UnixListener;
use tokio::task::JoinHandle;
use vhost_user::{DeviceHandle, Open};

/// What is on its way, by the VMs' names.
#[derive(Default)]
pub struct Moves {
    receiving: BTreeMap<String, Receiving>,
    sending: BTreeSet<String>,
    /// Paused here since then.
    sent: BTreeMap<String, Instant>,
}

/// A VM that is to move here.
struct Receiving {
    volume: String,
    socket: PathBuf,
    epoch: VolumeEpoch,
    device: DeviceHandle,
    relay: JoinHandle<()>,
    /// When nothing of it came any more.
    ended: Option<Instant>,
}

impl Agent {
    pub(super) fn describe_vm(&self, name: &str) -> Result<DescribedVm, Error> {
        let (spec, acceleration) = self.compute.describe(name)?;
        Ok(DescribedVm { spec, acceleration })
    }

    /// Gets everything ready for a VM that runs elsewhere. Its volume is not touched.
    pub(super) async fn receive_vm(&self, spec: VmSpec, from: &Acceleration) -> Result<Door, Error> {
        let _change = self.changes.lock().await;
        self.compute.check_free(&spec.name)?;
        let socket = self.compute.disk_socket(&spec.name)?;
        let (name, volume) = (spec.name.clone(), self.attached_elsewhere(&spec.volume).await?);
        let opened = self.open(&volume, OnFull::Wait).await?;
        let epoch = opened.lease.epoch;
        let device = self.serve_opened(&volume, opened, &socket, Open::WhenTold).await?;
        let incoming = match self.compute.receive(spec, from, &socket).await {
            Ok(incoming) => incoming,
            Err(error) => {
                stop(device).await;
                return Err(error.into());
            }
        };
        let (door, relay) = match relay::open_door(self.receive_at, incoming).await {
            Ok(opened) => opened,
            Err(error) => {
                self.compute.discard(&name).await;
                stop(device).await;
                return Err(error);
            }
        };
        let receiving = Receiving { volume: volume.name, socket, epoch, device, relay, ended: None };
        lock(&self.moves).receiving.insert(name, receiving);
        Ok(door)
    }

    /// A volume that another machine serves.
    pub(super) async fn attached_elsewhere(&self, name: &str) -> Result<VolumeRecord, Error> {
        let volume = self.meta.volume(name).await?;
        let conflict = |why: &str| Err(Error::new(Exit::Conflict, format!("volume '{name}' {why}")));
        match &volume.attachment {
            None => {
                conflict("is not attached, so there is nothing to take over; attach it without --takeover")
            }
            Some(at) if at.node == self.node.id => conflict("is attached on this machine already"),
            Some(_) => Ok(volume),
        }
    }

    /// Sends all of a running VM elsewhere, and leaves it paused. After an error it runs as before.
    pub(super) async fn send_vm(&self, name: &str, door: &Door) -> Result<(), Error> {
        if !lock(&self.moves).sending.insert(name.to_owned()) {
            return Err(Error::new(Exit::Conflict, format!("VM '{name}' is being moved already")));
        }
        let outcome = self.send_through(name, door).await;
        let mut is_sent = outcome.is_ok();
        if !is_sent {
            if let Err(error) = self.compute.go_on_if_left(name).await {
                tracing::warn!(vm = %name, %error, "whether a VM that could not be sent goes on is not known");
            }
            // It may have gone wholly before the error.
            is_sent = self.compute.is_sent(name).await.unwrap_or(true);
        }
        let mut moves = lock(&self.moves);
        moves.sending.remove(name);
        if is_sent {
            moves.sent.insert(name.to_owned(), SystemClock.now());
        }
        outcome
    }

    async fn send_through(&self, name: &str, door: &Door) -> Result<(), Error> {
        self.compute.get(name)?;
        let entered = relay::enter(door).await?;
        let path = self.compute.outgoing_socket(name);
        let _ = std::fs::remove_file(&path);
        let leaving = UnixListener::bind(&path)
            .map_err(|error| Error::failed(format!("can't listen at {}: {error}", path.display())))?;
        let carrying = tokio::spawn(relay::carry(leaving, entered));
        let sent = self.compute.send(name, &path).await;
        if sent.is_err() {
            carrying.abort();
        }
        // The last of it is on its way still; the other side says whether it came.
        let _ = tokio::time::timeout(MOVE_PATIENCE, carrying).await;
        let _ = std::fs::remove_file(&path);
        Ok(sent?)
    }

    /// Takes over the volume of a VM that has come in, and lets the VM go on here.
    pub(super) async fn accept_vm(&self, name: &str) -> Result<VmInfo, Error> {
        let _change = self.changes.lock().await;
        let found = lock(&self.moves).receiving.remove(name);
        let receiving = found.ok_or_else(|| {
            Error::new(Exit::NotFound, format!("no VM named '{name}' is on its way to this machine"))
        })?;
        if let Err(error) = self.take_volume(name, &receiving).await {
            self.throw_away(name, receiving).await;
            return Err(error);
        }
        receiving.relay.abort();
        self.served().insert(receiving.volume, Served::Device(receiving.device));
        Ok(self.compute.accept(name).await?)
    }

    async fn take_volume(&self, name: &str, receiving: &Receiving) -> Result<(), Error> {
        let arrived = tokio::time::timeout(MOVE_PATIENCE, self.compute.arrived(name)).await;
        arrived.map_err(|_| {
            Error::new(
                Exit::Timeout,
                format!("not all of VM '{name}' came in {} s after it was sent", MOVE_PATIENCE.as_secs()),
            )
        })??;
        // While there is a way back still: if the volume can't be opened from here, the guest had better stay.
        open(&receiving.device, &receiving.volume)?;
        let volume = self.move_here(&receiving.volume, &receiving.socket, receiving.epoch).await?;
        grow(&receiving.device, &volume);
        Ok(())
    }

    /// Records that a volume is served here from now on, with an epoch that was given to this machine. Waits for
    /// as long as the control plane does not say whether it is so: both to go on and to give up could be wrong.
    pub(super) async fn move_here(
        &self,
        name: &str,
        socket: &Path,
        epoch: VolumeEpoch,
    ) -> Result<VolumeRecord, Error> {
        let socket = text(socket)?;
        loop {
            let to = Attachment { node: self.node.id, socket: socket.clone() };
            match self.meta.move_attachment(name, to, epoch).await {
                Err(error) if error.kind() == meta::ErrorKind::Unavailable => {
                    tracing::warn!(volume = name, %error, "a volume is taken over as soon as that can be recorded");
                    tokio::time::sleep(SERVE_RETRY).await;
                }
                outcome => return Ok(outcome?),
            }
        }
    }

    /// Forgets a VM that was to move here.
    pub(super) async fn discard_vm(&self, name: &str) -> Result<(), Error> {
        let _change = self.changes.lock().await;
        let found = lock(&self.moves).receiving.remove(name);
        if let Some(receiving) = found {
            self.throw_away(name, receiving).await;
        }
        Ok(())
    }

    async fn throw_away(&self, name: &str, receiving: Receiving) {
        receiving.relay.abort();
        self.compute.discard(name).await;
        stop(receiving.device).await;
    }

    /// Forgets all VMs that were to move here: the daemon ends.
    pub(super) async fn discard_all_moves(&self) {
        let receiving = std::mem::take(&mut lock(&self.moves).receiving);
        for (name, receiving) in receiving {
            self.throw_away(&name, receiving).await;
        }
    }

    /// Finds out where a VM that was sent goes on: ends it here, or takes it back. One that was not sent stays.
    pub(super) async fn settle_vm(&self, name: &str) -> Result<Settled, Error> {
        let _change = self.changes.lock().await;
        let volume = self.compute.get(name)?.volume;
        let socket = self.compute.disk_socket(name)?;
        let mut record = self.meta.volume(&volume).await?;
        if !self.compute.is_sent(name).await? {
            lock(&self.moves).sent.remove(name);
            let is_elsewhere = record.attachment.is_some_and(|at| at.node != self.node.id);
            return Ok(if is_elsewhere { Settled::Moved } else { Settled::Kept });
        }
        let mut opened = None;
        if self.is_here(&record, &socket) {
            // From here on it can't be moved any more, unless it was just before.
            opened = Some(self.open(&record, OnFull::Wait).await?);
            record = self.meta.volume(&volume).await?;
        }
        let Some(opened) = opened.filter(|_| self.is_here(&record, &socket)) else {
            self.compute.end(name, "it moved to another machine").await?;
            self.stop_serving(&volume).await?;
            lock(&self.moves).sent.remove(name);
            return Ok(Settled::Moved);
        };
        // The other machine may have fenced this one's device, so there is a new one.
        self.stop_serving(&volume).await?;
        let served = match self.serve_opened(&record, opened, &socket, Open::AtOnce).await {
            Ok(device) => Served::Device(device),
            Err(error) => Served::Failed(error.to_string()),
        };
        self.served().insert(volume, served);
        self.compute.resume(name).await?;
        lock(&self.moves).sent.remove(name);
        tracing::warn!(
            vm = name,
            "a VM that was sent to another machine did not go on there, so it does here"
        );
        Ok(Settled::Kept)
    }

    /// Whether a volume is recorded as served at a socket of this machine.
    pub(super) fn is_here(&self, volume: &VolumeRecord, socket: &Path) -> bool {
        let here = |at: &Attachment| at.node == self.node.id && Path::new(&at.socket) == socket;
        volume.attachment.as_ref().is_some_and(here)
    }

    /// What the leader of a move would see to, if it is gone.
    pub(super) async fn tend_moves(&self) {
        let now = SystemClock.now();
        let (unsettled, late) = {
            let mut moves = lock(&self.moves);
            let is_over = |since: &Instant, patience| now.since(*since) > patience;
            let sent = moves.sent.iter().filter(|(_, since)| is_over(since, SETTLE_AFTER));
            let unsettled: Vec<String> = sent.map(|(name, _)| name.clone()).collect();
            let mut late = Vec::new();
            for (name, receiving) in &mut moves.receiving {
                if receiving.relay.is_finished() && is_over(receiving.ended.get_or_insert(now), MOVE_PATIENCE)
                {
                    late.push(name.clone());
                }
            }
            (unsettled, late)
        };
        for name in unsettled {
            if let Err(error) = self.settle_vm(&name).await {
                tracing::warn!(vm = %name, %error, "where a VM that was sent goes on is not known; it waits");
            }
        }
        for name in late {
            tracing::warn!(vm = %name, "a VM that was to move here is not waited for any longer");
            let _ = self.discard_vm(&name).await;
        }
    }

    /// Moves that the daemon's end broke off. Hold [`Self::exclusive`]; attached volumes are served again already.
    pub(super) async fn settle_interrupted_moves(&self) -> Result<(), Error> {
        for name in self.compute.receiving() {
            let socket = self.compute.disk_socket(&name)?;
            let volume = self.compute.received_volume(&name).unwrap_or_default();
            let is_mine = self.meta.volume(&volume).await.is_ok_and(|record| self.is_here(&record, &socket));
            if is_mine {
                tracing::info!(vm = %name, "a VM that has moved here goes on");
                self.compute.accept(&name).await?;
            } else {
                self.compute.discard(&name).await;
            }
        }
        let running = self.compute.list().into_iter().filter(|vm| vm.state.is_running());
        for vm in running {
            if let Err(error) = self.compute.go_on_if_left(&vm.name).await {
                tracing::warn!(vm = %vm.name, %error, "whether a VM is paused is not known");
            }
            if self.compute.is_sent(&vm.name).await.unwrap_or(false) {
                // Who leads the move may be about to say; if not, it is settled when that is over.
                lock(&self.moves).sent.insert(vm.name, SystemClock.now());
            }
        }
        Ok(())
    }
}

/// Opens a device's volume: whoever wrote it before is fenced.
pub(super) fn open(device: &DeviceHandle, volume: &str) -> Result<(), Error> {
    // Bounded by the volume's own limit; the device's thread answers.
    tokio::task::block_in_place(|| device.open()).map_err(|error| {
        Error::new(Exit::Unavailable, format!("volume '{volume}' can't be taken over: {error}"))
    })
}

/// Tells a device that its volume has grown since its lease was given.
pub(super) fn grow(device: &DeviceHandle, volume: &VolumeRecord) {
    if device.status().size_bytes < volume.size_bytes
        && let Err(error) = tokio::task::block_in_place(|| device.resize(volume.size_bytes))
    {
        tracing::warn!(volume = %volume.name, %error, "a guest does not see yet that its volume has grown");
    }
}

pub(super) async fn stop(device: DeviceHandle) {
    if tokio::task::spawn_blocking(move || device.stop()).await.is_err() {
        tracing::warn!("a device did not stop well");
    }
}

pub(super) fn text(socket: &Path) -> Result<String, Error> {
    let text = socket.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::usage(format!("the socket's path {} is not UTF-8", socket.display())))
}
