//! A bucket's notification configuration, read strictly: what is not understood, or not offered, is refused.

use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::{MAX_EVENT_ID_CHARS, MAX_KEY_BYTES};
use crate::xml::{self, Element, XmlWriter};
use meta::event::{EventKind, EventRoute};
use meta::limits::MAX_EVENT_ROUTES;
use std::collections::BTreeSet;

const CREATED: u32 = EventKind::CreatedPut.bit()
    | EventKind::CreatedPost.bit()
    | EventKind::CreatedCopy.bit()
    | EventKind::CreatedComplete.bit();
const REMOVED: u32 = EventKind::RemovedDelete.bit() | EventKind::RemovedMarker.bit();
const TAGGED: u32 = EventKind::TaggingPut.bit() | EventKind::TaggingDelete.bit();
const EXPIRED: u32 = EventKind::ExpiredDelete.bit() | EventKind::ExpiredMarker.bit();

/// What can be asked for, and what it comes to.
const EVENTS: [(&str, u32); 15] = [
    ("s3:ObjectCreated:*", CREATED),
    ("s3:ObjectCreated:Put", EventKind::CreatedPut.bit()),
    ("s3:ObjectCreated:Post", EventKind::CreatedPost.bit()),
    ("s3:ObjectCreated:Copy", EventKind::CreatedCopy.bit()),
    ("s3:ObjectCreated:CompleteMultipartUpload", EventKind::CreatedComplete.bit()),
    ("s3:ObjectRemoved:*", REMOVED),
    ("s3:ObjectRemoved:Delete", EventKind::RemovedDelete.bit()),
    ("s3:ObjectRemoved:DeleteMarkerCreated", EventKind::RemovedMarker.bit()),
    ("s3:ObjectTagging:*", TAGGED),
    ("s3:ObjectTagging:Put", EventKind::TaggingPut.bit()),
    ("s3:ObjectTagging:Delete", EventKind::TaggingDelete.bit()),
    ("s3:ObjectAcl:Put", EventKind::AclPut.bit()),
    ("s3:LifecycleExpiration:*", EXPIRED),
    ("s3:LifecycleExpiration:Delete", EventKind::ExpiredDelete.bit()),
    ("s3:LifecycleExpiration:DeleteMarkerCreated", EventKind::ExpiredMarker.bit()),
];

/// What AWS has too, and never happens here.
const NOT_OFFERED: [&str; 15] = [
    "s3:ReducedRedundancyLostObject",
    "s3:ObjectRestore:*",
    "s3:ObjectRestore:Post",
    "s3:ObjectRestore:Completed",
    "s3:ObjectRestore:Delete",
    "s3:Replication:*",
    "s3:Replication:OperationFailedReplication",
    "s3:Replication:OperationNotTracked",
    "s3:Replication:OperationMissedThreshold",
    "s3:Replication:OperationReplicatedAfterThreshold",
    "s3:LifecycleTransition",
    "s3:IntelligentTiering",
    "s3:ObjectAnnotation:*",
    "s3:ObjectAnnotation:Put",
    "s3:ObjectAnnotation:Delete",
];

/// Which element a destination stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Service {
    Queue,
    Topic,
}

impl Service {
    const fn element(self) -> &'static str {
        match self {
            Self::Queue => "Queue",
            Self::Topic => "Topic",
        }
    }

    const fn configuration(self) -> &'static str {
        match self {
            Self::Queue => "QueueConfiguration",
            Self::Topic => "TopicConfiguration",
        }
    }

    /// As ARNs name it.
    const fn name(self) -> &'static str {
        match self {
            Self::Queue => "sqs",
            Self::Topic => "sns",
        }
    }
}

/// The ARN by which a configuration names a webhook, as a queue. One of a topic has `sns` in it.
pub fn arn_of(region: &str, webhook: &str) -> String {
    format!("arn:aws:sqs:{region}::{webhook}")
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Configuration {
    service: Service,
    id: String,
    arn: String,
    webhook: String,
    events: Vec<&'static str>,
    prefix: Option<String>,
    suffix: Option<String>,
}

/// What a bucket tells, and whom.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Notifications(Vec<Configuration>);

impl Notifications {
    /// Errors: `MalformedXML`; `InvalidArgument` for what AWS explains; `NotImplemented` for what is not offered.
    pub fn parse(body: &[u8], region: &str) -> S3Result<Self> {
        let root = xml::parse(body, "NotificationConfiguration")?;
        let mut found = Vec::with_capacity(root.children.len());
        for child in &root.children {
            let service = match child.name.as_str() {
                "QueueConfiguration" => Service::Queue,
                "TopicConfiguration" => Service::Topic,
                name @ ("CloudFunctionConfiguration"
                | "LambdaFunctionConfiguration"
                | "EventBridgeConfiguration") => {
                    let why = "Notifications go to webhooks, as queues or topics: there are no functions and no EventBridge.";
                    return Err(S3Error::with(S3Code::NotImplemented, why).extra("Element", name));
                }
                _ => return Err(malformed()),
            };
            found.push(Configuration::parse(service, child, region)?);
        }
        if found.len() > MAX_EVENT_ROUTES {
            let why = format!("A bucket has at most {MAX_EVENT_ROUTES} notification configurations");
            return Err(argument(why));
        }
        let mut ids = BTreeSet::new();
        if !found.iter().filter(|one| !one.id.is_empty()).all(|one| ids.insert(one.id.as_str())) {
            return Err(argument("Same ID used for multiple configurations. IDs must be unique"));
        }
        for (at, one) in found.iter().enumerate() {
            if found[..at].iter().any(|other| one.overlaps(other)) {
                return Err(argument(
                    "Configuration is ambiguously defined. Cannot have overlapping suffixes in two rules if the \
                     prefixes are overlapping for the same event type.",
                ));
            }
        }
        Ok(Self(found))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives those an id that have none.
    pub fn name(&mut self, mut id: impl FnMut() -> String) {
        for one in self.0.iter_mut().filter(|one| one.id.is_empty()) {
            one.id = id();
        }
    }

    /// As the control plane matches them.
    pub fn routes(&self) -> Vec<EventRoute> {
        let route = |one: &Configuration| EventRoute {
            webhook: one.webhook.clone(),
            configuration: one.id.clone(),
            kinds: one.kinds(),
            prefix: one.prefix.clone().unwrap_or_default(),
            suffix: one.suffix.clone().unwrap_or_default(),
        };
        self.0.iter().map(route).collect()
    }

    /// The ARN that names a webhook.
    pub fn arn_of(&self, webhook: &str) -> Option<&str> {
        self.0.iter().find(|one| one.webhook == webhook).map(|one| one.arn.as_str())
    }

    pub fn webhooks(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|one| one.webhook.as_str())
    }

    pub fn xml(&self) -> XmlWriter {
        let mut xml = XmlWriter::new("NotificationConfiguration");
        for one in &self.0 {
            xml.start(one.service.configuration());
            xml.text("Id", &one.id);
            xml.text(one.service.element(), &one.arn);
            for event in &one.events {
                xml.text("Event", event);
            }
            let rules = [("Prefix", &one.prefix), ("Suffix", &one.suffix)];
            if rules.iter().any(|(_, value)| value.is_some()) {
                xml.start("Filter");
                xml.start("S3Key");
                for (name, value) in rules {
                    if let Some(value) = value {
                        xml.start("FilterRule");
                        xml.text("Name", name);
                        xml.text("Value", value);
                        xml.end();
                    }
                }
                xml.end();
                xml.end();
            }
            xml.end();
        }
        xml
    }
}

impl Configuration {
    fn parse(service: Service, element: &Element, region: &str) -> S3Result<Self> {
        let (mut id, mut arn, mut filter, mut events) = (None, None, None, Vec::new());
        for child in &element.children {
            let single = match child.name.as_str() {
                "Event" => {
                    let event = event(child.only_text()?.trim())?;
                    if !events.contains(&event) {
                        events.push(event);
                    }
                    continue;
                }
                "Id" => &mut id,
                "Filter" => &mut filter,
                name if name == service.element() => &mut arn,
                _ => return Err(malformed()),
            };
            if single.replace(child).is_some() {
                return Err(malformed());
            }
        }
        let id = id.map(Element::only_text).transpose()?.unwrap_or_default().to_owned();
        if id.chars().count() > MAX_EVENT_ID_CHARS {
            return Err(argument(format!(
                "Id length should not exceed allowed limit of {MAX_EVENT_ID_CHARS}"
            )));
        }
        let arn = arn.ok_or_else(malformed)?.only_text()?.trim().to_owned();
        let webhook = webhook_of(service, &arn, region)?;
        if events.is_empty() {
            return Err(malformed());
        }
        let [prefix, suffix] = filter.map_or(Ok([None, None]), rules)?;
        Ok(Self { service, id, arn, webhook, events, prefix, suffix })
    }

    fn kinds(&self) -> u32 {
        let bits = |event: &&str| EVENTS.iter().find(|(name, _)| name == event).map_or(0, |(_, bits)| *bits);
        self.events.iter().map(bits).fold(0, |all, bits| all | bits)
    }

    /// Whether one event could be told by both.
    fn overlaps(&self, other: &Self) -> bool {
        let [a, b] = [self, other].map(|one| {
            (one.prefix.as_deref().unwrap_or_default(), one.suffix.as_deref().unwrap_or_default())
        });
        self.kinds() & other.kinds() != 0
            && (a.0.starts_with(b.0) || b.0.starts_with(a.0))
            && (a.1.ends_with(b.1) || b.1.ends_with(a.1))
    }
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedXML)
}

fn argument(why: impl Into<String>) -> S3Error {
    S3Error::with(S3Code::InvalidArgument, why.into())
}

/// AWS's words for a destination that isn't there, or that isn't this bucket's to use.
pub fn bad_destination(arn: &str) -> S3Error {
    unusable(arn, "The destination does not exist")
}

fn unusable(arn: &str, why: &'static str) -> S3Error {
    argument("Unable to validate the following destination configurations")
        .extra("ArgumentName", arn)
        .extra("ArgumentValue", why)
}

fn event(name: &str) -> S3Result<&'static str> {
    if let Some((known, _)) = EVENTS.iter().find(|(known, _)| *known == name) {
        return Ok(known);
    }
    if NOT_OFFERED.contains(&name) {
        let why = "Nothing of this kind happens in this store, so it can't be told.";
        return Err(S3Error::with(S3Code::NotImplemented, why).extra("Event", name));
    }
    Err(argument("A specified event is not supported for notifications.")
        .extra("ArgumentName", "Event")
        .extra("ArgumentValue", name))
}

fn webhook_of(service: Service, arn: &str, region: &str) -> S3Result<String> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, in_service, in_region, account, name] = parts[..] else {
        return Err(argument("The ARN is not well formed").extra("ArgumentName", arn));
    };
    if in_service != service.name() {
        return Err(unusable(arn, "The ARN is of another service than its configuration"));
    }
    if in_region != region {
        return Err(unusable(arn, "The notification destination service region is not valid for the bucket"));
    }
    if partition != "aws" || !account.is_empty() || name.is_empty() {
        return Err(bad_destination(arn));
    }
    Ok(name.to_owned())
}

/// The prefix and the suffix of a filter.
fn rules(filter: &Element) -> S3Result<[Option<String>; 2]> {
    let [key] = filter.fields(["S3Key"])?;
    let mut found = [None, None];
    for rule in key.map_or(&[][..], |key| &key.children) {
        if rule.name != "FilterRule" {
            return Err(malformed());
        }
        let [Some(name), Some(value)] = rule.fields(["Name", "Value"])? else { return Err(malformed()) };
        let (place, twice) = match name.only_text()?.trim().to_ascii_lowercase().as_str() {
            "prefix" => (&mut found[0], "Cannot specify more than one prefix rule in a filter."),
            "suffix" => (&mut found[1], "Cannot specify more than one suffix rule in a filter."),
            _ => return Err(argument("filter rule name must be either prefix or suffix")),
        };
        let value = value.only_text()?;
        if value.len() > MAX_KEY_BYTES {
            return Err(argument(
                "Size of filter rule value cannot exceed 1024 bytes in UTF-8 representation",
            ));
        }
        if place.replace(value.to_owned()).is_some() {
            return Err(argument(twice));
        }
    }
    Ok(found)
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
