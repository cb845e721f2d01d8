//! Settings of buckets that the control plane keeps and does not read.

use crate::object::BucketRecord;
use serde::{Deserialize, Serialize};

/// What a setting is about. Its number is in keys: new ones go to the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum SettingKind {
    Cors,
    Tagging,
    Lifecycle,
    Website,
    /// Put with its routes only, by [`Command::PutNotifications`](crate::command::Command::PutNotifications).
    Notification,
    Logging,
    Encryption,
}

impl SettingKind {
    pub const ALL: [SettingKind; 7] = [
        SettingKind::Cors,
        SettingKind::Tagging,
        SettingKind::Lifecycle,
        SettingKind::Website,
        SettingKind::Notification,
        SettingKind::Logging,
        SettingKind::Encryption,
    ];
}

/// A bucket, and one of its settings at the same moment, if it has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketSetting {
    pub bucket: BucketRecord,
    pub text: Option<String>,
}
