//! AWS's documented examples, and the edges between them.

use super::*;
use crate::http_date::parse_iso_ms;
use proptest::prelude::*;

fn at(text: &str) -> u64 {
    parse_iso_ms(text).unwrap()
}

fn rules(text: &str) -> Lifecycle {
    Lifecycle::parse(format!("<LifecycleConfiguration>{text}</LifecycleConfiguration>").as_bytes()).unwrap()
}

fn rule(id: &str, filter: &str, action: &str) -> String {
    format!("<Rule><ID>{id}</ID><Filter>{filter}</Filter><Status>Enabled</Status>{action}</Rule>")
}

fn days(days: u32) -> String {
    format!("<Expiration><Days>{days}</Days></Expiration>")
}

fn subject(key: &str, last_modified_ms: u64) -> Subject<'_> {
    Subject { key, size: 1000, tags: &[], last_modified_ms }
}

/// User Guide, "Lifecycle rules: Based on an object's age".
#[test]
fn days_are_counted_from_creation_and_end_at_midnight() {
    let rules = rules(&rule("r", "", &days(3)));
    let due = |made: &str| rules.current(subject("k", at(made))).unwrap().at_ms;
    // "created on 1/15/2014 10:30 AM UTC and you specify 3 days": 1/19/2014 00:00 UTC.
    assert_eq!(due("2014-01-15T10:30:00Z"), at("2014-01-19T00:00:00Z"));
    assert_eq!(due("2014-01-15T00:00:00.001Z"), at("2014-01-19T00:00:00Z"));
    assert_eq!(due("2014-01-15T23:59:59.999Z"), at("2014-01-19T00:00:00Z"));
    assert_eq!(due("2014-01-15T00:00:00Z"), at("2014-01-18T00:00:00Z"));
    // A leap day, and the end of a year.
    assert_eq!(due("2016-02-27T12:00:00Z"), at("2016-03-02T00:00:00Z"));
    assert_eq!(due("2014-12-30T12:00:00Z"), at("2015-01-03T00:00:00Z"));
    assert_eq!(days_after(u64::MAX - 5, 1), u64::MAX);
}

/// The same page: "created at 1/1/2014 10:30 AM UTC ... becomes noncurrent at 1/15/2014 10:30 AM UTC".
#[test]
fn noncurrent_days_are_counted_from_the_next_newer_version() {
    let action =
        "<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration>";
    let rules = rules(&rule("r", "", action));
    let old = subject("k", at("2014-01-01T10:30:00Z"));
    let (due, keep) = rules.noncurrent(Some(old), "k", (at("2014-01-15T10:30:00Z"), 0)).unwrap();
    assert_eq!((due.at_ms, keep), (at("2014-01-19T00:00:00Z"), 0));
    assert_eq!(rules.current(old), None);
    assert!(rules.noncurrent(None, "k", (0, 0)).is_some(), "a delete marker is a version too");
}

#[test]
fn the_newest_of_noncurrent_versions_can_be_kept() {
    let of = |keep: u32, days: u32| {
        format!(
            "<NoncurrentVersionExpiration><NoncurrentDays>{days}</NoncurrentDays><NewerNoncurrentVersions>{keep}\
             </NewerNoncurrentVersions></NoncurrentVersionExpiration>"
        )
    };
    let rules = rules(&(rule("r", "", &of(3, 10)) + &rule("s", "", &of(5, 1))));
    let due = |newer| rules.noncurrent(None, "k", (0, newer)).map(|(due, keep)| (due.rule.to_owned(), keep));
    assert_eq!(due(2), None);
    assert_eq!(due(3), Some(("r".into(), 3)));
    assert_eq!(due(5), Some(("s".into(), 5)), "the earlier counts");
}

/// User Guide, "Examples of S3 Lifecycle configurations": filters by prefix, tags and sizes.
#[test]
fn filters_are_about_what_all_of_them_hold_for() {
    let tags = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    let (both, one, other) = (
        tags(&[("key1", "value1"), ("key2", "value2")]),
        tags(&[("key1", "value1")]),
        tags(&[("key1", "x")]),
    );
    let tag = |name: &str, value: &str| format!("<Tag><Key>{name}</Key><Value>{value}</Value></Tag>");
    let is_due = |filter: &str, key: &str, size: u64, tags: &[(String, String)]| {
        let rules = rules(&rule("r", filter, &days(1)));
        rules.current(Subject { key, size, tags, last_modified_ms: 0 }).is_some()
    };
    assert!(is_due("<Prefix>logs/</Prefix>", "logs/a", 1, &[]));
    assert!(
        !is_due("<Prefix>logs/</Prefix>", "log", 1, &[])
            && !is_due("<Prefix>logs/</Prefix>", "Logs/a", 1, &[])
    );
    let all = format!("<And><Prefix>p</Prefix>{}{}</And>", tag("key1", "value1"), tag("key2", "value2"));
    assert!(is_due(&all, "pk", 1, &both) && !is_due(&all, "pk", 1, &one) && !is_due(&all, "k", 1, &both));
    let single = tag("key1", "value1");
    assert!(
        is_due(&single, "k", 1, &both) && !is_due(&single, "k", 1, &other) && !is_due(&single, "k", 1, &[])
    );
    // "greater than 500" and "less than": neither has the bound itself.
    let larger = "<ObjectSizeGreaterThan>500</ObjectSizeGreaterThan>";
    assert!(is_due(larger, "k", 501, &[]) && !is_due(larger, "k", 500, &[]));
    let smaller = "<ObjectSizeLessThan>64000</ObjectSizeLessThan>";
    assert!(is_due(smaller, "k", 63_999, &[]) && !is_due(smaller, "k", 64_000, &[]));
    let range = format!("<And>{larger}{smaller}</And>");
    assert!(is_due(&range, "k", 501, &[]) && !is_due(&range, "k", 64_000, &[]));
}

/// User Guide, "Resolving conflicts": "the shorter expiration policy is honored".
#[test]
fn of_overlapping_rules_the_earliest_counts_and_disabled_ones_do_not() {
    let off = rule("off", "", &days(1)).replace("Enabled", "Disabled");
    let date = "<Expiration><Date>2014-01-20T00:00:00Z</Date></Expiration>";
    let rules = rules(
        &(off
            + &rule("year", "", &days(365))
            + &rule("month", "<Prefix>a/</Prefix>", &days(30))
            + &rule("day", "<Prefix>a/b</Prefix>", date)),
    );
    let by = |key: &str| rules.current(subject(key, at("2014-01-15T10:30:00Z"))).unwrap().rule.to_owned();
    assert_eq!((by("k"), by("a/c"), by("a/bc")), ("year".into(), "month".into(), "day".into()));
    assert_eq!(rules.prefixes(), [""]);
}

/// User Guide, "Removing expired object delete markers".
#[test]
fn lone_delete_markers_go_by_their_own_element_or_with_objects() {
    let at_once = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let due = |filter: &str, action: &str| {
        rules(&rule("r", filter, action)).lone_marker("k", at("2014-01-15T10:30:00Z")).map(|due| due.at_ms)
    };
    assert_eq!(due("", at_once), Some(0));
    assert_eq!(due("", &at_once.replace("true", "false")), None);
    assert_eq!(due("", &days(3)), Some(at("2014-01-19T00:00:00Z")));
    assert_eq!(due("<Prefix>x</Prefix>", at_once), None);
    // A marker has neither tags nor a size.
    assert_eq!(due("<Tag><Key>a</Key><Value/></Tag>", &days(3)), None);
    assert_eq!(due("<ObjectSizeLessThan>5</ObjectSizeLessThan>", &days(3)), None);
    assert_eq!(rules(&rule("r", "", at_once)).current(subject("k", 0)), None);
}

/// User Guide, "Configuring a bucket lifecycle configuration to delete incomplete multipart uploads".
#[test]
fn uploads_are_aborted_some_days_after_they_began() {
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>7</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    let rules = rules(&rule("r", "<Prefix>a/</Prefix>", abort));
    let began = at("2014-01-15T10:30:00Z");
    assert_eq!(rules.upload("a/k", began).map(|due| due.at_ms), Some(at("2014-01-23T00:00:00Z")));
    assert_eq!(rules.upload("b", began), None);
    assert_eq!((rules.upload_prefixes(), rules.prefixes()), (vec!["a/"], vec![]));
}

#[test]
fn prefixes_are_walked_once() {
    let rules = rules(
        &["b/c", "a", "b/", "a", "ab", "b0"]
            .map(|prefix| {
                rule(&format!("r{}", prefix.len()), &format!("<Prefix>{prefix}</Prefix>"), &days(1))
            })
            .iter()
            .enumerate()
            .map(|(at, rule)| rule.replace("<ID>", &format!("<ID>{at}")))
            .collect::<String>(),
    );
    assert_eq!(rules.prefixes(), ["a", "b/", "b0"]);
}

proptest! {
    #[test]
    fn days_end_at_the_first_midnight_that_is_not_before(from_ms in 0u64..4_000_000_000_000, days in 1u32..40_000) {
        let (due, end) = (days_after(from_ms, days), from_ms + u64::from(days) * DAY_MS);
        prop_assert!(due.is_multiple_of(DAY_MS) && due >= end && due - end < DAY_MS);
    }
}
