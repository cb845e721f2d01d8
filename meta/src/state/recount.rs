//! Usages counted anew from what they are of.

use super::kv::{Read, Step};
use super::txn::Txn;
use super::{Outcome, identity, keys, objects, pool, quotas, stored};
use crate::check::Recounted;
use crate::error::{ErrorKind, MetaError};
use crate::object::{BucketUsage, PartRecord, UploadId, UploadRecord};
use crate::quota::QuotaOf;

/// What is kept beside what there is. Exact while nothing changes, as within a command. It reads every entry of a
/// bucket; of a project only its buckets' usages.
pub fn recount(view: &dyn Read, of: &QuotaOf) -> Outcome<Recounted> {
    match of {
        QuotaOf::Bucket(name) => {
            let bucket = objects::bucket(view, name)?.id;
            let kept = quotas::counted(view, of)?.usage;
            Ok(Recounted { kept, counted: count(view, bucket)? })
        }
        QuotaOf::Project(number) => {
            identity::account(view, number)?;
            let kept = quotas::counted(view, of)?.usage;
            Ok(Recounted { kept, counted: quotas::sum(view, number)? })
        }
    }
}

/// The same in a step of its own, and puts right what is wrong if that is asked for.
pub fn mend(txn: &mut Txn<'_>, of: &QuotaOf, mend: bool) -> Outcome<Recounted> {
    let found = recount(txn, of)?;
    if mend && !found.is_right() {
        match of {
            QuotaOf::Bucket(name) => {
                let bucket = objects::bucket(txn, name)?.id;
                quotas::change(txn, bucket, |usage| *usage = found.counted)?;
            }
            QuotaOf::Project(number) => quotas::set_project_usage(txn, number, found.counted)?,
        }
    }
    Ok(found)
}

fn count(view: &dyn Read, bucket: u64) -> Result<BucketUsage, MetaError> {
    let mut usage = BucketUsage::default();
    walk(view, &keys::Named::Objects.prefix(bucket, ""), &mut |value| {
        let head = stored::head(value)?;
        if !head.kind.is_marker() {
            usage.objects += 1;
            usage.bytes = usage.bytes.saturating_add(head.size);
        }
        Ok(())
    })?;
    let mut uploads: Vec<UploadId> = Vec::new();
    walk(view, &keys::Named::Uploads.prefix(bucket, ""), &mut |value| {
        let corrupt = |e| MetaError::new(ErrorKind::Corrupt, "an upload can't be read").with_source(e);
        let (upload, _): (UploadRecord, _) = postcard::take_from_bytes(value).map_err(corrupt)?;
        uploads.push(upload.id);
        Ok(())
    })?;
    usage.uploads = uploads.len() as u64;
    for upload in uploads {
        let parts: Vec<PartRecord> = pool::all(view, keys::parts(bucket, upload))?;
        usage.upload_bytes = parts.iter().fold(usage.upload_bytes, |sum, part| sum.saturating_add(part.size));
    }
    Ok(usage)
}

type Visit<'a> = &'a mut dyn FnMut(&[u8]) -> Result<(), MetaError>;

fn walk(view: &dyn Read, prefix: &[u8], visit: Visit<'_>) -> Result<(), MetaError> {
    let mut failed = None;
    view.scan(prefix, &mut |key, value| {
        if !key.starts_with(prefix) {
            return Step::Stop;
        }
        match visit(value) {
            Ok(()) => Step::Next,
            Err(error) => {
                failed = Some(error);
                Step::Stop
            }
        }
    })?;
    failed.map_or(Ok(()), Err)
}
