//! From a policy's text to a [`Policy`], or to what is wrong with it and where.
//!
//! Nothing is ever skipped: an element, operator, principal type or key that isn't known is an error.
//!
//! Source: IAM User Guide, "Grammar of the IAM JSON policy language"; S3 User Guide, "Bucket policies".

use std::collections::HashSet;

use crate::error::{Error, ErrorKind, Result};
use crate::json::Json;
use crate::limits;
use crate::parse_statement::{self, Place};
use crate::policy::{Kind, Policy};
use crate::template::Variables;

impl Policy {
    /// Parses and checks a policy for where it is to be attached.
    pub fn parse(text: &str, kind: Kind<'_>) -> Result<Self> {
        check_size(text, kind)?;
        let json: Json =
            serde_json::from_str(text).map_err(|error| Error::malformed("", format!("not JSON: {error}")))?;
        let mut id = None;
        let mut variables = Variables::Literal;
        let mut statement = None;
        for (name, value) in object(&json, "")? {
            match name.as_str() {
                "Version" => {
                    variables = match string(value, name)? {
                        "2012-10-17" => Variables::Resolve,
                        "2008-10-17" => Variables::Literal,
                        other => {
                            let message = format!("{other:?} is no version; write \"2012-10-17\"");
                            return Err(Error::malformed(name, message));
                        }
                    }
                }
                "Id" => id = Some(string(value, name)?.to_owned()),
                "Statement" => statement = Some(value),
                _ => return Err(Error::malformed(name, "no such element in a policy")),
            }
        }
        let statement = statement.ok_or_else(|| Error::malformed("", "the element Statement is missing"))?;
        let one = std::slice::from_ref(statement);
        let list = if let Json::List(list) = statement { list.as_slice() } else { one };
        if list.is_empty() {
            return Err(Error::malformed("Statement", "there must be at least one statement"));
        }
        let mut statements = Vec::with_capacity(list.len());
        let mut sids = HashSet::new();
        for (index, value) in list.iter().enumerate() {
            let at = format!("Statement[{index}]");
            let parsed = parse_statement::statement(value, &Place { at: &at, kind, variables })?;
            if let Some(sid) = parsed.sid()
                && !sids.insert(sid.to_owned())
            {
                return Err(Error::malformed(format!("{at}.Sid"), "two statements have this Sid"));
            }
            statements.push(parsed);
        }
        Ok(Self { id, statements })
    }
}

/// Characters that count towards IAM's limits: all but white space.
pub fn counted_chars(text: &str) -> usize {
    text.chars().filter(|c| !c.is_whitespace()).count()
}

fn check_size(text: &str, kind: Kind<'_>) -> Result<()> {
    let too_large = |limit: usize, unit: &str| {
        let message = format!("the policy is longer than {limit} {unit}");
        Err(Error::new(ErrorKind::TooLarge, "", message))
    };
    if text.len() > limits::MAX_TEXT_BYTES {
        return too_large(limits::MAX_TEXT_BYTES, "bytes");
    }
    let (size, limit, unit) = match kind {
        Kind::Bucket(_) => (text.len(), limits::MAX_BUCKET_POLICY_BYTES, "bytes"),
        Kind::Session => (text.chars().count(), limits::MAX_SESSION_CHARS, "characters"),
        Kind::UserInline => (counted_chars(text), limits::MAX_USER_INLINE_CHARS, "characters"),
        Kind::GroupInline => (counted_chars(text), limits::MAX_GROUP_INLINE_CHARS, "characters"),
        Kind::RoleInline => (counted_chars(text), limits::MAX_ROLE_INLINE_CHARS, "characters"),
        Kind::Managed => (counted_chars(text), limits::MAX_MANAGED_CHARS, "characters"),
        Kind::Trust => (counted_chars(text), limits::MAX_TRUST_CHARS, "characters"),
    };
    if size > limit { too_large(limit, unit) } else { Ok(()) }
}

pub(crate) fn object<'a>(json: &'a Json, at: &str) -> Result<&'a [(String, Json)]> {
    match json {
        Json::Object(members) => Ok(members),
        other => Err(Error::malformed(at, format!("must be an object, not {}", other.what()))),
    }
}

pub(crate) fn string<'a>(json: &'a Json, at: &str) -> Result<&'a str> {
    match json {
        Json::String(text) => Ok(text),
        other => Err(Error::malformed(at, format!("must be a string, not {}", other.what()))),
    }
}

/// One string or a list of at least one.
pub(crate) fn strings<'a>(json: &'a Json, at: &str) -> Result<Vec<&'a str>> {
    let Json::List(list) = json else { return Ok(vec![string(json, at)?]) };
    if list.is_empty() {
        return Err(Error::malformed(at, "the list is empty"));
    }
    list.iter().enumerate().map(|(index, value)| string(value, &format!("{at}[{index}]"))).collect()
}
