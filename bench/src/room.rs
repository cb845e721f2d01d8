//! Room on the disk under the data, reckoned before anything is started: disks are sparse files, and a run whose file
//! system fills up on the way would only show a store that waits.

use crate::limits::ROOM_MARGIN_BYTES;
use crate::options::size_text;
use crate::report::figure::count;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};

/// Disks of a store of ours.
pub const DISKS: u64 = 3;

/// Size of each of the three disks of a store, in MiB: what their files can grow to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSize {
    pub mib: u64,
}

impl DiskSize {
    pub const fn of_mib(mib: u64) -> Self {
        Self { mib }
    }

    pub fn text(self) -> String {
        format!("{DISKS} of {}", size_text(self.mib << 20))
    }
}

/// Files that a run makes at once.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    pub stores: u64,
    /// The size that a store's disks have if there is room for it.
    pub disk: DiskSize,
    /// The size below which nothing can be measured.
    pub least: DiskSize,
    /// What is written beside them: peers' files.
    pub beside_bytes: u64,
    /// Who is told that there is too little room may change these.
    pub options: &'a str,
}

/// What a folder's file system has to give.
#[derive(Debug)]
pub struct Room {
    folder: PathBuf,
    free_bytes: u64,
}

impl Room {
    pub fn under(folder: &Path) -> Result<Self> {
        let found = rustix::fs::statvfs(folder);
        let found = found.with_context(|| format!("looking for free room in {}", folder.display()))?;
        // What only root may fill is not reckoned with.
        Ok(Self { folder: folder.to_owned(), free_bytes: found.f_bavail * found.f_frsize })
    }

    /// The size of the plan's disks that there is room for.
    pub fn choose(&self, plan: Plan<'_>) -> Result<DiskSize> {
        let fits = |disk: &DiskSize| plan.needed_bytes(*disk) <= self.free_bytes;
        if let Some(disk) = [plan.disk, plan.least].into_iter().find(fits) {
            return Ok(disk);
        }
        let beside = match plan.beside_bytes {
            0 => String::new(),
            bytes => format!(", {} of peers", gib(bytes)),
        };
        bail!(
            "{} has {} free, and this run's files can grow to {} ({} disks of {}{beside}, {} for all else): change {}",
            self.folder.parent().unwrap_or(&self.folder).display(),
            gib(self.free_bytes),
            gib(plan.needed_bytes(plan.least)),
            plan.stores * DISKS,
            size_text(plan.least.mib << 20),
            gib(ROOM_MARGIN_BYTES),
            plan.options
        )
    }
}

impl Plan<'_> {
    fn needed_bytes(&self, disk: DiskSize) -> u64 {
        self.stores * DISKS * (disk.mib << 20) + self.beside_bytes + ROOM_MARGIN_BYTES
    }
}

fn gib(bytes: u64) -> String {
    format!("{:.1} GiB", count(bytes) / count(1 << 30))
}

/// Lets `work` have a folder of its own, which is gone after it. What a `work` that fails leaves is gone with `parent`.
pub fn within<T>(parent: &Path, name: &str, work: impl FnOnce(&Path) -> Result<T>) -> Result<T> {
    let folder = parent.join(name);
    std::fs::create_dir(&folder).with_context(|| format!("making {}", folder.display()))?;
    let outcome = work(&folder)?;
    std::fs::remove_dir_all(&folder).with_context(|| format!("removing {}", folder.display()))?;
    Ok(outcome)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: Plan<'_> = Plan {
        stores: 1,
        disk: DiskSize::of_mib(12 << 10),
        least: DiskSize::of_mib(7 << 10),
        beside_bytes: 4 << 30,
        options: "--size or --dir",
    };

    fn chosen(free_bytes: u64, plan: Plan<'_>) -> Result<DiskSize, String> {
        let room = Room { folder: "/data/run".into(), free_bytes };
        room.choose(plan).map_err(|error| error.to_string())
    }

    #[test]
    fn disks_are_as_large_as_there_is_room_for() {
        let gib = |gib: u64| (gib << 30) + ROOM_MARGIN_BYTES;
        assert_eq!(chosen(gib(3 * 12 + 4), PLAN), Ok(PLAN.disk));
        assert_eq!(chosen(gib(3 * 12 + 4) - 1, PLAN), Ok(PLAN.least));
        assert_eq!(chosen(gib(3 * 7 + 4), PLAN), Ok(PLAN.least));
        let two = Plan { stores: 2, ..PLAN };
        assert_eq!(chosen(gib(6 * 7 + 4), two), Ok(PLAN.least));
        assert!(chosen(gib(6 * 7 + 4) - 1, two).is_err());
        assert_eq!(PLAN.disk.text(), "3 of 12 GiB");
    }

    #[test]
    fn too_little_room_is_told_with_what_changes_it() {
        let told = chosen(8 << 30, PLAN).unwrap_err();
        assert_eq!(
            told,
            "/data has 8.0 GiB free, and this run's files can grow to 25.5 GiB (3 disks of 7 GiB, 4.0 GiB of \
             peers, 0.5 GiB for all else): change --size or --dir"
        );
        let alone = chosen(8 << 30, Plan { beside_bytes: 0, ..PLAN }).unwrap_err();
        assert!(alone.contains("21.5 GiB (3 disks of 7 GiB, 0.5 GiB for all else)"), "{alone}");
    }

    #[test]
    fn free_room_is_that_of_the_folders_file_system() {
        let room = Room::under(Path::new(".")).unwrap();
        let more = Plan { least: DiskSize::of_mib(room.free_bytes >> 20), ..PLAN };
        assert!(room.choose(Plan { disk: more.least, ..more }).is_err());
        assert!(Room::under(Path::new("/nonexistent")).is_err());
    }

    #[test]
    fn a_folder_is_gone_after_its_work() {
        let parent = tempfile::tempdir().unwrap();
        let write = |folder: &Path| Ok(std::fs::write(folder.join("disk"), "x").map(|()| folder.to_owned())?);
        let folder = within(parent.path(), "1", write).unwrap();
        assert!(!folder.exists() && parent.path().exists());
        std::fs::create_dir(&folder).unwrap();
        assert!(within(parent.path(), "1", write).is_err(), "what is there already is nobody's to remove");
        assert!(folder.exists());
    }
}
