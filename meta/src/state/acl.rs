//! What buckets and objects grant, and whose objects are. Who may is decided elsewhere; here it is kept, and refused
//! where a public access block or the bucket's ownership forbids it, in the step that would keep it.

use super::access::{account_block, change, of_record};
use super::kv::Read;
use super::txn::Txn;
use super::{Outcome, keys, names};
use crate::acl::{Grantee, Grants, ObjectAcl, are_public};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::limits::MAX_ACL_GRANTS;
use crate::object::{AccessRecord, BucketRecord, ObjectOwnership};

/// A new bucket with ACLs. Like all, it is made closed to the public.
pub fn of_new_bucket(
    txn: &mut Txn<'_>,
    bucket: &BucketRecord,
    ownership: ObjectOwnership,
    acl: Grants,
) -> Outcome<()> {
    check(&acl)?;
    if are_public(&acl) {
        return Err(blocked().into());
    }
    let ownership = Some(ownership);
    Ok(txn.put(keys::access(bucket.id), &AccessRecord { ownership, acl, ..AccessRecord::of_new(bucket) })?)
}

pub fn put_ownership(
    txn: &mut Txn<'_>,
    named: (&str, u64),
    ownership: Option<ObjectOwnership>,
) -> Outcome<()> {
    let owner = super::objects::bucket(txn, named.0)?.owner;
    change(txn, named, |access| {
        let granted = access.acl.iter().flatten().any(|grant| grant.is_foreign(&owner));
        if granted && ownership == Some(ObjectOwnership::BucketOwnerEnforced) {
            let message = "the bucket's ACL grants others something, which can't be while ACLs are off";
            return Err(Refusal::new(ErrorKind::PreconditionFailed, message));
        }
        access.ownership = ownership;
        Ok(())
    })
}

pub fn put(txn: &mut Txn<'_>, named: (&str, u64), acl: Grants) -> Outcome<()> {
    check(&acl)?;
    let account = account_block(txn, &super::objects::bucket(txn, named.0)?)?;
    change(txn, named, |access| {
        if access.ownership == Some(ObjectOwnership::BucketOwnerEnforced) {
            return Err(Refusal::not_found(Entity::Acl, "the bucket has no ACLs"));
        }
        if are_public(&acl) && [access.block, account].iter().flatten().any(|block| block.block_public_acls) {
            return Err(blocked());
        }
        access.acl = acl;
        Ok(())
    })
}

/// Checks what an object is to grant.
pub fn check_of_object(view: &dyn Read, bucket: &BucketRecord, acl: Option<&ObjectAcl>) -> Outcome<()> {
    let Some(ObjectAcl { owner, grants }) = acl else { return Ok(()) };
    if let Some(owner) = owner {
        names::label("an object's owner", owner)?;
    }
    check(grants)?;
    if are_public(grants) {
        let blocks = [of_record(view, bucket)?.block, account_block(view, bucket)?];
        if blocks.iter().flatten().any(|block| block.block_public_acls) {
            return Err(blocked().into());
        }
    }
    Ok(())
}

/// An object's ACL with other grants. Its owner stays.
pub fn changed(
    found: Option<ObjectAcl>,
    seen: Option<&ObjectAcl>,
    grants: Grants,
) -> Result<Option<ObjectAcl>, Refusal> {
    if found.as_ref() != seen {
        let message = "the object's ACL changed since it was looked at";
        return Err(Refusal::new(ErrorKind::InUse(Entity::Acl), message));
    }
    let acl = ObjectAcl { owner: found.and_then(|found| found.owner), grants };
    Ok((acl != ObjectAcl::default()).then_some(acl))
}

fn check(grants: &Grants) -> Result<(), Refusal> {
    let grants = grants.as_deref().unwrap_or_default();
    if grants.len() > MAX_ACL_GRANTS {
        return Err(Refusal::invalid(format!("an ACL has at most {MAX_ACL_GRANTS} grants")));
    }
    grants.iter().try_for_each(|grant| match &grant.to {
        Grantee::Account(id) => names::label("a grantee", id),
        Grantee::AllUsers | Grantee::AuthenticatedUsers | Grantee::LogDelivery => Ok(()),
    })
}

fn blocked() -> Refusal {
    let message = "the public access block of the bucket or its account refuses public ACLs";
    Refusal::new(ErrorKind::Exists(Entity::Acl), message)
}

#[cfg(test)]
#[path = "acl_test.rs"]
mod tests;
