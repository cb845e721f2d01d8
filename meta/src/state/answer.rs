//! Queries, answered from a view of the state.

use super::kv::Read;
use super::txn::load;
use super::{Outcome, extents, keys, list, objects, pool, stored, uploads, volumes};
use crate::error::MetaError;
use crate::object::{BucketRecord, BucketUsage};
use crate::query::{Answer, FailureDomain, ObjectPart, Query, Status};
use crate::record::{DiskRecord, NodeRecord, PoolRecord, VolumeKind, VolumeRecord, VolumeState};
use proto::control::{Group, MemberState};
use proto::limits::REPLICAS;
use std::collections::BTreeSet;

/// Answers a query, or says why it can't be answered.
pub fn answer(view: &dyn Read, query: &Query) -> Result<Answer, MetaError> {
    Ok(dispatch(view, query)?)
}

fn dispatch(view: &dyn Read, query: &Query) -> Outcome<Answer> {
    Ok(match query {
        Query::Status => Answer::Status(status(view)?),
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
    })
}

fn object(view: &dyn Read, bucket: &str, key: &str, part: ObjectPart) -> Outcome<Answer> {
    let bucket = objects::bucket(view, bucket)?;
    let record = stored::load_record(view, bucket.id, key, part)?;
    Ok(Answer::Object(record.ok_or_else(objects::no_such_key)?))
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

fn status(view: &dyn Read) -> Outcome<Status> {
    let pool: Option<PoolRecord> = load(view, &keys::pool())?;
    let nodes: Vec<NodeRecord> = pool::all(view, keys::nodes())?;
    let disks: Vec<DiskRecord> = pool::all(view, keys::disks())?;
    let groups = pool::groups(view)?;
    let volumes: Vec<VolumeRecord> = pool::all(view, keys::volumes())?;
    let buckets: Vec<BucketRecord> = pool::all(view, keys::buckets())?;
    let usages: Vec<BucketUsage> = pool::all(view, keys::usages())?;
    let in_sync =
        |group: &&Group| group.members.iter().filter(|member| member.state == MemberState::InSync).count();
    let min_in_sync = pool.as_ref().map_or(0, |pool| pool.min_in_sync as usize);
    let users =
        |volume: &&VolumeRecord| volume.kind == VolumeKind::User && volume.state == VolumeState::Ready;
    let mut status = Status {
        nodes: nodes.len() as u64,
        disks: disks.len() as u64,
        capacity_bytes: disks.iter().map(|disk| disk.capacity_bytes).sum(),
        failure_domain: failure_domain(&groups, &disks),
        groups: groups.len() as u64,
        groups_whole: groups.iter().filter(|group| in_sync(group) == REPLICAS).count() as u64,
        groups_stalled: groups.iter().filter(|group| in_sync(group) < min_in_sync).count() as u64,
        volumes: volumes.iter().filter(users).count() as u64,
        volumes_deleting: volumes.iter().filter(|v| v.state == VolumeState::Deleting).count() as u64,
        provisioned_bytes: volumes.iter().filter(users).map(|volume| volume.size_bytes).sum(),
        buckets: buckets.len() as u64,
        objects: usages.iter().map(|usage| usage.objects).sum(),
        object_bytes: usages.iter().map(|usage| usage.bytes).sum(),
        problems: Vec::new(),
        pool,
    };
    status.problems = problems(&status);
    Ok(status)
}

fn problems(status: &Status) -> Vec<String> {
    let mut problems = Vec::new();
    if status.pool.is_none() {
        problems.push("the pool has not been made yet".to_owned());
    }
    if status.groups == 0 {
        problems.push(format!(
            "{} of the {REPLICAS} disks that the first data needs are registered",
            status.disks
        ));
    }
    if status.groups_stalled > 0 {
        problems.push(format!(
            "{} of {} groups have too few replicas in sync: their writes wait",
            status.groups_stalled, status.groups
        ));
    }
    let degraded = status.groups - status.groups_whole - status.groups_stalled;
    if degraded > 0 {
        problems.push(format!("{degraded} of {} groups have lost a replica", status.groups));
    }
    problems
}

/// The widest domain that no group has two members in.
fn failure_domain(groups: &[Group], disks: &[DiskRecord]) -> FailureDomain {
    let apart = |domain: &dyn Fn(&DiskRecord) -> String| {
        groups.iter().all(|group| {
            let of = |id| disks.iter().find(|disk| disk.id == id).map(domain);
            let distinct: BTreeSet<_> = group.members.iter().filter_map(|member| of(member.disk)).collect();
            distinct.len() == group.members.len()
        })
    };
    if apart(&|disk| disk.zone.clone()) {
        FailureDomain::Zone
    } else if apart(&|disk| disk.node.to_string()) {
        FailureDomain::Node
    } else {
        FailureDomain::Disk
    }
}
