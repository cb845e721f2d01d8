//! Queries, answered from a view of the state.

use super::kv::Read;
use super::{
    Outcome, access, check, events, extents, identity_command, keys, lifecycle, list, membership, objects,
    pool, quotas, recount, settings, status, uploads, versions, volumes,
};
use crate::error::MetaError;
use crate::object::FoundVersion;
use crate::query::{Answer, ObjectPart, Query};
use crate::record::{VolumeRecord, VolumeState};
use crate::sealing::PoolKeyRecord;

/// Answers a query, or says why it can't be answered. `now_ms` is the wall clock's time, by which disks that
/// were not heard of are judged; without it none is.
pub fn answer(view: &dyn Read, query: &Query, now_ms: Option<u64>) -> Result<Answer, MetaError> {
    Ok(dispatch(view, query, now_ms)?)
}

fn dispatch(view: &dyn Read, query: &Query, now_ms: Option<u64>) -> Outcome<Answer> {
    Ok(match query {
        Query::Status => Answer::Status(status::status(view, now_ms)?),
        Query::PoolMap => Answer::Map(pool::map(view)?),
        Query::Nodes => Answer::Nodes(pool::all(view, keys::nodes())?),
        Query::Disks => Answer::Disks(pool::all(view, keys::disks())?),
        Query::Volumes => Answer::Volumes(all_volumes(view)?),
        Query::Volume { name } => Answer::Volume(volumes::by_name(view, name)?),
        Query::VolumeById { volume } => Answer::Volume(volumes::by_id(view, *volume)?),
        Query::Log { volume } => Answer::Log(extents::log(view, *volume)?),
        Query::Garbage { volume, from_bytes, limit } => {
            Answer::Extents(extents::garbage_page(view, *volume, *from_bytes, *limit)?)
        }
        Query::ReferencedExtents { volume, from_bytes, to_bytes, limit } => {
            Answer::Extents(extents::referenced_page(view, (*volume, *from_bytes, *to_bytes), *limit)?)
        }
        Query::AccessKey { id } => Answer::AccessKey(pool::access_key(view, id)?),
        Query::AccessKeys => Answer::AccessKeys(pool::all(view, keys::access_keys())?),
        Query::Bucket { name } => Answer::Bucket(objects::bucket(view, name)?),
        Query::BucketAccess { name } => Answer::BucketAccess(access::of_bucket(view, name)?),
        Query::Buckets { prefix, after, limit } => {
            Answer::Buckets(list::buckets(view, prefix, after.as_deref(), *limit)?)
        }
        Query::Usage { bucket } => Answer::Usage(list::usage(view, bucket)?),
        Query::Object { bucket, key, part } => object(view, bucket, key, *part)?,
        Query::ListObjects(query) => Answer::Objects(list::objects(view, query)?),
        Query::Upload { bucket, key, upload } => {
            Answer::Upload(uploads::find(view, (bucket, key, *upload))?.1)
        }
        Query::ListParts { bucket, key, upload, after, limit } => {
            Answer::Parts(list::parts(view, (bucket, key, *upload), *after, *limit)?)
        }
        Query::ListUploads(query) => Answer::Uploads(list::uploads(view, query)?),
        Query::Membership => Answer::Membership(membership::membership(view)?),
        Query::MapSince { version } => {
            pool::map_since(view, *version)?.map_or(Answer::Unchanged, Answer::Map)
        }
        Query::Leases => Answer::Leases(volumes::leases(view)?),
        Query::Left => Answer::Left(pool::all(view, keys::lefts())?),
        Query::Slow => Answer::Slow(pool::all(view, keys::slows())?),
        Query::Identity(query) => Answer::Identity(identity_command::answer(view, query)?),
        Query::Versioning { bucket } => Answer::Versioning(versions::of_bucket(view, bucket)?),
        Query::Version { bucket, key, version, part } => {
            Answer::Version(versions::read(view, bucket, (key, *version), *part)?)
        }
        Query::BucketSetting { bucket, kind } => Answer::BucketSetting(settings::read(view, bucket, *kind)?),
        Query::Lifecycle => Answer::Lifecycle(lifecycle::read(view)?),
        Query::OpenUpload { bucket, key, upload } => {
            let (upload, sealing) = uploads::open(view, (bucket, key, *upload))?;
            Answer::OpenUpload(upload, sealing)
        }
        Query::PoolKeys => {
            let mut known: Vec<PoolKeyRecord> = pool::all(view, keys::pool_keys())?;
            known.sort_by_key(|key| (key.noted_ms, key.id));
            Answer::PoolKeys(known)
        }
        Query::AuditHeads => Answer::AuditHeads(pool::all(view, keys::audit_heads())?),
        Query::ListExpirable(query) => Answer::Expirable(lifecycle::list(view, query)?),
        Query::Webhooks => Answer::Webhooks(events::list(view)?),
        Query::Events { webhook, after, limit } => {
            Answer::Events(events::page(view, *webhook, *after, *limit)?)
        }
        Query::ListVersions(query) => Answer::Versions(list::versions(view, query)?),
        Query::Counted(of) => Answer::Counted(quotas::counted(view, of)?),
        Query::BucketCounts { after, limit } => {
            Answer::BucketCounts(quotas::buckets(view, after.as_deref(), *limit)?)
        }
        Query::ProjectCounts => Answer::ProjectCounts(quotas::projects(view)?),
        Query::Room { bucket, incoming, bytes } => {
            quotas::room(view, bucket, incoming, *bytes)?;
            Answer::Fits
        }
        Query::Naming { table, after } => Answer::Naming(check::naming(view, *table, after.as_ref())?),
        Query::Owned { volume, from_bytes, limit } => {
            Answer::Owned(check::owned(view, *volume, *from_bytes, *limit)?)
        }
        Query::ExtentOwner { volume, offset } => {
            Answer::ExtentOwner(check::owner_at(view, *volume, *offset)?)
        }
        Query::Recount(of) => Answer::Recounted(recount::recount(view, of)?),
    })
}

fn object(view: &dyn Read, bucket: &str, key: &str, part: ObjectPart) -> Outcome<Answer> {
    match versions::read(view, bucket, (key, None), part)? {
        FoundVersion::Object(object) => Ok(Answer::Object(object.record)),
        FoundVersion::DeleteMarker { .. } => Err(versions::no_such_key().into()),
    }
}

fn all_volumes(view: &dyn Read) -> Outcome<Vec<VolumeRecord>> {
    let mut all: Vec<VolumeRecord> = pool::all(view, keys::volumes())?;
    all.sort_by(|a, b| {
        let order =
            |volume: &VolumeRecord| (volume.state == VolumeState::Deleting, volume.name.clone(), volume.id);
        order(a).cmp(&order(b))
    });
    Ok(all)
}
