use super::*;
use crate::command::Response;
use crate::limits::{FULL_PERCENT, MAX_WATCH_STEP_MS};
use crate::node::{MetaConfig, MetaNode};
use crate::query::{Answer, Query};
use crate::record::{DiskRecord, NodeRecord, PoolRecord};
use crate::state::kv::MemKv;
use crate::state::tests::run as apply;
use proptest::prelude::*;
use proto::control::{Copied, PoolMap};
use rt::clock::{Clock, SystemClock};
use std::sync::Arc;

const TIB: u64 = 1 << 40;

fn disk(number: u8) -> DiskId {
    DiskId([number; 16])
}

/// Where a disk is: its number, node and zone.
type Place = (u8, u64, &'static str);

/// A control plane's state with heartbeats and catch-ups that the test decides.
struct World {
    kv: MemKv,
    watch: Watch,
    now_ms: u64,
    alive: BTreeSet<u8>,
    settings: Settings,
}

impl World {
    fn new(groups: u32, places: &[Place]) -> Self {
        let kv = MemKv::default();
        let pool = PoolRecord { id: "p".into(), created_ms: 1, groups, min_in_sync: 2 };
        apply(&kv, Command::InitPool(pool)).unwrap();
        let mut world = Self {
            kv,
            watch: Watch::default(),
            now_ms: 1000,
            alive: BTreeSet::new(),
            settings: Settings::default(),
        };
        // The groups are laid out over the first three: with a volume, more disks don't change that.
        places[..3].iter().for_each(|place| world.add(*place, TIB));
        let volume = Command::CreateVolume { name: "v".into(), size_bytes: 1 << 20, now_ms: 1 };
        apply(&world.kv, volume).unwrap();
        places[3..].iter().for_each(|place| world.add(*place, TIB));
        world.tick();
        world.tick();
        world
    }

    fn add(&mut self, (number, node, zone): Place, capacity_bytes: u64) {
        let node = NodeRecord { id: NodeId(node), name: format!("n{node}"), zone: zone.into() };
        let addr = "127.0.0.1:1".parse().unwrap();
        let record = DiskRecord::new(disk(number), node.id, addr, zone.into(), capacity_bytes);
        apply(&self.kv, Command::RegisterNode(node)).unwrap();
        apply(&self.kv, Command::RegisterDisk(record)).unwrap();
        self.alive.insert(number);
    }

    fn ask(&self, query: Query) -> Answer {
        crate::state::answer(&self.kv, &query, None).unwrap()
    }

    fn map(&self) -> PoolMap {
        let Answer::Map(map) = self.ask(Query::PoolMap) else { panic!() };
        map
    }

    fn beat(&self) {
        for number in &self.alive {
            let id = disk(*number);
            let (seen_ms, why) = (self.now_ms, String::new());
            apply(&self.kv, Command::DiskSeen { disk: id, seen_ms, healthy: true, used_bytes: 1, why })
                .unwrap();
        }
    }

    /// One look of the planner, after one heartbeat of each disk that is alive.
    fn tick(&mut self) -> Vec<Command> {
        self.now_ms += self.settings.interval_ms;
        self.beat();
        self.look()
    }

    fn look(&mut self) -> Vec<Command> {
        let Answer::Disks(records) = self.ask(Query::Disks) else { panic!() };
        let Answer::Left(left) = self.ask(Query::Left) else { panic!() };
        let Answer::Slow(slow) = self.ask(Query::Slow) else { panic!() };
        self.watch.note_slow(slow.into_iter().filter(|slow| slow.held).map(|slow| slow.disk));
        plan(&self.watch.look(self.now_ms, self.map(), records, left, &self.settings))
    }

    fn make(&self, commands: Vec<Command>) {
        for command in commands {
            let shown = format!("{command:?}");
            let result = apply(&self.kv, command);
            assert!(matches!(result, Ok(Response::Map(_))), "{shown}: {result:?}");
        }
    }

    /// Everybody who catches up and is alive has caught up.
    fn join_all(&self) {
        for group in self.map().groups {
            let coming = group.members.iter().find(|member| member.state == MemberState::CatchingUp);
            if let Some(member) = coming.filter(|member| self.alive.contains(&member.disk.0[0])) {
                let command = Command::Join { disk: member.disk, group: group.id, epoch: group.epoch };
                apply(&self.kv, command).unwrap();
                if let (false, Some(disk)) = (self.settings.leave_a_spare, member.replaces) {
                    apply(
                        &self.kv,
                        Command::GroupsCleared {
                            disk,
                            groups: vec![(group.id, GroupEpoch(group.epoch.0 + 1))],
                        },
                    )
                    .unwrap();
                }
            }
        }
    }

    /// Plans and does until nothing is left to do. How many members moved.
    fn settle(&mut self) -> usize {
        let mut moved = 0;
        let mut quiet = 0;
        for _ in 0..4000 {
            let commands = self.tick();
            quiet = if commands.is_empty() { quiet + 1 } else { 0 };
            if quiet == 5 {
                return moved;
            }
            moved += commands.len();
            self.make(commands);
            self.join_all();
        }
        panic!("the planner finds no end");
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms.div_ceil(self.settings.interval_ms) {
            assert_eq!(self.tick(), []);
        }
    }

    fn counts(&self) -> BTreeMap<u8, usize> {
        let Answer::Membership(rows) = self.ask(Query::Membership) else { panic!() };
        rows.into_iter().map(|row| (row.disk.0[0], row.in_sync as usize)).collect()
    }
}

const THREE: [Place; 3] = [(1, 1, "a"), (2, 2, "b"), (3, 3, "c")];

#[test]
fn a_lost_disk_is_replaced_in_time_and_in_its_zone() {
    let mut world = World::new(64, &[THREE.as_slice(), &[(4, 4, "a"), (5, 5, "c")]].concat());
    // The fresh disks have their share already.
    world.settle();
    let before = world.counts();
    world.alive.remove(&3);
    world.pass(REPLACE_AFTER_MS - 10_000);
    assert_eq!(world.counts(), before, "it may come back");
    world.alive.insert(3);
    world.pass(5000);
    world.alive.remove(&3);
    world.pass(REPLACE_AFTER_MS - 10_000);
    let mut first = Vec::new();
    for _ in 0..4 {
        first = world.tick();
        if !first.is_empty() {
            break;
        }
    }
    assert!(!first.is_empty() && first.len() <= MAX_REPAIRS_IN_FLIGHT);
    world.make(first);
    let busy = world.tick();
    assert!(busy.len() + before[&3].min(MAX_REPAIRS_IN_FLIGHT) <= MAX_REPAIRS_IN_FLIGHT, "bounded: {busy:?}");
    world.make(busy);
    world.join_all();
    world.settle();
    let after = world.counts();
    assert_eq!(after[&3], 0);
    assert_eq!(after[&5], 64, "the only other disk of its zone");
    let apart = |group: &Group| {
        let zones: BTreeSet<_> =
            group.members.iter().map(|member| [0, 0, 1, 2, 0, 2][member.disk.0[0] as usize]).collect();
        zones.len() == 3
    };
    assert!(world.map().groups.iter().all(apart));
}

#[test]
fn groups_whose_writes_wait_are_mended_sooner() {
    let mut world = World::new(8, &[THREE.as_slice(), &[(4, 4, "d"), (5, 5, "e"), (6, 6, "f")]].concat());
    world.settle();
    world.alive.remove(&2);
    world.alive.remove(&3);
    world.pass(URGENT_AFTER_MS - 10_000);
    for _ in 0..12 {
        let commands = world.tick();
        world.make(commands);
        world.join_all();
    }
    for group in world.map().groups {
        let alive = group.in_sync().filter(|member| world.alive.contains(&member.disk.0[0])).count();
        assert!(alive >= 2, "writes go on: {group:?}");
    }
    assert!(
        world
            .map()
            .groups
            .iter()
            .any(|group| !group.members.iter().all(|m| world.alive.contains(&m.disk.0[0]))),
        "who has two has time"
    );
}

#[test]
fn with_no_spare_disk_nothing_is_moved() {
    let mut world = World::new(16, &THREE);
    world.alive.remove(&3);
    world.pass(2 * REPLACE_AFTER_MS);
    world.add((4, 4, "c"), TIB);
    world.tick();
    assert_eq!(world.settle(), 16);
    assert_eq!(world.counts()[&4], 16);
}

#[test]
fn silence_of_the_planner_or_of_most_disks_is_no_loss() {
    let places = [THREE.as_slice(), &[(4, 4, "a"), (5, 5, "b"), (6, 6, "c")]].concat();
    let mut world = World::new(16, &places);
    world.settle();
    // The planner stood still for a day; the first to be heard of again is not the only one alive.
    world.now_ms += 24 * 3_600_000;
    let all = std::mem::replace(&mut world.alive, [1, 2, 3, 4, 5].into());
    assert_eq!(world.tick(), []);
    world.alive = all;
    world.pass(MAX_WATCH_STEP_MS);
    // Cut off from most of them for an hour, as when a switch fails.
    world.alive = [1, 2].into();
    world.pass(3_600_000);
    assert!(world.map().groups.iter().all(Group::is_whole));
}

#[test]
fn a_new_disk_gets_its_fair_share_a_few_at_a_time() {
    let mut world = World::new(128, &[(1, 1, "a"), (2, 1, "a"), (3, 1, "a")]);
    world.add((4, 1, "a"), TIB);
    world.settings.leave_a_spare = true;
    world.tick();
    assert_eq!(world.settle(), 0, "the only disk that could take a lost one's place");
    world.settings.leave_a_spare = false;
    let first = world.tick();
    assert_eq!(first.len(), MAX_MOVES_IN_FLIGHT);
    world.make(first);
    assert_eq!(world.tick(), [], "those first");
    world.join_all();
    let moved = MAX_MOVES_IN_FLIGHT + world.settle();
    assert_eq!(moved, 96, "no more than it takes");
    assert_eq!(world.counts().into_values().collect::<Vec<_>>(), [96; 4]);
    // A disk of twice the size gets twice as much.
    world.add((5, 1, "a"), 2 * TIB);
    world.tick();
    world.settle();
    let counts = world.counts();
    assert!((127..=128).contains(&counts[&5]), "at most one place of each group: {counts:?}");
    assert!((1..=4).all(|disk| (63..=65).contains(&counts[&disk])), "{counts:?}");
}
#[test]
fn balancing_leaves_each_group_a_spare_disk() {
    let mut world = World::new(64, &[THREE.as_slice(), &[(4, 4, "d"), (5, 5, "e")]].concat());
    world.settings.leave_a_spare = true;
    assert!(world.settle() > 0);
    let counts = world.counts();
    assert!(counts.values().all(|&count| (30..=50).contains(&count)), "{counts:?}");
    world.alive.remove(&1);
    world.pass(REPLACE_AFTER_MS - 20_000);
    world.settle();
    assert_eq!(world.counts()[&1], 0, "every group found another");
    assert!(world.map().groups.iter().all(Group::is_whole));
}

#[test]
fn a_draining_disk_is_emptied() {
    let mut world = World::new(32, &[THREE.as_slice(), &[(4, 4, "d")]].concat());
    world.settle();
    apply(&world.kv, Command::SetDiskState { disk: disk(2), state: DiskAdmin::Draining }).unwrap();
    let commands = world.tick();
    assert!((1..=MAX_MOVES_IN_FLIGHT).contains(&commands.len()));
    world.make(commands);
    world.join_all();
    world.settle();
    assert_eq!(world.counts()[&2], 0);
    apply(&world.kv, Command::SetDiskState { disk: disk(2), state: DiskAdmin::Removed }).unwrap();
    assert_eq!(world.settle(), 0);
    // Groups never had a member on it again, and never could.
    apply(&world.kv, Command::SetDiskState { disk: disk(2), state: DiskAdmin::Active }).unwrap();
    let Answer::Left(left) = world.ask(Query::Left) else { panic!() };
    let before: BTreeSet<_> = left.into_iter().collect();
    world.settle();
    assert!(
        world
            .map()
            .groups
            .iter()
            .all(|group| { group.members.iter().all(|member| !before.contains(&(group.id, member.disk))) })
    );
}

#[test]
fn replicas_on_one_node_move_apart() {
    // The first three disks to be registered were one node's.
    let mut world = World::new(16, &[(1, 1, "a"), (2, 1, "a"), (3, 1, "a")]);
    for place in [(4, 2, "b"), (5, 3, "c"), (6, 3, "c")] {
        world.add(place, TIB);
    }
    world.tick();
    world.settle();
    for group in world.map().groups {
        let zones: BTreeSet<_> =
            group.members.iter().map(|member| [0, 0, 0, 0, 1, 2, 2][member.disk.0[0] as usize]).collect();
        assert_eq!(zones.len(), 3, "{group:?}");
    }
}

#[test]
fn disks_given_up_count_no_more() {
    let mut world = World::new(8, &THREE);
    world.settings.leave_a_spare = true;
    world.add((4, 4, "c"), TIB);
    world.add((5, 5, "c"), TIB);
    world.beat();
    world.alive = [1, 5].into();
    world.pass(2 * REPLACE_AFTER_MS);
    let lose = |world: &World, number| {
        let now_ms = world.now_ms;
        apply(&world.kv, Command::LoseDisk { disk: disk(number), accept_data_loss: false, now_ms }).unwrap();
    };
    lose(&world, 2);
    // Two of four that still count: it is said of one that it is gone, so others take its place.
    assert_eq!(world.settle(), 8);
    lose(&world, 3);
    lose(&world, 4);
    assert_eq!(world.settle(), 0, "nobody is left for these");
    assert_eq!((world.counts()[&1], world.counts()[&5]), (8, 8));
    world.add((6, 6, "b"), TIB);
    world.tick();
    assert_eq!(world.settle(), 8);
    assert!(world.map().groups.iter().all(Group::is_whole));
}

#[test]
fn who_dies_on_the_way_is_called_off() {
    let mut world = World::new(4, &THREE);
    world.alive.remove(&3);
    world.pass(30_000);
    world.add((4, 4, "c"), TIB);
    world.pass(REPLACE_AFTER_MS - 40_000);
    let commands = (0..4).map(|_| world.tick()).find(|commands| !commands.is_empty()).unwrap();
    world.make(commands);
    world.add((5, 5, "c"), TIB);
    world.alive.remove(&4);
    world.pass(REPLACE_AFTER_MS - 10_000);
    world.settle();
    assert_eq!(world.counts()[&5], 4);
    assert!(world.map().groups.iter().all(Group::is_whole));
}

#[test]
fn a_full_disk_gets_nothing() {
    let mut world = World::new(4, &THREE);
    world.add((4, 4, "c"), 1000);
    let fill = |world: &World, used_bytes| {
        let (seen_ms, why) = (world.now_ms, String::new());
        apply(&world.kv, Command::DiskSeen { disk: disk(4), seen_ms, healthy: true, used_bytes, why })
            .unwrap();
    };
    world.alive = [1, 2].into();
    for _ in 0..=REPLACE_AFTER_MS / 5000 {
        world.tick();
        world.now_ms += 1;
        fill(&world, 10 * u64::from(FULL_PERCENT) + 1);
        assert_eq!(world.look(), []);
    }
    world.tick();
    world.now_ms += 1;
    fill(&world, 10);
    assert_eq!(world.look().len(), 4);
}

/// A slow disk is heard of all the time. It gets nothing, and in time others take its places.
#[test]
fn a_slow_disks_places_are_taken_and_it_takes_none() {
    let mut world = World::new(4, &THREE);
    let groups = |world: &World| world.map().groups.iter().map(|group| (group.id, group.epoch)).collect();
    let slow = |number, groups| Command::EvictSlowDisk { disk: disk(number), groups, why: "x".into() };
    world.make(vec![slow(1, groups(&world))]);
    for _ in 0..=REPLACE_AFTER_MS / 5000 {
        assert_eq!(world.tick(), [], "there is nobody to take them");
    }
    world.add((4, 4, "a"), TIB);
    world.tick();
    let planned = world.tick();
    assert_eq!(planned.len(), 4);
    world.make(planned);
    world.join_all();
    assert!(world.map().groups.iter().all(|group| group.is_whole() && group.member(disk(1)).is_none()));
    // Were another to go, this one is not asked.
    world.alive.remove(&2);
    for _ in 0..=REPLACE_AFTER_MS / 5000 {
        assert_eq!(world.tick(), []);
    }
}

#[test]
fn nothing_is_planned_for_what_nobody_holds() {
    let mut world =
        World::new(4, &[THREE.as_slice(), &[(4, 4, "a"), (5, 5, "b"), (6, 6, "c"), (7, 7, "a")]].concat());
    for group in world.map().groups {
        for number in [2, 3] {
            let epoch = GroupEpoch(group.epoch.0 + u32::from(number == 3));
            let groups = vec![(group.id, epoch)];
            apply(&world.kv, Command::EvictDisk { disk: disk(number), groups, why: "x".into() }).unwrap();
        }
    }
    // The only one in sync is gone as well: a copy from anybody else would be an old one.
    world.alive = [2, 3, 4, 5, 6, 7].into();
    world.pass(2 * REPLACE_AFTER_MS);
    assert_eq!(world.counts()[&1], 4);
}

use proto::ids::GroupEpoch;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]
    #[test]
    fn every_pool_comes_to_rest(
        groups in 1u32..24,
        disks in prop::collection::vec((0u64..4, 0usize..3, 1u64..4), 3..9),
        lost in prop::collection::btree_set(1u8..9, 0..3),
        draining in prop::option::of(1u8..9),
    ) {
        let zones = ["a", "b", "c"];
        let mut world = World::new(groups, &THREE);
        for ((node, zone, tib), number) in disks[3..].iter().zip(4u8..) {
            world.add((number, node + 3 * *zone as u64, zones[*zone]), tib * TIB);
        }
        world.tick();
        world.settle();
        let known: BTreeSet<u8> = world.alive.clone();
        if let Some(draining) = draining.filter(|draining| known.contains(draining)) {
            apply(&world.kv, Command::SetDiskState { disk: disk(draining), state: DiskAdmin::Draining }).unwrap();
        }
        world.alive.retain(|number| !lost.contains(number));
        for _ in 0..REPLACE_AFTER_MS / 5000 + 1 {
            let commands = world.tick();
            world.make(commands);
            world.join_all();
        }
        world.settle();
        let usable = |number: &u8| world.alive.contains(number) && Some(*number) != draining;
        // With three disks left that were there from the start or never left a group, each group is on them.
        for group in world.map().groups {
            let there = group.in_sync().filter(|member| world.alive.contains(&member.disk.0[0])).count();
            prop_assert!(there > 0, "{:?}", group);
        }
        if known.iter().filter(|number| !usable(number)).count() == 0 {
            prop_assert!(world.map().groups.iter().all(Group::is_whole));
        }
        prop_assert_eq!(world.tick(), []);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_mends_its_pool_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = MetaConfig::new(dir.path(), NodeId(1));
    config.planner = Some(Settings { interval_ms: 10, replace_after_ms: 100, ..Settings::default() });
    let node = MetaNode::start(config).await.unwrap();
    let client = node.client();
    let pool = PoolRecord { id: "p".into(), created_ms: 1, groups: 8, min_in_sync: 2 };
    client.init_pool(pool).await.unwrap();
    client.register_node(NodeRecord { id: NodeId(1), name: "n".into(), zone: "z".into() }).await.unwrap();
    for number in 1..=4 {
        let addr = "127.0.0.1:1".parse().unwrap();
        client.register_disk(DiskRecord::new(disk(number), NodeId(1), addr, "z".into(), TIB)).await.unwrap();
    }
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let deadline = clock.now() + std::time::Duration::from_secs(60);
    loop {
        for number in [1, 2, 4] {
            client.disk_seen(disk(number), true, 1, "").await.unwrap();
        }
        let map = client.pool_map().await.unwrap();
        let coming = map.groups.iter().flat_map(|group| group.members.iter().map(move |m| (group, m)));
        for (group, member) in coming.filter(|(_, member)| member.state == MemberState::CatchingUp) {
            // The planner may have called it off meanwhile.
            let copied = Copied { group: group.id, disk: member.disk, source: disk(1), incarnation: 1 };
            let _ = client.join(copied, group.epoch, 0).await;
        }
        if map.groups.iter().all(|group| group.member(disk(3)).is_none() && group.is_whole()) {
            break;
        }
        assert!(clock.now() < deadline, "nobody took the place of disk 3: {map:?}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let mut registry = prometheus_client::registry::Registry::default();
    node.metrics().register(&mut registry);
    let shown = || {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text
    };
    assert!(shown().contains("ashlar_meta_planned_total{outcome=\"applied\"}"), "{}", shown());
    while !shown().contains("ashlar_meta_groups{standing=\"whole\"} 8") {
        assert!(clock.now() < deadline, "{}", shown());
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    node.stop().await.unwrap();
}
