//! Where a volume's chunks live, in the core's own numbers.

use super::types::Peer;
use super::write::slots;
use crate::{ClientError, ErrorKind};
use proto::control::{Copied, DiskPlace, Group, Lease, MemberState, PoolMap};
use proto::limits::MAX_GROUPS;
use proto::placement::group_of;
use proto::{ChunkId, ChunkIndex, DiskId, GroupEpoch, Version, VolumeId};
use std::collections::HashMap;

/// Members of one group that a writer can have: three, their replacements, and room for what a map may
/// say at worst. Pieces keep their members as bits of a byte.
pub(super) const SEATS: usize = 8;

/// A member of a group that is not out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seat {
    pub peer: Peer,
    pub in_sync: bool,
    /// The peer's life when it took the seat. A peer that failed since is to leave it before anything of
    /// the group is acked: see `PeerState::life`.
    pub life: u32,
    pub doubt: Option<Doubt>,
    /// What its copy was made from when it last came into sync, if that was by a catch-up.
    copied: Option<Copied>,
}

impl Seat {
    fn new(peer: Peer, in_sync: bool, life: u32) -> Self {
        Self { peer, in_sync, life, doubt: None, copied: None }
    }
}

/// A member came into sync when versions were acked and not all flushed, by a copy of another that had restarted:
/// that one may have lost some of them. Until it is known to have kept them, or they are flushed, the copy is not
/// counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Doubt {
    /// `None` for a disk that this writer never knew as a member.
    pub source: Option<Peer>,
    pub incarnation: u64,
    /// The highest version that was acked in the group.
    pub until: Version,
}

/// The members of one group. A member's place here is its *slot*, a bit in the masks of pieces; it keeps the
/// slot for as long as it stays in the group.
#[derive(Debug, Clone, Copy)]
pub(super) struct GroupPeers {
    seats: [Option<Seat>; SEATS],
    pub epoch: GroupEpoch,
    /// The highest version that was acked here.
    pub acked: Version,
}

/// What a new map changed in one group, as masks of slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    pub group: u32,
    /// Their former members are gone, or have to begin anew.
    pub left: u8,
    /// Their members are new, and need what is in flight. A group whose members only came into sync is named too.
    pub came: u8,
    /// Their members stay as they are and may have been out in between, by maps that were not seen. Whoever
    /// leaves a group may be cleared of it, and then lacks what it had acked: they need what is in flight again.
    pub again: u8,
}

impl GroupPeers {
    fn empty() -> Self {
        Self { seats: [None; SEATS], epoch: GroupEpoch(0), acked: Version::ZERO }
    }

    pub fn seats(&self) -> impl Iterator<Item = (u8, Seat)> + '_ {
        (0u8..).zip(&self.seats).filter_map(|(slot, seat)| seat.map(|seat| (slot, seat)))
    }

    pub fn seat(&self, slot: u8) -> Option<Seat> {
        self.seats[usize::from(slot)]
    }

    /// A mask with every member's bit.
    pub fn all(&self) -> u8 {
        mask_of(self.seats())
    }

    pub fn in_sync(&self) -> impl Iterator<Item = (u8, Seat)> + '_ {
        self.seats().filter(|(_, seat)| seat.in_sync)
    }

    pub fn in_sync_count(&self) -> u32 {
        self.in_sync().map(|_| 1).sum()
    }

    pub fn slot_of(&self, peer: Peer) -> Option<u8> {
        self.seats().find(|(_, seat)| seat.peer == peer).map(|(slot, _)| slot)
    }

    /// Lets every member begin a new life in its seat.
    pub fn trust(&mut self, life: impl Fn(Peer) -> u32) {
        for seat in self.seats.iter_mut().flatten() {
            seat.life = life(seat.peer);
            seat.doubt = None;
        }
    }

    /// Members that could have left and come back to what they are in so many changes of the group.
    fn may_have_been_out(&self, changes: u32) -> u8 {
        // Out and catching up again takes two; to be in sync again, one more.
        let could = |seat: &Seat| changes >= if seat.in_sync { 3 } else { 2 };
        mask_of(self.seats().filter(|(_, seat)| could(seat)))
    }

    /// Lets one member begin a new life in its seat.
    pub fn trust_one(&mut self, slot: u8, life: u32) {
        if let Some(seat) = &mut self.seats[usize::from(slot)] {
            seat.life = life;
        }
    }

    /// Whether that ended a doubt.
    fn end_doubts(&mut self, ends: impl Fn(&Doubt) -> bool) -> bool {
        let seats = self.seats.iter_mut().flatten();
        seats.fold(false, |ended, seat| seat.doubt.take_if(|doubt| ends(doubt)).is_some() | ended)
    }

    /// Takes the members that a map names, as (peer, in sync). Gives the slots of those that left, of those that
    /// came, and of those that came into sync.
    fn take(&mut self, members: &[(Peer, bool)], life: impl Fn(Peer) -> u32) -> (u8, u8, u8) {
        let (mut left, mut came, mut joined) = (0, 0, 0);
        for (slot, seat) in self.seats.iter_mut().enumerate() {
            let Some(now) = seat else { continue };
            match members.iter().find(|(peer, _)| *peer == now.peer) {
                // From in sync to catching up: it was out in between.
                Some((_, false)) if now.in_sync => {
                    *now = Seat::new(now.peer, false, life(now.peer));
                    left |= 1 << slot;
                    came |= 1 << slot;
                }
                Some((_, in_sync)) => {
                    joined |= u8::from(*in_sync && !now.in_sync) << slot;
                    now.in_sync = *in_sync;
                }
                None => {
                    *seat = None;
                    left |= 1 << slot;
                }
            }
        }
        for &(peer, in_sync) in members {
            if self.slot_of(peer).is_none()
                && let Some(slot) = self.seats.iter().position(Option::is_none)
            {
                self.seats[slot] = Some(Seat::new(peer, in_sync, life(peer)));
                came |= 1 << slot;
                joined |= u8::from(in_sync) << slot;
            }
        }
        (left, came, joined)
    }

    /// What is to be doubted of a member's copy: a copy of it is as doubtful.
    fn doubt_of(&self, peer: Peer) -> Option<Doubt> {
        self.seat(self.slot_of(peer)?)?.doubt
    }

    pub fn doubts(&self) -> impl Iterator<Item = (Peer, Doubt)> + '_ {
        self.in_sync().filter_map(|(_, seat)| Some((seat.peer, seat.doubt?)))
    }
}

/// A volume's groups and the disks in them.
#[derive(Debug)]
pub(super) struct Map {
    volume: VolumeId,
    /// Turns with each writer, so that over a volume's lives every copy gets read.
    turn: u32,
    pub version: u64,
    pub min_in_sync: u32,
    pub groups: Vec<GroupPeers>,
    /// By [`Peer`]: every disk that was ever in a group, where it was last said to be.
    pub places: Vec<DiskPlace>,
    numbers: HashMap<DiskId, Peer>,
    /// By [`Peer`]: whether it is in some group but not in sync there, so that the volume's horizons are
    /// not true of it.
    pub behind: Vec<bool>,
    /// Every member of every group is in sync.
    pub whole: bool,
    /// Some group has fewer in-sync members than writes need.
    pub short: bool,
    /// Some member's copy is in doubt: see [`Seat::doubt`].
    pub doubtful: bool,
}

impl Map {
    /// Checks the lease's map and numbers its disks. A group without an in-sync member makes the volume
    /// unavailable.
    pub fn of(lease: &Lease) -> Result<Self, ClientError> {
        let mut map = Self {
            volume: lease.volume,
            turn: lease.epoch.0,
            version: 0,
            min_in_sync: 1,
            groups: vec![GroupPeers::empty(); lease.map.groups.len()],
            places: Vec::new(),
            numbers: HashMap::new(),
            behind: Vec::new(),
            whole: false,
            short: false,
            doubtful: false,
        };
        map.take(&lease.map, |_| 0, |_, _, _| None)?;
        Ok(map)
    }

    /// Takes a newer map in; nothing has changed if that fails. New disks get the next numbers; seats that
    /// are taken get the present life of their peers. `doubt` says what is to be doubted of a copy, by its source,
    /// that one's incarnation, and the highest version acked in the group.
    pub fn take(
        &mut self,
        map: &PoolMap,
        life: impl Fn(Peer) -> u32,
        doubt: impl Fn(Option<Peer>, u64, Version) -> Option<Doubt>,
    ) -> Result<Vec<Change>, ClientError> {
        check(map, self.groups.len())?;
        for place in &map.disks {
            if let Some(peer) = self.numbers.get(&place.disk) {
                self.places[usize::from(peer.0)] = place.clone();
            }
        }
        let mut changes = Vec::new();
        self.behind.fill(false);
        (self.whole, self.short) = (true, false);
        self.min_in_sync = map.min_in_sync.max(1);
        for (number, group) in (0u32..).zip(&map.groups) {
            let mut members = Vec::with_capacity(group.members.len());
            for member in &group.members {
                self.whole &= member.state == MemberState::InSync;
                if let Some(peer) = self.number(map, member.disk, member.state != MemberState::Out) {
                    self.behind[usize::from(peer.0)] |= member.state != MemberState::InSync;
                    if member.state != MemberState::Out {
                        members.push((peer, member.state == MemberState::InSync));
                    }
                }
            }
            let seats = &mut self.groups[number as usize];
            let unseen = seats.epoch;
            let (left, came, joined) = seats.take(&members, &life);
            let again = seats.may_have_been_out(group.epoch.0.saturating_sub(unseen.0)) & !(left | came);
            seats.epoch = group.epoch;
            let rejoined = again & mask_of(seats.in_sync());
            self.judge(map, number, (joined, rejoined), &doubt);
            self.short |= self.groups[number as usize].in_sync_count() < self.min_in_sync;
            if left | came | joined | again != 0 {
                changes.push(Change { group: number, left, came, again });
            }
        }
        self.version = map.version;
        Ok(changes)
    }

    /// The number of a disk; one that has none gets one if it is wanted.
    fn number(&mut self, map: &PoolMap, disk: DiskId, wanted: bool) -> Option<Peer> {
        if let Some(&peer) = self.numbers.get(&disk) {
            return Some(peer);
        }
        let place = map.place(disk).filter(|_| wanted)?;
        let peer = Peer(u16::try_from(self.places.len()).ok()?);
        self.numbers.insert(disk, peer);
        self.places.push(place.clone());
        self.behind.push(false);
        Some(peer)
    }

    /// Notes what is to be doubted of the members of a group that joined, and of those that may have done so again:
    /// if they did, their copies are of something else.
    fn judge(
        &mut self,
        map: &PoolMap,
        number: u32,
        (joined, rejoined): (u8, u8),
        doubt: impl Fn(Option<Peer>, u64, Version) -> Option<Doubt>,
    ) {
        let group = &mut self.groups[number as usize];
        let copied_of = |seat: Seat| {
            let disk = self.places[usize::from(seat.peer.0)].disk;
            map.copies.iter().find(|copy| copy.group.0 == number && copy.disk == disk).copied()
        };
        let again = slots(rejoined)
            .filter(|&slot| group.seat(slot).is_some_and(|seat| seat.copied != copied_of(seat)));
        let joined = again.fold(joined, |mask, slot| mask | 1 << slot);
        // As often as there may be copies of copies among them.
        for slot in slots(joined).flat_map(|_| slots(joined)) {
            let Some(seat) = group.seat(slot) else { continue };
            let copied = copied_of(seat);
            let doubted = copied.and_then(|copied| {
                let source = self.numbers.get(&copied.source).copied();
                source
                    .and_then(|peer| group.doubt_of(peer))
                    .or_else(|| doubt(source, copied.incarnation, group.acked))
            });
            if let Some(seat) = &mut group.seats[usize::from(slot)] {
                (seat.doubt, seat.copied) = (doubted, copied);
            }
        }
        self.doubtful |= group.doubts().next().is_some();
    }

    /// Ends the doubts that `ends` says. Whether there were any.
    pub fn end_doubts(&mut self, ends: impl Fn(&Doubt) -> bool) -> bool {
        if !self.doubtful {
            return false;
        }
        let ended = self.groups.iter_mut().fold(false, |ended, group| group.end_doubts(&ends) | ended);
        self.doubtful = self.groups.iter().any(|group| group.doubts().next().is_some());
        ended
    }

    /// By [`Peer`]: whether it is in sync in some group.
    pub fn in_sync_peers(&self) -> Vec<bool> {
        let mut peers = vec![false; self.places.len()];
        for (_, seat) in self.groups.iter().flat_map(GroupPeers::in_sync) {
            peers[usize::from(seat.peer.0)] = true;
        }
        peers
    }

    /// The number of a chunk's group, an index into `groups`.
    pub fn group_index(&self, chunk: ChunkIndex) -> u32 {
        let groups = u32::try_from(self.groups.len()).expect("checked against MAX_GROUPS");
        group_of(ChunkId { volume: self.volume, index: chunk }, groups).0
    }

    pub fn group(&self, index: u32) -> &GroupPeers {
        &self.groups[index as usize]
    }

    /// The slots that a chunk's reads try, in turn. The first is fixed by the chunk while the members stay,
    /// so that its member's caches are warm, and spread over members by hash. The next writer reads from the
    /// next member: a copy that went bad is then found while the others are good, even where nothing scrubs.
    pub fn read_order(&self, chunk: ChunkIndex, group: u32) -> ([u8; SEATS], u8) {
        let (mut order, mut len) = ([0; SEATS], 0u8);
        for (slot, _) in self.group(group).in_sync() {
            order[usize::from(len)] = slot;
            len += 1;
        }
        if len > 0 {
            let spread = (chunk.0.wrapping_mul(0x9e37_79b9) >> 16).wrapping_add(self.turn) % u32::from(len);
            order[..usize::from(len)].rotate_left(spread as usize);
        }
        (order, len)
    }
}

/// A mask with these members' bits.
fn mask_of(seats: impl Iterator<Item = (u8, Seat)>) -> u8 {
    seats.fold(0, |mask, (slot, _)| mask | 1 << slot)
}

/// Whether a map can be served with: it comes from outside.
fn check(map: &PoolMap, groups: usize) -> Result<(), ClientError> {
    let invalid = |why: String| Err(ClientError::new(ErrorKind::Invalid, why));
    if map.groups.is_empty() || map.groups.len() > MAX_GROUPS as usize || map.groups.len() != groups {
        let found = map.groups.len();
        return invalid(format!("the pool's map has {found} groups, not 1 to {MAX_GROUPS} as it had before"));
    }
    if map.disks.len() > usize::from(u16::MAX) {
        return invalid("the pool has more disks than a writer can number".into());
    }
    for group in &map.groups {
        check_group(map, group)?;
    }
    Ok(())
}

fn check_group(map: &PoolMap, group: &Group) -> Result<(), ClientError> {
    let inside = || group.members.iter().filter(|member| member.state != MemberState::Out);
    if inside().count() > SEATS {
        let why = format!("group {} has more than {SEATS} members", group.id);
        return Err(ClientError::new(ErrorKind::Invalid, why));
    }
    if let Some(member) = inside().find(|member| map.place(member.disk).is_none()) {
        let why = format!("the map names disk {} in group {} but no place", member.disk, group.id);
        return Err(ClientError::new(ErrorKind::Invalid, why));
    }
    if !inside().any(|member| member.state == MemberState::InSync) {
        let why = format!("group {} has no in-sync member: bring its disks back", group.id);
        return Err(ClientError::new(ErrorKind::Unavailable, why));
    }
    Ok(())
}
