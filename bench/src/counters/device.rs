//! Bytes that a block device was given, from `/proc/diskstats`.

use anyhow::{Context, Result};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A sector of diskstats, whatever the device's own are.
const SECTOR_BYTES: u64 = 512;

/// The block device under a folder.
pub struct Device {
    major: u32,
    minor: u32,
}

impl Device {
    /// `None` where the folder lies on no single device that the kernel counts: overlays, btrfs, network.
    pub fn under(folder: &Path) -> Result<Option<Self>> {
        let id = fs::metadata(folder).with_context(|| format!("reading {}", folder.display()))?.dev();
        let device = Self { major: rustix::fs::major(id), minor: rustix::fs::minor(id) };
        let stats = super::tasks::read("/proc/diskstats")?;
        Ok(device.sectors_written(&stats).is_some().then_some(device))
    }

    pub fn written_bytes(&self) -> Result<u64> {
        let stats = super::tasks::read("/proc/diskstats")?;
        let sectors = self.sectors_written(&stats).context("the device under the data went away")?;
        Ok(sectors * SECTOR_BYTES)
    }

    /// The tenth field: sectors written since boot.
    fn sectors_written(&self, stats: &str) -> Option<u64> {
        stats.lines().find_map(|line| {
            let mut fields = line.split_whitespace();
            let is_it = fields.next()?.parse() == Ok(self.major) && fields.next()?.parse() == Ok(self.minor);
            if is_it { fields.nth(7)?.parse().ok() } else { None }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_right_column_of_the_right_device_is_read() {
        let stats = " 254 0 vda 64968 7336 4033106 44782 9882 59705 8958864 59717 0 10404 106151\n \
                     254 1 vda1 1 2 3 4 5 6 7 8 0 9 10\n";
        let of = |major, minor| Device { major, minor }.sectors_written(stats);
        assert_eq!((of(254, 0), of(254, 1), of(8, 0)), (Some(8_958_864), Some(7), None));
    }
}
