//! Which disks hold which group while the pool is still empty: as far apart as the machines allow, each disk
//! with its share. Once there is a volume, the planner moves members one by one instead.

use crate::record::DiskRecord;
use proto::ids::DiskId;
use proto::limits::REPLICAS;
use std::cmp::Ordering;
use std::collections::BTreeSet;

/// The members of each of `groups` groups, in order; `disks` are at least [`REPLICAS`].
///
/// The order of equals turns from group to group, so that whoever prefers a group's first member spreads over
/// the disks.
pub fn lay_out(disks: &[DiskRecord], groups: u32) -> Vec<Vec<DiskId>> {
    let mut places = vec![0u64; disks.len()];
    let mut all = Vec::new();
    for group in 0..groups as usize {
        let mut chosen: Vec<usize> = Vec::new();
        while chosen.len() < REPLICAS.min(disks.len()) {
            let free = (0..disks.len()).map(|turn| (turn + group) % disks.len());
            let free = free.filter(|disk| !chosen.contains(disk));
            let Some(best) = free.reduce(|best, other| match prefer(disks, &places, &chosen, best, other) {
                Ordering::Less => other,
                Ordering::Equal | Ordering::Greater => best,
            }) else {
                break;
            };
            places[best] += 1;
            chosen.push(best);
        }
        all.push(chosen.into_iter().map(|disk| disks[disk].id).collect());
    }
    all
}

/// `Greater` if `a` is the better next member beside those chosen.
fn prefer(disks: &[DiskRecord], places: &[u64], chosen: &[usize], a: usize, b: usize) -> Ordering {
    let spread = |disk: usize| {
        let members = || chosen.iter().chain([&disk]).map(|disk| &disks[*disk]);
        let zones: BTreeSet<_> = members().map(|disk| disk.zone.as_str()).collect();
        let nodes: BTreeSet<_> = members().map(|disk| disk.node).collect();
        (zones.len(), nodes.len())
    };
    // Fewer places for its capacity is better; the products are compared, as nothing is lost in them.
    let load = |disk: usize, other: usize| {
        u128::from(places[disk] + 1) * u128::from(disks[other].capacity_bytes.max(1))
    };
    spread(a).cmp(&spread(b)).then_with(|| load(b, a).cmp(&load(a, b)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::ids::NodeId;
    use std::collections::BTreeMap;

    fn disk((number, node, zone, tib): (u8, u64, &str, u64)) -> DiskRecord {
        let addr = "127.0.0.1:1".parse().unwrap();
        DiskRecord::new(DiskId([number; 16]), NodeId(node), addr, zone.into(), tib << 40)
    }

    fn counts(layout: &[Vec<DiskId>]) -> BTreeMap<u8, usize> {
        let mut counts = BTreeMap::new();
        for disk in layout.iter().flatten() {
            *counts.entry(disk.0[0]).or_insert(0) += 1;
        }
        counts
    }

    #[test]
    fn three_disks_take_turns() {
        let disks = [(1, 1, "a", 1), (2, 1, "a", 1), (3, 1, "a", 1)].map(disk);
        let layout = lay_out(&disks, 6);
        let first: Vec<_> = layout.iter().map(|group| group[0].0[0]).collect();
        assert_eq!(first, [1, 2, 3, 1, 2, 3]);
        assert!(layout.iter().all(|group| group.iter().collect::<BTreeSet<_>>().len() == 3));
    }

    #[test]
    fn replicas_stand_apart_and_disks_have_their_share() {
        // Two disks each on three nodes, of which the first were registered together.
        let disks =
            [(1, 1, "a", 1), (2, 1, "a", 1), (3, 2, "a", 1), (4, 2, "a", 1), (5, 3, "a", 1), (6, 3, "a", 1)];
        let layout = lay_out(&disks.map(disk), 128);
        for group in &layout {
            let nodes: BTreeSet<_> = group.iter().map(|disk| disk.0[0].div_ceil(2)).collect();
            assert_eq!(nodes.len(), 3);
        }
        assert!(counts(&layout).values().all(|&count| (63..=65).contains(&count)), "{:?}", counts(&layout));
        // With nothing to tell them apart but their size.
        let layout = lay_out(
            &[(1, 1, "a", 2), (2, 1, "a", 1), (3, 1, "a", 1), (4, 1, "a", 1), (5, 1, "a", 1)].map(disk),
            120,
        );
        assert_eq!(counts(&layout), BTreeMap::from([(1, 120), (2, 60), (3, 60), (4, 60), (5, 60)]));
    }
}
