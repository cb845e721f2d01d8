//! One statement: its elements, and which of them a policy of its kind has.

use std::collections::HashSet;

use crate::arn::ArnPattern;
use crate::condition::{Condition, Wanted};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::keys;
use crate::operator::Operator;
use crate::parse::{object, string, strings};
use crate::policy::{Actions, Effect, Kind, Resources, Statement};
use crate::principal::{PrincipalName, Principals};
use crate::s3_actions;
use crate::template::{Template, Variables, Wildcards};
use crate::wildcard::Glob;

/// Where in a policy the parser is, and what it knows of the policy.
pub(crate) struct Place<'a> {
    pub(crate) at: &'a str,
    pub(crate) kind: Kind<'a>,
    pub(crate) variables: Variables,
}

impl Place<'_> {
    fn under(&self, name: &str) -> String {
        format!("{}.{name}", self.at)
    }

    fn fail<T>(&self, name: &str, message: impl Into<String>) -> Result<T> {
        Err(Error::malformed(self.under(name), message))
    }
}

/// Which of a pair of elements was given.
struct Given<'a> {
    name: &'a str,
    value: &'a Json,
}

#[derive(Default)]
struct Elements<'a> {
    sid: Option<&'a str>,
    effect: Option<Effect>,
    principal: Option<Given<'a>>,
    action: Option<Given<'a>>,
    resource: Option<Given<'a>>,
    condition: Option<&'a Json>,
}

pub(crate) fn statement(json: &Json, place: &Place<'_>) -> Result<Statement> {
    let elements = elements(json, place)?;
    let Some(effect) = elements.effect else { return place.fail("Effect", "the element is missing") };
    let Some(action) = &elements.action else { return place.fail("Action", "the element is missing") };
    let actions = actions(action, place)?;
    let resources = resources(elements.resource.as_ref(), place)?;
    if let Kind::Bucket(bucket) = place.kind
        && !s3_actions::some_applies(&actions, &resources, bucket)
    {
        return place.fail("Action", "Action does not apply to any resource(s) in statement");
    }
    Ok(Statement {
        sid: elements.sid.map(str::to_owned),
        effect,
        principals: principals(elements.principal.as_ref(), effect, place)?,
        actions,
        resources,
        conditions: match elements.condition {
            Some(json) => conditions(json, place)?,
            None => Vec::new(),
        },
    })
}

fn elements<'a>(json: &'a Json, place: &Place<'_>) -> Result<Elements<'a>> {
    let mut found = Elements::default();
    for (name, value) in object(json, place.at)? {
        let pair = match name.as_str() {
            "Sid" => {
                found.sid = Some(sid(value, place)?);
                continue;
            }
            "Effect" => {
                found.effect = Some(match string(value, &place.under(name))? {
                    "Allow" => Effect::Allow,
                    "Deny" => Effect::Deny,
                    other => return place.fail(name, format!("{other:?} is neither Allow nor Deny")),
                });
                continue;
            }
            "Condition" => {
                found.condition = Some(value);
                continue;
            }
            "Principal" | "NotPrincipal" => &mut found.principal,
            "Action" | "NotAction" => &mut found.action,
            "Resource" | "NotResource" => &mut found.resource,
            _ => return place.fail(name, "no such element in a statement"),
        };
        if let Some(other) = pair {
            return place.fail(name, format!("it can't be given together with {}", other.name));
        }
        *pair = Some(Given { name, value });
    }
    Ok(found)
}

fn sid<'a>(json: &'a Json, place: &Place<'_>) -> Result<&'a str> {
    let sid = string(json, &place.under("Sid"))?;
    let free = matches!(place.kind, Kind::Bucket(_));
    let good = |c: char| c.is_ascii_alphanumeric() || (free && !c.is_control());
    if !sid.chars().all(good) {
        return place.fail("Sid", "only letters and digits may be in it");
    }
    Ok(sid)
}

fn principals(given: Option<&Given<'_>>, effect: Effect, place: &Place<'_>) -> Result<Principals> {
    let named = matches!(place.kind, Kind::Bucket(_) | Kind::Trust);
    let Given { name, value } = match (given, named) {
        (None, false) => return Ok(Principals::Attached),
        (None, true) => return place.fail("Principal", "the element is missing"),
        (Some(given), false) => return place.fail(given.name, "a policy of an identity names no principal"),
        (Some(given), true) => given,
    };
    let names = principal_names(value, name, place)?;
    if *name == "Principal" {
        return Ok(Principals::Only(names));
    }
    if place.kind == Kind::Trust {
        return place.fail(name, "a trust policy can't have it; use Principal");
    }
    if effect == Effect::Allow {
        return place.fail(name, "it is for Deny only: with Allow it would let in everybody else");
    }
    Ok(Principals::Except(names))
}

fn principal_names(json: &Json, name: &str, place: &Place<'_>) -> Result<Vec<PrincipalName>> {
    if let Json::String(text) = json {
        return match text.as_str() {
            "*" => Ok(vec![PrincipalName::Everyone]),
            _ => place.fail(name, format!("{text:?} is no principal; write \"*\" or {{\"AWS\": ...}}")),
        };
    }
    let mut names = Vec::new();
    for (kind, values) in object(json, &place.under(name))? {
        let at = format!("{name}.{kind}");
        for text in strings(values, &place.under(&at))? {
            let plain = !text.is_empty()
                && text.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '*' | '?' | '$'));
            let parsed = match kind.as_str() {
                "AWS" => PrincipalName::aws(text),
                "CanonicalUser" if place.kind != Kind::Trust => {
                    let hex = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
                    hex.then(|| PrincipalName::CanonicalUser(text.to_ascii_lowercase()))
                }
                "Federated" => {
                    (plain && text.contains(['.', ':'])).then(|| PrincipalName::Federated(text.into()))
                }
                "Service" => (plain && text.contains('.')).then(|| PrincipalName::Service(text.into())),
                _ => return place.fail(&at, "no such type of principal"),
            };
            match parsed {
                Some(parsed) => names.push(parsed),
                None => return place.fail(&at, format!("Invalid principal in policy: {text:?}")),
            }
        }
    }
    if names.is_empty() {
        return place.fail(name, "it names nobody");
    }
    Ok(names)
}

fn actions(given: &Given<'_>, place: &Place<'_>) -> Result<Actions> {
    let except = given.name == "NotAction";
    let mut patterns = Vec::new();
    for text in strings(given.value, &place.under(given.name))? {
        let lower = text.to_ascii_lowercase();
        let glob = Glob::new(&lower);
        if let Err(message) = check_action(text, &glob, place.kind) {
            return place.fail(given.name, message);
        }
        patterns.push((lower, glob));
    }
    Ok(Actions { except, patterns })
}

fn check_action(text: &str, glob: &Glob, kind: Kind<'_>) -> std::result::Result<(), String> {
    if text == "*" && kind != Kind::Trust {
        return Ok(());
    }
    let Some((service, name)) = text.split_once(':') else {
        return Err(format!("{text:?} is no action; it must be service:Name"));
    };
    let service_good = !service.is_empty() && service.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let name_good = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "*?-_".contains(c));
    if !service_good || !name_good {
        return Err(format!("{text:?} is no action; it must be service:Name"));
    }
    match kind {
        Kind::Bucket(_) if !s3_actions::known(glob) => {
            Err(format!("Policy has invalid action: S3 has none like {text:?}"))
        }
        Kind::Trust
            if !s3_actions::ASSUMING.iter().any(|action| glob.matches(&action.to_ascii_lowercase())) =>
        {
            Err("AssumeRole policy may only specify STS AssumeRole actions".to_owned())
        }
        _ => Ok(()),
    }
}

fn resources(given: Option<&Given<'_>>, place: &Place<'_>) -> Result<Resources> {
    let Given { name, value } = match (given, place.kind) {
        (None, Kind::Trust) => return Ok(Resources::Attached),
        (Some(given), Kind::Trust) => return place.fail(given.name, "Has prohibited field Resource"),
        (None, _) => return place.fail("Resource", "the element is missing"),
        (Some(given), _) => given,
    };
    let mut patterns = Vec::new();
    for text in strings(value, &place.under(name))? {
        match resource(text, place) {
            Ok(pattern) => patterns.push(pattern),
            Err(message) => return place.fail(name, message),
        }
    }
    Ok(if *name == "NotResource" { Resources::Except(patterns) } else { Resources::Only(patterns) })
}

fn resource(text: &str, place: &Place<'_>) -> std::result::Result<ArnPattern, String> {
    let template = Template::parse(text, Wildcards::Match, place.variables)?;
    let pattern = ArnPattern::new(&template, text)?;
    if let ArnPattern::Components(parts) = &pattern {
        let head = parts.iter().take(5);
        if head.clone().any(Template::has_variable) {
            return Err(format!("in {text:?} a variable stands before the resource"));
        }
        if parts.get(2).is_some_and(|service| service.literal().is_none() && parts.len() > 3) {
            return Err(format!("in {text:?} the service has a wildcard"));
        }
    } else if matches!(pattern, ArnPattern::Whole(_)) {
        return Err(format!("{text:?} is no ARN; only its resource can be a variable"));
    }
    match place.kind {
        Kind::Bucket(bucket) if !s3_actions::reaches(&pattern, bucket).any() => {
            Err(format!("Policy has invalid resource: {text:?} is neither the bucket {bucket:?} nor in it"))
        }
        _ => Ok(pattern),
    }
}

fn conditions(json: &Json, place: &Place<'_>) -> Result<Vec<Condition>> {
    let mut conditions: Vec<Condition> = Vec::new();
    for (name, keys) in object(json, &place.under("Condition"))? {
        let at = format!("Condition.{name}");
        let Some(operator) = Operator::parse(name) else { return place.fail(&at, "no such operator") };
        let mut seen = HashSet::new();
        for (key, values) in object(keys, &place.under(&at))? {
            let at = format!("{at}.{key}");
            let lower = key.to_ascii_lowercase();
            check_key(&lower, operator, place.kind).or_else(|message| place.fail(&at, message))?;
            if !seen.insert(lower.clone()) {
                return place.fail(&at, "the key is given twice");
            }
            let values = condition_values(values, operator, &at, place)?;
            conditions.push(Condition { operator, key: lower, values });
        }
    }
    Ok(conditions)
}

fn check_key(lower: &str, operator: Operator, kind: Kind<'_>) -> std::result::Result<(), String> {
    let named = lower.split_once(':').is_some_and(|(service, name)| !service.is_empty() && !name.is_empty());
    let plain = |c: char| c.is_alphanumeric() || " -_:/.@+=".contains(c);
    if !named || !lower.chars().all(plain) {
        return Err("no condition key; it must be service:name".to_owned());
    }
    match (keys::key_type(lower), kind) {
        (None, Kind::Bucket(_)) => Err("Policy has an invalid condition key".to_owned()),
        (Some(key_type), _) if !operator.suits(key_type) => {
            Err("the operator never holds for a key of this type".to_owned())
        }
        _ => Ok(()),
    }
}

fn condition_values(json: &Json, operator: Operator, at: &str, place: &Place<'_>) -> Result<Vec<Wanted>> {
    let one = std::slice::from_ref(json);
    let list = if let Json::List(list) = json { list.as_slice() } else { one };
    if list.is_empty() {
        return place.fail(at, "the list of values is empty");
    }
    let mut values = Vec::with_capacity(list.len());
    for value in list {
        let text = match value {
            Json::String(text) => text.clone(),
            Json::Bool(value) => value.to_string(),
            Json::Number(number) => number.to_string(),
            other => return place.fail(at, format!("a value must be a string, not {}", other.what())),
        };
        match Wanted::parse(operator.compare, &text, place.variables) {
            Ok(wanted) => values.push(wanted),
            Err(message) => return place.fail(at, message),
        }
    }
    Ok(values)
}
