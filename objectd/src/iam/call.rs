//! One call of IAM or STS: what it says, who makes it, and whether they may.

use super::action::Action;
use crate::arrival::Arrival;
use crate::auth::uri::Query;
use crate::auth::{Holder, Principal};
use crate::context::{principal_keys, server_keys, time_keys};
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::identity_rules::IdentityRules;
use crate::xml::XmlWriter;
use http::HeaderMap;
use http::header::USER_AGENT;
use policy::{Caller, Context, Kind, Policies, Policy, Request};

/// Items of one page (AWS).
pub const PAGE_ITEMS: u32 = 100;
pub const MAX_PAGE_ITEMS: u32 = 1000;

/// A call whose sender is known.
pub struct Call<'a> {
    pub shared: &'a Shared,
    pub action: &'static Action,
    pub form: &'a Query,
    pub holder: &'a Holder,
    /// The key that it was signed with.
    pub key_id: &'a str,
    pub caller: Caller,
    pub rules: IdentityRules,
    pub context: Context,
}

impl<'a> Call<'a> {
    pub fn new(
        shared: &'a Shared,
        action: &'static Action,
        form: &'a Query,
        principal: &'a Principal,
        (headers, arrival): (&HeaderMap, Arrival),
    ) -> S3Result<Self> {
        let Principal::Key { access_key_id, holder, .. } = principal else {
            return Err(S3Error::new(S3Code::MissingAuthenticationToken));
        };
        let mut context = Context::new();
        time_keys(&mut context, shared.now_ms());
        server_keys(&mut context, arrival, &shared.region);
        principal_keys(&mut context, principal);
        let mut agents = headers.get_all(USER_AGENT).iter();
        if let (Some(agent), None) = (agents.next(), agents.next()) {
            context.set("aws:UserAgent", String::from_utf8_lossy(agent.as_bytes()));
        }
        let rules = IdentityRules::of(principal, &shared.parsed_identities);
        let caller = holder.caller();
        Ok(Self { shared, action, form, holder, key_id: access_key_id, caller, rules, context })
    }

    /// The number of the caller's account, in which everything happens but the assuming of a role.
    pub fn account(&self) -> &str {
        &self.holder.account
    }

    /// A parameter, unless it is absent or empty.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.form.get(name).filter(|value| !value.is_empty())
    }

    /// The same, of one that must be there.
    pub fn need(&self, name: &str) -> S3Result<&str> {
        self.get(name).ok_or_else(|| {
            let why = format!("1 validation error detected: Value at '{name}' failed to satisfy constraint: Member must not be null");
            S3Error::with(S3Code::ValidationError, why)
        })
    }

    /// A parameter that is a whole number within a range.
    pub fn number(&self, name: &str, range: std::ops::RangeInclusive<u32>) -> S3Result<Option<u32>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.map(Some).ok_or_else(|| {
            let (least, most) = range.into_inner();
            invalid(format!("'{name}' must be a number from {least} to {most}"))
        })
    }

    /// Refuses parameters that would change what the call does, and that nobody looks at.
    pub fn refuse(&self, names: &[&'static str]) -> S3Result<()> {
        let is = |name: &str| self.form.iter().any(|given| given.name.split('.').next() == Some(name));
        match names.iter().find(|name| is(name)) {
            None => Ok(()),
            Some(name) => {
                let why = format!("The parameter {name} is not supported here; leave it out");
                Err(S3Error::with(S3Code::InvalidParameterValue, why))
            }
        }
    }

    /// Whether the caller's policies allow this call on a resource of its own account.
    pub fn authorize(&self, resource: &str) -> S3Result<()> {
        self.authorize_in(resource, &self.context)
    }

    /// The same, with what more is known.
    pub fn authorize_in(&self, resource: &str, context: &Context) -> S3Result<()> {
        self.authorize_action(self.action.permission, resource, context)
    }

    /// The same of another permission, that the call needs too.
    pub fn authorize_action(&self, action: &str, resource: &str, context: &Context) -> S3Result<()> {
        let mut context = context.clone();
        context.set("aws:ResourceAccount", self.account());
        let request = Request {
            caller: &self.caller,
            canonical_id: None,
            action,
            resource,
            resource_account: Some(self.account()),
            context: &context,
        };
        let decision = self.rules.decide(&request, Policies::default());
        if decision.allowed { Ok(()) } else { Err(self.denied_action(action, resource, &decision.reason)) }
    }

    pub fn denied(&self, resource: &str, reason: &policy::Reason) -> S3Error {
        self.denied_action(self.action.permission, resource, reason)
    }

    fn denied_action(&self, action: &str, resource: &str, reason: &policy::Reason) -> S3Error {
        tracing::debug!(action, resource, ?reason, "denied");
        let why = match reason {
            policy::Reason::Statement(_) => "with an explicit deny in a policy",
            policy::Reason::NoAllow(policy::Layer::Boundary) => {
                "because no permissions boundary allows the action"
            }
            policy::Reason::NoAllow(policy::Layer::Session) => "because no session policy allows the action",
            _ => "because no policy allows the action",
        };
        let who = self.holder.arn();
        let why = format!("User: {who} is not authorized to perform: {action} on resource: {resource} {why}");
        S3Error::with(S3Code::AccessDenied, why)
    }

    /// One page of these, in order of the names that `name` gives them: what `MaxItems` and `Marker` ask for.
    pub fn page<T>(&self, mut items: Vec<T>, name: impl Fn(&T) -> &str) -> S3Result<Page<T>> {
        let limit = self.number("MaxItems", 1..=MAX_PAGE_ITEMS)?.unwrap_or(PAGE_ITEMS);
        items.sort_by(|a, b| name(a).cmp(name(b)));
        if let Some(marker) = self.get("Marker") {
            items.retain(|item| name(item) > marker);
        }
        let limit = limit as usize;
        let marker = (items.len() > limit).then(|| name(&items[limit - 1]).to_owned());
        items.truncate(limit);
        Ok(Page { items, marker })
    }

    /// An answer without a result.
    pub fn plain(&self) -> XmlWriter {
        XmlWriter::in_namespace(self.action.response, self.action.service.namespace())
    }

    /// An answer in whose result `write` writes.
    pub fn result(&self, write: impl FnOnce(&mut XmlWriter)) -> XmlWriter {
        let mut xml = self.plain();
        xml.start(self.action.result);
        write(&mut xml);
        xml.end();
        xml
    }
}

/// Items of one page, and what asks for the next one.
pub struct Page<T> {
    pub items: Vec<T>,
    marker: Option<String>,
}

impl<T> Page<T> {
    /// What an answer says at the end of its page.
    pub fn write_end(&self, xml: &mut XmlWriter) {
        xml.value("IsTruncated", self.marker.is_some());
        xml.optional("Marker", self.marker.as_deref());
    }
}

pub fn invalid(why: impl Into<String>) -> S3Error {
    S3Error::with(S3Code::ValidationError, why.into())
}

/// A policy's document, parsed to the last letter.
pub fn document(text: &str, kind: Kind<'_>) -> S3Result<Policy> {
    Policy::parse(text, kind).map_err(|error| {
        let code = match error.kind {
            policy::ErrorKind::TooLarge => S3Code::LimitExceeded,
            _ => S3Code::MalformedPolicyDocument,
        };
        S3Error::with(code, error.to_string()).source(error)
    })
}
