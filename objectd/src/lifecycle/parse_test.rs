//! What is a lifecycle configuration, and what AWS says of what is none.

use super::*;

fn parse(inner: &str) -> Result<Lifecycle, S3Code> {
    let body = format!("<LifecycleConfiguration>{inner}</LifecycleConfiguration>");
    Lifecycle::parse(body.as_bytes()).map_err(|error| error.code())
}

fn rule(inner: &str) -> Result<Lifecycle, S3Code> {
    parse(&format!("<Rule><Filter/><Status>Enabled</Status>{inner}</Rule>"))
}

const DAYS: &str = "<Expiration><Days>1</Days></Expiration>";

fn filtered(filter: &str) -> Result<Lifecycle, S3Code> {
    parse(&format!("<Rule><Filter>{filter}</Filter><Status>Enabled</Status>{DAYS}</Rule>"))
}

#[test]
fn what_is_written_reads_the_same() {
    let rules = parse(
        "<Rule><ID>all</ID><Filter><And><Prefix>a&amp;b/</Prefix><Tag><Key>k</Key><Value>v</Value></Tag>\
         <Tag><Key>e</Key><Value/></Tag><ObjectSizeGreaterThan>500</ObjectSizeGreaterThan>\
         <ObjectSizeLessThan>64000</ObjectSizeLessThan></And></Filter><Status>Enabled</Status><Expiration>\
         <Date>2030-01-01T00:00:00Z</Date></Expiration><NoncurrentVersionExpiration><NoncurrentDays>7</NoncurrentDays>\
         <NewerNoncurrentVersions>5</NewerNoncurrentVersions></NoncurrentVersionExpiration></Rule>\
         <Rule><Filter/><Status>Disabled</Status><Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker>\
         </Expiration><AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
         </AbortIncompleteMultipartUpload></Rule>\
         <Rule><Filter><Prefix/></Filter><Status>Enabled</Status><Expiration><Days>30</Days></Expiration></Rule>",
    );
    let mut rules = rules.unwrap();
    let mut count = 0;
    rules.name_rules(|| {
        count += 1;
        format!("new-{count}")
    });
    let ids: Vec<&str> = rules.rules.iter().map(|rule| rule.id.as_str()).collect();
    assert_eq!(ids, ["all", "new-1", "new-2"]);
    assert_eq!(rules.rules[0].expiration, Some(Expiration::Date(1_893_456_000_000)));
    let text = rules.xml().finish();
    assert_eq!(Lifecycle::parse(text.as_bytes()).unwrap(), rules, "{text}");
    let legacy = parse(&format!("<Rule><Prefix>p</Prefix><Status>Enabled</Status>{DAYS}</Rule>")).unwrap();
    assert_eq!(legacy.rules[0].filter.form, FilterForm::Legacy);
    let text = legacy.xml().finish();
    assert!(text.contains("<Prefix>p</Prefix><Status>") && !text.contains("Filter"), "{text}");
}

#[test]
fn a_document_of_another_shape_is_malformed() {
    let status = "<Status>Enabled</Status>";
    let bad = [
        String::new(),
        "<Other/>".into(),
        format!("<Rule>{status}{DAYS}</Rule>"),
        format!("<Rule><Filter/><Prefix/>{status}{DAYS}</Rule>"),
        format!("<Rule><Filter/>{DAYS}</Rule>"),
        format!("<Rule><Filter/><Status>enabled</Status>{DAYS}</Rule>"),
        format!("<Rule><Filter/>{status}{status}{DAYS}</Rule>"),
        format!("<Rule><Filter/>{status}{DAYS}{DAYS}</Rule>"),
        format!("<Rule><Filter/>{status}{DAYS}<Unknown/></Rule>"),
        format!("<Rule><Filter/><ID><b/></ID>{status}{DAYS}</Rule>"),
        format!("<Rule><Filter/>{status}{DAYS}</Rule>").repeat(1001),
    ];
    for bad in &bad {
        assert_eq!(parse(bad), Err(S3Code::MalformedXML), "{}", &bad[..bad.len().min(200)]);
    }
    assert!(parse(&bad[10][..bad[10].len() / 1001].repeat(1000)).is_ok());
    let actions = [
        "<Expiration/>",
        "<Expiration><Days>x</Days></Expiration>",
        "<Expiration><Days>1.5</Days></Expiration>",
        "<Expiration><Days>1</Days><Date>2030-01-01T00:00:00Z</Date></Expiration>",
        "<Expiration><Days>1</Days><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>",
        "<Expiration><ExpiredObjectDeleteMarker>yes</ExpiredObjectDeleteMarker></Expiration>",
        "<Expiration><Date>20300101</Date></Expiration>",
        "<Expiration><Weeks>1</Weeks></Expiration>",
        "<NoncurrentVersionExpiration/>",
        "<NoncurrentVersionExpiration><NewerNoncurrentVersions>1</NewerNoncurrentVersions></NoncurrentVersionExpiration>",
        "<AbortIncompleteMultipartUpload/>",
    ];
    for action in actions {
        assert_eq!(rule(action), Err(S3Code::MalformedXML), "{action}");
    }
    let filters = [
        "<Prefix>a</Prefix><Prefix>b</Prefix>",
        "<And/>",
        "<And><Prefix>a</Prefix></And>",
        "<And><Prefix>a</Prefix><Prefix>b</Prefix></And>",
        "<And><Prefix>a</Prefix><And/></And>",
        "<Tag><Key>a</Key></Tag>",
        "<Tag><Value>a</Value></Tag>",
        "<ObjectSizeLessThan>x</ObjectSizeLessThan>",
        "<Other>a</Other>",
    ];
    for filter in filters {
        assert_eq!(filtered(filter), Err(S3Code::MalformedXML), "{filter}");
    }
}

#[test]
fn values_are_within_what_aws_allows() {
    let of = |action: &str, value: &str| {
        let (outer, inner) = action.split_once(' ').unwrap();
        let days = "<NoncurrentDays>1</NoncurrentDays>";
        let before = if inner == "NewerNoncurrentVersions" { days } else { "" };
        rule(&format!("<{outer}>{before}<{inner}>{value}</{inner}></{outer}>")).map(|_| ())
    };
    let days = [
        "Expiration Days",
        "NoncurrentVersionExpiration NoncurrentDays",
        "NoncurrentVersionExpiration NewerNoncurrentVersions",
        "AbortIncompleteMultipartUpload DaysAfterInitiation",
    ];
    for action in days {
        for bad in ["0", "-1", "2147483648"] {
            assert_eq!(of(action, bad), Err(S3Code::InvalidArgument), "{action} {bad}");
        }
        assert_eq!(of(action, "100"), Ok(()), "{action}");
    }
    assert_eq!(of(days[0], "2147483647"), Ok(()));
    assert_eq!(of(days[2], "101"), Err(S3Code::InvalidArgument));
    assert_eq!(of("Expiration Date", "2030-01-01T00:00:01Z"), Err(S3Code::InvalidArgument));
    assert_eq!(of("Expiration Date", "2030-01-01T01:00:00+01:00"), Ok(()));
    let id = |id: String| {
        parse(&format!("<Rule><ID>{id}</ID><Filter/><Status>Enabled</Status>{DAYS}</Rule>")).map(|_| ())
    };
    assert_eq!(id("é".repeat(255)), Ok(()));
    assert_eq!(id("x".repeat(256)), Err(S3Code::InvalidArgument));
    let twice = format!("<Rule><ID>x</ID><Filter/><Status>Enabled</Status>{DAYS}</Rule>").repeat(2);
    assert_eq!(parse(&twice), Err(S3Code::InvalidArgument));
    let size = |name: &str, bytes: &str| filtered(&format!("<{name}>{bytes}</{name}>")).map(|_| ());
    assert_eq!(size("ObjectSizeGreaterThan", "0"), Ok(()));
    assert_eq!(size("ObjectSizeLessThan", "0"), Err(S3Code::InvalidArgument));
    assert_eq!(size("ObjectSizeGreaterThan", "-1"), Err(S3Code::InvalidArgument));
    assert_eq!(size("ObjectSizeLessThan", "5497558138881"), Err(S3Code::InvalidArgument));
    let prefix = |len: usize| filtered(&format!("<Prefix>{}</Prefix>", "p".repeat(len))).map(|_| ());
    assert_eq!((prefix(1024), prefix(1025)), (Ok(()), Err(S3Code::InvalidRequest)));
}

#[test]
fn what_does_not_go_together_is_an_invalid_request() {
    let tag = "<Tag><Key>a</Key><Value>b</Value></Tag>";
    let with = |filter: &str, action: &str| {
        parse(&format!("<Rule><Filter>{filter}</Filter><Status>Enabled</Status>{action}</Rule>")).map(|_| ())
    };
    let markers = "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
    let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
    let size = "<ObjectSizeGreaterThan>5</ObjectSizeGreaterThan>";
    for (filter, action) in [
        ("", ""),
        (tag, markers),
        (tag, abort),
        (size, markers),
        (size, abort),
        (&format!("<And>{tag}{tag}</And>"), DAYS),
        (&format!("<And>{size}<ObjectSizeLessThan>6</ObjectSizeLessThan></And>"), DAYS),
    ] {
        assert_eq!(with(filter, action), Err(S3Code::InvalidRequest), "{filter} {action}");
    }
    assert_eq!(with(&format!("<And>{size}<ObjectSizeLessThan>7</ObjectSizeLessThan></And>"), DAYS), Ok(()));
    let mixed = format!(
        "<Rule><Prefix>p</Prefix><Status>Enabled</Status>{DAYS}</Rule>\
         <Rule><Filter/><Status>Enabled</Status>{DAYS}</Rule>"
    );
    assert_eq!(parse(&mixed), Err(S3Code::InvalidRequest));
}

#[test]
fn transitions_are_refused_and_never_ignored() {
    for transition in [
        "<Transition><Days>1</Days><StorageClass>GLACIER</StorageClass></Transition>",
        "<NoncurrentVersionTransition><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionTransition>",
    ] {
        assert_eq!(rule(&format!("{DAYS}{transition}")), Err(S3Code::NotImplemented), "{transition}");
    }
}
