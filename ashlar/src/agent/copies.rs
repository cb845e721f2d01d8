//! How far the copies of images into and out of volumes are.

use crate::api::CopyView;
use crate::fleet::CopyReport;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Copies that run, by volume: each volume has one at most, since a copy has the volume to itself.
#[derive(Debug, Clone, Default)]
pub struct Copies(Arc<Mutex<BTreeMap<String, CopyView>>>);

/// One of them; dropping it ends it.
#[derive(Debug)]
pub struct Copying {
    copies: Copies,
    volume: String,
}

impl Copies {
    /// A copy of so many bytes begins.
    pub fn begin(&self, volume: &str, total_bytes: u64) -> Copying {
        self.lock().insert(volume.to_owned(), CopyView { done_bytes: 0, total_bytes });
        Copying { copies: self.clone(), volume: volume.to_owned() }
    }

    pub fn report(&self) -> Vec<CopyReport> {
        let copies = self.lock();
        copies.iter().map(|(volume, far)| CopyReport { volume: volume.clone(), far: far.clone() }).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, CopyView>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Copying {
    /// So many bytes more, zeros too, are where they belong.
    pub fn done(&self, bytes: u64) {
        if let Some(far) = self.copies.lock().get_mut(&self.volume) {
            far.done_bytes += bytes;
        }
    }
}

impl Drop for Copying {
    fn drop(&mut self) {
        self.copies.lock().remove(&self.volume);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_told_of_while_they_run() {
        let copies = Copies::default();
        let copying = copies.begin("v", 100);
        let other = copies.begin("w", 7);
        copying.done(30);
        copying.done(20);
        let far = |volume: &str| {
            copies.report().into_iter().find(|copy| copy.volume == volume).map(|copy| copy.far)
        };
        assert_eq!(far("v"), Some(CopyView { done_bytes: 50, total_bytes: 100 }));
        assert_eq!(far("w"), Some(CopyView { done_bytes: 0, total_bytes: 7 }));
        drop(copying);
        assert_eq!(far("v"), None);
        drop(other);
        assert!(copies.report().is_empty());
    }
}
