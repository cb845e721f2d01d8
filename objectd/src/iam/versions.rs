//! Versions of managed policies: five at most, of which one holds.
//!
//! Source: IAM API reference, CreatePolicyVersion and its like; IAM User Guide, "Versioning IAM policies".

use super::call::{Call, document, invalid};
use super::{fault, managed};
use crate::auth::uri::uri_encode;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::xml::XmlWriter;
use meta::error::{Entity, ErrorKind};
use meta::identity_command::IdentityCommand;
use meta::identity_details::{PolicyDetails, PolicyVersion};
use policy::Kind;

/// As clients name it.
pub fn name(number: u32) -> String {
    format!("v{number}")
}

/// The number of the version that the request names.
fn number(call: &Call<'_>) -> S3Result<u32> {
    let said = call.need("VersionId")?;
    let number = said.strip_prefix('v').and_then(|number| number.parse().ok());
    // A number has one name.
    number
        .filter(|number| name(*number) == said)
        .ok_or_else(|| invalid("'versionId' must be v1, v2 or the like"))
}

pub async fn create(call: &Call<'_>) -> S3Result<XmlWriter> {
    let found = managed::target(call).await?;
    let text = call.need("PolicyDocument")?;
    document(text, Kind::Managed)?;
    let default = match call.get("SetAsDefault") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(invalid("'setAsDefault' must be true or false")),
    };
    let version = PolicyVersion {
        number: found.details.last.saturating_add(1),
        text: text.to_owned(),
        created_ms: call.shared.now_ms(),
    };
    let (arn, added) = (found.policy.arn(), version.clone());
    let command = IdentityCommand::AddPolicyVersion { arn, version, default };
    call.shared.meta.change_identity(command).await.map_err(|error| match error.kind() {
        ErrorKind::Exists(Entity::Policy) => {
            S3Error::with(S3Code::ConcurrentModification, error.message().to_owned()).source(error)
        }
        _ => fault::meta(error),
    })?;
    Ok(call.result(|xml| {
        xml.start("PolicyVersion");
        write_head(xml, &added, default);
        xml.end();
    }))
}

pub async fn get(call: &Call<'_>) -> S3Result<XmlWriter> {
    let (found, number) = (managed::target(call).await?, number(call)?);
    let version =
        found.details.versions.iter().find(|version| version.number == number).ok_or_else(|| {
            let why = format!("Policy {} version {} does not exist.", found.policy.arn(), name(number));
            S3Error::with(S3Code::NoSuchEntity, why)
        })?;
    Ok(call.result(|xml| {
        xml.start("PolicyVersion");
        write(xml, version, found.details.default);
        xml.end();
    }))
}

/// The newest first.
pub async fn list(call: &Call<'_>) -> S3Result<XmlWriter> {
    let PolicyDetails { versions, default, .. } = managed::target(call).await?.details;
    // Five at most, so a page is for who asks for one.
    let order = |version: &PolicyVersion| format!("{:010}", u32::MAX - version.number);
    let named: Vec<_> = versions.into_iter().map(|version| (order(&version), version)).collect();
    let page = call.page(named, |(order, _)| order.as_str())?;
    Ok(call.result(|xml| {
        xml.start("Versions");
        for (_, version) in &page.items {
            xml.start("member");
            write_head(xml, version, version.number == default);
            xml.end();
        }
        xml.end();
        page.write_end(xml);
    }))
}

pub async fn set_default(call: &Call<'_>) -> S3Result<XmlWriter> {
    let (arn, number) = (managed::target(call).await?.policy.arn(), number(call)?);
    call.change(IdentityCommand::SetDefaultPolicyVersion { arn, number }).await?;
    Ok(call.plain())
}

pub async fn delete(call: &Call<'_>) -> S3Result<XmlWriter> {
    let (arn, number) = (managed::target(call).await?.policy.arn(), number(call)?);
    call.change(IdentityCommand::DeletePolicyVersion { arn, number }).await?;
    Ok(call.plain())
}

pub fn write(xml: &mut XmlWriter, version: &PolicyVersion, default: u32) {
    xml.text("Document", &uri_encode(version.text.as_bytes(), false));
    write_head(xml, version, version.number == default);
}

/// Without its document.
fn write_head(xml: &mut XmlWriter, version: &PolicyVersion, is_default: bool) {
    xml.text("VersionId", &name(version.number));
    xml.value("IsDefaultVersion", is_default);
    xml.text("CreateDate", &http_date::iso(version.created_ms));
}
