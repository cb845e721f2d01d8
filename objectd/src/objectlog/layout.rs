//! Where the bytes of a range of an object lie in the log.
//!
//! Each part of an object starts at a block of its own and fills its extents in order; the last block of a
//! part is padded with zeros. So an extent holds whole blocks, of which the object may use fewer.

use crate::limits::PIECE_BYTES;
use meta::object::Extent;
use proto::ids::VolumeId;
use proto::units::BLOCK_BYTES;
use std::ops::Range;

/// One read of the log: whole blocks, of which some bytes in the middle are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    pub volume: VolumeId,
    /// First byte to read: the start of a block.
    pub offset: u64,
    /// Bytes to read: whole blocks, at most [`PIECE_BYTES`].
    pub len: usize,
    /// Which of the bytes read are the object's.
    pub wanted: Range<usize>,
}

/// An index entry whose extents do not hold what it says: it is never served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inconsistent;

/// The reads that give some bytes of an object, in order, and cut as they are asked for: a list of all of them would
/// be as long as the object.
#[derive(Debug, Clone)]
pub struct Pieces {
    runs: std::vec::IntoIter<Run>,
    /// What is left of the run that is being cut.
    run: Option<Run>,
}

/// Bytes of one extent. Its end is not before its first, and not beyond the address space.
#[derive(Debug, Clone)]
struct Run {
    volume: VolumeId,
    bytes: Range<u64>,
}

impl Pieces {
    /// For the bytes `range` of an object. `part_sizes` is empty for one that was not put in parts.
    pub fn new(
        extents: &[Extent],
        size: u64,
        part_sizes: &[u64],
        range: Range<u64>,
    ) -> Result<Self, Inconsistent> {
        let whole = [size];
        let parts = if part_sizes.is_empty() { &whole[..] } else { part_sizes };
        let mut runs = Vec::new();
        let mut left = extents.iter();
        let mut at = 0u64;
        for &part in parts {
            let mut missing = part;
            while missing > 0 {
                let extent = left.next().ok_or(Inconsistent)?;
                let held = extent.len.min(missing);
                if held == 0 || !extent.offset.is_multiple_of(BLOCK_BYTES) {
                    return Err(Inconsistent);
                }
                let first = range.start.max(at);
                let end = range.end.min(at + held);
                if first < end {
                    runs.push(Run::of(extent, first - at..end - at)?);
                }
                at += held;
                missing -= held;
            }
        }
        let mut runs = runs.into_iter();
        let run = runs.next();
        if range.end <= at { Ok(Self { runs, run }) } else { Err(Inconsistent) }
    }

    /// How long the next read is if it may have `most` bytes, a part of [`PIECE_BYTES`]; `None` after the last.
    pub fn next_len(&self, most: usize) -> Option<usize> {
        self.run.as_ref().map(|run| run.cut(most).len)
    }

    /// The next read, of at most `most` bytes, a part of [`PIECE_BYTES`]. It ends at a multiple of that.
    pub fn next_within(&mut self, most: usize) -> Option<Piece> {
        let run = self.run.as_mut()?;
        let piece = run.cut(most);
        run.bytes.start += piece.wanted.len() as u64;
        if run.bytes.is_empty() {
            self.run = self.runs.next();
        }
        Some(piece)
    }
}

/// Those as long as they may be.
impl Iterator for Pieces {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        self.next_within(PIECE_BYTES)
    }
}

impl Run {
    /// `within` are offsets in the extent.
    fn of(extent: &Extent, within: Range<u64>) -> Result<Self, Inconsistent> {
        let at = |offset| extent.offset.checked_add(offset).ok_or(Inconsistent);
        let bytes = at(within.start)?..at(within.end)?;
        bytes.end.checked_next_multiple_of(BLOCK_BYTES).ok_or(Inconsistent)?;
        Ok(Self { volume: extent.volume, bytes })
    }

    fn cut(&self, most: usize) -> Piece {
        let start = self.bytes.start - self.bytes.start % BLOCK_BYTES;
        let stop = self.bytes.end.min((start - start % most as u64).saturating_add(most as u64));
        let to = |at: u64| usize::try_from(at - start).expect("a piece fits into memory");
        Piece {
            volume: self.volume,
            offset: start,
            len: to(stop.next_multiple_of(BLOCK_BYTES)),
            wanted: to(self.bytes.start)..to(stop),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCK: u64 = BLOCK_BYTES;

    fn extent(offset: u64, len: u64) -> Extent {
        Extent { volume: VolumeId(1), offset, len }
    }

    fn pieces(
        extents: &[Extent],
        size: u64,
        part_sizes: &[u64],
        range: Range<u64>,
    ) -> Result<Vec<Piece>, Inconsistent> {
        Pieces::new(extents, size, part_sizes, range).map(Iterator::collect)
    }

    fn shape(pieces: &[Piece]) -> Vec<(u64, usize, Range<usize>)> {
        pieces.iter().map(|piece| (piece.offset, piece.len, piece.wanted.clone())).collect()
    }

    #[test]
    fn one_extent() {
        let extents = [extent(8192, 8192)];
        let all = pieces(&extents, 5000, &[], 0..5000).unwrap();
        assert_eq!(shape(&all), [(8192, 8192, 0..5000)]);
        let some = pieces(&extents, 5000, &[], 4097..4099).unwrap();
        assert_eq!(shape(&some), [(12288, 4096, 1..3)]);
        assert_eq!(pieces(&extents, 9000, &[], 0..9000), Err(Inconsistent));
        assert_eq!(pieces(&extents, 5000, &[], 0..5001), Err(Inconsistent));
        assert_eq!(pieces(&[], 0, &[], 0..0), Ok(vec![]));
    }

    #[test]
    fn padded_parts_join_without_their_padding() {
        let extents = [extent(0, BLOCK), extent(3 * BLOCK, BLOCK), extent(9 * BLOCK, 2 * BLOCK)];
        let parts = [4000, 0, BLOCK + 10 + BLOCK - 10];
        let size = parts.iter().sum();
        let found = pieces(&extents, size, &parts, 3999..4001);
        assert_eq!(shape(&found.unwrap()), [(0, 4096, 3999..4000), (3 * BLOCK, 4096, 0..1)]);
    }

    #[test]
    fn long_runs_are_cut_at_piece_bounds() {
        let piece = PIECE_BYTES as u64;
        let extents = [extent(piece - BLOCK, 3 * piece)];
        let found = pieces(&extents, 3 * piece, &[], 0..3 * piece).unwrap();
        assert_eq!(found.len(), 4);
        assert!(found.iter().all(|piece| piece.len <= PIECE_BYTES));
        assert_eq!(found[0].len, 4096);
        let mut short = Pieces::new(&extents, 3 * piece, &[], 0..3 * piece).unwrap();
        let (mut read, mut at) = (0, extents[0].offset);
        while let Some(len) = short.next_len(PIECE_BYTES / 4) {
            let next = short.next_within(PIECE_BYTES / 4).unwrap();
            assert_eq!((next.offset, next.len, next.wanted.len()), (at, len, len));
            let end = at + len as u64 - 1;
            assert_eq!(at / (piece / 4), end / (piece / 4), "none crosses a multiple of its most");
            (read, at) = (read + len as u64, end + 1);
        }
        assert_eq!((read, short.next()), (3 * piece, None));
    }

    #[test]
    fn addresses_beyond_the_end_are_refused() {
        let last = u64::MAX - u64::MAX % BLOCK;
        for bad in [extent(last, BLOCK), extent(last - BLOCK, 3 * BLOCK)] {
            assert_eq!(pieces(&[bad], bad.len, &[], 0..bad.len), Err(Inconsistent));
        }
    }

    proptest! {
        /// Against a plain model: a map from object offset to log address.
        #[test]
        fn any_range_of_any_layout(
            parts in proptest::collection::vec(proptest::collection::vec(1u64..9, 1..3), 1..4),
            short in 0u64..4096, from in 0u64..80_000, len in 0u64..80_000,
        ) {
            let (mut extents, mut sizes, mut model, mut next) = (vec![], vec![], vec![], 0u64);
            for part in &parts {
                let start = model.len() as u64;
                for blocks in part {
                    next += BLOCK * 2;
                    extents.push(extent(next, blocks * BLOCK));
                    model.extend(next..next + blocks * BLOCK);
                    next += blocks * BLOCK;
                }
                model.truncate(model.len() - usize::try_from(short).unwrap());
                sizes.push(model.len() as u64 - start);
            }
            let size = model.len() as u64;
            let range = from.min(size)..(from + len).min(size);
            let found = pieces(&extents, size, &sizes, range.clone()).unwrap();
            let got: Vec<u64> = found
                .iter()
                .flat_map(|piece| piece.wanted.clone().map(|at| piece.offset + at as u64))
                .collect();
            let range = usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap();
            prop_assert_eq!(&got[..], &model[range]);
        }
    }
}
