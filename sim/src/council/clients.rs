//! What clients ask the voters for, in the control plane's own commands and answers.

use super::register::{Answer, COMING, IN, OUT, Object, Op};
use super::{Asked, Proposed, Voters};
use bytes::Bytes;
use meta::command::{Command, DeleteObject, Response};
use meta::error::{Entity, ErrorKind, Refusal};
use meta::object::{Body, ObjectRecord, Precondition, StoredHeaders};
use meta::query::{self, ObjectPart, Query};
use meta::record::{Attachment, DiskRecord, NodeRecord, PoolRecord};
use proto::control::{MemberState, PoolMap};
use proto::{DiskId, GroupEpoch, GroupId, NodeId, VolumeEpoch, VolumeId};
use std::net::SocketAddr;

const BUCKET: &str = "bucket";
const VOLUME: &str = "volume";
const FIRST: DiskId = DiskId([1; 16]);
const GROUP: GroupId = GroupId(0);

/// What they race for: the number of one of the objects, and what it is at first.
pub fn objects() -> Vec<Object> {
    vec![
        Object::Key(None),
        Object::Key(None),
        Object::Volume { epoch: 0, attached: None },
        Object::Standing { epoch: 1, state: IN },
    ]
}

/// The commands that make a pool with all of them.
pub fn beginning() -> Vec<Command> {
    let id = "0123456789abcdef0123456789abcdef".into();
    let mut commands = vec![Command::InitPool(PoolRecord { id, created_ms: 1, groups: 2, min_in_sync: 2 })];
    for number in 1..=3u8 {
        let (node, zone) = (NodeId(u64::from(number)), format!("zone-{number}"));
        let name = format!("node-{number}");
        commands.push(Command::RegisterNode(NodeRecord { id: node, name, zone: zone.clone() }));
        let addr = SocketAddr::from(([127, 0, 0, 1], 7000 + u16::from(number)));
        let record = DiskRecord::new(DiskId([number; 16]), node, addr, zone, 1 << 30);
        commands.push(Command::RegisterDisk(record));
    }
    commands.push(Command::CreateBucket { name: BUCKET.into(), owner: "root".into(), now_ms: 1 });
    commands.push(Command::CreateVolume { name: VOLUME.into(), size_bytes: 4 << 20, now_ms: 1 });
    commands
}

fn record(etag: u64) -> ObjectRecord {
    let etag = format!("{etag:032x}");
    ObjectRecord {
        size: etag.len() as u64,
        last_modified_ms: 1,
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksums: Vec::new(),
        part_sizes: Vec::new(),
        body: Body::Inline(Bytes::copy_from_slice(etag.as_bytes())),
        etag,
    }
}

fn condition(only: Option<Option<u64>>) -> Precondition {
    match only {
        None => Precondition::None,
        Some(None) => Precondition::IfNoneMatchAny,
        Some(Some(etag)) => Precondition::IfMatch(format!("{etag:032x}")),
    }
}

fn place(at: u8) -> Attachment {
    Attachment { node: NodeId(u64::from(at)), socket: format!("/run/{at}") }
}

/// The change that an operation is, of the object with that number.
fn command(number: usize, op: &Op, volume: VolumeId) -> Option<Command> {
    let (bucket, key, name) = (BUCKET.to_owned(), number.to_string(), VOLUME.to_owned());
    let groups = |epoch: u32| vec![(GROUP, GroupEpoch(epoch))];
    Some(match *op {
        Op::Look => return None,
        Op::Put { etag, only } => {
            Command::PutObject { bucket, key, record: record(etag), precondition: condition(only) }
        }
        Op::Delete { only } => {
            let precondition = condition(only.map(Some));
            Command::DeleteObjects { bucket, objects: vec![DeleteObject { key, precondition }] }
        }
        Op::Open => Command::OpenVolume { volume },
        Op::Attach(at) => Command::SetAttachment { name, attachment: Some(place(at)) },
        Op::Detach => Command::SetAttachment { name, attachment: None },
        Op::Move(to, epoch) => Command::MoveAttachment { name, to: place(to), epoch: VolumeEpoch(epoch) },
        Op::Evict(epoch) => {
            Command::EvictDisk { disk: FIRST, groups: groups(epoch), why: "it is away".into() }
        }
        Op::Begin(epoch) => Command::BeginCatchUp { disk: FIRST, groups: groups(epoch) },
        Op::Join(epoch) => Command::Join { disk: FIRST, group: GROUP, epoch: GroupEpoch(epoch) },
    })
}

fn standing(map: &PoolMap) -> Answer {
    let group = &map.groups[0];
    let state = match group.member(FIRST).map(|member| member.state) {
        Some(MemberState::InSync) => IN,
        Some(MemberState::CatchingUp) => COMING,
        Some(MemberState::Out) | None => OUT,
    };
    Answer::Standing(group.epoch.0, state)
}

fn refused(refusal: &Refusal) -> Answer {
    match refusal.kind {
        ErrorKind::NotFound(Entity::Key) => Answer::Missing,
        ErrorKind::PreconditionFailed | ErrorKind::InUse(Entity::Volume) => Answer::Refused,
        ErrorKind::Fenced => Answer::Fenced,
        _ => Answer::Invalid,
    }
}

fn answer(result: Result<Response, Refusal>) -> Answer {
    match result {
        Err(refusal) => refused(&refusal),
        Ok(Response::Deleted(deleted)) => match deleted.into_iter().next() {
            Some(Ok(true)) => Answer::Done,
            Some(Err(refusal)) => refused(&refusal),
            Some(Ok(false)) | None => Answer::Missing,
        },
        Ok(Response::Lease(lease)) => Answer::Epoch(lease.epoch.0),
        Ok(Response::Map(map)) => standing(&map),
        Ok(_) => Answer::Done,
    }
}

/// What became of an operation.
#[derive(Debug)]
pub enum Heard {
    /// It was certainly not done.
    NotDone,
    /// Nobody knows.
    Nothing,
    Answer(Answer),
}

impl Voters {
    /// The one volume's id.
    pub const VOLUME: VolumeId = VolumeId(1);

    /// Asks one of the voters to do something.
    pub fn serve(&mut self, voter: usize, number: usize, op: &Op) -> Heard {
        let Some(command) = command(number, op, Self::VOLUME) else { return self.look(voter, number) };
        match self.propose(voter, &command) {
            Proposed::NotHere => Heard::NotDone,
            Proposed::Unknown => Heard::Nothing,
            Proposed::Applied(result) => Heard::Answer(answer(result)),
        }
    }

    fn look(&mut self, voter: usize, number: usize) -> Heard {
        let query = match number {
            0 | 1 => {
                let (bucket, key) = (BUCKET.into(), number.to_string());
                Query::Object { bucket, key, part: ObjectPart::Head }
            }
            2 => Query::VolumeById { volume: Self::VOLUME },
            _ => Query::PoolMap,
        };
        let Asked::Answered(answered) = self.ask(voter, &query) else { return Heard::NotDone };
        Heard::Answer(match answered {
            Some(query::Answer::Object(object)) => Answer::Etag(u64::from_str_radix(&object.etag, 16).ok()),
            Some(query::Answer::Volume(volume)) => {
                let at = volume.attachment.and_then(|there| u8::try_from(there.node.0).ok());
                Answer::Volume(volume.epoch.0, at)
            }
            Some(query::Answer::Map(map)) => standing(&map),
            _ => Answer::Etag(None),
        })
    }
}
