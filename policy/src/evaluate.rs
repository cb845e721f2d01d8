//! Whether a request is allowed, and what decided.
//!
//! In this order: a policy that can't be read denies; an explicit Deny anywhere denies; a public bucket under
//! RestrictPublicBuckets lets in its owner's account only; then somebody must allow. In the account that owns the
//! resource, an Allow of the resource or of the identity is enough; across accounts both must allow. A permissions
//! boundary and session policies limit what identity policies give, and what a resource's policy gives to
//! everyone or to a role; not what it gives to a user's or a session's own ARN. Naming an account leaves the
//! decision to that account.
//!
//! Source: IAM User Guide, "Policy evaluation logic", "Cross-account policy evaluation logic" and "Permissions
//! boundaries for IAM entities"; S3 User Guide, "How Amazon S3 authorizes a request".

use crate::acl::{self, Acl, AclNeed, ObjectOwnership};
use crate::context::Context;
use crate::policy::{Policy, Question};
use crate::principal::{Caller, Named};
use crate::public::PublicAccessBlock;

/// One question: may this caller do this?
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub caller: &'a Caller,
    /// The canonical id of the caller's account, if it has one.
    pub canonical_id: Option<&'a str>,
    /// `s3:GetObject`; case doesn't matter.
    pub action: &'a str,
    /// ARN of the bucket, object, role or `*`-like `arn:aws:s3:::*` that it is done to.
    pub resource: &'a str,
    /// The account that owns the bucket or role. Of what belongs to no bucket: the caller's own.
    pub resource_account: Option<&'a str>,
    pub context: &'a Context,
}

/// A policy by its name, as far as it could be read.
#[derive(Debug, Clone, Copy)]
pub struct Attached<'a> {
    /// For [`Reason`]: `user/alice/inline/backup`, `bucket/photos`.
    pub name: &'a str,
    /// `None` if what is stored can't be parsed; everything is denied then.
    pub policy: Option<&'a Policy>,
}

/// The policy of what the request is about.
#[derive(Debug, Clone, Copy, Default)]
pub enum ResourcePolicy<'a> {
    #[default]
    Absent,
    Bucket(Attached<'a>),
    /// Of a role: without its consent nobody assumes it, whatever their own policies say.
    Trust(Attached<'a>),
}

/// ACLs as they are stored.
#[derive(Debug, Clone, Copy, Default)]
pub struct Acls<'a> {
    /// With [`ObjectOwnership::BucketOwnerEnforced`] nothing else here is looked at.
    pub ownership: ObjectOwnership,
    pub bucket: Option<&'a Acl>,
    pub object: Option<&'a Acl>,
    /// The account that owns the object, if it exists and isn't the bucket owner's.
    pub object_account: Option<&'a str>,
}

/// Everything that has a say.
#[derive(Debug, Clone, Copy, Default)]
pub struct Policies<'a> {
    /// Of the user and its groups, or of the role.
    pub identity: &'a [Attached<'a>],
    pub boundary: Option<Attached<'a>>,
    /// `None`: the session was given none. Some: at least one of them must allow.
    pub session: Option<&'a [Attached<'a>]>,
    pub resource: ResourcePolicy<'a>,
    pub acls: Acls<'a>,
    /// Of bucket and account together ([`PublicAccessBlock::with`]).
    pub block: PublicAccessBlock,
}

/// Which kind of policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Layer {
    Identity,
    Boundary,
    Session,
    Resource,
}

/// A statement of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At {
    pub layer: Layer,
    pub policy: String,
    /// From 0.
    pub statement: usize,
    pub sid: Option<String>,
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Statement(At),
    /// The grant of this index of the bucket's or the object's ACL allowed.
    BucketAcl(usize),
    ObjectAcl(usize),
    /// The caller is the root of its account, which owns the resource.
    Root,
    /// No statement there allows.
    NoAllow(Layer),
    /// RestrictPublicBuckets: this statement makes the bucket public.
    Restricted(At),
    /// A policy that can't be read.
    Unreadable(Layer, String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub allowed: bool,
    pub reason: Reason,
}

/// What may be done to a bucket's policy by its account's root even if that policy denies it or can't be read.
const LOCKOUT: &[&str] = &["s3:deletebucketpolicy", "s3:getbucketpolicy", "s3:putbucketpolicy"];
/// What is done to an object's name, which is the bucket owner's to decide, not to the object's owner's object.
const ON_NAME: &[&str] = &[
    "s3:abortmultipartupload",
    "s3:bypassgovernanceretention",
    "s3:deleteobject",
    "s3:deleteobjectversion",
    "s3:listmultipartuploadparts",
    "s3:putobject",
];

/// Decides one request.
pub fn evaluate(request: &Request<'_>, policies: &Policies<'_>) -> Decision {
    let action = request.action.to_ascii_lowercase();
    Evaluation { request, policies, action: &action }.decide()
}

struct Evaluation<'a> {
    request: &'a Request<'a>,
    policies: &'a Policies<'a>,
    action: &'a str,
}

fn denied(reason: Reason) -> Decision {
    Decision { allowed: false, reason }
}

fn allowed(reason: Reason) -> Decision {
    Decision { allowed: true, reason }
}

impl<'a> Evaluation<'a> {
    fn decide(&self) -> Decision {
        if let Some(reason) = self.unreadable().or_else(|| self.explicit_deny()).or_else(|| self.restricted())
        {
            return denied(reason);
        }
        let owner = self.owner();
        let resource = self.resource_allow(owner);
        let limit = self.limit();
        let account = match (self.identity_allow(), &limit) {
            (Ok(reason), None) => Ok(reason),
            (Ok(_), Some(layer)) => Err(Reason::NoAllow(*layer)),
            (Err(reason), _) => Err(reason),
        };
        let Some(own) = self.request.caller.account() else {
            return match resource {
                Some((reason, named)) if named > Named::Account => allowed(reason),
                _ => denied(Reason::NoAllow(Layer::Resource)),
            };
        };
        let trust = matches!(self.policies.resource, ResourcePolicy::Trust(_));
        match (resource, account) {
            (None, Ok(reason)) if owner == Some(own) && !trust => allowed(reason),
            (None, _) if owner != Some(own) || trust => denied(Reason::NoAllow(Layer::Resource)),
            (None, Ok(reason) | Err(reason)) => denied(reason),
            (Some(_), Ok(reason)) if owner == Some(own) && !trust => allowed(reason),
            (Some((reason, _)), Ok(_)) => allowed(reason),
            (Some((reason, Named::Direct)), Err(_)) if owner == Some(own) => allowed(reason),
            (Some((reason, Named::Indirect)), Err(why)) if owner == Some(own) => match limit {
                None => allowed(reason),
                Some(_) => denied(why),
            },
            (Some(_), Err(why)) => denied(why),
        }
    }

    /// Every policy with its layer.
    fn every(&self) -> impl Iterator<Item = (Layer, &Attached<'a>)> {
        let of = |layer: Layer| move |attached| (layer, attached);
        let resource = match &self.policies.resource {
            ResourcePolicy::Absent => None,
            ResourcePolicy::Bucket(attached) | ResourcePolicy::Trust(attached) => Some(attached),
        };
        let identity = self.policies.identity.iter().map(of(Layer::Identity));
        let boundary = self.policies.boundary.iter().map(of(Layer::Boundary));
        let session = self.policies.session.unwrap_or_default().iter().map(of(Layer::Session));
        identity.chain(boundary).chain(session).chain(resource.map(of(Layer::Resource)))
    }

    fn unreadable(&self) -> Option<Reason> {
        self.every()
            .filter(|(layer, _)| *layer != Layer::Resource || !self.spared())
            .find(|(_, attached)| attached.policy.is_none())
            .map(|(layer, attached)| Reason::Unreadable(layer, attached.name.to_owned()))
    }

    fn question(&self) -> Question<'_> {
        Question {
            caller: self.request.caller,
            canonical_id: self.request.canonical_id,
            action: self.action,
            resource: self.request.resource,
            context: self.request.context,
        }
    }

    fn explicit_deny(&self) -> Option<Reason> {
        let question = self.question();
        self.every().filter(|(layer, _)| *layer != Layer::Resource || !self.spared()).find_map(
            |(layer, attached)| {
                let statement = attached.policy?.denies(&question)?;
                Some(Reason::Statement(at(layer, attached, statement)))
            },
        )
    }

    /// Whether the caller mends the bucket's policy, which that policy must not prevent, whether it denies or
    /// can't be read.
    fn spared(&self) -> bool {
        matches!(self.request.caller, Caller::Root { account }
            if self.request.resource_account == Some(account))
            && matches!(self.policies.resource, ResourcePolicy::Bucket(_))
            && LOCKOUT.contains(&self.action)
    }

    fn restricted(&self) -> Option<Reason> {
        let ResourcePolicy::Bucket(attached) = &self.policies.resource else { return None };
        let foreign = self.request.caller.account().is_none()
            || self.request.caller.account() != self.request.resource_account;
        if !self.policies.block.restrict_public_buckets || !foreign {
            return None;
        }
        let statement = attached.policy?.public_statements().next()?;
        Some(Reason::Restricted(at(Layer::Resource, attached, statement)))
    }

    /// The account whose consent counts as the resource's.
    fn owner(&self) -> Option<&'a str> {
        let object = crate::s3_actions::resource_type(self.action) == Some(crate::ResourceType::Object);
        let foreign = self.policies.acls.object_account.filter(|_| {
            self.policies.acls.ownership.acls_enabled() && object && !ON_NAME.contains(&self.action)
        });
        foreign.or(self.request.resource_account)
    }

    /// What of the resource's side allows, and how it names the caller.
    fn resource_allow(&self, owner: Option<&str>) -> Option<(Reason, Named)> {
        // A bucket's policy can't give away an object that another account owns.
        let speaks = owner == self.request.resource_account;
        let by_policy = match &self.policies.resource {
            ResourcePolicy::Bucket(attached) if speaks => Some(attached),
            ResourcePolicy::Trust(attached) => Some(attached),
            _ => None,
        }
        .and_then(|attached| {
            let (statement, named) = attached.policy?.allows(&self.question())?;
            Some((Reason::Statement(at(Layer::Resource, attached, statement)), named))
        });
        match (by_policy, self.acl_allow()) {
            (Some(policy), Some(acl)) => Some(if acl.1 > policy.1 { acl } else { policy }),
            (policy, acl) => policy.or(acl),
        }
    }

    fn acl_allow(&self) -> Option<(Reason, Named)> {
        let acls = &self.policies.acls;
        if !acls.ownership.acls_enabled() {
            return None;
        }
        let ignore = self.policies.block.ignore_public_acls;
        let effective = |acl: Option<&'a Acl>| acl.filter(|acl| !(ignore && acl.is_public()));
        let Request { caller, canonical_id, .. } = *self.request;
        match acl::acl_need(self.action)? {
            AclNeed::Bucket(wanted) => effective(acls.bucket)?
                .allows(caller, canonical_id, wanted)
                .map(|(grant, named)| (Reason::BucketAcl(grant), named)),
            AclNeed::Object(wanted) => effective(acls.object)?
                .allows(caller, canonical_id, wanted)
                .map(|(grant, named)| (Reason::ObjectAcl(grant), named)),
        }
    }

    /// The statement of the caller's own policies that allows, boundary and session apart.
    fn identity_allow(&self) -> Result<Reason, Reason> {
        // Elsewhere the root still needs the other account's consent: that is the resource's side.
        if matches!(self.request.caller, Caller::Root { .. }) {
            return Ok(Reason::Root);
        }
        self.first_allow(Layer::Identity, self.policies.identity).ok_or(Reason::NoAllow(Layer::Identity))
    }

    /// The first of boundary and session that doesn't allow.
    fn limit(&self) -> Option<Layer> {
        if let Some(boundary) = &self.policies.boundary
            && self.first_allow(Layer::Boundary, std::slice::from_ref(boundary)).is_none()
        {
            return Some(Layer::Boundary);
        }
        let session = self.policies.session?;
        self.first_allow(Layer::Session, session).is_none().then_some(Layer::Session)
    }

    fn first_allow(&self, layer: Layer, policies: &[Attached<'_>]) -> Option<Reason> {
        let question = self.question();
        policies.iter().find_map(|attached| {
            let (statement, _) = attached.policy?.allows(&question)?;
            Some(Reason::Statement(at(layer, attached, statement)))
        })
    }
}

fn at(layer: Layer, attached: &Attached<'_>, statement: usize) -> At {
    let sid = attached.policy.and_then(|policy| policy.statements().get(statement)?.sid());
    At { layer, policy: attached.name.to_owned(), statement, sid: sid.map(str::to_owned) }
}
