//! ARNs: `arn:partition:service:region:account:resource`, and patterns of them.
//!
//! The components of a pattern are compared one by one, so that a star in the account can't swallow what looks
//! like a bucket. A star at the end of a pattern with fewer components stands for all the rest.
//!
//! Source: IAM User Guide, "IAM JSON policy elements: Resource" and "Amazon Resource Name (ARN) condition
//! operators".

use crate::condition;
use crate::context::Context;
use crate::template::Template;

/// How many components an ARN has.
const COMPONENTS: usize = 6;

/// A pattern of ARNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ArnPattern {
    /// `*`
    Any,
    /// One variable, which stands for a whole ARN.
    Whole(Template),
    /// Six components, or fewer of which the last ends in a star.
    Components(Vec<Template>),
}

impl ArnPattern {
    pub(crate) fn new(template: &Template, text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        if template.is_one_variable() {
            return Ok(Self::Whole(template.clone()));
        }
        let parts = template.split_colons(COMPONENTS);
        let complete = parts.len() == COMPONENTS || parts.last().is_some_and(Template::ends_in_star);
        let prefix = parts.first().and_then(Template::literal).is_some_and(|first| first == "arn");
        if !complete || !prefix || parts.len() < 2 {
            return Err(format!(
                "{text:?} is no ARN; it must be arn:partition:service:region:account:resource"
            ));
        }
        Ok(Self::Components(parts))
    }

    /// Whether it matches; `None` if that depends on a variable without a value.
    pub(crate) fn matches(&self, arn: &str, context: &Context) -> Option<bool> {
        match self {
            Self::Any => Some(true),
            Self::Whole(template) => Some(template.resolve(context)?.matches(arn)),
            Self::Components(parts) => {
                let values: Vec<&str> = arn.splitn(parts.len(), ':').collect();
                if values.len() != parts.len() || arn.splitn(COMPONENTS, ':').count() != COMPONENTS {
                    return Some(false);
                }
                let matched = |(part, value): (&Template, &str)| Some(part.resolve(context)?.matches(value));
                condition::all(parts.iter().zip(values).map(matched))
            }
        }
    }

    /// Whether it waits for a value of a key, in lower case, that begins so.
    pub(crate) fn asks_for(&self, start: &str) -> bool {
        match self {
            Self::Any => false,
            Self::Whole(template) => template.asks_for(start),
            Self::Components(parts) => parts.iter().any(|part| part.asks_for(start)),
        }
    }

    /// Its `index`th component, if it is written out.
    pub(crate) fn component(&self, index: usize) -> Option<&Template> {
        match self {
            Self::Components(parts) if parts.len() == COMPONENTS => parts.get(index),
            _ => None,
        }
    }
}
