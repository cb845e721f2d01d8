//! What a request's headers ask for, for the owner that it turns out to be for.

use super::headers::of_headers;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use http::HeaderMap;
use meta::identity::account_of;
use policy::{Acl, AclPermission, CannedAcl, Grant, Grantee};
use std::collections::BTreeSet;

/// What a request says an ACL is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    Nothing,
    Canned(CannedAcl),
    Grants(Vec<Grant>),
}

impl Asked {
    pub fn of(headers: &HeaderMap) -> S3Result<Self> {
        of_headers(headers)
    }

    /// Whether it says no more than what holds where ACLs are off: that the bucket's owner has full control. AWS takes
    /// `bucket-owner-full-control` there; `private` comes from s3cmd and s3fs, which send it unasked.
    pub fn is_the_owners_own(&self, bucket_owner: &str) -> bool {
        match self {
            Self::Nothing | Self::Canned(CannedAcl::Private | CannedAcl::BucketOwnerFullControl) => true,
            Self::Canned(_) => false,
            Self::Grants(grants) => {
                let own = |grant: &Grant| {
                    grant.permission == AclPermission::FullControl
                        && matches!(&grant.grantee, Grantee::CanonicalUser(id) if id == bucket_owner)
                };
                grants.iter().all(own)
            }
        }
    }

    /// The ACL of what is this owner's. Without any it is private.
    pub fn expand(self, owner: &str, bucket_owner: &str) -> Acl {
        match self {
            Self::Nothing => CannedAcl::Private.expand(owner, bucket_owner),
            Self::Canned(canned) => canned.expand(owner, bucket_owner),
            Self::Grants(grants) => Acl { owner: owner.to_owned(), grants },
        }
    }
}

/// Refuses grants to accounts that don't exist. Those named in `known` do.
pub async fn check_grantees(shared: &Shared, acl: &Acl, known: &[&str]) -> S3Result<()> {
    let ids: BTreeSet<&str> = acl
        .grants
        .iter()
        .filter_map(|grant| match &grant.grantee {
            Grantee::CanonicalUser(id) => Some(id.as_str()),
            Grantee::AllUsers | Grantee::AuthenticatedUsers | Grantee::LogDelivery => None,
        })
        .filter(|id| !known.contains(id))
        .collect();
    for id in ids {
        if !shared.meta.account_exists(account_of(id)).await.map_err(fault::meta)? {
            return Err(S3Error::with(S3Code::InvalidArgument, "Invalid id")
                .extra("ArgumentName", "CanonicalUser/ID")
                .extra("ArgumentValue", id));
        }
    }
    Ok(())
}
