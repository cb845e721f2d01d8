//! Faults that are planted in the index are found, and nothing else is.

use super::super::kv::{Batch, Kv};
use super::super::tests::{Fixture, inline, object, part_record, put, upload_record};
use super::*;
use crate::check::Recounted;
use crate::command::{Command, Response};
use crate::error::Entity;
use crate::object::{Body, BucketUsage, Precondition};
use crate::query::{Answer, Query};
use crate::quota::QuotaOf;
use IndexFaultKind::{NotNamed, NotOwned, Outside, Overlaps};

/// A state with an object of two extents, a small one, and a part.
fn filled() -> (Fixture, Extent, Extent) {
    let f = Fixture::new();
    let (first, second) = (f.extent(4096), f.extent(8192));
    let record = object("e", Body::Extents(vec![first, second]), 10_000);
    f.run(put("a", record, Precondition::None)).unwrap();
    f.run(put("b", inline("small"), Precondition::None)).unwrap();
    let upload = upload_record("k", UploadId([1; 16]));
    f.run(Command::CreateUpload { bucket: "bucket".into(), upload }).unwrap();
    let part = part_record(1, ("p", 4000), vec![f.extent(4096)]);
    let (bucket, key, upload) = ("bucket".into(), "k".into(), UploadId([1; 16]));
    f.run(Command::PutPart { bucket, key, upload, part }).unwrap();
    (f, first, second)
}

/// All faults, by kind, with what they are of.
fn faults(f: &Fixture) -> Vec<(IndexFaultKind, u64)> {
    let mut found = Vec::new();
    let (mut entries, mut bytes) = (0, 0);
    for table in [NamingTable::Objects, NamingTable::Parts] {
        let mut after = None;
        loop {
            let Answer::Naming(page) = f.ask(Query::Naming { table, after }).unwrap() else { panic!() };
            found.extend(page.faults.iter().map(|fault| (fault.kind, fault.extent.offset)));
            entries += page.entries;
            bytes += page.bytes;
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    assert_eq!((entries, bytes), (3, 14_005));
    let mut from_bytes = 0;
    loop {
        // Pages of one, so that what is between two pages is seen too.
        let query = Query::Owned { volume: f.log, from_bytes, limit: 1 };
        let Answer::Owned(page) = f.ask(query).unwrap() else { panic!() };
        found.extend(page.faults.iter().map(|fault| (fault.kind, fault.extent.offset)));
        match page.next_bytes {
            Some(next) => from_bytes = next,
            None => return found,
        }
    }
}

fn change(f: &Fixture, key: Vec<u8>, value: Option<Vec<u8>>) {
    f.kv.apply(Batch::from([(key, value)])).unwrap();
}

#[test]
fn a_healthy_index_has_no_faults() {
    let (f, ..) = filled();
    assert_eq!(faults(&f), []);
}

#[test]
fn every_kind_of_fault_is_found_from_either_side() {
    let (f, first, second) = filled();
    let reference = keys::reference(f.log, second.offset);
    let value = f.kv.get(&reference).unwrap().unwrap();
    change(&f, reference.clone(), None);
    assert_eq!(faults(&f), [(NotOwned, second.offset)]);
    // Of another length, and so into the next one.
    let longer = Reference { len: second.len + 4096, owner: decode::<Reference>(&value).unwrap().owner };
    change(&f, reference.clone(), Some(postcard::to_stdvec(&longer).unwrap()));
    let found = faults(&f);
    let part = second.offset + second.len;
    assert_eq!(found, [(NotOwned, second.offset), (NotNamed, second.offset), (Overlaps, part)]);
    change(&f, reference, Some(value.clone()));
    // In the garbage queue too.
    let garbage = keys::garbage(f.log, first.offset);
    change(&f, garbage.clone(), Some(postcard::to_stdvec(&first.len).unwrap()));
    assert_eq!(faults(&f), [(Overlaps, first.offset)]);
    change(&f, garbage, None);
    // Past what was given out.
    let mut log: LogRecord = load(&f.kv, &keys::log(f.log)).unwrap().unwrap();
    let reserved = std::mem::replace(&mut log.reserved_bytes, second.offset + 4096);
    change(&f, keys::log(f.log), Some(postcard::to_stdvec(&log).unwrap()));
    let found = faults(&f);
    assert_eq!(found, [(Outside, second.offset), (Outside, part), (Outside, second.offset), (Outside, part)]);
    log.reserved_bytes = reserved;
    change(&f, keys::log(f.log), Some(postcard::to_stdvec(&log).unwrap()));
    assert_eq!(faults(&f), []);
    // Owned by what isn't there.
    let lost = Reference { len: 4096, owner: Owner::Object { bucket: 1, key: "none".into() } };
    let extent = f.extent(4096);
    change(&f, keys::reference(f.log, extent.offset), Some(postcard::to_stdvec(&lost).unwrap()));
    assert_eq!(faults(&f), [(NotNamed, extent.offset)]);
    let Answer::Owned(page) =
        f.ask(Query::Owned { volume: f.log, from_bytes: extent.offset, limit: 9 }).unwrap()
    else {
        panic!()
    };
    assert_eq!(page.faults[0].owner, "\"none\" of bucket bucket");
}

#[test]
fn pages_of_what_names_extents_leave_nothing_out() {
    let f = Fixture::new();
    for number in 0..2 * MAX_CHECK_PAGE + 5 {
        f.run(put(&format!("{number:06}"), inline("x"), Precondition::None)).unwrap();
    }
    let (mut after, mut entries, mut pages) = (None, 0, 0);
    loop {
        let query = Query::Naming { table: NamingTable::Objects, after };
        let Answer::Naming(page) = f.ask(query).unwrap() else { panic!() };
        (entries, pages) = (entries + page.entries, pages + 1);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!((entries, pages), (u64::from(2 * MAX_CHECK_PAGE + 5), 3));
}

#[test]
fn what_nobody_owns_is_reclaimed_and_can_not_be_named_any_more() {
    let (f, first, _) = filled();
    let (lost, late) = (f.extent(4096), f.extent(4096));
    let reclaim = |extents: Vec<Extent>| match f.run(Command::ReclaimExtents { extents }) {
        Ok(Response::Reclaimed { bytes }) => bytes,
        other => panic!("{other:?}"),
    };
    assert_eq!(reclaim(vec![first, lost, late]), 8192);
    assert_eq!(reclaim(vec![lost]), 0, "it is queued already");
    assert_eq!(f.garbage(), [lost, late].into());
    let record = object("e", Body::Extents(vec![late]), 4096);
    let refused = f.run(put("c", record, Precondition::None)).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::InUse(Entity::Extent));
    // Of an earlier writer's too, whom nobody may discard for.
    let lost = f.extent(4096);
    f.run(Command::OpenVolume { volume: f.log }).unwrap();
    let refused = f.run(Command::DiscardExtents { extents: vec![lost] }).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Fenced);
    assert_eq!(reclaim(vec![lost]), 4096);
    let outside = Extent { volume: f.log, offset: 1 << 40, len: 4096 };
    let refused = f.run(Command::ReclaimExtents { extents: vec![outside] }).unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Invalid);
    assert_eq!(faults(&f), []);
}

#[test]
fn counters_that_are_wrong_are_found_and_put_right() {
    let (f, ..) = filled();
    let bucket = QuotaOf::Bucket("bucket".into());
    let project = QuotaOf::Project(crate::identity::FIRST_ACCOUNT.into());
    let ask = |of: &QuotaOf| -> Recounted {
        let Answer::Recounted(found) = f.ask(Query::Recount(of.clone())).unwrap() else { panic!() };
        found
    };
    let right = BucketUsage { objects: 2, bytes: 10_005, uploads: 1, upload_bytes: 4000 };
    assert_eq!(ask(&bucket), Recounted { kept: right, counted: right });
    assert!(ask(&project).is_right());
    let key = super::super::keys::usage(1);
    let value = f.kv.get(&key).unwrap().unwrap();
    let (mut usage, bound): (BucketUsage, _) = postcard::take_from_bytes(&value).unwrap();
    usage.bytes += 7;
    change(&f, key, Some([postcard::to_stdvec(&usage).unwrap(), bound.to_vec()].concat()));
    assert_eq!(ask(&bucket), Recounted { kept: usage, counted: right });
    assert_eq!(ask(&project), Recounted { kept: right, counted: usage });
    let run = |of: &QuotaOf, mend: bool| match f.run(Command::Recount { of: of.clone(), mend }) {
        Ok(Response::Recounted(found)) => found,
        other => panic!("{other:?}"),
    };
    assert!(!run(&bucket, false).is_right() && !run(&bucket, false).is_right(), "only looked at");
    assert!(!run(&bucket, true).is_right() && run(&bucket, true).is_right());
    // The project's sum has moved with it, and is as far off as it was.
    assert!(!run(&project, true).is_right() && run(&project, true).is_right());
    assert!(ask(&bucket).is_right() && ask(&project).is_right());
}
