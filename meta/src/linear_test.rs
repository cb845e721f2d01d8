//! The control plane's promise 7, from its clients' side: concurrent proposers and readers, over restarts.

use crate::command::Command;
use crate::error::{Entity, ErrorKind, MetaError};
use crate::linear::{Call, Model, is_linearizable};
use crate::object::{Body, ObjectRecord, Precondition, StoredHeaders};
use crate::query::ObjectPart;
use crate::record::{DiskRecord, NodeRecord, PoolRecord};
use crate::{Client, MetaConfig, MetaNode};
use bytes::Bytes;
use proto::control::{Copied, Group, MemberState, PoolMap};
use proto::ids::{DiskId, GroupEpoch, GroupId, NodeId};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

/// One key of a bucket: its ETag, if it is there.
struct Key;

#[derive(Debug, Clone, PartialEq)]
enum KeyOp {
    Get,
    Put { etag: u32, only: Only },
    Delete { only: Only },
}

/// What is asked of the object that is there.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Only {
    Always,
    IfMissing,
    IfEtag(u32),
}

#[derive(Debug, Clone, PartialEq)]
enum KeyAnswer {
    Etag(Option<u32>),
    Done,
    Missing,
    Refused,
}

impl Model for Key {
    type State = Option<u32>;
    type Op = KeyOp;
    type Answer = KeyAnswer;

    fn start(&self) -> Option<u32> {
        None
    }

    fn step(&self, state: &Option<u32>, op: &KeyOp, answer: Option<&KeyAnswer>) -> Option<Option<u32>> {
        let fits = |only: &Only| match (only, state) {
            (Only::Always, _) | (Only::IfMissing, None) => KeyAnswer::Done,
            (Only::IfEtag(etag), Some(there)) if etag == there => KeyAnswer::Done,
            (Only::IfEtag(_), None) => KeyAnswer::Missing,
            (Only::IfMissing | Only::IfEtag(_), Some(_)) => KeyAnswer::Refused,
        };
        let (right, next) = match op {
            KeyOp::Get => (KeyAnswer::Etag(*state), *state),
            KeyOp::Put { etag, only } => match fits(only) {
                KeyAnswer::Done => (KeyAnswer::Done, Some(*etag)),
                refusal => (refusal, *state),
            },
            KeyOp::Delete { only } => match (fits(only), state) {
                (KeyAnswer::Done, Some(_)) => (KeyAnswer::Done, None),
                (KeyAnswer::Done, None) => (KeyAnswer::Missing, None),
                (refusal, _) => (refusal, *state),
            },
        };
        answer.is_none_or(|answer| *answer == right).then_some(next)
    }
}

/// One group's epoch and where disk 1 stands in it.
struct Standing;

#[derive(Debug, Clone, PartialEq)]
enum StandingOp {
    Read,
    Evict(u32),
    Begin(u32),
    Join(u32),
}

/// Epoch and state; `None` for a refusal.
type StandingAnswer = Option<(u32, u8)>;

const IN: u8 = 0;
const COMING: u8 = 1;
const OUT: u8 = 2;

impl Model for Standing {
    type State = (u32, u8);
    type Op = StandingOp;
    type Answer = StandingAnswer;

    fn start(&self) -> (u32, u8) {
        (1, IN)
    }

    fn step(&self, state: &(u32, u8), op: &StandingOp, answer: Option<&StandingAnswer>) -> Option<(u32, u8)> {
        let (epoch, standing) = *state;
        let (right, next) = match op {
            StandingOp::Evict(at) if *at == epoch && standing != OUT => (true, (epoch + 1, OUT)),
            StandingOp::Begin(at) if *at == epoch && standing == OUT => (true, (epoch + 1, COMING)),
            StandingOp::Join(at) if *at == epoch && standing == COMING => (true, (epoch + 1, IN)),
            StandingOp::Join(_) => (standing == IN, *state),
            StandingOp::Read | StandingOp::Evict(_) | StandingOp::Begin(_) => (true, *state),
        };
        let right = right.then_some(next);
        answer.is_none_or(|answer| *answer == right).then_some(next)
    }
}

fn call<O, A>(op: O, called: u64, returned: u64, answer: A) -> Call<O, A> {
    Call { op, called, returned: Some((returned, answer)) }
}

#[test]
fn the_checker_knows_good_from_bad() {
    let put = |etag, only| KeyOp::Put { etag, only };
    let etag = |etag| KeyAnswer::Etag(etag);
    let check = |calls: &[_]| is_linearizable(&Key, calls);
    let write = || call(put(1, Only::Always), 1, 4, KeyAnswer::Done);
    // While a write is under way, both answers are right, but not the old after the new.
    assert!(check(&[write(), call(KeyOp::Get, 2, 3, etag(None)), call(KeyOp::Get, 5, 6, etag(Some(1)))]));
    assert!(check(&[write(), call(KeyOp::Get, 2, 3, etag(Some(1)))]));
    assert!(!check(&[write(), call(KeyOp::Get, 2, 3, etag(Some(1))), call(KeyOp::Get, 4, 5, etag(None))]));
    assert!(!check(&[write(), call(KeyOp::Get, 5, 6, etag(None))]), "a stale read");
    let only_one = |first, second| {
        check(&[call(put(1, Only::IfMissing), 1, 3, first), call(put(2, Only::IfMissing), 2, 4, second)])
    };
    assert!(only_one(KeyAnswer::Refused, KeyAnswer::Done));
    assert!(!only_one(KeyAnswer::Done, KeyAnswer::Done), "two winners");
    assert!(!only_one(KeyAnswer::Refused, KeyAnswer::Refused), "no winner");
    // What nobody heard of may have been done, late or never.
    let lost = || Call { op: put(7, Only::Always), called: 1, returned: None };
    assert!(check(&[lost(), call(KeyOp::Get, 5, 6, etag(None)), call(KeyOp::Get, 7, 8, etag(Some(7)))]));
    assert!(check(&[lost(), call(KeyOp::Get, 5, 6, etag(None))]));
    assert!(!check(&[lost(), call(KeyOp::Get, 5, 6, etag(Some(7))), call(KeyOp::Get, 7, 8, etag(None))]));
    let standing = |calls: &[_]| is_linearizable(&Standing, calls);
    let evict = |at, called, returned, answer| call(StandingOp::Evict(at), called, returned, answer);
    assert!(standing(&[evict(1, 1, 2, Some((2, OUT))), evict(1, 3, 4, Some((2, OUT)))]));
    assert!(!standing(&[evict(1, 1, 2, Some((2, OUT))), evict(1, 3, 4, Some((3, OUT)))]), "a stale epoch");
    assert!(!standing(&[call(StandingOp::Join(1), 1, 2, None)]), "in sync already");
}

/// A sequence that a seed decides (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// A node that is stopped and started under its clients, and what they did.
struct History<O, A> {
    /// How often the node was started.
    starts: AtomicU64,
    client: RwLock<Client>,
    moments: AtomicU64,
    calls: Mutex<Vec<Call<O, A>>>,
}

impl<O: Clone, A> History<O, A> {
    fn new(client: Client) -> Arc<Self> {
        let (starts, moments) = (AtomicU64::new(1), AtomicU64::new(0));
        Arc::new(Self { starts, client: RwLock::new(client), moments, calls: Mutex::new(Vec::new()) })
    }

    /// Does an operation and notes it down. An answer of `None` is one that nobody heard.
    async fn note<F: Future<Output = Option<A>>>(&self, op: O, run: impl FnOnce(Client) -> F) {
        let starts = self.starts.load(Ordering::SeqCst);
        let client = self.client.read().unwrap().clone();
        let called = self.moments.fetch_add(1, Ordering::SeqCst);
        let answer = run(client).await;
        let returned = answer.map(|answer| (self.moments.fetch_add(1, Ordering::SeqCst), answer));
        let heard = returned.is_some();
        self.calls.lock().unwrap().push(Call { op, called, returned });
        // More calls into a stopped node would tell nothing, and make the search long.
        while !heard && self.starts.load(Ordering::SeqCst) == starts {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
    }
}

async fn start(dir: &Path) -> MetaNode {
    let mut config = MetaConfig::new(dir, NodeId(1));
    config.snapshot_after_bytes = 4096;
    MetaNode::start(config).await.unwrap()
}

/// Runs `work` on four clients while the node is stopped and started again, twice.
async fn over_restarts<O, A, F>(
    dir: &Path,
    node: MetaNode,
    history: Arc<History<O, A>>,
    work: impl Fn(Arc<History<O, A>>, u64) -> F,
) -> Vec<Call<O, A>>
where
    O: Clone + Send + 'static,
    A: Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let clients: Vec<_> = (0..4).map(|seed| tokio::spawn(work(Arc::clone(&history), seed))).collect();
    let mut node = node;
    for count in [40, 80] {
        while history.moments.load(Ordering::SeqCst) < count {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        node.stop().await.unwrap();
        node = start(dir).await;
        *history.client.write().unwrap() = node.client();
        history.starts.fetch_add(1, Ordering::SeqCst);
    }
    for client in clients {
        client.await.unwrap();
    }
    node.stop().await.unwrap();
    std::mem::take(&mut *history.calls.lock().unwrap())
}

fn object(etag: u32) -> ObjectRecord {
    ObjectRecord {
        size: 1,
        etag: etag.to_string(),
        last_modified_ms: 1,
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksums: Vec::new(),
        part_sizes: Vec::new(),
        body: Body::Inline(Bytes::from_static(b"x")),
    }
}

fn heard(result: Result<KeyAnswer, MetaError>) -> Option<KeyAnswer> {
    match result.as_ref().map_err(MetaError::kind) {
        Ok(answer) => Some(answer.clone()),
        Err(ErrorKind::NotFound(Entity::Key)) => Some(KeyAnswer::Missing),
        Err(ErrorKind::PreconditionFailed) => Some(KeyAnswer::Refused),
        Err(ErrorKind::Unavailable) => None,
        Err(_) => panic!("{result:?}"),
    }
}

async fn run_key(client: Client, key: &'static str, op: KeyOp) -> Option<KeyAnswer> {
    let condition = |only: &Only| match only {
        Only::Always => Precondition::None,
        Only::IfMissing => Precondition::IfNoneMatchAny,
        Only::IfEtag(etag) => Precondition::IfMatch(etag.to_string()),
    };
    heard(match op {
        KeyOp::Get => match client.object("bucket", key, ObjectPart::Head).await {
            Ok(object) => Ok(KeyAnswer::Etag(Some(object.etag.parse().unwrap()))),
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Key) => Ok(KeyAnswer::Etag(None)),
            Err(error) => Err(error),
        },
        KeyOp::Put { etag, only } => {
            let put = client.put_object("bucket", key, object(etag), condition(&only)).await;
            put.map(|()| KeyAnswer::Done)
        }
        KeyOp::Delete { only } => {
            let there = client.delete_object("bucket", key, condition(&only)).await;
            there.map(|there| if there { KeyAnswer::Done } else { KeyAnswer::Missing })
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditional_writes_are_linearizable_over_restarts() {
    for key in ["a", "b", "c"] {
        let dir = tempfile::tempdir().unwrap();
        let node = start(dir.path()).await;
        node.client().create_bucket("bucket", "root").await.unwrap();
        let history = History::new(node.client());
        let work = move |history: Arc<History<KeyOp, KeyAnswer>>, client: u64| async move {
            let mut dice = Dice(client);
            // ETags of one small set for all: a compare and swap must be able to meet another's write.
            for _ in 0..40 {
                let etag = u32::try_from(dice.below(4)).unwrap();
                let op = match dice.below(8) {
                    0 | 1 => KeyOp::Get,
                    2 => KeyOp::Put { etag, only: Only::Always },
                    3 => KeyOp::Put { etag, only: Only::IfMissing },
                    4 | 5 => KeyOp::Put { etag, only: Only::IfEtag((etag + 1) % 4) },
                    6 => KeyOp::Delete { only: Only::Always },
                    _ => KeyOp::Delete { only: Only::IfEtag(etag) },
                };
                history.note(op.clone(), |client| run_key(client, key, op)).await;
            }
        };
        let calls = over_restarts(dir.path(), node, history, work).await;
        assert_eq!(calls.len(), 160);
        assert!(is_linearizable(&Key, &calls), "{calls:#?}");
        assert!(calls.iter().any(|call| matches!(&call.returned, Some((_, KeyAnswer::Refused)))));
    }
}

fn standing(map: &PoolMap) -> (u32, u8) {
    let group: &Group = &map.groups[0];
    let state = match group.member(DiskId([1; 16])).unwrap().state {
        MemberState::InSync => IN,
        MemberState::CatchingUp => COMING,
        MemberState::Out => OUT,
    };
    (group.epoch.0, state)
}

async fn run_standing(client: Client, op: StandingOp) -> Option<StandingAnswer> {
    let disk = DiskId([1; 16]);
    let named = |epoch| vec![(GroupId(0), GroupEpoch(epoch))];
    let result = match op {
        StandingOp::Read => client.pool_map().await,
        StandingOp::Evict(at) => client.evict_disk(disk, named(at), "why").await,
        StandingOp::Begin(at) => client.begin_catch_up(disk, named(at)).await,
        StandingOp::Join(at) => {
            let copied = Copied { group: GroupId(0), disk, source: DiskId([2; 16]), incarnation: 1 };
            client.join(copied, GroupEpoch(at), 0).await
        }
    };
    match result {
        Ok(map) => Some(Some(standing(&map))),
        Err(error) if error.kind() == ErrorKind::PreconditionFailed => Some(None),
        Err(error) if error.kind() == ErrorKind::Unavailable => None,
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_of_a_group_are_linearizable_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let client = node.client();
    let pool = PoolRecord { id: "p".into(), created_ms: 1, groups: 1, min_in_sync: 2 };
    client.init_pool(pool).await.unwrap();
    client.register_node(NodeRecord { id: NodeId(1), name: "n".into(), zone: "z".into() }).await.unwrap();
    for number in 1..=3 {
        let addr = "127.0.0.1:1".parse().unwrap();
        let record = DiskRecord::new(DiskId([number; 16]), NodeId(1), addr, "z".into(), 1 << 30);
        client.propose(Command::RegisterDisk(record)).await.unwrap();
    }
    let history = History::new(client);
    let work = |history: Arc<History<StandingOp, StandingAnswer>>, seed: u64| async move {
        let mut dice = Dice(seed);
        for _ in 0..40 {
            // What the last answer that anybody got says, or one behind it.
            let behind = u32::try_from(dice.below(8) / 7).unwrap();
            let epoch = {
                let calls = history.calls.lock().unwrap();
                let last = calls.iter().rev().find_map(|call| call.returned.as_ref()?.1);
                last.map_or(1, |(epoch, _)| epoch) - behind
            };
            let op = match dice.below(7) {
                0 => StandingOp::Read,
                1 | 2 => StandingOp::Evict(epoch),
                3 | 4 => StandingOp::Begin(epoch),
                _ => StandingOp::Join(epoch),
            };
            history.note(op.clone(), |client| run_standing(client, op)).await;
        }
    };
    let calls = over_restarts(dir.path(), node, history, work).await;
    assert!(is_linearizable(&Standing, &calls), "{calls:#?}");
    let changes = calls.iter().filter_map(|call| call.returned.as_ref()?.1).map(|(epoch, _)| epoch).max();
    assert!(changes > Some(5), "{changes:?}");
}
