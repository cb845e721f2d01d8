//! Which pages of other sites may use a bucket: its CORS configuration, read strictly when it is put, and what it
//! says to a browser.
//!
//! Source: S3 User Guide, "Elements of a CORS configuration"; S3 API reference, PutBucketCors and "OPTIONS object".

use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::{MAX_CORS_ID_CHARS, MAX_CORS_RULES};
use crate::xml::{self, Element, XmlWriter};

const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

/// A bucket's rules. The first that matches decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cors {
    rules: Vec<Rule>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rule {
    id: Option<String>,
    /// With at most one star each.
    origins: Vec<String>,
    methods: Vec<String>,
    /// Names, with at most one star each.
    headers: Vec<String>,
    exposed: Vec<String>,
    max_age_s: Option<u32>,
}

/// What a browser asks for.
#[derive(Debug, Clone, Copy)]
pub struct CrossOrigin<'a> {
    pub origin: &'a str,
    pub method: &'a str,
    /// `Access-Control-Request-Headers`, of a preflight.
    pub headers: &'a str,
}

impl Cors {
    /// Errors: `MalformedXML`, and `InvalidRequest` for what AWS explains.
    pub fn parse(body: &[u8]) -> S3Result<Self> {
        let root = xml::parse(body, "CORSConfiguration")?;
        if root.children.iter().any(|child| child.name != "CORSRule") || root.children.is_empty() {
            return Err(S3Error::new(S3Code::MalformedXML));
        }
        if root.children.len() > MAX_CORS_RULES {
            return Err(invalid(format!(
                "The number of CORS rules should not exceed allowed limit of {MAX_CORS_RULES} rules."
            )));
        }
        let rules: S3Result<Vec<Rule>> = root.children.iter().map(Rule::parse).collect();
        Ok(Self { rules: rules? })
    }

    /// The rule for a request, if its page may make it.
    pub fn rule(&self, asked: CrossOrigin<'_>) -> Option<&Rule> {
        self.rules.iter().find(|rule| rule.allows(asked))
    }

    /// As it was put, in the order that AWS shows.
    pub fn xml(&self) -> XmlWriter {
        let mut xml = XmlWriter::new("CORSConfiguration");
        for rule in &self.rules {
            xml.start("CORSRule");
            xml.optional("ID", rule.id.as_deref());
            let lists = [
                ("AllowedMethod", &rule.methods),
                ("AllowedOrigin", &rule.origins),
                ("AllowedHeader", &rule.headers),
                ("ExposeHeader", &rule.exposed),
            ];
            for (name, values) in lists {
                values.iter().for_each(|value| xml.text(name, value));
            }
            if let Some(seconds) = rule.max_age_s {
                xml.value("MaxAgeSeconds", seconds);
            }
            xml.end();
        }
        xml
    }
}

impl Rule {
    fn parse(element: &Element) -> S3Result<Self> {
        let malformed = || S3Error::new(S3Code::MalformedXML);
        let mut rule = Self::default();
        for child in &element.children {
            let value = child.text.trim().to_owned();
            if !child.children.is_empty() || value.is_empty() {
                return Err(malformed());
            }
            match child.name.as_str() {
                "ID" if rule.id.is_none() && value.chars().count() <= MAX_CORS_ID_CHARS => {
                    rule.id = Some(value)
                }
                "AllowedOrigin" => rule.origins.push(one_star("AllowedOrigin", value)?),
                "AllowedMethod" if METHODS.contains(&value.as_str()) => rule.methods.push(value),
                "AllowedMethod" => {
                    return Err(invalid(format!(
                        "Found unsupported HTTP method in CORS config. Unsupported method is {value}"
                    )));
                }
                "AllowedHeader" => rule.headers.push(one_star("AllowedHeader", value)?),
                "ExposeHeader" if value.contains('*') => {
                    return Err(invalid(format!(
                        "ExposeHeader \"{value}\" contains wildcard. We currently do not support wildcard for \
                         ExposeHeader."
                    )));
                }
                "ExposeHeader" => rule.exposed.push(header_name(value)?),
                "MaxAgeSeconds" if rule.max_age_s.is_none() => {
                    let seconds = value.parse::<u32>().ok().filter(|seconds| i32::try_from(*seconds).is_ok());
                    rule.max_age_s = Some(seconds.ok_or_else(malformed)?);
                }
                _ => return Err(malformed()),
            }
        }
        if rule.origins.is_empty() || rule.methods.is_empty() {
            return Err(malformed());
        }
        Ok(rule)
    }

    fn allows(&self, asked: CrossOrigin<'_>) -> bool {
        let mut wanted = names(asked.headers);
        self.methods.iter().any(|method| method == asked.method)
            && self.origins.iter().any(|pattern| matches(pattern, asked.origin))
            && wanted
                .all(|name| self.headers.iter().any(|pattern| matches(&pattern.to_ascii_lowercase(), &name)))
    }

    /// The headers that tell a browser so.
    pub fn answer(&self, asked: CrossOrigin<'_>) -> Vec<(&'static str, String)> {
        // To everybody only if that is what the matching pattern says: credentials go with a name, never with a star.
        let matching = self.origins.iter().find(|pattern| matches(pattern, asked.origin));
        let everybody = matching.is_some_and(|pattern| pattern == "*");
        let mut headers = Vec::new();
        if everybody {
            headers.push(("access-control-allow-origin", "*".to_owned()));
        } else {
            headers.push(("access-control-allow-origin", asked.origin.to_owned()));
            headers.push(("access-control-allow-credentials", "true".to_owned()));
        }
        headers.push(("access-control-allow-methods", self.methods.join(", ")));
        let allowed: Vec<String> = names(asked.headers).collect();
        if !allowed.is_empty() {
            headers.push(("access-control-allow-headers", allowed.join(", ")));
        }
        if !self.exposed.is_empty() {
            headers.push(("access-control-expose-headers", self.exposed.join(", ")));
        }
        if let Some(seconds) = self.max_age_s {
            headers.push(("access-control-max-age", seconds.to_string()));
        }
        let vary = "Origin, Access-Control-Request-Headers, Access-Control-Request-Method";
        headers.push(("vary", vary.to_owned()));
        headers
    }
}

fn invalid(why: String) -> S3Error {
    S3Error::with(S3Code::InvalidRequest, why)
}

fn one_star(element: &str, value: String) -> S3Result<String> {
    if value.matches('*').count() > 1 {
        return Err(invalid(format!("{element} \"{value}\" can not have more than one wildcard.")));
    }
    Ok(value)
}

/// What is told to browsers must be the name of a header, or one could be made of it.
fn header_name(value: String) -> S3Result<String> {
    match http::HeaderName::from_bytes(value.as_bytes()) {
        Ok(_) => Ok(value),
        Err(_) => Err(S3Error::new(S3Code::MalformedXML)),
    }
}

/// The names of a list of headers, in lower case.
fn names(list: &str) -> impl Iterator<Item = String> + '_ {
    list.split(',').map(str::trim).filter(|name| !name.is_empty()).map(str::to_ascii_lowercase)
}

/// Whether a pattern with at most one star names `text`.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((start, end)) => {
            text.len() >= start.len() + end.len() && text.starts_with(start) && text.ends_with(end)
        }
    }
}

#[cfg(test)]
#[path = "cors_test.rs"]
mod tests;
