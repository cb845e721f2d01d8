//! Doors for the fuzz targets in `fuzz/`: each gives what may hold anything to the code that reads it, and
//! fails (by a panic) only where that code is wrong. Not for use.

use crate::error::MetaError;
use crate::raft::hard_state::HardState;
use crate::raft::record::{self, Marks};
use crate::raft::segment::{self, Place};
use crate::raft::snapshot::SnapshotFile;
use std::path::Path;

/// Reads bytes as a record of the log, in a segment of this salt. True if they are one.
pub fn log_record(bytes: &[u8], salt: u64) -> bool {
    let Some(entry) = record::decode(bytes, salt) else { return false };
    let mut again = Vec::new();
    record::encode(&entry, Marks::default(), salt, &mut again).expect("what was read can be written");
    let read = record::decode(&again, salt).expect("what was written can be read");
    assert_eq!(format!("{entry:?}"), format!("{read:?}"), "a record changes when it is written again");
    true
}

/// Reads a file as a segment of the log, in the middle or at the end.
pub fn log_segment(path: &Path, first_index: u64) -> Result<u64, MetaError> {
    segment::check_format(path)?;
    let last = segment::scan(path, first_index, Place::Last);
    let middle = segment::scan(path, first_index, Place::Middle);
    if let (Ok(Some(middle)), Ok(last)) = (&middle, &last) {
        let last = last.as_ref().expect("what is whole in the middle is whole at the end");
        assert_eq!(middle.index.next_index(), last.index.next_index());
    }
    Ok(last?.map_or(0, |scan| scan.index.offsets.len() as u64))
}

/// Reads a file as a snapshot, to its end: how many pairs it holds.
pub fn snapshot(path: &Path) -> Result<u64, MetaError> {
    SnapshotFile::open(path)?.try_fold(0, |pairs, block| Ok(pairs + block?.len() as u64))
}

/// Reads a file as the vote.
pub fn hard_state(path: &Path) -> Result<(), MetaError> {
    HardState::open(path.to_owned()).map(|_| ())
}
