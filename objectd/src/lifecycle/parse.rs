//! Reads a lifecycle configuration, strictly: what is not understood, or not offered, is refused and never ignored.

use super::rules::{Expiration, Filter, FilterForm, Lifecycle, Noncurrent, Rule};
use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date;
use crate::limits::{MAX_KEY_BYTES, MAX_LIFECYCLE_ID_CHARS, MAX_LIFECYCLE_RULES, MAX_OBJECT_BYTES};
use crate::xml::{self, Element};
use meta::limits::{MAX_NEWER_VERSIONS, MAX_TAG_NAME_CHARS, MAX_TAG_VALUE_CHARS, MAX_TAGS};
use std::collections::BTreeSet;

const DAY_MS: u64 = 24 * 3_600_000;

impl Lifecycle {
    /// Errors: `MalformedXML`; `InvalidRequest` and `InvalidArgument` for what AWS explains; `NotImplemented` for
    /// what is not offered.
    pub fn parse(body: &[u8]) -> S3Result<Self> {
        let root = xml::parse(body, "LifecycleConfiguration")?;
        let many = root.children.len();
        if many == 0 || many > MAX_LIFECYCLE_RULES || root.children.iter().any(|child| child.name != "Rule") {
            return Err(malformed());
        }
        let rules: S3Result<Vec<Rule>> = root.children.iter().map(rule).collect();
        let rules = rules?;
        let mut ids = BTreeSet::new();
        if !rules.iter().filter(|rule| !rule.id.is_empty()).all(|rule| ids.insert(rule.id.as_str())) {
            return Err(argument("Rule ID must be unique. Found same ID for more than one rule"));
        }
        let legacy = rules.iter().filter(|rule| rule.filter.form == FilterForm::Legacy).count();
        if legacy != 0 && legacy != rules.len() {
            let why = "Base level prefix cannot be used in Lifecycle V2, prefixes are only supported in the Filter.";
            return Err(request(why));
        }
        Ok(Self { rules })
    }
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedXML)
}

fn argument(why: impl Into<String>) -> S3Error {
    S3Error::with(S3Code::InvalidArgument, why.into())
}

fn request(why: &'static str) -> S3Error {
    S3Error::with(S3Code::InvalidRequest, why)
}

fn number(element: &Element) -> S3Result<i64> {
    element.only_text()?.trim().parse().map_err(|_| malformed())
}

/// A positive number that `why` says must be one.
fn positive(element: &Element, why: &'static str) -> S3Result<u32> {
    let number = i32::try_from(number(element)?).map_err(|_| argument(why))?;
    u32::try_from(number).ok().filter(|number| *number > 0).ok_or_else(|| argument(why))
}

fn rule(element: &Element) -> S3Result<Rule> {
    const NOT_OFFERED: [&str; 2] = ["Transition", "NoncurrentVersionTransition"];
    if element.children.iter().any(|child| NOT_OFFERED.contains(&child.name.as_str())) {
        let why = "Transitions are not offered: there is one storage class, STANDARD.";
        return Err(S3Error::with(S3Code::NotImplemented, why));
    }
    const NAMES: [&str; 7] = [
        "ID",
        "Status",
        "Prefix",
        "Filter",
        "Expiration",
        "NoncurrentVersionExpiration",
        "AbortIncompleteMultipartUpload",
    ];
    let [id, status, prefix, filter, expires, noncurrent, abort] = element.fields(NAMES)?;
    let id = id.map(Element::only_text).transpose()?.unwrap_or_default().to_owned();
    if id.chars().count() > MAX_LIFECYCLE_ID_CHARS {
        return Err(argument(format!(
            "ID length should not exceed allowed limit of {MAX_LIFECYCLE_ID_CHARS}"
        )));
    }
    let enabled = match status.ok_or_else(malformed)?.only_text()?.trim() {
        "Enabled" => true,
        "Disabled" => false,
        _ => return Err(malformed()),
    };
    let filter = match (prefix, filter) {
        (Some(prefix), None) => {
            Filter { form: FilterForm::Legacy, prefix: Some(prefix_of(prefix)?), ..Filter::default() }
        }
        (None, Some(filter)) => filter_of(filter)?,
        (None, None) | (Some(_), Some(_)) => return Err(malformed()),
    };
    let rule = Rule {
        id,
        filter,
        enabled,
        expiration: expires.map(expiration).transpose()?,
        noncurrent: noncurrent.map(noncurrent_of).transpose()?,
        abort_days: abort.map(abort_days).transpose()?,
    };
    check_together(&rule)?;
    Ok(rule)
}

fn check_together(rule: &Rule) -> S3Result<()> {
    let Rule { filter, expiration, noncurrent, abort_days, .. } = rule;
    if expiration.is_none() && noncurrent.is_none() && abort_days.is_none() {
        return Err(request("At least one action needs to be specified in a rule."));
    }
    let is_tagged = !filter.tags.is_empty();
    let is_sized = filter.larger_than.is_some() || filter.smaller_than.is_some();
    match expiration {
        Some(Expiration::LoneMarkers(_)) if is_tagged => {
            return Err(request("ExpiredObjectDeleteMarker cannot be specified with Tags."));
        }
        Some(Expiration::LoneMarkers(_)) if is_sized => {
            return Err(request("ExpiredObjectDeleteMarker cannot be specified with object size."));
        }
        _ => {}
    }
    match abort_days {
        Some(_) if is_tagged => Err(request("AbortIncompleteMultipartUpload cannot be specified with Tags.")),
        Some(_) if is_sized => {
            Err(request("AbortIncompleteMultipartUpload cannot be specified with object size."))
        }
        _ => Ok(()),
    }
}

fn prefix_of(element: &Element) -> S3Result<String> {
    let prefix = element.only_text()?;
    if prefix.len() > MAX_KEY_BYTES {
        return Err(request("The maximum size of a prefix is 1024."));
    }
    Ok(prefix.to_owned())
}

fn filter_of(element: &Element) -> S3Result<Filter> {
    let mut filter = Filter::default();
    let terms = match &element.children[..] {
        // Of everything.
        [] => return Ok(filter),
        [and] if and.name == "And" => {
            filter.form = FilterForm::And;
            if and.children.len() < 2 {
                return Err(malformed());
            }
            &and.children[..]
        }
        one @ [_] => one,
        _ => return Err(malformed()),
    };
    for term in terms {
        match term.name.as_str() {
            "Prefix" if filter.prefix.is_none() => filter.prefix = Some(prefix_of(term)?),
            "Tag" => filter.tags.push(tag(term)?),
            "ObjectSizeGreaterThan" if filter.larger_than.is_none() => {
                filter.larger_than = Some(size(term, 0)?);
            }
            "ObjectSizeLessThan" if filter.smaller_than.is_none() => {
                filter.smaller_than = Some(size(term, 1)?);
            }
            _ => return Err(malformed()),
        }
    }
    let names: BTreeSet<&str> = filter.tags.iter().map(|(name, _)| name.as_str()).collect();
    if names.len() != filter.tags.len() {
        return Err(request("Duplicate Tag Keys are not allowed."));
    }
    if filter.tags.len() > MAX_TAGS {
        return Err(request("A rule can be about at most 10 tags: an object has no more."));
    }
    match (filter.larger_than, filter.smaller_than) {
        // There must be a size between the two.
        (Some(larger), Some(smaller)) if smaller <= larger.saturating_add(1) => {
            Err(request("'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'."))
        }
        _ => Ok(filter),
    }
}

fn tag(element: &Element) -> S3Result<(String, String)> {
    let [Some(name), Some(value)] = element.fields(["Key", "Value"])? else { return Err(malformed()) };
    let (name, value) = (name.only_text()?, value.only_text()?);
    if !(1..=MAX_TAG_NAME_CHARS).contains(&name.chars().count()) {
        return Err(S3Error::with(S3Code::InvalidTag, "The TagKey you have provided is invalid"));
    }
    if value.chars().count() > MAX_TAG_VALUE_CHARS {
        return Err(S3Error::with(S3Code::InvalidTag, "The TagValue you have provided is invalid"));
    }
    Ok((name.to_owned(), value.to_owned()))
}

fn size(element: &Element, least: u64) -> S3Result<u64> {
    let bytes = u64::try_from(number(element)?).ok();
    bytes.filter(|bytes| (least..=MAX_OBJECT_BYTES).contains(bytes)).ok_or_else(|| {
        argument(format!("'{}' should be between {least} and {MAX_OBJECT_BYTES} bytes", element.name))
    })
}

fn expiration(element: &Element) -> S3Result<Expiration> {
    match element.fields(["Days", "Date", "ExpiredObjectDeleteMarker"])? {
        [Some(days), None, None] => {
            positive(days, "'Days' for Expiration action must be a positive integer").map(Expiration::Days)
        }
        [None, Some(date), None] => {
            let ms = http_date::parse_iso_ms(date.only_text()?).ok_or_else(malformed)?;
            if !ms.is_multiple_of(DAY_MS) {
                return Err(argument("'Date' must be at midnight GMT"));
            }
            Ok(Expiration::Date(ms))
        }
        [None, None, Some(markers)] => match markers.only_text()?.trim() {
            "true" => Ok(Expiration::LoneMarkers(true)),
            "false" => Ok(Expiration::LoneMarkers(false)),
            _ => Err(malformed()),
        },
        _ => Err(malformed()),
    }
}

fn noncurrent_of(element: &Element) -> S3Result<Noncurrent> {
    let [days, keep] = element.fields(["NoncurrentDays", "NewerNoncurrentVersions"])?;
    let why = "'NoncurrentDays' for NoncurrentVersionExpiration action must be a positive integer";
    let days = positive(days.ok_or_else(malformed)?, why)?;
    const KEEP: &str =
        "'NewerNoncurrentVersions' for NoncurrentVersionExpiration action must be between 1 and 100";
    let keep = keep.map(|keep| positive(keep, KEEP)).transpose()?;
    if keep.is_some_and(|keep| keep > MAX_NEWER_VERSIONS) {
        return Err(argument(KEEP));
    }
    Ok(Noncurrent { days, keep })
}

fn abort_days(element: &Element) -> S3Result<u32> {
    let [days] = element.fields(["DaysAfterInitiation"])?;
    let why = "'DaysAfterInitiation' for AbortIncompleteMultipartUpload action must be a positive integer";
    positive(days.ok_or_else(malformed)?, why)
}

#[cfg(test)]
#[path = "parse_test.rs"]
mod tests;
