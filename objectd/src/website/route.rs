//! Where a website sends a browser instead of a page.

use super::rules::{Elsewhere, Pages, Redirect, Replace, RoutingRule};
use crate::auth::uri::uri_encode;

/// What a browser asks for.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// With its port, as the browser named it.
    pub host: &'a str,
    pub key: &'a str,
}

/// An answer that sends it elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirection {
    pub status: u16,
    pub location: String,
}

/// If a redirect doesn't say which.
const MOVED_PERMANENTLY: u16 = 301;

impl Elsewhere {
    pub fn redirection(&self, asked: Asked<'_>) -> Redirection {
        let scheme = self.protocol.map_or(asked.scheme, |protocol| protocol.as_str());
        Redirection { status: MOVED_PERMANENTLY, location: url(scheme, &self.host, asked.key) }
    }
}

impl Pages {
    /// Where a request goes before anything is looked for.
    pub fn before(&self, asked: Asked<'_>) -> Option<Redirection> {
        self.redirected(asked, None)
    }

    /// Where a request goes that would be answered with an error.
    pub fn instead_of(&self, status: u16, asked: Asked<'_>) -> Option<Redirection> {
        self.redirected(asked, Some(status))
    }

    fn redirected(&self, asked: Asked<'_>, status: Option<u16>) -> Option<Redirection> {
        let applies = |rule: &&RoutingRule| {
            rule.status == status && asked.key.starts_with(rule.prefix.as_deref().unwrap_or_default())
        };
        let rule = self.rules.iter().find(applies)?;
        Some(rule.redirect.redirection(rule.prefix.as_deref().unwrap_or_default(), asked))
    }

    /// The key of the page that a path means.
    pub fn page_of(&self, key: &str) -> String {
        if key.is_empty() || key.ends_with('/') { format!("{key}{}", self.index) } else { key.to_owned() }
    }
}

impl Redirect {
    fn redirection(&self, prefix: &str, asked: Asked<'_>) -> Redirection {
        let scheme = self.protocol.map_or(asked.scheme, |protocol| protocol.as_str());
        let key = match &self.replace {
            None => asked.key.to_owned(),
            Some(Replace::Key(key)) => key.clone(),
            Some(Replace::Prefix(new)) => format!("{new}{}", &asked.key[prefix.len()..]),
        };
        let location = url(scheme, self.host.as_deref().unwrap_or(asked.host), &key);
        Redirection { status: self.status.unwrap_or(MOVED_PERMANENTLY), location }
    }
}

fn url(scheme: &str, host: &str, key: &str) -> String {
    format!("{scheme}://{host}/{}", uri_encode(key.as_bytes(), true))
}

#[cfg(test)]
#[path = "route_test.rs"]
mod tests;
