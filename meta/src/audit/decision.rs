//! Which commands of the control plane are decisions that somebody may want to know of later.

use super::{Entry, Outcome, cut_to};
use crate::command::Command;
use crate::error::MetaError;
use crate::limits::MAX_AUDIT_DETAIL_BYTES;

/// The line of a command that a daemon proposed, with what came of it. None for the object index, which gateways answer for
/// themselves, and for what daemons tell about themselves every few seconds.
pub fn line(command: &Command) -> Option<Entry> {
    let action = match command {
        Command::InitPool(_) => "InitPool",
        Command::RegisterNode(_) => "RegisterNode",
        Command::RegisterDisk(_) => "RegisterDisk",
        Command::CreateVolume { .. } => "CreateVolume",
        Command::DeleteVolume { .. } => "DeleteVolume",
        Command::FinishDelete { .. } => "FinishDelete",
        Command::OpenVolume { .. } => "OpenVolume",
        Command::ResizeVolume { .. } => "ResizeVolume",
        Command::SetAttachment { .. } => "SetAttachment",
        Command::MoveAttachment { .. } => "MoveAttachment",
        Command::EnsureObjectLog { .. } => "EnsureObjectLog",
        Command::PutAccessKey(_) => "PutAccessKey",
        Command::DeleteAccessKey { .. } => "DeleteAccessKey",
        Command::EvictDisk { .. } => "EvictDisk",
        Command::EvictSlowDisk { .. } => "EvictSlowDisk",
        Command::PardonDisk { .. } => "PardonDisk",
        Command::ReplaceDisk { .. } => "ReplaceDisk",
        Command::ReplaceMember { .. } => "ReplaceMember",
        Command::CancelReplace { .. } => "CancelReplace",
        Command::SetDiskState { .. } => "SetDiskState",
        Command::LoseDisk { .. } => "LoseDisk",
        Command::BeginCatchUp { .. } => "BeginCatchUp",
        Command::NotePoolKey { .. } => "NotePoolKey",
        Command::Join { .. } | Command::JoinSince { .. } | Command::JoinCopied { .. } => "Join",
        Command::AddWebhook(_) => "AddWebhook",
        Command::RemoveWebhook { .. } => "RemoveWebhook",
        _ => return None,
    };
    let mut line = Entry::of_daemon(&format!("pool:{action}"), None);
    // Secrets don't show themselves.
    line.detail = Some(cut_to(&format!("{command:?}"), MAX_AUDIT_DETAIL_BYTES));
    Some(line)
}

/// The same with what came of it.
pub fn done<T>(mut line: Entry, result: &Result<T, MetaError>) -> Entry {
    if let Err(error) = result {
        line.outcome = Outcome::Failed;
        line.error = Some(cut_to(&error.to_string(), MAX_AUDIT_DETAIL_BYTES));
    }
    line
}
