//! The control plane: its real state machine over a map in memory. What it acked it keeps; it may be away.

use meta::command::{Command, Response};
use meta::error::Refusal;
use meta::query::{Answer, Query};
use meta::record::{DiskRecord, NodeRecord, PoolRecord};
use meta::state::kv::{Kv, MemKv};
use meta::state::{self, txn::Txn};
use proto::control::{Group, Lease, PoolMap};
use proto::{DiskId, GroupId, NodeId, VolumeId};
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;

pub const GROUPS: u32 = 4;
pub const MIN_IN_SYNC: u32 = 2;

#[derive(Debug, Default)]
pub struct Control {
    kv: MemKv,
    /// What [`Control::shape`] found, until the next change.
    shape: RefCell<Option<Rc<Shape>>>,
    /// Everything it applied, to be applied again.
    log: Vec<Command>,
    pub down_until: u64,
    /// Until then what it does may not be heard of.
    pub mute_until: u64,
}

/// The pool's disks, as everybody asks for them all the time.
#[derive(Debug)]
pub struct Shape {
    pub map: PoolMap,
    /// Every member of every group is in sync.
    pub whole: bool,
    /// Groups that disks left and hold an old copy of.
    pub left: Vec<(GroupId, DiskId)>,
}

fn apply(kv: &MemKv, command: Command) -> Result<Response, Refusal> {
    let mut txn = Txn::new(kv);
    let result = state::apply(&mut txn, command).expect("a map in memory does not fail");
    kv.apply(txn.into_batch()).expect("a map in memory does not fail");
    result
}

impl Control {
    /// A pool with its groups' number; disks come with [`Control::register`].
    pub fn new() -> Self {
        let mut control = Self::default();
        let pool = PoolRecord {
            id: "0123456789abcdef0123456789abcdef".into(),
            created_ms: 1,
            groups: GROUPS,
            min_in_sync: MIN_IN_SYNC,
        };
        control.run(Command::InitPool(pool)).expect("the first pool is made");
        control
    }

    /// A disk on a node of its own.
    pub fn register(&mut self, disk: DiskId, node: u64, capacity_bytes: u64) {
        let id = NodeId(node);
        let record = NodeRecord { id, name: format!("node-{node}"), zone: format!("zone-{node}") };
        self.run(Command::RegisterNode(record)).expect("a node can be registered");
        let addr = SocketAddr::from(([127, 0, 0, 1], 7000 + u16::try_from(node).expect("a few nodes")));
        let zone = format!("zone-{node}");
        let record = DiskRecord::new(disk, id, addr, zone, capacity_bytes);
        self.run(Command::RegisterDisk(record)).expect("a disk can be registered");
    }

    pub fn run(&mut self, command: Command) -> Result<Response, Refusal> {
        self.shape.take();
        self.log.push(command.clone());
        apply(&self.kv, command)
    }

    /// A planted bug's: the newest command is not in the log.
    pub fn forget_newest(&mut self) {
        self.log.pop();
    }

    pub fn ask(&self, query: &Query) -> Option<Answer> {
        state::answer(&self.kv, query, None).ok()
    }

    pub fn create_volume(&mut self, name: String, size_bytes: u64) -> VolumeId {
        match self.run(Command::CreateVolume { name, size_bytes, now_ms: 1 }) {
            Ok(Response::Volume(volume)) => volume.id,
            other => unreachable!("a volume is made: {other:?}"),
        }
    }

    pub fn open_volume(&mut self, volume: VolumeId) -> Result<Lease, Refusal> {
        match self.run(Command::OpenVolume { volume })? {
            Response::Lease(lease) => Ok(lease),
            other => unreachable!("an open gives a lease: {other:?}"),
        }
    }

    pub fn map(&self) -> PoolMap {
        self.shape().map.clone()
    }

    /// Looked at after every event of a run's end: so it is worked out once a change only.
    pub fn shape(&self) -> Rc<Shape> {
        Rc::clone(self.shape.borrow_mut().get_or_insert_with(|| Rc::new(self.look())))
    }

    fn look(&self) -> Shape {
        let map = match self.ask(&Query::PoolMap) {
            Some(Answer::Map(map)) => map,
            other => unreachable!("the pool has its disks: {other:?}"),
        };
        let left = match self.ask(&Query::Left) {
            Some(Answer::Left(left)) => left,
            other => unreachable!("who left is known: {other:?}"),
        };
        Shape { whole: map.groups.iter().all(Group::is_whole), left, map }
    }

    /// Whether the log, applied again, gives the same state: what a voter that restarts does.
    pub fn replays(&self) -> bool {
        let again = MemKv::default();
        for command in &self.log {
            let _ = apply(&again, command.clone());
        }
        again.dump() == self.kv.dump()
    }
}
