//! Which disks a data folder has.

use super::DiskSpec;
use crate::error::{Error, Exit};
use crate::folder::{Folder, make_private_dir};
use crate::limits::DISKS;
use proto::DiskId;
use rt::rng::{Rng, SystemRng};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// `DIR/disks/disks.json`: written before the first disk is made, so that every later start knows which disks
/// there must be.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Plan {
    format: u32,
    disk_bytes: u64,
    disks: Vec<DiskId>,
    /// Added by `ashlar disk add`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    added: Vec<Added>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Added {
    id: DiskId,
    path: PathBuf,
}

/// Refuses another size than the disks have, before anything is started.
pub fn check_size(folder: &Folder, wanted_bytes: u64) -> Result<(), Error> {
    match read_plan(folder)? {
        Some(plan) if !plan.disks.is_empty() && plan.disk_bytes != wanted_bytes => Err(Error::new(
            Exit::Conflict,
            format!(
                "the disks in {} were made with {} each, and can't become {}; leave --disk-size away",
                folder.path.join("disks").display(),
                proto::size::show(plan.disk_bytes),
                proto::size::show(wanted_bytes)
            ),
        )),
        _ => Ok(()),
    }
}

/// The disks of the folder: made up on the first start. `known` are those that the control plane knows, which
/// must be there and are never made anew.
pub fn disks(folder: &Folder, disk_bytes: u64, known: &BTreeSet<DiskId>) -> Result<Vec<DiskSpec>, Error> {
    let plan = match read_plan(folder)? {
        Some(plan) => plan,
        None => make_plan(folder, disk_bytes, known)?,
    };
    let first = plan.disks.iter().enumerate().map(|(index, id)| DiskSpec {
        path: folder.disk(index),
        id: Some(*id),
        create_bytes: (!known.contains(id)).then_some(plan.disk_bytes),
    });
    let added = plan.added.iter().map(|added| DiskSpec {
        path: added.path.clone(),
        id: Some(added.id),
        create_bytes: None,
    });
    Ok(first.chain(added).collect())
}

/// Writes down a disk that was added while running.
pub fn remember(folder: &Folder, path: &Path, id: DiskId) -> Result<(), Error> {
    let mut plan =
        read_plan(folder)?.unwrap_or(Plan { format: 1, disk_bytes: 0, disks: Vec::new(), added: Vec::new() });
    if plan.added.iter().any(|added| added.id == id) {
        return Ok(());
    }
    plan.added.push(Added { id, path: path.to_owned() });
    write_plan(folder, &plan)
}

/// Disks that were added while running.
pub fn added(folder: &Folder) -> Result<Vec<(PathBuf, DiskId)>, Error> {
    let plan = read_plan(folder)?;
    Ok(plan
        .map(|plan| plan.added.into_iter().map(|added| (added.path, added.id)).collect())
        .unwrap_or_default())
}

fn read_plan(folder: &Folder) -> Result<Option<Plan>, Error> {
    let path = folder.path.join("disks").join("disks.json");
    match std::fs::read(&path) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|error| Error::failed(format!("can't understand {}: {error}", path.display()))),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::failed(format!("can't read {}: {error}", path.display()))),
    }
}

fn make_plan(folder: &Folder, disk_bytes: u64, known: &BTreeSet<DiskId>) -> Result<Plan, Error> {
    if !known.is_empty() {
        let dir = folder.path.join("disks");
        return Err(Error::failed(format!(
            "{} has no disks.json, but the control plane knows disks; put the folder back (nothing was changed)",
            dir.display()
        )));
    }
    let disks = (0..DISKS).map(|_| DiskId(SystemRng.id())).collect();
    let plan = Plan { format: 1, disk_bytes, disks, added: Vec::new() };
    write_plan(folder, &plan)?;
    Ok(plan)
}

fn write_plan(folder: &Folder, plan: &Plan) -> Result<(), Error> {
    make_private_dir(&folder.path.join("disks"))?;
    let text = serde_json::to_vec_pretty(plan).expect("a plan has only text keys");
    folder.write("disks/disks.json", &text)
}
