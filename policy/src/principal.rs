//! Who asks, and whom a policy names.
//!
//! Source: IAM User Guide, "AWS JSON policy elements: Principal" and "NotPrincipal".

use crate::limits::ACCOUNT_DIGITS;

/// Who made a request, as authentication found it. ARNs are as STS's `GetCallerIdentity` writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller {
    /// Nobody: the request was not signed.
    Anonymous,
    /// The account itself.
    Root { account: String },
    /// A user, with a key of its own or of `GetSessionToken`. `arn:aws:iam::ACCOUNT:user/PATH/NAME`.
    User { account: String, arn: String },
    /// A session of a role. `arn:aws:iam::ACCOUNT:role/PATH/NAME` and
    /// `arn:aws:sts::ACCOUNT:assumed-role/NAME/SESSION`.
    RoleSession { account: String, role_arn: String, session_arn: String },
    /// A session of `GetFederationToken`. `arn:aws:sts::ACCOUNT:federated-user/NAME`.
    FederatedUser { account: String, user_arn: String, session_arn: String },
    /// One who showed an identity provider's token (for trust policies): the provider's ARN or domain.
    Federated { provider: String },
    /// A part of the store itself: `logging.s3.amazonaws.com`.
    Service { name: String },
}

impl Caller {
    /// The number of the account that the caller belongs to.
    pub fn account(&self) -> Option<&str> {
        match self {
            Self::Root { account }
            | Self::User { account, .. }
            | Self::RoleSession { account, .. }
            | Self::FederatedUser { account, .. } => Some(account),
            Self::Anonymous | Self::Federated { .. } | Self::Service { .. } => None,
        }
    }

    /// Every principal that the caller acts as, its account left out: a session is its role too.
    fn acts_as(&self) -> Vec<&str> {
        match self {
            Self::User { arn, .. } => vec![arn],
            Self::RoleSession { role_arn, session_arn, .. } => vec![role_arn, session_arn],
            Self::FederatedUser { user_arn, session_arn, .. } => vec![user_arn, session_arn],
            _ => Vec::new(),
        }
    }
}

/// One principal that a policy names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PrincipalName {
    /// `"*"` and `{"AWS": "*"}`: also those who did not sign.
    Everyone,
    /// An account by its number or its root's ARN.
    Account(String),
    /// The ARN of a user, a role or a session.
    Arn(String),
    /// An account by its canonical id.
    CanonicalUser(String),
    Federated(String),
    Service(String),
}

/// How a statement of a resource's policy names its caller. Ordered: the later, the more it gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Named {
    /// By its account, which then decides itself who of it may.
    Account,
    /// As one of everyone, or by its role: its boundary and session policies still limit it.
    Indirect,
    /// By its own ARN, a service's or a provider's name.
    Direct,
}

impl PrincipalName {
    /// Reads one value of `{"AWS": ...}`.
    pub(crate) fn aws(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everyone);
        }
        if is_account(text) {
            return Some(Self::Account(text.to_owned()));
        }
        let parts: Vec<&str> = text.splitn(6, ':').collect();
        let ["arn", "aws", service, "", account, resource] = parts.as_slice() else { return None };
        if !is_account(account) || text.contains(['*', '?', '$']) {
            return None;
        }
        let (kind, name) = match resource.split_once('/') {
            None if *service == "iam" && *resource == "root" => {
                return Some(Self::Account((*account).to_owned()));
            }
            None => return None,
            Some(split) => split,
        };
        let named = !name.is_empty() && !name.ends_with('/') && !name.starts_with('/');
        let session = matches!(name.split_once('/'), Some((role, session)) if !role.is_empty() && !session.contains('/'));
        let good = match (*service, kind) {
            ("iam", "user" | "role") => named,
            ("sts", "assumed-role") => named && session,
            ("sts", "federated-user") => named,
            _ => false,
        };
        good.then(|| Self::Arn(text.to_owned()))
    }

    /// How it names the caller, if it does. `canonical_id` is of the caller's account.
    pub(crate) fn names(&self, caller: &Caller, canonical_id: Option<&str>) -> Option<Named> {
        let root = matches!(caller, Caller::Root { .. });
        let by_account = if root { Named::Direct } else { Named::Account };
        match self {
            Self::Everyone => Some(Named::Indirect),
            Self::Account(account) => (caller.account() == Some(account)).then_some(by_account),
            Self::CanonicalUser(id) => (canonical_id == Some(id)).then_some(by_account),
            Self::Arn(arn) => match caller {
                Caller::User { arn: own, .. } => (own == arn).then_some(Named::Direct),
                Caller::RoleSession { role_arn: parent, session_arn, .. }
                | Caller::FederatedUser { user_arn: parent, session_arn, .. } => {
                    let by_parent = (parent == arn).then_some(Named::Indirect);
                    if session_arn == arn { Some(Named::Direct) } else { by_parent }
                }
                _ => None,
            },
            Self::Federated(name) => {
                matches!(caller, Caller::Federated { provider } if provider == name).then_some(Named::Direct)
            }
            Self::Service(service) => {
                matches!(caller, Caller::Service { name } if name == service).then_some(Named::Direct)
            }
        }
    }
}

/// Whom a statement is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principals {
    /// An identity's or a session's policy: for whom it is attached to.
    Attached,
    Only(Vec<PrincipalName>),
    /// Everybody but these. Only with Deny.
    Except(Vec<PrincipalName>),
}

impl Principals {
    /// How the statement names the caller, if it is for it.
    pub(crate) fn names(&self, caller: &Caller, canonical_id: Option<&str>) -> Option<Named> {
        match self {
            Self::Attached => Some(Named::Direct),
            Self::Only(names) => names.iter().filter_map(|name| name.names(caller, canonical_id)).max(),
            Self::Except(names) => (!excepted(names, caller, canonical_id)).then_some(Named::Direct),
        }
    }
}

/// Whether `NotPrincipal` spares the caller. AWS asks that everything that the caller acts as is listed: its
/// account, and of a session also the role. Otherwise the Deny holds.
fn excepted(names: &[PrincipalName], caller: &Caller, canonical_id: Option<&str>) -> bool {
    let everyone = names.contains(&PrincipalName::Everyone);
    let listed =
        |wanted: &str| names.iter().any(|name| matches!(name, PrincipalName::Arn(arn) if arn == wanted));
    everyone
        || match caller {
            Caller::Anonymous => false,
            Caller::Federated { .. } | Caller::Service { .. } => {
                names.iter().any(|name| name.names(caller, None).is_some())
            }
            _ => {
                let account = names.iter().any(|name| match name {
                    PrincipalName::Account(account) => caller.account() == Some(account),
                    PrincipalName::CanonicalUser(id) => canonical_id == Some(id),
                    _ => false,
                });
                account && caller.acts_as().into_iter().all(listed)
            }
        }
}

/// Whether `text` is an account's number.
pub(crate) fn is_account(text: &str) -> bool {
    text.len() == ACCOUNT_DIGITS && text.bytes().all(|byte| byte.is_ascii_digit())
}
