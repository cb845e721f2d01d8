//! Health, in a sentence and with its causes: what `ashlar status` shows.

use super::Shared;
use crate::api::{Capacity, DiskView, Health, RebuildSummary, ReplicaSummary, ServiceView, StatusReport};
use crate::fleet::{DaemonKind, Rebuild, Seen};
use meta::query::{FailureDomain, Status};
use proto::limits::REPLICAS;
use rt::clock::{Clock, SystemClock};

/// What is wrong, and how badly, as it is found.
struct Findings {
    health: Health,
    causes: Vec<String>,
}

impl Findings {
    fn add(&mut self, health: Health, cause: impl Into<String>) {
        self.health = health_at_least(self.health, health);
        self.causes.push(cause.into());
    }
}

impl Shared {
    pub async fn status(&self) -> StatusReport {
        let mut found = Findings { health: Health::Healthy, causes: Vec::new() };
        let seen = self.fleet.seen();
        let meta = self.meta.status().await;
        let mut services = vec![ServiceView {
            name: "control plane".into(),
            address: self.about.admin.to_string(),
            state: "running".into(),
        }];
        let meta = match meta {
            Ok(status) => {
                let health = group_health(&status);
                found.health = health_at_least(found.health, health);
                for problem in &status.problems {
                    found.add(health.max(Health::Rebuilding), problem.clone());
                }
                Some(status)
            }
            Err(error) => {
                services[0].state = error.to_string();
                found.add(Health::Unavailable, format!("the control plane does not answer: {error}"));
                None
            }
        };
        look_at_daemons(&seen, &mut found);
        let scrubbed = self.scrubber.view().counts;
        let lost = scrubbed.unrepairable_blocks + scrubbed.conflicting_blocks;
        if lost > 0 {
            let cause = format!("the last scrub found {lost} copies of blocks that it could not repair");
            found.add(Health::Degraded, cause);
        }
        let disks: Vec<DiskView> = seen.iter().flat_map(disks_of).collect();
        let capacity = capacity(&disks);
        if capacity.usable_bytes > 0 && capacity.usable_free_bytes * 20 < capacity.usable_bytes {
            let free = proto::size::show(capacity.usable_free_bytes);
            let cause =
                format!("the disks are nearly full ({free} free); delete something, or writes will wait");
            found.add(Health::Degraded, cause);
        }
        services.extend(seen.iter().flat_map(services_of));
        let meta = meta.as_ref();
        let vms = seen.iter().flat_map(|seen| &seen.report.vms);
        StatusReport {
            health: found.health,
            causes: found.causes,
            notes: notes(meta),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pool: meta.and_then(|m| m.pool.as_ref()).map(|pool| pool.id.clone()).unwrap_or_default(),
            data: self.about.data.clone(),
            uptime_seconds: SystemClock.now().since(self.about.started).as_secs(),
            services,
            capacity,
            replicas: meta.map_or_else(ReplicaSummary::default, |meta| ReplicaSummary {
                groups: meta.groups,
                whole: meta.groups_whole,
                stalled: meta.groups_stalled,
            }),
            volumes: meta.map_or(0, |meta| meta.volumes),
            volumes_attached: seen.iter().map(|seen| seen.report.attachments.len() as u64).sum(),
            vms_running: vms.filter(|vm| vm.state.is_running()).count() as u64,
            buckets: meta.map_or(0, |meta| meta.buckets),
            objects: meta.map_or(0, |meta| meta.objects),
            object_bytes: meta.map_or(0, |meta| meta.object_bytes),
            rebuild: meta.and_then(|meta| rebuild(meta, &seen)),
            disks,
        }
    }
}

fn look_at_daemons(seen: &[Seen], found: &mut Findings) {
    for Seen { daemon, report, silent } in seen {
        if let Some(silent) = silent {
            let cause = format!("{daemon} has not been heard of for {} s; start it again", silent.as_secs());
            let health =
                if daemon.kind == DaemonKind::Blockd { Health::Degraded } else { Health::Unavailable };
            found.add(health, cause);
            continue;
        }
        for attachment in &report.attachments {
            if let Some(why) = &attachment.error {
                let cause = format!("volume '{}' is attached but not served: {why}", attachment.volume);
                found.add(Health::Unavailable, cause);
            }
        }
        for disk in &report.disks {
            // The control plane may have said so already.
            let known = found.causes.iter().any(|cause| cause.contains(&disk.id));
            if let Some(why) = disk.error.as_ref().filter(|_| !known) {
                found.add(Health::Degraded, format!("disk {} has failed: {why}", disk.file.display()));
            }
        }
        for service in report.services.iter().filter(|service| service.name == "s3 gateway") {
            if service.state != "running" {
                let cause = format!("the S3 gateway at {} is {}", service.address, service.state);
                found.add(Health::Unavailable, cause);
            }
        }
    }
}

fn disks_of(seen: &Seen) -> Vec<DiskView> {
    let mut disks = seen.report.disks.clone();
    if let Some(silent) = seen.silent {
        for disk in &mut disks {
            disk.error = Some(format!("not heard of for {} s", silent.as_secs()));
        }
    }
    disks
}

fn services_of(seen: &Seen) -> Vec<ServiceView> {
    let mut services = seen.report.services.clone();
    if let Some(silent) = seen.silent {
        for service in &mut services {
            service.state = format!("not heard of for {} s", silent.as_secs());
        }
    }
    services
}

fn notes(meta: Option<&Status>) -> Vec<String> {
    let losses = meta.into_iter().flat_map(|meta| &meta.losses).map(|loss| {
        let (disk, groups, volumes) = (loss.disk, loss.groups, loss.volumes.join(", "));
        format!(
            "with disk {disk}, the only copy of {groups} groups was given up; volumes with losses: {volumes}"
        )
    });
    failure_domain(meta).into_iter().chain(losses).collect()
}

fn failure_domain(meta: Option<&Status>) -> Vec<String> {
    match meta.map(|meta| (meta.failure_domain, meta.nodes)) {
        Some((FailureDomain::Disk, 0..=1)) => {
            vec!["all replicas are on this one machine: losing it loses all of them".to_owned()]
        }
        Some((FailureDomain::Disk, _)) => {
            vec!["some data has two replicas on one machine: add disks to the others".to_owned()]
        }
        _ => Vec::new(),
    }
}

fn health_at_least(health: Health, least: Health) -> Health {
    health.max(least)
}

/// What the groups' standing means for those who use them.
fn group_health(status: &Status) -> Health {
    if status.groups == 0 {
        Health::Unavailable
    } else if status.groups_stalled > 0 {
        Health::Stalled
    } else if status.groups_whole == status.groups {
        Health::Healthy
    } else if status.replicas_catching_up == status.replicas_left {
        Health::Rebuilding
    } else {
        Health::Degraded
    }
}

/// How far what is missing has come back: by bytes where every replica that is missing is being copied, by
/// replicas else. The estimate is the slowest disk's, and longer by as much as waits for its turn.
fn rebuild(status: &Status, seen: &[Seen]) -> Option<RebuildSummary> {
    let (done, left) = (status.replicas_done, status.replicas_left);
    if left == 0 {
        return None;
    }
    let rebuilds = || seen.iter().flat_map(|seen| &seen.report.rebuilds);
    let copying = status.replicas_catching_up;
    let sum = |bytes: fn(&Rebuild) -> u64| rebuilds().map(bytes).fold(0, u64::saturating_add);
    let (copied_bytes, total_bytes) =
        (sum(|rebuild| rebuild.copied_bytes), sum(|rebuild| rebuild.total_bytes));
    let by_bytes = copying == left && total_bytes > 0;
    let percent = if by_bytes { percent(copied_bytes, total_bytes) } else { percent(done, done + left) };
    let longest = rebuilds().filter_map(Rebuild::seconds_left).max().filter(|_| copying > 0);
    let waiting = left.saturating_sub(copying);
    let seconds_left = longest.map(|seconds| seconds + (seconds * waiting).checked_div(copying).unwrap_or(0));
    Some(RebuildSummary {
        done,
        left,
        copying,
        percent,
        seconds_left,
        troubles: rebuilds().filter_map(|rebuild| rebuild.trouble.clone()).collect(),
    })
}

/// Never 100 while something is left.
fn percent(done: u64, total: u64) -> u64 {
    u64::try_from(u128::from(done) * 100 / u128::from(total.max(1))).unwrap_or(99).min(99)
}

/// With as many disks as replicas, the smallest disk bounds what fits; with more, the sum does.
fn capacity(disks: &[DiskView]) -> Capacity {
    let serving = || disks.iter().filter(|disk| disk.error.is_none());
    let usable = |bytes: fn(&DiskView) -> u64| {
        let sum: u64 = serving().map(bytes).sum();
        let least = serving().map(bytes).min().unwrap_or(0);
        if serving().count() <= REPLICAS { least } else { sum / REPLICAS as u64 }
    };
    Capacity {
        raw_bytes: serving().map(|disk| disk.capacity_bytes).sum(),
        raw_used_bytes: serving().map(|disk| disk.used_bytes).sum(),
        usable_bytes: usable(|disk| disk.capacity_bytes),
        usable_free_bytes: usable(|disk| disk.free_bytes),
    }
}
