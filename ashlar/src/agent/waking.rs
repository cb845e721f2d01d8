//! Disks that QEMU has lost sight of. QEMU from 7.2 to 9.0 does not look after a disk whose device goes while the guest
//! is paused, moves or boots: it connects to the next one and says nothing. Devices put up with that when the guest's
//! queues are started next (vhost-user's `continuing.rs`); a guest that runs already has to be stopped for a moment
//! before they are.

use super::{Agent, Served};
use crate::limits::WAKE_AFTER;
use rt::clock::{Clock, Instant, SystemClock};
use std::collections::BTreeMap;

/// Since when the disks of VMs have been connected without a word, or were woken, by their volumes.
#[derive(Default)]
pub struct Silent(BTreeMap<String, Instant>);

impl Agent {
    /// Wakes the VMs whose disks are silent for too long. In vain it is tried again, since the connection may have been
    /// new at the time; a guest without a driver for its disk only stands still for a moment.
    pub(super) async fn wake_disks(&self, silent: &mut Silent) {
        let now = SystemClock.now();
        let disks = self.silent_disks();
        silent.0.retain(|volume, _| disks.iter().any(|(silent, _)| silent == volume));
        for (volume, vm) in disks {
            let since = silent.0.entry(volume.clone()).or_insert(now);
            if now.since(*since) < WAKE_AFTER {
                continue;
            }
            *since = now;
            match self.compute.wake(&vm).await {
                Ok(true) => tracing::info!(%vm, %volume, "QEMU is told to start a disk that it lost"),
                Ok(false) => {}
                Err(error) => tracing::warn!(%vm, %volume, %error, "QEMU does not start a disk that it lost"),
            }
        }
    }

    /// Volumes that VMs are connected to in silence, and the VMs.
    fn silent_disks(&self) -> Vec<(String, String)> {
        let sockets: Vec<_> = {
            let served = self.served();
            let devices = served.iter().filter_map(|(volume, served)| match served {
                Served::Device(device) => Some((volume.clone(), device.status())),
                Served::Failed(_) => None,
            });
            devices
                .filter(|(_, status)| status.is_silent)
                .map(|(volume, status)| (volume, status.socket))
                .collect()
        };
        sockets
            .into_iter()
            .filter_map(|(volume, socket)| Some((volume, self.running_vm_of(&socket)?)))
            .collect()
    }
}
