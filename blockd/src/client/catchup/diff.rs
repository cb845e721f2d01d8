//! Block by block, what one member's list of a chunk says and another's does not.

use proto::message::{ListEntry, ListKind};
use proto::units::BLOCKS_PER_CHUNK;
use proto::{Version, VolumeEpoch};

/// What a member knows of each block of a chunk: nothing, or a version, and whether that is a trim's.
pub(crate) struct Map([Known; BLOCKS_PER_CHUNK as usize]);

/// What is known of one block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Known {
    pub version: Version,
    pub trimmed: bool,
}

/// Neighbouring blocks that are treated alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Run {
    pub first: u16,
    pub count: u16,
    /// The highest version among blocks of data; the one version of trims.
    pub known: Known,
}

impl Map {
    /// The entries of one chunk. Their ranges were checked when they were decoded.
    pub fn of(entries: &[ListEntry]) -> Self {
        let mut blocks = [Known::default(); BLOCKS_PER_CHUNK as usize];
        for entry in entries {
            let known = Known { version: entry.version, trimmed: entry.kind == ListKind::Trimmed };
            let (first, count) = (usize::from(entry.first), usize::from(entry.count));
            blocks[first..first + count].fill(known);
        }
        Self(blocks)
    }

    pub fn get(&self, block: u16) -> Known {
        self.0[usize::from(block)]
    }

    /// Runs of what is higher here than in `other`: data in runs of at most `max` blocks, trims in runs of
    /// one version.
    pub fn newer_than(&self, other: &Map, max: u16) -> Vec<Run> {
        self.runs(max, |block| self.get(block).version > other.get(block).version)
    }

    /// Blocks that are higher in `other`, with what it has there, if that is of an epoch below `fence`: what
    /// a dead writer left there alone. Or if it is up to `stable`, below which everything that counts is here:
    /// what a living writer gave up while `other` was out, since no member in sync had kept it.
    pub fn orphans_in(&self, other: &Map, limits: (VolumeEpoch, Version)) -> Vec<(u16, Known)> {
        let blocks = 0..u16::try_from(BLOCKS_PER_CHUNK).expect("1024");
        let orphans = blocks.filter(|&block| self.is_orphan(block, other, limits));
        orphans.map(|block| (block, other.get(block))).collect()
    }

    fn is_orphan(&self, block: u16, other: &Map, (fence, stable): (VolumeEpoch, Version)) -> bool {
        let given_up = |version: Version| version.epoch() < fence || version <= stable;
        self.is_ahead(block, other) && given_up(other.get(block).version)
    }

    /// Whether a block is higher in `other`: not as a catch-up closed it, nor by a trim of what is not here at all.
    fn is_ahead(&self, block: u16, other: &Map) -> bool {
        let (here, there) = (self.get(block), other.get(block));
        let same = there.trimmed && here == Known::default();
        there.version > here.version && !there.version.is_last() && !same
    }

    /// The highest version up to `most` among blocks that are higher in `other` and no orphans: what its writer has
    /// on its way here, or has given up and not said so yet.
    pub fn ahead_in(&self, other: &Map, limits: (VolumeEpoch, Version), most: Version) -> Option<Version> {
        let ahead = |block: &u16| self.is_ahead(*block, other) && !self.is_orphan(*block, other, limits);
        let blocks = 0..u16::try_from(BLOCKS_PER_CHUNK).expect("1024");
        let versions = blocks.filter(ahead).map(|block| other.get(block).version);
        versions.filter(|version| *version <= most).max()
    }

    /// Runs of data, of at most `max` blocks.
    pub fn data(&self, max: u16) -> Vec<Run> {
        self.runs(max, |block| self.get(block).version > Version::ZERO && !self.get(block).trimmed)
    }

    fn runs(&self, max: u16, wanted: impl Fn(u16) -> bool) -> Vec<Run> {
        let mut runs: Vec<Run> = Vec::new();
        for (block, &known) in (0u16..).zip(&self.0) {
            if !wanted(block) {
                continue;
            }
            match runs.last_mut() {
                Some(last)
                    if last.first + last.count == block
                        && last.known.trimmed == known.trimmed
                        && (known.trimmed && last.known.version == known.version
                            || !known.trimmed && last.count < max) =>
                {
                    last.count += 1;
                    last.known.version = last.known.version.max(known.version);
                }
                _ => runs.push(Run { first: block, count: 1, known }),
            }
        }
        runs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ChunkIndex;

    fn map(entries: &[(u16, u16, u64, ListKind)]) -> Map {
        let entry = |&(first, count, version, kind)| {
            let version = Version(version);
            ListEntry { chunk: ChunkIndex(0), first, count, version, kind }
        };
        Map::of(&entries.iter().map(entry).collect::<Vec<_>>())
    }

    fn run(first: u16, count: u16, version: u64, trimmed: bool) -> Run {
        Run { first, count, known: Known { version: Version(version), trimmed } }
    }

    #[test]
    fn only_what_is_newer_is_copied() {
        use ListKind::{Data, Trimmed};
        let source = map(&[
            (0, 4, 5, Data),
            (4, 2, 7, Data),
            (6, 2, 8, Trimmed),
            (8, 1, 9, Trimmed),
            (1020, 4, 3, Data),
        ]);
        let target = map(&[
            (0, 1, 5, Data),
            (1, 1, 6, Data),
            (6, 1, 9, Data),
            (100, 3, 2, Data),
            (1023, 1, 3, Trimmed),
        ]);
        let expected = [
            run(2, 3, 7, false),
            run(5, 1, 7, false),
            run(7, 1, 8, true),
            run(8, 1, 9, true),
            run(1020, 3, 3, false),
        ];
        assert_eq!(source.newer_than(&target, 3), expected);
        assert_eq!(source.newer_than(&source, 3), []);
        assert_eq!(map(&[]).newer_than(&source, 64), [], "nothing is dropped because another lacks it");
        assert_eq!(target.data(64), [run(0, 2, 6, false), run(6, 1, 9, false), run(100, 3, 2, false)]);
    }
}
