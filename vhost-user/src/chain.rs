//! Walks a descriptor chain with every bound checked (virtio 1.2, 2.7.5). Each descriptor is fetched once.

use crate::limits::MAX_CHAIN_DESCRIPTORS;
use crate::mem::{GuestRam, Segment};
use virtio_bindings::virtio_ring::{VRING_DESC_F_INDIRECT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use vm_memory::GuestAddress;

const DESCRIPTOR_BYTES: u32 = 16;

/// A descriptor table in guest memory.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    pub addr: u64,
    pub entries: u16,
}

/// Who may write a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    ToDevice,
    ToDriver,
}

/// A chain that loops, leaves its table, nests tables, or is longer than 2^32 bytes or than a chain may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokenChain;

/// Shows `visit` every descriptor of the chain that starts at `head`. What it was shown before a chain turns
/// out to be broken is of no use.
pub fn walk(
    ram: &GuestRam,
    table: Table,
    head: u16,
    mut visit: impl FnMut(Segment, Direction),
) -> Result<(), BrokenChain> {
    let (mut table, mut index, mut is_indirect) = (table, head, false);
    let mut total_bytes = 0_u32;
    // A table's entries are visited at most once each, so counting them finds every loop.
    let (mut seen, mut left) = (0, table.entries);
    loop {
        if left == 0 || index >= table.entries {
            return Err(BrokenChain);
        }
        left -= 1;
        let Descriptor { addr, len, flags, next } = fetch(ram, table, index).ok_or(BrokenChain)?;
        if flags & VRING_DESC_F_INDIRECT != 0 {
            let entries = u16::try_from(len / DESCRIPTOR_BYTES).map_err(|_| BrokenChain)?;
            if is_indirect || len % DESCRIPTOR_BYTES != 0 {
                return Err(BrokenChain);
            }
            (table, index, left, is_indirect) = (Table { addr, entries }, 0, entries, true);
            continue;
        }
        seen += 1;
        total_bytes = total_bytes.checked_add(len).ok_or(BrokenChain)?;
        if seen > MAX_CHAIN_DESCRIPTORS {
            return Err(BrokenChain);
        }
        let is_writable = flags & VRING_DESC_F_WRITE != 0;
        let direction = if is_writable { Direction::ToDriver } else { Direction::ToDevice };
        visit(Segment { addr: GuestAddress(addr), len }, direction);
        if flags & VRING_DESC_F_NEXT == 0 {
            return Ok(());
        }
        index = next;
    }
}

struct Descriptor {
    addr: u64,
    len: u32,
    flags: u32,
    next: u16,
}

fn fetch(ram: &GuestRam, table: Table, index: u16) -> Option<Descriptor> {
    let at = table.addr.checked_add(u64::from(index) * u64::from(DESCRIPTOR_BYTES))?;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = ram.read_array(at)?;
    Some(Descriptor {
        addr: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        len: u32::from_le_bytes([i, j, k, l]),
        flags: u32::from(u16::from_le_bytes([m, n])),
        next: u16::from_le_bytes([o, p]),
    })
}
