//! Members leave, catch up and join: by tables, then random histories against a model.

use super::super::tests::{Fixture, disk_record};
use super::*;
use crate::command::{Command, Pardon, Response};
use crate::query::{Answer, Query, Status};
use crate::record::VolumeRecord;
use proto::ids::VolumeEpoch;

pub const WHY: &str = "does not answer";

pub fn disk(number: u8) -> DiskId {
    DiskId([number; 16])
}

fn at(group: u32, epoch: u32) -> Vec<(GroupId, GroupEpoch)> {
    vec![(GroupId(group), GroupEpoch(epoch))]
}

/// A pool of four groups on disks 1 to 3.
pub struct Pool(pub Fixture);

impl Pool {
    fn new() -> Self {
        Self(Fixture::new())
    }

    pub fn with_disks(disks: u8) -> Self {
        let pool = Self::new();
        for number in 4..=disks {
            pool.0.run(Command::RegisterDisk(disk_record(number, 7000))).unwrap();
        }
        pool
    }

    pub fn map(&self) -> PoolMap {
        let Answer::Map(map) = self.0.ask(Query::PoolMap).unwrap() else { panic!() };
        map
    }

    pub fn status(&self, now_ms: Option<u64>) -> Status {
        super::super::status::status(&self.0.kv, now_ms).ok().unwrap()
    }

    fn run(&self, command: Command) -> Result<PoolMap, ErrorKind> {
        let before = self.map();
        let Response::Map(map) = self.0.run(command).map_err(|refusal| refusal.kind)? else { panic!() };
        assert_eq!(map, self.map(), "the answer is the present map");
        assert_eq!(map.version > before.version, map.groups != before.groups);
        Ok(map)
    }

    fn evict(&self, number: u8, groups: Vec<(GroupId, GroupEpoch)>) -> PoolMap {
        self.run(Command::EvictDisk { disk: disk(number), groups, why: WHY.into() }).unwrap()
    }

    fn begin(&self, number: u8, groups: Vec<(GroupId, GroupEpoch)>) -> PoolMap {
        self.run(Command::BeginCatchUp { disk: disk(number), groups }).unwrap()
    }

    fn join(&self, number: u8, group: u32, epoch: u32) -> Result<PoolMap, ErrorKind> {
        self.run(Command::Join { disk: disk(number), group: GroupId(group), epoch: GroupEpoch(epoch) })
    }

    fn replace(&self, old: u8, new: u8) -> Result<PoolMap, ErrorKind> {
        self.run(Command::ReplaceDisk { old: disk(old), new: disk(new) })
    }

    /// A group's epoch and its members: disk, state, whom it replaces.
    pub fn group(&self, id: usize) -> (u32, Vec<(u8, MemberState, Option<u8>)>) {
        let group = &self.map().groups[id];
        let number = |disk: DiskId| disk.0[0];
        let mut members: Vec<_> =
            group.members.iter().map(|m| (number(m.disk), m.state, m.replaces.map(number))).collect();
        members.sort_by_key(|member| member.0);
        (group.epoch.0, members)
    }
}

pub use MemberState::{CatchingUp, InSync, Out};

#[test]
fn a_member_leaves_and_comes_back() {
    let pool = Pool::new();
    let stale = pool.evict(1, at(0, 9));
    assert_eq!(stale.version, pool.map().version);
    assert_eq!(pool.group(0).0, 1, "another epoch changes nothing");
    pool.evict(1, [at(0, 1), at(1, 1), at(2, 7), at(99, 1)].concat());
    let out = vec![(1, Out, None), (2, InSync, None), (3, InSync, None)];
    assert_eq!((pool.group(0), pool.group(1)), ((2, out.clone()), (2, out)));
    assert_eq!(pool.group(2).0, 1);
    // Out already: nothing happens, whatever the epoch.
    pool.evict(1, at(0, 2));
    assert_eq!(pool.group(0).0, 2);
    assert_eq!(pool.join(1, 0, 2), Err(ErrorKind::PreconditionFailed), "it has to catch up first");
    pool.begin(1, at(0, 1));
    assert_eq!(pool.group(0).0, 2, "stale");
    pool.begin(1, at(0, 2));
    assert_eq!(pool.group(0).1[0], (1, CatchingUp, None));
    assert_eq!(pool.join(1, 0, 2), Err(ErrorKind::PreconditionFailed), "stale");
    // One that fails while it catches up is evicted as any other.
    pool.evict(1, at(0, 3));
    pool.begin(1, at(0, 4));
    pool.join(1, 0, 5).unwrap();
    assert_eq!(pool.group(0), (6, vec![(1, InSync, None), (2, InSync, None), (3, InSync, None)]));
    // The answer to the first was lost.
    assert_eq!(pool.join(1, 0, 5).unwrap().groups[0].epoch, GroupEpoch(6));
    let Answer::Disks(disks) = pool.0.ask(Query::Disks).unwrap() else { panic!() };
    assert_eq!(disks[0].evicted_why, WHY);
    assert_eq!(
        pool.run(Command::EvictDisk { disk: disk(9), groups: at(0, 6), why: WHY.into() }),
        Err(ErrorKind::NotFound(Entity::Disk))
    );
}

#[test]
fn the_last_member_in_sync_stays() {
    let pool = Pool::new();
    pool.evict(1, at(0, 1));
    pool.evict(2, at(0, 2));
    pool.begin(1, at(0, 3));
    pool.evict(3, at(0, 4));
    assert_eq!(pool.group(0), (4, vec![(1, CatchingUp, None), (2, Out, None), (3, InSync, None)]));
    pool.join(1, 0, 4).unwrap();
    pool.evict(3, at(0, 5));
    assert_eq!(pool.group(0).1[2], (3, Out, None), "another one is in sync now");
}

#[test]
fn a_disk_is_replaced() {
    let pool = Pool::with_disks(6);
    assert_eq!(pool.map().groups, Pool::new().map().groups, "a fourth disk waits until it is needed");
    pool.evict(1, at(0, 1));
    assert_eq!(pool.replace(1, 1), Err(ErrorKind::Invalid));
    assert_eq!(pool.replace(1, 2), Err(ErrorKind::InUse(Entity::Disk)), "it is a member itself");
    assert_eq!(pool.replace(1, 9), Err(ErrorKind::NotFound(Entity::Disk)));
    pool.replace(1, 4).unwrap();
    let members = vec![(1, Out, None), (2, InSync, None), (3, InSync, None), (4, CatchingUp, Some(1))];
    assert_eq!(pool.group(0), (3, members));
    assert_eq!(pool.group(1).1[0], (1, InSync, None), "the old one serves until the new one has everything");
    pool.replace(1, 4).unwrap();
    assert_eq!(pool.group(0).0, 3, "asking again changes nothing");
    assert_eq!(pool.replace(2, 5), Err(ErrorKind::InUse(Entity::Disk)), "one at a time");
    pool.evict(4, at(0, 3));
    assert_eq!(pool.group(0).1[3], (4, Out, Some(1)), "what it is there for is not forgotten");
    pool.begin(4, at(0, 4));
    pool.join(4, 0, 5).unwrap();
    assert_eq!(pool.group(0), (6, vec![(2, InSync, None), (3, InSync, None), (4, InSync, None)]));
    pool.join(4, 1, 2).unwrap();
    assert_eq!(pool.group(1), (3, vec![(2, InSync, None), (3, InSync, None), (4, InSync, None)]));
    // The one on its way is replaced itself.
    pool.replace(4, 5).unwrap();
    assert_eq!(
        pool.group(2).1,
        [(1, InSync, None), (2, InSync, None), (3, InSync, None), (5, CatchingUp, Some(1))]
    );
    let left = pool.0.ask(Query::Left).unwrap();
    let left_by = |group, number| (GroupId(group), disk(number));
    assert_eq!(left, Answer::Left(vec![left_by(0, 1), left_by(1, 1), left_by(2, 4), left_by(3, 4)]));
    pool.join(5, 0, 7).unwrap();
    assert_eq!(pool.replace(5, 1), Err(ErrorKind::InUse(Entity::Disk)), "never again where it was before");
    let why = pool.0.run(Command::ReplaceMember {
        group: GroupId(0),
        epoch: GroupEpoch(8),
        old: disk(5),
        new: disk(1),
    });
    assert!(why.unwrap_err().message.contains("format it anew"));
}

#[test]
fn nobody_joins_past_a_lease_that_its_catch_up_did_not_see() {
    let pool = Pool::new();
    let leases = || {
        let Answer::Leases(mut leases) = pool.0.ask(Query::Leases).unwrap() else { panic!() };
        leases.epochs.retain(|(volume, _)| *volume != pool.0.log);
        leases
    };
    let join = |epoch, leases| {
        let copied = Copied { group: GroupId(0), disk: disk(1), source: disk(2), incarnation: 7 };
        pool.run(Command::JoinCopied { copied, epoch: GroupEpoch(epoch), leases })
    };
    let made = |name: &str| {
        let (name, size_bytes) = (name.to_owned(), 1 << 20);
        let made = pool.0.run(Command::CreateVolume { name, size_bytes, now_ms: 1 }).unwrap();
        let Response::Volume(volume) = made else { panic!("{made:?}") };
        volume.id
    };
    let (one, two) = (made("one"), made("two"));
    assert!(leases().epochs.is_empty(), "nobody opened them");
    pool.0.run(Command::OpenVolume { volume: one }).unwrap();
    pool.evict(1, at(0, 1));
    pool.begin(1, at(0, 2));
    let seen = leases();
    assert_eq!(seen.epochs, [(one, VolumeEpoch(1))]);
    pool.0.run(Command::OpenVolume { volume: two }).unwrap();
    assert_eq!(join(3, seen.revision), Err(ErrorKind::PreconditionFailed), "another volume's first writer");
    let seen = leases();
    pool.0.run(Command::DeleteVolume { name: "two".into() }).unwrap();
    assert_eq!(join(3, seen.revision), Err(ErrorKind::PreconditionFailed), "a deletion ends its writer");
    let seen = leases();
    assert_eq!(seen.epochs, [(one, VolumeEpoch(1))], "nobody writes to what is being deleted");
    assert_eq!(join(2, seen.revision), Err(ErrorKind::PreconditionFailed), "the group changed");
    join(3, seen.revision).unwrap();
    pool.0.run(Command::OpenVolume { volume: one }).unwrap();
    assert_eq!(pool.group(0).0, 4);
    join(3, seen.revision).unwrap();
    assert_eq!(pool.group(0).0, 4, "the answer to the first was lost");
    let copied = Copied { group: GroupId(0), disk: disk(1), source: disk(2), incarnation: 7 };
    assert_eq!(pool.map().copies, [copied]);
}

#[test]
fn a_disk_that_cleared_its_copy_may_be_a_member_again() {
    let pool = Pool::with_disks(4);
    let cleared = |number, group, epoch| {
        let groups = vec![(GroupId(group), GroupEpoch(epoch))];
        pool.0.run(Command::GroupsCleared { disk: disk(number), groups }).map_err(|refusal| refusal.kind)
    };
    let left = || match pool.0.ask(Query::Left).unwrap() {
        Answer::Left(left) => left,
        other => panic!("{other:?}"),
    };
    let replace = |epoch, old, new| {
        let (group, epoch) = (GroupId(0), GroupEpoch(epoch));
        pool.run(Command::ReplaceMember { group, epoch, old: disk(old), new: disk(new) })
    };
    replace(1, 3, 4).unwrap();
    pool.join(4, 0, 2).unwrap();
    assert_eq!(left(), [(GroupId(0), disk(3))]);
    assert_eq!(replace(3, 4, 3), Err(ErrorKind::InUse(Entity::Disk)));
    cleared(3, 0, 2).unwrap();
    assert_eq!(left(), [(GroupId(0), disk(3))], "word from before it left");
    cleared(4, 0, 3).unwrap();
    cleared(3, 1, 3).unwrap();
    assert_eq!(left(), [(GroupId(0), disk(3))], "another disk, another group");
    cleared(3, 0, 3).unwrap();
    assert_eq!(left(), []);
    replace(3, 4, 3).unwrap();
    pool.join(3, 0, 4).unwrap();
    assert_eq!(left(), [(GroupId(0), disk(4))]);
    // It leaves once more, and the word of the first time comes again.
    cleared(4, 0, 5).unwrap();
    replace(5, 3, 4).unwrap();
    pool.join(4, 0, 6).unwrap();
    cleared(3, 0, 3).unwrap();
    assert_eq!(left(), [(GroupId(0), disk(3))]);
    assert_eq!(cleared(9, 0, 1), Err(ErrorKind::NotFound(Entity::Disk)));
}

#[test]
fn a_replacement_in_one_group_can_be_called_off() {
    let pool = Pool::with_disks(4);
    let replace = |epoch| Command::ReplaceMember {
        group: GroupId(1),
        epoch: GroupEpoch(epoch),
        old: disk(3),
        new: disk(4),
    };
    let cancel = |epoch, number| Command::CancelReplace {
        group: GroupId(1),
        epoch: GroupEpoch(epoch),
        disk: disk(number),
    };
    assert_eq!(pool.run(replace(2)), Err(ErrorKind::PreconditionFailed));
    pool.run(replace(1)).unwrap();
    assert_eq!(pool.group(1).1[3], (4, CatchingUp, Some(3)));
    assert_eq!(pool.status(None).replicas_left, 1);
    assert_eq!(pool.run(cancel(1, 4)), Err(ErrorKind::PreconditionFailed));
    assert_eq!(pool.run(cancel(2, 3)), Err(ErrorKind::NotFound(Entity::Disk)), "it is there for itself");
    pool.run(cancel(2, 4)).unwrap();
    assert_eq!(pool.group(1), (3, vec![(1, InSync, None), (2, InSync, None), (3, InSync, None)]));
    assert_eq!(pool.status(None).replicas_left, 0);
}

#[test]
fn disks_are_drained_and_removed() {
    let pool = Pool::with_disks(4);
    let set =
        |number, state| pool.0.run(Command::SetDiskState { disk: disk(number), state }).map_err(|r| r.kind);
    assert_eq!(set(1, DiskAdmin::Removed), Err(ErrorKind::InUse(Entity::Disk)));
    set(4, DiskAdmin::Draining).unwrap();
    assert_eq!(pool.replace(1, 4), Err(ErrorKind::InUse(Entity::Disk)));
    let version = pool.map().version;
    set(4, DiskAdmin::Removed).unwrap();
    let map = pool.map();
    assert!(map.version > version && map.place(disk(4)).is_none());
    pool.0.run(Command::RegisterDisk(disk_record(4, 8000))).unwrap();
    assert!(pool.map().place(disk(4)).is_none(), "a restart does not bring it back");
    set(4, DiskAdmin::Active).unwrap();
    assert_eq!(pool.map().place(disk(4)).unwrap().addr.port(), 8000);
    pool.replace(1, 4).unwrap();
}

#[test]
fn the_map_is_sent_only_when_it_changed() {
    let pool = Pool::new();
    let since = |version| pool.0.ask(Query::MapSince { version }).unwrap();
    let first = pool.map();
    assert_eq!(since(0), Answer::Map(first.clone()));
    assert_eq!(since(first.version), Answer::Unchanged);
    pool.0.run(Command::RegisterDisk(disk_record(1, 7000))).unwrap();
    assert_eq!(since(first.version), Answer::Unchanged, "the same address again");
    pool.0.run(Command::RegisterDisk(disk_record(1, 7001))).unwrap();
    assert!(matches!(since(first.version), Answer::Map(map) if map.version > first.version));
}

#[test]
fn volumes_only_grow() {
    let pool = Pool::new();
    pool.0.run(Command::CreateVolume { name: "v".into(), size_bytes: 2 << 20, now_ms: 1 }).unwrap();
    let resize = |size_bytes| {
        let result = pool.0.run(Command::ResizeVolume { name: "v".into(), size_bytes });
        result.map_err(|refusal| refusal.kind).map(|response| match response {
            Response::Volume(VolumeRecord { size_bytes, .. }) => size_bytes,
            _ => panic!(),
        })
    };
    assert_eq!(resize(3 << 20), Ok(3 << 20));
    assert_eq!(resize(3 << 20), Ok(3 << 20));
    for wrong in [2 << 20, (3 << 20) + 1, !4095] {
        assert_eq!(resize(wrong), Err(ErrorKind::Invalid));
    }
    let log = pool.0.run(Command::ResizeVolume { name: ".objectlog-g1".into(), size_bytes: 4 << 20 });
    assert_eq!(log.unwrap_err().kind, ErrorKind::InUse(Entity::Volume));
}

#[test]
fn the_status_says_what_is_wrong() {
    let pool = Pool::with_disks(4);
    let seen = |number, seen_ms, healthy, why: &str| {
        let command =
            Command::DiskSeen { disk: disk(number), seen_ms, healthy, used_bytes: 10, why: why.into() };
        pool.0.run(command).unwrap();
    };
    assert_eq!(pool.status(Some(1 << 40)).problems, [""; 0], "nothing is known of disks yet");
    seen(1, 1000, true, "");
    seen(2, 9000, true, "");
    seen(3, 20_000, false, "an fsync failed");
    let status = pool.status(Some(20_000));
    assert_eq!(status.used_bytes, 30);
    assert_eq!(
        status.problems,
        [
            format!("disk {} of node n1 was last heard of 19 s ago", disk(1)),
            format!("disk {} of node n1 is not healthy: an fsync failed", disk(3)),
        ]
    );
    assert_eq!(pool.status(None).problems.len(), 1, "without a clock nobody is late");
    let Answer::Disks(disks) = pool.0.ask(Query::Disks).unwrap() else { panic!() };
    seen(1, 30_000, false, &"é".repeat(400));
    assert_eq!((disks[0].health.healthy_ms, disks[2].health.healthy_ms), (1000, 0));
    let Answer::Disks(disks) = pool.0.ask(Query::Disks).unwrap() else { panic!() };
    assert_eq!((disks[0].health.healthy_ms, disks[0].health.why.len()), (1000, MAX_WHY_BYTES));
    pool.evict(1, [at(0, 1), at(1, 1)].concat());
    pool.evict(2, at(0, 2));
    pool.begin(1, at(1, 2));
    let status = pool.status(None);
    assert_eq!((status.groups_whole, status.groups_stalled), (2, 1));
    assert_eq!((status.replicas_left, status.replicas_catching_up, status.replicas_done), (3, 1, 0));
    assert_eq!(
        status.problems[..2],
        [
            "1 of 4 groups have too few replicas in sync: their writes wait; 1 replica is being copied",
            "1 of 4 groups have lost a replica; 1 replica is being copied",
        ]
    );
    pool.join(1, 1, 3).unwrap();
    pool.begin(1, at(0, 3));
    pool.join(1, 0, 4).unwrap();
    let status = pool.status(None);
    assert_eq!((status.replicas_left, status.replicas_done), (1, 2));
    pool.begin(2, at(0, 5));
    pool.join(2, 0, 6).unwrap();
    let status = pool.status(None);
    assert_eq!((status.replicas_left, status.replicas_done), (0, 0), "the next rebuild begins at nothing");
    let Answer::Membership(counts) = pool.0.ask(Query::Membership).unwrap() else { panic!() };
    let row = |number, in_sync| DiskMembership { disk: disk(number), in_sync, catching_up: 0, out: 0 };
    assert_eq!(counts, [row(1, 4), row(2, 4), row(3, 4), row(4, 0)]);
}

#[test]
fn a_slow_disk_is_kept_out_until_it_is_pardoned_or_needed() {
    let pool = Pool::new();
    let slow = |number, groups| {
        pool.run(Command::EvictSlowDisk { disk: disk(number), groups, why: "slow".into() }).unwrap()
    };
    let record = || match pool.0.ask(Query::Slow).unwrap() {
        Answer::Slow(mut slow) => slow.pop(),
        _ => panic!(),
    };
    let pardon = |strikes, pardon| {
        pool.0.run(Command::PardonDisk { disk: disk(1), strikes, pardon }).unwrap();
    };
    slow(1, [at(0, 1), at(1, 1)].concat());
    assert_eq!((pool.group(0).1[0], pool.group(1).1[0]), ((1, Out, None), (1, Out, None)));
    slow(2, at(0, 2));
    assert_eq!(pool.group(0).1[1], (2, InSync, None), "fewer would be in sync than writes need");
    assert!(record().is_some_and(|slow| slow.disk == disk(1) && slow.strikes == 1 && slow.held));
    let told = pool.status(None).problems.join("\n");
    assert!(told.contains("slow and kept out") && told.contains("drain --undo"), "{told}");

    // Another writer says so too: that is the same strike.
    slow(1, at(2, 1));
    assert_eq!(record().unwrap().strikes, 1);
    pool.begin(1, at(0, 2));
    assert_eq!(pool.group(0), (2, vec![(1, Out, None), (2, InSync, None), (3, InSync, None)]));
    // Where it is needed it may come back.
    pool.evict(2, at(1, 2));
    pool.begin(1, at(1, 3));
    assert_eq!(pool.group(1).1[0], (1, CatchingUp, None));

    pardon(7, Pardon::TryAgain);
    assert!(record().unwrap().held, "of another strike");
    pardon(1, Pardon::Forget);
    assert!(record().unwrap().held, "not while it is kept out");
    pardon(1, Pardon::TryAgain);
    assert!(!record().unwrap().held && pool.status(None).problems.iter().all(|p| !p.contains("slow")));
    pool.begin(1, at(0, 2));
    pool.join(1, 0, 3).unwrap();
    slow(1, at(0, 4));
    assert!(record().is_some_and(|slow| slow.strikes == 2 && slow.held && slow.pause_ms() == 120_000));

    // An operator's word ends it.
    let state = DiskAdmin::Active;
    pool.0.run(Command::SetDiskState { disk: disk(1), state }).unwrap();
    assert_eq!(record(), None);
    pool.begin(1, at(0, 5));
    pool.join(1, 0, 6).unwrap();
    slow(1, at(0, 7));
    assert_eq!(record().unwrap().strikes, 1);
    pardon(1, Pardon::TryAgain);
    pardon(1, Pardon::Forget);
    assert_eq!(record(), None);
}
