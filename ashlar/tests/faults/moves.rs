//! Members that move under load: a disk is added, gets its share, and is emptied again.

use crate::processes::MINUTE;
use std::time::Duration;
use trial::fleet::{Fleet, Network};
use trial::harness::{Random, eventually, seed, sleep};
use trial::w1::{self, Blocks, Load};

const BLOCKS: u64 = 8192;
/// How long all of one disk's groups may take to move: a few at a time, on a machine that builds besides.
const MOVED: Duration = Duration::from_secs(300);
/// Fewer than its share, so that nothing waits for the last ones.
const SHARE: u64 = 24;

/// In how many groups a disk is in sync, and a member in any way.
fn groups_of(fleet: &Fleet, disk: &str) -> (u64, u64) {
    let disks: serde_json::Value = serde_json::from_str(&fleet.cli(&["disk", "list", "-o", "json"])).unwrap();
    let disk = disks.as_array().unwrap().iter().find(|listed| listed["path"] == disk).unwrap().clone();
    let of = |name: &str| disk[name].as_u64().unwrap();
    (of("in_sync"), of("in_sync") + of("catching_up") + of("out"))
}

fn wait_for_share(fleet: &Fleet, disk: &str) {
    eventually("a share of the groups", MOVED, || {
        sleep(Duration::from_millis(500));
        (groups_of(fleet, disk).0 >= SHARE).then_some(())
    });
}

fn drain(fleet: &Fleet, disk: &str) {
    fleet.cli(&["disk", "drain", disk]);
    eventually("a disk to be emptied", MOVED, || {
        sleep(Duration::from_millis(500));
        (groups_of(fleet, disk).1 == 0).then_some(())
    });
}

/// A fourth disk gets groups; emptying it brings them back to a disk that had left them, which is possible only
/// because that one cleared its old copy away; and so on. Then one of the first three goes for good.
#[test]
fn groups_move_to_an_added_disk_and_back_under_load() {
    let seed = seed();
    let mut random = Random(seed);
    let fleet = Fleet::start("1G", Network::Plain, seed).unwrap();
    fleet.wait_whole(MINUTE);
    let socket = fleet.volume("v", "256M");
    let load = Load::start(&socket, BLOCKS, Blocks::default(), random.next());
    w1::wait_operations(&load.live, 200, MINUTE);
    let added = fleet.dir.path().join("added.img");
    let added = added.to_str().unwrap();
    fleet.cli(&["disk", "add", &format!("{added}:1G"), "--node", "node0"]);
    wait_for_share(&fleet, added);
    drain(&fleet, added);
    fleet.cli(&["disk", "drain", "--undo", added]);
    wait_for_share(&fleet, added);
    let first = fleet.disk_file(0);
    let first = first.to_str().unwrap();
    drain(&fleet, first);
    w1::wait_operations(&load.live, 50, MINUTE);
    fleet.cli(&["disk", "remove", first]);
    let mut blocks = load.finish();
    fleet.wait_whole(MINUTE);
    assert_eq!(groups_of(&fleet, first).1, 0);
    // Each attachment reads from the next member.
    for _ in 0..3 {
        blocks.verify(&socket);
        blocks.assert_whole(seed);
        fleet.cli(&["volume", "detach", "v"]);
        fleet.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    }
}

/// A machine burns down. Its disk is given up; writes go on with the two that are left, and a new disk takes all of
/// its places.
#[test]
fn a_disk_that_never_comes_back_is_given_up() {
    let seed = seed();
    let mut random = Random(seed);
    let mut fleet = Fleet::start("1G", Network::Plain, seed).unwrap();
    fleet.wait_whole(MINUTE);
    let socket = fleet.volume("v", "256M");
    let load = Load::start(&socket, BLOCKS, Blocks::default(), random.next());
    w1::wait_operations(&load.live, 200, MINUTE);
    let lost = fleet.disk_file(2);
    let lost = lost.to_str().unwrap();
    let remove = |fleet: &Fleet| fleet.command(&["disk", "remove", lost, "--lost"]).output().unwrap();
    let alive = remove(&fleet);
    assert_eq!(alive.status.code(), Some(5), "{}", String::from_utf8_lossy(&alive.stderr));
    assert!(String::from_utf8_lossy(&alive.stderr).contains("ashlar disk drain"));
    fleet.kill_disk(2);
    eventually("a disk to be given up", MINUTE, || {
        sleep(Duration::from_secs(1));
        remove(&fleet).status.success().then_some(())
    });
    let problems = fleet.status().unwrap()["causes"].to_string();
    assert!(problems.contains("wait for a disk to take the place of a removed one"), "{problems}");
    w1::wait_operations(&load.live, 50, MINUTE);
    let added = fleet.dir.path().join("added.img");
    fleet.cli(&["disk", "add", &format!("{}:1G", added.display()), "--node", "node0"]);
    fleet.wait_whole(MOVED);
    assert_eq!(groups_of(&fleet, lost).1, 0);
    let mut blocks = load.finish();
    for _ in 0..3 {
        blocks.verify(&socket);
        blocks.assert_whole(seed);
        fleet.cli(&["volume", "detach", "v"]);
        fleet.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    }
}
