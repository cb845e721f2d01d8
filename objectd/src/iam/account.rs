//! An account as a whole: how much is in it, and all that its users, groups, roles and policies are.
//!
//! Source: IAM API reference, GetAccountSummary and GetAccountAuthorizationDetails; IAM User Guide, "IAM and AWS STS
//! quotas".

use super::call::{Call, invalid};
use super::{fault, identities, managed, versions};
use crate::auth::uri::uri_encode;
use crate::error::S3Result;
use crate::xml::XmlWriter;
use meta::error::{Entity, ErrorKind};
use meta::identity::{IdentityKind, IdentityRecord, PolicyText, account_of};
use meta::identity_command::Effective;
use meta::identity_details::FullPolicy;
use meta::limits::{
    MAX_ATTACHED, MAX_GROUP_INLINE_CHARS, MAX_GROUPS_OF_USER, MAX_IDENTITY_PAGE, MAX_KEYS_OF_IDENTITY,
    MAX_POLICY_VERSIONS, MAX_ROLE_INLINE_CHARS, MAX_USER_INLINE_CHARS,
};

const KINDS: [IdentityKind; 3] = [IdentityKind::User, IdentityKind::Group, IdentityKind::Role];

/// All of the account's identities of one kind.
async fn all(call: &Call<'_>, kind: IdentityKind) -> S3Result<Vec<IdentityRecord>> {
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = call.shared.meta.identities((kind, call.account()), "/", after, MAX_IDENTITY_PAGE).await;
        let page = page.map_err(fault::meta)?;
        found.extend(page.identities);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(found),
        }
    }
}

/// What there is, and what there may be. What isn't there at all isn't told of.
pub async fn summary(call: &Call<'_>) -> S3Result<XmlWriter> {
    call.authorize("*")?;
    let mut entries: Vec<(&str, usize)> = Vec::new();
    for (kind, name) in KINDS.into_iter().zip(["Users", "Groups", "Roles"]) {
        entries.push((name, all(call, kind).await?.len()));
    }
    let policies = call.shared.meta.full_policies(call.account()).await.map_err(fault::meta)?;
    let own = call.shared.meta.identity_keys(call.account(), None).await.map_err(fault::meta)?;
    let first = call.shared.meta.access_keys().await.map_err(fault::meta)?;
    let owner = account_of(call.account());
    let root_keys = !own.is_empty() || first.iter().any(|key| key.owner == owner);
    let in_use: usize = policies.iter().map(|found| found.details.versions.len()).sum();
    entries.extend([
        ("Policies", policies.len()),
        ("PolicyVersionsInUse", in_use),
        ("AccountAccessKeysPresent", usize::from(root_keys)),
        ("AccountMFAEnabled", 0),
        ("MFADevices", 0),
        ("AccessKeysPerUserQuota", MAX_KEYS_OF_IDENTITY),
        ("AttachedPoliciesPerGroupQuota", MAX_ATTACHED),
        ("AttachedPoliciesPerRoleQuota", MAX_ATTACHED),
        ("AttachedPoliciesPerUserQuota", MAX_ATTACHED),
        ("GroupPolicySizeQuota", MAX_GROUP_INLINE_CHARS),
        ("GroupsPerUserQuota", MAX_GROUPS_OF_USER),
        ("PolicySizeQuota", policy::limits::MAX_MANAGED_CHARS),
        ("RolePolicySizeQuota", MAX_ROLE_INLINE_CHARS),
        ("UserPolicySizeQuota", MAX_USER_INLINE_CHARS),
        ("VersionsPerPolicyQuota", MAX_POLICY_VERSIONS),
    ]);
    Ok(call.result(|xml| {
        xml.start("SummaryMap");
        for (name, count) in &entries {
            xml.start("entry");
            xml.text("key", name);
            xml.value("value", count);
            xml.end();
        }
        xml.end();
    }))
}

/// One thing of the account.
enum Thing {
    Identity(IdentityRecord),
    Policy(Box<FullPolicy>),
}

/// What the request's filter leaves: users, groups, roles, policies.
fn wanted(call: &Call<'_>) -> S3Result<[bool; 4]> {
    const NAMES: [&str; 5] = ["User", "Group", "Role", "LocalManagedPolicy", "AWSManagedPolicy"];
    let mut wanted = [false; NAMES.len()];
    let mut said = 0;
    for index in 1..=NAMES.len() {
        let Some(name) = call.get(&format!("Filter.member.{index}")) else { break };
        let at = NAMES.iter().position(|known| *known == name);
        let at = at.ok_or_else(|| invalid(format!("'filter' is any of {}", NAMES.join(", "))))?;
        wanted[at] = true;
        said += 1;
    }
    if call.form.iter().filter(|given| given.name.starts_with("Filter.")).count() != said {
        return Err(invalid("'filter' must be Filter.member.1 and so on"));
    }
    let [user, group, role, policy, _] = if said == 0 { [true; NAMES.len()] } else { wanted };
    Ok([user, group, role, policy])
}

pub async fn details(call: &Call<'_>) -> S3Result<XmlWriter> {
    call.authorize("*")?;
    let wanted = wanted(call)?;
    let mut things: Vec<(String, Thing)> = Vec::new();
    for (kind, _) in KINDS.into_iter().zip(wanted).filter(|(_, wanted)| *wanted) {
        let found = all(call, kind).await?.into_iter();
        things.extend(found.map(|record| (record.id.clone(), Thing::Identity(record))));
    }
    if wanted[3] {
        let found = call.shared.meta.full_policies(call.account()).await.map_err(fault::meta)?.into_iter();
        things.extend(found.map(|full| (full.policy.id.clone(), Thing::Policy(Box::new(full)))));
    }
    let page = call.page(things, |(id, _)| id.as_str())?;
    let (mut identities, mut policies) = (Vec::new(), Vec::new());
    for (_, thing) in &page.items {
        match thing {
            Thing::Policy(full) => policies.push(full),
            Thing::Identity(record) => match call.shared.meta.effective(&record.of).await {
                Ok(found) => identities.push(found),
                // Deleted since it was listed.
                Err(error) if error.kind() == ErrorKind::NotFound(Entity::Identity) => {}
                Err(error) => return Err(fault::meta(error)),
            },
        }
    }
    Ok(call.result(|xml| {
        let lists = ["UserDetailList", "GroupDetailList", "RoleDetailList"];
        for (kind, list) in KINDS.into_iter().zip(lists) {
            xml.start(list);
            for found in identities.iter().filter(|found| found.record.of.kind == kind) {
                write_identity(xml, found);
            }
            xml.end();
        }
        xml.start("Policies");
        for full in policies {
            write_policy(xml, full);
        }
        xml.end();
        page.write_end(xml);
    }))
}

fn write_identity(xml: &mut XmlWriter, found: &Effective) {
    let (record, kind) = (&found.record, found.record.of.kind);
    xml.start("member");
    identities::write_parts(xml, record);
    identities::write_details(xml, &found.details);
    if kind == IdentityKind::User {
        xml.start("GroupList");
        for group in &record.groups {
            xml.text("member", group);
        }
        xml.end();
    }
    let inline = match kind {
        IdentityKind::User => "UserPolicyList",
        IdentityKind::Group => "GroupPolicyList",
        IdentityKind::Role => "RolePolicyList",
    };
    write_inline(xml, inline, &record.inline);
    managed::write_attached(xml, "AttachedManagedPolicies", &record.attached);
    if kind == IdentityKind::Role {
        xml.start("InstanceProfileList");
        xml.end();
    }
    xml.end();
}

fn write_inline(xml: &mut XmlWriter, element: &'static str, inline: &[PolicyText]) {
    xml.start(element);
    for policy in inline {
        xml.start("member");
        xml.text("PolicyName", &policy.name);
        xml.text("PolicyDocument", &uri_encode(policy.text.as_bytes(), false));
        xml.end();
    }
    xml.end();
}

fn write_policy(xml: &mut XmlWriter, full: &FullPolicy) {
    xml.start("member");
    managed::write(xml, full);
    xml.start("PolicyVersionList");
    for version in full.details.versions.iter().rev() {
        xml.start("member");
        versions::write(xml, version, full.details.default);
        xml.end();
    }
    xml.end();
    xml.end();
}
