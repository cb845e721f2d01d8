//! A short run of the simulator, and the proof that its checkers see planted bugs.

use sim::council;
use sim::fault::{SimFault, Trouble};
use sim::hog;
use sim::scenario::{Options, run};
use sim::world::Totals;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 24;

fn options(fault: SimFault) -> Options {
    Options { hours: 1, fault, tell: None }
}

#[test]
fn an_hour_of_bad_days_keeps_every_promise() {
    let (next, totals) = (AtomicU64::new(1), Mutex::new(Totals::default()));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > SEEDS {
                        return;
                    }
                    match run(seed, options(SimFault::None)) {
                        Ok(run) => totals.lock().unwrap().add(&run),
                        Err(broken) => panic!(
                            "{} broken: {}\nreplay: cargo run --release -p sim -- --first-seed {seed} --seeds 1 \
                             --hours 1 --trace",
                            broken.checker, broken.what
                        ),
                    }
                }
            });
        }
    });
    let totals = totals.into_inner().unwrap();
    let missed: Vec<Trouble> =
        Trouble::all().filter(|trouble| !totals.troubles.contains_key(trouble)).collect();
    assert!(missed.is_empty(), "these never fired: {missed:?}");
}

#[test]
fn a_seed_decides_everything() {
    let trace =
        |seed| run(seed, options(SimFault::None)).map(|totals| (totals.trace, totals.events)).unwrap();
    for seed in [7, 8, 9] {
        assert_eq!(trace(seed), trace(seed), "seed {seed}");
    }
    assert_ne!(trace(7), trace(8));
}

/// Another build's run of the same seeds gives the same: nothing depends on how it was compiled, or on when.
#[test]
fn every_build_gives_the_same_trace_of_the_voters() {
    let traces = [1, 2, 3].map(|seed| council::run(seed, 1, SimFault::None, None).unwrap().trace);
    assert_eq!(
        traces,
        [0x51c7_5c9f_034f_3020, 0x6332_d27a_2c4b_ba9d, 0x1bff_c2dd_051e_78c3],
        "if what the control plane answers was changed on purpose, these are the new ones"
    );
}

/// The same for all of a run, whose traces change with every change of the protocol, so that none is written down.
#[test]
#[ignore = "builds the simulator for release; run it with: cargo test -p sim --test short -- --ignored"]
fn a_release_build_gives_the_same_traces_as_this_one() {
    let (first, seeds) = (1, 8);
    let mut totals = Totals::default();
    (first..first + seeds).for_each(|seed| totals.add(&run(seed, options(SimFault::None)).unwrap()));
    let cargo = std::env::var_os("CARGO").expect("cargo runs the tests");
    let args = format!("run --release -p sim -- --first-seed {first} --seeds {seeds} --hours 1");
    let released = std::process::Command::new(cargo).args(args.split(' ')).output().unwrap();
    let said = String::from_utf8_lossy(&released.stdout);
    assert!(released.status.success(), "{said}{}", String::from_utf8_lossy(&released.stderr));
    assert!(
        said.contains(&format!("trace {:016x}", totals.trace)),
        "{:016x} is not in:\n{said}",
        totals.trace
    );
}

/// The checker that sees the bug first, of seeds enough to meet it.
fn seen(fault: SimFault) -> &'static str {
    (1..=200).find_map(|seed| run(seed, options(fault)).err()).expect("the planted bug is found").checker
}

#[test]
fn a_flush_that_lies_is_found() {
    assert_eq!(seen(SimFault::FlushIsALie), "durable");
}

#[test]
fn a_write_that_lies_is_found() {
    assert!(["acked", "read"].contains(&seen(SimFault::WriteIsALie)));
}

#[test]
fn a_skipped_reconcile_is_found() {
    assert!(["converged", "read", "scrub"].contains(&seen(SimFault::SkipReconcile)));
}

#[test]
fn a_fence_that_is_not_heard_is_found() {
    assert!(["fence", "acked"].contains(&seen(SimFault::FencedIsDone)));
}

#[test]
fn bad_blocks_that_look_good_are_found() {
    // A scrub sees it as well, and often earlier.
    let by_read =
        |seed| run(seed, options(SimFault::CorruptIsData)).is_err_and(|broken| broken.checker == "read");
    assert!((1..=200).any(by_read));
}

/// The same for the control plane's voters, which need no disks for it.
fn seen_by_voters(fault: SimFault) -> &'static str {
    let found = (1..=200).find_map(|seed| council::run(seed, 1, fault, None).err());
    found.expect("the planted bug is found").checker
}

#[test]
fn voters_that_die_and_part_keep_what_they_acked() {
    let mut totals = Totals::default();
    for seed in 1..=100 {
        match council::run(seed, 1, SimFault::None, None) {
            Ok(run) => totals.add(&run),
            Err(broken) => panic!("seed {seed}: {} broken: {}", broken.checker, broken.what),
        }
    }
    assert!(totals.conditional > 1000 && totals.elections > 100 && totals.unheard > 100, "{totals:?}");
}

#[test]
fn a_precondition_that_was_true_before_is_found() {
    assert_eq!(seen_by_voters(SimFault::StalePrecondition), "linear");
}

#[test]
fn a_leader_that_acks_alone_is_found() {
    assert!(["linear", "council"].contains(&seen_by_voters(SimFault::AckAlone)));
}

#[test]
fn a_leader_that_was_deposed_and_still_answers_is_found() {
    assert_eq!(seen_by_voters(SimFault::ReadsAlone), "linear");
}

#[test]
fn a_voter_that_forgets_is_found() {
    assert!(["linear", "council"].contains(&seen_by_voters(SimFault::VoterForgets)));
}

#[test]
fn a_change_that_is_made_twice_is_found() {
    assert_eq!(seen_by_voters(SimFault::AsksTwice), "linear");
}

#[test]
fn data_where_every_copy_is_bad_is_found() {
    assert_eq!(seen(SimFault::CorruptIsNothing), "corrupt");
}

#[test]
fn a_lease_of_the_old_size_is_found() {
    assert_eq!(seen(SimFault::LeaseForgetsSize), "size");
}

#[test]
fn a_scrub_that_sees_nothing_is_found() {
    assert_eq!(seen(SimFault::ScrubIsBlind), "scrub");
}

#[test]
fn a_scrub_that_sees_ghosts_is_found() {
    assert_eq!(seen(SimFault::ScrubSeesGhosts), "scrub");
}

#[test]
fn a_deletion_that_lies_is_found() {
    assert_eq!(seen(SimFault::DeleteIsALie), "deleted");
}

#[test]
fn a_copy_that_is_said_to_be_cleared_and_is_not_is_found() {
    assert_eq!(seen(SimFault::ClearIsALie), "cleared");
}

#[test]
fn a_full_store_that_never_takes_anything_again_is_found() {
    // Only some seeds fill a store.
    let mut full = (1..=200).filter(|&seed| hog::is_due(seed));
    let found = full.find_map(|seed| run(seed, options(SimFault::FullForEver)).err());
    assert!(["liveness", "stall"].contains(&found.expect("the planted bug is found").checker));
}

#[test]
fn a_new_volume_with_old_data_is_found() {
    assert_eq!(seen(SimFault::NameKeepsVolume), "read");
}

#[test]
fn a_member_that_joins_too_early_is_found() {
    assert!(["acked", "read", "converged", "scrub"].contains(&seen(SimFault::JoinEarly)));
}

#[test]
fn writes_with_too_few_members_are_found() {
    assert_eq!(seen(SimFault::MinIgnored), "enough");
}

#[test]
fn an_error_in_place_of_a_stall_is_found() {
    assert_eq!(seen(SimFault::ErrorNotStall), "error");
}

#[test]
fn a_timer_that_never_goes_off_is_found() {
    assert_eq!(seen(SimFault::LostWakeup), "liveness");
}

#[test]
fn a_log_that_misses_commands_is_found() {
    assert_eq!(seen(SimFault::LogForgets), "control");
}

#[test]
fn a_flush_that_needs_the_control_plane_is_found() {
    assert!(["stall", "liveness"].contains(&seen(SimFault::ControlOnPath)));
}
