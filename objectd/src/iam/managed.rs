//! Managed policies, their versions, and what they are attached to.
//!
//! Source: IAM API reference, CreatePolicy, CreatePolicyVersion, GetPolicy, AttachUserPolicy, ListEntitiesForPolicy and
//! their like.

use super::call::{Call, document, invalid};
use super::tags::{self, Tagged};
use super::{fault, versions};
use crate::auth::mint;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::xml::XmlWriter;
use meta::identity::{IdentityKind, ManagedPolicy};
use meta::identity_command::IdentityCommand;
use meta::identity_details::{FullPolicy, PolicyDetails, PolicyEntity};
use policy::{Context, Kind};
use rt::rng::SystemRng;

pub async fn create(call: &Call<'_>) -> S3Result<XmlWriter> {
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
    let arn = policy.arn();
    let mut context = call.context.clone();
    let tags = tags::of_new(call, Tagged::Policy, &arn, &mut context)?;
    call.authorize_in(&arn, &context)?;
    document(text, Kind::Managed)?;
    let details = PolicyDetails { tags: tags.clone(), ..PolicyDetails::of_new(&policy) };
    let full = FullPolicy { policy: policy.clone(), details };
    let command = match tags.is_empty() {
        true => IdentityCommand::CreateManagedPolicy(policy),
        false => IdentityCommand::CreateTaggedPolicy { policy, tags },
    };
    call.change(command).await?;
    Ok(call.result(|xml| write_detailed(xml, &full)))
}

/// The one that the request names, once the caller may do this to it.
pub async fn target(call: &Call<'_>) -> S3Result<FullPolicy> {
    allowed_target(call, &call.context).await
}

/// The same, with what more is known.
pub async fn allowed_target(call: &Call<'_>, context: &Context) -> S3Result<FullPolicy> {
    let arn = call.need("PolicyArn")?;
    let missing = || S3Error::with(S3Code::NoSuchEntity, format!("Policy {arn} was not found."));
    match call.shared.meta.full_policy(arn).await {
        Ok(found) if found.policy.account == call.account() => {
            let mut context = context.clone();
            tags::resource_keys(&mut context, &found.details.tags);
            call.authorize_in(arn, &context)?;
            Ok(found)
        }
        // Who may not is not told whether it is there.
        found => {
            call.authorize_in(arn, context)?;
            found.map_err(fault::meta)?;
            Err(missing())
        }
    }
}

pub async fn get(call: &Call<'_>) -> S3Result<XmlWriter> {
    let found = target(call).await?;
    Ok(call.result(|xml| write_detailed(xml, &found)))
}

/// All of the account's. There are none of AWS's own.
pub async fn list(call: &Call<'_>) -> S3Result<XmlWriter> {
    let path = call.get("PathPrefix").unwrap_or("/");
    call.authorize(&format!("arn:aws:iam::{}:policy{path}", call.account()))?;
    let mut found = match call.get("Scope") {
        Some("AWS") => Vec::new(),
        _ => call.shared.meta.full_policies(call.account()).await.map_err(fault::meta)?,
    };
    let attached_only = call.get("OnlyAttached") == Some("true");
    let usage = match call.get("PolicyUsageFilter") {
        None => None,
        Some("PermissionsPolicy") => Some(false),
        Some("PermissionsBoundary") => Some(true),
        Some(_) => return Err(invalid("'policyUsageFilter' is PermissionsPolicy or PermissionsBoundary")),
    };
    found.retain(|found| {
        let (attached, boundary) = (found.policy.attachments > 0, found.details.boundaries > 0);
        let used = match usage {
            None => attached || boundary || !attached_only,
            Some(false) => attached,
            Some(true) => boundary,
        };
        found.policy.path.starts_with(path) && used
    });
    let page = call.page(found, |found| found.policy.name.as_str())?;
    Ok(call.result(|xml| {
        xml.start("Policies");
        for found in &page.items {
            xml.start("member");
            write(xml, found);
            xml.end();
        }
        xml.end();
        page.write_end(xml);
    }))
}

pub async fn delete(call: &Call<'_>) -> S3Result<XmlWriter> {
    let arn = target(call).await?.policy.arn();
    call.change(IdentityCommand::DeleteManagedPolicy { arn }).await?;
    Ok(call.plain())
}

fn write_detailed(xml: &mut XmlWriter, found: &FullPolicy) {
    xml.start("Policy");
    write(xml, found);
    if !found.details.tags.is_empty() {
        tags::write(xml, &found.details.tags);
    }
    xml.end();
}

/// As lists show it: without its tags.
pub fn write(xml: &mut XmlWriter, found: &FullPolicy) {
    let FullPolicy { policy, details } = found;
    let updated_ms = details.versions.iter().map(|version| version.created_ms).max();
    xml.text("PolicyName", &policy.name);
    xml.text("PolicyId", &policy.id);
    xml.text("Arn", &policy.arn());
    xml.text("Path", &policy.path);
    xml.text("DefaultVersionId", &versions::name(details.default));
    xml.value("AttachmentCount", policy.attachments);
    xml.value("PermissionsBoundaryUsageCount", details.boundaries);
    xml.value("IsAttachable", true);
    xml.optional("Description", Some(policy.description.as_str()).filter(|text| !text.is_empty()));
    xml.text("CreateDate", &http_date::iso(policy.created_ms));
    xml.text("UpdateDate", &http_date::iso(updated_ms.unwrap_or(policy.created_ms)));
}

/// Attaches a policy to an identity, or detaches it. `iam:PolicyARN` says which.
pub async fn set_attached(call: &Call<'_>, kind: IdentityKind, attached: bool) -> S3Result<XmlWriter> {
    let arn = call.need("PolicyArn")?.to_owned();
    let name = call.need(super::identities::words(kind).name)?;
    let mut context = call.context.clone();
    context.set("iam:PolicyARN", arn.as_str());
    let of = call.allowed_target(call.named(kind, name), &context).await?.record.of;
    call.change(IdentityCommand::SetAttached { of, arn, attached }).await?;
    Ok(call.plain())
}

pub async fn list_attached(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let record = call.target(kind).await?.record;
    let page = call.page(record.attached, |arn| name_of(arn))?;
    Ok(call.result(|xml| {
        write_attached(xml, "AttachedPolicies", &page.items);
        page.write_end(xml);
    }))
}

fn name_of(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or(arn)
}

pub fn write_attached(xml: &mut XmlWriter, element: &'static str, arns: &[String]) {
    xml.start(element);
    for arn in arns {
        xml.start("member");
        xml.text("PolicyName", name_of(arn));
        xml.text("PolicyArn", arn);
        xml.end();
    }
    xml.end();
}

/// Who uses a policy: its groups first, then users, then roles, as pages go on.
pub async fn entities(call: &Call<'_>) -> S3Result<XmlWriter> {
    let arn = target(call).await?.policy.arn();
    let kind = match call.get("EntityFilter") {
        None => None,
        Some("Group") => Some(IdentityKind::Group),
        Some("User") => Some(IdentityKind::User),
        Some("Role") => Some(IdentityKind::Role),
        // There are none of AWS's own; a customer's are all here.
        Some("LocalManagedPolicy") => None,
        Some(_) => return Err(invalid("'entityFilter' is User, Role, Group or LocalManagedPolicy")),
    };
    let path = call.get("PathPrefix").unwrap_or("/");
    let by_boundary = match call.get("PolicyUsageFilter") {
        None => None,
        Some("PermissionsPolicy") => Some(false),
        Some("PermissionsBoundary") => Some(true),
        Some(_) => return Err(invalid("'policyUsageFilter' is PermissionsPolicy or PermissionsBoundary")),
    };
    let mut found = call.shared.meta.policy_entities(&arn).await.map_err(fault::meta)?;
    found.retain(|entity| {
        let used = match by_boundary {
            None => true,
            Some(true) => entity.boundary,
            Some(false) => entity.attached,
        };
        used && kind.is_none_or(|kind| entity.kind == kind) && entity.path.starts_with(path)
    });
    // Ids are of one kind each by how they begin, and no two are alike.
    let page = call.page(found, |entity| entity.id.as_str())?;
    Ok(call.result(|xml| {
        write_entities(xml, "PolicyGroups", ("GroupName", "GroupId"), &page.items, IdentityKind::Group);
        write_entities(xml, "PolicyUsers", ("UserName", "UserId"), &page.items, IdentityKind::User);
        write_entities(xml, "PolicyRoles", ("RoleName", "RoleId"), &page.items, IdentityKind::Role);
        page.write_end(xml);
    }))
}

fn write_entities(
    xml: &mut XmlWriter,
    element: &'static str,
    (name, id): (&'static str, &'static str),
    all: &[PolicyEntity],
    kind: IdentityKind,
) {
    xml.start(element);
    for entity in all.iter().filter(|entity| entity.kind == kind) {
        xml.start("member");
        xml.text(name, &entity.name);
        xml.text(id, &entity.id);
        xml.end();
    }
    xml.end();
}
