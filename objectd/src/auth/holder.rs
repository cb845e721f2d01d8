//! Who a key acts for: an account's root, one of its users, or a session of one of its roles.

use meta::identity::{IdentityRecord, PolicyText, account_of};
use meta::identity_command::Effective;
use meta::identity_details::Tag;
use policy::{Caller, Context};
use std::sync::Arc;

use crate::http_date;

/// Who, within an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Root,
    User(Arc<Effective>),
    Role {
        role: Arc<Effective>,
        session: String,
    },
    /// Whom a user lets do some of what it may.
    Federated {
        user: Arc<Effective>,
        name: String,
    },
}

/// What temporary credentials have beside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temporary {
    pub issued_ms: u64,
    /// Session policies: with any, at least one of them must allow too.
    pub policies: Vec<PolicyText>,
}

/// The holder of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// The number of its account.
    pub account: String,
    pub who: Who,
    /// `None` of a key that lasts.
    pub temporary: Option<Temporary>,
}

impl Holder {
    /// The root of an owner's account.
    pub fn root(owner: &str) -> Self {
        Self { account: account_of(owner).to_owned(), who: Who::Root, temporary: None }
    }

    pub fn caller(&self) -> Caller {
        let account = self.account.clone();
        match &self.who {
            Who::Root => Caller::Root { account },
            Who::User(user) => Caller::User { account, arn: user.record.arn() },
            Who::Role { role, .. } => {
                Caller::RoleSession { account, role_arn: role.record.arn(), session_arn: self.arn() }
            }
            Who::Federated { user, .. } => {
                Caller::FederatedUser { account, user_arn: user.record.arn(), session_arn: self.arn() }
            }
        }
    }

    /// As `GetCallerIdentity` shows it.
    pub fn arn(&self) -> String {
        let account = &self.account;
        match &self.who {
            Who::Root => format!("arn:aws:iam::{account}:root"),
            Who::User(user) => user.record.arn(),
            Who::Role { role, session } => {
                format!("arn:aws:sts::{account}:assumed-role/{}/{session}", role.record.of.name)
            }
            Who::Federated { name, .. } => format!("arn:aws:sts::{account}:federated-user/{name}"),
        }
    }

    /// `aws:userid`.
    pub fn id(&self) -> String {
        match &self.who {
            Who::Root => self.account.clone(),
            Who::User(user) => user.record.id.clone(),
            Who::Role { role, session } => format!("{}:{session}", role.record.id),
            Who::Federated { name, .. } => format!("{}:{name}", self.account),
        }
    }

    /// Its user's name.
    pub fn user(&self) -> Option<&str> {
        match &self.who {
            Who::User(user) => Some(&user.record.of.name),
            Who::Root | Who::Role { .. } | Who::Federated { .. } => None,
        }
    }

    /// The user or role that it is, or that it acts for.
    fn parent(&self) -> Option<&Effective> {
        match &self.who {
            Who::Root => None,
            Who::User(who) | Who::Role { role: who, .. } | Who::Federated { user: who, .. } => Some(who),
        }
    }

    pub fn record(&self) -> Option<&IdentityRecord> {
        self.parent().map(|parent| &parent.record)
    }

    /// The policies of the user or role, and of its groups.
    pub fn policies(&self) -> &[PolicyText] {
        self.parent().map_or(&[], |parent| &parent.policies)
    }

    /// The policy that limits what those give.
    pub fn boundary(&self) -> Option<&PolicyText> {
        self.parent()?.boundary.as_ref()
    }

    /// Policies that limit it as a session, if it is one that is limited: none of them allows everything.
    pub fn session_policies(&self) -> Option<&[PolicyText]> {
        let policies = self.temporary.as_ref()?.policies.as_slice();
        let always = matches!(self.who, Who::Federated { .. });
        (always || !policies.is_empty()).then_some(policies)
    }

    fn tags(&self) -> &[Tag] {
        self.parent().map_or(&[], |parent| &parent.details.tags)
    }

    /// Sets the condition keys that are about who asks.
    pub fn set_keys(&self, context: &mut Context) {
        let (kind, arn) = match &self.who {
            Who::Root => ("Account", self.arn()),
            Who::User(_) => ("User", self.arn()),
            // A session is its role to conditions.
            Who::Role { role, .. } => ("AssumedRole", role.record.arn()),
            // And this one its user, by its name too, which AWS has otherwise: a Deny of the user's own policies that is
            // about it holds for whom it lets act for it.
            Who::Federated { user, .. } => ("FederatedUser", user.record.arn()),
        };
        context
            .set("aws:PrincipalType", kind)
            .set("aws:userid", self.id())
            .set("aws:PrincipalAccount", self.account.as_str())
            .set("aws:PrincipalArn", arn)
            .set("aws:PrincipalIsAWSService", "false");
        if let Who::User(user) | Who::Federated { user, .. } = &self.who {
            context.set("aws:username", user.record.of.name.as_str());
        }
        for tag in self.tags() {
            context.set(&format!("aws:PrincipalTag/{}", tag.key), tag.value.as_str());
        }
        if let Some(temporary) = &self.temporary {
            context
                .set("aws:TokenIssueTime", http_date::iso(temporary.issued_ms))
                .set("aws:MultiFactorAuthPresent", "false");
        }
    }
}
