//! Permissions boundaries of users and roles: what they may is at most what that policy allows.
//!
//! Source: IAM User Guide, "Permissions boundaries for IAM entities"; IAM API reference, PutUserPermissionsBoundary and its
//! like; Service Authorization Reference, `iam:PermissionsBoundary`.

use super::action::Do;
use super::call::{Call, invalid};
use super::identities::words;
use crate::error::S3Result;
use crate::xml::XmlWriter;
use meta::identity::IdentityKind;
use meta::identity_command::{Effective, IdentityCommand};
use meta::limits::MAX_ARN_BYTES;
use policy::Context;

/// What conditions see of it: the boundary that is put, or that whom the call changes has.
const KEY: &str = "iam:PermissionsBoundary";

/// The boundary that the request names, for something new or in place of another.
pub fn given<'a>(call: &'a Call<'_>, context: &mut Context) -> S3Result<Option<&'a str>> {
    let Some(arn) = call.get("PermissionsBoundary") else { return Ok(None) };
    if arn.len() > MAX_ARN_BYTES {
        return Err(invalid("'permissionsBoundary' is too long"));
    }
    context.set(KEY, arn);
    Ok(Some(arn))
}

/// Sets the boundary of whom the call is about, for the calls that AWS documents this for: those by which somebody could
/// be given more.
pub fn existing(context: &mut Context, does: Do, found: &Effective) {
    let kind = found.record.of.kind;
    let documented = matches!(
        does,
        Do::PutInline(_) | Do::DeleteInline(_) | Do::Attach(_) | Do::Detach(_) | Do::DeleteBoundary(_)
    );
    if let Some(arn) = found.details.boundary.as_deref()
        && documented
        && kind != IdentityKind::Group
    {
        context.set(KEY, arn);
    }
}

pub async fn put(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let name = call.need(words(kind).name)?;
    call.need("PermissionsBoundary")?;
    let mut context = call.context.clone();
    let arn = given(call, &mut context)?.map(str::to_owned);
    let of = call.allowed_target(call.named(kind, name), &context).await?.record.of;
    call.change(IdentityCommand::SetBoundary { of, arn }).await?;
    Ok(call.plain())
}

pub async fn delete(call: &Call<'_>, kind: IdentityKind) -> S3Result<XmlWriter> {
    let of = call.target(kind).await?.record.of;
    call.change(IdentityCommand::SetBoundary { of, arn: None }).await?;
    Ok(call.plain())
}

pub fn write(xml: &mut XmlWriter, arn: Option<&str>) {
    let Some(arn) = arn else { return };
    xml.start("PermissionsBoundary");
    // AWS's documentation says Policy, its service PermissionsBoundaryPolicy; clients show either.
    xml.text("PermissionsBoundaryType", "Policy");
    xml.text("PermissionsBoundaryArn", arn);
    xml.end();
}
