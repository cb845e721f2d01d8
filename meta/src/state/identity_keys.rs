//! Access keys of users and of accounts' roots: at most two each, so that one can be rotated while the other works.

use super::identity::{account, effective, identity, limit};
use super::kv::Read;
use super::txn::{Txn, load};
use super::{Outcome, key_use, keys, names, pool};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::identity::{IdentityKey, IdentityKind, IdentityName, account_of};
use crate::identity_command::{Identified, KnownKey};
use crate::limits::{MAX_KEYS_OF_IDENTITY, MAX_SEALED_BYTES};

/// Who a key belongs to: an account's root, or one of its users.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    pub account: &'a str,
    pub user: Option<&'a str>,
}

impl Holder<'_> {
    fn name(&self) -> Option<IdentityName> {
        let account = self.account.to_owned();
        self.user.map(|name| IdentityName { kind: IdentityKind::User, account, name: name.to_owned() })
    }
}

fn missing(id: &str) -> Refusal {
    let message = format!("The Access Key with id {} cannot be found", names::shown(id));
    Refusal::not_found(Entity::AccessKey, message)
}

/// Ids of the holder's keys.
fn ids(view: &dyn Read, holder: Holder<'_>) -> Outcome<Vec<String>> {
    match holder.name() {
        Some(name) => Ok(identity(view, &name)?.keys),
        None => Ok(account(view, holder.account)?.keys),
    }
}

fn put_ids(txn: &mut Txn<'_>, holder: Holder<'_>, ids: Vec<String>) -> Outcome<()> {
    match holder.name() {
        Some(name) => {
            let mut record = identity(txn, &name)?;
            record.keys = ids;
            let name = name.name.to_ascii_lowercase();
            Ok(txn.put(keys::identity(IdentityKind::User, holder.account, &name), &record)?)
        }
        None => {
            let mut record = account(txn, holder.account)?;
            record.keys = ids;
            Ok(txn.put(keys::account(holder.account), &record)?)
        }
    }
}

/// The holder's keys, the oldest first.
pub fn list(view: &dyn Read, holder: Holder<'_>) -> Outcome<Vec<IdentityKey>> {
    let mut found = Vec::new();
    for id in ids(view, holder)? {
        found.push(load(view, &keys::identity_key(&id))?.ok_or_else(|| missing(&id))?);
    }
    Ok(found)
}

/// Adds a key. `PreconditionFailed` if its holder has two.
pub fn create(txn: &mut Txn<'_>, mut key: IdentityKey) -> Outcome<()> {
    names::label("an access key's id", &key.id)?;
    if key.secret.0.is_empty() || key.secret.0.len() > MAX_SEALED_BYTES {
        return Err(Refusal::invalid("an access key's secret is empty or too long").into());
    }
    if txn.get(&keys::identity_key(&key.id))?.is_some() || txn.get(&keys::access_key(&key.id))?.is_some() {
        let message = "there is an access key with this id already";
        return Err(Refusal::new(ErrorKind::Exists(Entity::AccessKey), message).into());
    }
    // As the user is spelt, however the caller spelt it.
    if let Some(user) = &key.user {
        let name =
            IdentityName { kind: IdentityKind::User, account: key.account.clone(), name: user.clone() };
        key.user = Some(identity(txn, &name)?.of.name);
    }
    let (account, user) = (key.account.clone(), key.user.clone());
    let holder = Holder { account: &account, user: user.as_deref() };
    let mut there = ids(txn, holder)?;
    if there.len() >= MAX_KEYS_OF_IDENTITY {
        return Err(
            limit(&format!("Cannot exceed quota for AccessKeysPerUser: {MAX_KEYS_OF_IDENTITY}")).into()
        );
    }
    there.push(key.id.clone());
    put_ids(txn, holder, there)?;
    Ok(txn.put(keys::identity_key(&key.id), &key)?)
}

fn own(view: &dyn Read, holder: Holder<'_>, id: &str) -> Outcome<IdentityKey> {
    if !ids(view, holder)?.iter().any(|there| there == id) {
        return Err(missing(id).into());
    }
    Ok(load(view, &keys::identity_key(id))?.ok_or_else(|| missing(id))?)
}

pub fn set_active(txn: &mut Txn<'_>, holder: Holder<'_>, id: &str, active: bool) -> Outcome<()> {
    let mut key = own(txn, holder, id)?;
    key.active = active;
    Ok(txn.put(keys::identity_key(id), &key)?)
}

pub fn delete(txn: &mut Txn<'_>, holder: Holder<'_>, id: &str) -> Outcome<()> {
    own(txn, holder, id)?;
    let mut there = ids(txn, holder)?;
    there.retain(|known| known != id);
    put_ids(txn, holder, there)?;
    txn.delete(keys::identity_key(id));
    key_use::forget(txn, id);
    Ok(())
}

/// A key with all that decides what its holder may do, as of one moment.
pub fn identify(view: &dyn Read, id: &str) -> Outcome<Identified> {
    let own: Option<IdentityKey> = load(view, &keys::identity_key(id))?;
    let Some(key) = own else {
        return Ok(Identified { key: KnownKey::OfOwner(pool::access_key(view, id)?), holder: None });
    };
    let holder = Holder { account: &key.account, user: key.user.as_deref() };
    let holder = match holder.name() {
        Some(name) => Some(effective(view, &name)?),
        None => None,
    };
    Ok(Identified { key: KnownKey::OfIdentity(key), holder })
}

/// Whether there is an account of this number: one that is kept, or one that an owner's key makes.
pub fn account_exists(view: &dyn Read, number: &str) -> Outcome<bool> {
    if load::<crate::identity::AccountRecord>(view, &keys::account(number))?.is_some() {
        return Ok(true);
    }
    let keys: Vec<crate::record::AccessKey> = pool::all(view, keys::access_keys())?;
    Ok(keys.iter().any(|key| account_of(&key.owner) == number))
}
