//! Accounts, users, groups, roles and managed policies. What their policies mean is decided elsewhere; here they
//! are kept, each change in one step, so that no request sees half of one.

use super::kv::{Read, Step};
use super::txn::{Txn, decode, load};
use super::{Outcome, identity_details, keys, names, policy_details, pool};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::identity::{
    AccountRecord, BoundPrincipal, FIRST_ACCOUNT, IdentityKind, IdentityName, IdentityRecord, ManagedPolicy,
    PolicyText,
};
use crate::identity_command::{Effective, IdentityPage};
use crate::limits::{
    MAX_ATTACHED, MAX_GROUP_INLINE_CHARS, MAX_GROUPS_OF_USER, MAX_IDENTITY_PAGE, MAX_POLICY_TEXT_BYTES,
    MAX_ROLE_INLINE_CHARS, MAX_USER_INLINE_CHARS,
};
use crate::object::BlockPublicAccess;
use serde::de::DeserializeOwned;

pub fn limit(message: &str) -> Refusal {
    Refusal::new(ErrorKind::PreconditionFailed, message)
}

/// The account of a number. The first one is there before anything of it is kept.
pub fn account(view: &dyn Read, number: &str) -> Outcome<AccountRecord> {
    let kept: Option<AccountRecord> = load(view, &keys::account(number))?;
    match kept {
        Some(kept) => Ok(kept),
        None if number == FIRST_ACCOUNT => Ok(AccountRecord::first()),
        None => {
            let message = format!("there is no account with the number '{}'", names::shown(number));
            Err(Refusal::not_found(Entity::Account, message).into())
        }
    }
}

/// Every account, the first one first.
pub fn accounts(view: &dyn Read) -> Outcome<Vec<AccountRecord>> {
    let mut all: Vec<AccountRecord> = pool::all(view, keys::accounts())?;
    if all.first().is_none_or(|first| first.number != FIRST_ACCOUNT) {
        all.insert(0, AccountRecord::first());
    }
    Ok(all)
}

pub fn create_account(txn: &mut Txn<'_>, record: AccountRecord) -> Outcome<()> {
    names::account(&record.number)?;
    names::label("an account's name", &record.name)?;
    if !record.keys.is_empty() {
        return Err(Refusal::invalid("a new account has no keys").into());
    }
    if accounts(txn)?.iter().any(|there| there.number == record.number || there.name == record.name) {
        let message = format!("there is an account '{}' or {} already", record.name, record.number);
        return Err(Refusal::new(ErrorKind::Exists(Entity::Account), message).into());
    }
    Ok(txn.put(keys::account(&record.number), &record)?)
}

pub fn put_block(txn: &mut Txn<'_>, number: &str, block: Option<BlockPublicAccess>) -> Outcome<()> {
    let mut record = account(txn, number)?;
    record.block = block;
    Ok(txn.put(keys::account(number), &record)?)
}

pub fn key_of(of: &IdentityName) -> Vec<u8> {
    keys::identity(of.kind, &of.account, &of.name.to_ascii_lowercase())
}

pub fn identity(view: &dyn Read, of: &IdentityName) -> Outcome<IdentityRecord> {
    let missing = || {
        let (word, name) = (of.kind.word(), names::shown(&of.name));
        Refusal::not_found(Entity::Identity, format!("The {word} with name {name} cannot be found."))
    };
    load(view, &key_of(of))?.ok_or_else(|| missing().into())
}

pub fn create(txn: &mut Txn<'_>, record: &IdentityRecord) -> Outcome<()> {
    let of = &record.of;
    account(txn, &of.account)?;
    names::iam(&of.name)?;
    names::path(&record.path)?;
    names::label("an identity's id", &record.id)?;
    let new = [&record.attached, &record.keys, &record.groups].iter().all(|list| list.is_empty());
    if !new || !record.inline.is_empty() || record.role.is_some() != (of.kind == IdentityKind::Role) {
        return Err(Refusal::invalid("a new identity has no policies, keys or groups").into());
    }
    if let Some(role) = &record.role {
        check_text(&role.trust)?;
        names::bound(&role.bound)?;
        check_text_or_none(&role.description)?;
    }
    if txn.get(&key_of(of))?.is_some() {
        let message = format!("{} with name {} already exists.", of.kind.word(), of.name);
        return Err(Refusal::new(ErrorKind::Exists(Entity::Identity), message).into());
    }
    Ok(txn.put(key_of(of), record)?)
}

/// Only one that nothing hangs on: no keys, policies, groups or members.
pub fn delete(txn: &mut Txn<'_>, of: &IdentityName) -> Outcome<()> {
    let record = identity(txn, of)?;
    let in_use = |what: &str| Refusal::new(ErrorKind::InUse(Entity::Identity), what);
    if !record.keys.is_empty() {
        return Err(in_use("Cannot delete entity, must delete access keys first.").into());
    }
    if !record.inline.is_empty() {
        return Err(in_use("Cannot delete entity, must delete policies first.").into());
    }
    if !record.attached.is_empty() {
        return Err(in_use("Cannot delete entity, must detach all policies first.").into());
    }
    if !record.groups.is_empty() || !members(txn, of)?.is_empty() {
        return Err(in_use("Cannot delete entity, must remove users from group first.").into());
    }
    identity_details::forget(txn, of)?;
    txn.delete(key_of(of));
    Ok(())
}

/// Users of a group, in order of name; of anything else, none.
pub fn members(view: &dyn Read, of: &IdentityName) -> Outcome<Vec<IdentityRecord>> {
    if of.kind != IdentityKind::Group {
        return Ok(Vec::new());
    }
    let mut users: Vec<IdentityRecord> = pool::all(view, keys::identities(IdentityKind::User, &of.account))?;
    users.retain(|user| user.groups.iter().any(|group| group.eq_ignore_ascii_case(&of.name)));
    Ok(users)
}

pub fn check_text(text: &str) -> Result<(), Refusal> {
    match text.len() {
        1..=MAX_POLICY_TEXT_BYTES => Ok(()),
        _ => Err(Refusal::invalid(format!("a policy is 1 to {MAX_POLICY_TEXT_BYTES} bytes"))),
    }
}

fn check_text_or_none(text: &str) -> Result<(), Refusal> {
    if text.is_empty() { Ok(()) } else { check_text(text) }
}

fn change(
    txn: &mut Txn<'_>,
    of: &IdentityName,
    change: impl FnOnce(&mut IdentityRecord) -> Result<(), Refusal>,
) -> Outcome<()> {
    let mut record = identity(txn, of)?;
    change(&mut record)?;
    Ok(txn.put(key_of(of), &record)?)
}

fn no_such_policy(name: &str) -> Refusal {
    let message = format!("The policy with name {} cannot be found.", names::shown(name));
    Refusal::not_found(Entity::Policy, message)
}

/// Puts an inline policy, or replaces the one of its name. `PreconditionFailed` if all together would be longer
/// than IAM lets them be.
pub fn put_inline(txn: &mut Txn<'_>, of: &IdentityName, policy: PolicyText) -> Outcome<()> {
    names::iam(&policy.name)?;
    check_text(&policy.text)?;
    let max = match of.kind {
        IdentityKind::User => MAX_USER_INLINE_CHARS,
        IdentityKind::Group => MAX_GROUP_INLINE_CHARS,
        IdentityKind::Role => MAX_ROLE_INLINE_CHARS,
    };
    change(txn, of, |record| {
        record.inline.retain(|there| there.name != policy.name);
        record.inline.push(policy);
        record.inline.sort_by(|a, b| a.name.cmp(&b.name));
        let counted = |policy: &PolicyText| policy.text.chars().filter(|c| !c.is_whitespace()).count();
        if record.inline.iter().map(counted).sum::<usize>() > max {
            let message = format!("Maximum policy size of {max} bytes exceeded for {}", of.kind.word());
            return Err(limit(&message));
        }
        Ok(())
    })
}

pub fn delete_inline(txn: &mut Txn<'_>, of: &IdentityName, name: &str) -> Outcome<()> {
    change(txn, of, |record| {
        let before = record.inline.len();
        record.inline.retain(|there| there.name != name);
        if record.inline.len() == before { Err(no_such_policy(name)) } else { Ok(()) }
    })
}

pub fn put_trust(
    txn: &mut Txn<'_>,
    of: &IdentityName,
    text: String,
    bound: Vec<BoundPrincipal>,
) -> Outcome<()> {
    check_text(&text)?;
    names::bound(&bound)?;
    change(txn, of, |record| match &mut record.role {
        Some(role) => {
            role.trust = text;
            role.bound = bound;
            Ok(())
        }
        None => Err(Refusal::invalid("only roles have trust policies")),
    })
}

/// Puts a user into a group, or takes it out.
pub fn set_member(txn: &mut Txn<'_>, group: &IdentityName, user: &str, member: bool) -> Outcome<()> {
    if group.kind != IdentityKind::Group {
        return Err(Refusal::invalid("only groups have members").into());
    }
    let group = identity(txn, group)?.of;
    let user =
        IdentityName { kind: IdentityKind::User, account: group.account.clone(), name: user.to_owned() };
    change(txn, &user, |record| {
        record.groups.retain(|there| *there != group.name);
        if member {
            record.groups.push(group.name);
            record.groups.sort();
        }
        if record.groups.len() > MAX_GROUPS_OF_USER {
            return Err(limit(&format!("Cannot exceed quota for GroupsPerUser: {MAX_GROUPS_OF_USER}")));
        }
        Ok(())
    })
}

pub fn managed(view: &dyn Read, arn: &str) -> Outcome<ManagedPolicy> {
    let missing = || {
        let message = format!("Policy {} does not exist or is not attachable.", names::shown(arn));
        Refusal::not_found(Entity::Policy, message)
    };
    let (account, name) = parse_policy_arn(arn).ok_or_else(missing)?;
    let found: Option<ManagedPolicy> = load(view, &keys::managed(account, &name.to_ascii_lowercase()))?;
    Ok(found.filter(|found| found.arn() == arn).ok_or_else(missing)?)
}

/// The account and the name in `arn:aws:iam::ACCOUNT:policy/PATH/NAME`.
fn parse_policy_arn(arn: &str) -> Option<(&str, &str)> {
    let (account, rest) = arn.strip_prefix("arn:aws:iam::")?.split_once(":policy/")?;
    Some((account, rest.rsplit_once('/').map_or(rest, |(_, name)| name)))
}

pub fn create_managed(txn: &mut Txn<'_>, policy: &ManagedPolicy) -> Outcome<()> {
    account(txn, &policy.account)?;
    names::iam(&policy.name)?;
    names::path(&policy.path)?;
    names::label("a policy's id", &policy.id)?;
    check_text(&policy.text)?;
    check_text_or_none(&policy.description)?;
    if policy.attachments != 0 {
        return Err(Refusal::invalid("a new policy is attached to nobody").into());
    }
    let key = keys::managed(&policy.account, &policy.name.to_ascii_lowercase());
    if txn.get(&key)?.is_some() {
        let message =
            format!("A policy called {} already exists. Duplicate names are not allowed.", policy.name);
        return Err(Refusal::new(ErrorKind::Exists(Entity::Policy), message).into());
    }
    Ok(txn.put(key, policy)?)
}

pub fn delete_managed(txn: &mut Txn<'_>, arn: &str) -> Outcome<()> {
    let policy = managed(txn, arn)?;
    if policy.attachments > 0 {
        let message = "Cannot delete a policy attached to entities.";
        return Err(Refusal::new(ErrorKind::InUse(Entity::Policy), message).into());
    }
    policy_details::forget(txn, &policy)?;
    txn.delete(keys::managed(&policy.account, &policy.name.to_ascii_lowercase()));
    Ok(())
}

/// Attaches a managed policy of the same account, or detaches it.
pub fn set_attached(txn: &mut Txn<'_>, of: &IdentityName, arn: &str, attached: bool) -> Outcome<()> {
    let mut policy = managed(txn, arn)?;
    if policy.account != of.account {
        return Err(no_such_policy(arn).into());
    }
    let had = identity(txn, of)?.attached.iter().any(|there| there == arn);
    match (had, attached) {
        (true, true) => return Ok(()),
        (false, false) => {
            let message = format!("Policy {arn} was not found.");
            return Err(Refusal::not_found(Entity::Policy, message).into());
        }
        (false, true) => policy.attachments += 1,
        (true, false) => policy.attachments = policy.attachments.saturating_sub(1),
    }
    change(txn, of, |record| {
        record.attached.retain(|there| there != arn);
        if attached {
            record.attached.push(arn.to_owned());
        }
        if record.attached.len() > MAX_ATTACHED {
            return Err(limit(&format!("Cannot exceed quota for PoliciesPerEntity: {MAX_ATTACHED}")));
        }
        Ok(())
    })?;
    Ok(txn.put(keys::managed(&policy.account, &policy.name.to_ascii_lowercase()), &policy)?)
}

/// An identity with every policy that gives it something, its groups' with them.
pub fn effective(view: &dyn Read, of: &IdentityName) -> Outcome<Effective> {
    let record = identity(view, of)?;
    let mut policies = Vec::new();
    policies_of(view, &record, &mut policies)?;
    for group in &record.groups {
        let name =
            IdentityName { kind: IdentityKind::Group, account: of.account.clone(), name: group.clone() };
        policies_of(view, &identity(view, &name)?, &mut policies)?;
    }
    let details = identity_details::of(view, of)?;
    Ok(Effective { boundary: identity_details::boundary(view, &details)?, record, policies, details })
}

fn policies_of(view: &dyn Read, record: &IdentityRecord, policies: &mut Vec<PolicyText>) -> Outcome<()> {
    let (word, name) = (record.of.kind.word(), &record.of.name);
    for inline in &record.inline {
        let named = format!("{word}/{name}/inline/{}", inline.name);
        policies.push(PolicyText { name: named, text: inline.text.clone() });
    }
    for arn in &record.attached {
        policies.push(PolicyText { name: arn.clone(), text: managed(view, arn)?.text });
    }
    Ok(())
}

/// A page of identities of one kind, in order of their names in lower case.
pub fn page(
    view: &dyn Read,
    (kind, account): (IdentityKind, &str),
    path: &str,
    after: Option<&str>,
    limit: u32,
) -> Outcome<IdentityPage> {
    let prefix = keys::identities(kind, account);
    let (identities, next) = list(view, prefix, after, limit, |found: &IdentityRecord| {
        (found.path.starts_with(path), found.of.name.as_str().to_ascii_lowercase())
    })?;
    Ok(IdentityPage { identities, next })
}

/// All of an account's managed policies.
pub fn all_managed(view: &dyn Read, account: &str) -> Outcome<Vec<ManagedPolicy>> {
    Ok(pool::all(view, keys::manageds(account))?)
}

fn list<T: DeserializeOwned>(
    view: &dyn Read,
    prefix: Vec<u8>,
    after: Option<&str>,
    limit: u32,
    look: impl Fn(&T) -> (bool, String),
) -> Outcome<(Vec<T>, Option<String>)> {
    let limit = limit.clamp(1, MAX_IDENTITY_PAGE) as usize;
    let mut from = prefix.clone();
    if let Some(after) = after {
        from.extend_from_slice(after.to_ascii_lowercase().as_bytes());
        from.push(0);
    }
    let (mut found, mut next, mut last, mut failed) = (Vec::new(), None, String::new(), None);
    view.scan(&from, &mut |key, value| {
        if !key.starts_with(&prefix) {
            return Step::Stop;
        }
        let record: T = match decode(value) {
            Ok(record) => record,
            Err(error) => {
                failed = Some(error);
                return Step::Stop;
            }
        };
        let (wanted, name) = look(&record);
        if wanted && found.len() == limit {
            next = Some(std::mem::take(&mut last));
            return Step::Stop;
        }
        if wanted {
            found.push(record);
            last = name;
        }
        Step::Next
    })?;
    match failed {
        Some(error) => Err(error.into()),
        None => Ok((found, next)),
    }
}

#[cfg(test)]
#[path = "identity_test.rs"]
pub(super) mod tests;
