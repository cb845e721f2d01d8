//! The rows of `bench s3` and their targets.

use super::{REQUESTS, garage};
use crate::report::RowName;
use crate::report::bound::{Against, Bound};
use crate::report::figure::{Figure, THROUGHPUT};

/// A size of object under one kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub what: What,
    pub len_bytes: usize,
    pub connections: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    Put,
    Get,
    Delete,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Of large objects this part is put: a thousand of 8 MiB would be 24 GiB on three replicas.
const LARGE_PART: u64 = 32;

const fn row(what: What, len_bytes: usize) -> Row {
    Row { what, len_bytes, connections: if len_bytes >= MIB { 4 } else { 16 } }
}

/// Every row, in the order of the result.
pub const ROWS: &[Row] = &[
    row(What::Put, KIB),
    row(What::Get, KIB),
    row(What::Put, 4 * KIB),
    row(What::Get, 4 * KIB),
    row(What::Put, 128 * KIB),
    row(What::Get, 128 * KIB),
    row(What::Put, 8 * MIB),
    row(What::Get, 8 * MIB),
    row(What::Delete, KIB),
];

impl Row {
    pub fn name(&self) -> String {
        let kind = match self.what {
            What::Put => "PUT",
            What::Get => "GET",
            What::Delete => "DELETE",
        };
        let size = match self.len_bytes {
            len if len >= MIB => format!("{} MiB", len / MIB),
            len => format!("{} KiB", len / KIB),
        };
        format!("{kind} {size} c{}", self.connections)
    }

    pub fn headline(&self) -> Figure {
        if self.len_bytes >= MIB { THROUGHPUT } else { REQUESTS }
    }

    pub fn row_name(&self) -> RowName {
        RowName::new(self.name(), &self.headline())
    }

    /// Objects that are there to be got.
    pub fn objects(&self, asked: u64) -> u64 {
        if self.len_bytes >= MIB { (asked / LARGE_PART).max(1) } else { asked }
    }

    /// Rows with other numbers of connections than their own, if some are asked for.
    pub fn with_connections(self, asked: &[usize]) -> Vec<Self> {
        if asked.is_empty() {
            return vec![self];
        }
        asked.iter().map(|&connections| Self { connections, ..self }).collect()
    }
}

/// The targets of objects. RustFS's are kept though this tool can't build it: they are then shown as not measured.
pub fn bounds() -> Vec<Bound> {
    let of = |what, len_bytes, against: Against, limits| {
        let row = row(what, len_bytes);
        Bound::new(&row.name(), &row.headline(), against, limits)
    };
    let peer = |side: &str| Against::Peer { side: side.to_owned(), share: 1.0 };
    let best = || Against::BestOf { sides: [garage::NAME, super::RUSTFS].map(str::to_owned).into() };
    let get = |len_bytes| of(What::Get, len_bytes, best(), (1.2, Some(2.0)));
    vec![
        of(What::Put, 4 * KIB, peer(garage::NAME), (20.0, Some(40.0))),
        get(KIB),
        get(4 * KIB),
        get(128 * KIB),
        of(What::Put, 8 * MIB, peer(garage::NAME), (4.0, Some(6.0))),
        of(What::Get, 8 * MIB, peer(super::RUSTFS), (1.0, Some(1.3))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bound_is_of_a_row_and_its_figure() {
        for bound in bounds() {
            let row = ROWS.iter().find(|row| row.name() == bound.row).expect("a row");
            assert_eq!(row.headline(), bound.figure);
        }
    }

    #[test]
    fn rows_are_named_apart() {
        let names = ROWS.iter().map(Row::name).collect::<std::collections::BTreeSet<_>>();
        assert_eq!(names.len(), ROWS.len());
        assert!(names.contains("PUT 4 KiB c16") && names.contains("GET 8 MiB c4"), "{names:?}");
        let scaled = ROWS[0].with_connections(&[1, 64]);
        assert_eq!(scaled.iter().map(Row::name).collect::<Vec<_>>(), ["PUT 1 KiB c1", "PUT 1 KiB c64"]);
        assert_eq!(ROWS[0].with_connections(&[]), [ROWS[0]]);
    }
}
