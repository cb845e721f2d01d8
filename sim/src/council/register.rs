//! What clients race for at the control plane, as sequential models: a key of a bucket, a volume's lease and
//! attachment, and a disk's standing in a group. All are changed on a condition only, and by several at once.

use super::linear::Model;

/// The state of one of the objects.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Object {
    /// The ETag, if the key is there.
    Key(Option<u64>),
    Volume {
        epoch: u32,
        attached: Option<u8>,
    },
    /// Of the first disk in the first group.
    Standing {
        epoch: u32,
        state: u8,
    },
}

/// In sync.
pub const IN: u8 = 0;
/// Catching up.
pub const COMING: u8 = 1;
pub const OUT: u8 = 2;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Op {
    Look,
    /// Where it is asked for, only if the key is not there (`None`), or has that ETag.
    Put {
        etag: u64,
        only: Option<Option<u64>>,
    },
    Delete {
        only: Option<u64>,
    },
    Open,
    Attach(u8),
    Detach,
    /// Takes the attachment over, under the lease of that epoch.
    Move(u8, u32),
    Evict(u32),
    Begin(u32),
    Join(u32),
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Answer {
    Etag(Option<u64>),
    Volume(u32, Option<u8>),
    Standing(u32, u8),
    Epoch(u32),
    Done,
    /// The object is not there.
    Missing,
    /// The condition does not hold.
    Refused,
    Fenced,
    Invalid,
}

impl Model for Object {
    type Op = Op;
    type Answer = Answer;

    fn step(&self, op: &Op) -> (Self, Answer) {
        match *self {
            Self::Key(etag) => key(etag, op),
            Self::Volume { epoch, attached } => volume(epoch, attached, op),
            Self::Standing { epoch, state } => standing(epoch, state, op),
        }
    }
}

fn key(there: Option<u64>, op: &Op) -> (Object, Answer) {
    let (next, answer) = match *op {
        Op::Put { etag, only: None } => (Some(etag), Answer::Done),
        Op::Put { etag, only: Some(only) } if only == there => (Some(etag), Answer::Done),
        Op::Put { only: Some(Some(_)), .. } if there.is_none() => (there, Answer::Missing),
        Op::Put { .. } => (there, Answer::Refused),
        Op::Delete { .. } if there.is_none() => (there, Answer::Missing),
        Op::Delete { only } if only.is_none() || only == there => (None, Answer::Done),
        Op::Delete { .. } => (there, Answer::Refused),
        _ => (there, Answer::Etag(there)),
    };
    (Object::Key(next), answer)
}

fn volume(epoch: u32, attached: Option<u8>, op: &Op) -> (Object, Answer) {
    let stays = |answer| (Object::Volume { epoch, attached }, answer);
    let becomes = |attached| (Object::Volume { epoch, attached }, Answer::Done);
    match *op {
        Op::Open => (Object::Volume { epoch: epoch + 1, attached }, Answer::Epoch(epoch + 1)),
        Op::Attach(at) if attached.is_none_or(|there| there == at) => becomes(Some(at)),
        Op::Attach(_) => stays(Answer::Refused),
        Op::Detach => becomes(None),
        // Asked again because the answer was lost.
        Op::Move(to, _) if attached == Some(to) => stays(Answer::Done),
        Op::Move(..) if attached.is_none() => stays(Answer::Invalid),
        Op::Move(_, at) if at != epoch => stays(Answer::Fenced),
        Op::Move(to, _) => becomes(Some(to)),
        _ => stays(Answer::Volume(epoch, attached)),
    }
}

fn standing(epoch: u32, state: u8, op: &Op) -> (Object, Answer) {
    let next = match *op {
        Op::Evict(at) if at == epoch && state != OUT => Some((epoch + 1, OUT)),
        Op::Begin(at) if at == epoch && state == OUT => Some((epoch + 1, COMING)),
        Op::Join(at) if at == epoch && state == COMING => Some((epoch + 1, IN)),
        Op::Join(_) if state != IN => None,
        _ => Some((epoch, state)),
    };
    match next {
        Some((epoch, state)) => (Object::Standing { epoch, state }, Answer::Standing(epoch, state)),
        None => (Object::Standing { epoch, state }, Answer::Refused),
    }
}
