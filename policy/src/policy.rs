//! A parsed policy and whether a statement of it applies.

use crate::arn::ArnPattern;
use crate::condition::{self, Condition};
use crate::context::Context;
use crate::principal::{Caller, Named, PrincipalName, Principals};
use crate::wildcard::Glob;

/// What a statement does when it applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    Allow,
    Deny,
}

/// Where a policy is attached, which decides what may be in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// Inline in a user.
    UserInline,
    /// Inline in a group.
    GroupInline,
    /// Inline in a role.
    RoleInline,
    /// A managed policy; permissions boundaries are such too.
    Managed,
    /// Passed to `AssumeRole` or `GetFederationToken`.
    Session,
    /// Who may assume a role.
    Trust,
    /// The policy of the bucket of this name.
    Bucket(&'a str),
}

/// A policy that was parsed with no doubt left.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub(crate) id: Option<String>,
    pub(crate) statements: Vec<Statement>,
}

/// One statement.
#[derive(Debug, Clone, PartialEq)]
pub struct Statement {
    pub(crate) sid: Option<String>,
    pub(crate) effect: Effect,
    pub(crate) principals: Principals,
    pub(crate) actions: Actions,
    pub(crate) resources: Resources,
    pub(crate) conditions: Vec<Condition>,
}

/// Actions' names ignore case: patterns and names are compared in lower case.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Actions {
    pub(crate) except: bool,
    /// As written, and compiled.
    pub(crate) patterns: Vec<(String, Glob)>,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Resources {
    /// A trust policy's: the role that it is attached to.
    Attached,
    Only(Vec<ArnPattern>),
    Except(Vec<ArnPattern>),
}

/// One question to a policy: may `caller` do `action` on `resource`?
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) caller: &'a Caller,
    /// The canonical id of the caller's account.
    pub(crate) canonical_id: Option<&'a str>,
    /// In lower case.
    pub(crate) action: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) context: &'a Context,
}

impl Actions {
    /// Whether the statement is about `action`, a name in lower case.
    pub(crate) fn cover(&self, action: &str) -> bool {
        self.patterns.iter().any(|(_, glob)| glob.matches(action)) != self.except
    }
}

impl Resources {
    /// Whether the statement is about `resource`; `None` if that can't be known.
    fn cover(&self, resource: &str, context: &Context) -> Option<bool> {
        match self {
            Self::Attached => Some(true),
            // A variable without a value matches nothing...
            Self::Only(patterns) => {
                Some(patterns.iter().any(|pattern| pattern.matches(resource, context) == Some(true)))
            }
            // ... which must not turn into "everything is meant".
            Self::Except(patterns) => condition::all(
                patterns.iter().map(|pattern| pattern.matches(resource, context).map(|matched| !matched)),
            ),
        }
    }
}

impl Statement {
    /// Whether what it applies to depends on a key, in lower case, that begins so.
    fn asks_for(&self, start: &str) -> bool {
        let about = match &self.resources {
            Resources::Attached => false,
            Resources::Only(patterns) | Resources::Except(patterns) => {
                patterns.iter().any(|pattern| pattern.asks_for(start))
            }
        };
        about || self.conditions.iter().any(|condition| condition.asks_for(start))
    }

    pub fn sid(&self) -> Option<&str> {
        self.sid.as_deref()
    }

    pub fn effect(&self) -> Effect {
        self.effect
    }

    pub fn principals(&self) -> &Principals {
        &self.principals
    }

    /// How it names the caller, if it applies.
    pub(crate) fn applies(&self, question: &Question<'_>) -> Option<Named> {
        if !self.actions.cover(question.action) {
            return None;
        }
        let named = self.principals.names(question.caller, question.canonical_id)?;
        let about = self.resources.cover(question.resource, question.context);
        let held = self.conditions.iter().map(|condition| condition.holds(question.context));
        let applies = condition::all(std::iter::once(about).chain(held));
        applies.unwrap_or(self.effect == Effect::Deny).then_some(named)
    }
}

impl Policy {
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    pub fn statements(&self) -> &[Statement] {
        &self.statements
    }

    /// Every principal it names: who puts it checks that they exist.
    pub fn principals(&self) -> impl Iterator<Item = &PrincipalName> {
        self.statements.iter().flat_map(|statement| match &statement.principals {
            Principals::Only(names) | Principals::Except(names) => names.as_slice(),
            Principals::Attached => &[],
        })
    }

    /// Whether a decision by it can depend on the tags of the object that is there: whether a condition or a
    /// variable names one. Without it nobody need look them up.
    pub fn asks_for_object_tags(&self) -> bool {
        self.statements.iter().any(|statement| statement.asks_for("s3:existingobjecttag/"))
    }

    /// The same of how the object is encrypted, which a request for a part of an upload doesn't say itself.
    pub fn asks_for_encryption(&self) -> bool {
        self.statements.iter().any(|statement| statement.asks_for("s3:x-amz-server-side-encryption"))
    }

    /// The first statement that denies.
    pub(crate) fn denies(&self, question: &Question<'_>) -> Option<usize> {
        self.statements
            .iter()
            .position(|statement| statement.effect == Effect::Deny && statement.applies(question).is_some())
    }

    /// The statement that allows most directly, and how it names the caller.
    pub(crate) fn allows(&self, question: &Question<'_>) -> Option<(usize, Named)> {
        let mut best: Option<(usize, Named)> = None;
        for (index, statement) in self.statements.iter().enumerate() {
            if statement.effect == Effect::Allow
                && let Some(named) = statement.applies(question)
                && best.is_none_or(|(_, earlier)| named > earlier)
            {
                best = Some((index, named));
            }
        }
        best
    }
}
