use super::*;

const REGION: &str = "ashlar-1";

fn queue(inner: &str) -> String {
    format!("<QueueConfiguration><Queue>arn:aws:sqs:ashlar-1::hook</Queue>{inner}</QueueConfiguration>")
}

fn filter(prefix: &str, suffix: &str) -> String {
    format!(
        "<Filter><S3Key><FilterRule><Name>prefix</Name><Value>{prefix}</Value></FilterRule>\
         <FilterRule><Name>Suffix</Name><Value>{suffix}</Value></FilterRule></S3Key></Filter>"
    )
}

fn parse(configurations: &[String]) -> S3Result<Notifications> {
    let body = format!("<NotificationConfiguration>{}</NotificationConfiguration>", configurations.concat());
    Notifications::parse(body.as_bytes(), REGION)
}

fn refused(configurations: &[String]) -> (S3Code, String) {
    let error = parse(configurations).unwrap_err();
    (error.code(), error.message().to_owned())
}

const PUT: &str = "<Event>s3:ObjectCreated:Put</Event>";

#[test]
fn what_is_written_is_read_again() {
    let topic = "<TopicConfiguration><Id>t</Id><Topic>arn:aws:sns:ashlar-1::other</Topic>\
                 <Event>s3:ObjectRemoved:*</Event><Event>s3:ObjectTagging:Delete</Event></TopicConfiguration>";
    let mut found = parse(&[queue(&(PUT.to_owned() + &filter("a/&lt;", ".jpg"))), topic.to_owned()]).unwrap();
    found.name(|| "made".to_owned());
    let text = found.xml().finish();
    assert_eq!(Notifications::parse(text.as_bytes(), REGION).unwrap(), found);
    assert!(text.contains("<FilterRule><Name>Prefix</Name><Value>a/&lt;</Value></FilterRule>"), "{text}");
    let routes = found.routes();
    assert_eq!((routes[0].webhook.as_str(), routes[0].configuration.as_str()), ("hook", "made"));
    assert!(routes[0].matches(EventKind::CreatedPut, "a/<x.jpg"));
    assert!(!routes[0].matches(EventKind::CreatedCopy, "a/<x.jpg"));
    assert!(
        !routes[0].matches(EventKind::CreatedPut, "a/<x.png")
            && !routes[0].matches(EventKind::CreatedPut, "x.jpg")
    );
    assert_eq!(routes[1].kinds, REMOVED | EventKind::TaggingDelete.bit());
    assert_eq!(found.arn_of("other"), Some("arn:aws:sns:ashlar-1::other"));
    assert!(parse(&[]).unwrap().is_empty());
}

#[test]
fn events_are_those_that_happen() {
    for (event, _) in EVENTS {
        assert!(parse(&[queue(&format!("<Event>{event}</Event>"))]).is_ok(), "{event}");
    }
    for event in NOT_OFFERED {
        assert_eq!(
            refused(&[queue(&format!("<Event>{event}</Event>"))]).0,
            S3Code::NotImplemented,
            "{event}"
        );
    }
    for event in ["", "s3:ObjectCreated", "s3:objectcreated:put", "s3:*", "ObjectCreated:Put", "s3:TestEvent"]
    {
        assert_eq!(
            refused(&[queue(&format!("<Event>{event}</Event>"))]).0,
            S3Code::InvalidArgument,
            "{event}"
        );
    }
    assert_eq!(refused(&[queue("")]).0, S3Code::MalformedXML);
}

#[test]
fn what_is_not_offered_is_said_to_be_so() {
    for name in ["CloudFunctionConfiguration", "LambdaFunctionConfiguration", "EventBridgeConfiguration"] {
        assert_eq!(refused(&[format!("<{name}/>")]).0, S3Code::NotImplemented, "{name}");
    }
    assert_eq!(refused(&["<Other/>".to_owned()]).0, S3Code::MalformedXML);
}

#[test]
fn destinations_are_webhooks_of_this_region() {
    let to = |element: &str, arn: &str| {
        refused(&[format!(
            "<{element}Configuration><{element}>{arn}</{element}>{PUT}</{element}Configuration>"
        )])
    };
    for (element, arn) in [
        ("Queue", "hook"),
        ("Queue", "arn:aws:sqs:ashlar-1:hook"),
        ("Queue", "arn:aws:sns:ashlar-1::hook"),
        ("Topic", "arn:aws:sqs:ashlar-1::hook"),
        ("Queue", "arn:aws:sqs:us-east-1::hook"),
        ("Queue", "arn:aws:sqs:ashlar-1:111122223333:hook"),
        ("Queue", "arn:aws:sqs:ashlar-1::"),
        ("Queue", "http://169.254.169.254/"),
    ] {
        assert_eq!(to(element, arn).0, S3Code::InvalidArgument, "{arn}");
    }
    let both = format!("<QueueConfiguration>{PUT}</QueueConfiguration>");
    assert_eq!(refused(&[both]).0, S3Code::MalformedXML);
}

#[test]
fn one_event_is_told_once() {
    let on = |event: &str, prefix: &str, suffix: &str| {
        queue(&format!("<Event>s3:Object{event}</Event>{}", filter(prefix, suffix)))
    };
    let ambiguous = [
        [on("Created:*", "", ""), on("Created:Put", "x", "y")],
        [on("Created:Put", "a", ""), on("Created:Put", "ab", "")],
        [on("Created:Put", "a", "png"), on("Created:Put", "a", "g")],
    ];
    for pair in ambiguous {
        let (code, why) = refused(&pair);
        assert!(code == S3Code::InvalidArgument && why.contains("ambiguously"), "{pair:?}: {why}");
    }
    let apart = [
        [on("Created:Put", "", ""), on("Created:Copy", "", "")],
        [on("Created:Put", "a", ""), on("Created:Put", "b", "")],
        [on("Created:Put", "a", "png"), on("Created:Put", "a", "jpg")],
    ];
    for pair in apart {
        assert!(parse(&pair).is_ok(), "{pair:?}");
    }
}

#[test]
fn filters_and_ids_are_bounded() {
    let rule = |name: &str, value: &str| {
        format!("<FilterRule><Name>{name}</Name><Value>{value}</Value></FilterRule>")
    };
    let keyed = |rules: &str| queue(&format!("{PUT}<Filter><S3Key>{rules}</S3Key></Filter>"));
    for bad in [
        rule("prefix", "a") + &rule("Prefix", "b"),
        rule("suffix", "a") + &rule("suffix", "a"),
        rule("infix", "a"),
        rule("prefix", &"x".repeat(1025)),
    ] {
        assert_eq!(refused(&[keyed(&bad)]).0, S3Code::InvalidArgument, "{bad}");
    }
    assert!(parse(&[keyed(&rule("prefix", &"x".repeat(1024)))]).is_ok());
    assert_eq!(refused(&[keyed("<FilterRule><Name>prefix</Name></FilterRule>")]).0, S3Code::MalformedXML);
    assert_eq!(refused(&[keyed("<Tag/>")]).0, S3Code::MalformedXML);
    let named =
        |id: &str, event: &str| queue(&format!("<Id>{id}</Id><Event>s3:ObjectCreated:{event}</Event>"));
    assert_eq!(refused(&[named("i", "Put"), named("i", "Copy")]).0, S3Code::InvalidArgument);
    assert_eq!(refused(&[named(&"i".repeat(256), "Put")]).0, S3Code::InvalidArgument);
    let many = |count: usize| -> Vec<String> {
        (0..count).map(|n| queue(&format!("{PUT}{}", filter(&format!("{n:04}"), "")))).collect()
    };
    assert!(parse(&many(MAX_EVENT_ROUTES)).is_ok());
    assert_eq!(refused(&many(MAX_EVENT_ROUTES + 1)).0, S3Code::InvalidArgument);
}
