//! Memory for the index's slots.
//!
//! Random writes go all over it, so what a lookup costs is misses: of the caches, and of the TLB. Pages lie
//! in a few large pieces that ask the kernel for huge pages, found by number; as boxes of their own they
//! cost a quarter of a chunk server's time at 4 GiB.

use super::limits::{SLAB_FIRST_PAGES, SLAB_PIECE_PAGES};
use super::packed::PackedSlot;

/// Slots in a page.
pub(super) const PAGE_BLOCKS: usize = 32;

pub(super) type Page = [PackedSlot; PAGE_BLOCKS];

/// Which page of the slab.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageId(u32);

impl PageId {
    /// No page: all of its slots are holes.
    pub const NONE: Self = Self(u32::MAX);
}

#[derive(Debug, Default)]
pub(super) struct Slab {
    /// The first one is small: a disk that holds little has a small index.
    pieces: Vec<Vec<Page>>,
    free: Vec<PageId>,
    /// Pages that were ever taken.
    taken: usize,
}

/// Piece, and place in it.
fn place(id: PageId) -> (usize, usize) {
    let at = id.0 as usize;
    match at.checked_sub(SLAB_FIRST_PAGES) {
        None => (0, at),
        Some(rest) => (1 + rest / SLAB_PIECE_PAGES, rest % SLAB_PIECE_PAGES),
    }
}

impl Slab {
    pub fn get(&self, id: PageId) -> Option<&Page> {
        let (piece, at) = place(id);
        self.pieces.get(piece)?.get(at)
    }

    pub fn get_mut(&mut self, id: PageId) -> Option<&mut Page> {
        let (piece, at) = place(id);
        self.pieces.get_mut(piece)?.get_mut(at)
    }

    /// The page, which becomes one of holes if there was none.
    pub fn get_or_take(&mut self, id: &mut PageId) -> &mut Page {
        if *id == PageId::NONE {
            *id = self.take();
        }
        self.get_mut(*id).expect("a page that is held has its place")
    }

    fn take(&mut self) -> PageId {
        let holes = [PackedSlot::default(); PAGE_BLOCKS];
        if let Some(id) = self.free.pop() {
            *self.get_mut(id).expect("a free page has its place") = holes;
            return id;
        }
        let id = PageId(
            u32::try_from(self.taken).ok().filter(|&id| id < u32::MAX).expect("disks end below 2 PiB"),
        );
        let (piece, _) = place(id);
        if piece == self.pieces.len() {
            self.pieces.push(new_piece(piece));
        }
        self.pieces[piece].push(holes);
        self.taken += 1;
        id
    }

    /// The page's slots are holes from now on, and its memory is used again.
    pub fn give_back(&mut self, id: &mut PageId) {
        if *id != PageId::NONE {
            self.free.push(std::mem::replace(id, PageId::NONE));
        }
    }

    /// Memory in use, in bytes; free pages count, since they are never given back to the system.
    pub fn bytes(&self) -> u64 {
        (self.taken * size_of::<Page>() + self.free.len() * size_of::<PageId>()) as u64
    }
}

fn new_piece(piece: usize) -> Vec<Page> {
    if piece == 0 {
        return Vec::with_capacity(SLAB_FIRST_PAGES);
    }
    let mut pages = Vec::with_capacity(SLAB_PIECE_PAGES);
    rt::memory::prefer_huge_pages(pages.spare_capacity_mut());
    pages
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::packed::Uppers;
    use proto::disk::Slot;

    #[test]
    fn pages_keep_what_they_were_given_and_come_back_as_holes() {
        let mut slab = Slab::default();
        let count = SLAB_FIRST_PAGES + SLAB_PIECE_PAGES + 3;
        let mut uppers = Uppers::default();
        let mut slot =
            |n: usize| uppers.take_in(Slot { location: u32::try_from(n).unwrap(), ..Slot::default() });
        let mut ids = vec![PageId::NONE; count];
        for (n, id) in ids.iter_mut().enumerate() {
            slab.get_or_take(id)[n % PAGE_BLOCKS] = slot(n);
        }
        for (n, id) in ids.iter_mut().enumerate() {
            assert_eq!(slab.get(*id).unwrap()[n % PAGE_BLOCKS], slot(n));
            assert_eq!(slab.get_or_take(id)[n % PAGE_BLOCKS], slot(n), "a page is taken once");
        }
        let bytes = slab.bytes();
        let gone = ids[SLAB_FIRST_PAGES];
        slab.give_back(&mut ids[SLAB_FIRST_PAGES]);
        assert!(slab.get(ids[SLAB_FIRST_PAGES]).is_none());
        let mut again = PageId::NONE;
        assert_eq!(*slab.get_or_take(&mut again), [PackedSlot::default(); PAGE_BLOCKS]);
        assert_eq!((again, slab.bytes()), (gone, bytes));
    }
}
