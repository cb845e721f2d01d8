//! Users, groups and roles: made, shown, listed, deleted, and their inline policies.
//!
//! Source: IAM API reference, CreateUser, GetUser, ListUsers, DeleteUser, PutUserPolicy and their like.

use super::call::{Call, MAX_PAGE_ITEMS, PAGE_ITEMS, document, invalid};
use super::tags::{self, Tagged};
use super::{boundary, fault};
use crate::auth::mint;
use crate::auth::uri::uri_encode;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::xml::XmlWriter;
use meta::error::{Entity, ErrorKind};
use meta::identity::{BoundPrincipal, IdentityKind, IdentityName, IdentityRecord, PolicyText, RoleSettings};
use meta::identity_command::{Effective, IdentityCommand};
use meta::identity_details::IdentityDetails;
use policy::Kind;
use rt::rng::SystemRng;

/// Longest description of a role, in characters (AWS).
const MAX_DESCRIPTION_CHARS: usize = 1000;
/// How long a role's sessions may last at most, in seconds (AWS).
const MAX_SESSION_S: std::ops::RangeInclusive<u32> = 3600..=43_200;
const SESSION_S: u32 = 3600;
/// Longest path, in characters, as the control plane takes it.
const MAX_PATH_CHARS: usize = meta::limits::MAX_IAM_PATH_CHARS;

/// Words that depend on the kind.
pub struct Words {
    pub element: &'static str,
    pub list: &'static str,
    pub name: &'static str,
    pub id: &'static str,
    prefix: &'static str,
}

pub const fn words(kind: IdentityKind) -> Words {
    match kind {
        IdentityKind::User => {
            Words { element: "User", list: "Users", name: "UserName", id: "UserId", prefix: "AIDA" }
        }
        IdentityKind::Group => {
            Words { element: "Group", list: "Groups", name: "GroupName", id: "GroupId", prefix: "AGPA" }
        }
        IdentityKind::Role => {
            Words { element: "Role", list: "Roles", name: "RoleName", id: "RoleId", prefix: "AROA" }
        }
    }
}

impl Call<'_> {
    /// The identity of a name in the caller's account.
    pub fn named(&self, kind: IdentityKind, name: &str) -> IdentityName {
        IdentityName { kind, account: self.account().to_owned(), name: name.to_owned() }
    }

    /// The one that the request names, once the caller may do this to it: who may not isn't told whether it exists.
    pub async fn target(&self, kind: IdentityKind) -> S3Result<Effective> {
        let name = self.need(words(kind).name)?;
        self.allowed_target(self.named(kind, name), &self.context).await
    }

    /// The same of one that is named, with what more is known.
    pub async fn allowed_target(&self, of: IdentityName, context: &policy::Context) -> S3Result<Effective> {
        match self.shared.meta.effective(&of).await {
            Ok(found) => {
                let mut context = context.clone();
                tags::resource_keys(&mut context, &found.details.tags);
                boundary::existing(&mut context, self.action.does, &found);
                self.authorize_in(&found.record.arn(), &context)?;
                Ok(found)
            }
            Err(error) => {
                // Its path isn't known; none is what AWS assumes.
                let arn = format!("arn:aws:iam::{}:{}/{}", of.account, of.kind.word(), of.name);
                self.authorize_in(&arn, context)?;
                Err(fault::meta(error))
            }
        }
    }

    pub async fn change(&self, command: IdentityCommand) -> S3Result<()> {
        self.shared.meta.change_identity(command).await.map_err(fault::meta)
    }
}

pub async fn create(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    if kind == IdentityKind::Group {
        call.refuse(&["PermissionsBoundary", "Tags"])?;
    }
    let words = words(kind);
    let name = call.need(words.name)?;
    let path = call.get("Path").unwrap_or("/");
    let role = match kind {
        IdentityKind::Role => Some(role_settings(call)?),
        IdentityKind::User | IdentityKind::Group => None,
    };
    let mut record = IdentityRecord {
        of: call.named(kind, name),
        path: path.to_owned(),
        id: mint::unique_id(&mut SystemRng, words.prefix),
        created_ms: call.shared.now_ms(),
        inline: Vec::new(),
        attached: Vec::new(),
        keys: Vec::new(),
        groups: Vec::new(),
        role,
    };
    let mut context = call.context.clone();
    let boundary = boundary::given(call, &mut context)?.map(str::to_owned);
    let tags = tags::of_new(call, Tagged::Identity(kind), &record.arn(), &mut context)?;
    call.authorize_in(&record.arn(), &context)?;
    if let Some(role) = &mut record.role {
        role.bound = trust_document(call, &role.trust).await?;
    }
    let details = IdentityDetails { boundary, tags };
    let command = match details == IdentityDetails::default() {
        true => IdentityCommand::CreateIdentity(record.clone()),
        false => IdentityCommand::CreateDetailedIdentity { record: record.clone(), details: details.clone() },
    };
    call.change(command).await?;
    Ok(call.result(|xml| write_detailed(xml, words.element, &record, &details)))
}

fn role_settings(call: &Call<'_>) -> S3Result<RoleSettings> {
    Ok(RoleSettings {
        trust: call.need("AssumeRolePolicyDocument")?.to_owned(),
        bound: Vec::new(),
        description: call.get("Description").unwrap_or_default().to_owned(),
        max_session_s: call.number("MaxSessionDuration", MAX_SESSION_S)?.unwrap_or(SESSION_S),
    })
}

/// A trust policy names nobody who doesn't exist: whom it means.
async fn trust_document(call: &Call<'_>, text: &str) -> S3Result<Vec<BoundPrincipal>> {
    let policy = document(text, Kind::Trust)?;
    crate::principals::bind(call.shared, &policy, call.account()).await?.map_err(|nobody| {
        let why = format!("Invalid principal in policy: {nobody}");
        S3Error::with(S3Code::MalformedPolicyDocument, why)
    })
}

pub async fn update_trust(call: &Call<'_>) -> S3Result<XmlWriter> {
    let role = call.target(IdentityKind::Role).await?.record;
    let text = call.need("PolicyDocument")?;
    let bound = trust_document(call, text).await?;
    call.change(IdentityCommand::PutTrust { role: role.of, text: text.to_owned(), bound }).await?;
    Ok(call.plain())
}

/// Another name or path for a user or group. AWS asks for the permission on what it becomes, too.
pub async fn update(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let found = call.target(kind).await?.record;
    let renamed = match kind {
        IdentityKind::Group => "NewGroupName",
        IdentityKind::User | IdentityKind::Role => "NewUserName",
    };
    let (name, path) = (call.get(renamed).map(str::to_owned), call.get("NewPath").map(str::to_owned));
    let mut becomes = found.clone();
    becomes.of.name.clone_from(name.as_ref().unwrap_or(&found.of.name));
    becomes.path.clone_from(path.as_ref().unwrap_or(&found.path));
    if becomes.arn() != found.arn() {
        call.authorize(&becomes.arn())?;
    }
    call.change(IdentityCommand::UpdateIdentity { of: found.of, name, path }).await?;
    Ok(call.plain())
}

/// The description and the longest session: of `UpdateRole`; of `UpdateRoleDescription`, which shows the role.
pub async fn update_role(call: &Call<'_>, shows: bool) -> S3Result<XmlWriter> {
    let found = call.target(IdentityKind::Role).await?;
    let description = match shows {
        true => Some(call.form.get("Description").unwrap_or_default().to_owned()),
        false => call.form.get("Description").map(str::to_owned),
    };
    if description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION_CHARS) {
        return Err(invalid(format!("'description' has at most {MAX_DESCRIPTION_CHARS} characters")));
    }
    let max_session_s = match shows {
        true => None,
        false => call.number("MaxSessionDuration", MAX_SESSION_S)?,
    };
    let of = found.record.of.clone();
    let command = IdentityCommand::UpdateRole { of, description: description.clone(), max_session_s };
    call.change(command).await?;
    let mut record = found.record;
    if let Some((role, description)) = record.role.as_mut().zip(description) {
        role.description = description;
    }
    Ok(call.result(|xml| {
        if shows {
            write_detailed(xml, "Role", &record, &found.details);
        }
    }))
}

/// Without a name, a user is who asks.
pub async fn get(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let words = words(kind);
    if kind == IdentityKind::User && call.get("UserName").is_none() {
        return own(call).await;
    }
    let Effective { record, details, .. } = call.target(kind).await?;
    let members = match kind {
        IdentityKind::Group => {
            let members = call.shared.meta.members(&record.of).await.map_err(fault::meta)?;
            Some(call.page(members, |user| user.of.name.as_str())?)
        }
        IdentityKind::User | IdentityKind::Role => None,
    };
    Ok(call.result(|xml| {
        write_detailed(xml, words.element, &record, &details);
        if let Some(page) = members {
            xml.start("Users");
            for user in &page.items {
                write(xml, "member", user);
            }
            xml.end();
            page.write_end(xml);
        }
    }))
}

async fn own(call: &Call<'_>) -> S3Result<XmlWriter> {
    if let Some(name) = call.holder.user() {
        let found = call.allowed_target(call.named(IdentityKind::User, name), &call.context).await?;
        return Ok(call.result(|xml| write_detailed(xml, "User", &found.record, &found.details)));
    }
    if !matches!(call.holder.who, crate::auth::Who::Root) {
        return Err(invalid("Must specify userName when calling with non-User credentials"));
    }
    let arn = call.holder.arn();
    call.authorize(&arn)?;
    let account = call.shared.meta.account(call.account()).await.map_err(fault::meta)?;
    Ok(call.result(|xml| {
        xml.start("User");
        xml.text("UserId", &account.number);
        xml.text("Arn", &arn);
        xml.text("CreateDate", &http_date::iso(account.created_ms));
        xml.end();
    }))
}

pub async fn list(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let words = words(kind);
    let path = call.get("PathPrefix").unwrap_or("/");
    if path.len() > MAX_PATH_CHARS {
        return Err(invalid("PathPrefix is too long"));
    }
    let limit = call.number("MaxItems", 1..=MAX_PAGE_ITEMS)?.unwrap_or(PAGE_ITEMS);
    call.authorize(&format!("arn:aws:iam::{}:{}{path}", call.account(), kind.word()))?;
    let marker = call.get("Marker").map(str::to_owned);
    let page = call.shared.meta.identities((kind, call.account()), path, marker, limit).await;
    let page = page.map_err(fault::meta)?;
    Ok(call.result(|xml| {
        xml.start(words.list);
        for record in &page.identities {
            write(xml, "member", record);
        }
        xml.end();
        xml.value("IsTruncated", page.next.is_some());
        xml.optional("Marker", page.next.as_deref());
    }))
}

pub async fn delete(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let of = call.target(kind).await?.record.of;
    call.change(IdentityCommand::DeleteIdentity(of)).await?;
    Ok(call.plain())
}

/// As lists show it: without its boundary and tags.
pub fn write(xml: &mut XmlWriter, element: &'static str, record: &IdentityRecord) {
    xml.start(element);
    write_parts(xml, record);
    xml.end();
}

/// With all that it has.
fn write_detailed(
    xml: &mut XmlWriter,
    element: &'static str,
    record: &IdentityRecord,
    details: &IdentityDetails,
) {
    xml.start(element);
    write_parts(xml, record);
    write_details(xml, details);
    xml.end();
}

pub fn write_details(xml: &mut XmlWriter, details: &IdentityDetails) {
    boundary::write(xml, details.boundary.as_deref());
    if !details.tags.is_empty() {
        tags::write(xml, &details.tags);
    }
}

pub fn write_parts(xml: &mut XmlWriter, record: &IdentityRecord) {
    let words = words(record.of.kind);
    xml.text("Path", &record.path);
    xml.text(words.name, &record.of.name);
    xml.text(words.id, &record.id);
    xml.text("Arn", &record.arn());
    xml.text("CreateDate", &http_date::iso(record.created_ms));
    if let Some(role) = &record.role {
        xml.text("AssumeRolePolicyDocument", &uri_encode(role.trust.as_bytes(), false));
        xml.optional("Description", Some(role.description.as_str()).filter(|text| !text.is_empty()));
        xml.value("MaxSessionDuration", role.max_session_s);
    }
}

const fn kind_of(kind: IdentityKind) -> Kind<'static> {
    match kind {
        IdentityKind::User => Kind::UserInline,
        IdentityKind::Group => Kind::GroupInline,
        IdentityKind::Role => Kind::RoleInline,
    }
}

pub async fn put_inline(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let of = call.target(kind).await?.record.of;
    let (name, text) = (call.need("PolicyName")?.to_owned(), call.need("PolicyDocument")?.to_owned());
    document(&text, kind_of(kind))?;
    call.change(IdentityCommand::PutInlinePolicy { of, policy: PolicyText { name, text } }).await?;
    Ok(call.plain())
}

pub async fn get_inline(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let record = call.target(kind).await?.record;
    let name = call.need("PolicyName")?;
    let found = record.inline.iter().find(|policy| policy.name == name).ok_or_else(|| {
        let (word, of) = (kind.word(), &record.of.name);
        let why = format!("The {word} policy with name {name} cannot be found for {of}.");
        S3Error::with(S3Code::NoSuchEntity, why)
    })?;
    Ok(call.result(|xml| {
        xml.text(words(kind).name, &record.of.name);
        xml.text("PolicyName", &found.name);
        xml.text("PolicyDocument", &uri_encode(found.text.as_bytes(), false));
    }))
}

pub async fn list_inline(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let record = call.target(kind).await?.record;
    let page = call.page(record.inline, |policy| policy.name.as_str())?;
    Ok(call.result(|xml| {
        xml.start("PolicyNames");
        for policy in &page.items {
            xml.text("member", &policy.name);
        }
        xml.end();
        page.write_end(xml);
    }))
}

pub async fn delete_inline(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let of = call.target(kind).await?.record.of;
    let name = call.need("PolicyName")?.to_owned();
    call.change(IdentityCommand::DeleteInlinePolicy { of, name }).await?;
    Ok(call.plain())
}

/// Puts a user into a group, or takes it out.
pub async fn set_member(call: &Call<'_>, member: bool) -> S3Result<XmlWriter> {
    let group = call.target(IdentityKind::Group).await?.record.of;
    let user = call.need("UserName")?.to_owned();
    call.change(IdentityCommand::SetMember { group, user, member }).await?;
    Ok(call.plain())
}

pub async fn list_groups_of_user(call: &Call<'_>) -> S3Result<XmlWriter> {
    let user = call.target(IdentityKind::User).await?.record;
    let mut groups = Vec::new();
    for name in &user.groups {
        match call.shared.meta.effective(&call.named(IdentityKind::Group, name)).await {
            Ok(found) => groups.push(found.record),
            // Left and deleted since the user was read.
            Err(error) if error.kind() == ErrorKind::NotFound(Entity::Identity) => {}
            Err(error) => return Err(fault::meta(error)),
        }
    }
    let page = call.page(groups, |group| group.of.name.as_str())?;
    Ok(call.result(|xml| {
        xml.start("Groups");
        for group in &page.items {
            write(xml, "member", group);
        }
        xml.end();
        page.write_end(xml);
    }))
}
