//! Access control lists: canned ones and grants, which S3 only looks at when ownership controls enable them.
//!
//! Source: S3 User Guide, "Access control list (ACL) overview" and "Controlling ownership of objects".

use crate::error::{Error, ErrorKind, Result};
use crate::limits::MAX_ACL_GRANTS;
use crate::principal::{Caller, Named};

/// A bucket's ownership controls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ObjectOwnership {
    /// ACLs are disabled: the bucket's owner owns every object. What new buckets have.
    #[default]
    BucketOwnerEnforced,
    /// Objects put with `bucket-owner-full-control` become the bucket owner's.
    BucketOwnerPreferred,
    /// Who puts an object owns it.
    ObjectWriter,
}

impl ObjectOwnership {
    pub fn acls_enabled(self) -> bool {
        self != Self::BucketOwnerEnforced
    }
}

/// To whom a grant gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grantee {
    /// An account, by its canonical id.
    CanonicalUser(String),
    /// `http://acs.amazonaws.com/groups/global/AllUsers`
    AllUsers,
    /// `http://acs.amazonaws.com/groups/global/AuthenticatedUsers`: anybody of any account.
    AuthenticatedUsers,
    /// `http://acs.amazonaws.com/groups/s3/LogDelivery`
    LogDelivery,
}

/// What a grant gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclPermission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    pub grantee: Grantee,
    pub permission: AclPermission,
}

/// The list of a bucket or of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    /// Canonical id of the owner.
    pub owner: String,
    pub grants: Vec<Grant>,
}

/// What `x-amz-acl` names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CannedAcl {
    Private,
    PublicRead,
    PublicReadWrite,
    AuthenticatedRead,
    AwsExecRead,
    BucketOwnerRead,
    BucketOwnerFullControl,
    LogDeliveryWrite,
}

/// The name under which ACLs' logs are delivered.
const LOG_SERVICE: &str = "logging.s3.amazonaws.com";

impl CannedAcl {
    pub fn parse(text: &str) -> Result<Self> {
        Ok(match text {
            "private" => Self::Private,
            "public-read" => Self::PublicRead,
            "public-read-write" => Self::PublicReadWrite,
            "authenticated-read" => Self::AuthenticatedRead,
            "aws-exec-read" => Self::AwsExecRead,
            "bucket-owner-read" => Self::BucketOwnerRead,
            "bucket-owner-full-control" => Self::BucketOwnerFullControl,
            "log-delivery-write" => Self::LogDeliveryWrite,
            _ => {
                let message = format!("{text:?} is no canned ACL");
                return Err(Error::new(ErrorKind::MalformedAcl, "x-amz-acl", message));
            }
        })
    }

    /// Its grants, for an owner and the owner of the bucket, both by canonical id. What it would give the owner beside full
    /// control is left out.
    pub fn expand(self, owner: &str, bucket_owner: &str) -> Acl {
        let to = |grantee, permission| Grant { grantee, permission };
        let account = |id: &str| Grantee::CanonicalUser(id.to_owned());
        let mut grants = vec![to(account(owner), AclPermission::FullControl)];
        match self {
            // `aws-exec-read` lets EC2 read images; there is no EC2 here.
            Self::Private | Self::AwsExecRead => {}
            Self::PublicRead => grants.push(to(Grantee::AllUsers, AclPermission::Read)),
            Self::PublicReadWrite => {
                grants.push(to(Grantee::AllUsers, AclPermission::Read));
                grants.push(to(Grantee::AllUsers, AclPermission::Write));
            }
            Self::AuthenticatedRead => grants.push(to(Grantee::AuthenticatedUsers, AclPermission::Read)),
            Self::BucketOwnerRead | Self::BucketOwnerFullControl if owner == bucket_owner => {}
            Self::BucketOwnerRead => grants.push(to(account(bucket_owner), AclPermission::Read)),
            Self::BucketOwnerFullControl => {
                grants.push(to(account(bucket_owner), AclPermission::FullControl))
            }
            Self::LogDeliveryWrite => {
                grants.push(to(Grantee::LogDelivery, AclPermission::Write));
                grants.push(to(Grantee::LogDelivery, AclPermission::ReadAcp));
            }
        }
        Acl { owner: owner.to_owned(), grants }
    }
}

impl Acl {
    /// Refuses a list that S3 would not take.
    pub fn check(&self) -> Result<()> {
        if self.grants.len() > MAX_ACL_GRANTS {
            let message = format!("an ACL has at most {MAX_ACL_GRANTS} grants");
            return Err(Error::new(ErrorKind::MalformedAcl, "AccessControlList", message));
        }
        Ok(())
    }

    /// Whether any grant is to everybody, or to everybody who signs.
    pub fn is_public(&self) -> bool {
        let everybody =
            |grant: &Grant| matches!(grant.grantee, Grantee::AllUsers | Grantee::AuthenticatedUsers);
        self.grants.iter().any(everybody)
    }

    /// The grant that gives `wanted` to the caller most directly.
    pub(crate) fn allows(
        &self,
        caller: &Caller,
        canonical_id: Option<&str>,
        wanted: AclPermission,
    ) -> Option<(usize, Named)> {
        let by_account = if matches!(caller, Caller::Root { .. }) { Named::Direct } else { Named::Account };
        let mut best: Option<(usize, Named)> = None;
        for (index, grant) in self.grants.iter().enumerate() {
            if grant.permission != wanted && grant.permission != AclPermission::FullControl {
                continue;
            }
            let named = match &grant.grantee {
                Grantee::CanonicalUser(id) => (canonical_id == Some(id)).then_some(by_account),
                Grantee::AllUsers => Some(Named::Indirect),
                Grantee::AuthenticatedUsers => caller.account().map(|_| Named::Indirect),
                Grantee::LogDelivery => {
                    matches!(caller, Caller::Service { name } if name == LOG_SERVICE).then_some(Named::Direct)
                }
            };
            if let Some(named) = named
                && best.is_none_or(|(_, earlier)| named > earlier)
            {
                best = Some((index, named));
            }
        }
        best
    }
}

/// Which list decides about an action, and what it must give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AclNeed {
    Bucket(AclPermission),
    Object(AclPermission),
}

/// Source: S3 User Guide, "Mapping of ACL permissions and access policy permissions". What isn't in that table
/// no ACL can give.
pub(crate) fn acl_need(lower_action: &str) -> Option<AclNeed> {
    use AclPermission::{Read, ReadAcp, Write, WriteAcp};
    Some(match lower_action {
        "s3:listbucket" | "s3:listbucketversions" | "s3:listbucketmultipartuploads" => AclNeed::Bucket(Read),
        "s3:putobject" => AclNeed::Bucket(Write),
        "s3:getbucketacl" => AclNeed::Bucket(ReadAcp),
        "s3:putbucketacl" => AclNeed::Bucket(WriteAcp),
        "s3:getobject" | "s3:getobjectversion" | "s3:getobjecttorrent" => AclNeed::Object(Read),
        "s3:getobjectacl" | "s3:getobjectversionacl" => AclNeed::Object(ReadAcp),
        "s3:putobjectacl" | "s3:putobjectversionacl" => AclNeed::Object(WriteAcp),
        _ => return None,
    })
}
