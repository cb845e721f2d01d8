//! Conditions: AND over operators and keys, OR over values.
//!
//! A key's value that is not of the operator's type (`s3:max-keys` of "many") makes the condition neither true
//! nor false but unknown, and then nothing is gained: an Allow doesn't apply, a Deny does.
//!
//! Source: IAM User Guide, "Conditions with multiple context keys or values", "Set operators for multivalued
//! context keys" and "Condition operators".

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::arn::ArnPattern;
use crate::context::Context;
use crate::operator::{Compare, Operator, Order, Set};
use crate::template::{Template, Variables, Wildcards};
use crate::value::{Cidr, Decimal, Instant};

/// One value of a policy, ready to be compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted {
    Text(Template),
    TextIgnoreCase(Template),
    Number(Order, Decimal),
    Date(Order, Instant),
    Bool(bool),
    Binary(Vec<u8>),
    Address(Cidr),
    Arn(ArnPattern),
}

/// One key under one operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Condition {
    pub(crate) operator: Operator,
    /// In lower case.
    pub(crate) key: String,
    /// Empty never: the parser refuses that.
    pub(crate) values: Vec<Wanted>,
}

impl Wanted {
    pub(crate) fn parse(compare: Compare, text: &str, variables: Variables) -> Result<Self, String> {
        let not = |what: &str| format!("{text:?} is no {what}");
        let template = |wildcards| Template::parse(text, wildcards, variables);
        Ok(match compare {
            Compare::Text => Self::Text(template(Wildcards::Literal)?),
            Compare::TextIgnoreCase => {
                let folded = Template::parse(&fold(text), Wildcards::Literal, variables)?;
                Self::TextIgnoreCase(folded)
            }
            Compare::TextLike => Self::Text(template(Wildcards::Match)?),
            Compare::Number(order) => Self::Number(order, Decimal::parse(text).ok_or_else(|| not("number"))?),
            Compare::Date(order) => {
                Self::Date(order, Instant::parse(text).ok_or_else(|| not("date of ISO 8601 or seconds"))?)
            }
            Compare::Bool | Compare::Null => {
                Self::Bool(truth(text).ok_or_else(|| not("boolean; write true or false"))?)
            }
            Compare::Binary => Self::Binary(STANDARD.decode(text).map_err(|_| not("Base64"))?),
            Compare::Address => Self::Address(Cidr::parse(text).ok_or_else(|| not("address or CIDR range"))?),
            Compare::Arn => Self::Arn(ArnPattern::new(&template(Wildcards::Match)?, text)?),
        })
    }

    /// Whether a request's value equals it; `None` if the value isn't of its type, or a variable has no value.
    fn equals(&self, value: &str, context: &Context) -> Option<bool> {
        Some(match self {
            Self::Text(template) => template.resolve(context)?.matches(value),
            Self::TextIgnoreCase(template) => template.resolve_folded(context)?.matches(&fold(value)),
            Self::Number(order, wanted) => order.holds(Decimal::parse(value)?, *wanted),
            Self::Date(order, wanted) => order.holds(Instant::parse(value)?, *wanted),
            Self::Bool(wanted) => truth(value)? == *wanted,
            Self::Binary(wanted) => STANDARD.decode(value).ok()? == *wanted,
            Self::Address(range) => range.contains(value.parse::<IpAddr>().ok()?),
            Self::Arn(pattern) => pattern.matches(value, context)?,
        })
    }

    /// Whether it waits for a value of a key, in lower case, that begins so.
    fn asks_for(&self, start: &str) -> bool {
        match self {
            Self::Text(template) | Self::TextIgnoreCase(template) => template.asks_for(start),
            Self::Arn(pattern) => pattern.asks_for(start),
            Self::Number(..) | Self::Date(..) | Self::Bool(_) | Self::Binary(_) | Self::Address(_) => false,
        }
    }

    /// Whether it can have variables. Without a value those match nothing; under a negated operator that would
    /// let an Allow apply to whom nobody thought of, so there it is unknown.
    fn is_template(&self) -> bool {
        matches!(self, Self::Text(_) | Self::TextIgnoreCase(_) | Self::Arn(_))
    }
}

/// Lower case, character by character: what a variable stands for is folded apart from the text around it.
pub(crate) fn fold(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

fn truth(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// All of `values` in the logic with "unknown": one false decides, else one unknown.
pub(crate) fn all(values: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut result = Some(true);
    for value in values {
        match value {
            Some(false) => return Some(false),
            None => result = None,
            Some(true) => {}
        }
    }
    result
}

/// Any of `values`: one true decides, else one unknown.
fn any(values: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    all(values.into_iter().map(|value| value.map(|value| !value))).map(|none| !none)
}

impl Condition {
    /// Whether it is about a key, in lower case, that begins so, or compares with one's value.
    pub(crate) fn asks_for(&self, start: &str) -> bool {
        self.key.starts_with(start) || self.values.iter().any(|wanted| wanted.asks_for(start))
    }

    /// Whether it holds; `None` if that can't be known.
    pub(crate) fn holds(&self, context: &Context) -> Option<bool> {
        let present = context.all(&self.key);
        let Operator { compare, negated, set, if_exists } = self.operator;
        if compare == Compare::Null {
            let missing = present.is_empty();
            return Some(self.values.contains(&Wanted::Bool(missing)));
        }
        if present.is_empty() {
            return Some(match set {
                Set::One => if_exists || negated,
                Set::All => true,
                Set::Any => if_exists,
            });
        }
        // AWS: for the set operators, values that are all empty are as none.
        if set != Set::One && present.iter().all(String::is_empty) {
            return Some(set == Set::All);
        }
        let equals = |wanted: &Wanted, value: &String| {
            wanted.equals(value, context).or((!negated && wanted.is_template()).then_some(false))
        };
        let matches = |value: &String| any(self.values.iter().map(|wanted| equals(wanted, value)));
        let holds = |value: &String| matches(value).map(|matched| matched != negated);
        match set {
            Set::All => all(present.iter().map(holds)),
            Set::Any => any(present.iter().map(holds)),
            // A negated operator without a prefix: no value may match (NOR).
            Set::One => any(present.iter().map(matches)).map(|matched| matched != negated),
        }
    }
}
