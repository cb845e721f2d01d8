//! Users and roles by the ARNs that policies name them with.

use crate::error::S3Result;
use crate::fault;
use crate::gateway::Shared;
use meta::error::{Entity, ErrorKind};
use meta::identity::{BoundPrincipal, IdentityKind, IdentityName, account_of};
use policy::{Caller, Policy, PrincipalName};
use std::borrow::Cow;

/// Whom an ARN of a principal names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    pub of: IdentityName,
    /// Of a user or role, which has a path; a session's ARN has none.
    pub arn: Option<String>,
}

impl Named {
    /// `arn:aws:iam::ACCOUNT:user/PATH/NAME`, the same of a role, or `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`.
    pub fn parse(arn: &str) -> Option<Self> {
        let (service, rest) = arn.strip_prefix("arn:aws:")?.split_once("::")?;
        let (account, resource) = rest.split_once(':')?;
        let (kind, path) = resource.split_once('/')?;
        let last = path.rsplit_once('/').map_or(path, |(_, name)| name);
        let (kind, name, whole) = match (service, kind) {
            ("iam", "user") => (IdentityKind::User, last, Some(arn.to_owned())),
            ("iam", "role") => (IdentityKind::Role, last, Some(arn.to_owned())),
            ("sts", "assumed-role") => (IdentityKind::Role, path.split_once('/')?.0, None),
            _ => return None,
        };
        let of = IdentityName { kind, account: account.to_owned(), name: name.to_owned() };
        (!name.is_empty()).then_some(Self { of, arn: whole })
    }
}

/// The users and roles that a policy names, each with the id of the one that is meant. `own` is the account whose
/// policy it is. The inner error is the first principal that is nobody.
pub async fn bind(
    shared: &Shared,
    policy: &Policy,
    own: &str,
) -> S3Result<Result<Vec<BoundPrincipal>, String>> {
    let account = async |number: &str| shared.meta.account_exists(number).await.map_err(fault::meta);
    let mut bound: Vec<BoundPrincipal> = Vec::new();
    for name in policy.principals() {
        let (known, shown) = match name {
            PrincipalName::Everyone => (true, "*"),
            PrincipalName::Account(number) => (number == own || account(number).await?, number.as_str()),
            // An account's canonical id is its owner here.
            PrincipalName::CanonicalUser(id) => (account(account_of(id)).await?, id.as_str()),
            PrincipalName::Arn(arn) => {
                let found = find(shared, arn).await?;
                let known = found.is_some();
                let fresh = bound.iter().all(|there| there.arn != *arn);
                bound.extend(found.flatten().filter(|_| fresh));
                (known, arn.as_str())
            }
            PrincipalName::Federated(name) => (false, name.as_str()),
            // Services act for the store itself: access logs are delivered by one.
            PrincipalName::Service(name) => (true, name.as_str()),
        };
        if !known {
            return Ok(Err(shown.to_owned()));
        }
    }
    Ok(Ok(bound))
}

/// The caller as a policy sees it in which these are meant: whoever got the name of one of them later is known there
/// by its id, which no policy names.
pub fn as_meant<'a>(caller: &'a Caller, id: Option<&str>, bound: &[BoundPrincipal]) -> Cow<'a, Caller> {
    let Some(id) = id else { return Cow::Borrowed(caller) };
    let other = |arn: &str| bound.iter().any(|meant| meant.arn == arn && meant.id != id);
    match caller {
        Caller::User { account, arn } if other(arn) => {
            Cow::Owned(Caller::User { account: account.clone(), arn: id.to_owned() })
        }
        Caller::RoleSession { account, role_arn, session_arn } if other(role_arn) => {
            Cow::Owned(Caller::RoleSession {
                account: account.clone(),
                role_arn: id.to_owned(),
                session_arn: session_arn.clone(),
            })
        }
        Caller::FederatedUser { account, user_arn, session_arn } if other(user_arn) => {
            Cow::Owned(Caller::FederatedUser {
                account: account.clone(),
                user_arn: id.to_owned(),
                session_arn: session_arn.clone(),
            })
        }
        _ => Cow::Borrowed(caller),
    }
}

/// The one whom this ARN names, if there is one; nothing to bind of a session, which is of a role.
async fn find(shared: &Shared, arn: &str) -> S3Result<Option<Option<BoundPrincipal>>> {
    if let Some(account) = federated(arn) {
        // Nobody keeps whom users name so: the account is all that can be known.
        return Ok(shared.meta.account_exists(account).await.map_err(fault::meta)?.then_some(None));
    }
    let Some(named) = Named::parse(arn) else { return Ok(None) };
    match shared.meta.effective(&named.of).await {
        Ok(found) => Ok(match named.arn {
            None => Some(None),
            Some(arn) => {
                let meant = arn == found.record.arn();
                meant.then_some(Some(BoundPrincipal { arn, id: found.record.id }))
            }
        }),
        Err(error) => match error.kind() {
            ErrorKind::NotFound(Entity::Identity | Entity::Account) | ErrorKind::Invalid => Ok(None),
            _ => Err(fault::meta(error)),
        },
    }
}

/// The account in `arn:aws:sts::ACCOUNT:federated-user/NAME`.
fn federated(arn: &str) -> Option<&str> {
    let (account, rest) = arn.strip_prefix("arn:aws:sts::")?.split_once(':')?;
    rest.strip_prefix("federated-user/").map(|_| account)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_name_users_and_roles() {
        let named =
            |arn: &str| Named::parse(arn).map(|named| (named.of.kind, named.of.account, named.of.name));
        let of = |kind, name: &str| Some((kind, "000000000000".to_owned(), name.to_owned()));
        assert_eq!(named("arn:aws:iam::000000000000:user/alice"), of(IdentityKind::User, "alice"));
        assert_eq!(named("arn:aws:iam::000000000000:user/a/b/alice"), of(IdentityKind::User, "alice"));
        assert_eq!(named("arn:aws:iam::000000000000:role/r"), of(IdentityKind::Role, "r"));
        assert_eq!(named("arn:aws:sts::000000000000:assumed-role/r/s"), of(IdentityKind::Role, "r"));
        for bad in [
            "",
            "arn:aws:iam::000000000000:root",
            "arn:aws:iam::000000000000:group/g",
            "arn:aws:iam::000000000000:user/",
            "arn:aws:sts::000000000000:assumed-role/r",
            "arn:aws:s3:::bucket/key",
        ] {
            assert_eq!(named(bad), None, "{bad}");
        }
    }
}
