//! Finds what earlier lives of this gateway wrote and no index entry names - uploads that a crash cut off - and
//! trims it. Runs beside the first requests: it looks only below the sealed mark, where nothing new is written.

use super::log::ObjectLog;
use crate::error::S3Result;
use crate::fault;
use crate::limits::GARBAGE_PAGE;
use meta::object::Extent;
use std::ops::Range;

impl ObjectLog {
    /// Trims every unreferenced range between the swept and the sealed mark.
    pub(super) async fn sweep(&self) -> S3Result<()> {
        let marks = self.meta.log(self.id).await.map_err(fault::meta)?;
        let mut from = marks.swept_bytes;
        let mut trimmed = 0;
        while from < marks.sealed_bytes {
            let limit = u32::try_from(GARBAGE_PAGE).unwrap_or(u32::MAX);
            let query = self.meta.referenced_extents(self.id, from..marks.sealed_bytes, limit);
            let page = query.await.map_err(fault::meta)?;
            let upto = page.next_bytes.unwrap_or(marks.sealed_bytes).min(marks.sealed_bytes).max(from);
            // What is deleted meanwhile and still read is pinned; it is in the garbage queue as well.
            self.settle_lookups().await;
            let pinned = self.pins.within(from..upto);
            for gap in gaps(from..upto, &page.extents, &pinned) {
                trimmed += gap.end - gap.start;
                self.trim(gap).await.map_err(fault::volume)?;
            }
            self.flush().await?;
            self.meta.mark_swept(self.id, upto).await.map_err(fault::meta)?;
            if upto == from {
                break;
            }
            from = upto;
        }
        if trimmed > 0 {
            tracing::info!(volume = %self.id, bytes = trimmed, "space of unfinished uploads was given back");
        }
        Ok(())
    }
}

/// What of `range` is in none of `referenced` and `pinned`. All are in bytes; an extent may reach past `range`.
fn gaps(range: Range<u64>, referenced: &[Extent], pinned: &[Range<u64>]) -> Vec<Range<u64>> {
    let named = referenced.iter().map(|extent| extent.offset..extent.offset.saturating_add(extent.len));
    let mut held: Vec<Range<u64>> = named.chain(pinned.iter().cloned()).collect();
    held.sort_by_key(|range| range.start);
    let mut gaps = Vec::new();
    let mut at = range.start;
    for held in held {
        if held.start > at {
            gaps.push(at..held.start.min(range.end));
        }
        at = at.max(held.end);
        if at >= range.end {
            return gaps;
        }
    }
    gaps.push(at..range.end);
    gaps
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::VolumeId;

    #[test]
    #[expect(clippy::single_range_in_vec_init, reason = "lists of one range are what is tested")]
    #[expect(clippy::type_complexity, reason = "a table's rows")]
    fn gaps_are_what_nobody_holds() {
        let extent = |range: Range<u64>| Extent {
            volume: VolumeId(1),
            offset: range.start,
            len: range.end - range.start,
        };
        let cases: &[(&[Range<u64>], &[Range<u64>], &[Range<u64>])] = &[
            (&[], &[], &[100..200]),
            (&[100..200], &[], &[]),
            (&[110..120, 150..160], &[], &[100..110, 120..150, 160..200]),
            (&[90..110, 190..300], &[], &[110..190]),
            (&[150..160], &[120..155], &[100..120, 160..200]),
            (&[], &[200..300], &[100..200]),
        ];
        for (referenced, pinned, expected) in cases {
            let extents: Vec<Extent> = referenced.iter().cloned().map(extent).collect();
            assert_eq!(&gaps(100..200, &extents, pinned)[..], *expected, "{referenced:?} {pinned:?}");
        }
    }
}
