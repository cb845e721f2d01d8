//! The control plane's state machine: commands in, changes and responses out. Pure: what it knows is in the
//! [`Read`](kv::Read) view it is given, and nothing here reads a clock, a file or a random number.

mod access;
mod acl;
mod answer;
mod audit;
mod check;
mod events;
mod extents;
mod identity;
mod identity_command;
mod identity_details;
mod identity_keys;
mod key_use;
pub mod keys;
pub mod kv;
mod layout;
mod lifecycle;
mod list;
mod locks;
mod loss;
mod membership;
mod names;
mod objects;
pub mod over;
mod policy_details;
mod pool;
mod quotas;
mod recount;
mod sealing;
mod settings;
mod slow;
mod status;
mod stored;
pub mod txn;
mod uploads;
mod versions;
mod volumes;

use crate::command::{Command, Response};
use crate::error::{MetaError, Refusal};
use crate::object::Annotations;
use crate::record::DiskHealth;
pub use answer::answer;
use loss::OnLastCopy;
use txn::Txn;
use versions::NewObject;

/// Why a command did not go through: refused, which every replica agrees on, or the storage below broke.
#[derive(Debug)]
enum Fail {
    Refused(Refusal),
    Broken(MetaError),
}

impl From<Refusal> for Fail {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<MetaError> for Fail {
    fn from(error: MetaError) -> Self {
        Self::Broken(error)
    }
}

impl From<Fail> for MetaError {
    fn from(fail: Fail) -> Self {
        match fail {
            Fail::Refused(refusal) => refusal.into(),
            Fail::Broken(error) => error,
        }
    }
}

type Outcome<T> = Result<T, Fail>;

/// Applies one command: its changes go into the transaction, all of them or, if it is refused, none.
///
/// The outer error is the storage's: the state is then unknown and the caller must stop.
pub fn apply(txn: &mut Txn<'_>, command: Command) -> Result<Result<Response, Refusal>, MetaError> {
    match dispatch(txn, command) {
        Ok(response) => {
            txn.keep();
            Ok(Ok(response))
        }
        Err(Fail::Refused(refusal)) => {
            txn.take_back();
            Ok(Err(refusal))
        }
        Err(Fail::Broken(error)) => Err(error),
    }
}

fn dispatch(txn: &mut Txn<'_>, command: Command) -> Outcome<Response> {
    let done = |()| Response::Done;
    match command {
        Command::InitPool(record) => pool::init(txn, record).map(Response::Pool),
        Command::RegisterNode(node) => pool::register_node(txn, &node).map(done),
        Command::RegisterDisk(disk) => pool::register_disk(txn, &disk).map(done),
        Command::PutAccessKey(key) => pool::put_access_key(txn, &key).map(done),
        Command::DeleteAccessKey { id } => pool::delete_access_key(txn, &id).map(done),
        Command::CreateVolume { name, size_bytes, now_ms } => {
            volumes::create(txn, name, size_bytes, now_ms).map(Response::Volume)
        }
        Command::DeleteVolume { name } => volumes::delete(txn, &name).map(Response::Volume),
        Command::FinishDelete { volume } => volumes::finish_delete(txn, volume).map(done),
        Command::OpenVolume { volume } => volumes::open(txn, volume).map(Response::Lease),
        Command::SetAttachment { name, attachment } => {
            volumes::set_attachment(txn, &name, attachment).map(Response::Volume)
        }
        Command::MoveAttachment { name, to, epoch } => {
            volumes::move_attachment(txn, &name, to, epoch).map(Response::Volume)
        }
        Command::EnsureObjectLog { gateway, now_ms } => {
            volumes::ensure_object_log(txn, gateway, now_ms).map(Response::Volume)
        }
        Command::ReserveLog { volume, epoch, bytes } => {
            extents::reserve(txn, volume, epoch, bytes).map(Response::Reserved)
        }
        Command::GarbageDone { volume, extents } => extents::garbage_done(txn, volume, &extents).map(done),
        Command::MarkSwept { volume, upto_bytes } => extents::mark_swept(txn, volume, upto_bytes).map(done),
        Command::DiscardExtents { extents } => extents::discard(txn, &extents).map(done),
        Command::ResizeVolume { name, size_bytes } => {
            volumes::resize(txn, &name, size_bytes).map(Response::Volume)
        }
        Command::EvictDisk { disk, groups, why } => {
            membership::evict(txn, disk, &groups, &why).map(Response::Map)
        }
        Command::EvictSlowDisk { disk, groups, why } => {
            slow::evict(txn, disk, &groups, &why).map(Response::Map)
        }
        Command::PardonDisk { disk, strikes, pardon } => slow::pardon(txn, disk, strikes, pardon).map(done),
        Command::BeginCatchUp { disk, groups } => {
            membership::begin_catch_up(txn, disk, &groups).map(Response::Map)
        }
        Command::Join { disk, group, epoch } => membership::join(txn, disk, group, epoch).map(Response::Map),
        Command::JoinSince { disk, group, epoch, leases } => {
            membership::join_since(txn, disk, (group, epoch), leases).map(Response::Map)
        }
        Command::JoinCopied { copied, epoch, leases } => {
            membership::join_copied(txn, copied, epoch, leases).map(Response::Map)
        }
        Command::ReplaceDisk { old, new } => membership::replace_disk(txn, old, new).map(Response::Map),
        Command::ReplaceMember { group, epoch, old, new } => {
            membership::replace_member(txn, (group, epoch), old, new).map(Response::Map)
        }
        Command::CancelReplace { group, epoch, disk } => {
            membership::cancel_replace(txn, (group, epoch), disk).map(Response::Map)
        }
        Command::SetDiskState { disk, state } => membership::set_disk_state(txn, disk, state).map(done),
        Command::LoseDisk { disk, accept_data_loss, now_ms } => {
            let on_last = if accept_data_loss { OnLastCopy::GiveUp } else { OnLastCopy::Refuse };
            loss::lose(txn, disk, on_last, now_ms).map(Response::Lost)
        }
        Command::GroupsCleared { disk, groups } => membership::groups_cleared(txn, disk, &groups).map(done),
        Command::DiskSeen { disk, seen_ms, healthy, used_bytes, why } => {
            let seen = DiskHealth { seen_ms, healthy_ms: 0, healthy, used_bytes, why };
            membership::disk_seen(txn, disk, seen).map(done)
        }
        Command::CreateBucket { name, owner, now_ms } => {
            objects::create_bucket(txn, name, owner, now_ms).map(Response::Bucket)
        }
        Command::DeleteBucket { name } => objects::delete_bucket(txn, &name).map(done),
        Command::PutBucketPolicy { bucket, id, text, public } => {
            access::put_policy(txn, (&bucket, id), text, public).map(done)
        }
        Command::DeleteBucketPolicy { bucket, id } => access::delete_policy(txn, (&bucket, id)).map(done),
        Command::PutPublicAccessBlock { bucket, id, block } => {
            access::put_block(txn, (&bucket, id), block).map(done)
        }
        Command::PutObject { bucket, key, record, precondition } => {
            objects::put(txn, (&bucket, &key), record, &precondition).map(done)
        }
        Command::DeleteObjects { bucket, objects } => {
            objects::delete_many(txn, &bucket, &objects).map(Response::Deleted)
        }
        Command::CreateUpload { bucket, upload } => {
            uploads::create(txn, &bucket, (&upload, None), &Annotations::default()).map(done)
        }
        Command::PutPart { bucket, key, upload, part } => {
            uploads::put_part(txn, (&bucket, &key, upload), (&part, None)).map(done)
        }
        Command::CompleteUpload { bucket, key, upload, parts, record, precondition } => {
            objects::refuse_versions(txn, &bucket)?;
            let at = (bucket.as_str(), key.as_str(), upload);
            let whole = uploads::complete(txn, at, &parts, record, &precondition, (0, 0))?;
            Ok(Response::Completed(whole.0))
        }
        Command::AbortUpload { bucket, key, upload } => {
            uploads::abort(txn, (&bucket, &key, upload)).map(done)
        }
        Command::Identity(command) => identity_command::apply(txn, command).map(done),
        Command::CreateLockedBucket { name, owner, now_ms } => {
            let bucket = objects::create_bucket(txn, name, owner, now_ms)?;
            versions::lock_new(txn, &bucket)?;
            Ok(Response::Bucket(bucket))
        }
        Command::PutVersioning { bucket, id, versioning } => {
            versions::configure(txn, (&bucket, id), versioning).map(done)
        }
        Command::PutObjectLock { bucket, id, default } => {
            locks::configure(txn, (&bucket, id), default).map(done)
        }
        Command::PutVersion { bucket, key, record, annotations, precondition, now_ms, nonce } => {
            let new = NewObject::whole((record, None), annotations, &precondition);
            versions::put(txn, (&bucket, &key), new, (now_ms, nonce)).map(Response::Version)
        }
        Command::DeleteVersions { bucket, objects, now_ms } => {
            versions::delete_many(txn, &bucket, &objects, now_ms).map(Response::DeletedVersions)
        }
        Command::CreateAnnotatedUpload { bucket, upload, annotations } => {
            uploads::create(txn, &bucket, (&upload, None), &annotations).map(done)
        }
        Command::CompleteVersion { bucket, key, upload, parts, record, precondition, now_ms, nonce } => {
            let at = (bucket.as_str(), key.as_str(), upload);
            let made = uploads::complete(txn, at, &parts, record, &precondition, (now_ms, nonce))?;
            Ok(Response::Version(made.1))
        }
        Command::Annotate { bucket, key, version, change, now_ms } => {
            locks::annotate(txn, &bucket, (&key, version), change, now_ms).map(Response::Version)
        }
        Command::PutBucketSetting { bucket, id, kind, text } => {
            settings::put(txn, (&bucket, id), kind, text).map(done)
        }
        Command::KeepLifecycle { worker, progress, now_ms } => {
            lifecycle::keep(txn, worker, progress, now_ms).map(Response::Lifecycle)
        }
        Command::Expire { bucket, id, rules_crc, things, now_ms } => {
            lifecycle::expire(txn, (&bucket, id), rules_crc, things, now_ms).map(Response::Expired)
        }
        Command::NoteAudit(head) => audit::note(txn, &head).map(done),
        Command::ReclaimExtents { extents } => {
            extents::reclaim(txn, &extents).map(|bytes| Response::Reclaimed { bytes })
        }
        Command::Recount { of, mend } => recount::mend(txn, &of, mend).map(Response::Recounted),
        Command::SetQuota { of, bytes, objects } => quotas::set(txn, &of, bytes, objects).map(done),
        Command::AddWebhook(webhook) => events::add(txn, webhook).map(done),
        Command::RemoveWebhook { name } => events::remove(txn, &name).map(Response::Left),
        Command::PutNotifications { bucket, id, text, routes, by, now_ms } => {
            events::configure(txn, (&bucket, id), (text, routes), &by, now_ms).map(done)
        }
        Command::Told { change, cause } => events::told(txn, *change.0, &cause),
        Command::KeepEvents { worker, now_ms } => {
            events::keep(txn, worker, now_ms).map(Response::EventKeeper)
        }
        Command::SettleEvents { webhook, settled, now_ms } => {
            events::settle(txn, webhook, settled, now_ms).map(done)
        }
        Command::CreateBucketWithAcls { name, owner, locked, ownership, acl, now_ms } => {
            let bucket = objects::create_bucket(txn, name, owner, now_ms)?;
            if locked {
                versions::lock_new(txn, &bucket)?;
            }
            acl::of_new_bucket(txn, &bucket, ownership, acl)?;
            Ok(Response::Bucket(bucket))
        }
        Command::PutOwnership { bucket, id, ownership } => {
            acl::put_ownership(txn, (&bucket, id), ownership).map(done)
        }
        Command::PutBucketAcl { bucket, id, acl } => acl::put(txn, (&bucket, id), acl).map(done),
        Command::PutSealed { bucket, key, record, sealing, annotations, precondition, now_ms, nonce } => {
            let new = NewObject::whole((record, Some(sealing)), annotations, &precondition);
            versions::put(txn, (&bucket, &key), new, (now_ms, nonce)).map(Response::Version)
        }
        Command::CreateSealedUpload { bucket, upload, sealing, annotations } => {
            uploads::create(txn, &bucket, (&upload, Some(sealing)), &annotations).map(done)
        }
        Command::PutSealedPart { bucket, key, upload, part, salt } => {
            uploads::put_part(txn, (&bucket, &key, upload), (&part, Some(salt))).map(done)
        }
        Command::NotePoolKey { id, first, now_ms } => sealing::note(txn, id, first, now_ms).map(done),
        Command::Rewrap { bucket, key, version, before, by, wrapped } => {
            sealing::rewrap(txn, &bucket, (&key, version), &before, (by, wrapped)).map(done)
        }
    }
}

#[cfg(test)]
#[path = "state_test.rs"]
pub(crate) mod tests;
