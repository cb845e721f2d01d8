//! Which pool keys there are, and how much each of them opens: a key that opens nothing any more may be forgotten by
//! the gateways, and one that they lack is missed before anything is put.

use super::txn::{Txn, load};
use super::{Outcome, keys, stored, versions};
use crate::error::{ErrorKind, Refusal};
use crate::limits::{MAX_PARTS, MAX_POOL_KEYS, MAX_SEALED_BYTES};
use crate::object::VersionRef;
use crate::sealing::{PoolKeyId, PoolKeyRecord, SealedBy, Sealing};
use crate::state::pool;

pub fn note(txn: &mut Txn<'_>, id: PoolKeyId, first: bool, now_ms: u64) -> Outcome<()> {
    let known: Vec<PoolKeyRecord> = pool::all(txn, keys::pool_keys())?;
    if known.iter().any(|record| record.id == id) {
        return Ok(());
    }
    if first && !known.is_empty() {
        let message = "the pool has a key already, which another gateway made";
        return Err(Refusal::new(ErrorKind::PreconditionFailed, message).into());
    }
    if known.len() >= MAX_POOL_KEYS {
        return Err(Refusal::invalid(format!("a pool has {MAX_POOL_KEYS} keys at most")).into());
    }
    Ok(txn.put(keys::pool_key(id), &PoolKeyRecord { id, noted_ms: now_ms, uses: 0 })?)
}

/// Whether one more is sealed, or one less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    Begins,
    Ends,
}

/// Counts what a pool key opens. Nothing is sealed with a key that nobody told of.
pub fn count(txn: &mut Txn<'_>, sealing: Option<&Sealing>, change: Use) -> Outcome<()> {
    let Some(Sealing { by: SealedBy::Pool(id), .. }) = sealing else { return Ok(()) };
    let known: Option<PoolKeyRecord> = load(txn, &keys::pool_key(*id))?;
    let record = match (known, change) {
        (Some(known), Use::Begins) => PoolKeyRecord { uses: known.uses.saturating_add(1), ..known },
        (Some(known), Use::Ends) => PoolKeyRecord { uses: known.uses.saturating_sub(1), ..known },
        (None, Use::Begins) => {
            let message = format!("the control plane was not told of the pool key {id}");
            return Err(Refusal::invalid(message).into());
        }
        // Keys that were told of stay, so this is none that ever counted.
        (None, Use::Ends) => return Ok(()),
    };
    Ok(txn.put(keys::pool_key(*id), &record)?)
}

/// What is said of how an object is encrypted has a bound, as all that is kept.
pub fn check(sealing: &Sealing) -> Result<(), Refusal> {
    let fits = (1..=MAX_SEALED_BYTES).contains(&sealing.wrapped.len());
    if fits && sealing.salts.len() <= usize::from(MAX_PARTS) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("an object's sealed key is 1 to {MAX_SEALED_BYTES} bytes")))
}

/// Puts an object's key, encrypted anew, in the place of what it was.
pub fn rewrap(
    txn: &mut Txn<'_>,
    bucket_name: &str,
    (key, version): (&str, Option<VersionRef>),
    before: &[u8],
    (by, wrapped): (PoolKeyId, Vec<u8>),
) -> Outcome<()> {
    let bucket = super::objects::bucket(txn, bucket_name)?;
    let found = stored::find(txn, bucket.id, key, version)?;
    let mut stored = found.ok_or_else(|| versions::missing(version))?;
    let Some(sealing) = stored.sealing.clone().filter(|sealing| sealing.wrapped == before) else {
        let message = "the object is another, or its key was encrypted anew meanwhile";
        return Err(Refusal::new(ErrorKind::PreconditionFailed, message).into());
    };
    let renewed = Sealing { by: SealedBy::Pool(by), wrapped, salts: sealing.salts.clone() };
    check(&renewed)?;
    count(txn, Some(&sealing), Use::Ends)?;
    count(txn, Some(&renewed), Use::Begins)?;
    stored.sealing = Some(renewed);
    stored::put(txn, bucket.id, key, &stored)
}

#[cfg(test)]
#[path = "sealing_test.rs"]
mod tests;
