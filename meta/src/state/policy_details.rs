//! Versions, tags and uses of managed policies.

use super::identity::{create_managed, limit, managed};
use super::identity_details::change_tags;
use super::kv::Read;
use super::txn::{Txn, load};
use super::{Outcome, identity, keys, pool};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::identity::ManagedPolicy;
use crate::identity_details::{FullPolicy, PolicyDetails, PolicyVersion, Tag};
use crate::limits::MAX_POLICY_VERSIONS;

fn details_key(policy: &ManagedPolicy) -> Vec<u8> {
    keys::policy_details(&policy.account, &policy.name.to_ascii_lowercase())
}

fn details(view: &dyn Read, policy: &ManagedPolicy) -> Outcome<PolicyDetails> {
    Ok(load(view, &details_key(policy))?.unwrap_or_else(|| PolicyDetails::of_new(policy)))
}

pub fn full(view: &dyn Read, arn: &str) -> Outcome<FullPolicy> {
    let policy = managed(view, arn)?;
    Ok(FullPolicy { details: details(view, &policy)?, policy })
}

/// All of an account's.
pub fn all(view: &dyn Read, account: &str) -> Outcome<Vec<FullPolicy>> {
    let policies: Vec<ManagedPolicy> = pool::all(view, keys::manageds(account))?;
    let full = |policy: ManagedPolicy| Ok(FullPolicy { details: details(view, &policy)?, policy });
    policies.into_iter().map(full).collect()
}

fn put(txn: &mut Txn<'_>, full: &FullPolicy) -> Outcome<()> {
    let FullPolicy { policy, details } = full;
    txn.put(keys::managed(&policy.account, &policy.name.to_ascii_lowercase()), policy)?;
    Ok(txn.put(details_key(policy), details)?)
}

pub fn create(txn: &mut Txn<'_>, policy: &ManagedPolicy, tags: Vec<Tag>) -> Outcome<()> {
    create_managed(txn, policy)?;
    set_tags(txn, &policy.arn(), tags, &[])
}

pub fn set_tags(txn: &mut Txn<'_>, arn: &str, tags: Vec<Tag>, remove: &[String]) -> Outcome<()> {
    let mut full = full(txn, arn)?;
    change_tags(&mut full.details.tags, tags, remove, |a, b| a == b)?;
    put(txn, &full)
}

/// Counts that it became, or is no more, somebody's boundary.
pub fn count_boundary(txn: &mut Txn<'_>, arn: &str, more: bool) -> Outcome<()> {
    let mut full = full(txn, arn)?;
    let count = full.details.boundaries;
    full.details.boundaries = if more { count + 1 } else { count.saturating_sub(1) };
    put(txn, &full)
}

fn no_such_version(arn: &str, number: u32) -> Refusal {
    let message = format!("Policy {arn} version v{number} does not exist.");
    Refusal::not_found(Entity::Policy, message)
}

/// Makes the policy say what its default version says.
fn make_default(full: &mut FullPolicy, number: u32) -> Result<(), Refusal> {
    let found = full.details.versions.iter().find(|version| version.number == number);
    let Some(version) = found else { return Err(no_such_version(&full.policy.arn(), number)) };
    full.policy.text = version.text.clone();
    full.details.default = number;
    Ok(())
}

/// Adds a version. Its number is the next one: `Exists` if another got it since that was looked up.
pub fn add_version(txn: &mut Txn<'_>, arn: &str, version: PolicyVersion, default: bool) -> Outcome<()> {
    let mut full = full(txn, arn)?;
    identity::check_text(&version.text)?;
    if full.details.versions.len() >= MAX_POLICY_VERSIONS {
        let message = format!(
            "A managed policy can have up to {MAX_POLICY_VERSIONS} versions. Before you create a new version, you \
             must delete an existing version."
        );
        return Err(limit(&message).into());
    }
    let number = version.number;
    if full.details.last.checked_add(1) != Some(number) {
        let message = "another version was made at the same time; look and try again";
        return Err(Refusal::new(ErrorKind::Exists(Entity::Policy), message).into());
    }
    full.details.last = number;
    full.details.versions.push(version);
    if default {
        make_default(&mut full, number)?;
    }
    put(txn, &full)
}

pub fn set_default(txn: &mut Txn<'_>, arn: &str, number: u32) -> Outcome<()> {
    let mut full = full(txn, arn)?;
    make_default(&mut full, number)?;
    put(txn, &full)
}

/// The one that holds goes with the policy only.
pub fn delete_version(txn: &mut Txn<'_>, arn: &str, number: u32) -> Outcome<()> {
    let mut full = full(txn, arn)?;
    let before = full.details.versions.len();
    full.details.versions.retain(|version| version.number != number);
    if full.details.versions.len() == before {
        return Err(no_such_version(arn, number).into());
    }
    if full.details.default == number {
        let message = "Cannot delete the default version of a policy.";
        return Err(Refusal::new(ErrorKind::InUse(Entity::Policy), message).into());
    }
    put(txn, &full)
}

/// Forgets what a policy that goes has. Refused while something hangs on it.
pub fn forget(txn: &mut Txn<'_>, policy: &ManagedPolicy) -> Outcome<()> {
    let details = details(txn, policy)?;
    let in_use = |message: &str| Refusal::new(ErrorKind::InUse(Entity::Policy), message);
    if details.boundaries > 0 {
        return Err(in_use("Cannot delete a policy that is the permissions boundary of entities.").into());
    }
    if details.versions.len() > 1 {
        let message = "This policy has more than one version. Before you delete a policy, you must delete the \
                       policy's versions. The default version is deleted with the policy.";
        return Err(in_use(message).into());
    }
    txn.delete(details_key(policy));
    Ok(())
}
