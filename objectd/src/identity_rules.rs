//! What a caller's own policies say: those of its user or role and their groups, and of its session.
//!
//! They come with its key at every request, so that a change is obeyed by every gateway from the moment it returned
//! (promise 10). Only the work of parsing is kept, by the text that it was done for.

use crate::auth::Principal;
use crate::limits::MAX_PARSED_POLICIES;
use meta::identity::PolicyText;
use policy::{Attached, Decision, Kind, Policies, Policy, Request, evaluate};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Identity policies that were parsed, by their texts; `None` of one that can't be read.
#[derive(Debug, Default)]
pub struct ParsedIdentities(Mutex<HashMap<String, Option<Arc<Policy>>>>);

/// A policy's name, and what it is if it can be read.
type Named = (String, Option<Arc<Policy>>);

/// The policies of one caller.
#[derive(Debug, Clone, Default)]
pub struct IdentityRules {
    /// Of the user or role, whose name another may get.
    id: Option<String>,
    own: Vec<Named>,
    /// What limits all these.
    boundary: Option<Named>,
    /// `None`: no session policy limits it.
    session: Option<Vec<Named>>,
}

impl ParsedIdentities {
    fn parse(&self, policy: &PolicyText) -> Named {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(parsed) = known.get(&policy.text) {
            return (policy.name.clone(), parsed.clone());
        }
        // Of all kinds that name no principal, this may be the longest; each was held to its own when it was put.
        let parsed = match Policy::parse(&policy.text, Kind::RoleInline) {
            Ok(policy) => Some(Arc::new(policy)),
            Err(error) => {
                tracing::warn!(policy = policy.name, %error, "a policy can't be read, so all is denied");
                None
            }
        };
        if known.len() >= MAX_PARSED_POLICIES {
            known.clear();
        }
        known.insert(policy.text.clone(), parsed.clone());
        (policy.name.clone(), parsed)
    }
}

impl IdentityRules {
    pub fn of(principal: &Principal, parsed: &ParsedIdentities) -> Self {
        let Principal::Key { holder, .. } = principal else { return Self::default() };
        let parse = |policies: &[PolicyText]| policies.iter().map(|policy| parsed.parse(policy)).collect();
        Self {
            id: holder.record().map(|record| record.id.clone()),
            own: parse(holder.policies()),
            boundary: holder.boundary().map(|boundary| parsed.parse(boundary)),
            session: holder.session_policies().map(parse),
        }
    }

    /// The unique id of the caller's user or role.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether the caller has no policies of its own.
    pub fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// Whether nothing here says or limits anything.
    pub fn are_none(&self) -> bool {
        self.own.is_empty() && self.boundary.is_none() && self.session.is_none()
    }

    /// Whether one of them asks for an object's tags. One that can't be read denies, whatever they are.
    pub fn asks_for_object_tags(&self) -> bool {
        let mut all = self.own.iter().chain(&self.boundary).chain(self.session.iter().flatten());
        all.any(|(_, policy)| policy.as_ref().is_some_and(|policy| policy.asks_for_object_tags()))
    }

    /// Whether one of them asks how an object is encrypted.
    pub fn asks_for_encryption(&self) -> bool {
        let mut all = self.own.iter().chain(self.session.iter().flatten());
        all.any(|(_, policy)| policy.as_ref().is_some_and(|policy| policy.asks_for_encryption()))
    }

    /// Decides with these policies beside the ones of the resource.
    pub fn decide(&self, request: &Request<'_>, resource: Policies<'_>) -> Decision {
        let own = attached(&self.own);
        let boundary = self.boundary.as_ref().map(one);
        let session = self.session.as_deref().map(attached);
        evaluate(request, &Policies { identity: &own, boundary, session: session.as_deref(), ..resource })
    }
}

fn attached(named: &[Named]) -> Vec<Attached<'_>> {
    named.iter().map(one).collect()
}

fn one((name, policy): &Named) -> Attached<'_> {
    Attached { name, policy: policy.as_deref() }
}
