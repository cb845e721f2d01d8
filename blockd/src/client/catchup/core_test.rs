use super::fake_test::{EPOCH, GROUP, GROUPS, Held, Server, chunks_of, drive, place, version};
use super::*;
use crate::{Error, ErrorKind};
use proptest::prelude::*;
use proto::control::PoolToken;
use proto::{ErrorCode, GroupEpoch, VolumeEpoch, VolumeId};
use rt::clock::Instant;
use std::cell::Cell;
use std::sync::Arc;

fn config(others: u8) -> CatchUpConfig {
    CatchUpConfig {
        target: place(0),
        source: place(1),
        others: (2..2 + others).map(place).collect(),
        group: GROUP,
        epoch: EPOCH,
        groups: GROUPS,
        token: PoolToken([1; 32]),
        leases: Vec::new(),
        pace: Pace { bytes_per_second: 100 << 20 },
        progress: Arc::new(Progress::default()),
    }
}

/// Runs with `between` called before each answer, and looks at the progress all the way.
fn run_with(
    config: &CatchUpConfig,
    servers: &mut [Server],
    between: impl FnMut(&mut [Server], usize),
) -> Result<CatchUpReport, Error> {
    let mut core = CatchUpCore::new(config);
    let due = Cell::new(Instant(0));
    let step = |now: Instant, input: TalkInput, out: &mut Vec<TalkOutput<CatchUpReport>>| {
        core.step(now, input, out);
        due.set(core.next_deadline().unwrap_or_default());
        let seen = config.progress.snapshot();
        assert!(seen.percent() <= 100 && seen.done_bytes <= seen.total_bytes);
    };
    let result = drive(servers, step, || due.get(), between);
    drop(core);
    let seen = config.progress.snapshot();
    assert_eq!(seen.done_bytes, seen.total_bytes, "what is not done is taken off");
    result
}

fn run(servers: &mut [Server]) -> Result<CatchUpReport, Error> {
    run_with(&config(0), servers, |_, _| {})
}

fn inside(volume: u64, number: usize) -> u32 {
    chunks_of(volume, true).nth(number).unwrap()
}

#[test]
fn what_was_missed_is_copied_and_nothing_else() {
    let (mut target, mut source) = (Server::default(), Server::default());
    let (a, b, c) = (inside(1, 0), inside(1, 1), inside(2, 0));
    for block in 0..300 {
        target.put((1, a, block), 1, Some(1));
        source.put((1, a, block), 1, Some(1));
        source.put((1, b, block), 2 + u64::from(block), Some(2));
    }
    source.put((1, a, 7), 1000, Some(9));
    (100..140).for_each(|block| source.put((1, a, block), 1001, None));
    source.put((2, c, 1023), 5, Some(3));
    let outside = chunks_of(1, false).next().unwrap();
    source.put((1, outside, 0), 6, Some(4));
    // What only the target has stays: a write the source has not seen yet.
    target.put((1, a, 500), 2000, Some(5));
    source.stable.insert(VolumeId(1), version(900));
    source.volumes.insert(VolumeId(3), (VolumeEpoch(9), true));
    target.volumes.insert(VolumeId(3), (VolumeEpoch(4), false));
    source.volumes.insert(VolumeId(4), (VolumeEpoch(8), false));
    let mut servers = [target, source];
    let report = run(&mut servers).unwrap();
    let [target, source] = &servers;
    assert_eq!((report.blocks_copied, report.blocks_trimmed), (302, 40));
    assert_eq!((report.bytes_copied, target.copied_blocks), (302 * 4096, 302));
    assert_eq!((report.volumes, report.volumes_deleted), (3, 1));
    assert_eq!((report.chunks_compared, report.chunks_differing), (3, 3));
    assert_eq!(target.volumes[&VolumeId(4)].0, VolumeEpoch(8), "fences come along");
    assert!(target.volumes[&VolumeId(3)].1, "deletions, too");
    assert_eq!(target.stable, source.stable, "and what is stable, once it is durable here");
    for (place, held) in source.blocks.iter().filter(|(place, _)| place.1 != outside) {
        assert_eq!(target.blocks.get(place), Some(held), "{place:?}");
    }
    assert!(target.blocks.contains_key(&(VolumeId(1), a, 500)));
    assert!(!target.blocks.contains_key(&(VolumeId(1), outside, 0)));
    assert_eq!((source.adopted, target.epoch), (1, EPOCH));
    assert!(target.adopted >= 2, "all but the first are flushes");
    let again = run(&mut servers).unwrap();
    assert_eq!((again.blocks_copied, again.blocks_trimmed), (0, 0));
}

#[test]
fn bad_blocks_come_from_another_source_or_stop_the_join() {
    let mut servers = [Server::default(), Server::default(), Server::default(), Server::default()];
    let a = inside(1, 0);
    for block in 0..10 {
        servers[0].put((1, a, block), 1, Some(1));
        (1..4).for_each(|at| servers[at].put((1, a, block), 2, Some(2)));
    }
    servers[1].held((1, a, 3)).bad = true;
    servers[1].held((1, a, 4)).bad = true;
    servers[2].held((1, a, 4)).bad = true;
    // Not even older data is taken for the bad block's.
    servers[2].held((1, a, 3)).version = version(1);
    let mut three = servers.clone();
    assert_eq!(run_with(&config(2), &mut three, |_, _| {}).unwrap().blocks_copied, 10);
    assert!((0..10).all(|block| three[0].held((1, a, block)).byte == Some(2)));
    let error = run_with(&config(1), &mut servers[..3], |_, _| {}).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Corrupt);
    assert!(error.message.starts_with("2 blocks are bad at every source"), "{error}");
    assert_eq!(servers[0].copied_blocks, 8, "the rest is copied all the same");
    assert_eq!((servers[0].adopted, servers[0].held((1, a, 4)).version), (1, version(1)));
    // A source that can't be asked is like one without a good copy.
    servers[2].dead = true;
    assert_eq!(run_with(&config(1), &mut servers[..3], |_, _| {}).unwrap_err().kind, ErrorKind::Corrupt);
}

#[test]
fn errors_end_a_run_and_the_next_one_goes_on() {
    let (mut target, mut source) = (Server::default(), Server::default());
    let a = inside(1, 0);
    (0..500).for_each(|block| source.put((1, a, block), 2 + u64::from(block), Some(2)));
    target.refusal = Some(ErrorCode::NoSpace);
    let mut servers = [target, source];
    assert_eq!(run(&mut servers).unwrap_err().kind, ErrorKind::NoSpace);
    servers[0].refusal = None;
    servers[1].epoch = GroupEpoch(8);
    assert_eq!(run(&mut servers).unwrap_err().kind, ErrorKind::Unavailable, "the membership changed");
    servers[1].epoch = EPOCH;
    // The source dies after any number of answers.
    for after in [0, 1, 2, 5, 9, 12, 20, 300] {
        let kill = |servers: &mut [Server], answered| servers[1].dead |= answered == after;
        let error = run_with(&config(0), &mut servers, kill).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unavailable, "{after}: {error}");
        servers[1].dead = false;
    }
    run(&mut servers).unwrap();
    assert!((0..500).all(|block| servers[0].held((1, a, block)).byte == Some(2)));
}

#[test]
fn a_volume_deleted_meanwhile_is_deleted_at_the_target() {
    for after in 0..80 {
        let (mut target, mut source) = (Server::default(), Server::default());
        for volume in [1, 2] {
            target.put((volume, inside(volume, 0), 0), 1, Some(1));
            (0..200).for_each(|block| source.put((volume, inside(volume, 0), block), 2, Some(2)));
        }
        let mut servers = [target, source];
        let delete = |servers: &mut [Server], answered| {
            if answered == after {
                servers[1].volumes.insert(VolumeId(1), (VolumeEpoch(3), true));
                servers[1].blocks.retain(|place, _| place.0 != VolumeId(1));
            }
        };
        run_with(&config(0), &mut servers, delete).unwrap();
        let deleted = servers[0].volumes[&VolumeId(1)].1;
        let complete =
            servers[0].chunk(VolumeId(1), inside(1, 0)).filter(|held| held.1.byte == Some(2)).count();
        assert!(deleted || complete == 200 || !servers[1].volumes[&VolumeId(1)].1, "{after}");
        assert!((0..200).all(|block| servers[0].held((2, inside(2, 0), block)).byte == Some(2)), "{after}");
    }
}

/// What a block reads as.
fn content(server: &Server, place: (u64, u32, u16)) -> Option<u8> {
    server.blocks.get(&(VolumeId(place.0), place.1, place.2)).and_then(|held| held.byte)
}

#[test]
fn what_a_dead_writer_left_at_the_target_alone_is_never_seen() {
    let (mut target, mut source) = (Server::default(), Server::default());
    let (a, b) = (inside(1, 0), inside(1, 1));
    for block in 0..10 {
        source.put((1, a, block), 10 + u64::from(block), Some(1));
        target.put((1, a, block), 10 + u64::from(block), Some(1));
    }
    source.put((1, a, 3), 30, None);
    target.put((1, a, 12), 35, None);
    let orphans = [(1, a, 1), (1, a, 2), (1, a, 3), (1, a, 11), (1, b, 7)];
    orphans.iter().for_each(|place| target.put(*place, 50, Some(66)));
    target.put((1, a, 4), 51, None);
    // The same of the newest writer may be on its way to the source.
    let mut servers = [target.clone(), source.clone()];
    let report = run(&mut servers).unwrap();
    assert_eq!((report.blocks_copied, report.orphans_replaced), (0, 0));
    assert_eq!(servers[0].blocks, target.blocks);
    // A newer writer has opened the source, and has overwritten one of them.
    source.volumes.insert(VolumeId(1), (VolumeEpoch(4), false));
    let newer = proto::Version(proto::Version::first_of(VolumeEpoch(4)).0 + 1);
    source.blocks.insert((VolumeId(1), a, 2), Held { version: newer, byte: Some(77), bad: false });
    let mut servers = [target, source];
    let report = run(&mut servers).unwrap();
    assert_eq!(report.orphans_replaced, 5, "and one is simply older than what the source has");
    for place in orphans.into_iter().chain((0..20).map(|block| (1, a, block))) {
        assert_eq!(content(&servers[0], place), content(&servers[1], place), "{place:?}");
    }
    assert_eq!(servers[0].held((1, a, 2)).version, newer);
    assert!(servers[0].held((1, a, 1)).version.is_last());
    let again = run(&mut servers).unwrap();
    assert_eq!((again.orphans_replaced, again.blocks_copied, again.blocks_trimmed), (0, 0, 0));
}

#[test]
fn what_its_own_writer_gave_up_while_the_target_was_out_is_never_seen() {
    let (mut target, mut source) = (Server::default(), Server::default());
    let a = inside(1, 0);
    for block in 0..4 {
        source.put((1, a, block), 10, Some(1));
        target.put((1, a, block), 10, Some(1));
    }
    source.put((1, a, 2), 12, None);
    // In sync members lost 18 and were made to agree without it; 30 may be on its way to the source.
    let given_up = [(1, a, 1), (1, a, 2), (1, a, 9)];
    given_up.iter().for_each(|place| target.put(*place, 18, Some(66)));
    target.put((1, a, 3), 30, Some(77));
    let stable = source.held((1, a, 2)).version;
    source.stable.insert(VolumeId(1), stable);
    let mut early = [target.clone(), source.clone()];
    run(&mut early).unwrap();
    assert_eq!(early[0].held((1, a, 1)).byte, Some(66), "nobody has said yet that it does not count");
    target.put((1, a, 21), 21, Some(1));
    source.put((1, a, 21), 21, Some(1));
    let stable = source.held((1, a, 21)).version;
    source.stable.insert(VolumeId(1), stable);
    let mut servers = [target, source];
    for round in 0..2 {
        run(&mut servers).unwrap();
        for place in given_up {
            assert_eq!(content(&servers[0], place), content(&servers[1], place), "{round}: {place:?}");
            assert!(!servers[0].held(place).version.is_last(), "its writer has yet to give higher versions");
        }
        assert_eq!(servers[0].held((1, a, 3)).byte, Some(77));
    }
}

#[test]
fn what_its_own_writer_has_given_up_and_says_so_soon_is_waited_for() {
    let place = (1, inside(1, 0), 3);
    for told_after in [0, 4, 12, 25, 60] {
        let (mut target, mut source) = (Server::default(), Server::default());
        source.put(place, 10, Some(1));
        target.put(place, 18, Some(66));
        let stable = target.held(place).version;
        let mut servers = [target, source];
        let tell = |servers: &mut [Server], answered| {
            if answered == told_after {
                servers[1].stable.insert(VolumeId(1), stable);
            }
        };
        let report = run_with(&config(0), &mut servers, tell).unwrap();
        assert_eq!(report.orphans_replaced, 1, "{told_after}");
        assert_eq!(servers[0].held(place).byte, Some(1), "{told_after}");
    }
}

#[test]
fn a_writer_that_dies_meanwhile_leaves_nothing_behind_either() {
    for after in 3..60 {
        let (mut target, mut source) = (Server::default(), Server::default());
        for volume in [1, 2] {
            for block in 0..200 {
                target.put((volume, inside(volume, 0), block), 1, Some(1));
                source.put((volume, inside(volume, 0), block), 2, Some(2));
            }
        }
        let place = (1, inside(1, 1), 5);
        let mut servers = [target, source];
        let mut died = false;
        let die = |servers: &mut [Server], answered| {
            if answered == after {
                servers[0].put(place, 60, Some(66));
            }
            if answered == after + 2 {
                died = true;
                servers[..2].iter_mut().for_each(|server| {
                    server.volumes.insert(VolumeId(1), (VolumeEpoch(4), false));
                });
            }
        };
        let report = run_with(&config(0), &mut servers, die).unwrap();
        assert_eq!(report.orphans_replaced, u64::from(died), "{after}");
        assert!(!died || content(&servers[0], place).is_none(), "{after}");
    }
}

/// The newest writer has its lease, and opens the source at some moment, or never does.
#[test]
fn a_writer_with_a_lease_is_waited_for_and_then_given_up() {
    for opens_after in [0, 3, 8, 20, usize::MAX] {
        let (mut target, mut source) = (Server::default(), Server::default());
        let place = (1, inside(1, 0), 5);
        source.put(place, 10, Some(1));
        target.put(place, 60, Some(66));
        // Of no concern: deleted here, never heard of here.
        source.volumes.insert(VolumeId(2), (VolumeEpoch(1), true));
        let mut servers = [target, source];
        let mut config = config(0);
        config.leases = [1, 2, 3].map(|volume| (VolumeId(volume), VolumeEpoch(4))).to_vec();
        let open = |servers: &mut [Server], answered| {
            if answered == opens_after {
                servers[1].volumes.insert(VolumeId(1), (VolumeEpoch(4), false));
            }
        };
        let opens = opens_after < usize::MAX;
        let report = run_with(&config, &mut servers, open).unwrap();
        assert_eq!(report.orphans_replaced, u64::from(opens), "{opens_after}");
        assert_eq!(
            servers[1].volumes[&VolumeId(1)].0,
            VolumeEpoch(if opens { 4 } else { 3 }),
            "{opens_after}"
        );
        assert_eq!(content(&servers[0], place), Some(if opens { 1 } else { 66 }), "{opens_after}");
        assert!(!servers[1].volumes.contains_key(&VolumeId(3)), "nothing is opened that nobody opened");
    }
}

/// Volume, chunk, block.
type Place = (u64, u32, u16);

/// A write to some block: chunk, block, and what.
fn writes(max: usize) -> impl Strategy<Value = Vec<(usize, u16, Option<u8>)>> {
    proptest::collection::vec((0usize..3, 0u16..20, proptest::option::of(any::<u8>())), 0..max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever was missed, and whatever a writer does meanwhile (to both, in any order between them), the
    /// target has afterwards all that the source had.
    #[test]
    fn the_target_ends_with_all_that_the_source_has(before in writes(60), missed in writes(60),
                                                    during in writes(60), first in 0usize..2) {
        let (mut target, mut source) = (Server::default(), Server::default());
        let mut counter = 0;
        let at = |chunk: usize, block: u16| (1u64, inside(1, chunk), block);
        source.put(at(0, 900), 1, Some(0));
        for (chunk, block, byte) in before {
            counter += 1;
            target.put(at(chunk, block), counter, byte);
            source.put(at(chunk, block), counter, byte);
        }
        for (chunk, block, byte) in &missed {
            counter += 1;
            source.put(at(*chunk, *block), counter, *byte);
        }
        let mut servers = [target, source];
        let mut late: Option<(usize, Place, u64, Option<u8>)> = None;
        let mut next = during.iter();
        let write = |servers: &mut [Server], answered: usize| {
            // Writers with the present map reach both, one before the other.
            if servers[1].epoch < EPOCH {
                return;
            }
            if let Some((server, place, counter, byte)) = late.take() {
                servers[server].put(place, counter, byte);
            } else if let Some((chunk, block, byte)) = next.next() {
                counter += 1;
                let one = (first + answered) % 2;
                servers[one].put(at(*chunk, *block), counter, *byte);
                late = Some((1 - one, at(*chunk, *block), counter, *byte));
            }
        };
        let report = run_with(&config(0), &mut servers, write).unwrap();
        if let Some((server, place, counter, byte)) = late {
            servers[server].put(place, counter, byte);
        }
        let [target, source] = &servers;
        let strip = |server: &Server| server.blocks.clone().into_iter().collect::<Vec<((VolumeId, u32, u16), Held)>>();
        prop_assert_eq!(strip(target), strip(source));
        let missed_blocks = missed.len() as u64 + 1;
        prop_assert!(report.blocks_copied <= missed_blocks + during.len() as u64);
    }
}
