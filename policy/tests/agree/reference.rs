//! The rules once more: slow, plain, straight from AWS's pages, on the policies' JSON. It shares no code with the
//! crate, so that one misreading has to be made twice to stay unseen.

use serde_json::Value;

/// One of the two things a condition is not always: known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tri {
    Yes,
    No,
    Unknown,
}
use Tri::{No, Unknown, Yes};

pub fn tri(value: bool) -> Tri {
    if value { Yes } else { No }
}

fn not(value: Tri) -> Tri {
    match value {
        Yes => No,
        No => Yes,
        Unknown => Unknown,
    }
}

fn every(values: &[Tri]) -> Tri {
    if values.contains(&No) {
        No
    } else if values.contains(&Unknown) {
        Unknown
    } else {
        Yes
    }
}

fn some(values: &[Tri]) -> Tri {
    if values.contains(&Yes) {
        Yes
    } else if values.contains(&Unknown) {
        Unknown
    } else {
        No
    }
}

pub type Keys = Vec<(String, Vec<String>)>;

fn look<'a>(keys: &'a Keys, name: &str) -> &'a [String] {
    keys.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or(&[], |(_, values)| values)
}

/// A character of a pattern, and whether it came from the policy's own text.
type Char = (char, bool);

/// Puts the values in; `None` if one is missing.
fn expand(text: &str, keys: &Keys, new: bool) -> Option<Vec<Char>> {
    let mut out = Vec::new();
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    while i < chars.len() {
        if new && chars[i] == '$' && chars.get(i + 1) == Some(&'{') {
            let end = (i..chars.len()).find(|&j| chars[j] == '}').expect("the generator closes braces");
            let inner: String = chars[i + 2..end].iter().collect();
            let value = match inner.as_str() {
                "*" | "?" | "$" => inner,
                _ => {
                    let name = inner.split(',').next().unwrap().trim();
                    let values = look(keys, name);
                    if values.len() == 1 { values[0].clone() } else { inner.split('\'').nth(1)?.to_owned() }
                }
            };
            out.extend(value.chars().map(|c| (c, false)));
            i = end + 1;
        } else {
            out.push((chars[i], true));
            i += 1;
        }
    }
    Some(out)
}

/// Every way of matching, by a table of (pattern's rest, text's rest).
fn like(pattern: &[Char], text: &[char]) -> bool {
    let mut table = vec![vec![false; text.len() + 1]; pattern.len() + 1];
    for p in (0..=pattern.len()).rev() {
        for t in (0..=text.len()).rev() {
            table[p][t] = if p == pattern.len() {
                t == text.len()
            } else {
                match pattern[p] {
                    ('*', true) => table[p + 1][t] || (t < text.len() && table[p][t + 1]),
                    ('?', true) => t < text.len() && table[p + 1][t + 1],
                    (c, _) => t < text.len() && text[t] == c && table[p + 1][t + 1],
                }
            };
        }
    }
    table[0][0]
}

fn like_text(pattern: &[Char], text: &str) -> bool {
    like(pattern, &text.chars().collect::<Vec<_>>())
}

fn arn_like(text: &str, arn: &str, keys: &Keys, new: bool) -> Tri {
    if text == "*" {
        return Yes;
    }
    if new && text.starts_with("${") && text.ends_with('}') && text.matches("${").count() == 1 {
        return expand(text, keys, new).map_or(Unknown, |pattern| tri(like_text(&pattern, arn)));
    }
    // Colons inside of a variable's braces don't cut.
    let mut parts = vec![String::new()];
    let mut depth = false;
    for (i, c) in text.char_indices() {
        depth = (depth || (new && text[i..].starts_with("${"))) && c != '}';
        if c == ':' && !depth && parts.len() < 6 {
            parts.push(String::new());
        } else {
            parts.last_mut().unwrap().push(c);
        }
    }
    let given: Vec<&str> = arn.splitn(6, ':').collect();
    if given.len() != 6 {
        return No;
    }
    let mut results = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        let rest = given[index..].join(":");
        let value = if index + 1 == parts.len() { rest.as_str() } else { given[index] };
        results.push(expand(part, keys, new).map_or(Unknown, |pattern| tri(like_text(&pattern, value))));
    }
    every(&results)
}

fn number(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let good = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    (digits.split('.').count() <= 2 && digits.split('.').all(good)).then(|| text.parse().unwrap())
}

/// Seconds since 1970, by counting days one year and one month at a time.
fn seconds(text: &str) -> Option<i64> {
    if text.len() > 4 && text.chars().all(|c| c.is_ascii_digit()) {
        return text.parse().ok();
    }
    let fields: Vec<i64> = text
        .split(['-', 'T', ':', 'Z'])
        .filter(|part| !part.is_empty())
        .map(|part| part.parse().ok())
        .collect::<Option<_>>()?;
    let field = |index: usize, missing: i64| fields.get(index).copied().unwrap_or(missing);
    let leap = |year: i64| (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let days: i64 = (1970..field(0, 1970)).map(|year| if leap(year) { 366 } else { 365 }).sum();
    let lengths = [31, if leap(field(0, 1970)) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let months: i64 = lengths.iter().take(usize::try_from(field(1, 1) - 1).ok()?).sum();
    Some(((days + months + field(2, 1) - 1) * 24 + field(3, 0)) * 3600 + field(4, 0) * 60 + field(5, 0))
}

fn bits(text: &str) -> Option<Vec<u8>> {
    let bytes = match text.parse().ok()? {
        std::net::IpAddr::V4(address) => address.octets().to_vec(),
        std::net::IpAddr::V6(address) => address.octets().to_vec(),
    };
    Some(bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| (byte >> bit) & 1)).collect())
}

fn order<T: PartialOrd>(name: &str, left: T, right: T) -> bool {
    match name {
        "Equals" => left == right,
        "LessThan" => left < right,
        "LessThanEquals" => left <= right,
        "GreaterThan" => left > right,
        "GreaterThanEquals" => left >= right,
        _ => unreachable!("{name}"),
    }
}

/// Whether one value of the request matches one of the policy, under a name without "Not".
fn one(base: &str, value: &str, wanted: &str, keys: &Keys, new: bool) -> Tri {
    let both = |left: Option<bool>| left.map_or(Unknown, tri);
    if let Some(name) = base.strip_prefix("Numeric") {
        return both(number(value).map(|left| order(name, left, number(wanted).unwrap())));
    }
    if let Some(name) = base.strip_prefix("Date") {
        return both(seconds(value).map(|left| order(name, left, seconds(wanted).unwrap())));
    }
    let plain = |text: &str| {
        expand(text, keys, new).map(|chars| chars.into_iter().map(|(c, _)| (c, false)).collect::<Vec<_>>())
    };
    match base {
        "StringEquals" => both(plain(wanted).map(|pattern| like_text(&pattern, value))),
        "StringEqualsIgnoreCase" => both(plain(wanted).map(|pattern| {
            let wanted: String = pattern.iter().map(|(c, _)| *c).collect();
            wanted.to_lowercase() == value.to_lowercase()
        })),
        "StringLike" => both(expand(wanted, keys, new).map(|pattern| like_text(&pattern, value))),
        "ArnEquals" | "ArnLike" => arn_like(wanted, value, keys, new),
        "Bool" => match value {
            "true" | "false" => tri(value == wanted),
            _ => Unknown,
        },
        "BinaryEquals" => {
            if value.len().is_multiple_of(4) && value.chars().all(|c| c.is_ascii_alphanumeric()) {
                tri(value == wanted)
            } else {
                Unknown
            }
        }
        "IpAddress" => {
            let (net, length) = wanted.split_once('/').unwrap_or((wanted, "999"));
            let length: usize = length.parse().unwrap();
            let Some(address) = bits(value) else { return Unknown };
            let net = bits(net).unwrap();
            tri(net.len() == address.len() && net.iter().zip(&address).take(length).all(|(a, b)| a == b))
        }
        _ => unreachable!("{base}"),
    }
}

/// One operator, one key.
pub fn condition(operator: &str, key: &str, wanted: &[String], keys: &Keys, new: bool) -> Tri {
    let present = look(keys, key);
    if operator == "Null" {
        return tri(wanted.iter().any(|wanted| (wanted == "true") == present.is_empty()));
    }
    let (set, rest) = operator.split_once(':').unwrap_or(("", operator));
    let optional = rest.ends_with("IfExists");
    let name = rest.strip_suffix("IfExists").unwrap_or(rest);
    let negated = name.contains("Not");
    let base = name.replace("Not", "");
    if present.is_empty() {
        return tri(set == "ForAllValues" || optional || (negated && set.is_empty()));
    }
    if !set.is_empty() && present.iter().all(|value| value.is_empty()) {
        return tri(set == "ForAllValues");
    }
    let text = base.starts_with("String") || base.starts_with("Arn");
    let results: Vec<Tri> = present
        .iter()
        .map(|value| {
            let each: Vec<Tri> = wanted
                .iter()
                .map(|wanted| match one(&base, value, wanted, keys, new) {
                    // A variable without a value: no match; what a negation may not turn into a yes.
                    Unknown if text && !negated => No,
                    result => result,
                })
                .collect();
            some(&each)
        })
        .collect();
    match (set, negated) {
        ("", false) | ("ForAnyValue", false) => some(&results),
        ("", true) => not(some(&results)),
        ("ForAllValues", false) => every(&results),
        ("ForAllValues", true) => every(&results.iter().map(|result| not(*result)).collect::<Vec<_>>()),
        _ => some(&results.iter().map(|result| not(*result)).collect::<Vec<_>>()),
    }
}

/// A value that may be one or a list.
fn list(value: &Value) -> Vec<String> {
    match value {
        Value::Array(values) => values.iter().flat_map(list).collect(),
        Value::String(text) => vec![text.clone()],
        other => vec![other.to_string()],
    }
}

#[derive(Clone, Debug)]
pub struct Who {
    /// `anonymous`, `root`, `user`, `role`, `federated`, `service`
    pub kind: &'static str,
    pub account: Option<String>,
    /// The user's ARN; or the role's, or the user's, and the session's.
    pub arns: Vec<String>,
    pub canonical: Option<String>,
}

/// How strongly the resource's side speaks for the caller: 1 its account, 2 it among others, 3 itself.
fn named(principal: &Value, who: &Who) -> u8 {
    let account = if who.kind == "root" { 3 } else { 1 };
    if principal == "*" {
        return 2;
    }
    let mut best = 0;
    for (kind, names) in principal.as_object().unwrap() {
        for name in list(names) {
            let strength = match kind.as_str() {
                "AWS" if name == "*" => 2,
                "AWS" if name.len() == 12 || name.ends_with(":root") => {
                    let number = who.account.clone().unwrap_or("-".into());
                    if name.contains(&number) { account } else { 0 }
                }
                "AWS" => match who.arns.iter().position(|arn| *arn == name) {
                    Some(at) if at + 1 == who.arns.len() => 3,
                    Some(_) => 2,
                    None => 0,
                },
                "CanonicalUser" if who.canonical.as_ref() == Some(&name) => account,
                "Service" if who.kind == "service" && who.arns == [name] => 3,
                _ => 0,
            };
            best = best.max(strength);
        }
    }
    best
}

/// Whether a list under NotPrincipal spares the caller.
fn spared(principal: &Value, who: &Who) -> bool {
    let everyone = principal == "*" || list(&principal["AWS"]).contains(&"*".to_owned());
    if everyone || who.kind == "anonymous" {
        return everyone;
    }
    if who.kind == "service" {
        return named(principal, who) > 0;
    }
    let names = list(&principal["AWS"]);
    let number = who.account.clone().unwrap();
    let account = names.iter().any(|name| *name == number || *name == format!("arn:aws:iam::{number}:root"))
        || who.canonical.as_ref().is_some_and(|id| list(&principal["CanonicalUser"]).contains(id));
    account && who.arns.iter().all(|arn| names.contains(arn))
}

/// How strongly a statement of the wanted effect speaks (0: it doesn't apply).
pub fn applies(statement: &Value, new: bool, who: &Who, action: &str, resource: &str, keys: &Keys) -> u8 {
    let deny = statement["Effect"] == "Deny";
    let acted = |name: &str| {
        list(&statement[name]).iter().any(|pattern| {
            let chars: Vec<Char> = pattern.to_lowercase().chars().map(|c| (c, true)).collect();
            like_text(&chars, &action.to_lowercase())
        })
    };
    let about_action = if statement.get("Action").is_some() { acted("Action") } else { !acted("NotAction") };
    let strength = match (statement.get("Principal"), statement.get("NotPrincipal")) {
        (Some(principal), _) => named(principal, who),
        (_, Some(principal)) if spared(principal, who) => 0,
        _ => 3,
    };
    let mut facts = Vec::new();
    if let Some(patterns) = statement.get("Resource") {
        facts.push(tri(list(patterns).iter().any(|text| arn_like(text, resource, keys, new) == Yes)));
    }
    if let Some(patterns) = statement.get("NotResource") {
        facts.extend(list(patterns).iter().map(|text| not(arn_like(text, resource, keys, new))));
    }
    for (operator, wanted) in statement["Condition"].as_object().into_iter().flatten() {
        for (key, wanted) in wanted.as_object().unwrap() {
            facts.push(condition(operator, key, &list(wanted), keys, new));
        }
    }
    let result = every(&facts);
    if about_action && (result == Yes || (result == Unknown && deny)) { strength } else { 0 }
}
