//! What the rules look at, read from the control plane question by question. What changes meanwhile may be seen as it
//! was or as it is.

use crate::cli::client::Client;
use crate::error::{Error, Exit};
use meta::identity::{AccountRecord, IdentityKey, IdentityKind, IdentityRecord, ManagedPolicy, account_of};
use meta::identity_command::{IdentityAnswer, IdentityQuery};
use meta::key_use::KeyUse;
use meta::limits::{MAX_IDENTITY_PAGE, MAX_PAGE};
use meta::object::Versioning;
use meta::query::{Answer, BucketAccess, Query};

/// All that there is.
#[derive(Debug, Default)]
pub struct Survey {
    pub accounts: Vec<Account>,
    pub buckets: Vec<Bucket>,
}

#[derive(Debug)]
pub struct Account {
    pub record: AccountRecord,
    pub users: Vec<User>,
    pub groups: Vec<IdentityRecord>,
    pub roles: Vec<IdentityRecord>,
    pub managed: Vec<ManagedPolicy>,
    /// Of its users and its root, but for the pool's own.
    pub keys: Vec<(IdentityKey, Option<KeyUse>)>,
}

#[derive(Debug)]
pub struct User {
    pub record: IdentityRecord,
    /// The text of its permissions boundary.
    pub boundary: Option<String>,
}

#[derive(Debug)]
pub struct Bucket {
    pub account: String,
    pub access: BucketAccess,
    pub versioning: Versioning,
    pub is_encrypted: bool,
}

pub fn take(client: &Client) -> Result<Survey, Error> {
    let IdentityAnswer::Accounts(accounts) = ask(client, IdentityQuery::Accounts)? else {
        return Err(strange());
    };
    let accounts = accounts.into_iter().map(|record| account(client, record));
    Ok(Survey { accounts: accounts.collect::<Result<_, _>>()?, buckets: buckets(client)? })
}

fn strange() -> Error {
    Error::failed("the control plane's answer is about something else; is it another version than this CLI?")
}

fn ask(client: &Client, query: IdentityQuery) -> Result<IdentityAnswer, Error> {
    match client.ask_quietly(Query::Identity(query))? {
        Answer::Identity(answer) => Ok(answer),
        _ => Err(strange()),
    }
}

fn account(client: &Client, record: AccountRecord) -> Result<Account, Error> {
    let number = record.number.as_str();
    let users = identities(client, IdentityKind::User, number)?;
    let users = users.into_iter().map(|record| user(client, record)).collect::<Result<Vec<_>, _>>()?;
    let query = IdentityQuery::ManagedPolicies { account: number.to_owned() };
    let IdentityAnswer::ManagedPolicies(managed) = ask(client, query)? else { return Err(strange()) };
    let mut keys = keys(client, number, None)?;
    for user in users.iter().filter(|user| !user.record.keys.is_empty()) {
        keys.extend(self::keys(client, number, Some(&user.record.of.name))?);
    }
    Ok(Account {
        groups: identities(client, IdentityKind::Group, number)?,
        roles: identities(client, IdentityKind::Role, number)?,
        users,
        managed,
        keys,
        record,
    })
}

fn user(client: &Client, record: IdentityRecord) -> Result<User, Error> {
    let boundary = match ask(client, IdentityQuery::Effective(record.of.clone())) {
        Ok(IdentityAnswer::Effective(found)) => found.boundary.map(|boundary| boundary.text),
        Ok(_) => return Err(strange()),
        // Deleted since it was listed.
        Err(error) if error.exit == Exit::NotFound => None,
        Err(error) => return Err(error),
    };
    Ok(User { record, boundary })
}

fn identities(client: &Client, kind: IdentityKind, account: &str) -> Result<Vec<IdentityRecord>, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (account, path) = (account.to_owned(), "/".to_owned());
        let query = IdentityQuery::Identities { kind, account, path, after, limit: MAX_IDENTITY_PAGE };
        let IdentityAnswer::Identities(page) = ask(client, query)? else { return Err(strange()) };
        all.extend(page.identities);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

fn keys(
    client: &Client,
    account: &str,
    user: Option<&str>,
) -> Result<Vec<(IdentityKey, Option<KeyUse>)>, Error> {
    let query = IdentityQuery::IdentityKeys { account: account.to_owned(), user: user.map(str::to_owned) };
    let keys = match ask(client, query) {
        Ok(IdentityAnswer::IdentityKeys(keys)) => keys,
        Ok(_) => return Err(strange()),
        // Deleted since it was listed.
        Err(error) if error.exit == Exit::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let ids = keys.iter().map(|key| key.id.clone()).collect();
    let IdentityAnswer::KeyUses(uses) = ask(client, IdentityQuery::KeyUses { keys: ids })? else {
        return Err(strange());
    };
    let last = |key: &IdentityKey| uses.iter().find(|used| used.key == key.id).cloned();
    Ok(keys.into_iter().map(|key| (last(&key), key)).map(|(used, key)| (key, used)).collect())
}

fn buckets(client: &Client) -> Result<Vec<Bucket>, Error> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let query = Query::Buckets { prefix: String::new(), after, limit: MAX_PAGE };
        let Answer::Buckets(page) = client.ask_quietly(query)? else { return Err(strange()) };
        for bucket in page.buckets {
            match look(client, bucket.name) {
                Ok(found) => all.push(found),
                Err(error) if error.exit == Exit::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

fn look(client: &Client, name: String) -> Result<Bucket, Error> {
    let Answer::BucketAccess(access) = client.ask_quietly(Query::BucketAccess { name: name.clone() })? else {
        return Err(strange());
    };
    let Answer::Versioning(kept) = client.ask_quietly(Query::Versioning { bucket: name })? else {
        return Err(strange());
    };
    let account = account_of(&access.bucket.owner).to_owned();
    let is_encrypted = access.encryption.is_some();
    Ok(Bucket { account, access, versioning: kept.versioning, is_encrypted })
}
