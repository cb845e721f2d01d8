//! W2: S3 PUT, GET, LIST and DELETE, with the SHA-256 of every object known.

use crate::harness::{Random, noise, sha256};
use crate::s3_client::S3Client;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::task::JoinHandle;

const LANES: u64 = 4;
const KEYS: u64 = 30;
const PAUSE: Duration = Duration::from_millis(5);
const MAX_TOLD: usize = 20;

/// What is known of every object: lanes have keys of their own, so that the order of changes is known.
#[derive(Debug, Default)]
pub struct Objects {
    known: BTreeMap<String, Object>,
    pub violations: Vec<String>,
    pub violation_count: u64,
    pub puts: u64,
    pub verified_bytes: u64,
    /// 503s and broken connections: to be tried again.
    pub retries: u64,
    /// 507s: the pool is full.
    pub refused_as_full: u64,
}

#[derive(Debug, Default, Clone)]
struct Object {
    /// The number whose content was answered; `None`: deleted, or never there.
    answered: Option<u64>,
    /// Changes without an answer since: they may have been done. `None` is a deletion.
    unanswered: BTreeSet<Option<u64>>,
}

/// The load, until it is stopped.
pub struct Load {
    stop: Arc<AtomicBool>,
    lanes: Vec<JoinHandle<()>>,
    objects: Arc<Mutex<Objects>>,
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

impl Load {
    /// Starts on a bucket that is there.
    pub fn start(
        runtime: &tokio::runtime::Runtime,
        s3: &S3Client,
        bucket: &str,
        objects: Objects,
        seed: u64,
    ) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let objects = Arc::new(Mutex::new(objects));
        let lanes = (0..LANES)
            .map(|lane| {
                let prefix = format!("/{bucket}/lane{lane}");
                let work = Lane { s3: s3.clone(), prefix, objects: Arc::clone(&objects) };
                runtime.spawn(work.run(Arc::clone(&stop), Random(seed ^ lane << 56)))
            })
            .collect();
        Self { stop, lanes, objects }
    }

    pub fn puts(&self) -> u64 {
        lock(&self.objects).puts
    }

    pub fn verified_bytes(&self) -> u64 {
        lock(&self.objects).verified_bytes
    }

    pub fn refused_as_full(&self) -> u64 {
        lock(&self.objects).refused_as_full
    }

    /// What went wrong since the last call.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut lock(&self.objects).violations)
    }

    /// Lets what is under way end.
    pub fn finish(self, runtime: &tokio::runtime::Runtime) -> Objects {
        self.stop.store(true, Ordering::SeqCst);
        for lane in self.lanes {
            runtime.block_on(lane).unwrap();
        }
        std::mem::take(&mut *lock(&self.objects))
    }
}

fn lock(objects: &Mutex<Objects>) -> MutexGuard<'_, Objects> {
    objects.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Objects {
    fn violation(&mut self, what: String) {
        self.violation_count += 1;
        if self.violations.len() < MAX_TOLD {
            self.violations.push(what);
        }
    }

    /// Whether an answer shows a state that is possible. From then on that is the state.
    fn check(&mut self, key: &str, seen: Option<&[u8]>) {
        let object = self.known.entry(key.to_owned()).or_default();
        let mut possible = object.unanswered.clone();
        possible.insert(object.answered);
        let digest = seen.map(sha256);
        let found = possible.iter().find(|number| number.map(|number| sha256(&body(number))) == digest);
        match found {
            Some(number) => {
                *object = Object { answered: *number, unanswered: BTreeSet::new() };
                self.verified_bytes += seen.map_or(0, |seen| seen.len() as u64);
            }
            None => {
                let what = match seen {
                    Some(seen) => format!("{key}: {} bytes that nobody put there: {object:?}", seen.len()),
                    None => format!("{key} is gone: {object:?}"),
                };
                self.violation(what);
            }
        }
    }

    /// Gets every object that was ever put.
    pub fn verify(mut self, runtime: &tokio::runtime::Runtime, s3: &S3Client) -> Self {
        let keys: Vec<String> = self.known.keys().cloned().collect();
        for key in keys {
            let answer = runtime.block_on(async {
                for _ in 0..200 {
                    match s3.get(&key).await {
                        Some(answer) if answer.status != 503 => return Some(answer),
                        _ => tokio::time::sleep(Duration::from_millis(100)).await,
                    }
                }
                None
            });
            match answer {
                Some(answer) if answer.status == 200 => self.check(&key, Some(&answer.body)),
                Some(answer) if answer.status == 404 => self.check(&key, None),
                other => {
                    let status = other.map(|answer| answer.status);
                    self.violation(format!("{key}: no answer but {status:?} in 20 s"));
                }
            }
        }
        self
    }

    #[track_caller]
    pub fn assert_whole(&self, seed: u64) {
        let count = self.violation_count;
        assert_eq!(count, 0, "seed {seed}: {count} violations:\n{}", self.violations.join("\n"));
    }
}

struct Lane {
    s3: S3Client,
    prefix: String,
    objects: Arc<Mutex<Objects>>,
}

impl Lane {
    async fn run(self, stop: Arc<AtomicBool>, mut random: Random) {
        while !stop.load(Ordering::SeqCst) {
            let key = format!("{}/{}", self.prefix, random.below(KEYS));
            match random.below(10) {
                0..5 => self.put(&key).await,
                5..8 => self.get(&key).await,
                8 => self.delete(&key).await,
                _ => self.list().await,
            }
            // Much of the time is left to the other load.
            tokio::time::sleep(PAUSE).await;
        }
    }

    fn begin(&self, key: &str, change: Option<u64>) {
        lock(&self.objects).known.entry(key.to_owned()).or_default().unanswered.insert(change);
    }

    fn done(&self, key: &str, change: Option<u64>) {
        let object = Object { answered: change, unanswered: BTreeSet::new() };
        lock(&self.objects).known.insert(key.to_owned(), object);
    }

    /// A broken connection or a 503 leaves it open what was done; everything else unexpected is wrong.
    async fn refused(&self, what: &str, key: &str, status: Option<u16>) {
        {
            let mut objects = lock(&self.objects);
            match status {
                None | Some(503) => objects.retries += 1,
                Some(507) => objects.refused_as_full += 1,
                Some(status) => objects.violation(format!("{what} of {key} was answered with {status}")),
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    async fn put(&self, key: &str) {
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        self.begin(key, Some(number));
        match self.s3.put(key, body(number)).await {
            Some(answer) if answer.status == 200 => {
                self.done(key, Some(number));
                lock(&self.objects).puts += 1;
            }
            other => self.refused("PUT", key, other.map(|answer| answer.status)).await,
        }
    }

    async fn delete(&self, key: &str) {
        self.begin(key, None);
        match self.s3.send("DELETE", key, Vec::new()).await {
            Some(answer) if answer.status == 204 => self.done(key, None),
            other => self.refused("DELETE", key, other.map(|answer| answer.status)).await,
        }
    }

    async fn get(&self, key: &str) {
        match self.s3.get(key).await {
            Some(answer) if answer.status == 200 => lock(&self.objects).check(key, Some(&answer.body)),
            Some(answer) if answer.status == 404 => lock(&self.objects).check(key, None),
            other => self.refused("GET", key, other.map(|answer| answer.status)).await,
        }
    }

    /// What was answered is listed, what was deleted is not.
    async fn list(&self) {
        let (bucket, prefix) = self.prefix.trim_start_matches('/').split_once('/').unwrap();
        let path = format!("/{bucket}?list-type=2&prefix={prefix}%2F");
        let answer = match self.s3.send("GET", &path, Vec::new()).await {
            Some(answer) if answer.status == 200 => answer,
            other => return self.refused("LIST", &path, other.map(|answer| answer.status)).await,
        };
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let keys = text.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        let listed: BTreeSet<String> = keys.map(|key| format!("/{bucket}/{key}")).collect();
        let mut objects = lock(&self.objects);
        let mut wrong = Vec::new();
        for (key, object) in objects.known.range(format!("{}/", self.prefix)..) {
            if !key.starts_with(&format!("{}/", self.prefix)) {
                break;
            }
            let sure = object.unanswered.iter().all(|change| change.is_some() == object.answered.is_some());
            if sure && object.answered.is_some() != listed.contains(key) {
                wrong.push(format!("LIST shows {key}: {}, but {object:?}", listed.contains(key)));
            }
        }
        wrong.into_iter().for_each(|what| objects.violation(what));
    }
}

/// Object `number`: some inline in the index, most in the object log.
fn body(number: u64) -> Vec<u8> {
    let sizes = [0, 700, 3072, 3073, 8192, 40_000, 300_000];
    noise(number, sizes[usize::try_from(number % 7).unwrap()])
}
