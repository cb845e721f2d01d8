use super::*;
use crate::client::catchup::fake_test::{EPOCH, GROUP, GROUPS, Server, chunks_of, drive, place, version};
use proptest::prelude::*;
use proto::{VolumeEpoch, VolumeId};
use std::cell::Cell;

fn config() -> ScrubConfig {
    ScrubConfig {
        members: (0..3).map(place).collect(),
        group: GROUP,
        epoch: EPOCH,
        groups: GROUPS,
        token: PoolToken([1; 32]),
        pace: Pace { bytes_per_second: 100 << 20 },
        progress: Arc::new(Progress::default()),
    }
}

fn run_with(servers: &mut [Server], between: impl FnMut(&mut [Server], usize)) -> Result<ScrubReport, Error> {
    let config = config();
    let mut core = ScrubCore::new(&config);
    let due = Cell::new(Instant(0));
    let step = |now: Instant, input: TalkInput, out: &mut Vec<TalkOutput<ScrubReport>>| {
        core.step(now, input, out);
        due.set(core.next_deadline().unwrap_or_default());
        let seen = config.progress.snapshot();
        assert!(seen.percent() <= 100 && seen.done_bytes <= seen.total_bytes);
    };
    let result = drive(servers, step, || due.get(), between);
    if let Ok(report) = &result {
        let ended = report.repaired_blocks + report.unrepairable_blocks;
        assert_eq!(report.bad_blocks + report.missing_blocks, ended, "{report:?}");
        assert_eq!(config.progress.snapshot().percent(), 100);
    }
    result
}

fn run(servers: &mut [Server]) -> ScrubReport {
    run_with(servers, |_, _| {}).unwrap()
}

fn inside(volume: u64, number: usize) -> u32 {
    chunks_of(volume, true).nth(number).unwrap()
}

/// Three members with the same blocks in two chunks of one volume and one of another.
fn same() -> Vec<Server> {
    let mut server = Server { settled: version(1000), ..Server::default() };
    for block in 0..100 {
        server.put((1, inside(1, 0), block), 1 + u64::from(block), Some(1));
        server.put((1, inside(1, 1), block), 200, Some(2));
        server.put((2, inside(2, 0), block * 7), 300, Some(3));
    }
    server.put((1, inside(1, 0), 200), 400, None);
    vec![server.clone(), server.clone(), server]
}

#[test]
fn whole_members_raise_no_alarm_and_every_copy_is_checked() {
    let mut servers = same();
    let before = servers.clone();
    servers[1].busy = 3;
    let report = run(&mut servers);
    let expected = ScrubReport { volumes: 2, chunks: 3, blocks_checked: 900, ..ScrubReport::default() };
    assert_eq!(report, expected);
    assert!(servers.iter().zip(&before).all(|(now, before)| now.blocks == before.blocks));
}

/// Row 22: different blocks are bad on every member. Row 23: one is bad on all.
#[test]
fn bad_copies_are_repaired_from_good_ones_and_counted() {
    let mut servers = same();
    let before = servers.clone();
    for (at, server) in servers.iter_mut().enumerate() {
        for block in 0..10 {
            server.held((1, inside(1, 0), u16::try_from(at).unwrap() * 10 + block)).bad = true;
        }
        server.held((2, inside(2, 0), 7)).bad = true;
    }
    servers[0].held((1, inside(1, 1), 50)).bad = true;
    servers[2].held((1, inside(1, 1), 50)).bad = true;
    let report = run(&mut servers);
    assert_eq!((report.bad_blocks, report.repaired_blocks, report.unrepairable_blocks), (35, 32, 3));
    assert_eq!((report.blocks_checked, report.missing_blocks), (900, 0));
    servers.iter_mut().for_each(|server| server.held((2, inside(2, 0), 7)).bad = false);
    assert!(servers.iter().zip(&before).all(|(now, before)| now.blocks == before.blocks));
}

#[test]
fn what_is_settled_and_missing_is_brought_and_nothing_else() {
    let mut servers = same();
    let chunk = inside(1, 0);
    // Older, not there, and a trim that was missed.
    servers[0].put((1, chunk, 5), 600, Some(6));
    servers[1].put((1, chunk, 5), 600, Some(6));
    servers[1].put((1, chunk, 300), 601, Some(7));
    servers[2].put((1, chunk, 300), 601, Some(7));
    servers[0].put((1, chunk, 6), 602, None);
    servers[2].put((1, chunk, 6), 602, None);
    // A trim that two have forgotten; writes of which nobody said that all have them.
    servers[0].put((1, chunk, 301), 603, None);
    servers[0].put((1, chunk, 7), 1001, Some(8));
    servers[1].put((1, chunk, 302), 1002, Some(9));
    // What a catch-up closed an epoch with.
    servers.iter_mut().for_each(|server| server.settled = proto::Version::first_of(VolumeEpoch(9)));
    servers[0].held((1, chunk, 20)).version = proto::Version::last_of(VolumeEpoch(3));
    servers.iter_mut().for_each(|server| server.settled = version(1000));
    // A chunk that one lacks entirely, and a volume.
    let lost = (VolumeId(1), inside(1, 1));
    servers[2].blocks.retain(|place, _| (place.0, place.1) != lost);
    servers[2].volumes.remove(&VolumeId(2));
    servers[2].blocks.retain(|place, _| place.0 != VolumeId(2));
    let report = run(&mut servers);
    assert_eq!((report.missing_blocks, report.repaired_blocks), (203, 203));
    assert_eq!((report.bad_blocks, report.unrepairable_blocks), (0, 0));
    assert_eq!(servers[2].held((1, chunk, 5)).byte, Some(6));
    assert_eq!(servers[0].held((1, chunk, 300)).byte, Some(7));
    assert_eq!(servers[1].held((1, chunk, 6)).byte, None);
    assert_eq!(servers[2].chunk(VolumeId(1), lost.1).count(), 100);
    assert_eq!(servers[2].volumes[&VolumeId(2)].0, VolumeEpoch(3));
    assert_eq!(servers[1].held((1, chunk, 7)).version, version(8), "that is the writer's to bring");
    assert!(!servers[1].blocks.contains_key(&(VolumeId(1), chunk, 301)));
    assert_eq!(run(&mut servers).missing_blocks, 0);
}

#[test]
fn a_copy_that_a_catch_up_closed_is_repaired_from_lower_versions() {
    let mut servers = same();
    let place = (1, inside(1, 0), 20);
    let last = proto::Version::last_of(VolumeEpoch(3));
    let byte = servers[0].held(place).byte;
    servers[0].held(place).version = last;
    servers[0].held(place).bad = true;
    // One of the others is stale: what it has is not the content.
    servers[1].held(place).version = version(1);
    servers[1].held(place).byte = Some(99);
    let report = run(&mut servers);
    assert_eq!((report.bad_blocks, report.missing_blocks), (1, 1));
    assert_eq!((report.repaired_blocks, report.unrepairable_blocks), (2, 0));
    assert_eq!((servers[0].held(place).version, servers[0].held(place).byte), (last, byte));
    assert!(!servers[0].held(place).bad);
}

#[test]
fn two_good_copies_that_differ_are_reported_and_left_alone() {
    let mut servers = same();
    servers[1].held((1, inside(1, 1), 3)).byte = Some(99);
    let before = servers.clone();
    let report = run(&mut servers);
    assert_eq!((report.conflicting_blocks, report.bad_blocks, report.repaired_blocks), (1, 0, 0));
    assert!(servers.iter().zip(&before).all(|(now, before)| now.blocks == before.blocks));
}

#[test]
fn deleted_volumes_are_passed_by() {
    for after in 0..60 {
        let mut servers = same();
        servers[0].held((2, inside(2, 0), 7)).bad = true;
        servers[0].held((1, inside(1, 0), 7)).bad = true;
        let delete = |servers: &mut [Server], answered| {
            if let Some(server) = servers.get_mut(usize::wrapping_sub(answered, after)) {
                server.volumes.insert(VolumeId(2), (VolumeEpoch(3), true));
                server.blocks.retain(|place, _| place.0 != VolumeId(2));
            }
        };
        let report = run_with(&mut servers, delete).unwrap();
        assert!(!servers[0].held((1, inside(1, 0), 7)).bad, "{after}");
        assert_eq!((report.missing_blocks, report.unrepairable_blocks), (0, 0), "{after}");
    }
}

/// A block that was found bad is trimmed, and the trim forgotten, at any moment of its repair: the repair
/// does not bring it back.
#[test]
fn a_repair_never_brings_back_what_was_trimmed() {
    let mut repaired = 0;
    for after in 0..80 {
        let mut servers = same();
        let place = (VolumeId(1), inside(1, 0), 9);
        servers[1].held((1, place.1, 9)).bad = true;
        let trim = |servers: &mut [Server], answered| {
            if answered == after {
                servers.iter_mut().for_each(|server| server.blocks.retain(|at, _| *at != place));
            }
        };
        let report = run_with(&mut servers, trim).unwrap();
        let gone = servers.iter().all(|server| !server.blocks.contains_key(&place));
        let ended_before =
            servers.iter().all(|server| server.blocks.get(&place).is_some_and(|held| !held.bad));
        assert!(gone || ended_before, "{after}");
        assert_eq!((report.missing_blocks, report.unrepairable_blocks), (0, 0), "{after}");
        repaired += report.repaired_blocks;
    }
    assert!(repaired > 10, "most of the runs met the bad block");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Row 37: a writer goes on during a scrub, its writes reaching the members one after the other; it says
    /// what is settled once all have it. No alarm, and nothing is changed.
    #[test]
    fn a_writer_is_no_cause_for_alarm(writes in proptest::collection::vec(
        (0usize..2, 0u16..30, proptest::option::of(any::<u8>()), 0usize..3), 1..200)) {
        let mut servers = same();
        let mut model = servers[0].clone();
        let mut counter = 1000;
        let mut steps = Vec::new();
        for (chunk, block, byte, first) in writes {
            counter += 1;
            let at = (1, inside(1, chunk), block);
            model.put(at, counter, byte);
            steps.extend((0..3).map(|turn| ((first + turn) % 3, at, counter, byte, turn == 2)));
        }
        let mut steps = steps.into_iter();
        let write = |servers: &mut [Server], _| {
            let Some((server, at, counter, byte, last)) = steps.next() else { return };
            servers[server].put(at, counter, byte);
            if last {
                servers.iter_mut().for_each(|server| server.settled = version(counter));
            }
        };
        let report = run_with(&mut servers, write).unwrap();
        prop_assert_eq!((report.bad_blocks, report.missing_blocks, report.conflicting_blocks), (0, 0, 0));
        steps.for_each(|(server, at, counter, byte, _)| servers[server].put(at, counter, byte));
        prop_assert!(servers.iter().all(|server| server.blocks == model.blocks));
    }
}
