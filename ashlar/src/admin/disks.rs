//! Machines and disks as people see them, and what they want of disks.

use super::Shared;
use crate::api::{AddDisk, DaemonView, DiskDetail, LoseDisk, NodeView, ReplaceDisk, SetDiskState};
use crate::error::{Error, Exit};
use crate::fleet::{DaemonKind, Seen, Task};
use meta::record::{DiskAdmin, DiskMembership, DiskRecord};
use proto::ids::DiskId;
use serde_json::{Value, json};

/// Fewer digits of an id name no disk, even if only one begins with them.
const MIN_ID_DIGITS: usize = 4;

impl Shared {
    pub async fn nodes(&self) -> Result<Vec<NodeView>, Error> {
        let disks = self.meta.disks().await?;
        let seen = self.fleet.seen();
        let nodes = self.meta.nodes().await?;
        let of_node = |id| seen.iter().filter(move |seen: &&Seen| seen.daemon.node == id);
        Ok(nodes
            .into_iter()
            .map(|node| NodeView {
                id: node.id.0,
                disks: disks.iter().filter(|disk| disk.node == node.id && is_there(disk)).count() as u64,
                daemons: of_node(node.id).map(daemon_view).collect(),
                name: node.name,
                zone: node.zone,
            })
            .collect())
    }

    pub async fn disks(&self) -> Result<Vec<DiskDetail>, Error> {
        let nodes = self.meta.nodes().await?;
        let membership = self.meta.membership().await?;
        let slow = self.meta.slow_disks().await?;
        let seen = self.fleet.seen();
        let records = self.meta.disks().await?;
        let name = |disk: &DiskRecord| {
            let node = nodes.iter().find(|node| node.id == disk.node);
            node.map_or_else(|| disk.node.to_string(), |node| node.name.clone())
        };
        Ok(records
            .into_iter()
            .map(|disk| {
                let groups = membership.iter().find(|member| member.disk == disk.id);
                let mut detail = detail(&disk, name(&disk), groups);
                let slow = slow.iter().find(|slow| slow.disk == disk.id && slow.held);
                detail.slow = slow.map(|slow| slow.why.clone());
                let id = disk.id.to_string();
                let reporter = seen.iter().find(|seen| seen.report.disks.iter().any(|disk| disk.id == id));
                detail.rebuild = reporter
                    .and_then(|seen| seen.report.rebuilds.iter().find(|rebuild| rebuild.disk == id))
                    .cloned();
                match reporter {
                    Some(Seen { silent: Some(silent), daemon, .. }) => {
                        detail.error = Some(format!("{daemon} was last heard of {} s ago", silent.as_secs()));
                    }
                    Some(seen) => {
                        let found = seen.report.disks.iter().find(|disk| disk.id == id);
                        detail.error = found.and_then(|disk| disk.error.clone()).or(detail.error);
                        detail.used_bytes = found.map_or(detail.used_bytes, |disk| disk.used_bytes);
                    }
                    None if disk.admin != DiskAdmin::Removed => {
                        detail.error = Some("no chunk server reports it".to_owned());
                    }
                    None => {}
                }
                detail
            })
            .collect())
    }

    pub async fn add_disk(&self, asked: AddDisk) -> Result<Value, Error> {
        let blockd = self.fleet.find(DaemonKind::Blockd, asked.node.as_deref())?;
        self.fleet.ask(&blockd, Task::AddDisk { path: asked.path, size_bytes: asked.size_bytes }).await
    }

    /// Has `new` take the place of the disk named, in all its groups; returns at once. Groups that `new` is a member of
    /// already go from the old one to other disks.
    pub async fn replace_disk(self, old: String, asked: ReplaceDisk) -> Result<Value, Error> {
        let records = self.meta.disks().await?;
        let (old, new) = (find(&records, &old)?, find(&records, &asked.new)?);
        if old == new {
            return Err(Error::usage("a disk can't take its own place"));
        }
        let map = self.meta.replace_disk(old, new).await?;
        // It is to go: empty and active, it would get its share of the groups again.
        if records.iter().any(|disk| disk.id == old && disk.admin == DiskAdmin::Active) {
            self.meta.set_disk_state(old, DiskAdmin::Draining).await?;
        }
        let taken = map
            .groups
            .iter()
            .filter(|group| group.member(new).is_some_and(|member| member.replaces == Some(old)));
        Ok(json!({ "old": old.to_string(), "new": new.to_string(), "groups": taken.count() }))
    }

    /// Gives a disk up that is gone for good.
    pub async fn lose_disk(self, name: String, asked: LoseDisk) -> Result<Value, Error> {
        let disk = find(&self.meta.disks().await?, &name)?;
        let lost = self.meta.lose_disk(disk, asked.accept_data_loss).await?;
        let given_up = lost.given_up.len();
        if given_up > 0 {
            let volumes = lost.volumes.join(", ");
            tracing::error!(%disk, groups = given_up, volumes, "the only copy of data was given up, as somebody asked");
        } else {
            tracing::warn!(%disk, groups = lost.groups, "a disk is removed as lost");
        }
        Ok(json!({
            "disk": disk.to_string(),
            "groups": lost.groups,
            "groups_given_up": given_up,
            "volumes_with_losses": lost.volumes,
        }))
    }

    pub async fn set_disk_state(self, disk: String, asked: SetDiskState) -> Result<Value, Error> {
        let state = asked.state;
        let disk = find(&self.meta.disks().await?, &disk)?;
        self.meta.set_disk_state(disk, state).await?;
        Ok(json!({ "disk": disk.to_string(), "state": state }))
    }
}

fn is_there(disk: &DiskRecord) -> bool {
    disk.admin != DiskAdmin::Removed
}

fn daemon_view(seen: &Seen) -> DaemonView {
    DaemonView {
        kind: seen.daemon.kind.to_string(),
        name: seen.daemon.name.clone(),
        state: seen
            .silent
            .map_or_else(|| "running".to_owned(), |silent| format!("silent for {} s", silent.as_secs())),
    }
}

fn detail(disk: &DiskRecord, node: String, groups: Option<&DiskMembership>) -> DiskDetail {
    DiskDetail {
        id: disk.id.to_string(),
        path: disk.label.clone(),
        node,
        zone: disk.zone.clone(),
        address: disk.addr.to_string(),
        capacity_bytes: disk.capacity_bytes,
        used_bytes: disk.health.used_bytes,
        state: disk.admin,
        in_sync: groups.map_or(0, |groups| groups.in_sync),
        catching_up: groups.map_or(0, |groups| groups.catching_up),
        out: groups.map_or(0, |groups| groups.out),
        evicted_why: disk.evicted_why.clone(),
        slow: None,
        rebuild: None,
        error: (disk.health.seen_ms > 0 && !disk.health.healthy).then(|| disk.health.why.clone()),
    }
}

/// A disk by its id, the beginning of it, or its path.
fn find(disks: &[DiskRecord], name: &str) -> Result<DiskId, Error> {
    let matches = |disk: &&DiskRecord| {
        let id = disk.id.to_string();
        id == name || disk.label == name || (name.len() >= MIN_ID_DIGITS && id.starts_with(name))
    };
    let found: Vec<&DiskRecord> = disks.iter().filter(matches).collect();
    // Of several disks that were at one path, the one that is still there is meant.
    let there: Vec<&&DiskRecord> = found.iter().filter(|disk| is_there(disk)).collect();
    match (found.as_slice(), there.as_slice()) {
        ([one], _) => Ok(one.id),
        (_, [one]) => Ok(one.id),
        ([], _) => Err(Error::new(
            Exit::NotFound,
            format!("there is no disk '{name}'; ashlar disk list shows those there are"),
        )),
        _ => Err(Error::usage(format!("'{name}' may be any of {} disks; give more of its id", found.len()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::NodeId;

    #[test]
    fn a_disk_is_found_by_what_people_know() {
        let addr = "127.0.0.1:1".parse().unwrap();
        let disk = |byte: u8, label: &str| DiskRecord {
            label: label.into(),
            ..DiskRecord::new(DiskId([byte; 16]), NodeId(1), addr, "z".into(), 1)
        };
        let mut disks = vec![disk(0xab, "/a"), disk(0xac, "/b"), disk(0xad, "/a")];
        assert_eq!(find(&disks, "/b").unwrap(), disks[1].id);
        assert_eq!(find(&disks, "abab").unwrap(), disks[0].id);
        assert_eq!(find(&disks, &disks[2].id.to_string()).unwrap(), disks[2].id);
        assert_eq!(find(&disks, "a").expect_err("too short").exit, Exit::NotFound);
        assert_eq!(find(&disks, "/a").expect_err("two").exit, Exit::Usage);
        disks[0].admin = DiskAdmin::Removed;
        assert_eq!(find(&disks, "/a").unwrap(), disks[2].id);
    }
}
