//! Who may use a bucket: its policy and its public access block. What they mean is decided elsewhere; here they
//! are kept, and changed in one step each, so that no request sees half of a change.

use super::kv::Read;
use super::objects::bucket;
use super::txn::{Txn, load};
use super::{Outcome, events, keys, names};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::identity::{AccountRecord, BoundPrincipal, account_of};
use crate::limits::MAX_POLICY_BYTES;
use crate::object::{AccessRecord, BlockPublicAccess, BucketRecord};
use crate::query::BucketAccess;
use crate::setting::SettingKind;

pub fn of_bucket(view: &dyn Read, name: &str) -> Outcome<BucketAccess> {
    let bucket = bucket(view, name)?;
    let access = of_record(view, &bucket)?;
    let account_block = account_block(view, &bucket)?;
    let bound = load(view, &keys::bound(bucket.id))?.unwrap_or_default();
    let notifies = events::notifies(view, bucket.id)?;
    let logs = view.get(&keys::setting(bucket.id, SettingKind::Logging))?.is_some();
    let encryption = load(view, &keys::setting(bucket.id, SettingKind::Encryption))?;
    Ok(BucketAccess { bucket, access, account_block, bound, notifies, logs, encryption })
}

/// Keeps whom a bucket's policy means. To be called right after it was put.
pub fn bind(txn: &mut Txn<'_>, id: u64, bound: &[BoundPrincipal]) -> Outcome<()> {
    names::bound(bound)?;
    if bound.is_empty() {
        return Ok(());
    }
    Ok(txn.put(keys::bound(id), &bound)?)
}

/// Forgets whom the policy of before meant.
fn unbind(txn: &mut Txn<'_>, id: u64) -> Outcome<()> {
    if txn.get(&keys::bound(id))?.is_some() {
        txn.delete(keys::bound(id));
    }
    Ok(())
}

pub fn account_block(view: &dyn Read, bucket: &BucketRecord) -> Outcome<Option<BlockPublicAccess>> {
    let account: Option<AccountRecord> = load(view, &keys::account(account_of(&bucket.owner)))?;
    Ok(account.and_then(|account| account.block))
}

pub fn put_policy(txn: &mut Txn<'_>, named: (&str, u64), text: String, public: bool) -> Outcome<()> {
    if text.is_empty() || text.len() > MAX_POLICY_BYTES {
        return Err(Refusal::invalid(format!("a bucket's policy is 1 to {MAX_POLICY_BYTES} bytes")).into());
    }
    let account = account_block(txn, &bucket(txn, named.0)?)?;
    change(txn, named, |access| {
        if public && [access.block, account].iter().flatten().any(|block| block.block_public_policy) {
            let message = "the public access block of the bucket or its account refuses public policies";
            return Err(Refusal::new(ErrorKind::PreconditionFailed, message));
        }
        access.policy = Some(text);
        Ok(())
    })?;
    unbind(txn, named.1)
}

pub fn delete_policy(txn: &mut Txn<'_>, named: (&str, u64)) -> Outcome<()> {
    change(txn, named, |access| {
        access.policy = None;
        Ok(())
    })?;
    unbind(txn, named.1)
}

pub fn put_block(txn: &mut Txn<'_>, named: (&str, u64), block: Option<BlockPublicAccess>) -> Outcome<()> {
    change(txn, named, |access| {
        access.block = block;
        Ok(())
    })
}

pub fn of_record(view: &dyn Read, bucket: &BucketRecord) -> Outcome<AccessRecord> {
    Ok(load(view, &keys::access(bucket.id))?.unwrap_or_else(|| AccessRecord::of_new(bucket)))
}

pub fn change(
    txn: &mut Txn<'_>,
    (name, id): (&str, u64),
    change: impl FnOnce(&mut AccessRecord) -> Result<(), Refusal>,
) -> Outcome<()> {
    let bucket = bucket(txn, name)?;
    if bucket.id != id {
        let message = "the bucket that was meant is gone, and another has its name";
        return Err(Refusal::not_found(Entity::Bucket, message).into());
    }
    let mut access = of_record(txn, &bucket)?;
    change(&mut access)?;
    Ok(txn.put(keys::access(id), &access)?)
}

#[cfg(test)]
mod tests {
    use super::super::tests::Fixture;
    use super::*;
    use crate::command::Command;
    use crate::object::ObjectOwnership;
    use crate::query::{Answer, Query};

    fn access(f: &Fixture) -> (u64, AccessRecord) {
        let Answer::BucketAccess(found) = f.ask(Query::BucketAccess { name: "bucket".into() }).unwrap()
        else {
            panic!()
        };
        (found.bucket.id, found.access)
    }

    fn put(id: u64, text: &str, public: bool) -> Command {
        Command::PutBucketPolicy { bucket: "bucket".into(), id, text: text.into(), public }
    }

    fn block(id: u64, block: Option<BlockPublicAccess>) -> Command {
        Command::PutPublicAccessBlock { bucket: "bucket".into(), id, block }
    }

    fn closed(policy: Option<&str>) -> AccessRecord {
        AccessRecord {
            policy: policy.map(str::to_owned),
            block: Some(BlockPublicAccess::ALL),
            ownership: Some(ObjectOwnership::BucketOwnerEnforced),
            acl: None,
        }
    }

    const OPEN: BlockPublicAccess =
        BlockPublicAccess { block_public_policy: false, ..BlockPublicAccess::ALL };

    #[test]
    fn a_bucket_of_before_is_closed_and_what_is_put_is_kept() {
        let f = Fixture::new();
        let (id, new) = access(&f);
        assert_eq!(f.kv.get(&keys::access(id)).unwrap(), None, "as buckets of earlier builds are");
        assert_eq!(new, closed(None));
        f.run(put(id, "{}", false)).unwrap();
        assert_eq!(access(&f).1, closed(Some("{}")));
        f.run(block(id, Some(OPEN))).unwrap();
        assert_eq!(access(&f).1, AccessRecord { block: Some(OPEN), ..closed(Some("{}")) });
        let delete = || Command::DeleteBucketPolicy { bucket: "bucket".into(), id };
        f.run(delete()).unwrap();
        f.run(delete()).unwrap();
        f.run(block(id, None)).unwrap();
        assert_eq!(access(&f).1, AccessRecord { block: None, ..closed(None) });
    }

    #[test]
    fn a_public_policy_is_put_only_where_that_is_not_blocked() {
        let f = Fixture::new();
        let (id, _) = access(&f);
        let refused = |result: Result<_, Refusal>| result.unwrap_err().kind;
        assert_eq!(refused(f.run(put(id, "p", true))), ErrorKind::PreconditionFailed);
        assert_eq!(access(&f).1.policy, None);
        f.run(block(id, Some(OPEN))).unwrap();
        f.run(put(id, "p", true)).unwrap();
        // What is there stays when it is blocked again.
        f.run(block(id, Some(BlockPublicAccess::ALL))).unwrap();
        assert_eq!(refused(f.run(put(id, "q", true))), ErrorKind::PreconditionFailed);
        assert_eq!(access(&f).1.policy.as_deref(), Some("p"));
        f.run(block(id, None)).unwrap();
        f.run(put(id, "q", true)).unwrap();
        for text in [String::new(), "x".repeat(MAX_POLICY_BYTES + 1)] {
            assert_eq!(refused(f.run(put(id, &text, false))), ErrorKind::Invalid);
        }
        f.run(put(id, &"x".repeat(MAX_POLICY_BYTES), false)).unwrap();
    }

    #[test]
    fn a_bucket_made_anew_has_nothing_of_the_former_one() {
        let f = Fixture::new();
        let (id, _) = access(&f);
        f.run(put(id, "p", false)).unwrap();
        f.run(block(id, None)).unwrap();
        f.run(Command::DeleteBucket { name: "bucket".into() }).unwrap();
        assert_eq!(f.kv.get(&keys::access(id)).unwrap(), None);
        let create = Command::CreateBucket { name: "bucket".into(), owner: "other".into(), now_ms: 2 };
        f.run(create).unwrap();
        let late = [
            put(id, "late", false),
            Command::DeleteBucketPolicy { bucket: "bucket".into(), id },
            block(id, None),
        ];
        for command in late {
            assert_eq!(f.run(command).unwrap_err().kind, ErrorKind::NotFound(Entity::Bucket));
        }
        let (other, new) = access(&f);
        assert_ne!(other, id);
        assert_eq!(new, closed(None));
    }

    #[test]
    fn golden_bytes_never_change() {
        let bytes = |command: &Command| hex::encode(postcard::to_stdvec(command).unwrap());
        assert_eq!(bytes(&put(5, "{}", true)), "27066275636b657405027b7d01");
        let delete = Command::DeleteBucketPolicy { bucket: "bucket".into(), id: 5 };
        assert_eq!(bytes(&delete), "28066275636b657405");
        assert_eq!(bytes(&block(5, Some(OPEN))), "29066275636b6574050101010001");
        assert_eq!(bytes(&block(5, None)), "29066275636b65740500");
        let kept = AccessRecord { block: Some(OPEN), ..closed(Some("{}")) };
        assert_eq!(hex::encode(postcard::to_stdvec(&kept).unwrap()), "01027b7d0101010001");
        let none = AccessRecord { block: None, ..closed(None) };
        assert_eq!(hex::encode(postcard::to_stdvec(&none).unwrap()), "0000");
    }
}
