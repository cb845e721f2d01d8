//! Access control lists as they are kept. What a grant means is decided elsewhere; here is known only which are to
//! everybody, since a public access block refuses such in the step that would keep them.
//!
//! [`Annotations`] and [`AccessRecord`] are older than ACLs, and kept in entries and in the log's commands. Both end in an
//! option, which is encoded as an enum of two variants is: so one that has an ACL has a third, and all others are encoded as
//! they ever were.

use crate::object::{AccessRecord, Annotations, BlockPublicAccess, ObjectOwnership, Retention};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// To whom a grant gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Grantee {
    /// An account, by the owner's name that lists show: its canonical id.
    Account(String),
    AllUsers,
    AuthenticatedUsers,
    LogDelivery,
}

/// What a grant gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AclPermission {
    Read,
    Write,
    ReadAcp,
    WriteAcp,
    FullControl,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclGrant {
    pub to: Grantee,
    pub permission: AclPermission,
}

impl AclGrant {
    /// Whether it is to everybody, or to everybody who signs.
    pub fn is_public(&self) -> bool {
        matches!(self.to, Grantee::AllUsers | Grantee::AuthenticatedUsers)
    }

    /// Whether it is to another than this owner.
    pub fn is_foreign(&self, owner: &str) -> bool {
        !matches!(&self.to, Grantee::Account(id) if id == owner)
    }
}

/// What grants there are; `None` stands for full control of the owner alone.
pub type Grants = Option<Vec<AclGrant>>;

/// Whose an object is, and what it grants. An object of the bucket's owner that grants nobody else anything has none.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ObjectAcl {
    /// `None`: the bucket's owner.
    pub owner: Option<String>,
    pub grants: Grants,
}

/// Whether any grant is to everybody, or to everybody who signs.
pub fn are_public(grants: &Grants) -> bool {
    grants.iter().flatten().any(AclGrant::is_public)
}

/// Ends [`Annotations`]: a legal hold, or one and an ACL.
#[derive(Serialize)]
enum LastOf<'a> {
    Unsaid,
    Hold(bool),
    HoldAndAcl(Option<bool>, &'a ObjectAcl),
}

#[derive(Deserialize)]
enum Last {
    Unsaid,
    Hold(bool),
    HoldAndAcl(Option<bool>, ObjectAcl),
}

impl Serialize for Annotations {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let last = match (&self.acl, self.legal_hold) {
            (Some(acl), held) => LastOf::HoldAndAcl(held, acl),
            (None, Some(held)) => LastOf::Hold(held),
            (None, None) => LastOf::Unsaid,
        };
        (&self.tags, &self.retention, last).serialize(to)
    }
}

impl<'de> Deserialize<'de> for Annotations {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (tags, retention, last) = <(Vec<(String, String)>, Option<Retention>, Last)>::deserialize(from)?;
        let (legal_hold, acl) = match last {
            Last::Unsaid => (None, None),
            Last::Hold(held) => (Some(held), None),
            Last::HoldAndAcl(held, acl) => (held, Some(acl)),
        };
        Ok(Self { tags, retention, legal_hold, acl })
    }
}

/// Ends an [`AccessRecord`]: a block, or one and what is not as in all buckets of earlier builds.
#[derive(Serialize)]
enum RulesOf<'a> {
    Open,
    Block(BlockPublicAccess),
    All(Option<BlockPublicAccess>, Option<ObjectOwnership>, &'a Grants),
}

#[derive(Deserialize)]
enum Rules {
    Open,
    Block(BlockPublicAccess),
    All(Option<BlockPublicAccess>, Option<ObjectOwnership>, Grants),
}

const OF_BEFORE: Option<ObjectOwnership> = Some(ObjectOwnership::BucketOwnerEnforced);

impl Serialize for AccessRecord {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let rules = match self.block {
            block if self.ownership != OF_BEFORE || self.acl.is_some() => {
                RulesOf::All(block, self.ownership, &self.acl)
            }
            Some(block) => RulesOf::Block(block),
            None => RulesOf::Open,
        };
        (&self.policy, rules).serialize(to)
    }
}

impl<'de> Deserialize<'de> for AccessRecord {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let (policy, rules) = <(Option<String>, Rules)>::deserialize(from)?;
        let (block, ownership, acl) = match rules {
            Rules::Open => (None, OF_BEFORE, None),
            Rules::Block(block) => (Some(block), OF_BEFORE, None),
            Rules::All(block, ownership, acl) => (block, ownership, acl),
        };
        Ok(Self { policy, block, ownership, acl })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fmt::Debug;

    #[track_caller]
    fn golden<T: Serialize + for<'de> Deserialize<'de> + PartialEq + Debug>(value: &T, bytes: &str) {
        assert_eq!(hex::encode(postcard::to_stdvec(value).unwrap()), bytes);
        assert_eq!(postcard::from_bytes::<T>(&hex::decode(bytes).unwrap()).as_ref(), Ok(value));
    }

    fn to_all(permission: AclPermission) -> Grants {
        Some(vec![AclGrant { to: Grantee::AllUsers, permission }])
    }

    #[test]
    fn annotations_without_an_acl_are_encoded_as_ever() {
        let none = Annotations::default();
        golden(&none, "000000");
        golden(&Annotations { legal_hold: Some(true), ..none.clone() }, "00000101");
        golden(&Annotations { legal_hold: Some(false), ..none.clone() }, "00000100");
        let own = Annotations { acl: Some(ObjectAcl::default()), ..none.clone() };
        golden(&own, "000002000000");
        let acl = ObjectAcl { owner: Some("o".into()), grants: to_all(AclPermission::Read) };
        golden(&Annotations { legal_hold: Some(true), acl: Some(acl), ..none }, "000002010101016f01010100");
    }

    #[test]
    fn access_records_as_earlier_builds_have_them_are_encoded_as_ever() {
        let none = AccessRecord { policy: None, block: None, ownership: OF_BEFORE, acl: None };
        golden(&none, "0000");
        golden(&AccessRecord { block: Some(BlockPublicAccess::ALL), ..none.clone() }, "000101010101");
        golden(&AccessRecord { ownership: None, ..none.clone() }, "0002000000");
        let ownership = Some(ObjectOwnership::ObjectWriter);
        let grants = Some(vec![
            AclGrant { to: Grantee::Account("o".into()), permission: AclPermission::FullControl },
            AclGrant { to: Grantee::AuthenticatedUsers, permission: AclPermission::ReadAcp },
            AclGrant { to: Grantee::LogDelivery, permission: AclPermission::WriteAcp },
        ]);
        golden(&AccessRecord { ownership, acl: grants, ..none.clone() }, "0002000102010300016f0402020303");
        let enforced = AccessRecord { acl: to_all(AclPermission::Write), ..none };
        golden(&enforced, "000200010001010101");
    }
}
