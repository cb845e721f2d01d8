//! Boundaries and tags of identities, and their names when they change.

use super::identity::{self, identity, key_of, limit, managed};
use super::kv::Read;
use super::txn::{Txn, load};
use super::{Outcome, keys, names, policy_details, pool};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::identity::{IdentityKey, IdentityKind, IdentityName, IdentityRecord, PolicyText};
use crate::identity_details::{IdentityDetails, PolicyEntity, Tag};
use crate::limits::{MAX_IAM_TAG_KEY_CHARS, MAX_IAM_TAG_VALUE_CHARS, MAX_IAM_TAGS, MAX_POLICY_TEXT_BYTES};

fn details_key(of: &IdentityName) -> Vec<u8> {
    keys::identity_details(of.kind, &of.account, &of.name.to_ascii_lowercase())
}

pub fn of(view: &dyn Read, of: &IdentityName) -> Outcome<IdentityDetails> {
    Ok(load(view, &details_key(of))?.unwrap_or_default())
}

fn put(txn: &mut Txn<'_>, of: &IdentityName, details: &IdentityDetails) -> Outcome<()> {
    if *details == IdentityDetails::default() {
        txn.delete(details_key(of));
        return Ok(());
    }
    Ok(txn.put(details_key(of), details)?)
}

/// Makes an identity that is limited and tagged from its first moment.
pub fn create(txn: &mut Txn<'_>, record: &IdentityRecord, details: IdentityDetails) -> Outcome<()> {
    identity::create(txn, record)?;
    if let Some(arn) = details.boundary {
        set_boundary(txn, &record.of, Some(arn))?;
    }
    set_tags(txn, &record.of, details.tags, &[])
}

/// Sets the boundary, or takes it away.
pub fn set_boundary(txn: &mut Txn<'_>, of: &IdentityName, arn: Option<String>) -> Outcome<()> {
    let of = identity(txn, of)?.of;
    if of.kind == IdentityKind::Group {
        return Err(Refusal::invalid("only users and roles have permissions boundaries").into());
    }
    let mut details = self::of(txn, &of)?;
    if let Some(before) = details.boundary.take() {
        policy_details::count_boundary(txn, &before, false)?;
    } else if arn.is_none() {
        let message = format!("The {} {} has no permissions boundary.", of.kind.word(), of.name);
        return Err(Refusal::not_found(Entity::Policy, message).into());
    }
    if let Some(arn) = &arn {
        if managed(txn, arn)?.account != of.account {
            let message = format!("Policy {arn} was not found.");
            return Err(Refusal::not_found(Entity::Policy, message).into());
        }
        policy_details::count_boundary(txn, arn, true)?;
    }
    details.boundary = arn;
    put(txn, &of, &details)
}

/// The boundary's text, by its ARN.
pub fn boundary(view: &dyn Read, details: &IdentityDetails) -> Outcome<Option<PolicyText>> {
    let Some(arn) = &details.boundary else { return Ok(None) };
    Ok(Some(PolicyText { name: arn.clone(), text: managed(view, arn)?.text }))
}

/// With the identity that goes.
pub fn forget(txn: &mut Txn<'_>, of: &IdentityName) -> Outcome<()> {
    if let Some(arn) = self::of(txn, of)?.boundary {
        policy_details::count_boundary(txn, &arn, false)?;
    }
    txn.delete(details_key(of));
    Ok(())
}

/// Puts tags, and takes away those of these keys.
pub fn set_tags(txn: &mut Txn<'_>, of: &IdentityName, put: Vec<Tag>, remove: &[String]) -> Outcome<()> {
    let of = identity(txn, of)?.of;
    let mut details = self::of(txn, &of)?;
    // Conditions on tags of who asks don't look at case.
    change_tags(&mut details.tags, put, remove, |a, b| a.to_lowercase() == b.to_lowercase())?;
    self::put(txn, &of, &details)
}

pub fn change_tags(
    tags: &mut Vec<Tag>,
    put: Vec<Tag>,
    remove: &[String],
    same: impl Fn(&str, &str) -> bool,
) -> Result<(), Refusal> {
    tags.retain(|tag| !remove.iter().any(|key| same(key, &tag.key)));
    for tag in put {
        let lens = (tag.key.chars().count(), tag.value.chars().count());
        if !(1..=MAX_IAM_TAG_KEY_CHARS).contains(&lens.0) || lens.1 > MAX_IAM_TAG_VALUE_CHARS {
            return Err(Refusal::invalid(format!(
                "a tag's key has 1 to {MAX_IAM_TAG_KEY_CHARS} characters, its value at most \
                 {MAX_IAM_TAG_VALUE_CHARS}"
            )));
        }
        match tags.iter_mut().find(|there| same(&there.key, &tag.key)) {
            Some(there) => *there = tag,
            None => tags.push(tag),
        }
    }
    if tags.len() > MAX_IAM_TAGS {
        return Err(limit(&format!("Cannot exceed quota for TagsPerResource: {MAX_IAM_TAGS}")));
    }
    Ok(())
}

/// Gives a user or group another name, another path, or both. Who is named by its ARN elsewhere isn't any more.
pub fn update(
    txn: &mut Txn<'_>,
    of: &IdentityName,
    name: Option<String>,
    path: Option<String>,
) -> Outcome<()> {
    let mut record = identity(txn, of)?;
    if of.kind == IdentityKind::Role {
        return Err(Refusal::invalid("a role keeps its name and path").into());
    }
    if let Some(path) = path {
        names::path(&path)?;
        record.path = path;
    }
    let before = record.of.clone();
    if let Some(name) = name {
        names::iam(&name)?;
        record.of.name = name;
    }
    let moved = key_of(&before) != key_of(&record.of);
    if moved && txn.get(&key_of(&record.of))?.is_some() {
        let message = format!("{} with name {} already exists.", of.kind.word(), record.of.name);
        return Err(Refusal::new(ErrorKind::Exists(Entity::Identity), message).into());
    }
    if before.name != record.of.name {
        rename_elsewhere(txn, &before, &record)?;
    }
    if moved {
        let details = self::of(txn, &before)?;
        txn.delete(details_key(&before));
        put(txn, &record.of, &details)?;
        txn.delete(key_of(&before));
    }
    Ok(txn.put(key_of(&record.of), &record)?)
}

/// The name in a user's keys, or in the records of a group's members.
fn rename_elsewhere(txn: &mut Txn<'_>, before: &IdentityName, record: &IdentityRecord) -> Outcome<()> {
    for id in &record.keys {
        let key: Option<IdentityKey> = load(txn, &keys::identity_key(id))?;
        if let Some(mut key) = key {
            key.user = Some(record.of.name.clone());
            txn.put(keys::identity_key(id), &key)?;
        }
    }
    for mut member in identity::members(txn, before)? {
        member.groups.retain(|group| !group.eq_ignore_ascii_case(&before.name));
        member.groups.push(record.of.name.clone());
        member.groups.sort();
        txn.put(key_of(&member.of), &member)?;
    }
    Ok(())
}

/// Changes what only roles have.
pub fn update_role(
    txn: &mut Txn<'_>,
    of: &IdentityName,
    description: Option<String>,
    max_session_s: Option<u32>,
) -> Outcome<()> {
    let mut record = identity(txn, of)?;
    let Some(role) = &mut record.role else {
        return Err(Refusal::invalid("only roles have sessions").into());
    };
    if let Some(description) = description {
        if description.len() > MAX_POLICY_TEXT_BYTES {
            return Err(Refusal::invalid("the description is too long").into());
        }
        role.description = description;
    }
    role.max_session_s = max_session_s.unwrap_or(role.max_session_s);
    Ok(txn.put(key_of(&record.of), &record)?)
}

/// Who uses a managed policy, and how.
pub fn entities(view: &dyn Read, arn: &str) -> Outcome<Vec<PolicyEntity>> {
    let account = managed(view, arn)?.account;
    let mut found = Vec::new();
    for kind in [IdentityKind::Group, IdentityKind::User, IdentityKind::Role] {
        let all: Vec<IdentityRecord> = pool::all(view, keys::identities(kind, &account))?;
        for record in all {
            let attached = record.attached.iter().any(|there| there == arn);
            let boundary = of(view, &record.of)?.boundary.as_deref() == Some(arn);
            if attached || boundary {
                let IdentityRecord { of: IdentityName { name, .. }, id, path, .. } = record;
                found.push(PolicyEntity { kind, name, id, path, attached, boundary });
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "identity_details_test.rs"]
mod tests;
