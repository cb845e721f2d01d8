//! What is a website configuration, and what is none.

use super::*;

fn parse(inner: &str) -> Result<Website, S3Code> {
    let body = format!("<WebsiteConfiguration>{inner}</WebsiteConfiguration>");
    Website::parse(body.as_bytes()).map_err(|error| error.code())
}

const INDEX: &str = "<IndexDocument><Suffix>index.html</Suffix></IndexDocument>";

fn routed(inner: &str) -> Result<Website, S3Code> {
    parse(&format!("{INDEX}<RoutingRules><RoutingRule>{inner}</RoutingRule></RoutingRules>"))
}

#[test]
fn what_is_written_reads_the_same() {
    let all = [
        INDEX.to_owned(),
        format!("{INDEX}<ErrorDocument><Key>errors/4xx.html</Key></ErrorDocument>"),
        format!(
            "{INDEX}<RoutingRules><RoutingRule><Condition><KeyPrefixEquals>a&amp;b/</KeyPrefixEquals>\
             <HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition><Redirect><Protocol>https\
             </Protocol><HostName>a.test:8080</HostName><ReplaceKeyPrefixWith>c/</ReplaceKeyPrefixWith>\
             <HttpRedirectCode>307</HttpRedirectCode></Redirect></RoutingRule><RoutingRule><Redirect><ReplaceKeyWith/>\
             </Redirect></RoutingRule></RoutingRules>"
        ),
        "<RedirectAllRequestsTo><HostName>a.test</HostName></RedirectAllRequestsTo>".to_owned(),
        "<RedirectAllRequestsTo><HostName>a.test</HostName><Protocol>http</Protocol></RedirectAllRequestsTo>"
            .to_owned(),
    ];
    for text in all {
        let website = parse(&text).unwrap();
        assert_eq!(Website::parse(website.xml().finish().as_bytes()).unwrap(), website, "{text}");
    }
}

#[test]
fn what_is_wrong_is_told_as_aws_tells_it() {
    use S3Code::{InvalidArgument, InvalidRequest, MalformedXML};
    let elsewhere = "<RedirectAllRequestsTo><HostName>a.test</HostName></RedirectAllRequestsTo>";
    let cases = [
        ("", InvalidArgument),
        ("<ErrorDocument><Key>e</Key></ErrorDocument>", InvalidArgument),
        ("<IndexDocument/>", MalformedXML),
        ("<IndexDocument><Suffix/></IndexDocument>", InvalidArgument),
        ("<IndexDocument><Suffix>a/b</Suffix></IndexDocument>", InvalidArgument),
        (&format!("{INDEX}{INDEX}"), MalformedXML),
        (&format!("{INDEX}<Other/>"), MalformedXML),
        (&format!("{INDEX}<ErrorDocument><Key/></ErrorDocument>"), InvalidArgument),
        (&format!("{INDEX}<RoutingRules/>"), MalformedXML),
        (&format!("{INDEX}{elsewhere}"), InvalidRequest),
        ("<RedirectAllRequestsTo/>", MalformedXML),
        ("<RedirectAllRequestsTo><HostName>a/b</HostName></RedirectAllRequestsTo>", InvalidRequest),
        ("<RedirectAllRequestsTo><HostName/></RedirectAllRequestsTo>", InvalidRequest),
    ];
    for (text, code) in cases {
        assert_eq!(parse(text), Err(code), "{text}");
    }
    let rules = [
        ("", MalformedXML),
        ("<Redirect/>", MalformedXML),
        ("<Condition/><Redirect><HostName>a</HostName></Redirect>", InvalidRequest),
        ("<Redirect><HttpRedirectCode>300</HttpRedirectCode></Redirect>", InvalidRequest),
        ("<Redirect><HttpRedirectCode>200</HttpRedirectCode></Redirect>", InvalidRequest),
        ("<Redirect><Protocol>ftp</Protocol></Redirect>", InvalidRequest),
        ("<Redirect><HostName>a&#13;b</HostName></Redirect>", InvalidRequest),
        (
            "<Redirect><ReplaceKeyWith>a</ReplaceKeyWith><ReplaceKeyPrefixWith>b</ReplaceKeyPrefixWith></Redirect>",
            InvalidRequest,
        ),
        (
            "<Condition><HttpErrorCodeReturnedEquals>304</HttpErrorCodeReturnedEquals></Condition>\
             <Redirect><HostName>a</HostName></Redirect>",
            InvalidRequest,
        ),
    ];
    for (text, code) in rules {
        assert_eq!(routed(text), Err(code), "{text}");
    }
    let many = |count: usize| {
        let rule = "<RoutingRule><Redirect><HostName>a</HostName></Redirect></RoutingRule>";
        parse(&format!("{INDEX}<RoutingRules>{}</RoutingRules>", rule.repeat(count))).map(|_| ())
    };
    assert_eq!((many(50), many(51)), (Ok(()), Err(InvalidRequest)));
}
