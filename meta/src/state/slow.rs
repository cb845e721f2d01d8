//! Disks that answer, but so late that everybody waits for them: out of their groups, and kept out for a while.
//!
//! A writer says that a disk is slow, by comparing its members (blockd's `client::core::slow`). It leaves the groups
//! that do without it, and nobody lets it catch up there before its keeper has left it alone for a time that
//! doubles with each strike, or an operator says that it is to be used. Where a group comes to need it, it may
//! come back at once: better slow than not at all.

use super::kv::Read;
use super::membership::{Named, cut, take_out};
use super::pool::map;
use super::txn::{Txn, load};
use super::{Outcome, keys};
use crate::command::Pardon;
use crate::record::{PoolRecord, SlowRecord};
use proto::control::PoolMap;
use proto::ids::DiskId;

pub fn evict(txn: &mut Txn<'_>, disk_id: DiskId, named: &Named, why: &str) -> Outcome<PoolMap> {
    let least = min_in_sync(txn)?;
    if take_out(txn, disk_id, named, (least, why))? {
        let before: Option<SlowRecord> = load(txn, &keys::slow(disk_id))?;
        // Several writers may say it of one bad time.
        let strikes = before.map_or(1, |before| before.strikes + u32::from(!before.held));
        let slow = SlowRecord { disk: disk_id, strikes, held: true, why: cut(why) };
        txn.put(keys::slow(disk_id), &slow)?;
    }
    map(txn)
}

/// Counts only if it is still about the strike that is meant, and nothing is forgotten of one that is kept out.
pub fn pardon(txn: &mut Txn<'_>, disk_id: DiskId, strikes: u32, pardon: Pardon) -> Outcome<()> {
    let slow = load::<SlowRecord>(txn, &keys::slow(disk_id))?.filter(|slow| slow.strikes == strikes);
    match (pardon, slow) {
        (Pardon::TryAgain, Some(slow)) => {
            Ok(txn.put(keys::slow(disk_id), &SlowRecord { held: false, ..slow })?)
        }
        (Pardon::Forget, Some(slow)) if !slow.held => forget(txn, disk_id),
        (Pardon::TryAgain | Pardon::Forget, _) => Ok(()),
    }
}

/// Nobody remembers that it was slow.
pub fn forget(txn: &mut Txn<'_>, disk_id: DiskId) -> Outcome<()> {
    if txn.get(&keys::slow(disk_id))?.is_some() {
        txn.delete(keys::slow(disk_id));
    }
    Ok(())
}

/// How many members in sync a group needs at least, to do without this disk.
pub fn least_without(txn: &Txn<'_>, disk_id: DiskId) -> Outcome<usize> {
    let slow: Option<SlowRecord> = load(txn, &keys::slow(disk_id))?;
    if slow.is_some_and(|slow| slow.held) { min_in_sync(txn) } else { Ok(usize::MAX) }
}

fn min_in_sync(view: &dyn Read) -> Outcome<usize> {
    let pool: Option<PoolRecord> = load(view, &keys::pool())?;
    // Never none: the last member in sync stays.
    Ok(pool.map_or(1, |pool| pool.min_in_sync.max(1) as usize))
}
