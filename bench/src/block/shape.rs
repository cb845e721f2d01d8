//! What both sides hold: volumes, their size, and the part of them that is worked on.

use super::workload::LEAST_AREA;
use crate::limits::MAX_REQUEST_BYTES;
use crate::options::size_text;
use crate::report::Report;
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

    /// For people.
    pub fn text(self) -> String {
        format!("{} of {}", volumes_text(self.volumes), size_text(self.size))
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

fn volumes_text(volumes: u32) -> String {
    match volumes {
        1 => "1 volume".to_owned(),
        more => format!("{more} volumes"),
    }
}

/// What is measured, one after the other.
#[derive(Debug)]
pub struct Shapes {
    all: Vec<Shape>,
    volumes: Vec<u32>,
    sizes: Vec<u64>,
}

impl Shapes {
    /// Every combination of these, of which a part is worked on.
    pub fn new(volumes: &[u32], sizes: &[u64], part: f64) -> Result<Self> {
        // Rows are named by these: two that are alike would be one.
        if let Some(twice) = repeated(volumes) {
            bail!("--volumes has {twice} twice");
        }
        if let Some(twice) = repeated(sizes) {
            bail!("--size has {} twice", size_text(twice));
        }
        let combined = volumes.iter().flat_map(|volumes| sizes.iter().map(move |size| (*volumes, *size)));
        let all = combined.map(|(volumes, size)| Shape::new(volumes, size, part)).collect::<Result<_>>()?;
        Ok(Self { all, volumes: volumes.to_vec(), sizes: sizes.to_vec() })
    }

    pub fn all(&self) -> &[Shape] {
        &self.all
    }

    /// A row's name with what makes the shape differ from the others, if there are others.
    pub fn row_name(&self, row: &str, shape: Shape) -> String {
        match (self.volumes.len() > 1, self.sizes.len() > 1) {
            (false, false) => row.to_owned(),
            (true, false) => format!("{row}, {}", volumes_text(shape.volumes)),
            (false, true) => format!("{row}, {}", size_text(shape.size)),
            (true, true) => format!("{row}, {}", shape.text()),
        }
    }

    /// Says in the report what was measured.
    pub fn tell(&self, report: &mut Report) {
        // The area goes by the size alone.
        let areas = self.all[..self.sizes.len()].iter().map(|shape| size_text(shape.area));
        report.set("volumes", listed(self.volumes.iter().map(u32::to_string)));
        report.set("size", listed(self.sizes.iter().map(|size| size_text(*size))));
        report.set("filled", listed(areas));
    }
}

fn repeated<T: Copy + PartialEq>(list: &[T]) -> Option<T> {
    list.iter().enumerate().find(|(at, value)| list[..*at].contains(value)).map(|(_, value)| *value)
}

pub fn listed(texts: impl Iterator<Item = String>) -> String {
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Facts;

    #[test]
    fn rows_are_named_with_what_differs() {
        let name = |volumes: &[u32], sizes: &[u64]| {
            let shapes = Shapes::new(volumes, sizes, 1.0).unwrap();
            shapes.row_name("4K randwrite d32", *shapes.all().last().unwrap())
        };
        assert_eq!(name(&[2], &[4 << 30]), "4K randwrite d32");
        assert_eq!(name(&[2, 1], &[4 << 30]), "4K randwrite d32, 1 volume");
        assert_eq!(name(&[1, 2], &[4 << 30]), "4K randwrite d32, 2 volumes");
        assert_eq!(name(&[2], &[1 << 30, 1536 << 20]), "4K randwrite d32, 1536 MiB");
        assert_eq!(name(&[1, 2], &[1 << 30, 16 << 30]), "4K randwrite d32, 2 volumes of 16 GiB");
    }

    #[test]
    fn a_report_has_all_that_was_measured() {
        let mut report = Report::new("block", "", Facts::default(), Vec::new());
        Shapes::new(&[1, 2], &[1 << 30, 64 << 30], 0.25).unwrap().tell(&mut report);
        let want = [("volumes", "1, 2"), ("size", "1 GiB, 64 GiB"), ("filled", "256 MiB, 16 GiB")];
        assert_eq!(report.settings, want.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

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
