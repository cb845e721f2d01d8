//! A bucket's logging configuration, read strictly.

use crate::error::{S3Code, S3Error, S3Result};
use crate::http_date::{dashed, day};
use crate::limits::MAX_KEY_BYTES;
use crate::names;
use crate::xml::{self, Element, XmlWriter};

/// Which day the folders of a partitioned key name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DateSource {
    /// When the requests came: all of a log object came on that day.
    Event,
    Delivery,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum KeyFormat {
    /// The element is not there, which is the next.
    Default,
    Simple,
    Partitioned(DateSource),
}

/// Where a bucket's lines go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    pub target: String,
    pub prefix: String,
    format: KeyFormat,
}

/// Longest part of a key behind its prefix, with room for names of buckets and regions.
const MAX_SUFFIX_BYTES: usize = 256;

/// What a partitioned key names.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    pub account: &'a str,
    pub region: &'a str,
    pub bucket: &'a str,
}

impl Logging {
    /// `None` of a configuration that ends the logging.
    ///
    /// Errors: `MalformedXML`; `InvalidArgument`; `NotImplemented` for grants.
    pub fn parse(body: &[u8]) -> S3Result<Option<Self>> {
        let root = xml::parse(body, "BucketLoggingStatus")?;
        let [Some(enabled)] = root.fields(["LoggingEnabled"])? else { return Ok(None) };
        let names = ["TargetBucket", "TargetPrefix", "TargetGrants", "TargetObjectKeyFormat"];
        let [bucket, prefix, grants, format] = enabled.fields(names)?;
        if grants.is_some_and(|grants| !grants.children.is_empty()) {
            let why =
                "Grants on log objects are not offered: the target bucket's policy says who may read them.";
            return Err(S3Error::with(S3Code::NotImplemented, why).extra("Element", "TargetGrants"));
        }
        let target = bucket.ok_or_else(malformed)?.only_text()?.trim().to_owned();
        names::check_bucket(&target)?;
        let prefix = prefix.ok_or_else(malformed)?.only_text()?.to_owned();
        if prefix.len() > MAX_KEY_BYTES - MAX_SUFFIX_BYTES {
            let why = "The target prefix is too long: no log object could have a key behind it";
            return Err(S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", "TargetPrefix"));
        }
        let format = format.map_or(Ok(KeyFormat::Default), key_format)?;
        Ok(Some(Self { target, prefix, format }))
    }

    pub fn xml(logging: Option<&Self>) -> XmlWriter {
        let mut xml = XmlWriter::new("BucketLoggingStatus");
        let Some(Self { target, prefix, format }) = logging else { return xml };
        xml.start("LoggingEnabled");
        xml.text("TargetBucket", target);
        xml.text("TargetPrefix", prefix);
        if *format != KeyFormat::Default {
            xml.start("TargetObjectKeyFormat");
            match format {
                KeyFormat::Default | KeyFormat::Simple => {
                    xml.start("SimplePrefix");
                    xml.end();
                }
                KeyFormat::Partitioned(source) => {
                    xml.start("PartitionedPrefix");
                    xml.text(
                        "PartitionDateSource",
                        match source {
                            DateSource::Event => "EventTime",
                            DateSource::Delivery => "DeliveryTime",
                        },
                    );
                    xml.end();
                }
            }
            xml.end();
        }
        xml.end();
        xml
    }

    /// The key of a log object with requests of one day, delivered now, told from others by `unique`.
    pub fn key(&self, source: Source<'_>, (event_ms, now_ms): (u64, u64), unique: u64) -> String {
        const DAY_MS: u64 = 24 * 3_600_000;
        let Self { prefix, .. } = self;
        let Source { account, region, bucket } = source;
        let (at_ms, from) = match self.format {
            KeyFormat::Default | KeyFormat::Simple => {
                return format!("{prefix}{}-{unique:016X}", dashed(now_ms));
            }
            // AWS: hour, dashed and seconds are 00.
            KeyFormat::Partitioned(DateSource::Event) => {
                let midnight_ms = event_ms - event_ms % DAY_MS;
                (midnight_ms, day(midnight_ms))
            }
            KeyFormat::Partitioned(DateSource::Delivery) => (now_ms, day(now_ms)),
        };
        format!("{prefix}{account}/{region}/{bucket}/{from}/{}-{unique:016X}", dashed(at_ms))
    }
}

fn malformed() -> S3Error {
    S3Error::new(S3Code::MalformedXML)
}

fn key_format(element: &Element) -> S3Result<KeyFormat> {
    match element.fields(["SimplePrefix", "PartitionedPrefix"])? {
        [Some(simple), None] if simple.children.is_empty() && simple.text.trim().is_empty() => {
            Ok(KeyFormat::Simple)
        }
        [None, Some(partitioned)] => {
            let [source] = partitioned.fields(["PartitionDateSource"])?;
            // AWS: DeliveryTime if it isn't said.
            match source.map(Element::only_text).transpose()?.map(str::trim) {
                Some("EventTime") => Ok(KeyFormat::Partitioned(DateSource::Event)),
                None | Some("DeliveryTime") => Ok(KeyFormat::Partitioned(DateSource::Delivery)),
                Some(_) => Err(malformed()),
            }
        }
        _ => Err(malformed()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(inner: &str) -> Result<Option<Logging>, S3Code> {
        let body = format!("<BucketLoggingStatus>{inner}</BucketLoggingStatus>");
        Logging::parse(body.as_bytes()).map_err(|error| error.code())
    }

    fn enabled(more: &str) -> String {
        format!(
            "<LoggingEnabled><TargetBucket>logs</TargetBucket><TargetPrefix>p/&lt;</TargetPrefix>{more}</LoggingEnabled>"
        )
    }

    fn partitioned(source: &str) -> String {
        let source = format!("<PartitionDateSource>{source}</PartitionDateSource>");
        enabled(&format!(
            "<TargetObjectKeyFormat><PartitionedPrefix>{source}</PartitionedPrefix></TargetObjectKeyFormat>"
        ))
    }

    #[test]
    fn what_is_written_is_read_again() {
        let simple = enabled("<TargetObjectKeyFormat><SimplePrefix/></TargetObjectKeyFormat>");
        for text in [enabled(""), simple, partitioned("EventTime"), partitioned("DeliveryTime")] {
            let found = parse(&text).unwrap();
            let again = Logging::xml(found.as_ref()).finish();
            assert_eq!(Logging::parse(again.as_bytes()).unwrap(), found, "{text}");
            assert!(found.is_some_and(|found| found.target == "logs" && found.prefix == "p/<"));
        }
        assert_eq!(parse(""), Ok(None));
        assert!(!Logging::xml(None).finish().contains("LoggingEnabled"));
        assert!(!Logging::xml(parse(&enabled("")).unwrap().as_ref()).finish().contains("KeyFormat"));
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        let bad = [
            "<Other/>".to_owned(),
            "<LoggingEnabled/>".to_owned(),
            "<LoggingEnabled><TargetBucket>logs</TargetBucket></LoggingEnabled>".to_owned(),
            "<LoggingEnabled><TargetPrefix/></LoggingEnabled>".to_owned(),
            enabled("<Other/>"),
            enabled("<TargetObjectKeyFormat/>"),
            enabled("<TargetObjectKeyFormat><SimplePrefix/><PartitionedPrefix/></TargetObjectKeyFormat>"),
            partitioned("Today"),
        ];
        for text in bad {
            assert_eq!(parse(&text), Err(S3Code::MalformedXML), "{text}");
        }
        assert_eq!(parse(&enabled("<TargetGrants><Grant/></TargetGrants>")), Err(S3Code::NotImplemented));
        assert!(parse(&enabled("<TargetGrants/>")).is_ok());
        let long = enabled("").replace("p/&lt;", &"x".repeat(MAX_KEY_BYTES - MAX_SUFFIX_BYTES + 1));
        assert_eq!(parse(&long), Err(S3Code::InvalidArgument));
        assert_eq!(parse(&enabled("").replace("logs", "Not_A_Bucket")), Err(S3Code::InvalidBucketName));
    }

    #[test]
    fn keys_are_as_documented() {
        let source = Source { account: "111122223333", region: "ashlar-1", bucket: "buc" };
        // 2013-11-01 21:32:16, of requests of the day before.
        let (now_ms, event_ms) = (1_383_341_536_000, 1_383_341_536_000 - 24 * 3_600_000);
        let key = |text: &str| parse(text).unwrap().unwrap().key(source, (event_ms, now_ms), 0xe5);
        assert_eq!(key(&enabled("")), "p/<2013-11-01-21-32-16-00000000000000E5");
        let within = "p/<111122223333/ashlar-1/buc";
        assert_eq!(
            key(&partitioned("DeliveryTime")),
            format!("{within}/2013/11/01/2013-11-01-21-32-16-00000000000000E5")
        );
        assert_eq!(
            key(&partitioned("EventTime")),
            format!("{within}/2013/10/31/2013-10-31-00-00-00-00000000000000E5")
        );
    }
}
