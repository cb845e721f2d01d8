//! What a write is for, as a server has to know it.

use crate::frame::FrameError;

const FLAG_REPAIR: u16 = 1;
const FLAG_RECONCILE: u16 = 2;

/// What a writer's write or trim is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteKind {
    /// Keeps what is held with the very same version: a resend.
    Normal,
    /// Puts a block back with the version it has: takes the place of an equal one, whether the copy held is good
    /// or bad; a higher version that is held stays ("copy if newer"). May be below the fence: what a peer copies
    /// was accepted there already.
    Repair,
    /// An open's, that makes members agree: as `Normal`, but may take of the room that disks keep for it
    /// (rfd/0005).
    Reconcile,
}

impl WriteKind {
    pub(crate) fn flags(self) -> u16 {
        match self {
            Self::Normal => 0,
            Self::Repair => FLAG_REPAIR,
            Self::Reconcile => FLAG_RECONCILE,
        }
    }

    pub(crate) fn of(flags: u16) -> Result<Self, FrameError> {
        match flags {
            0 => Ok(Self::Normal),
            FLAG_REPAIR => Ok(Self::Repair),
            FLAG_RECONCILE => Ok(Self::Reconcile),
            _ => Err(FrameError::BadPayload("a kind of write that is not known")),
        }
    }
}
