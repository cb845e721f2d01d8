//! Managed policies, and what they are attached to. Each has one version: to change it, make another.
//!
//! Source: IAM API reference, CreatePolicy, GetPolicy, AttachUserPolicy and their like.

use super::call::{Call, document};
use super::fault;
use crate::auth::mint;
use crate::auth::uri::uri_encode;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::xml::XmlWriter;
use meta::identity::{IdentityKind, ManagedPolicy};
use meta::identity_command::IdentityCommand;
use policy::Kind;
use rt::rng::SystemRng;

const VERSION: &str = "v1";

pub async fn create(call: &Call<'_>) -> S3Result<XmlWriter> {
    call.refuse(&["Tags"])?;
    let text = call.need("PolicyDocument")?;
    let policy = ManagedPolicy {
        account: call.account().to_owned(),
        name: call.need("PolicyName")?.to_owned(),
        path: call.get("Path").unwrap_or("/").to_owned(),
        id: mint::unique_id(&mut SystemRng, "ANPA"),
        description: call.get("Description").unwrap_or_default().to_owned(),
        text: text.to_owned(),
        created_ms: call.shared.now_ms(),
        attachments: 0,
    };
    call.authorize(&policy.arn())?;
    document(text, Kind::Managed)?;
    call.change(IdentityCommand::CreateManagedPolicy(policy.clone())).await?;
    Ok(call.result(|xml| write(xml, "Policy", &policy)))
}

/// The one that the request names, once the caller may do this to it.
async fn target(call: &Call<'_>) -> S3Result<ManagedPolicy> {
    let arn = call.need("PolicyArn")?;
    call.authorize(arn)?;
    let found = call.shared.meta.managed_policy(arn).await.map_err(fault::meta)?;
    if found.account == call.account() {
        return Ok(found);
    }
    Err(S3Error::with(S3Code::NoSuchEntity, format!("Policy {arn} was not found.")))
}

pub async fn get(call: &Call<'_>) -> S3Result<XmlWriter> {
    let policy = target(call).await?;
    Ok(call.result(|xml| write(xml, "Policy", &policy)))
}

pub async fn get_version(call: &Call<'_>) -> S3Result<XmlWriter> {
    let policy = target(call).await?;
    let version = call.need("VersionId")?;
    if version != VERSION {
        let why = format!("Policy {} version {version} does not exist.", policy.arn());
        return Err(S3Error::with(S3Code::NoSuchEntity, why));
    }
    Ok(call.result(|xml| {
        xml.start("PolicyVersion");
        xml.text("Document", &uri_encode(policy.text.as_bytes(), false));
        xml.text("VersionId", VERSION);
        xml.value("IsDefaultVersion", true);
        xml.text("CreateDate", &http_date::iso(policy.created_ms));
        xml.end();
    }))
}

/// All of the account's. There are none of AWS's own.
pub async fn list(call: &Call<'_>) -> S3Result<XmlWriter> {
    let path = call.get("PathPrefix").unwrap_or("/");
    call.authorize(&format!("arn:aws:iam::{}:policy{path}", call.account()))?;
    let mut found = match call.get("Scope") {
        Some("AWS") => Vec::new(),
        _ => call.shared.meta.managed_policies(call.account()).await.map_err(fault::meta)?,
    };
    let attached_only = call.get("OnlyAttached") == Some("true");
    found.retain(|policy| policy.path.starts_with(path) && (!attached_only || policy.attachments > 0));
    Ok(call.result(|xml| {
        xml.start("Policies");
        for policy in &found {
            write(xml, "member", policy);
        }
        xml.end();
        xml.value("IsTruncated", false);
    }))
}

pub async fn delete(call: &Call<'_>) -> S3Result<XmlWriter> {
    let arn = target(call).await?.arn();
    call.change(IdentityCommand::DeleteManagedPolicy { arn }).await?;
    Ok(call.plain())
}

fn write(xml: &mut XmlWriter, element: &'static str, policy: &ManagedPolicy) {
    xml.start(element);
    xml.text("PolicyName", &policy.name);
    xml.text("PolicyId", &policy.id);
    xml.text("Arn", &policy.arn());
    xml.text("Path", &policy.path);
    xml.text("DefaultVersionId", VERSION);
    xml.value("AttachmentCount", policy.attachments);
    xml.value("IsAttachable", true);
    xml.optional("Description", Some(policy.description.as_str()).filter(|text| !text.is_empty()));
    xml.text("CreateDate", &http_date::iso(policy.created_ms));
    xml.text("UpdateDate", &http_date::iso(policy.created_ms));
    xml.end();
}

/// Attaches a policy to an identity, or detaches it. `iam:PolicyARN` says which.
pub async fn set_attached(call: &Call<'_>, kind: IdentityKind, attached: bool) -> S3Result<XmlWriter> {
    let arn = call.need("PolicyArn")?.to_owned();
    let name = call.need(super::identities::words(kind).name)?;
    let mut context = call.context.clone();
    context.set("iam:PolicyARN", arn.as_str());
    let of = call.allowed_target(call.named(kind, name), &context).await?.of;
    call.change(IdentityCommand::SetAttached { of, arn, attached }).await?;
    Ok(call.plain())
}

pub async fn list_attached(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let record = call.target(kind).await?;
    Ok(call.result(|xml| {
        xml.start("AttachedPolicies");
        for arn in &record.attached {
            xml.start("member");
            xml.text("PolicyName", arn.rsplit('/').next().unwrap_or(arn));
            xml.text("PolicyArn", arn);
            xml.end();
        }
        xml.end();
        xml.value("IsTruncated", false);
    }))
}
