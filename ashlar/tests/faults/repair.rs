//! Repair and scrub while daemons die.

use crate::processes::{MINUTE, Trial, WHOLE};
use serde_json::Value;
use std::time::Duration;
use trial::fleet::Fleet;
use trial::harness::{eventually, sleep};
use trial::w1;

/// How long a disk may take to be replaced, on a busy machine.
const REPLACED: Duration = Duration::from_secs(240);
const SCRUBBED: Duration = Duration::from_secs(240);

fn view(fleet: &Fleet) -> Value {
    serde_json::from_str(&fleet.cli(&["scrub", "status", "-o", "json"])).unwrap()
}

/// Begins a scrub; how many ended before.
fn begin_scrub(fleet: &Fleet) -> Option<u64> {
    let passes = view(fleet)["passes"].as_u64();
    fleet.cli(&["scrub", "start"]);
    passes
}

/// What the scrub counted that was begun.
fn end_scrub(fleet: &Fleet, passes: Option<u64>) -> Value {
    eventually("the scrub's end", SCRUBBED, || {
        sleep(Duration::from_millis(200));
        let view = view(fleet);
        (view["running"] == false && view["passes"].as_u64() > passes).then_some(view)
    })
}

/// All members of all groups hold the same, and all of it is good.
#[track_caller]
pub fn assert_copies_alike(fleet: &Fleet) {
    let view = end_scrub(fleet, begin_scrub(fleet));
    assert!(view["counts"]["blocks_checked"].as_u64().unwrap() > 0, "{view}");
    assert_eq!(view["groups_skipped"], 0, "{view}");
    for what in ["bad_blocks", "missing_blocks", "unrepairable_blocks", "conflicting_blocks"] {
        assert_eq!(view["counts"][what], 0, "{what}: {view}");
    }
}

/// Row 36.
#[test]
fn replacing_a_disk_survives_the_deaths_of_its_sources() {
    let mut trial = Trial::new();
    let load = trial.load();
    for turn in 0..2 {
        let used = trial.fleet.used().to_vec();
        let old = used[trial.random.below(used.len() as u64) as usize];
        let new = trial.fleet.begin_replacing(old);
        let sources: Vec<usize> = used.into_iter().filter(|disk| *disk != old).collect();
        for (at, source) in sources.into_iter().enumerate() {
            // In the middle of it: something is copied, something is left. Where all is copied before the other source
            // could be killed too, there was the first one at least.
            let left = eventually("the copying", MINUTE, || {
                let status = trial.fleet.status()?;
                let of = |name: &str| status["rebuild"][name].as_u64();
                let (copying, left) = (of("copying")?, of("left")?);
                (copying > 0 || at > 0 && left == 0).then_some(left)
            });
            if left == 0 {
                continue;
            }
            trial.fleet.kill_disk(source);
            eprintln!("turn {turn}: machine {source} was killed with {left} replicas left to copy to {new}");
            sleep(Duration::from_millis(trial.random.below(4000)));
            // The other source may have to catch up itself yet: then writes wait for this one.
            trial.fleet.start_disk(source);
            w1::wait_operations(&load.live, 50, MINUTE);
        }
        trial.fleet.end_replacing(old, REPLACED);
        w1::wait_operations(&load.live, 50, MINUTE);
    }
    let blocks = load.finish();
    trial.check(blocks);
}

/// Row 37: what a member lacks that was away is no bad copy.
#[test]
fn a_scrub_while_servers_die_raises_no_false_alarm() {
    let mut trial = Trial::new();
    let load = trial.load();
    for turn in 0..3 {
        let passes = begin_scrub(&trial.fleet);
        let disk = trial.some_disk();
        trial.fleet.kill_disk(disk);
        assert_eq!(
            view(&trial.fleet)["running"],
            true,
            "seed {}: the scrub was over before the fault",
            trial.seed
        );
        sleep(Duration::from_millis(if turn % 2 == 0 { 200 } else { 3000 }));
        trial.fleet.start_disk(disk);
        w1::wait_operations(&load.live, 50, MINUTE);
        let view = end_scrub(&trial.fleet, passes);
        assert!(view["counts"]["blocks_checked"].as_u64().unwrap() > 0, "seed {}: {view}", trial.seed);
        for what in ["bad_blocks", "unrepairable_blocks", "conflicting_blocks"] {
            assert_eq!(view["counts"][what], 0, "seed {}: {what}: {view}", trial.seed);
        }
        eprintln!("machine {disk} was killed: {view}");
        trial.fleet.wait_whole(WHOLE);
    }
    let blocks = load.finish();
    trial.check(blocks);
}
