//! Tags of users, roles and managed policies, and what conditions see of them.
//!
//! Source: IAM User Guide, "Tags for AWS Identity and Access Management resources" and "Controlling access to and for IAM
//! users and roles using tags"; IAM API reference, TagUser and its like.

use super::call::{Call, invalid};
use super::managed;
use crate::error::{S3Code, S3Error, S3Result};
use crate::xml::XmlWriter;
use meta::identity::IdentityKind;
use meta::identity_command::IdentityCommand;
use meta::identity_details::Tag;
use meta::limits::{MAX_IAM_TAG_KEY_CHARS, MAX_IAM_TAG_VALUE_CHARS, MAX_IAM_TAGS};
use policy::Context;

/// What has tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tagged {
    Identity(IdentityKind),
    Policy,
}

impl Tagged {
    /// What a call needs beside its own permission to make one with tags.
    const fn permission(self) -> &'static str {
        match self {
            Self::Identity(IdentityKind::Role) => "iam:TagRole",
            Self::Identity(_) => "iam:TagUser",
            Self::Policy => "iam:TagPolicy",
        }
    }
}

/// IAM's pattern of keys and values: letters, digits, spaces and these.
fn is_plain(text: &str) -> bool {
    text.chars().all(|c| c.is_alphanumeric() || c == ' ' || "_.:/=+-@".contains(c))
}

/// The tags that the request names, each key once, whatever its case.
pub fn given(call: &Call<'_>) -> S3Result<Vec<Tag>> {
    let mut tags: Vec<Tag> = Vec::new();
    for index in 1..=MAX_IAM_TAGS {
        let Some(key) = call.get(&format!("Tags.member.{index}.Key")) else { break };
        let value = call.form.get(&format!("Tags.member.{index}.Value")).unwrap_or_default();
        if key.chars().count() > MAX_IAM_TAG_KEY_CHARS || value.chars().count() > MAX_IAM_TAG_VALUE_CHARS {
            return Err(invalid(format!(
                "A tag's key has at most {MAX_IAM_TAG_KEY_CHARS} characters, its value {MAX_IAM_TAG_VALUE_CHARS}"
            )));
        }
        if !is_plain(key) || !is_plain(value) || key.to_ascii_lowercase().starts_with("aws:") {
            let why = "Tags have letters, digits, spaces and _.:/=+-@; aws: is not for tags of your own";
            return Err(S3Error::with(S3Code::InvalidInput, why));
        }
        if tags.iter().any(|there| there.key.to_lowercase() == key.to_lowercase()) {
            let why = "Duplicate tag keys found. Please note that Tag keys are case insensitive.";
            return Err(S3Error::with(S3Code::InvalidInput, why));
        }
        tags.push(Tag { key: key.to_owned(), value: value.to_owned() });
    }
    let starts = call.form.iter().filter(|given| given.name.starts_with("Tags.")).count();
    let said = call.form.iter().filter(|given| is_of_tag(&given.name, tags.len())).count();
    if starts != said {
        return Err(invalid(format!(
            "'tags' must be Tags.member.1.Key, Tags.member.1.Value and so on, up to {MAX_IAM_TAGS}"
        )));
    }
    Ok(tags)
}

fn is_of_tag(name: &str, count: usize) -> bool {
    let Some((index, part)) = name.strip_prefix("Tags.member.").and_then(|rest| rest.split_once('.')) else {
        return false;
    };
    index.parse().is_ok_and(|index: usize| (1..=count).contains(&index)) && ["Key", "Value"].contains(&part)
}

/// Keys that the request names.
fn given_keys(call: &Call<'_>) -> S3Result<Vec<String>> {
    let keys: Vec<String> = (1..=MAX_IAM_TAGS)
        .map_while(|index| call.get(&format!("TagKeys.member.{index}")).map(str::to_owned))
        .collect();
    if keys.len() != call.form.iter().filter(|given| given.name.starts_with("TagKeys.")).count() {
        return Err(invalid(format!("'tagKeys' must be TagKeys.member.1 and so on, up to {MAX_IAM_TAGS}")));
    }
    if keys.is_empty() {
        call.need("TagKeys")?;
    }
    Ok(keys)
}

/// Sets what a request brings: `aws:RequestTag/KEY` and `aws:TagKeys`.
pub fn request_keys(context: &mut Context, tags: &[Tag]) {
    for tag in tags {
        context.set(&format!("aws:RequestTag/{}", tag.key), tag.value.as_str());
    }
    if !tags.is_empty() {
        context.set_all("aws:TagKeys", tags.iter().map(|tag| tag.key.clone()).collect::<Vec<_>>());
    }
}

/// Sets what a thing has that something is done to.
pub fn resource_keys(context: &mut Context, tags: &[Tag]) {
    for tag in tags {
        for service in ["aws", "iam"] {
            context.set(&format!("{service}:ResourceTag/{}", tag.key), tag.value.as_str());
        }
    }
}

/// Tags that something new is made with, once the caller may tag it. Sets what conditions see of them.
pub fn of_new(call: &Call<'_>, on: Tagged, arn: &str, context: &mut Context) -> S3Result<Vec<Tag>> {
    let tags = given(call)?;
    request_keys(context, &tags);
    if !tags.is_empty() {
        call.authorize_action(on.permission(), arn, context)?;
    }
    Ok(tags)
}

pub async fn tag(call: &Call<'_>, on: Tagged) -> S3Result<XmlWriter> {
    let put = given(call)?;
    if put.is_empty() {
        call.need("Tags")?;
    }
    let mut context = call.context.clone();
    request_keys(&mut context, &put);
    change(call, on, &context, (put, Vec::new())).await
}

pub async fn untag(call: &Call<'_>, on: Tagged) -> S3Result<XmlWriter> {
    let remove = given_keys(call)?;
    let mut context = call.context.clone();
    context.set_all("aws:TagKeys", remove.clone());
    change(call, on, &context, (Vec::new(), remove)).await
}

async fn change(
    call: &Call<'_>,
    on: Tagged,
    context: &Context,
    (put, remove): (Vec<Tag>, Vec<String>),
) -> S3Result<XmlWriter> {
    let command = match on {
        Tagged::Identity(kind) => {
            let name = call.need(super::identities::words(kind).name)?;
            let of = call.allowed_target(call.named(kind, name), context).await?.record.of;
            IdentityCommand::SetIdentityTags { of, put, remove }
        }
        Tagged::Policy => {
            let arn = managed::allowed_target(call, context).await?.policy.arn();
            IdentityCommand::SetPolicyTags { arn, put, remove }
        }
    };
    call.change(command).await?;
    Ok(call.plain())
}

pub async fn list(call: &Call<'_>, on: Tagged) -> S3Result<XmlWriter> {
    let tags = match on {
        Tagged::Identity(kind) => call.target(kind).await?.details.tags,
        Tagged::Policy => managed::target(call).await?.details.tags,
    };
    let page = call.page(tags, |tag| tag.key.as_str())?;
    Ok(call.result(|xml| {
        write(xml, &page.items);
        page.write_end(xml);
    }))
}

pub fn write(xml: &mut XmlWriter, tags: &[Tag]) {
    xml.start("Tags");
    for tag in tags {
        xml.start("member");
        xml.text("Key", &tag.key);
        xml.text("Value", &tag.value);
        xml.end();
    }
    xml.end();
}
