use super::super::membership::tests::{Pool, disk};
use super::super::tests::disk_record;
use super::*;
use crate::command::{Command, Response};
use crate::query::{Answer, Query};
use MemberState::{InSync, Out};
use proto::ids::GroupEpoch;

const NOW: u64 = 1_000_000;

fn seen(pool: &Pool, number: u8) {
    let (seen_ms, why) = (NOW, String::new());
    let seen = Command::DiskSeen { disk: disk(number), seen_ms, healthy: true, used_bytes: 1, why };
    pool.0.run(seen).unwrap();
}

fn lose(pool: &Pool, number: u8, accept_data_loss: bool) -> Result<LostDisk, Refusal> {
    let now_ms = NOW + 1;
    match pool.0.run(Command::LoseDisk { disk: disk(number), accept_data_loss, now_ms })? {
        Response::Lost(lost) => Ok(lost),
        other => panic!("{other:?}"),
    }
}

fn evict(pool: &Pool, number: u8, group: u32, epoch: u32) {
    let groups = vec![(GroupId(group), GroupEpoch(epoch))];
    pool.0.run(Command::EvictDisk { disk: disk(number), groups, why: "x".into() }).unwrap();
}

#[test]
fn a_lost_disk_leaves_its_places_open_and_counts_no_more() {
    let pool = Pool::with_disks(4);
    let replace =
        Command::ReplaceMember { group: GroupId(1), epoch: GroupEpoch(1), old: disk(2), new: disk(4) };
    pool.0.run(replace).unwrap();
    seen(&pool, 1);
    assert!(lose(&pool, 1, true).unwrap_err().message.contains("ashlar disk drain"), "it is alive");
    let lost = lose(&pool, 3, false).unwrap();
    assert_eq!((lost.groups, lost.given_up.len(), lost.volumes.len()), (4, 0, 0));
    assert_eq!(pool.group(0), (2, vec![(1, InSync, None), (2, InSync, None), (3, Out, None)]));
    let problems = pool.status(None).problems;
    assert!(problems.iter().any(|p| p.contains("3 groups wait for a disk")), "{problems:?}");
    // One that was on its way somewhere is called off.
    assert_eq!(lose(&pool, 4, false).unwrap().groups, 1);
    assert_eq!(pool.group(1).1.len(), 3);
    assert!(pool.map().disks.iter().all(|place| ![disk(3), disk(4)].contains(&place.disk)));
    // Asked again, nothing is left to do; and if it comes back all the same, it is not let in.
    let before = pool.map().groups;
    assert_eq!(lose(&pool, 3, false).unwrap().groups, 4);
    assert_eq!(pool.map().groups, before);
    let begin = Command::BeginCatchUp { disk: disk(3), groups: vec![(GroupId(0), GroupEpoch(2))] };
    assert!(pool.0.run(begin.clone()).unwrap_err().message.contains("--undo"));
    pool.0.run(Command::SetDiskState { disk: disk(3), state: DiskAdmin::Active }).unwrap();
    pool.0.run(begin).unwrap();
    assert_eq!(pool.group(0).1[2].1, MemberState::CatchingUp);
}

#[test]
fn the_last_copy_is_given_up_only_when_somebody_says_so() {
    let pool = Pool::with_disks(3);
    let volume = |name: &str, open| {
        let size_bytes = 1 << 30;
        let made = pool.0.run(Command::CreateVolume { name: name.into(), size_bytes, now_ms: 1 }).unwrap();
        let Response::Volume(made) = made else { panic!() };
        if open {
            pool.0.run(Command::OpenVolume { volume: made.id }).unwrap();
        }
    };
    volume("data", true);
    volume("never-opened", false);
    evict(&pool, 1, 0, 1);
    evict(&pool, 2, 0, 2);
    let refusal = lose(&pool, 3, false).unwrap_err();
    assert_eq!(refusal.kind, ErrorKind::InUse(Entity::Disk));
    assert!(
        refusal.message.contains("the only copy in sync of 1 groups, with data of volumes data;"),
        "{refusal:?}"
    );
    assert_eq!(pool.group(1).1[2], (3, InSync, None), "nothing was changed");
    assert!(pool.status(None).losses.is_empty());
    seen(&pool, 2);
    let lost = lose(&pool, 3, true).unwrap();
    assert_eq!((lost.groups, lost.given_up, lost.volumes), (4, vec![GroupId(0)], vec!["data".to_owned()]));
    assert_eq!(pool.group(0).1, [(1, Out, None), (2, InSync, None), (3, Out, None)], "a healthy one");
    let losses = pool.status(None).losses;
    assert_eq!((losses.len(), losses[0].disk, losses[0].groups, losses[0].at_ms), (1, disk(3), 1, NOW + 1));
    assert_eq!(losses[0].volumes, ["data"]);
}

#[test]
fn with_all_copies_lost_a_new_disk_begins_with_nothing() {
    let pool = Pool::with_disks(3);
    lose(&pool, 1, false).unwrap();
    lose(&pool, 2, false).unwrap();
    assert!(lose(&pool, 3, false).unwrap_err().message.contains("4 groups"));
    assert!(lose(&pool, 3, true).unwrap_err().message.contains("ashlar disk add"), "nobody could take over");
    pool.0.run(Command::RegisterDisk(disk_record(4, 7000))).unwrap();
    assert!(lose(&pool, 3, true).is_err(), "one that was never heard of");
    seen(&pool, 4);
    assert_eq!(lose(&pool, 3, true).unwrap().given_up.len(), 4);
    for group in 0..4 {
        assert_eq!(pool.group(group).1, [(1, Out, None), (2, Out, None), (4, InSync, None)]);
    }
    let Answer::Left(left) = pool.0.ask(Query::Left).unwrap() else { panic!() };
    assert_eq!(left.len(), 4, "disk 3, should it come back");
}
