//! What buckets and projects hold, kept in step with the index, and the quotas that bound it. A command that would make
//! a bucket or project grow past a quota is refused as a whole, in the step that would have made it grow: no two
//! gateways can pass together what each could alone.

use super::kv::Read;
use super::txn::{Txn, load};
use super::{Outcome, identity, keys, objects, pool, stored, uploads, versions};
use crate::error::{ErrorKind, MetaError, Refusal};
use crate::identity::account_of;
use crate::limits::MAX_PAGE;
use crate::object::{BucketRecord, BucketUsage, PartRecord, Versioning};
use crate::quota::{
    BoundChange, BucketCount, BucketCountPage, Counted, Incoming, ProjectCount, Quota, QuotaOf,
};
use proto::size;
use serde::{Deserialize, Serialize};

/// What follows a bucket's usage in its record; buckets of earlier builds lack it until they change.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Bound {
    account: String,
    quota: Quota,
}

/// A bucket's record of the usage table.
#[derive(Debug, Clone)]
struct BucketCounter {
    usage: BucketUsage,
    bound: Bound,
}

/// A bucket's usage alone.
fn usage_of(view: &dyn Read, bucket: u64) -> Result<BucketUsage, MetaError> {
    Ok(load(view, &keys::usage(bucket))?.unwrap_or_default())
}

fn counter(view: &dyn Read, bucket: u64) -> Outcome<BucketCounter> {
    let corrupt = |e| MetaError::new(ErrorKind::Corrupt, "a bucket's usage can't be read").with_source(e);
    let value = view.get(&keys::usage(bucket))?.unwrap_or_default();
    let (usage, rest) = match value.as_slice() {
        [] => (BucketUsage::default(), &[][..]),
        value => postcard::take_from_bytes(value).map_err(corrupt)?,
    };
    let bound = match rest {
        [] => Bound { account: account_of_id(view, bucket)?, quota: Quota::default() },
        rest => postcard::from_bytes(rest).map_err(corrupt)?,
    };
    Ok(BucketCounter { usage, bound })
}

fn put_counter(txn: &mut Txn<'_>, bucket: u64, counter: &BucketCounter) -> Outcome<()> {
    // A tuple encodes as one after the other.
    Ok(txn.put(keys::usage(bucket), &(&counter.usage, &counter.bound))?)
}

/// Whose a bucket of an earlier build is.
fn account_of_id(view: &dyn Read, bucket: u64) -> Outcome<String> {
    let all: Vec<BucketRecord> = pool::all(view, keys::buckets())?;
    let found = all.iter().find(|record| record.id == bucket);
    let missing = || MetaError::new(ErrorKind::Corrupt, "what is counted is of no bucket");
    Ok(account_of(&found.ok_or_else(missing)?.owner).to_owned())
}

/// What an account's buckets hold together. Kept from the first time that it matters, which is when it is counted up.
fn project(view: &dyn Read, account: &str) -> Outcome<Counted> {
    if let Some(kept) = load(view, &keys::project_usage(account))? {
        return Ok(kept);
    }
    Ok(Counted { usage: sum(view, account)?, quota: Quota::default() })
}

/// The usages of an account's buckets together.
pub fn sum(view: &dyn Read, account: &str) -> Outcome<BucketUsage> {
    let mut sum = BucketUsage::default();
    let all: Vec<BucketRecord> = pool::all(view, keys::buckets())?;
    for bucket in all.iter().filter(|bucket| account_of(&bucket.owner) == account) {
        sum = moved(sum, &BucketUsage::default(), &usage_of(view, bucket.id)?);
    }
    Ok(sum)
}

/// Puts an account's sum right.
pub fn set_project_usage(txn: &mut Txn<'_>, account: &str, usage: BucketUsage) -> Outcome<()> {
    let kept = project(txn, account)?;
    Ok(txn.put(keys::project_usage(account), &Counted { usage, ..kept })?)
}

/// A sum with one of its parts changed.
fn moved(sum: BucketUsage, before: &BucketUsage, after: &BucketUsage) -> BucketUsage {
    let moved = |sum: u64, before: u64, after: u64| sum.saturating_add(after).saturating_sub(before);
    BucketUsage {
        objects: moved(sum.objects, before.objects, after.objects),
        bytes: moved(sum.bytes, before.bytes, after.bytes),
        uploads: moved(sum.uploads, before.uploads, after.uploads),
        upload_bytes: moved(sum.upload_bytes, before.upload_bytes, after.upload_bytes),
    }
}

/// Begins to count a new bucket.
pub fn begin(txn: &mut Txn<'_>, bucket: &BucketRecord) -> Outcome<()> {
    let bound = Bound { account: account_of(&bucket.owner).to_owned(), quota: Quota::default() };
    put_counter(txn, bucket.id, &BucketCounter { usage: BucketUsage::default(), bound })
}

/// Forgets a bucket that is deleted.
pub fn end(txn: &mut Txn<'_>, bucket: u64) -> Outcome<()> {
    // What is left of its usage, were it ever wrong, must not stay in its project's.
    change(txn, bucket, |usage| *usage = BucketUsage::default())?;
    txn.delete(keys::usage(bucket));
    Ok(())
}

/// Changes what a bucket holds, and its project with it.
pub fn change(txn: &mut Txn<'_>, bucket: u64, change: impl FnOnce(&mut BucketUsage)) -> Outcome<()> {
    let mut counter = counter(txn, bucket)?;
    let mut project = project(txn, &counter.bound.account)?;
    let before = counter.usage;
    change(&mut counter.usage);
    project.usage = moved(project.usage, &before, &counter.usage);
    put_counter(txn, bucket, &counter)?;
    Ok(txn.put(keys::project_usage(&counter.bound.account), &project)?)
}

/// What a bucket and its project held before a command.
pub struct Held {
    bucket: Counted,
    project: Counted,
    account: String,
}

pub fn held(view: &dyn Read, bucket: u64) -> Outcome<Held> {
    let counter = counter(view, bucket)?;
    let project = project(view, &counter.bound.account)?;
    let bucket = Counted { usage: counter.usage, quota: counter.bound.quota };
    Ok(Held { bucket, project, account: counter.bound.account })
}

impl Held {
    /// Refuses (`QuotaExceeded`) a command after which a bucket or its project is past a quota and holds more than
    /// before: what was past one already may shrink, and stay.
    pub fn check(&self, view: &dyn Read, (name, bucket): (&str, u64)) -> Outcome<()> {
        if [self.bucket.quota, self.project.quota] == [Quota::default(); 2] {
            return Ok(());
        }
        let usage = usage_of(view, bucket)?;
        let project = moved(self.project.usage, &self.bucket.usage, &usage);
        self.check_usage(name, &usage, &project)
    }

    fn check_usage(&self, name: &str, bucket: &BucketUsage, project: &BucketUsage) -> Outcome<()> {
        check(|| format!("bucket '{name}'"), &self.bucket, bucket)?;
        check(|| format!("project {}", self.account), &self.project, project)?;
        Ok(())
    }
}

fn check(whose: impl Fn() -> String, before: &Counted, after: &BucketUsage) -> Result<(), Refusal> {
    let quota = before.quota;
    let (had, has) = (before.usage.total_bytes(), after.total_bytes());
    if quota.bytes.is_some_and(|quota| has > quota) && has > had {
        let bound = quota.bytes.unwrap_or_default();
        let message = format!(
            "The quota of {} is {bound} bytes ({}); it holds {had} bytes, and this would make them {has}.",
            whose(),
            size::show(bound)
        );
        return Err(Refusal::new(ErrorKind::QuotaExceeded, message));
    }
    let (had, has) = (before.usage.objects, after.objects);
    if quota.objects.is_some_and(|quota| has > quota) && has > had {
        let bound = quota.objects.unwrap_or_default();
        let message = format!(
            "The quota of {} is {bound} objects, all versions counted; it holds {had}, and this would make them {has}.",
            whose()
        );
        return Err(Refusal::new(ErrorKind::QuotaExceeded, message));
    }
    Ok(())
}

/// Sets the quota of a bucket or a project. One below what is there only refuses growth.
pub fn set(txn: &mut Txn<'_>, of: &QuotaOf, bytes: BoundChange, objects: BoundChange) -> Outcome<()> {
    let changed =
        |quota: Quota| Quota { bytes: bytes.apply(quota.bytes), objects: objects.apply(quota.objects) };
    match of {
        QuotaOf::Bucket(name) => {
            let bucket = objects::bucket(txn, name)?;
            let mut counter = counter(txn, bucket.id)?;
            counter.bound.quota = changed(counter.bound.quota);
            put_counter(txn, bucket.id, &counter)
        }
        QuotaOf::Project(number) => {
            identity::account(txn, number)?;
            let mut project = project(txn, number)?;
            project.quota = changed(project.quota);
            Ok(txn.put(keys::project_usage(number), &project)?)
        }
    }
}

pub fn counted(view: &dyn Read, of: &QuotaOf) -> Outcome<Counted> {
    match of {
        QuotaOf::Bucket(name) => {
            let bucket = objects::bucket(view, name)?;
            let counter = counter(view, bucket.id)?;
            Ok(Counted { usage: counter.usage, quota: counter.bound.quota })
        }
        QuotaOf::Project(number) => {
            identity::account(view, number)?;
            project(view, number)
        }
    }
}

/// Buckets in order of name, with what they hold.
pub fn buckets(view: &dyn Read, after: Option<&str>, limit: u32) -> Outcome<BucketCountPage> {
    let page = super::list::buckets(view, "", after, limit.clamp(1, MAX_PAGE))?;
    let mut counts = BucketCountPage { buckets: Vec::new(), next: page.next };
    for bucket in page.buckets {
        let account = account_of(&bucket.owner).to_owned();
        let counter = counter(view, bucket.id)?;
        let counted = Counted { usage: counter.usage, quota: counter.bound.quota };
        counts.buckets.push(BucketCount { name: bucket.name, account, counted });
    }
    Ok(counts)
}

/// What every account's buckets hold together, in the order of the accounts.
pub fn projects(view: &dyn Read) -> Outcome<Vec<ProjectCount>> {
    let accounts = identity::accounts(view)?;
    let count = |account: crate::identity::AccountRecord| {
        let counted = project(view, &account.number)?;
        Ok(ProjectCount { account: account.number, counted })
    };
    accounts.into_iter().map(count).collect()
}

/// Refuses what a quota would refuse when it came to be committed, as things are now.
pub fn room(view: &dyn Read, name: &str, incoming: &Incoming, bytes: u64) -> Outcome<()> {
    let bucket = objects::bucket(view, name)?;
    let held = held(view, bucket.id)?;
    let mut usage = held.bucket.usage;
    match incoming {
        Incoming::Object { key } => {
            let displaced = match versions::of(view, bucket.id)?.versioning {
                Versioning::Enabled => None,
                Versioning::Off | Versioning::Suspended => stored::null(view, bucket.id, key)?,
            };
            versions::count_removed(&mut usage, displaced.as_ref());
            usage.objects = usage.objects.saturating_add(1);
            usage.bytes = usage.bytes.saturating_add(bytes);
        }
        Incoming::Part { key, upload, number } => {
            let (_, upload) = uploads::find(view, (name, key, *upload))?;
            let displaced: Option<PartRecord> = load(view, &keys::part(bucket.id, upload.id, *number))?;
            let freed = displaced.map_or(0, |displaced| displaced.size);
            usage.upload_bytes = usage.upload_bytes.saturating_sub(freed).saturating_add(bytes);
        }
    }
    let project = moved(held.project.usage, &held.bucket.usage, &usage);
    held.check_usage(name, &usage, &project)
}

#[cfg(test)]
#[path = "quotas_test.rs"]
mod tests;
