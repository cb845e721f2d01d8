//! Access control lists: as requests say them, as the control plane keeps them, as they are judged.
//!
//! An account's canonical id is its owner's name, which lists show.
//!
//! Source: S3 User Guide, "Access control list (ACL) overview", "Controlling ownership of objects and disabling ACLs for
//! your bucket", "Blocking public access to your Amazon S3 storage"; S3 API reference, PutBucketAcl, PutObjectAcl.

mod asked;
mod document;
mod headers;

pub use asked::{Asked, check_grantees};
pub use document::{parse, write};

use crate::error::{S3Code, S3Error};
use meta::acl::{self, AclGrant, Grants, ObjectAcl};
use policy::{Acl, AclPermission, Grant, Grantee};

/// Whose the objects are that nobody signed for, where they are their writers': AWS's id of the anonymous user. Nobody is
/// let in by it.
pub const NOBODY: &str = "65a011a29cdf8ec533ec3d1ccaae921c";

/// What is kept, as it is judged.
pub fn judged(owner: &str, grants: &Grants) -> Acl {
    let grants = match grants {
        None => vec![full_control(owner)],
        Some(grants) => grants.iter().map(of_kept).collect(),
    };
    Acl { owner: owner.to_owned(), grants }
}

/// An object's, in a bucket of this owner.
pub fn judged_object(bucket_owner: &str, acl: Option<&ObjectAcl>) -> Acl {
    let owner = acl.and_then(|acl| acl.owner.as_deref()).unwrap_or(bucket_owner);
    judged(owner, acl.map_or(&None, |acl| &acl.grants))
}

/// What is to be kept of it: nothing of one that says what all say without any.
pub fn kept(acl: &Acl) -> Grants {
    match &acl.grants[..] {
        [only] if *only == full_control(&acl.owner) => None,
        grants => Some(grants.iter().map(to_keep).collect()),
    }
}

/// The same of an object's, in a bucket of this owner.
pub fn kept_object(bucket_owner: &str, acl: &Acl) -> Option<ObjectAcl> {
    let owner = (acl.owner != bucket_owner).then(|| acl.owner.clone());
    let kept = ObjectAcl { owner, grants: kept(acl) };
    (kept != ObjectAcl::default()).then_some(kept)
}

/// What a public access block says to a public ACL.
pub fn blocked() -> S3Error {
    S3Error::with(
        S3Code::AccessDenied,
        "Public access control lists (ACLs) are prevented by the BlockPublicAcls setting in S3 Block Public Access.",
    )
}

fn full_control(owner: &str) -> Grant {
    Grant { grantee: Grantee::CanonicalUser(owner.to_owned()), permission: AclPermission::FullControl }
}

fn of_kept(grant: &AclGrant) -> Grant {
    let grantee = match &grant.to {
        acl::Grantee::Account(id) => Grantee::CanonicalUser(id.clone()),
        acl::Grantee::AllUsers => Grantee::AllUsers,
        acl::Grantee::AuthenticatedUsers => Grantee::AuthenticatedUsers,
        acl::Grantee::LogDelivery => Grantee::LogDelivery,
    };
    let permission = match grant.permission {
        acl::AclPermission::Read => AclPermission::Read,
        acl::AclPermission::Write => AclPermission::Write,
        acl::AclPermission::ReadAcp => AclPermission::ReadAcp,
        acl::AclPermission::WriteAcp => AclPermission::WriteAcp,
        acl::AclPermission::FullControl => AclPermission::FullControl,
    };
    Grant { grantee, permission }
}

fn to_keep(grant: &Grant) -> AclGrant {
    let to = match &grant.grantee {
        Grantee::CanonicalUser(id) => acl::Grantee::Account(id.clone()),
        Grantee::AllUsers => acl::Grantee::AllUsers,
        Grantee::AuthenticatedUsers => acl::Grantee::AuthenticatedUsers,
        Grantee::LogDelivery => acl::Grantee::LogDelivery,
    };
    let permission = match grant.permission {
        AclPermission::Read => acl::AclPermission::Read,
        AclPermission::Write => acl::AclPermission::Write,
        AclPermission::ReadAcp => acl::AclPermission::ReadAcp,
        AclPermission::WriteAcp => acl::AclPermission::WriteAcp,
        AclPermission::FullControl => acl::AclPermission::FullControl,
    };
    AclGrant { to, permission }
}

/// As requests and answers name groups.
const GROUPS: [(Grantee, &str); 3] = [
    (Grantee::AllUsers, "http://acs.amazonaws.com/groups/global/AllUsers"),
    (Grantee::AuthenticatedUsers, "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"),
    (Grantee::LogDelivery, "http://acs.amazonaws.com/groups/s3/LogDelivery"),
];

fn group_of(uri: &str) -> Option<Grantee> {
    GROUPS.iter().find(|(_, known)| *known == uri).map(|(group, _)| group.clone())
}

/// AWS stopped to take grants to addresses in October 2025. No account here has one.
fn no_addresses() -> S3Error {
    let why = "Email address grantees are not supported: name the account by its canonical id.";
    S3Error::with(S3Code::MethodNotAllowed, why)
}

fn invalid(name: &str, value: &str, why: &'static str) -> S3Error {
    S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", name).extra("ArgumentValue", value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use policy::CannedAcl;

    #[test]
    fn what_all_say_is_not_kept_and_the_rest_comes_back() {
        let private = CannedAcl::Private.expand("o", "b");
        assert_eq!(kept(&private), None);
        assert_eq!(judged("o", &None), private);
        assert_eq!(kept_object("o", &private), None);
        assert_eq!(kept_object("b", &private), Some(ObjectAcl { owner: Some("o".into()), grants: None }));
        for canned in [
            CannedAcl::PublicReadWrite,
            CannedAcl::AuthenticatedRead,
            CannedAcl::LogDeliveryWrite,
            CannedAcl::BucketOwnerRead,
        ] {
            let acl = canned.expand("o", "b");
            assert_eq!(judged("o", &kept(&acl)), acl);
            assert_eq!(judged_object("b", kept_object("b", &acl).as_ref()), acl);
        }
        let none = Acl { owner: "o".into(), grants: vec![] };
        assert_eq!(kept(&none), Some(vec![]), "nobody is another than the owner alone");
        assert_eq!(judged_object("b", None), CannedAcl::Private.expand("b", "b"));
    }
}
