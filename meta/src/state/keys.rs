//! The keys of the materialised state. `docs/FORMATS-meta.md` describes them; golden bytes hold them still.
//!
//! A key is `shard (u16) | table (u8) | rest`, big-endian, so that raw order is the order meant. Shard 0 is
//! the pool's own tables. Object tables are in index shards, from 1 up: everything of one shard is one
//! contiguous range, which can move to a Raft group of its own with no change of format.

use crate::check::NamingTable;
use crate::identity::IdentityKind;
use crate::object::UploadId;
use crate::sealing::PoolKeyId;
use crate::setting::SettingKind;
use proto::ids::{DiskId, GroupId, NodeId, VolumeId};

/// The only index shard, so far.
const INDEX_SHARD: u16 = 1;
/// Above every shard: what the storage below the state machine keeps for itself, not part of snapshots.
const OWN_SHARD: u16 = u16::MAX;

/// Ends a key's escaped name; below the escape of a zero byte, so that "a" comes before "a\0".
const END: [u8; 2] = [0x00, 0x01];
/// Stands for a zero byte in a name.
const ZERO: [u8; 2] = [0x00, 0xff];

/// The slot of an object in a bucket without versioning. The lowest slot holds the newest version, and this is
/// the highest: an object from before versioning is older than every later one. A null version that was put
/// since has a slot of its own, which the null table names.
pub const PLAIN_SLOT: u64 = u64::MAX;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum PoolTable {
    Pool = 1,
    Counter = 2,
    Node = 3,
    Disk = 4,
    Group = 5,
    Volume = 6,
    VolumeName = 7,
    Log = 8,
    AccessKey = 9,
    Bucket = 10,
    Left = 11,
    Rebuild = 12,
    Loss = 13,
    Copied = 14,
    Slow = 15,
    Access = 16,
    Account = 17,
    Identity = 18,
    IdentityKey = 19,
    Managed = 20,
    Bound = 21,
    Versioning = 22,
    Setting = 25,
    Lifecycle = 26,
    PoolKey = 27,
    AuditHead = 30,
    Webhook = 31,
    Event = 32,
    Routes = 33,
    WebhookState = 34,
    ProjectUsage = 35,
    IdentityDetails = 40,
    PolicyDetails = 41,
    KeyUse = 42,
}

/// Tables of the pool that change while requests are served and that no request is judged by.
const RESTLESS: [PoolTable; 5] =
    [PoolTable::Counter, PoolTable::Log, PoolTable::Event, PoolTable::WebhookState, PoolTable::ProjectUsage];

/// Whether a request may be judged by what this key holds: who somebody is, and who may do what with a bucket. True of
/// some others too, which change seldom, so that no table that is still to come is forgotten.
pub fn judges(key: &[u8]) -> bool {
    match key {
        [_, _, table, ..] if is_of_pool(key) => !RESTLESS.iter().any(|restless| *restless as u8 == *table),
        _ => false,
    }
}

/// Whether a key is of the pool's tables, which come before all others.
pub fn is_of_pool(key: &[u8]) -> bool {
    key.starts_with(&0u16.to_be_bytes())
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum IndexTable {
    Object = 1,
    Inline = 2,
    Reference = 3,
    Garbage = 4,
    Upload = 5,
    Part = 6,
    Usage = 7,
    Null = 8,
}

fn pool_table(table: PoolTable, rest: &[u8]) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + rest.len());
    key.extend_from_slice(&0u16.to_be_bytes());
    key.push(table as u8);
    key.extend_from_slice(rest);
    key
}

fn index_table(table: IndexTable, capacity: usize) -> Vec<u8> {
    let mut key = Vec::with_capacity(3 + capacity);
    key.extend_from_slice(&INDEX_SHARD.to_be_bytes());
    key.push(table as u8);
    key
}

/// The name's bytes so that no name ends inside another and raw order is the names' byte order.
fn escape_into(key: &mut Vec<u8>, name: &str) {
    for byte in name.bytes() {
        match byte {
            0 => key.extend_from_slice(&ZERO),
            other => key.push(other),
        }
    }
}

/// Where the storage below keeps its applied index.
pub fn applied() -> Vec<u8> {
    OWN_SHARD.to_be_bytes().to_vec()
}

pub fn pool() -> Vec<u8> {
    pool_table(PoolTable::Pool, &[])
}

/// Numbers that are given out once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Counter {
    Volume = 1,
    Bucket = 2,
    /// The pool map's version.
    Map = 3,
    /// Leases given, old ones that are used at last, and volumes deleted.
    Lease = 4,
    Loss = 5,
    Webhook = 6,
    Event = 7,
}

pub fn counter(counter: Counter) -> Vec<u8> {
    pool_table(PoolTable::Counter, &[counter as u8])
}

pub fn audit_head(log: &str) -> Vec<u8> {
    pool_table(PoolTable::AuditHead, log.as_bytes())
}

pub fn audit_heads() -> Vec<u8> {
    pool_table(PoolTable::AuditHead, &[])
}

pub fn node(node: NodeId) -> Vec<u8> {
    pool_table(PoolTable::Node, &node.0.to_be_bytes())
}

pub fn nodes() -> Vec<u8> {
    pool_table(PoolTable::Node, &[])
}

pub fn disk(disk: DiskId) -> Vec<u8> {
    pool_table(PoolTable::Disk, &disk.0)
}

pub fn disks() -> Vec<u8> {
    pool_table(PoolTable::Disk, &[])
}

pub fn group(group: GroupId) -> Vec<u8> {
    pool_table(PoolTable::Group, &group.0.to_be_bytes())
}

pub fn groups() -> Vec<u8> {
    pool_table(PoolTable::Group, &[])
}

/// Data that was given up.
pub fn loss(number: u64) -> Vec<u8> {
    pool_table(PoolTable::Loss, &number.to_be_bytes())
}

pub fn losses() -> Vec<u8> {
    pool_table(PoolTable::Loss, &[])
}

/// A disk that left a group, and what it still holds of it is old.
pub fn left(group: GroupId, disk: DiskId) -> Vec<u8> {
    let mut key = lefts();
    key.extend_from_slice(&group.0.to_be_bytes());
    key.extend_from_slice(&disk.0);
    key
}

pub fn lefts() -> Vec<u8> {
    pool_table(PoolTable::Left, &[])
}

/// What a member's copy of a group was made from.
pub fn copied(group: GroupId, disk: DiskId) -> Vec<u8> {
    let mut key = copies();
    key.extend_from_slice(&group.0.to_be_bytes());
    key.extend_from_slice(&disk.0);
    key
}

pub fn copies() -> Vec<u8> {
    pool_table(PoolTable::Copied, &[])
}

/// A disk that was evicted for being slow.
pub fn slow(disk: DiskId) -> Vec<u8> {
    pool_table(PoolTable::Slow, &disk.0)
}

pub fn slows() -> Vec<u8> {
    pool_table(PoolTable::Slow, &[])
}

/// How far the rebuild that is going on has come.
pub fn rebuild() -> Vec<u8> {
    pool_table(PoolTable::Rebuild, &[])
}

pub fn volume(volume: VolumeId) -> Vec<u8> {
    pool_table(PoolTable::Volume, &volume.0.to_be_bytes())
}

pub fn volumes() -> Vec<u8> {
    pool_table(PoolTable::Volume, &[])
}

pub fn volume_name(name: &str) -> Vec<u8> {
    pool_table(PoolTable::VolumeName, name.as_bytes())
}

pub fn log(volume: VolumeId) -> Vec<u8> {
    pool_table(PoolTable::Log, &volume.0.to_be_bytes())
}

pub fn access_key(id: &str) -> Vec<u8> {
    pool_table(PoolTable::AccessKey, id.as_bytes())
}

pub fn access_keys() -> Vec<u8> {
    pool_table(PoolTable::AccessKey, &[])
}

/// Whom a bucket's policy means.
pub fn bound(bucket: u64) -> Vec<u8> {
    pool_table(PoolTable::Bound, &bucket.to_be_bytes())
}

pub fn account(number: &str) -> Vec<u8> {
    pool_table(PoolTable::Account, number.as_bytes())
}

pub fn accounts() -> Vec<u8> {
    pool_table(PoolTable::Account, &[])
}

/// Numbers of accounts are of one length and have no zero byte, so no account's keys lie among another's.
pub fn identity(kind: IdentityKind, account: &str, lower_name: &str) -> Vec<u8> {
    pool_table(PoolTable::Identity, &identity_rest(kind, account, lower_name))
}

pub fn identities(kind: IdentityKind, account: &str) -> Vec<u8> {
    identity(kind, account, "")
}

/// What an identity has beside its record.
pub fn identity_details(kind: IdentityKind, account: &str, lower_name: &str) -> Vec<u8> {
    pool_table(PoolTable::IdentityDetails, &identity_rest(kind, account, lower_name))
}

fn identity_rest(kind: IdentityKind, account: &str, lower_name: &str) -> Vec<u8> {
    let kind = match kind {
        IdentityKind::User => 1,
        IdentityKind::Group => 2,
        IdentityKind::Role => 3,
    };
    [&[kind], account.as_bytes(), &[0], lower_name.as_bytes()].concat()
}

pub fn identity_key(id: &str) -> Vec<u8> {
    pool_table(PoolTable::IdentityKey, id.as_bytes())
}

/// When a key was last used.
pub fn key_use(id: &str) -> Vec<u8> {
    pool_table(PoolTable::KeyUse, id.as_bytes())
}

pub fn managed(account: &str, lower_name: &str) -> Vec<u8> {
    pool_table(PoolTable::Managed, &managed_rest(account, lower_name))
}

pub fn manageds(account: &str) -> Vec<u8> {
    managed(account, "")
}

/// What a managed policy has beside its record.
pub fn policy_details(account: &str, lower_name: &str) -> Vec<u8> {
    pool_table(PoolTable::PolicyDetails, &managed_rest(account, lower_name))
}

fn managed_rest(account: &str, lower_name: &str) -> Vec<u8> {
    [account.as_bytes(), &[0], lower_name.as_bytes()].concat()
}

pub fn bucket(name: &str) -> Vec<u8> {
    pool_table(PoolTable::Bucket, name.as_bytes())
}

pub fn buckets() -> Vec<u8> {
    pool_table(PoolTable::Bucket, &[])
}

/// What an account's buckets hold together, and may.
pub fn project_usage(account: &str) -> Vec<u8> {
    pool_table(PoolTable::ProjectUsage, account.as_bytes())
}

/// What a bucket does with versions.
pub fn versioning(bucket: u64) -> Vec<u8> {
    pool_table(PoolTable::Versioning, &bucket.to_be_bytes())
}

/// A setting that only gateways read.
pub fn setting(bucket: u64, kind: SettingKind) -> Vec<u8> {
    let mut rest = bucket.to_be_bytes().to_vec();
    rest.push(kind as u8);
    pool_table(PoolTable::Setting, &rest)
}

/// Who works at lifecycles, and how far.
pub fn lifecycle() -> Vec<u8> {
    pool_table(PoolTable::Lifecycle, &[])
}

pub fn webhook(name: &str) -> Vec<u8> {
    pool_table(PoolTable::Webhook, name.as_bytes())
}

pub fn webhooks() -> Vec<u8> {
    pool_table(PoolTable::Webhook, &[])
}

/// An event that waits for a webhook.
pub fn event(webhook: u64, seq: u64) -> Vec<u8> {
    let mut key = events(webhook);
    key.extend_from_slice(&seq.to_be_bytes());
    key
}

pub fn events(webhook: u64) -> Vec<u8> {
    pool_table(PoolTable::Event, &webhook.to_be_bytes())
}

/// Where a bucket's events go.
pub fn routes(bucket: u64) -> Vec<u8> {
    pool_table(PoolTable::Routes, &bucket.to_be_bytes())
}

pub fn all_routes() -> Vec<u8> {
    pool_table(PoolTable::Routes, &[])
}

/// How it goes with a webhook.
pub fn webhook_state(webhook: u64) -> Vec<u8> {
    pool_table(PoolTable::WebhookState, &webhook.to_be_bytes())
}

/// Who posts events.
pub fn event_keeper() -> Vec<u8> {
    pool_table(PoolTable::WebhookState, &[])
}

/// A pool key that gateways told of.
pub fn pool_key(id: PoolKeyId) -> Vec<u8> {
    pool_table(PoolTable::PoolKey, &id.0)
}

pub fn pool_keys() -> Vec<u8> {
    pool_table(PoolTable::PoolKey, &[])
}

/// What says who may use a bucket.
pub fn access(bucket: u64) -> Vec<u8> {
    pool_table(PoolTable::Access, &bucket.to_be_bytes())
}

fn named(table: IndexTable, bucket: u64, name: &str) -> Vec<u8> {
    let mut key = index_table(table, 8 + name.len() + 18);
    key.extend_from_slice(&bucket.to_be_bytes());
    escape_into(&mut key, name);
    key
}

fn versioned(table: IndexTable, bucket: u64, name: &str, slot: u64) -> Vec<u8> {
    let mut key = named(table, bucket, name);
    key.extend_from_slice(&END);
    key.extend_from_slice(&slot.to_be_bytes());
    key
}

pub fn object(bucket: u64, name: &str, slot: u64) -> Vec<u8> {
    versioned(IndexTable::Object, bucket, name, slot)
}

/// What every version's key of this very name starts with.
pub fn versions(bucket: u64, name: &str) -> Vec<u8> {
    let mut key = named(IndexTable::Object, bucket, name);
    key.extend_from_slice(&END);
    key
}

/// The slot in a key of the object table.
pub fn slot_of(key: &[u8]) -> Option<u64> {
    let slot = key.get(key.len().checked_sub(8)?..)?;
    Some(u64::from_be_bytes(slot.try_into().ok()?))
}

pub fn inline(bucket: u64, name: &str, slot: u64) -> Vec<u8> {
    versioned(IndexTable::Inline, bucket, name, slot)
}

/// Where the slot of a name's null version is kept, if that isn't the plain one.
pub fn null(bucket: u64, name: &str) -> Vec<u8> {
    let mut key = named(IndexTable::Null, bucket, name);
    key.extend_from_slice(&END);
    key
}

pub fn upload(bucket: u64, name: &str, id: UploadId) -> Vec<u8> {
    let mut key = named(IndexTable::Upload, bucket, name);
    key.extend_from_slice(&END);
    key.extend_from_slice(&id.0);
    key
}

/// Which of a bucket's two named tables a listing walks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named {
    Objects,
    Uploads,
}

impl Named {
    fn table(self) -> IndexTable {
        match self {
            Named::Objects => IndexTable::Object,
            Named::Uploads => IndexTable::Upload,
        }
    }

    /// What every key of the bucket's names with this prefix starts with.
    pub fn prefix(self, bucket: u64, prefix: &str) -> Vec<u8> {
        named(self.table(), bucket, prefix)
    }

    /// Above every key of this name, below every other name after it.
    pub fn past(self, bucket: u64, name: &str) -> Vec<u8> {
        let mut key = named(self.table(), bucket, name);
        key.extend_from_slice(&[END[0], END[1] + 1]);
        key
    }

    /// The name in a key of this table.
    pub fn name(key: &[u8]) -> Option<String> {
        let escaped = key.get(3 + 8..)?;
        let plain = escaped.iter().position(|byte| *byte == 0)?;
        if escaped[plain..].starts_with(&END) {
            return String::from_utf8(escaped[..plain].to_vec()).ok();
        }
        let mut rest = escaped.iter().copied();
        let mut name = Vec::with_capacity(key.len());
        loop {
            match (rest.next()?, &mut rest) {
                (0, rest) => match [0, rest.next()?] {
                    END => break,
                    ZERO => name.push(0),
                    _ => return None,
                },
                (byte, _) => name.push(byte),
            }
        }
        String::from_utf8(name).ok()
    }
}

fn ranged(table: IndexTable, volume: VolumeId, offset: u64) -> Vec<u8> {
    let mut key = index_table(table, 16);
    key.extend_from_slice(&volume.0.to_be_bytes());
    key.extend_from_slice(&offset.to_be_bytes());
    key
}

pub fn reference(volume: VolumeId, offset: u64) -> Vec<u8> {
    ranged(IndexTable::Reference, volume, offset)
}

pub fn garbage(volume: VolumeId, offset: u64) -> Vec<u8> {
    ranged(IndexTable::Garbage, volume, offset)
}

/// The volume and offset in a key of the reference and garbage tables.
pub fn range_of(key: &[u8]) -> Option<(VolumeId, u64)> {
    let volume = u64::from_be_bytes(key.get(3..11)?.try_into().ok()?);
    let offset = u64::from_be_bytes(key.get(11..19)?.try_into().ok()?);
    (key.len() == 19).then_some((VolumeId(volume), offset))
}

pub fn part(bucket: u64, upload: UploadId, number: u16) -> Vec<u8> {
    let mut key = parts(bucket, upload);
    key.extend_from_slice(&number.to_be_bytes());
    key
}

pub fn parts(bucket: u64, upload: UploadId) -> Vec<u8> {
    let mut key = index_table(IndexTable::Part, 8 + 16 + 2);
    key.extend_from_slice(&bucket.to_be_bytes());
    key.extend_from_slice(&upload.0);
    key
}

/// What every key of a table starts with that names extents.
pub fn naming(table: NamingTable) -> Vec<u8> {
    let table = match table {
        NamingTable::Objects => IndexTable::Object,
        NamingTable::Parts => IndexTable::Part,
    };
    index_table(table, 0)
}

/// The bucket in a key of these tables.
pub fn bucket_of(key: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(key.get(3..11)?.try_into().ok()?))
}

/// The upload and the number in a key of a part.
pub fn part_of(key: &[u8]) -> Option<(UploadId, u16)> {
    let upload = UploadId(key.get(11..27)?.try_into().ok()?);
    let number = u16::from_be_bytes(key.get(27..)?.try_into().ok()?);
    Some((upload, number))
}

/// What every key of a log's references starts with.
pub fn references(volume: VolumeId) -> Vec<u8> {
    ranged(IndexTable::Reference, volume, 0)[..11].to_vec()
}

/// The same of its garbage.
pub fn garbages(volume: VolumeId) -> Vec<u8> {
    ranged(IndexTable::Garbage, volume, 0)[..11].to_vec()
}

/// The lowest key above one.
pub fn successor_of(key: &[u8]) -> Vec<u8> {
    let mut next = key.to_vec();
    next.push(0);
    next
}

pub fn usage(bucket: u64) -> Vec<u8> {
    let mut key = usages();
    key.extend_from_slice(&bucket.to_be_bytes());
    key
}

pub fn usages() -> Vec<u8> {
    index_table(IndexTable::Usage, 8)
}

/// The lowest key above all that start with `prefix`.
pub fn successor(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

#[cfg(test)]
#[path = "keys_test.rs"]
mod tests;
