//! Clients of objects: they race with conditional writes, and lose answers.
//!
//! Every write is of a key that does not exist, or of an ETag that was read, and ETags are never used twice. So
//! successful writes of a key form one chain, and linearizability is: no ETag is replaced twice, and no read
//! sees one that was known to be replaced before the read began.

use crate::fault::SimFault;
use crate::scenario::Run;
use crate::world::{Due, MILLISECOND, SECOND, Violation, violation};
use bytes::Bytes;
use meta::command::Command;
use meta::object::{Body, ObjectRecord, Precondition, StoredHeaders};
use meta::query::{Answer, ObjectPart, Query};
use std::collections::BTreeMap;

pub const CLIENTS: usize = 3;
const KEYS: u64 = 2;
const BUCKET: &str = "bucket";
/// Answers that get lost, in a hundred.
const LOST: u64 = 5;

#[derive(Debug, Clone)]
enum Ask {
    Read,
    Create,
    /// Replaces what the client read last.
    Replace(String),
}

#[derive(Debug, Clone)]
enum Heard {
    Read(Option<String>),
    Put(bool),
    Nothing,
}

#[derive(Debug, Clone)]
struct Client {
    key: u64,
    ask: Ask,
    etag: String,
    began: u64,
    heard: Heard,
    /// The ETag it read last, by key.
    read: BTreeMap<u64, String>,
}

/// What is known of a key.
#[derive(Debug, Default)]
struct Key {
    /// By ETag: when a writer heard that it had replaced it.
    replaced: BTreeMap<String, u64>,
    /// When a writer heard that it had made the object.
    created: Option<u64>,
}

#[derive(Debug)]
pub struct Objects {
    clients: Vec<Client>,
    keys: BTreeMap<u64, Key>,
    next_etag: u64,
    /// Operations left of a burst.
    burst: u64,
}

fn record(etag: &str) -> ObjectRecord {
    ObjectRecord {
        size: etag.len() as u64,
        etag: etag.to_owned(),
        last_modified_ms: 1,
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksums: Vec::new(),
        part_sizes: Vec::new(),
        body: Body::Inline(Bytes::copy_from_slice(etag.as_bytes())),
    }
}

impl Objects {
    pub fn new() -> Self {
        let (etag, read) = (String::new(), BTreeMap::new());
        let client = Client { key: 0, ask: Ask::Read, etag, began: 0, heard: Heard::Nothing, read };
        Self { clients: vec![client; CLIENTS], keys: BTreeMap::new(), next_etag: 1, burst: 0 }
    }
}

impl Default for Objects {
    fn default() -> Self {
        Self::new()
    }
}

impl Run {
    pub fn make_bucket(&mut self) {
        let bucket = Command::CreateBucket { name: BUCKET.into(), owner: "root".into(), now_ms: 1 };
        self.world.control.run(bucket).expect("a bucket can be made");
        for client in 0..CLIENTS {
            self.world.due(SECOND, Due::Client(client));
        }
    }

    /// A client begins its next operation.
    pub fn client_due(&mut self, number: usize) {
        if self.calm {
            return;
        }
        if self.objects.burst == 0 {
            self.objects.burst = 3 + self.world.rng.below(9);
            let wait = self.world.rng.spread(20 * SECOND, 5);
            self.world.due(wait, Due::Client(number));
            return;
        }
        self.objects.burst -= 1;
        let key = self.world.rng.below(KEYS);
        let began = self.world.moment();
        let etag = format!("{:032x}", self.objects.next_etag);
        self.objects.next_etag += 1;
        let client = &mut self.objects.clients[number];
        let known = client.read.get(&key).cloned();
        client.ask = match (self.world.rng.below(3), known) {
            (0, _) => Ask::Read,
            (_, Some(etag)) => Ask::Replace(etag),
            (_, None) if self.world.rng.chance(50) => Ask::Create,
            (_, None) => Ask::Read,
        };
        (client.key, client.etag, client.began, client.heard) = (key, etag, began, Heard::Nothing);
        if self.world.fault == SimFault::StalePrecondition && !matches!(client.ask, Ask::Read) {
            // It looks for itself whether its precondition holds, and does not give it to the control plane.
            let there = self.object(key);
            let client = &mut self.objects.clients[number];
            let holds = match &client.ask {
                Ask::Create => there.is_none(),
                Ask::Replace(etag) => there.as_ref() == Some(etag),
                Ask::Read => true,
            };
            client.heard = Heard::Put(holds);
        }
        let wait = self.world.rng.below(3 * MILLISECOND);
        self.world.due(wait, Due::ClientAsks(number));
    }

    fn object(&self, key: u64) -> Option<String> {
        let query = Query::Object { bucket: BUCKET.into(), key: key.to_string(), part: ObjectPart::Whole };
        match self.world.control.ask(&query) {
            Some(Answer::Object(object)) => Some(object.etag),
            _ => None,
        }
    }

    /// The client's request reaches the control plane, if that is there.
    pub fn client_asks(&mut self, number: usize) {
        let client = self.objects.clients[number].clone();
        let wait = self.world.rng.below(3 * MILLISECOND);
        self.world.due(wait, Due::ClientHears(number));
        if self.world.control.down_until > self.world.now {
            self.objects.clients[number].heard = Heard::Nothing;
            return;
        }
        let heard = match (&client.ask, &client.heard) {
            (Ask::Read, _) => Heard::Read(self.object(client.key)),
            (_, Heard::Put(false)) => Heard::Put(false),
            (_, Heard::Put(true)) => Heard::Put(self.put(&client, Precondition::None)),
            (Ask::Create, _) => Heard::Put(self.put(&client, Precondition::IfNoneMatchAny)),
            (Ask::Replace(etag), _) => Heard::Put(self.put(&client, Precondition::IfMatch(etag.clone()))),
        };
        self.objects.clients[number].heard = heard;
    }

    fn put(&mut self, client: &Client, precondition: Precondition) -> bool {
        let (bucket, key) = (BUCKET.into(), client.key.to_string());
        let put = Command::PutObject { bucket, key, record: record(&client.etag), precondition };
        self.world.control.run(put).is_ok()
    }

    /// The client hears what became of it, or never does.
    pub fn client_hears(&mut self, number: usize) -> Result<(), Violation> {
        let wait = self.world.rng.below(10 * MILLISECOND);
        self.world.due(wait, Due::Client(number));
        if self.world.rng.chance(LOST) {
            return Ok(());
        }
        let now = self.world.moment();
        self.world.totals.conditional += 1;
        let Objects { clients, keys, .. } = &mut self.objects;
        let client = &mut clients[number];
        let key = keys.entry(client.key).or_default();
        match (&client.ask, &client.heard) {
            (_, Heard::Read(None)) if key.created.is_some_and(|created| created < client.began) => {
                return violation("objects", format!("key {} is gone", client.key));
            }
            (_, Heard::Read(Some(etag))) => {
                if key.replaced.get(etag).is_some_and(|&replaced| replaced < client.began) {
                    let what = format!("a read of key {} saw {etag}, which was replaced before", client.key);
                    return violation("objects", what);
                }
                client.read.insert(client.key, etag.clone());
            }
            (Ask::Create, Heard::Put(true)) => {
                let before = key.created.replace(now);
                if before.is_some() {
                    return violation("objects", format!("key {} was made twice", client.key));
                }
            }
            (Ask::Replace(etag), Heard::Put(true)) => {
                if key.replaced.insert(etag.clone(), now).is_some() {
                    return violation("objects", format!("{etag} of key {} was replaced twice", client.key));
                }
                client.read.insert(client.key, client.etag.clone());
            }
            _ => {}
        }
        Ok(())
    }
}
