//! Extents that a download is reading, which the garbage worker must leave alone until it ends.

use meta::object::Extent;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

/// All pinned extents of one log, by start: end and how many readers. Extents of different objects never
/// overlap.
#[derive(Debug, Default)]
pub struct Pins(Mutex<BTreeMap<u64, (u64, u32)>>);

impl Pins {
    /// Pins `extents` until the guard is dropped.
    pub fn pin(self: &Arc<Self>, extents: &[Extent]) -> Pinned {
        let ranges: Vec<Range<u64>> =
            extents.iter().map(|extent| extent.offset..extent.offset.saturating_add(extent.len)).collect();
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for range in &ranges {
            let pin = pins.entry(range.start).or_insert((range.end, 0));
            pin.0 = pin.0.max(range.end);
            pin.1 += 1;
        }
        Pinned { pins: Arc::clone(self), ranges }
    }

    /// The pinned ranges that overlap `range`, in order.
    pub fn within(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = pins.range(..range.start).next_back();
        let inside = pins.range(range.clone());
        before
            .into_iter()
            .chain(inside)
            .map(|(&start, &(end, _))| start..end)
            .filter(|pin| pin.end > range.start)
            .collect()
    }

    /// Whether anybody reads any of `range`.
    pub fn is_pinned(&self, range: Range<u64>) -> bool {
        !self.within(range).is_empty()
    }

    fn unpin(&self, ranges: &[Range<u64>]) {
        let mut pins = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for range in ranges {
            if let Some(pin) = pins.get_mut(&range.start) {
                pin.1 -= 1;
                if pin.1 == 0 {
                    pins.remove(&range.start);
                }
            }
        }
    }
}

/// Keeps the extents of one download.
#[derive(Debug)]
pub struct Pinned {
    pins: Arc<Pins>,
    ranges: Vec<Range<u64>>,
}

impl Drop for Pinned {
    fn drop(&mut self) {
        self.pins.unpin(&self.ranges);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::VolumeId;

    #[test]
    fn pins_count_and_overlap() {
        let pins = Arc::new(Pins::default());
        let extent = |offset, len| Extent { volume: VolumeId(1), offset, len };
        let first = pins.pin(&[extent(100, 50), extent(300, 10)]);
        let second = pins.pin(&[extent(100, 50)]);
        assert_eq!(pins.within(0..1000), [100..150, 300..310]);
        drop(first);
        let cases = [(0..100, false), (0..101, true), (149..150, true), (150..400, false), (120..130, true)];
        for (range, pinned) in cases {
            assert_eq!(pins.is_pinned(range.clone()), pinned, "{range:?}");
        }
        drop(second);
        assert!(!pins.is_pinned(0..u64::MAX));
    }
}
