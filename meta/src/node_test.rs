use super::*;
use crate::error::Entity;
use crate::object::{Body, ObjectRecord, Precondition, StoredHeaders};
use crate::query::{ListObjects, ObjectPart};
use bytes::Bytes;
use std::path::Path;

fn record(body: &[u8]) -> ObjectRecord {
    ObjectRecord {
        size: body.len() as u64,
        etag: hex::encode(&body[..body.len().min(16)]) + "e",
        last_modified_ms: 1,
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksums: Vec::new(),
        part_sizes: Vec::new(),
        body: Body::Inline(Bytes::copy_from_slice(body)),
    }
}

async fn start(dir: &Path) -> MetaNode {
    MetaNode::start(MetaConfig::new(dir, NodeId(1))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_stop_and_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let client = node.client();
    client.create_bucket("bucket", "root").await.unwrap();
    client.put_object("bucket", "k", record(b"hello"), Precondition::None).await.unwrap();
    node.stop().await.unwrap();
    assert_eq!(client.bucket("bucket").await.unwrap_err().kind(), ErrorKind::Unavailable);
    let node = start(dir.path()).await;
    let got = node.client().object("bucket", "k", ObjectPart::Whole).await.unwrap();
    assert_eq!(got, record(b"hello"));
    let missing = node.client().object("bucket", "x", ObjectPart::Whole).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound(Entity::Key));
    let list = ListObjects { bucket: "bucket".into(), limit: 10, ..Default::default() };
    assert_eq!(node.client().list_objects(list).await.unwrap().objects.len(), 1);
    node.stop().await.unwrap();
}

/// A node whose folder was copied while it ran, as a crash would leave it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

fn key(n: u32) -> String {
    format!("k{n:05}")
}

async fn fill(client: &Client, range: std::ops::Range<u32>) {
    for n in range {
        client.put_object("bucket", &key(n), record(key(n).as_bytes()), Precondition::None).await.unwrap();
    }
}

async fn check(client: &Client, count: u32) {
    for n in 0..count {
        let got = client.object("bucket", &key(n), ObjectPart::Whole).await.unwrap();
        assert_eq!(got, record(key(n).as_bytes()));
    }
    assert_eq!(client.bucket_usage("bucket").await.unwrap().objects, u64::from(count));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crash_at_any_moment_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    node.client().create_bucket("bucket", "root").await.unwrap();
    for round in 0..4u32 {
        fill(&node.client(), round * 20..(round + 1) * 20).await;
        let crashed = tempfile::tempdir().unwrap();
        let busy = tokio::spawn({
            let client = node.client();
            async move {
                for n in 0.. {
                    let name = format!("other{n}");
                    if client.create_volume(&name, 1 << 20).await.is_err() {
                        break;
                    }
                }
            }
        });
        // The state before the log: a crash leaves them so too, since the log is flushed first.
        copy(&dir.path().join("state"), &crashed.path().join("state"));
        for part in ["log", "snapshots"] {
            copy(&dir.path().join(part), &crashed.path().join(part));
        }
        for file in ["FORMAT", "raft"] {
            fs::copy(dir.path().join(file), crashed.path().join(file)).unwrap();
        }
        busy.abort();
        let survivor = start(crashed.path()).await;
        check(&survivor.client(), (round + 1) * 20).await;
        survivor.stop().await.unwrap();
        if round == 1 {
            node.snapshot().await.unwrap();
        }
    }
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_node_starts_again() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3u32 {
        // What the dropped node left running lets go of the files a moment later; a dead process does at once.
        let node = loop {
            match MetaNode::start(MetaConfig::new(dir.path(), NodeId(1))).await {
                Ok(node) => break node,
                Err(error) => assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}"),
            }
        };
        if round == 0 {
            node.client().create_bucket("bucket", "root").await.unwrap();
        }
        check(&node.client(), round * 10).await;
        fill(&node.client(), round * 10..(round + 1) * 10).await;
        // The lock goes with the process in production; here, with the value.
        let raft = node.local.raft.clone();
        drop(node);
        raft.shutdown().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_or_broken_state_is_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    for with_snapshot in [false, true] {
        for damage in ["deleted", "garbage", "older", "ahead"] {
            let _ = fs::remove_dir_all(dir.path());
            let mut config = MetaConfig::new(dir.path(), NodeId(1));
            config.snapshot_after_bytes = if with_snapshot { 2000 } else { u64::MAX };
            let node = MetaNode::start(config.clone()).await.unwrap();
            node.client().create_bucket("bucket", "root").await.unwrap();
            fill(&node.client(), 0..5).await;
            let count = if damage == "ahead" { 5 } else { 60 };
            fill(&node.client(), 5..count).await;
            node.stop().await.unwrap();
            match damage {
                "deleted" => fs::remove_dir_all(&state).unwrap(),
                "garbage" => {
                    for entry in fs::read_dir(&state).unwrap() {
                        let path = entry.unwrap().path();
                        if path.is_file() {
                            fs::write(path, [0x5a; 4096]).unwrap();
                        }
                    }
                }
                "older" => {
                    // A state that was filled from another log.
                    fs::remove_dir_all(&state).unwrap();
                    let other = tempfile::tempdir().unwrap();
                    start(other.path()).await.stop().await.unwrap();
                    copy(&other.path().join("state"), &state);
                }
                _ => {
                    // The log of an older copy of the folder, under a newer state.
                    let old = tempfile::tempdir().unwrap();
                    copy(dir.path(), old.path());
                    let node = MetaNode::start(config.clone()).await.unwrap();
                    fill(&node.client(), 5..9).await;
                    node.stop().await.unwrap();
                    fs::remove_dir_all(old.path().join("state")).unwrap();
                    copy(&state, &old.path().join("state"));
                    fs::remove_dir_all(dir.path()).unwrap();
                    copy(old.path(), dir.path());
                }
            }
            config.metrics = MetaMetrics::default();
            let node = MetaNode::start(config).await.unwrap();
            check(&node.client(), count).await;
            let rebuilt = node.metrics().rebuilds.get();
            // An empty log's state is simply behind: nothing needs to be rebuilt without a snapshot.
            assert!(rebuilt == 1 || damage == "older", "{damage}, snapshot: {with_snapshot}");
            node.stop().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn snapshots_bound_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = MetaConfig::new(dir.path(), NodeId(1));
    config.snapshot_after_bytes = 64 << 10;
    let node = MetaNode::start(config.clone()).await.unwrap();
    let client = node.client();
    client.create_bucket("bucket", "root").await.unwrap();
    for round in 0..300u32 {
        let body = vec![7; 3000];
        client.put_object("bucket", &key(round % 5), record(&body), Precondition::None).await.unwrap();
    }
    assert!(node.metrics().snapshots.get() >= 2, "{}", node.metrics().snapshots.get());
    let snapshots = fs::read_dir(dir.path().join("snapshots")).unwrap().count();
    assert!(snapshots <= 2, "one, and one that may be being written");
    node.stop().await.unwrap();
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let node = MetaNode::start(config.clone()).await.unwrap();
    assert_eq!(node.client().bucket_usage("bucket").await.unwrap().objects, 5);
    node.stop().await.unwrap();
    // With the log purged behind it, a broken snapshot under a lost state is the end, and says so.
    let snapshot = fs::read_dir(dir.path().join("snapshots")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&snapshot).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&snapshot, bytes).unwrap();
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let error = MetaNode::start(config).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains(snapshot.to_str().unwrap()), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_of_a_newer_format_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    start(dir.path()).await.stop().await.unwrap();
    let names = |dir: &Path| -> Vec<_> {
        let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let before = names(dir.path());
    fs::write(dir.path().join("FORMAT"), "ashlar-meta 3\n").unwrap();
    let error = MetaNode::start(MetaConfig::new(dir.path(), NodeId(1))).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
    assert_eq!(error.to_string().lines().count(), 1);
    assert_eq!(names(dir.path()), before);
    let empty = tempfile::tempdir().unwrap();
    fs::write(empty.path().join("FORMAT"), "ashlar-meta 3\n").unwrap();
    MetaNode::start(MetaConfig::new(empty.path(), NodeId(1))).await.err().unwrap();
    assert_eq!(names(empty.path()), ["FORMAT"], "not even folders were made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_do_not_share_a_folder() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let error = MetaNode::start(MetaConfig::new(dir.path(), NodeId(1))).await.err().unwrap();
    assert!(error.to_string().contains("another process"), "{error}");
    node.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_durable_last_entry_that_is_damaged_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    node.client().create_bucket("bucket", "root").await.unwrap();
    fill(&node.client(), 0..3).await;
    node.stop().await.unwrap();
    let log = fs::read_dir(dir.path().join("log")).unwrap().next().unwrap().unwrap().path();
    let mut bytes = fs::read(&log).unwrap();
    let last = bytes.iter().rposition(|&byte| byte != 0).unwrap();
    bytes[last] ^= 1;
    fs::write(&log, bytes).unwrap();
    let error = MetaNode::start(MetaConfig::new(dir.path(), NodeId(1))).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_compare_and_swap_has_one_winner_each() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let client = node.client();
    client.create_bucket("bucket", "root").await.unwrap();
    let mut tasks = Vec::new();
    for task in 0..8u32 {
        let client = client.clone();
        tasks.push(tokio::spawn(async move {
            let mut won = 0;
            for n in 0..40 {
                let body = format!("{task}-{n}");
                let new = record(body.as_bytes());
                match client.put_object("bucket", &key(n), new, Precondition::IfNoneMatchAny).await {
                    Ok(()) => {
                        won += 1;
                        let got = client.object("bucket", &key(n), ObjectPart::Whole).await.unwrap();
                        assert_eq!(got, record(body.as_bytes()), "a winner reads its own write");
                    }
                    Err(error) => assert_eq!(error.kind(), ErrorKind::PreconditionFailed),
                }
            }
            won
        }));
    }
    let mut won = 0;
    for task in tasks {
        won += task.await.unwrap();
    }
    assert_eq!(won, 40);
    assert_eq!(client.bucket_usage("bucket").await.unwrap().objects, 40);
    node.stop().await.unwrap();
}

/// The log's only file and its bytes, and where what was written ends but for zeros at its end.
fn log_of(dir: &Path) -> (std::path::PathBuf, Vec<u8>, usize) {
    let path = fs::read_dir(dir.join("log")).unwrap().next().unwrap().unwrap().path();
    let bytes = fs::read(&path).unwrap();
    let end = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
    (path, bytes, end)
}

/// How many zeros the record of an object ends with.
fn zeros_at_end(n: u32) -> usize {
    let (bucket, key, record) = ("bucket".to_owned(), key(n), record(key(n).as_bytes()));
    let command = Command::PutObject { bucket, key, record, precondition: Precondition::None };
    let bytes = postcard::to_stdvec(&command).unwrap();
    bytes.iter().rev().take_while(|&&byte| byte == 0).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_cut_at_any_sector_keeps_all_that_was_whole() {
    const COUNT: u32 = 40;
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    node.client().create_bucket("bucket", "root").await.unwrap();
    let begin = log_of(dir.path()).2;
    let mut ends = Vec::new();
    for n in 0..COUNT {
        fill(&node.client(), n..n + 1).await;
        ends.push(log_of(dir.path()).2 + zeros_at_end(n));
    }
    node.stop().await.unwrap();
    // What applied what the cut takes away is the state of a machine that had flushed it: not this crash's.
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let (path, bytes, end) = log_of(dir.path());
    for cut in (0..end).step_by(512) {
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        fs::write(crashed.path().join(path.strip_prefix(dir.path()).unwrap()), &bytes[..cut]).unwrap();
        if cut == 0 {
            let refused = MetaNode::start(MetaConfig::new(crashed.path(), NodeId(1))).await;
            assert_eq!(refused.err().unwrap().kind(), ErrorKind::Corrupt, "this is no torn write");
            continue;
        }
        let node = start(crashed.path()).await;
        let client = node.client();
        if cut < begin {
            assert_eq!(
                client.bucket("bucket").await.unwrap_err().kind(),
                ErrorKind::NotFound(Entity::Bucket)
            );
            client.create_bucket("bucket", "root").await.unwrap();
        }
        let whole = u32::try_from(ends.iter().take_while(|&&end| end <= cut).count()).unwrap();
        check(&client, whole).await;
        fill(&client, whole..COUNT).await;
        node.stop().await.unwrap();
        let node = start(crashed.path()).await;
        check(&node.client(), COUNT).await;
        node.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_committed_entry_that_is_damaged_stops_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    node.client().create_bucket("bucket", "root").await.unwrap();
    fill(&node.client(), 0..20).await;
    let last_begins = log_of(dir.path()).2;
    fill(&node.client(), 20..21).await;
    node.stop().await.unwrap();
    let (path, good, _) = log_of(dir.path());
    for with_state in [true, false] {
        if !with_state {
            fs::remove_dir_all(dir.path().join("state")).unwrap();
        }
        for at in (40..last_begins).step_by(97) {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << (at % 8);
            fs::write(&path, &bytes).unwrap();
            let error = MetaNode::start(MetaConfig::new(dir.path(), NodeId(1))).await.err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
            assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was cut");
        }
    }
    fs::write(&path, &good).unwrap();
    let node = start(dir.path()).await;
    check(&node.client(), 21).await;
    node.stop().await.unwrap();
}

/// Not a check of speed: prints how many proposals a second go through, for whoever wants to know.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement; run it with --release --run-ignored all"]
async fn measure_proposals() {
    let dir = tempfile::tempdir_in(std::env::var("ASHLAR_BENCH_DIR").unwrap_or(".".into())).unwrap();
    let node = start(dir.path()).await;
    let client = node.client();
    client.create_bucket("bucket", "root").await.unwrap();
    for proposers in [1u32, 16, 64] {
        let count = 4000 * proposers.min(8);
        let begin = SystemClock.now();
        let tasks = (0..proposers).map(|task| {
            let client = client.clone();
            tokio::spawn(async move {
                for n in 0..count / proposers {
                    let key = format!("k{task}/{n}");
                    client.put_object("bucket", &key, record(&[7; 3072]), Precondition::None).await.unwrap();
                }
            })
        });
        for task in tasks.collect::<Vec<_>>() {
            task.await.unwrap();
        }
        let seconds = SystemClock.now().since(begin).as_secs_f64();
        println!("{proposers} proposers: {:.0} puts of 3 KiB a second", f64::from(count) / seconds);
    }
    let begin = SystemClock.now();
    for n in 0..20_000 {
        client.object("bucket", &format!("k1/{}", n % 1000), ObjectPart::Whole).await.unwrap();
    }
    println!("{:.0} gets a second", 20_000.0 / SystemClock.now().since(begin).as_secs_f64());
    let begin = SystemClock.now();
    for _ in 0..200 {
        let list = ListObjects { bucket: "bucket".into(), limit: 1000, ..Default::default() };
        assert_eq!(client.list_objects(list).await.unwrap().objects.len(), 1000);
    }
    println!("{:.0} pages of 1000 a second", 200.0 / SystemClock.now().since(begin).as_secs_f64());
    let size = |name: &str| -> u64 {
        let files = fs::read_dir(dir.path().join(name)).unwrap();
        files.map(|file| file.unwrap().metadata().unwrap().len()).sum::<u64>() >> 20
    };
    println!("log {} MiB, snapshots {} MiB, state {} MiB", size("log"), size("snapshots"), size("state"));
    let tasks = (0..16).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in 0..2000u32 {
                let body = [u8::try_from(n % 251).unwrap(); 3072];
                client.put_object("bucket", &key(task), record(&body), Precondition::None).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    println!("after 94 MiB of overwrites: log {} MiB, state {} MiB", size("log"), size("state"));
    node.stop().await.unwrap();
    println!("stopped: log {} MiB, state {} MiB", size("log"), size("state"));
    let begin = SystemClock.now();
    let node = start(dir.path()).await;
    println!("start after a stop: {:?}", SystemClock.now().since(begin));
    node.stop().await.unwrap();
    fs::remove_dir_all(dir.path().join("state")).unwrap();
    let begin = SystemClock.now();
    let node = start(dir.path()).await;
    println!("start with a rebuild: {:?}", SystemClock.now().since(begin));
    node.stop().await.unwrap();
}
