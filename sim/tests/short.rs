//! A short run of the simulator, and the proof that its checkers see planted bugs.

use sim::fault::SimFault;
use sim::scenario::run;

#[test]
fn two_dozen_seeds_keep_every_promise() {
    for seed in 1..=24 {
        if let Err(broken) = run(seed, SimFault::None) {
            panic!(
                "{} broken: {}\nreplay: cargo run --release -p sim -- --first-seed {seed} --seeds 1",
                broken.checker, broken.what
            );
        }
    }
}

/// The checker that sees the bug first, of seeds enough to meet it.
fn seen(fault: SimFault) -> &'static str {
    (1..200).find_map(|seed| run(seed, fault).err()).expect("the planted bug is found").checker
}

#[test]
fn a_flush_that_lies_is_found() {
    assert!(["survival", "replicas", "read"].contains(&seen(SimFault::FlushIsALie)));
}

#[test]
fn a_write_that_lies_is_found() {
    assert!(["survival", "replicas", "read"].contains(&seen(SimFault::WriteIsALie)));
}

#[test]
fn a_skipped_reconcile_is_found() {
    assert!(["survival", "replicas", "read"].contains(&seen(SimFault::SkipReconcile)));
}

#[test]
fn a_fence_that_is_not_heard_is_found() {
    assert_eq!(seen(SimFault::FencedIsDone), "fence");
}
