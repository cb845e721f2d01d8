//! Health, in a sentence and with its causes: what `ashlar status` shows.

use crate::api::{Capacity, DiskView, Health, ReplicaSummary, ServiceView, StatusReport};
use crate::limits::DISKS;
use crate::up::Addresses;
use crate::up::agent::Agent;
use rt::clock::{Clock, Instant, SystemClock};
use std::path::PathBuf;

/// What does not change while the daemon runs.
#[derive(Debug)]
pub struct Reporter {
    pub addresses: Addresses,
    pub data: PathBuf,
    pub started: Instant,
}

impl Reporter {
    pub fn new(addresses: Addresses, data: PathBuf) -> Self {
        Self { addresses, data, started: SystemClock.now() }
    }

    pub async fn report(&self, agent: &Agent) -> StatusReport {
        let mut causes = agent.attachment_problems();
        let mut health = if causes.is_empty() { Health::Healthy } else { Health::Unavailable };
        let disks = disk_views(agent);
        for disk in &disks {
            if let Some(error) = &disk.error {
                causes.push(format!("disk {} has failed: {error}", disk.file.display()));
                health = health_at_least(health, Health::Degraded);
            }
        }
        let capacity = capacity(agent);
        if capacity.usable_bytes > 0 && capacity.usable_free_bytes * 20 < capacity.usable_bytes {
            causes.push(format!(
                "the disks are nearly full ({} free); delete something, or writes will wait",
                proto::size::show(capacity.usable_free_bytes)
            ));
            health = health_at_least(health, Health::Degraded);
        }
        let meta = agent.meta.status().await;
        let mut services = vec![ServiceView {
            name: "control plane".into(),
            address: self.addresses.admin.to_string(),
            state: "running".into(),
        }];
        let meta = match meta {
            Ok(status) => {
                if !status.problems.is_empty() {
                    health = health_at_least(health, Health::Degraded);
                }
                causes.extend(status.problems.iter().cloned());
                Some(status)
            }
            Err(error) => {
                services[0].state = error.to_string();
                causes.push(format!("the control plane does not answer: {error}"));
                health = Health::Unavailable;
                None
            }
        };
        services.push(ServiceView {
            name: "s3 gateway".into(),
            address: self.addresses.s3.to_string(),
            state: "running".into(),
        });
        services.extend(disks.iter().map(|disk| ServiceView {
            name: "chunk server".into(),
            address: disk.address.clone(),
            state: disk.error.clone().unwrap_or_else(|| "running".into()),
        }));
        let vms = agent.compute.list();
        let meta = meta.as_ref();
        StatusReport {
            health,
            causes,
            notes: vec![
                "all replicas are on this one machine (three disks): losing it loses all of them".to_owned(),
            ],
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pool: meta.and_then(|m| m.pool.as_ref()).map(|pool| pool.id.clone()).unwrap_or_default(),
            data: self.data.clone(),
            uptime_seconds: SystemClock.now().since(self.started).as_secs(),
            services,
            capacity,
            replicas: meta.map_or_else(ReplicaSummary::default, |meta| ReplicaSummary {
                groups: meta.groups,
                whole: meta.groups_whole,
                stalled: meta.groups_stalled,
            }),
            disks,
            volumes: meta.map_or(0, |meta| meta.volumes),
            volumes_attached: agent.attached_count() as u64,
            vms_running: vms.iter().filter(|vm| vm.state.is_running()).count() as u64,
            buckets: meta.map_or(0, |meta| meta.buckets),
            objects: meta.map_or(0, |meta| meta.objects),
            object_bytes: meta.map_or(0, |meta| meta.object_bytes),
        }
    }
}

fn health_at_least(health: Health, least: Health) -> Health {
    if health == Health::Unavailable { health } else { least }
}

fn disk_views(agent: &Agent) -> Vec<DiskView> {
    let disks = agent.disks();
    disks
        .iter()
        .map(|disk| {
            let status = disk.status();
            DiskView {
                id: disk.id().to_string(),
                address: disk.addr().to_string(),
                file: disk.file.clone(),
                capacity_bytes: status.stat.capacity_bytes,
                used_bytes: status.stat.live_bytes,
                repaired_blocks: status.stat.repaired_blocks,
                error: status.failure.map(|failure| failure.to_string()),
            }
        })
        .collect()
}

/// With as many disks as replicas, the smallest disk bounds what fits.
fn capacity(agent: &Agent) -> Capacity {
    let disks = agent.disks();
    let mut capacity = Capacity::default();
    for disk in disks.iter() {
        let stat = disk.status().stat;
        capacity.raw_bytes += stat.capacity_bytes;
        capacity.raw_used_bytes += stat.live_bytes;
    }
    let stats = || disks.iter().map(|disk| disk.status().stat);
    debug_assert!(disks.len() <= DISKS);
    capacity.usable_bytes = stats().map(|stat| stat.capacity_bytes).min().unwrap_or(0);
    capacity.usable_free_bytes = stats().map(|stat| stat.free_bytes).min().unwrap_or(0);
    capacity
}
