//! A million keys: put one by one, listed flat and by delimiter, deleted. What it took is printed; what is asserted
//! does not depend on the clock.

use crate::harness::{Store, timed};
use crate::s3_client::{S3Client, runtime};
use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// `ASHLAR_TEST_KEYS` asks for another number, a multiple of 1,000.
const KEYS: u32 = 1_000_000;
/// Below each of a folder's names.
const KEYS_OF_A_FOLDER: u32 = 1000;
/// Enough that the control plane's batches are full, and few enough that a slow machine answers each in time.
const CONNECTIONS: u32 = 48;
const PAGE: usize = 1000;

#[test]
fn a_million_keys_are_put_listed_and_deleted() {
    let keys = std::env::var("ASHLAR_TEST_KEYS").map_or(KEYS, |text| text.parse().unwrap());
    assert!(keys >= KEYS_OF_A_FOLDER && keys.is_multiple_of(KEYS_OF_A_FOLDER));
    let store = Store::start("4G");
    let runtime = runtime();
    let client = S3Client::of(&store);
    let mut report = Report { store: &store, text: String::new() };
    report.line("before");
    runtime.block_on(async {
        // Two keys on both sides of the many, so that a listing by delimiter has to come past all.
        for (path, body) in [("/many", ""), ("/many/a", "small"), ("/many/z", "small")] {
            let answer = client.put(path, body.into()).await;
            assert_eq!(answer.map(|answer| answer.status), Some(200), "{path}");
        }
    });
    let ((), seconds) = timed(|| runtime.block_on(put_all(&client, keys)));
    report.line(&format!(
        "{keys} put by {CONNECTIONS} connections in {seconds:.0} s, {:.0} a second",
        f64::from(keys) / seconds
    ));

    let mut times = Vec::new();
    let (mut after, mut next) = (String::new(), 0);
    loop {
        let ((page, more), seconds) =
            timed(|| runtime.block_on(list(&client, &format!("prefix=big%2F&start-after={after}"))));
        times.push(seconds);
        for key in &page {
            assert_eq!(*key, name(next));
            next += 1;
        }
        if !more {
            break;
        }
        after = page.last().unwrap().replace('/', "%2F");
    }
    assert_eq!(next, keys, "listed");
    report.pages("listed flat", &mut times);

    let (page, seconds) = timed(|| runtime.block_on(list(&client, "delimiter=%2F")).0);
    assert_eq!(page, ["a", "z", "big/"]);
    report.line(&format!("the top by delimiter in {:.1} ms", seconds * 1e3));
    let (page, seconds) = timed(|| runtime.block_on(list(&client, "prefix=big%2F&delimiter=%2F")).0);
    let folders: Vec<String> =
        (0..keys / KEYS_OF_A_FOLDER).map(|folder| format!("big/{folder:04}/")).collect();
    assert_eq!(page, folders[..folders.len().min(PAGE)]);
    report.line(&format!("{} folders by delimiter in {:.1} ms", page.len(), seconds * 1e3));

    let ((), seconds) = timed(|| runtime.block_on(delete_all(&client, keys)));
    report.line(&format!(
        "deleted by the thousand in {seconds:.0} s, {:.0} a second",
        f64::from(keys) / seconds
    ));
    let (page, seconds) = timed(|| runtime.block_on(list(&client, "")).0);
    assert_eq!(page, ["a", "z"]);
    report.line(&format!("what is left, listed in {:.1} ms", seconds * 1e3));
    crate::s3_suite::append("ASHLAR_TEST_MEASURED", &report.text);
}

fn name(number: u32) -> String {
    format!("big/{:04}/{:03}", number / KEYS_OF_A_FOLDER, number % KEYS_OF_A_FOLDER)
}

/// Puts every key, in an order in which neighbours are far from each other in time.
async fn put_all(client: &S3Client, keys: u32) {
    let next = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..CONNECTIONS)
        .map(|_| {
            let (client, next) = (client.clone(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= keys {
                        return;
                    }
                    let folders = keys / KEYS_OF_A_FOLDER;
                    let name = name(number % folders * KEYS_OF_A_FOLDER + number / folders);
                    let answer = client.put(&format!("/many/{name}"), b"small".to_vec()).await;
                    assert_eq!(answer.map(|answer| answer.status), Some(200), "{name}");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn list(client: &S3Client, query: &str) -> (Vec<String>, bool) {
    let answer = client.get(&format!("/many?list-type=2&{query}")).await.unwrap();
    let text = String::from_utf8(answer.body).unwrap();
    assert_eq!(answer.status, 200, "{text}");
    let between = |open: &str, close: &str| -> Vec<String> {
        let ends = text.split(open).skip(1).map(|rest| rest.split_once(close).unwrap().0.to_owned());
        ends.collect()
    };
    let mut names = between("<Key>", "</Key>");
    names.extend(between("<CommonPrefixes><Prefix>", "</Prefix>"));
    (names, text.contains("<IsTruncated>true</IsTruncated>"))
}

async fn delete_all(client: &S3Client, keys: u32) {
    for first in (0..keys).step_by(PAGE) {
        let mut body = String::from("<Delete><Quiet>true</Quiet>");
        for number in first..keys.min(first + KEYS_OF_A_FOLDER) {
            let _ = write!(body, "<Object><Key>{}</Key></Object>", name(number));
        }
        body.push_str("</Delete>");
        let answer = client.post_checked("/many?delete", body.into_bytes()).await.unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        assert!(answer.status == 200 && !text.contains("<Error>"), "{text}");
    }
}

/// What it took, line by line.
struct Report<'a> {
    store: &'a Store,
    text: String,
}

impl Report<'_> {
    fn line(&mut self, what: &str) {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.store.pid())).unwrap();
        let kib = |name: &str| -> u64 {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let meta = allocated(&self.store.data().join("meta"));
        let disks = allocated(&self.store.data().join("disks"));
        let line = format!(
            "a million keys: {what}; memory {} MiB (most {}), control plane on disk {} MiB, disks {} MiB\n",
            kib("VmRSS:") >> 10,
            kib("VmHWM:") >> 10,
            meta >> 20,
            disks >> 20
        );
        eprint!("{line}");
        self.text.push_str(&line);
    }

    fn pages(&mut self, what: &str, seconds: &mut [f64]) {
        seconds.sort_by(f64::total_cmp);
        let at = |percent: usize| seconds[(seconds.len() - 1) * percent / 100] * 1e3;
        let (median, p99, most) = (at(50), at(99), at(100));
        self.line(&format!(
            "{what}: {} pages, median {median:.1} ms, p99 {p99:.1} ms, longest {most:.1} ms",
            seconds.len()
        ));
    }
}

/// Bytes that a folder's files take on their disk.
fn allocated(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else { return 0 };
    let sizes = entries.map_while(Result::ok).map(|entry| match entry.metadata() {
        Ok(metadata) if metadata.is_dir() => allocated(&entry.path()),
        Ok(metadata) => metadata.blocks() * 512,
        Err(_) => 0,
    });
    sizes.sum()
}
