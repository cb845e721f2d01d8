//! What changes and what reads accounts, identities and their keys.

use crate::client::Client;
use crate::command::Command;
use crate::error::{ErrorKind, MetaError};
use crate::identity::{
    AccountRecord, BoundPrincipal, IdentityKey, IdentityKind, IdentityName, IdentityRecord, ManagedPolicy,
    PolicyText,
};
use crate::identity_details::{FullPolicy, IdentityDetails, PolicyEntity, PolicyVersion, Tag};
use crate::key_use::KeyUse;
use crate::known::Known;
use crate::object::BlockPublicAccess;
use crate::query::{Answer, Query};
use crate::record::AccessKey;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// A change. The order of variants is part of the log's format: new ones go at the end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityCommand {
    /// Makes an account, with nothing in it yet.
    CreateAccount(AccountRecord),
    /// Sets the public access block of an account, or takes it away.
    PutAccountBlock {
        account: String,
        block: Option<BlockPublicAccess>,
    },
    /// Makes a user, group or role, with nothing on it yet.
    CreateIdentity(IdentityRecord),
    /// Only one that nothing hangs on.
    DeleteIdentity(IdentityName),
    /// Puts an inline policy, or replaces the one of its name. Whoever proposes it has parsed the text. Refused
    /// (`PreconditionFailed`) if the identity's inline policies would be too long together.
    PutInlinePolicy {
        of: IdentityName,
        policy: PolicyText,
    },
    DeleteInlinePolicy {
        of: IdentityName,
        name: String,
    },
    /// Replaces a role's trust policy.
    PutTrust {
        role: IdentityName,
        text: String,
        bound: Vec<BoundPrincipal>,
    },
    /// Puts a user into a group of its account, or takes it out.
    SetMember {
        group: IdentityName,
        user: String,
        member: bool,
    },
    CreateManagedPolicy(ManagedPolicy),
    /// Only one that is attached to nobody.
    DeleteManagedPolicy {
        arn: String,
    },
    /// Attaches a managed policy of the same account, or detaches it.
    SetAttached {
        of: IdentityName,
        arn: String,
        attached: bool,
    },
    /// Adds a key to a user or to an account's root. Refused (`PreconditionFailed`) if that has two.
    CreateIdentityKey(IdentityKey),
    SetIdentityKeyActive {
        account: String,
        user: Option<String>,
        id: String,
        active: bool,
    },
    DeleteIdentityKey {
        account: String,
        user: Option<String>,
        id: String,
    },
    /// As [`Command::PutBucketPolicy`], with the users and roles that the policy names.
    PutBoundPolicy {
        bucket: String,
        id: u64,
        text: String,
        public: bool,
        bound: Vec<BoundPrincipal>,
    },
    /// When keys were last used. Told now and then, not with every use.
    NoteKeyUses(Vec<KeyUse>),
    /// As `CreateIdentity`, with a boundary and tags from the first moment.
    CreateDetailedIdentity {
        record: IdentityRecord,
        details: IdentityDetails,
    },
    /// Sets a user's or role's permissions boundary, a managed policy of its account, or takes it away.
    SetBoundary {
        of: IdentityName,
        arn: Option<String>,
    },
    /// Puts tags, after those of these keys were taken away.
    SetIdentityTags {
        of: IdentityName,
        put: Vec<Tag>,
        remove: Vec<String>,
    },
    CreateTaggedPolicy {
        policy: ManagedPolicy,
        tags: Vec<Tag>,
    },
    SetPolicyTags {
        arn: String,
        put: Vec<Tag>,
        remove: Vec<String>,
    },
    /// Refused (`Exists`) if its number is not the next one; (`PreconditionFailed`) if there are five.
    AddPolicyVersion {
        arn: String,
        version: PolicyVersion,
        default: bool,
    },
    SetDefaultPolicyVersion {
        arn: String,
        number: u32,
    },
    /// Any but the default one.
    DeletePolicyVersion {
        arn: String,
        number: u32,
    },
    /// Another name or path for a user or group.
    UpdateIdentity {
        of: IdentityName,
        name: Option<String>,
        path: Option<String>,
    },
    UpdateRole {
        of: IdentityName,
        description: Option<String>,
        max_session_s: Option<u32>,
    },
}

/// A question. The comment of each names its [`IdentityAnswer`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityQuery {
    /// An access key of either sort, with its holder's policies. -> `Identified`
    Identify { key: String },
    /// A user, group or role with all policies that hold for it. -> `Effective`
    Effective(IdentityName),
    /// In order of name, of those whose path begins so. -> `Identities`
    Identities { kind: IdentityKind, account: String, path: String, after: Option<String>, limit: u32 },
    /// A group's users. -> `Identities`, all of them
    Members(IdentityName),
    /// Keys of a user, or of an account's root. -> `IdentityKeys`
    IdentityKeys { account: String, user: Option<String> },
    /// -> `Accounts`
    Accounts,
    /// -> `Account`
    Account { number: String },
    /// Whether there is such an account, kept or made by an owner's key. -> `Exists`
    AccountExists { number: String },
    /// -> `ManagedPolicies`, one
    ManagedPolicy { arn: String },
    /// All of an account's. -> `ManagedPolicies`
    ManagedPolicies { account: String },
    /// When these keys were last used, of those of which that is known. -> `KeyUses`
    KeyUses { keys: Vec<String> },
    /// -> `FullPolicies`, one
    FullPolicy { arn: String },
    /// All of an account's. -> `FullPolicies`
    FullPolicies { account: String },
    /// Who uses a managed policy. -> `PolicyEntities`
    PolicyEntities { arn: String },
}

/// The answer to an [`IdentityQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum IdentityAnswer {
    Identified(Box<Identified>),
    Effective(Box<Effective>),
    Identities(IdentityPage),
    IdentityKeys(Vec<IdentityKey>),
    Accounts(Vec<AccountRecord>),
    Account(AccountRecord),
    Exists(bool),
    ManagedPolicies(Vec<ManagedPolicy>),
    KeyUses(Vec<KeyUse>),
    FullPolicies(Vec<FullPolicy>),
    PolicyEntities(Vec<PolicyEntity>),
}

/// An access key that is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum KnownKey {
    /// Of an owner: it is its account's root's.
    OfOwner(AccessKey),
    OfIdentity(IdentityKey),
}

/// A key, and who holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identified {
    pub key: KnownKey,
    /// The user; `None` of an account's root.
    pub holder: Option<Effective>,
}

/// A user, group or role with the policies that hold for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effective {
    pub record: IdentityRecord,
    /// Its own and its groups', inline and managed, by the names that decisions are explained with.
    pub policies: Vec<PolicyText>,
    pub details: IdentityDetails,
    /// The policy that limits all these.
    pub boundary: Option<PolicyText>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct IdentityPage {
    pub identities: Vec<IdentityRecord>,
    /// What to give as `after` for the next page, if there is one.
    pub next: Option<String>,
}

/// Who asks.
impl Client {
    /// Changes something of accounts and identities.
    pub async fn change_identity(&self, command: IdentityCommand) -> Result<(), MetaError> {
        self.propose(Command::Identity(command)).await.map(|_| ())
    }

    async fn ask_identity(&self, query: IdentityQuery) -> Result<IdentityAnswer, MetaError> {
        expect!(self.query(Query::Identity(query)).await?, Answer::Identity)
    }

    /// Puts a policy as [`put_bucket_policy`](Self::put_bucket_policy) does, with the users and roles that it names.
    pub async fn put_bound_policy(
        &self,
        (bucket, id): (&str, u64),
        (text, public): (String, bool),
        bound: Vec<BoundPrincipal>,
    ) -> Result<(), MetaError> {
        let bucket = bucket.to_owned();
        self.change_identity(IdentityCommand::PutBoundPolicy { bucket, id, text, public, bound }).await
    }

    /// An access key, with its holder's policies.
    pub async fn identify(&self, key: &str) -> Result<Arc<Known<Identified>>, MetaError> {
        if let Some(local) = self.as_local() {
            return local.identify(key).await;
        }
        let query = IdentityQuery::Identify { key: key.to_owned() };
        let found = expect!(self.ask_identity(query).await?, IdentityAnswer::Identified)?;
        Ok(Arc::new(Known::new(*found)))
    }

    /// A user, group or role, with every policy that holds for it.
    pub async fn effective(&self, of: &IdentityName) -> Result<Effective, MetaError> {
        let query = IdentityQuery::Effective(of.clone());
        expect!(self.ask_identity(query).await?, IdentityAnswer::Effective).map(|found| *found)
    }

    /// A page of users, groups or roles, of those whose path begins with `path`.
    pub async fn identities(
        &self,
        (kind, account): (IdentityKind, &str),
        path: &str,
        after: Option<String>,
        limit: u32,
    ) -> Result<IdentityPage, MetaError> {
        let (account, path) = (account.to_owned(), path.to_owned());
        let query = IdentityQuery::Identities { kind, account, path, after, limit };
        expect!(self.ask_identity(query).await?, IdentityAnswer::Identities)
    }

    /// A group's users.
    pub async fn members(&self, group: &IdentityName) -> Result<Vec<IdentityRecord>, MetaError> {
        let query = IdentityQuery::Members(group.clone());
        expect!(self.ask_identity(query).await?, IdentityAnswer::Identities).map(|page| page.identities)
    }

    /// Keys of a user, or of an account's root.
    pub async fn identity_keys(
        &self,
        account: &str,
        user: Option<&str>,
    ) -> Result<Vec<IdentityKey>, MetaError> {
        let query =
            IdentityQuery::IdentityKeys { account: account.to_owned(), user: user.map(str::to_owned) };
        expect!(self.ask_identity(query).await?, IdentityAnswer::IdentityKeys)
    }

    pub async fn accounts(&self) -> Result<Vec<AccountRecord>, MetaError> {
        expect!(self.ask_identity(IdentityQuery::Accounts).await?, IdentityAnswer::Accounts)
    }

    pub async fn account(&self, number: &str) -> Result<AccountRecord, MetaError> {
        let query = IdentityQuery::Account { number: number.to_owned() };
        expect!(self.ask_identity(query).await?, IdentityAnswer::Account)
    }

    /// Whether there is such an account, kept or made by an owner's key.
    pub async fn account_exists(&self, number: &str) -> Result<bool, MetaError> {
        let query = IdentityQuery::AccountExists { number: number.to_owned() };
        expect!(self.ask_identity(query).await?, IdentityAnswer::Exists)
    }

    pub async fn managed_policy(&self, arn: &str) -> Result<ManagedPolicy, MetaError> {
        let query = IdentityQuery::ManagedPolicy { arn: arn.to_owned() };
        let found = expect!(self.ask_identity(query).await?, IdentityAnswer::ManagedPolicies)?;
        let none = || MetaError::new(ErrorKind::Corrupt, "the control plane's answer names no policy");
        found.into_iter().next().ok_or_else(none)
    }

    /// All of an account's managed policies.
    pub async fn managed_policies(&self, account: &str) -> Result<Vec<ManagedPolicy>, MetaError> {
        let query = IdentityQuery::ManagedPolicies { account: account.to_owned() };
        expect!(self.ask_identity(query).await?, IdentityAnswer::ManagedPolicies)
    }

    /// When these keys were last used, of those of which that is known.
    pub async fn key_uses(&self, keys: Vec<String>) -> Result<Vec<KeyUse>, MetaError> {
        expect!(self.ask_identity(IdentityQuery::KeyUses { keys }).await?, IdentityAnswer::KeyUses)
    }

    /// A managed policy with its versions.
    pub async fn full_policy(&self, arn: &str) -> Result<FullPolicy, MetaError> {
        let query = IdentityQuery::FullPolicy { arn: arn.to_owned() };
        let found = expect!(self.ask_identity(query).await?, IdentityAnswer::FullPolicies)?;
        let none = || MetaError::new(ErrorKind::Corrupt, "the control plane's answer names no policy");
        found.into_iter().next().ok_or_else(none)
    }

    /// All of an account's, with their versions.
    pub async fn full_policies(&self, account: &str) -> Result<Vec<FullPolicy>, MetaError> {
        let query = IdentityQuery::FullPolicies { account: account.to_owned() };
        expect!(self.ask_identity(query).await?, IdentityAnswer::FullPolicies)
    }

    /// Who uses a managed policy.
    pub async fn policy_entities(&self, arn: &str) -> Result<Vec<PolicyEntity>, MetaError> {
        let query = IdentityQuery::PolicyEntities { arn: arn.to_owned() };
        expect!(self.ask_identity(query).await?, IdentityAnswer::PolicyEntities)
    }
}
