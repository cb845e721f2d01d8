//! The check of objects: every fault that is planted is found, and a store that works gives none.
#![allow(clippy::unwrap_used, reason = "a test fails by it")]

#[path = "support/life.rs"]
mod life;
mod support;

use blockd::client::{Holes, OnFull, Volume, VolumeConfig};
use bytes::Bytes;
use life::{Life, TOKEN};
use meta::object::{Body, Extent};
use meta::query::ObjectPart;
use objectd::scrub::{Phase, Progress, Reading, Repair, Report, ScrubConfig, scrub};
use proto::ids::{ClientId, VolumeId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use support::{Client, Response};

const DISK: u64 = 1 << 30;
const BLOCK: u64 = 4096;

fn expect(response: &Response, status: u16) {
    assert_eq!(response.status, status, "{:?}\n{}", response.headers, response.text());
}

fn config(store: &Life) -> ScrubConfig {
    ScrubConfig {
        meta: store.meta.clone(),
        token: TOKEN,
        marks: store.gateway.log_mark().into_iter().collect(),
        reading: Reading::Nothing,
        repair: Repair::Nothing,
        grace: Duration::ZERO,
        progress: Arc::default(),
    }
}

async fn check(store: &Life) -> Report {
    scrub(&config(store)).await
}

async fn deep(store: &Life) -> Report {
    scrub(&ScrubConfig { reading: Reading::All, ..config(store) }).await
}

async fn extents_of(store: &Life, key: &str) -> Vec<Extent> {
    let record = store.meta.object("buc", key, ObjectPart::Head).await.unwrap();
    let Body::Extents(extents) = record.body else { panic!("{key} is in the index") };
    extents
}

/// The log, opened by another writer: the gateway is fenced.
struct Intruder {
    volume: Volume,
    id: VolumeId,
    epoch: proto::ids::VolumeEpoch,
}

async fn intrude(store: &Life) -> Intruder {
    let id = store.log_volume().await;
    let lease = store.meta.open_volume(id).await.unwrap();
    let epoch = lease.epoch;
    let client = ClientId([9; 16]);
    let config = VolumeConfig { lease, token: TOKEN, client, on_full: OnFull::Fail, control: None };
    Intruder { volume: Volume::open(config).await.unwrap(), id, epoch }
}

/// An object of one extent, one in parts, a small one, an unfinished upload.
async fn filled(client: &Client) {
    expect(&client.put("/buc", b"").await, 200);
    expect(&client.put("/buc/one", &[1; 20_000]).await, 200);
    expect(&client.put("/buc/two", &[2; 9000]).await, 200);
    expect(&client.put("/buc/small", b"inline").await, 200);
    let upload = client.post("/buc/parts?uploads", b"").await.element("UploadId").unwrap();
    let part = |number: u32| format!("/buc/parts?partNumber={number}&uploadId={upload}");
    let mut list = String::new();
    for (number, data) in [(1, vec![3; 5 << 20]), (2, vec![4; 5000])] {
        let put = client.put(&part(number), &data).await;
        expect(&put, 200);
        let etag = put.header("etag").unwrap();
        list += &format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    }
    let list = format!("<CompleteMultipartUpload>{list}</CompleteMultipartUpload>");
    expect(&client.post(&format!("/buc/parts?uploadId={upload}"), list.as_bytes()).await, 200);
    let open = client.post("/buc/open?uploads", b"").await.element("UploadId").unwrap();
    expect(&client.put(&format!("/buc/open?partNumber=1&uploadId={open}"), &[5; 4096]).await, 200);
}

/// What that takes in the log.
const FILLED: u64 = 5 * BLOCK + 3 * BLOCK + (5 << 20) + 2 * BLOCK + BLOCK;

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_store_is_well_and_all_of_it_was_looked_at() {
    let store = Life::create(DISK).await;
    filled(&store.client()).await;
    store.wait_for_live(FILLED).await;
    let report = deep(&store).await;
    assert!(report.is_well(), "{report:#?}");
    assert_eq!((report.entries, report.extents), (5, 5));
    assert_eq!(report.bytes, 20_000 + 9000 + 6 + (5 << 20) + 5000 + 4096);
    assert_eq!((report.held_bytes, report.waiting_bytes, report.in_flight_bytes), (FILLED, 0, 0));
    assert_eq!((report.logs, report.logs_done, report.phase), (1, 1, Phase::Done));
    assert_eq!((report.objects_read, report.bytes_read), (4, 20_000 + 9000 + 6 + (5 << 20) + 5000));
    // One bucket, one project.
    assert_eq!(report.usages, 2);
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_store_gives_no_alarm_and_when_all_is_deleted_the_logs_hold_nothing() {
    let store = Arc::new(Life::create(DISK).await);
    expect(&store.client().put("/buc", b"").await, 200);
    expect(&store.client().put("/buc/kept", &[3; 9000]).await, 200);
    let stop = Arc::new(AtomicBool::new(false));
    let mut busy = tokio::task::JoinSet::new();
    for worker in 0u32..4 {
        let (client, stop) = (store.client(), Arc::clone(&stop));
        busy.spawn(async move {
            let mut turn = 0u32;
            while !stop.load(Ordering::SeqCst) {
                turn += 1;
                let target = format!("/buc/{worker}-{}", turn % 5);
                expect(&client.put(&target, &vec![1; 5000 + 3000 * (turn as usize % 7)]).await, 200);
                if turn.is_multiple_of(3) {
                    expect(&client.delete(&target).await, 204);
                }
                if turn.is_multiple_of(4) {
                    let upload = client.post(&format!("{target}?uploads"), b"").await;
                    let upload = upload.element("UploadId").unwrap();
                    let part = format!("{target}?partNumber=1&uploadId={upload}");
                    expect(&client.put(&part, &[2; 10_000]).await, 200);
                    expect(&client.delete(&format!("{target}?uploadId={upload}")).await, 204);
                }
            }
        });
    }
    for _ in 0..8 {
        let report = deep(&store).await;
        assert!(report.is_well(), "{report:#?}");
        assert!(report.held_bytes > 0 && report.entries > 0);
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(ended) = busy.join_next().await {
        ended.unwrap();
    }
    let client = store.client();
    expect(&client.delete("/buc/kept").await, 204);
    for worker in 0..4 {
        for key in 0..5 {
            expect(&client.delete(&format!("/buc/{worker}-{key}")).await, 204);
        }
    }
    store.wait_for_live(0).await;
    let report = check(&store).await;
    assert!(report.is_well(), "{report:#?}");
    assert_eq!((report.entries, report.held_bytes, report.in_flight_bytes), (0, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_extent_was_trimmed_is_found_and_named() {
    let store = Life::create(DISK).await;
    filled(&store.client()).await;
    let intruder = intrude(&store).await;
    let one = extents_of(&store, "one").await[0];
    intruder.volume.trim(one.offset + BLOCK, 2 * BLOCK).await.unwrap();
    intruder.volume.flush().await.unwrap();
    for report in [check(&store).await, deep(&store).await] {
        assert!(!report.is_well());
        assert_eq!((report.lost_extents, report.orphaned_bytes, report.index_fault_count), (1, 0, 0));
        let lost = &report.lost[0];
        assert_eq!((lost.extent, lost.missing_bytes), (one, 2 * BLOCK));
        assert_eq!(lost.owner, "\"one\" of bucket buc");
        let bad: Vec<&str> = report.bad_objects.iter().map(|bad| bad.object.as_str()).collect();
        let read = if report.objects_read > 0 { &["\"one\", version null, of bucket buc"][..] } else { &[] };
        assert_eq!(bad, read);
    }
    intruder.volume.close().await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn data_that_is_whole_and_not_what_was_put_is_found_by_reading_it() {
    let store = Life::create(DISK).await;
    filled(&store.client()).await;
    let intruder = intrude(&store).await;
    let parts = extents_of(&store, "parts").await;
    let last = parts.last().unwrap();
    let mut data = intruder.volume.read(last.offset, 4096, Holes::Error).await.unwrap().to_vec();
    data[7] ^= 1;
    intruder.volume.write(last.offset, Bytes::from(data)).await.unwrap();
    intruder.volume.flush().await.unwrap();
    assert!(check(&store).await.is_well(), "nothing is lost nor orphaned");
    let report = deep(&store).await;
    assert_eq!((report.bad_object_count, report.objects_read), (1, 4));
    assert_eq!(report.bad_objects[0].object, "\"parts\", version null, of bucket buc");
    assert!(report.bad_objects[0].why.starts_with("its ETag is "), "{report:#?}");
    assert!(!report.is_well());
    intruder.volume.close().await;
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orphans_are_found_once_they_can_be_and_given_back() {
    let store = Life::create(DISK).await;
    filled(&store.client()).await;
    store.wait_for_live(FILLED).await;
    let intruder = intrude(&store).await;
    let reserved = store.meta.reserve_log(intruder.id, intruder.epoch, 1 << 20).await.unwrap();
    let planted = vec![8; 3 * 4096];
    intruder.volume.write(reserved.offset + BLOCK, Bytes::from(planted)).await.unwrap();
    intruder.volume.flush().await.unwrap();
    // Nobody has said that it is not on its way.
    let unmarked = || ScrubConfig { marks: BTreeMap::new(), ..config(&store) };
    let report = scrub(&unmarked()).await;
    assert!(report.is_well(), "{report:#?}");
    assert_eq!((report.in_flight_bytes, report.held_bytes), (3 * BLOCK, FILLED + 3 * BLOCK));
    // Its writer says so.
    let marked = |mark: u64| ScrubConfig { marks: [(intruder.id, mark)].into(), ..config(&store) };
    let report = scrub(&marked(reserved.offset + 3 * BLOCK)).await;
    assert_eq!((report.orphaned_bytes, report.in_flight_bytes), (2 * BLOCK, BLOCK));
    let expected = Extent { volume: intruder.id, offset: reserved.offset + BLOCK, len: 2 * BLOCK };
    assert_eq!(report.orphans, [expected]);
    assert!(!report.is_well());
    intruder.volume.close().await;
    // The next writer's sweep would find it.
    store.meta.open_volume(intruder.id).await.unwrap();
    let report = scrub(&unmarked()).await;
    assert!(report.is_well(), "{report:#?}");
    assert_eq!(report.waiting_bytes, FILLED + 3 * BLOCK - FILLED);
    // One that had swept, and left it.
    let sealed = store.meta.log(intruder.id).await.unwrap().sealed_bytes;
    store.meta.mark_swept(intruder.id, sealed).await.unwrap();
    let report = scrub(&ScrubConfig { repair: Repair::WhatCanBe, ..unmarked() }).await;
    assert_eq!((report.orphaned_bytes, report.reclaimed_bytes), (3 * BLOCK, 3 * BLOCK));
    assert!(report.is_well() && report.lost_extents == 0, "{report:#?}");
    let report = scrub(&unmarked()).await;
    assert_eq!((report.orphaned_bytes, report.waiting_bytes), (0, 3 * BLOCK));
    // The log's gateway trims it as any garbage.
    let store = Life::open(store.stop().await).await;
    store.wait_for_live(FILLED).await;
    let report = deep(&store).await;
    assert!(report.is_well(), "{report:#?}");
    assert_eq!((report.held_bytes, report.waiting_bytes), (FILLED, 0));
    store.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_looked_at_is_said_and_never_called_lost() {
    let mut store = Life::create(DISK).await;
    filled(&store.client()).await;
    let gone = store.disks.pop().unwrap();
    gone.stop().unwrap();
    let report = check(&store).await;
    assert!(!report.is_well());
    assert_eq!((report.lost_extents, report.orphaned_bytes), (0, 0));
    assert_eq!(report.troubles.len(), 1, "{report:#?}");
    assert!(report.troubles[0].contains("could not be looked at"), "{report:#?}");
    while let Some(disk) = store.disks.pop() {
        disk.stop().unwrap();
    }
    let report = check(&store).await;
    assert!(report.unproven_chunks > 0 && report.lost_extents == 0, "{report:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_tells_how_far_it_is() {
    let store = Life::create(DISK).await;
    filled(&store.client()).await;
    let progress: Arc<Progress> = Arc::default();
    assert_eq!(progress.report(), Report::default());
    let report = scrub(&ScrubConfig { progress: Arc::clone(&progress), ..config(&store) }).await;
    assert_eq!(progress.report(), report);
    assert_eq!(report.phase, Phase::Done);
    store.stop().await;
}
