use super::*;

fn document(rules: &str) -> String {
    format!(
        "<CORSConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</CORSConfiguration>"
    )
}

fn parse(rules: &str) -> Result<Cors, S3Code> {
    Cors::parse(document(rules).as_bytes()).map_err(|error| error.code())
}

fn rule(rest: &str) -> String {
    format!(
        "<CORSRule><AllowedOrigin>https://a.test</AllowedOrigin><AllowedMethod>GET</AllowedMethod>{rest}</CORSRule>"
    )
}

#[test]
fn what_is_put_is_shown_and_read_again() {
    let rules = "<CORSRule><ID>one</ID><AllowedMethod>GET</AllowedMethod><AllowedMethod>PUT</AllowedMethod>\
                 <AllowedOrigin>https://*.test</AllowedOrigin><AllowedHeader>x-amz-*</AllowedHeader>\
                 <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>3000</MaxAgeSeconds></CORSRule>";
    let cors = parse(rules).unwrap();
    let shown = cors.xml().finish();
    assert!(shown.ends_with(&document(rules)), "{shown}");
    assert_eq!(Cors::parse(shown.as_bytes()).unwrap(), cors);
}

#[test]
fn configurations_are_read_strictly() {
    assert!(parse(&rule("").repeat(100)).is_ok());
    let long = format!("<ID>{}</ID>", "x".repeat(256));
    let cases = [
        (String::new(), S3Code::MalformedXML),
        (rule("").repeat(101), S3Code::InvalidRequest),
        ("<CORSRule/>".to_owned(), S3Code::MalformedXML),
        ("<Other/>".to_owned(), S3Code::MalformedXML),
        ("<CORSRule><AllowedOrigin>*</AllowedOrigin></CORSRule>".to_owned(), S3Code::MalformedXML),
        ("<CORSRule><AllowedMethod>GET</AllowedMethod></CORSRule>".to_owned(), S3Code::MalformedXML),
        (rule("<AllowedMethod>PATCH</AllowedMethod>"), S3Code::InvalidRequest),
        (rule("<AllowedMethod>get</AllowedMethod>"), S3Code::InvalidRequest),
        (rule("<AllowedOrigin>*.*</AllowedOrigin>"), S3Code::InvalidRequest),
        (rule("<AllowedHeader>**</AllowedHeader>"), S3Code::InvalidRequest),
        (rule("<ExposeHeader>x-*</ExposeHeader>"), S3Code::InvalidRequest),
        (rule("<ExposeHeader>a b</ExposeHeader>"), S3Code::MalformedXML),
        (rule("<ExposeHeader>a&#13;&#10;b</ExposeHeader>"), S3Code::MalformedXML),
        (rule("<MaxAgeSeconds>-1</MaxAgeSeconds>"), S3Code::MalformedXML),
        (rule("<MaxAgeSeconds>x</MaxAgeSeconds>"), S3Code::MalformedXML),
        (rule("<MaxAgeSeconds>1</MaxAgeSeconds><MaxAgeSeconds>1</MaxAgeSeconds>"), S3Code::MalformedXML),
        (rule("<AllowedOrigin/>"), S3Code::MalformedXML),
        (rule("<AllowedOrigins>*</AllowedOrigins>"), S3Code::MalformedXML),
        (rule("<ID>a</ID><ID>b</ID>"), S3Code::MalformedXML),
        (rule(&long), S3Code::MalformedXML),
    ];
    for (rules, code) in cases {
        assert_eq!(parse(&rules).err(), Some(code), "{rules}");
    }
    assert_eq!(Cors::parse(b"").unwrap_err().code(), S3Code::MalformedXML);
}

#[test]
fn the_first_rule_that_matches_decides() {
    let cors = parse(
        "<CORSRule><AllowedOrigin>https://*.a.test</AllowedOrigin><AllowedMethod>PUT</AllowedMethod>\
         <AllowedHeader>X-Amz-*</AllowedHeader><AllowedHeader>content-type</AllowedHeader></CORSRule>\
         <CORSRule><AllowedOrigin>*</AllowedOrigin><AllowedMethod>GET</AllowedMethod>\
         <ExposeHeader>ETag</ExposeHeader><MaxAgeSeconds>5</MaxAgeSeconds></CORSRule>",
    )
    .unwrap();
    let shown = |origin, method, headers| {
        let asked = CrossOrigin { origin, method, headers };
        cors.rule(asked).map(|rule| rule.answer(asked))
    };
    let vary = ("vary", "Origin, Access-Control-Request-Headers, Access-Control-Request-Method".to_owned());
    let own = |name, value: &str| (name, value.to_owned());
    assert_eq!(
        shown("https://b.a.test", "PUT", "x-amz-date, Content-Type"),
        Some(vec![
            own("access-control-allow-origin", "https://b.a.test"),
            own("access-control-allow-credentials", "true"),
            own("access-control-allow-methods", "PUT"),
            own("access-control-allow-headers", "x-amz-date, content-type"),
            vary.clone(),
        ])
    );
    assert_eq!(
        shown("https://else.test", "GET", ""),
        Some(vec![
            own("access-control-allow-origin", "*"),
            own("access-control-allow-methods", "GET"),
            own("access-control-expose-headers", "ETag"),
            own("access-control-max-age", "5"),
            vary,
        ])
    );
    for (origin, method, headers) in [
        ("https://a.test", "PUT", ""),
        ("http://b.a.test", "PUT", ""),
        ("https://b.a.test.evil", "PUT", ""),
        ("https://b.a.test", "PUT", "authorization"),
        ("https://b.a.test", "DELETE", ""),
        ("https://else.test", "GET", "x-amz-date"),
        ("https://else.test", "get", ""),
        ("", "PUT", ""),
    ] {
        assert_eq!(shown(origin, method, headers), None, "{origin} {method} {headers}");
    }
    // A star stands for something between, never for what both its sides share.
    let cors =
        parse("<CORSRule><AllowedOrigin>aba*ba</AllowedOrigin><AllowedMethod>GET</AllowedMethod></CORSRule>");
    let asked = |origin| CrossOrigin { origin, method: "GET", headers: "" };
    let cors = cors.unwrap();
    assert!(cors.rule(asked("ababa")).is_some() && cors.rule(asked("aba")).is_none());
}
