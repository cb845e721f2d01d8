//! Random histories against a slow, obvious model.

use super::*;
use crate::query::{ListObjects, ListedObject};
use proptest::prelude::*;
use std::collections::BTreeMap;

const KEYS: [&str; 9] = ["a", "a/", "a/b", "a/b/c", "a/b/d", "a0", "b", "b\0", "é/x"];

#[derive(Debug, Clone)]
enum Op {
    Put { key: usize, extents: usize, condition: u8 },
    Delete { keys: Vec<usize> },
    Begin { upload: u8 },
    Part { upload: u8, number: u16 },
    Complete { upload: u8, numbers: BTreeSet<u16> },
    Abort { upload: u8 },
    Trim,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let key = 0..KEYS.len();
    let op = prop_oneof![
        6 => (key.clone(), 0usize..3, 0u8..4)
            .prop_map(|(key, extents, condition)| Op::Put { key, extents, condition }),
        2 => prop::collection::vec(key, 1..3).prop_map(|keys| Op::Delete { keys }),
        1 => (0u8..2).prop_map(|upload| Op::Begin { upload }),
        3 => (0u8..2, 1u16..4).prop_map(|(upload, number)| Op::Part { upload, number }),
        1 => (0u8..2, prop::collection::btree_set(1u16..4, 1..3))
            .prop_map(|(upload, numbers)| Op::Complete { upload, numbers }),
        1 => (0u8..2).prop_map(|upload| Op::Abort { upload }),
        1 => Just(Op::Trim),
    ];
    prop::collection::vec(op, 0..40)
}

#[derive(Default)]
struct Model {
    objects: BTreeMap<String, ObjectRecord>,
    uploads: BTreeMap<u8, BTreeMap<u16, (u64, Extent)>>,
    garbage: BTreeSet<Extent>,
}

fn extents_of(record: &ObjectRecord) -> Vec<Extent> {
    match &record.body {
        Body::Extents(extents) => extents.clone(),
        Body::Inline(_) => Vec::new(),
    }
}

fn check(f: &Fixture, model: &Model) {
    let objects = model.objects.values().flat_map(extents_of);
    let parts = model.uploads.values().flat_map(|parts| parts.values().map(|(_, extent)| *extent));
    let owned: Vec<Extent> = objects.chain(parts).collect();
    let set: BTreeSet<Extent> = owned.iter().copied().collect();
    assert_eq!(owned.len(), set.len(), "every extent has one owner");
    assert_eq!(f.referenced(), set);
    assert_eq!(f.garbage(), model.garbage);
    assert!(set.is_disjoint(&model.garbage));
    let usage = BucketUsage {
        objects: model.objects.len() as u64,
        bytes: model.objects.values().map(|object| object.size).sum(),
        uploads: model.uploads.len() as u64,
        upload_bytes: model.uploads.values().flat_map(|parts| parts.values().map(|(size, _)| size)).sum(),
    };
    assert_eq!(f.usage(), usage);
    for key in KEYS {
        assert_eq!(f.object(key).ok(), model.objects.get(key).cloned());
    }
}

fn step(f: &Fixture, model: &mut Model, number: usize, op: Op) {
    match op {
        Op::Put { key, extents, condition } => {
            let key = KEYS[key];
            let extents: Vec<Extent> = (0..extents).map(|_| f.extent(10)).collect();
            let etag = format!("e{number}");
            let record = match extents.len() {
                0 => object(&etag, Body::Inline(Bytes::from_static(b"x")), 1),
                many => object(&etag, Body::Extents(extents.clone()), 10 * many as u64),
            };
            let there = model.objects.get(key).map(|object| object.etag.clone());
            let (condition, allowed) = match (condition, &there) {
                (0, _) => (Precondition::IfNoneMatchAny, there.is_none()),
                (1, Some(etag)) => (Precondition::IfMatch(etag.clone()), true),
                (1 | 2, _) => (Precondition::IfMatch("none".into()), false),
                _ => (Precondition::None, true),
            };
            assert_eq!(f.run(put(key, record.clone(), condition)).is_ok(), allowed);
            if allowed {
                let displaced = model.objects.insert(key.into(), record);
                model.garbage.extend(displaced.iter().flat_map(extents_of));
            } else if !extents.is_empty() {
                f.run(Command::DiscardExtents { extents: extents.clone() }).unwrap();
                model.garbage.extend(extents);
            }
        }
        Op::Delete { keys } => {
            let delete =
                |key: &usize| DeleteObject { key: KEYS[*key].into(), precondition: Precondition::None };
            let objects = keys.iter().map(delete).collect();
            let command = Command::DeleteObjects { bucket: "bucket".into(), objects };
            let Response::Deleted(results) = f.run(command).unwrap() else { panic!() };
            for (key, result) in keys.iter().zip(results) {
                let gone = model.objects.remove(KEYS[*key]);
                assert_eq!(result, Ok(gone.is_some()));
                model.garbage.extend(gone.iter().flat_map(extents_of));
            }
        }
        Op::Begin { upload: id } if !model.uploads.contains_key(&id) => {
            upload(f, "k", id);
            model.uploads.insert(id, BTreeMap::new());
        }
        Op::Part { upload, number } if model.uploads.contains_key(&upload) => {
            let size = 5 << 20;
            let extent = part(f, UploadId([upload; 16]), number, size);
            let parts = model.uploads.get_mut(&upload).unwrap();
            model.garbage.extend(parts.insert(number, (size, extent)).map(|(_, extent)| extent));
        }
        Op::Complete { upload, numbers } => {
            let named: Vec<(u16, String)> = numbers.iter().map(|n| (*n, format!("p{n}"))).collect();
            let named: Vec<(u16, &str)> = named.iter().map(|(n, etag)| (*n, etag.as_str())).collect();
            let result = f.run(complete(UploadId([upload; 16]), &named, Precondition::None));
            let parts = model.uploads.get(&upload);
            let allowed = parts.is_some_and(|parts| numbers.iter().all(|n| parts.contains_key(n)));
            assert_eq!(result.is_ok(), allowed);
            if let Ok(Response::Completed(whole)) = result {
                let parts = model.uploads.remove(&upload).unwrap();
                let unused = parts.iter().filter(|(n, _)| !numbers.contains(n));
                model.garbage.extend(unused.map(|(_, (_, extent))| *extent));
                // The object is at "k", which no other operation touches.
                let displaced = model.objects.insert("k".into(), whole);
                model.garbage.extend(displaced.iter().flat_map(extents_of));
            }
        }
        Op::Abort { upload } => {
            let (bucket, key) = ("bucket".to_owned(), "k".to_owned());
            let result = f.run(Command::AbortUpload { bucket, key, upload: UploadId([upload; 16]) });
            let parts = model.uploads.remove(&upload);
            assert_eq!(result.is_ok(), parts.is_some());
            model.garbage.extend(parts.into_iter().flatten().map(|(_, (_, extent))| extent));
        }
        Op::Trim => {
            let extents: Vec<Extent> = model.garbage.iter().take(2).copied().collect();
            for extent in &extents {
                model.garbage.remove(extent);
            }
            f.run(Command::GarbageDone { volume: f.log, extents }).unwrap();
        }
        Op::Begin { .. } | Op::Part { .. } => {}
    }
}

/// What a listing should be: S3's definition, with no regard to cost.
fn list(model: &Model, query: &ListObjects) -> (Vec<String>, Vec<String>) {
    let (mut names, mut prefixes) = (Vec::new(), Vec::new());
    let after = query.after.clone().unwrap_or_default();
    for key in model.objects.keys().filter(|key| key.starts_with(&query.prefix)) {
        let rest = &key[query.prefix.len()..];
        let cut = query.delimiter.as_ref().and_then(|d| rest.find(d.as_str()).map(|at| at + d.len()));
        match cut {
            Some(cut) => {
                let prefix = key[..query.prefix.len() + cut].to_owned();
                if *key > after && prefix != after && !prefixes.contains(&prefix) {
                    prefixes.push(prefix);
                }
            }
            None if *key > after => names.push(key.clone()),
            None => {}
        }
    }
    (names, prefixes)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn every_history_keeps_its_books(
        ops in ops(),
        prefix in prop::sample::select(vec!["", "a", "a/", "a/b", "é", "z"]),
        delimiter in prop::sample::select(vec![None, Some("/"), Some("b"), Some("/b")]),
        after in prop::sample::select(vec![None, Some("a"), Some("a/"), Some("a/b"), Some("a/b/c"), Some("zz")]),
        limit in 1u32..5,
    ) {
        let f = Fixture::new();
        let mut model = Model::default();
        for (number, op) in ops.into_iter().enumerate() {
            step(&f, &mut model, number, op);
            check(&f, &model);
        }
        let mut query = ListObjects {
            bucket: "bucket".into(),
            prefix: prefix.into(),
            delimiter: delimiter.map(str::to_owned),
            after: after.map(str::to_owned),
            limit,
        };
        let expected = list(&model, &query);
        let (mut names, mut prefixes) = (Vec::new(), Vec::new());
        loop {
            let Answer::Objects(page) = f.ask(Query::ListObjects(query.clone())).unwrap() else { panic!() };
            prop_assert!(page.objects.len() + page.common_prefixes.len() <= limit as usize);
            for ListedObject { key, size, etag, .. } in page.objects {
                let object = &model.objects[&key];
                prop_assert_eq!((size, &etag), (object.size, &object.etag));
                names.push(key);
            }
            prefixes.extend(page.common_prefixes);
            match page.next {
                Some(next) => query.after = Some(next),
                None => break,
            }
        }
        prop_assert_eq!((names, prefixes), expected);
    }
}
