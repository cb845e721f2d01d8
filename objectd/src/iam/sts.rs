//! Who somebody is, and temporary credentials.
//!
//! Source: STS API reference, GetCallerIdentity, GetSessionToken, GetFederationToken and AssumeRole; IAM User Guide,
//! "Permissions for GetSessionToken", "Permissions for GetFederationToken" and "Policy evaluation logic" for sessions.

use super::call::{Call, document, invalid};
use super::fault;
use crate::auth::session::{Origin, Session};
use crate::auth::{Who, mint};
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::principals::{Named, as_meant};
use crate::xml::XmlWriter;
use meta::error::{Entity, ErrorKind};
use meta::identity::{IdentityKind, PolicyText};
use meta::identity_command::Effective;
use policy::{Attached, Kind, Policies, Policy, Reason, Request, ResourcePolicy};
use rt::rng::SystemRng;

/// Seconds that a session of `GetSessionToken` may last (AWS); less for a root.
const TOKEN_S: std::ops::RangeInclusive<u32> = 900..=129_600;
const DEFAULT_TOKEN_S: u32 = 43_200;
const ROOT_TOKEN_S: u32 = 3600;
/// Seconds that a role's session may last (AWS), if the role allows it; one that a session assumes, an hour.
const ROLE_S: std::ops::RangeInclusive<u32> = 900..=43_200;
const DEFAULT_ROLE_S: u32 = 3600;
const CHAINED_ROLE_S: u32 = 3600;
/// Characters of a session's name and of an external id (AWS).
const SESSION_NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=64;
const FEDERATED_NAME_CHARS: std::ops::RangeInclusive<usize> = 2..=32;
const EXTERNAL_ID_CHARS: std::ops::RangeInclusive<usize> = 2..=1224;

pub fn caller_identity(call: &Call<'_>) -> XmlWriter {
    call.result(|xml| {
        xml.text("Arn", &call.holder.arn());
        xml.text("UserId", &call.holder.id());
        xml.text("Account", call.account());
    })
}

/// For the caller itself: what it may, as long as its key and its user are there.
pub fn session_token(call: &Call<'_>) -> S3Result<XmlWriter> {
    call.refuse(&["SerialNumber", "TokenCode"])?;
    if call.holder.temporary.is_some() {
        let why = "Cannot call GetSessionToken with session credentials";
        return Err(S3Error::with(S3Code::AccessDenied, why));
    }
    let is_root = matches!(call.holder.who, Who::Root);
    let asked = call.number("DurationSeconds", TOKEN_S)?.unwrap_or(DEFAULT_TOKEN_S);
    let duration_s = if is_root { asked.min(ROOT_TOKEN_S) } else { asked };
    let origin = Origin::Key { id: call.key_id.to_owned(), holder: call.holder.id() };
    let session = make(call, call.account(), origin, duration_s, Vec::new());
    Ok(call.result(|xml| write_credentials(xml, call, &session)))
}

/// For somebody whom the user names: what the user may and the given policies allow; without any, what resources'
/// policies give to that name.
pub async fn federation_token(call: &Call<'_>) -> S3Result<XmlWriter> {
    call.refuse(&["Tags"])?;
    if call.holder.temporary.is_some() {
        let why = "Cannot call GetFederationToken with session credentials";
        return Err(S3Error::with(S3Code::AccessDenied, why));
    }
    // Its federated users could do nothing: no policy of a root's says what it may.
    if matches!(call.holder.who, Who::Root) {
        let why = "Federation tokens are for users to give here, not for root accounts";
        return Err(S3Error::with(S3Code::AccessDenied, why));
    }
    let name = call.need("Name")?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"+=,.@_-".contains(&c);
    if !FEDERATED_NAME_CHARS.contains(&name.len()) || !name.bytes().all(plain) {
        return Err(invalid("'name' must be 2 to 32 letters, digits or any of +=,.@_-"));
    }
    let duration_s = call.number("DurationSeconds", TOKEN_S)?.unwrap_or(DEFAULT_TOKEN_S);
    let arn = format!("arn:aws:sts::{}:federated-user/{name}", call.account());
    call.authorize(&arn)?;
    let policies = session_policies(call, call.account()).await?;
    let (id, holder) = (call.key_id.to_owned(), call.holder.id());
    let origin = Origin::Federation { id, holder, name: name.to_owned() };
    let session = make(call, call.account(), origin, duration_s, policies);
    Ok(call.result(|xml| {
        write_credentials(xml, call, &session);
        xml.start("FederatedUser");
        xml.text("FederatedUserId", &format!("{}:{name}", call.account()));
        xml.text("Arn", &arn);
        xml.end();
    }))
}

fn make(
    call: &Call<'_>,
    account: &str,
    origin: Origin,
    duration_s: u32,
    policies: Vec<PolicyText>,
) -> Session {
    let now_ms = call.shared.now_ms();
    Session {
        key_id: mint::key_id(&mut SystemRng, "ASIA"),
        secret: mint::secret(&mut SystemRng),
        account: account.to_owned(),
        origin,
        issued_ms: now_ms,
        expires_ms: now_ms + u64::from(duration_s) * 1000,
        policies,
    }
}

fn write_credentials(xml: &mut XmlWriter, call: &Call<'_>, session: &Session) {
    xml.start("Credentials");
    xml.text("AccessKeyId", &session.key_id);
    xml.text("SecretAccessKey", &session.secret);
    xml.text("SessionToken", &session.token(&call.shared.sealer, &mut SystemRng));
    xml.text("Expiration", &http_date::iso(session.expires_ms));
    xml.end();
}

pub async fn assume_role(call: &Call<'_>) -> S3Result<XmlWriter> {
    call.refuse(&[
        "Tags",
        "TransitiveTagKeys",
        "SerialNumber",
        "TokenCode",
        "SourceIdentity",
        "ProvidedContexts",
    ])?;
    let arn = call.need("RoleArn")?;
    let name = call.need("RoleSessionName")?;
    let plain = |c: u8| c.is_ascii_alphanumeric() || b"+=,.@_-".contains(&c);
    if !SESSION_NAME_CHARS.contains(&name.len()) || !name.bytes().all(plain) {
        return Err(invalid("'roleSessionName' must be 2 to 64 letters, digits or any of +=,.@_-"));
    }
    let asked = call.number("DurationSeconds", ROLE_S)?;
    let role = find_role(call, arn).await?;
    may_assume(call, arn, name, &role)?;
    let most_s = role.record.role.as_ref().map_or(DEFAULT_ROLE_S, |role| role.max_session_s);
    let most_s = if call.holder.temporary.is_some() { most_s.min(CHAINED_ROLE_S) } else { most_s };
    let duration_s = asked.unwrap_or(DEFAULT_ROLE_S.min(most_s));
    if duration_s > most_s {
        return Err(invalid(
            "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
        ));
    }
    let policies = session_policies(call, &role.record.of.account).await?;
    let record = &role.record;
    let origin =
        Origin::Role { name: record.of.name.clone(), id: record.id.clone(), session: name.to_owned() };
    let session = make(call, &record.of.account, origin, duration_s, policies);
    Ok(call.result(|xml| {
        write_credentials(xml, call, &session);
        xml.start("AssumedRoleUser");
        xml.text("AssumedRoleId", &format!("{}:{name}", record.id));
        let account = &record.of.account;
        xml.text("Arn", &format!("arn:aws:sts::{account}:assumed-role/{}/{name}", record.of.name));
        xml.end();
    }))
}

/// The role of an ARN. One that doesn't exist is one that can't be assumed: who may is all that anybody learns.
async fn find_role(call: &Call<'_>, arn: &str) -> S3Result<Effective> {
    let named = Named::parse(arn).filter(|named| named.of.kind == IdentityKind::Role && named.arn.is_some());
    let named = named.ok_or_else(|| invalid(format!("{arn} is invalid")))?;
    match call.shared.meta.effective(&named.of).await {
        Ok(found) if found.record.arn() == arn => Ok(found),
        Ok(_) => Err(call.denied(arn, &Reason::NoAllow(policy::Layer::Resource))),
        Err(error) => match error.kind() {
            ErrorKind::NotFound(Entity::Identity | Entity::Account) | ErrorKind::Invalid => {
                Err(call.denied(arn, &Reason::NoAllow(policy::Layer::Resource)))
            }
            _ => Err(fault::meta(error)),
        },
    }
}

/// The role's trust policy and the caller's own decide, as the two sides of a bucket do.
fn may_assume(call: &Call<'_>, arn: &str, session: &str, role: &Effective) -> S3Result<()> {
    if matches!(call.holder.who, Who::Root) {
        return Err(S3Error::with(S3Code::AccessDenied, "Roles may not be assumed by root accounts."));
    }
    let mut context = call.context.clone();
    context.set("sts:RoleSessionName", session).set("aws:ResourceAccount", role.record.of.account.as_str());
    if let Some(id) = call.get("ExternalId") {
        if !EXTERNAL_ID_CHARS.contains(&id.len()) {
            return Err(invalid("'externalId' must be 2 to 1224 characters"));
        }
        context.set("sts:ExternalId", id);
    }
    let settings = role.record.role.as_ref();
    let text = settings.map(|role| role.trust.as_str()).unwrap_or_default();
    let trust = Policy::parse(text, Kind::Trust).ok();
    let bound = settings.map(|role| role.bound.as_slice()).unwrap_or_default();
    let caller = as_meant(&call.caller, call.rules.id(), bound);
    let request = Request {
        caller: &caller,
        canonical_id: None,
        action: call.action.permission,
        resource: arn,
        resource_account: Some(&role.record.of.account),
        context: &context,
    };
    let resource = ResourcePolicy::Trust(Attached { name: arn, policy: trust.as_ref() });
    let decision = call.rules.decide(&request, Policies { resource, ..Policies::default() });
    if decision.allowed { Ok(()) } else { Err(call.denied(arn, &decision.reason)) }
}

/// Policies that the session is limited to: one in the call, and managed ones of the session's account.
async fn session_policies(call: &Call<'_>, account: &str) -> S3Result<Vec<PolicyText>> {
    /// Managed policies of one session (AWS).
    const MOST: usize = 10;
    let mut policies = Vec::new();
    if let Some(text) = call.get("Policy") {
        document(text, Kind::Session)?;
        policies.push(PolicyText { name: "session/policy".to_owned(), text: text.to_owned() });
    }
    for index in 1..=MOST {
        let Some(arn) = call.get(&format!("PolicyArns.member.{index}.arn")) else { break };
        let found = call.shared.meta.managed_policy(arn).await.map_err(fault::meta)?;
        if found.account != account {
            return Err(S3Error::with(S3Code::NoSuchEntity, format!("Policy {arn} was not found.")));
        }
        document(&found.text, Kind::Managed)?;
        policies.push(PolicyText { name: format!("session/{arn}"), text: found.text });
    }
    let given = call.form.iter().filter(|given| given.name.starts_with("PolicyArns.")).count();
    if given != policies.iter().filter(|policy| policy.name != "session/policy").count() {
        return Err(invalid("'policyArns' must be PolicyArns.member.1.arn and so on, up to 10"));
    }
    let packed: usize = policies.iter().map(|policy| policy.text.len()).sum();
    if packed > crate::limits::MAX_SESSION_POLICY_BYTES {
        let why = "The session's policies are too long together";
        return Err(S3Error::with(S3Code::PackedPolicyTooLarge, why));
    }
    Ok(policies)
}
