//! What has a say about one bucket: its policy, its ACL and its public access block, as they are now.
//!
//! Asked for with the bucket at every request, so that a change is obeyed by every gateway from the moment it returned
//! (promise 10). Only the work is kept: of parsing, beside the text that it was done for, and of all the rest, beside
//! an answer of the control plane for as long as that stays its answer.

use crate::acl;
use crate::context::account_of;
use crate::error::S3Result;
use crate::identity_rules::IdentityRules;
use crate::limits::MAX_PARSED_POLICIES;
use crate::principals::as_meant;
use meta::acl::ObjectAcl;
use meta::identity::BoundPrincipal;
use meta::known::Known;
use meta::object::{AccessRecord, BlockPublicAccess, BucketRecord};
use meta::query::BucketAccess;
use policy::{
    Acl, AclPermission, Acls, Attached, Caller, Context, Decision, Grant, Kind, ObjectOwnership, Policies,
    Policy, PublicAccessBlock, Request, ResourcePolicy,
};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Policies that were parsed, by their bucket's id.
#[derive(Debug, Default)]
pub struct ParsedPolicies(Mutex<HashMap<u64, Parsed>>);

/// A text, and the policy it is; `None` if it is none.
#[derive(Debug, Clone)]
struct Parsed {
    text: String,
    policy: Option<Arc<Policy>>,
}

impl ParsedPolicies {
    fn parse(&self, bucket: &BucketRecord, text: &str) -> Option<Arc<Policy>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parsed) = known.get(&bucket.id).filter(|parsed| parsed.text == text) {
            return parsed.policy.clone();
        }
        let policy = match Policy::parse(text, Kind::Bucket(&bucket.name)) {
            Ok(policy) => Some(Arc::new(policy)),
            Err(error) => {
                tracing::warn!(bucket = %bucket.name, %error, "a bucket's policy can't be read, so all is denied");
                None
            }
        };
        if known.len() >= MAX_PARSED_POLICIES {
            known.clear();
        }
        known.insert(bucket.id, Parsed { text: text.to_owned(), policy: policy.clone() });
        policy
    }
}

/// A bucket and the rules that hold for it.
#[derive(Debug, Clone)]
pub struct BucketRules {
    pub record: BucketRecord,
    pub access: AccessRecord,
    /// The text of its encryption setting, if it has one.
    pub encryption: Option<String>,
    /// The users and roles that its policy means.
    bound: Vec<BoundPrincipal>,
    /// Of the bucket and its account together.
    block: PublicAccessBlock,
    /// `bucket/NAME`, by which decisions name its policy.
    name: String,
    /// What the policy's text is, if there is one; `None` inside if it can't be read.
    policy: Option<Option<Arc<Policy>>>,
    /// Whether changes to its objects are told to webhooks.
    pub notifies: bool,
    /// Whose objects are. Where nobody says, their writers'.
    ownership: ObjectOwnership,
    /// What the bucket grants, where ACLs are on.
    acl: Option<Acl>,
}

/// Whose an object is, and what it grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectGrants {
    acl: Acl,
    /// The number of the account that owns it, if that isn't the bucket's.
    account: Option<String>,
}

/// What is to be allowed, to whom.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    pub caller: &'a Caller,
    /// What the caller's own policies say.
    pub rules: &'a IdentityRules,
    /// The owner that the caller acts for, if it is known.
    pub owner: Option<&'a str>,
    pub action: &'a str,
    /// Of the bucket; `None` for the bucket itself.
    pub key: Option<&'a str>,
    /// Of the object, where ACLs are on and it is there.
    pub object: Option<&'a ObjectGrants>,
    pub context: &'a Context,
}

impl BucketRules {
    /// The rules that an answer of the control plane comes to.
    pub fn of(found: &Known<BucketAccess>, parsed: &ParsedPolicies) -> S3Result<Arc<Self>> {
        found.made(|found| Ok(Self::new(found.clone(), parsed)))
    }

    pub fn new(found: BucketAccess, parsed: &ParsedPolicies) -> Self {
        let BucketAccess { bucket, access, account_block, bound, notifies, encryption, .. } = found;
        let policy = access.policy.as_deref().map(|text| parsed.parse(&bucket, text));
        let block = block_of(access.block).with(block_of(account_block));
        let ownership = match access.ownership {
            Some(meta::object::ObjectOwnership::BucketOwnerEnforced) => ObjectOwnership::BucketOwnerEnforced,
            Some(meta::object::ObjectOwnership::BucketOwnerPreferred) => {
                ObjectOwnership::BucketOwnerPreferred
            }
            Some(meta::object::ObjectOwnership::ObjectWriter) | None => ObjectOwnership::ObjectWriter,
        };
        let acl = ownership.acls_enabled().then(|| acl::judged(&bucket.owner, &access.acl));
        let name = format!("bucket/{}", bucket.name);
        Self { name, record: bucket, access, encryption, bound, block, policy, notifies, ownership, acl }
    }

    /// The number of the account that owns it.
    pub fn account(&self) -> &str {
        account_of(&self.record.owner)
    }

    pub fn has_policy(&self) -> bool {
        self.policy.is_some()
    }

    /// Whether ACLs have a say.
    pub fn has_acls(&self) -> bool {
        self.ownership.acls_enabled()
    }

    pub fn ownership(&self) -> ObjectOwnership {
        self.ownership
    }

    /// What the bucket grants: where ACLs are off, all to its owner.
    pub fn acl(&self) -> Acl {
        self.acl.clone().unwrap_or_else(|| acl::judged(&self.record.owner, &None))
    }

    /// What an object in it grants.
    pub fn acl_of(&self, object: Option<&ObjectAcl>) -> Acl {
        acl::judged_object(&self.record.owner, object.filter(|_| self.has_acls()))
    }

    /// The same as it is judged.
    pub fn grants_of(&self, object: Option<&ObjectAcl>) -> ObjectGrants {
        let acl = self.acl_of(object);
        let account = (acl.owner != self.record.owner).then(|| account_of(&acl.owner).to_owned());
        ObjectGrants { acl, account }
    }

    /// What an object grants that is only to be made: who may write one by the bucket's ACL gives it its own.
    pub fn grants_of_new(&self) -> ObjectGrants {
        let writes =
            |grant: &&Grant| matches!(grant.permission, AclPermission::Write | AclPermission::FullControl);
        let owns = |grant: &Grant| Grant { permission: AclPermission::WriteAcp, ..grant.clone() };
        let grants = self.acl.iter().flat_map(|acl| &acl.grants).filter(writes).map(owns).collect();
        ObjectGrants { acl: Acl { owner: self.record.owner.clone(), grants }, account: None }
    }

    /// Whether a public ACL may not be put: by the bucket's own block, or its account's.
    pub fn blocks(&self, acl: &Acl) -> bool {
        self.block.block_public_acls && acl.is_public()
    }

    /// Whether its policy asks for an object's tags. One that can't be read denies, whatever they are.
    pub fn asks_for_object_tags(&self) -> bool {
        self.policy.iter().flatten().any(|policy| policy.asks_for_object_tags())
    }

    /// Whether its policy asks how an object is encrypted.
    pub fn asks_for_encryption(&self) -> bool {
        self.policy.iter().flatten().any(|policy| policy.asks_for_encryption())
    }

    /// Whether the policy makes the bucket public; `None` if there is no policy. One that can't be read is not
    /// known not to.
    pub fn is_public(&self) -> Option<bool> {
        let policy = self.policy.as_ref()?;
        Some(policy.as_ref().is_none_or(|policy| policy.is_public()))
    }

    pub fn decide(&self, asked: Asked<'_>) -> Decision {
        let bucket = &self.record.name;
        let resource = match asked.key {
            None => format!("arn:aws:s3:::{bucket}"),
            Some(key) => format!("arn:aws:s3:::{bucket}/{key}"),
        };
        let mut context = Cow::Borrowed(asked.context);
        if self.has_policy() || !asked.rules.are_none() {
            let account = self.account();
            context.to_mut().set("s3:ResourceAccount", account).set("aws:ResourceAccount", account);
        }
        let caller = as_meant(asked.caller, asked.rules.id(), &self.bound);
        let request = Request {
            caller: &caller,
            canonical_id: asked.owner,
            action: asked.action,
            resource: &resource,
            resource_account: Some(self.account()),
            context: &context,
        };
        let attached = |policy| Attached { name: &self.name, policy };
        let resource = match &self.policy {
            None => ResourcePolicy::Absent,
            Some(policy) => ResourcePolicy::Bucket(attached(policy.as_deref())),
        };
        let acls = Acls {
            ownership: self.ownership,
            bucket: self.acl.as_ref(),
            object: asked.object.map(|object| &object.acl),
            object_account: asked.object.and_then(|object| object.account.as_deref()),
        };
        let policies = Policies { resource, acls, block: self.block, ..Policies::default() };
        asked.rules.decide(&request, policies)
    }
}

/// As decisions take it.
pub fn block_of(kept: Option<BlockPublicAccess>) -> PublicAccessBlock {
    kept.map_or_else(PublicAccessBlock::default, |kept| PublicAccessBlock {
        block_public_acls: kept.block_public_acls,
        ignore_public_acls: kept.ignore_public_acls,
        block_public_policy: kept.block_public_policy,
        restrict_public_buckets: kept.restrict_public_buckets,
    })
}
