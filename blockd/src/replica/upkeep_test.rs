//! Catch-up's and scrub's requests, and what is refused of them (HOSTILE 35 to 37).

use super::*;
use proto::limits::MAX_GROUPS;
use proto::message::{BlockState, ListKind};

fn repair() -> RequestBody {
    open_as(0, 9, OpenMode::Repair)
}

fn copy_in(version: Version) -> RequestBody {
    let data = Bytes::from(vec![1; BLOCK_LEN]);
    let crcs = BlockCrcs::of(&data);
    RequestBody::CopyIn { range: range(), version, expect: None, crcs, data }
}

fn group() -> GroupId {
    group_of(ChunkId { volume: VOLUME, index: ChunkIndex(0) }, 8)
}

/// Everything that names a volume and may be asked of one that is open to repair.
fn of_a_volume() -> Vec<RequestBody> {
    vec![
        RequestBody::Digests { volume: VOLUME, group: group(), groups: 8, cursor: 0 },
        RequestBody::ListChunk { volume: VOLUME, chunk: ChunkIndex(0) },
        copy_in(version(1, 1)),
        RequestBody::CopyTrim { range: range(), version: version(1, 1) },
        RequestBody::Fence { volume: VOLUME, epoch: VolumeEpoch(5) },
        RequestBody::Verify { range: range() },
    ]
}

#[test]
fn a_volume_must_be_open_to_repair_on_the_same_connection() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.connect(2);
    rig.opened(2, repair());
    for body in of_a_volume() {
        assert_eq!(rig.refused(1, body), ErrorCode::BadRequest, "not open");
    }
    rig.opened(1, open_as(0, 1, OpenMode::Reader));
    for body in of_a_volume() {
        assert_eq!(rig.refused(1, body), ErrorCode::BadRequest, "open for reading");
    }
    rig.opened(1, open(5, 1));
    for body in of_a_volume() {
        assert_eq!(rig.refused(1, body), ErrorCode::BadRequest, "a writer copies nothing");
    }
    assert_eq!(rig.replica.store().told, ["fence 5"]);
    assert_eq!(rig.refused(2, write(5, 1)), ErrorCode::BadRequest, "a repairer writes nothing");
    assert_eq!(rig.refused(2, flush(version(6, 1))), ErrorCode::BadRequest, "above the fence");
    rig.acked(1, write(5, 1));
    assert!(rig.closed.is_empty(), "an open to repair takes no writer's place");
}

#[test]
fn copies_go_below_the_fence_and_never_above_it() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, repair());
    assert_eq!(rig.refused(1, copy_in(version(1, 7))), ErrorCode::BadRequest, "no writer was ever here");
    rig.acked(1, RequestBody::Fence { volume: VOLUME, epoch: VolumeEpoch(5) });
    rig.acked(1, copy_in(version(1, 7)));
    rig.acked(1, RequestBody::CopyTrim { range: range(), version: version(5, 8) });
    assert_eq!(rig.refused(1, copy_in(Version(u64::MAX))), ErrorCode::BadRequest);
    let trim = RequestBody::CopyTrim { range: range(), version: version(6, 1) };
    assert_eq!(rig.refused(1, trim), ErrorCode::BadRequest);
    assert!(matches!(rig.ask(1, RequestBody::Verify { range: range() }), Some(ReplyBody::Verify { .. })));
    assert_eq!(rig.replica.store().told, ["fence 5", "write 1.7 Repair 5", "trim 5.8", "verify"]);
    // A range of another volume is not what was opened.
    let other = BlockRange { volume: VolumeId(4), ..range() };
    let body = RequestBody::CopyTrim { range: other, version: version(1, 1) };
    assert_eq!(rig.refused(1, body), ErrorCode::BadRequest);
    rig.replica.store.deleted = true;
    for body in of_a_volume() {
        assert_eq!(rig.refused(1, body), ErrorCode::Deleted);
    }
}

#[test]
fn frames_of_a_former_membership_are_refused_even_after_a_restart() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, repair());
    rig.acked(1, RequestBody::Fence { volume: VOLUME, epoch: VolumeEpoch(5) });
    rig.group_epoch = GroupEpoch(7);
    rig.acked(1, RequestBody::AdoptGroup { group: group() });
    rig.group_epoch = GroupEpoch(6);
    assert_eq!(rig.refused(1, RequestBody::AdoptGroup { group: group() }), ErrorCode::StaleGroupEpoch);
    let mut store = std::mem::take(&mut rig.replica.store);
    store.told.clear();
    let mut rig = Rig::new();
    rig.replica.store = store;
    rig.connect(1);
    rig.opened(1, repair());
    rig.group_epoch = GroupEpoch(6);
    let stale = of_a_volume().into_iter().filter(|body| !matches!(body, RequestBody::Fence { .. }));
    for body in stale {
        assert_eq!(rig.refused(1, body.clone()), ErrorCode::StaleGroupEpoch, "{body:?}");
    }
    rig.connect(2);
    rig.opened(2, open(5, 1));
    assert_eq!(rig.refused(2, write(5, 1)), ErrorCode::StaleGroupEpoch, "the writer's, too");
    let read = RequestBody::Read { range: range(), epoch: VolumeEpoch(5) };
    assert_eq!(rig.refused(2, read), ErrorCode::StaleGroupEpoch);
    assert!(rig.replica.store().told == ["fence 5"], "{:?}", rig.replica.store().told);
    rig.group_epoch = GroupEpoch(7);
    rig.acked(2, write(5, 1));
    // Another group has an epoch of its own.
    rig.group_epoch = GroupEpoch(1);
    rig.acked(1, RequestBody::AdoptGroup { group: GroupId((group().0 + 1) % 8) });
    assert_eq!(rig.refused(1, RequestBody::AdoptGroup { group: GroupId(MAX_GROUPS) }), ErrorCode::BadRequest);
}

#[test]
fn a_group_is_cleared_only_for_those_who_know_its_epoch() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.connect(2);
    let clear = || RequestBody::ClearGroup { group: group(), groups: 8 };
    rig.opened(2, open(5, 1));
    rig.group_epoch = GroupEpoch(6);
    rig.acked(2, write(5, 1));
    rig.group_epoch = GroupEpoch(7);
    rig.acked(1, clear());
    // A writer that does not know yet that the disk left the group; and a copy that lingered.
    rig.group_epoch = GroupEpoch(6);
    assert_eq!(rig.refused(2, write(5, 2)), ErrorCode::StaleGroupEpoch);
    rig.opened(1, repair());
    assert_eq!(rig.refused(1, copy_in(version(5, 1))), ErrorCode::StaleGroupEpoch);
    // It is a member again: an order that was overtaken takes nothing away.
    rig.group_epoch = GroupEpoch(8);
    rig.acked(2, write(5, 3));
    rig.group_epoch = GroupEpoch(7);
    assert_eq!(rig.refused(1, clear()), ErrorCode::StaleGroupEpoch);
    for (group, groups) in [(8, 8), (0, 0), (0, MAX_GROUPS + 1)] {
        let body = RequestBody::ClearGroup { group: GroupId(group), groups };
        assert_eq!(rig.refused(1, body), ErrorCode::BadRequest);
    }
    let cleared = format!("clear {} 7", group());
    let told = ["fence 5", "write 5.1 Normal 4", &cleared, "write 5.3 Normal 9"];
    assert_eq!(rig.replica.store().told, told);
}

#[test]
fn what_is_held_is_told_page_by_page() {
    let mut rig = Rig::new();
    let entry = |volume, deleted| VolumeEntry { volume: VolumeId(volume), fence: VolumeEpoch(2), deleted };
    rig.replica.store.volumes = vec![entry(1, true), entry(3, false)];
    let mine = |&index: &u32| group_of(ChunkId { volume: VOLUME, index: ChunkIndex(index) }, 8) == group();
    let chunks = (0..60).map(|index| (ChunkIndex(index), u64::from(index) + 100));
    rig.replica.store.chunks = chunks.collect();
    let run = |first, state| ChunkRun { first, count: 2, version: version(1, 1), state };
    rig.replica.store.runs =
        vec![run(0, BlockState::Data), run(2, BlockState::Trimmed), run(4, BlockState::Corrupt)];
    rig.connect(1);
    let Some(ReplyBody::Volumes { volumes, next }) = rig.ask(1, RequestBody::Volumes { cursor: 2 }) else {
        panic!("no volumes");
    };
    assert_eq!((volumes.len(), volumes[0].volume, next), (1, VolumeId(3), LIST_END));
    rig.opened(1, repair());
    let digests = |cursor, groups| RequestBody::Digests { volume: VOLUME, group: group(), groups, cursor };
    let Some(ReplyBody::Digests { chunks, next }) = rig.ask(1, digests(3, 8)) else { panic!("no digests") };
    let expected = (3..60).filter(mine).map(|index| (ChunkIndex(index), u64::from(index) + 100));
    assert_eq!((chunks, next), (expected.collect(), 9));
    assert_eq!(rig.refused(1, digests(0, 9)), ErrorCode::BadRequest, "another number of groups");
    assert_eq!(rig.refused(1, digests(1 << 32, 8)), ErrorCode::BadRequest, "no such cursor");
    let list = RequestBody::ListChunk { volume: VOLUME, chunk: ChunkIndex(0) };
    let Some(ReplyBody::List { entries, next_cursor }) = rig.ask(1, list) else { panic!("no list") };
    let kinds: Vec<_> = entries.iter().map(|entry| (entry.first, entry.kind)).collect();
    assert_eq!(kinds, [(0, ListKind::Data), (2, ListKind::Trimmed), (4, ListKind::Data)]);
    assert_eq!(next_cursor, LIST_END);
}

#[test]
fn opens_to_repair_make_room_for_each_other_and_for_nobody_else() {
    let mut rig = Rig::new();
    rig.connect(1);
    let open = |volume, mode| {
        let client = ClientId([9; 16]);
        RequestBody::Open { volume: VolumeId(volume), epoch: VolumeEpoch(0), client, mode, groups: 8 }
    };
    for volume in 0..100 {
        rig.opened(1, open(volume, OpenMode::Repair));
    }
    let list = |volume| RequestBody::ListChunk { volume: VolumeId(volume), chunk: ChunkIndex(0) };
    assert_eq!(rig.refused(1, list(35)), ErrorCode::BadRequest);
    assert!(matches!(rig.ask(1, list(36)), Some(ReplyBody::List { .. })));
    assert_eq!(rig.refused(1, open(200, OpenMode::Reader)), ErrorCode::BadRequest);
    rig.connect(2);
    for volume in 0..64 {
        rig.opened(2, open(volume, OpenMode::Reader));
    }
    assert_eq!(rig.refused(2, open(64, OpenMode::Repair)), ErrorCode::BadRequest);
}

#[test]
fn a_copied_horizon_is_never_whole() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, repair());
    rig.acked(1, RequestBody::Fence { volume: VOLUME, epoch: VolumeEpoch(5) });
    let stable = version(5, 3);
    rig.acked(1, RequestBody::Flush { volume: VOLUME, through: stable, stable, whole: true });
    assert_eq!(rig.replica.store().told, ["fence 5", "horizon 5.3 5.3", "flush"]);
}

#[test]
fn a_flush_says_whether_all_groups_are_whole() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, open(5, 1));
    let stable = version(5, 3);
    rig.settled = stable;
    rig.acked(1, RequestBody::Flush { volume: VOLUME, through: stable, stable, whole: true });
    rig.acked(1, flush(stable));
    let told = ["fence 5", "horizon 5.3 5.3 whole", "flush", "horizon 5.3 5.3", "flush"];
    assert_eq!(rig.replica.store().told, told);
}

#[test]
fn a_copy_takes_the_place_of_what_it_expects_and_of_nothing_else() {
    let mut rig = Rig::new();
    rig.connect(1);
    rig.opened(1, repair());
    rig.acked(1, RequestBody::Fence { volume: VOLUME, epoch: VolumeEpoch(5) });
    let expecting = |counter, expected| {
        let RequestBody::CopyIn { range, version, crcs, data, .. } = copy_in(version(1, counter)) else {
            panic!("a copy");
        };
        RequestBody::CopyIn { range, version, expect: Some(expected), crcs, data }
    };
    let held = ChunkRun { first: 0, count: 3, version: version(1, 7), state: BlockState::Corrupt };
    rig.replica.store.runs = vec![held];
    rig.acked(1, expecting(7, version(1, 7)));
    rig.acked(1, expecting(8, version(1, 7)));
    assert_eq!(rig.refused(1, expecting(8, version(1, 6))), ErrorCode::Changed);
    assert_eq!(rig.refused(1, expecting(8, Version::ZERO)), ErrorCode::Changed);
    rig.replica.store.runs.clear();
    assert_eq!(rig.refused(1, expecting(7, version(1, 7))), ErrorCode::Changed, "trimmed, and forgotten");
    rig.acked(1, expecting(7, Version::ZERO));
    rig.replica.store.info.forgotten = version(1, 7);
    assert_eq!(rig.refused(1, expecting(7, Version::ZERO)), ErrorCode::Changed, "trimmed, for all one knows");
    rig.acked(1, expecting(8, Version::ZERO));
}
