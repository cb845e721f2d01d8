//! The control plane's state machine by itself, over a map in memory: `cargo bench -p meta`.
#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use divan::{Bencher, black_box};
use meta::command::Command;
use meta::object::{Body, ObjectRecord, Precondition, StoredHeaders};
use meta::query::{Answer, ListObjects, Query};
use meta::state::kv::{Kv, MemKv};
use meta::state::txn::Txn;
use meta::state::{answer, apply};
use std::sync::OnceLock;

const KEYS: u32 = 1_000_000;
/// A flat page and a page by delimiter are to cost the same here.
const FEW_KEYS: u32 = 10_000;
const KEYS_OF_A_FOLDER: u32 = 1000;
const PAGE: u32 = 1000;

fn main() {
    divan::main();
}

fn run(kv: &MemKv, command: Command) {
    let mut txn = Txn::new(kv);
    apply(&mut txn, command).unwrap().unwrap();
    kv.apply(txn.into_batch()).unwrap();
}

fn key(number: u32) -> String {
    format!("big/{:04}/{:03}", number / KEYS_OF_A_FOLDER, number % KEYS_OF_A_FOLDER)
}

fn put(key: String) -> Command {
    let record = ObjectRecord {
        size: 5,
        etag: "eb5c1399a871211c7e7ed732d15e3a8b".into(),
        last_modified_ms: 1,
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksums: Vec::new(),
        part_sizes: Vec::new(),
        body: Body::Inline(Bytes::from_static(b"small")),
    };
    Command::PutObject { bucket: "bucket".into(), key, record, precondition: Precondition::None }
}

/// A bucket of so many keys, in folders of a thousand.
fn bucket(keys: u32) -> MemKv {
    let kv = MemKv::default();
    run(&kv, Command::CreateBucket { name: "bucket".into(), owner: "root".into(), now_ms: 1 });
    for first in (0..keys).step_by(KEYS_OF_A_FOLDER as usize) {
        let mut txn = Txn::new(&kv);
        for number in first..keys.min(first + KEYS_OF_A_FOLDER) {
            apply(&mut txn, put(key(number))).unwrap().unwrap();
        }
        kv.apply(txn.into_batch()).unwrap();
    }
    kv
}

/// Made once: it takes seconds.
fn bucket_of(keys: u32) -> &'static MemKv {
    static FEW: OnceLock<MemKv> = OnceLock::new();
    static MANY: OnceLock<MemKv> = OnceLock::new();
    let cell = if keys == FEW_KEYS { &FEW } else { &MANY };
    cell.get_or_init(|| bucket(keys))
}

fn list(
    bencher: Bencher<'_, '_>,
    keys: u32,
    (prefix, delimiter, after): (&str, Option<&str>, Option<String>),
) {
    let kv = bucket_of(keys);
    let list = ListObjects {
        bucket: "bucket".into(),
        prefix: prefix.into(),
        delimiter: delimiter.map(str::to_owned),
        after,
        limit: PAGE,
    };
    let query = Query::ListObjects(list);
    bencher.bench(|| {
        let Answer::Objects(page) = answer(kv, black_box(&query), None).unwrap() else { panic!() };
        page
    });
}

/// A thousand keys from the middle.
#[divan::bench(args = [FEW_KEYS, KEYS])]
fn list_flat(bencher: Bencher<'_, '_>, keys: u32) {
    list(bencher, keys, ("", None, Some(key(keys / 2))));
}

/// One common prefix for them all: a seek past everything.
#[divan::bench(args = [FEW_KEYS, KEYS])]
fn list_top_by_delimiter(bencher: Bencher<'_, '_>, keys: u32) {
    list(bencher, keys, ("", Some("/"), None));
}

/// A folder each: ten seeks of few keys, a thousand of many.
#[divan::bench(args = [FEW_KEYS, KEYS])]
fn list_folders_by_delimiter(bencher: Bencher<'_, '_>, keys: u32) {
    list(bencher, keys, ("big/", Some("/"), None));
}

/// One PutObject of a new key and its changes' way into the map.
#[divan::bench(args = [FEW_KEYS, KEYS])]
fn put_object(bencher: Bencher<'_, '_>, keys: u32) {
    let kv = bucket_of(keys);
    bencher.bench_local(|| {
        // The changes are dropped, so that every run finds the same bucket.
        let mut txn = Txn::new(kv);
        apply(&mut txn, black_box(put("big/0003/new".into()))).unwrap().unwrap();
        txn.into_batch()
    });
}
