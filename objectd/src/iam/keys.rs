//! Access keys of users, and of the account's root.
//!
//! Source: IAM API reference, CreateAccessKey, ListAccessKeys, UpdateAccessKey and DeleteAccessKey.

use super::call::{Call, invalid};
use super::fault;
use crate::auth::Who;
use crate::auth::mint;
use crate::auth::seal::of_key;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::xml::XmlWriter;
use meta::error::ErrorKind;
use meta::identity::{IdentityKey, IdentityKind, IdentityRecord, account_of};
use meta::identity_command::{IdentityCommand, KnownKey};
use rt::rng::SystemRng;

/// Whose keys a call is about: the user that it names, else the caller; `None` for the account's root.
async fn holder(call: &Call<'_>) -> S3Result<Option<String>> {
    let name = match (call.get("UserName"), &call.holder.who) {
        (Some(name), _) => name,
        (None, Who::User(user)) => user.record.of.name.as_str(),
        (None, Who::Root) => {
            call.authorize(&call.holder.arn())?;
            return Ok(None);
        }
        (None, Who::Role { .. } | Who::Federated { .. }) => {
            return Err(invalid("Must specify userName when calling with non-User credentials"));
        }
    };
    let found = call.allowed_target(call.named(IdentityKind::User, name), &call.context).await?;
    Ok(Some(found.record.of.name))
}

fn status(active: bool) -> &'static str {
    if active { "Active" } else { "Inactive" }
}

/// The one time that the secret is shown.
pub async fn create(call: &Call<'_>) -> S3Result<XmlWriter> {
    let user = holder(call).await?;
    let (id, secret) = (mint::key_id(&mut SystemRng, "AKIA"), mint::secret(&mut SystemRng));
    let created_ms = call.shared.now_ms();
    let key = IdentityKey {
        secret: call.shared.sealer.seal(&mut SystemRng, &of_key(&id), &secret),
        id,
        account: call.account().to_owned(),
        user: user.clone(),
        active: true,
        created_ms,
    };
    let id = key.id.clone();
    call.change(IdentityCommand::CreateIdentityKey(key)).await?;
    Ok(call.result(|xml| {
        xml.start("AccessKey");
        xml.optional("UserName", user.as_deref());
        xml.text("AccessKeyId", &id);
        xml.text("Status", status(true));
        xml.text("SecretAccessKey", &secret);
        xml.text("CreateDate", &http_date::iso(created_ms));
        xml.end();
    }))
}

/// The root's include those that the store's own start made.
pub async fn list(call: &Call<'_>) -> S3Result<XmlWriter> {
    let user = holder(call).await?;
    let meta = &call.shared.meta;
    let keys = meta.identity_keys(call.account(), user.as_deref()).await.map_err(fault::meta)?;
    let mut shown: Vec<_> = keys.into_iter().map(|key| (key.id, key.active, key.created_ms)).collect();
    if user.is_none() {
        let owner = account_of(call.account());
        let mut first = meta.access_keys().await.map_err(fault::meta)?;
        first.retain(|key| key.owner == owner);
        shown.extend(first.into_iter().map(|key| (key.id, key.enabled, key.created_ms)));
    }
    Ok(call.result(|xml| {
        xml.start("AccessKeyMetadata");
        for (id, active, created_ms) in &shown {
            xml.start("member");
            xml.optional("UserName", user.as_deref());
            xml.text("AccessKeyId", id);
            xml.text("Status", status(*active));
            xml.text("CreateDate", &http_date::iso(*created_ms));
            xml.end();
        }
        xml.end();
        xml.value("IsTruncated", false);
    }))
}

pub async fn update(call: &Call<'_>) -> S3Result<XmlWriter> {
    let user = holder(call).await?;
    let id = call.need("AccessKeyId")?.to_owned();
    let active = match call.need("Status")? {
        "Active" => true,
        "Inactive" => false,
        _ => return Err(invalid("'Status' must be Active or Inactive")),
    };
    refuse_first(call, user.as_deref(), &id).await?;
    let account = call.account().to_owned();
    call.change(IdentityCommand::SetIdentityKeyActive { account, user, id, active }).await?;
    Ok(call.plain())
}

pub async fn delete(call: &Call<'_>) -> S3Result<XmlWriter> {
    let user = holder(call).await?;
    let id = call.need("AccessKeyId")?.to_owned();
    refuse_first(call, user.as_deref(), &id).await?;
    let account = call.account().to_owned();
    call.change(IdentityCommand::DeleteIdentityKey { account, user, id }).await?;
    Ok(call.plain())
}

/// Gateways tell of a key's use every quarter of an hour at most.
pub async fn last_used(call: &Call<'_>) -> S3Result<XmlWriter> {
    let id = call.need("AccessKeyId")?;
    let (account, user) = match call.shared.meta.identify(id).await {
        Ok(found) => match &found.key {
            KnownKey::OfOwner(key) => (account_of(&key.owner).to_owned(), None),
            KnownKey::OfIdentity(key) => {
                (key.account.clone(), found.holder.as_ref().map(|holder| holder.record.clone()))
            }
        },
        Err(error) if matches!(error.kind(), ErrorKind::NotFound(_) | ErrorKind::Invalid) => {
            (String::new(), None)
        }
        Err(error) => return Err(fault::meta(error)),
    };
    let own = account == call.account();
    let user = user.filter(|_| own);
    let root = || format!("arn:aws:iam::{}:root", call.account());
    // Who may not is not told whether there is such a key.
    call.authorize(&user.as_ref().map_or_else(root, IdentityRecord::arn))?;
    if !own {
        let why = format!("The Access Key with id {id} cannot be found");
        return Err(S3Error::with(S3Code::NoSuchEntity, why));
    }
    let uses = call.shared.meta.key_uses(vec![id.to_owned()]).await.map_err(fault::meta)?;
    let last = uses.first();
    Ok(call.result(|xml| {
        xml.optional("UserName", user.as_ref().map(|user| user.of.name.as_str()));
        xml.start("AccessKeyLastUsed");
        xml.text("Region", last.map_or("N/A", |last| &last.region));
        if let Some(last) = last {
            xml.text("LastUsedDate", &http_date::iso(last.used_ms));
        }
        xml.text("ServiceName", last.map_or("N/A", |last| &last.service));
        xml.end();
    }))
}

/// The key of the data folder comes back with every start: to say that it is gone would be a lie.
async fn refuse_first(call: &Call<'_>, user: Option<&str>, id: &str) -> S3Result<()> {
    if user.is_some() {
        return Ok(());
    }
    let owner = account_of(call.account());
    let first = call.shared.meta.access_keys().await.map_err(fault::meta)?;
    if first.iter().any(|key| key.id == id && key.owner == owner) {
        let why = "This key is the store's own, kept in its data folder; it can't be changed here";
        return Err(S3Error::with(S3Code::UnmodifiableEntity, why));
    }
    Ok(())
}
