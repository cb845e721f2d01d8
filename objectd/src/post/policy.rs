//! The policy of a form: what whoever signed it lets others upload. Pure.
//!
//! Source: S3 API reference, "Creating a POST policy".

use super::form::Field;
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use serde_json::Value;

/// A policy, read strictly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostPolicy {
    expires_ms: u64,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    Equals { name: String, value: String },
    StartsWith { name: String, start: String },
    Length { least: u64, most: u64 },
}

/// How long the file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LengthRange {
    pub least: u64,
    pub most: u64,
}

/// Fields that need no condition: what proves the policy, and the file.
const FREE: [&str; 4] = ["policy", "x-amz-signature", "file", "bucket"];

impl PostPolicy {
    /// Errors: `InvalidPolicyDocument`.
    pub fn parse(text: &[u8]) -> S3Result<Self> {
        let document: Value =
            serde_json::from_slice(text).map_err(|error| invalid("Invalid JSON").source(error))?;
        let members = document.as_object().ok_or_else(|| invalid("Invalid JSON: it is no object"))?;
        if let Some(other) =
            members.keys().find(|name| !["expiration", "conditions"].contains(&name.as_str()))
        {
            return Err(invalid(&format!("Unexpected: '{other}'")));
        }
        let expiration = members.get("expiration").and_then(Value::as_str);
        let expiration = expiration.ok_or_else(|| invalid("Policy missing expiration."))?;
        let expires_ms = http_date::parse_iso_ms(expiration)
            .ok_or_else(|| invalid(&format!("Invalid 'expiration' value: '{expiration}'")))?;
        let conditions = members.get("conditions").and_then(Value::as_array);
        let conditions = conditions.ok_or_else(|| invalid("Policy missing conditions."))?;
        let mut all = Vec::new();
        for condition in conditions {
            Condition::parse(condition, &mut all)?;
        }
        Ok(Self { expires_ms, conditions: all })
    }

    /// Holds a form to the policy: every condition must be met, and every field named by one. `bucket` is the request's.
    ///
    /// Errors: `AccessDenied` with the condition that failed.
    pub fn check(&self, bucket: &str, fields: &[Field], now_ms: u64) -> S3Result<LengthRange> {
        if now_ms > self.expires_ms {
            return Err(denied("Policy expired."));
        }
        let value = |wanted: &str| match wanted {
            "bucket" => Some(bucket),
            _ => fields.iter().find(|field| field.name == wanted).map(|field| field.value.as_str()),
        };
        let mut range = LengthRange { least: 0, most: u64::MAX };
        for condition in &self.conditions {
            let met = match condition {
                Condition::Equals { name, value: wanted } => value(name) == Some(wanted),
                Condition::StartsWith { name, start } => {
                    value(name).is_some_and(|value| starts_with(name, value, start))
                }
                Condition::Length { least, most } => {
                    range = LengthRange { least: range.least.max(*least), most: range.most.min(*most) };
                    true
                }
            };
            if !met {
                return Err(denied(&format!("Policy Condition failed: {}", condition.shown())));
            }
        }
        let named = |field: &Field| {
            FREE.contains(&field.name.as_str())
                || field.name.starts_with("x-ignore-")
                || self.conditions.iter().any(|condition| condition.name() == Some(&field.name))
        };
        match fields.iter().find(|field| !named(field)) {
            Some(extra) => Err(denied(&format!("Extra input fields: {}", extra.name))),
            None => Ok(range),
        }
    }
}

impl Condition {
    /// One entry; an object may hold several conditions.
    fn parse(entry: &Value, all: &mut Vec<Condition>) -> S3Result<()> {
        let bad = || invalid(&format!("Invalid Condition: {entry}"));
        match entry {
            Value::Object(members) if !members.is_empty() => {
                for (name, value) in members {
                    let value = value.as_str().ok_or_else(bad)?.to_owned();
                    all.push(Self::Equals { name: name.to_ascii_lowercase(), value });
                }
            }
            Value::Array(entry) => all.push(match &entry[..] {
                [Value::String(kind), least, most] if kind.eq_ignore_ascii_case("content-length-range") => {
                    Self::Length { least: whole(least).ok_or_else(bad)?, most: whole(most).ok_or_else(bad)? }
                }
                [Value::String(kind), Value::String(name), Value::String(value)] => {
                    let name = name.strip_prefix('$').ok_or_else(bad)?.to_ascii_lowercase();
                    match kind.to_ascii_lowercase().as_str() {
                        "eq" => Self::Equals { name, value: value.clone() },
                        "starts-with" => Self::StartsWith { name, start: value.clone() },
                        _ => return Err(bad()),
                    }
                }
                _ => return Err(bad()),
            }),
            _ => return Err(bad()),
        }
        Ok(())
    }

    fn name(&self) -> Option<&String> {
        match self {
            Self::Equals { name, .. } | Self::StartsWith { name, .. } => Some(name),
            Self::Length { .. } => None,
        }
    }

    fn shown(&self) -> String {
        let entry = match self {
            Self::Equals { name, value } => ["eq".to_owned(), format!("${name}"), value.clone()],
            Self::StartsWith { name, start } => ["starts-with".to_owned(), format!("${name}"), start.clone()],
            Self::Length { least, most } => {
                ["content-length-range".to_owned(), least.to_string(), most.to_string()]
            }
        };
        Value::from(entry.to_vec()).to_string()
    }
}

/// Of `Content-Type` AWS takes a list, each entry of which must begin so.
fn starts_with(name: &str, value: &str, start: &str) -> bool {
    match name {
        "content-type" => value.split(',').all(|one| one.trim_start().starts_with(start)),
        _ => value.starts_with(start),
    }
}

/// A number, or one in quotes, as AWS's own examples have it both ways.
fn whole(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.parse().ok())
}

fn invalid(why: &str) -> S3Error {
    S3Error::with(S3Code::InvalidPolicyDocument, format!("Invalid Policy: {why}"))
}

fn denied(why: &str) -> S3Error {
    S3Error::with(S3Code::AccessDenied, format!("Invalid according to Policy: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_500_000_000_000;

    fn fields(pairs: &[(&str, &str)]) -> Vec<Field> {
        pairs.iter().map(|(name, value)| Field { name: (*name).into(), value: (*value).into() }).collect()
    }

    fn check(conditions: &str, pairs: &[(&str, &str)]) -> Result<LengthRange, S3Code> {
        let text = format!("{{\"expiration\": \"2017-07-14T02:40:00.000Z\", \"conditions\": {conditions}}}");
        let policy = PostPolicy::parse(text.as_bytes()).map_err(|error| error.code())?;
        policy.check("bucket", &fields(pairs), NOW).map_err(|error| error.code())
    }

    #[test]
    fn every_condition_must_be_met_and_every_field_named() {
        let any = LengthRange { least: 0, most: u64::MAX };
        let key = ("key", "user/a");
        let cases = [
            ("[]", vec![], true),
            ("[]", vec![key], false),
            ("[{\"key\": \"user/a\"}]", vec![key], true),
            ("[{\"KEY\": \"user/a\"}]", vec![key], true),
            ("[{\"key\": \"user/b\"}]", vec![key], false),
            ("[{\"key\": \"user/a\"}]", vec![], false),
            ("[[\"starts-with\", \"$key\", \"user/\"]]", vec![key], true),
            ("[[\"starts-with\", \"$key\", \"\"]]", vec![key], true),
            ("[[\"starts-with\", \"$key\", \"\"]]", vec![], false),
            ("[[\"starts-with\", \"$key\", \"other/\"]]", vec![key], false),
            ("[[\"EQ\", \"$Key\", \"user/a\"]]", vec![key], true),
            ("[{\"bucket\": \"bucket\"}, {\"key\": \"user/a\"}]", vec![key], true),
            ("[{\"bucket\": \"other\"}, {\"key\": \"user/a\"}]", vec![key], false),
            // What the form says of its bucket does not count.
            ("[{\"bucket\": \"other\"}]", vec![("bucket", "other")], false),
            ("[{\"key\": \"user/a\"}]", vec![key, ("acl", "public-read")], false),
            ("[{\"key\": \"user/a\"}]", vec![key, ("x-ignore-this", "x"), ("policy", "x")], true),
            (
                "[[\"starts-with\", \"$content-type\", \"image/\"]]",
                vec![("content-type", "image/a, image/b")],
                true,
            ),
            (
                "[[\"starts-with\", \"$content-type\", \"image/\"]]",
                vec![("content-type", "image/a,text/b")],
                false,
            ),
        ];
        for (conditions, pairs, allowed) in cases {
            let expected = if allowed { Ok(any) } else { Err(S3Code::AccessDenied) };
            assert_eq!(check(conditions, &pairs), expected, "{conditions} {pairs:?}");
        }
        let ranges = "[[\"content-length-range\", 5, \"10\"], [\"content-length-range\", 1, 7]]";
        assert_eq!(check(ranges, &[]), Ok(LengthRange { least: 5, most: 7 }));
    }

    #[test]
    fn a_policy_ends() {
        let policy =
            PostPolicy::parse(b"{\"expiration\":\"2017-07-14T02:40:00Z\",\"conditions\":[]}").unwrap();
        assert!(policy.check("bucket", &[], NOW).is_ok());
        assert_eq!(policy.check("bucket", &[], NOW + 1).unwrap_err().code(), S3Code::AccessDenied);
    }

    #[test]
    fn policies_are_read_strictly() {
        for bad in [
            "[\"key\", \"a\"]",
            "[{}]",
            "[[]]",
            "[\"x\"]",
            "[{\"key\": 1}]",
            "[[\"eq\", \"key\", \"a\"]]",
            "[[\"ends-with\", \"$key\", \"a\"]]",
            "[[\"eq\", \"$key\"]]",
            "[[\"content-length-range\", -1, 5]]",
            "[[\"content-length-range\", 1]]",
            "{}",
            "[{\"key\": \"a\"}], \"more\": 1",
        ] {
            assert_eq!(check(bad, &[]), Err(S3Code::InvalidPolicyDocument), "{bad}");
        }
        for bad in [
            "",
            "x",
            "[]",
            "{}",
            "{\"expiration\":\"2017-07-14T02:40:00Z\"}",
            "{\"conditions\":[]}",
            "{\"expiration\":\"tomorrow\",\"conditions\":[]}",
        ] {
            assert_eq!(
                PostPolicy::parse(bad.as_bytes()).unwrap_err().code(),
                S3Code::InvalidPolicyDocument,
                "{bad}"
            );
        }
    }
}
