//! Reads a website configuration, strictly.

use super::rules::{Elsewhere, Pages, Protocol, Redirect, Replace, RoutingRule, Website};
use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::{MAX_HOST_BYTES, MAX_KEY_BYTES, MAX_ROUTING_RULES};
use crate::xml::{self, Element};

impl Website {
    /// Errors: `MalformedXML`, and `InvalidArgument` and `InvalidRequest` for what AWS explains.
    pub fn parse(body: &[u8]) -> S3Result<Self> {
        let root = xml::parse(body, "WebsiteConfiguration")?;
        const NAMES: [&str; 4] = ["RedirectAllRequestsTo", "IndexDocument", "ErrorDocument", "RoutingRules"];
        match root.fields(NAMES)? {
            [Some(all), None, None, None] => {
                let [host, protocol] = all.fields(["HostName", "Protocol"])?;
                let host = host_of(host.ok_or_else(malformed)?)?;
                Ok(Self::RedirectAll(Elsewhere { host, protocol: protocol.map(protocol_of).transpose()? }))
            }
            [Some(_), ..] => Err(request(
                "RedirectAllRequestsTo cannot be provided in conjunction with other Routing Rules.",
            )),
            [None, Some(index), error, rules] => Ok(Self::Pages(Pages {
                index: suffix(index)?,
                error: error.map(error_key).transpose()?,
                rules: rules.map(rules_of).transpose()?.unwrap_or_default(),
            })),
            [None, None, ..] => Err(argument(
                "A value for IndexDocument Suffix must be provided if RedirectAllRequestsTo is empty",
                "IndexDocument",
            )),
        }
    }
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedXML)
}

fn request(why: impl Into<String>) -> S3Error {
    S3Error::with(S3Code::InvalidRequest, why.into())
}

fn argument(why: &'static str, name: &'static str) -> S3Error {
    S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", name)
}

fn suffix(index: &Element) -> S3Result<String> {
    let [Some(suffix)] = index.fields(["Suffix"])? else { return Err(malformed()) };
    let suffix = suffix.only_text()?;
    if suffix.is_empty() || suffix.contains('/') || suffix.len() > MAX_KEY_BYTES {
        return Err(argument("The IndexDocument Suffix is not well formed", "IndexDocument"));
    }
    Ok(suffix.to_owned())
}

fn error_key(error: &Element) -> S3Result<String> {
    let [Some(key)] = error.fields(["Key"])? else { return Err(malformed()) };
    let key = key.only_text()?;
    if key.is_empty() || key.len() > MAX_KEY_BYTES {
        return Err(argument("The ErrorDocument Key is not well formed", "ErrorDocument"));
    }
    Ok(key.to_owned())
}

/// What is sent back as a part of a URL must be one: letters, digits, and what names and ports have.
fn host_of(element: &Element) -> S3Result<String> {
    let host = element.only_text()?.trim();
    let good = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if host.is_empty() || host.len() > MAX_HOST_BYTES || !host.chars().all(good) {
        return Err(request("The provided HostName is not valid."));
    }
    Ok(host.to_owned())
}

fn protocol_of(element: &Element) -> S3Result<Protocol> {
    match element.only_text()?.trim() {
        "http" => Ok(Protocol::Http),
        "https" => Ok(Protocol::Https),
        _ => Err(request(
            "Invalid protocol, protocol can be http or https. If not defined the protocol will be selected \
             automatically.",
        )),
    }
}

fn rules_of(element: &Element) -> S3Result<Vec<RoutingRule>> {
    if element.children.is_empty() || element.children.iter().any(|child| child.name != "RoutingRule") {
        return Err(malformed());
    }
    let many = element.children.len();
    if many > MAX_ROUTING_RULES {
        return Err(request(format!(
            "The number of routing rules should not exceed allowed limit of {MAX_ROUTING_RULES} rules."
        )));
    }
    element.children.iter().map(rule_of).collect()
}

fn rule_of(element: &Element) -> S3Result<RoutingRule> {
    let [condition, redirect] = element.fields(["Condition", "Redirect"])?;
    let (mut prefix, mut status) = (None, None);
    if let Some(condition) = condition {
        let [starts, answered] = condition.fields(["KeyPrefixEquals", "HttpErrorCodeReturnedEquals"])?;
        if starts.is_none() && answered.is_none() {
            return Err(request(
                "Condition cannot be empty. To redirect all requests without a condition, the condition element shouldn't be present.",
            ));
        }
        prefix = starts.map(key_part).transpose()?;
        status = answered.map(|code| status_of(code, 400..600, "HTTP error", "4XX or 5XX")).transpose()?;
    }
    let redirect = redirect_of(redirect.ok_or_else(malformed)?)?;
    Ok(RoutingRule { prefix, status, redirect })
}

fn redirect_of(element: &Element) -> S3Result<Redirect> {
    const NAMES: [&str; 5] =
        ["HostName", "Protocol", "HttpRedirectCode", "ReplaceKeyPrefixWith", "ReplaceKeyWith"];
    if element.children.is_empty() {
        return Err(malformed());
    }
    let [host, protocol, code, prefix, key] = element.fields(NAMES)?;
    let replace = match (prefix, key) {
        (None, None) => None,
        (Some(prefix), None) => Some(Replace::Prefix(key_part(prefix)?)),
        (None, Some(key)) => Some(Replace::Key(key_part(key)?)),
        (Some(_), Some(_)) => {
            return Err(request("You can only define ReplaceKeyPrefix or ReplaceKey but not both."));
        }
    };
    Ok(Redirect {
        host: host.map(host_of).transpose()?,
        protocol: protocol.map(protocol_of).transpose()?,
        status: code.map(|code| status_of(code, 301..400, "HTTP redirect", "3XX except 300")).transpose()?,
        replace,
    })
}

fn key_part(element: &Element) -> S3Result<String> {
    let text = element.only_text()?;
    if text.len() > MAX_KEY_BYTES { Err(S3Error::new(S3Code::KeyTooLongError)) } else { Ok(text.to_owned()) }
}

fn status_of(element: &Element, valid: std::ops::Range<u16>, what: &str, which: &str) -> S3Result<u16> {
    let text = element.only_text()?.trim();
    text.parse().ok().filter(|code| valid.contains(code)).ok_or_else(|| {
        request(format!("The provided {what} code ({text}) is not valid. Valid codes are {which}."))
    })
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
