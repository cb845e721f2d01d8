//! What both sides hold: volumes, their size, and the part of them that is worked on.

use super::workload::LEAST_AREA;
use crate::limits::MAX_REQUEST_BYTES;
use crate::options::size_text;
use crate::report::figure::count;
use crate::room::DiskSize;
use anyhow::{Result, bail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub volumes: u32,
    /// Of each.
    pub size: u64,
    /// What of it is written and worked on.
    pub area: u64,
}

impl Shape {
    /// Volumes of which a part, from their start, is worked on.
    pub fn new(volumes: u32, size: u64, part: f64) -> Result<Self> {
        if !(part > 0.0 && part <= 1.0) {
            bail!("--fill is a part: above 0, 1 at most");
        }
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a part of a size")]
        let filled = (count(size) * part) as u64;
        let area = (filled & !(MAX_REQUEST_BYTES as u64 - 1)).min(size);
        if area < LEAST_AREA {
            bail!("{} is too little to work on: --size or --fill", size_text(area));
        }
        Ok(Self { volumes, size, area })
    }

    /// What is written, once, of all volumes.
    pub const fn written_bytes(self) -> u64 {
        self.volumes as u64 * self.area
    }

    /// A log needs room to clean in: with so much it hardly has to during a run.
    pub const fn disk(self) -> DiskSize {
        DiskSize::of_mib((self.written_bytes() >> 20) * 5 / 2 + 2048)
    }

    /// With so much it has to clean, but is not slowed by being full.
    pub const fn least_disk(self) -> DiskSize {
        DiskSize::of_mib((self.written_bytes() >> 20) * 3 / 2 + 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_go_by_what_is_written() {
        let thin = Shape::new(2, 64 << 30, 0.25).unwrap();
        assert_eq!((thin.area, thin.written_bytes()), (16 << 30, 32 << 30));
        assert_eq!(thin.disk(), DiskSize::of_mib((80 + 2) << 10));
        assert_eq!(thin.least_disk(), DiskSize::of_mib((48 + 1) << 10));
    }

    #[test]
    fn a_part_of_nothing_and_too_small_ones_are_refused() {
        for (size, part) in
            [(4 << 30, 0.0), (4 << 30, 1.1), (4 << 30, f64::NAN), (8 << 20, 1.0), (1 << 30, 0.01)]
        {
            assert!(Shape::new(1, size, part).is_err(), "{part} of {size}");
        }
        // Whole requests only.
        assert_eq!(Shape::new(1, 100 << 20, 0.333).unwrap().area, 33 << 20);
    }
}
