//! The examples of "Configuring advanced conditional redirects".

use super::super::rules::Website;
use super::*;

fn pages(rules: &str) -> Pages {
    let text = format!(
        "<WebsiteConfiguration><IndexDocument><Suffix>index.html</Suffix></IndexDocument><RoutingRules>{rules}\
         </RoutingRules></WebsiteConfiguration>"
    );
    let Website::Pages(pages) = Website::parse(text.as_bytes()).unwrap() else { panic!() };
    pages
}

fn asked(key: &str) -> Asked<'_> {
    Asked { scheme: "http", host: "site.web.test:9000", key }
}

fn to(location: &str, status: u16) -> Option<Redirection> {
    Some(Redirection { status, location: location.to_owned() })
}

#[test]
fn a_folder_is_redirected_when_its_prefix_is_renamed() {
    let pages = pages(
        "<RoutingRule><Condition><KeyPrefixEquals>docs/</KeyPrefixEquals></Condition><Redirect>\
         <ReplaceKeyPrefixWith>documents/</ReplaceKeyPrefixWith></Redirect></RoutingRule>",
    );
    assert_eq!(pages.before(asked("docs/a b")), to("http://site.web.test:9000/documents/a%20b", 301));
    assert_eq!(pages.before(asked("doc")), None);
    assert_eq!(pages.instead_of(404, asked("docs/a")), None);
}

#[test]
fn a_deleted_folder_is_redirected_to_a_page() {
    let pages = pages(
        "<RoutingRule><Condition><KeyPrefixEquals>images/</KeyPrefixEquals></Condition><Redirect>\
         <ReplaceKeyWith>folderdeleted.html</ReplaceKeyWith></Redirect></RoutingRule>",
    );
    assert_eq!(pages.before(asked("images/x.png")), to("http://site.web.test:9000/folderdeleted.html", 301));
}

#[test]
fn an_error_is_redirected_to_another_host() {
    let pages = pages(
        "<RoutingRule><Condition><HttpErrorCodeReturnedEquals>404</HttpErrorCodeReturnedEquals></Condition><Redirect>\
         <HostName>ec2.example.com</HostName><ReplaceKeyPrefixWith>report-404/</ReplaceKeyPrefixWith>\
         <Protocol>https</Protocol><HttpRedirectCode>302</HttpRedirectCode></Redirect></RoutingRule>",
    );
    assert_eq!(pages.before(asked("Page.html")), None);
    let report = "https://ec2.example.com/report-404/Page.html";
    assert_eq!(pages.instead_of(404, asked("Page.html")), to(report, 302));
    assert_eq!(pages.instead_of(403, asked("Page.html")), None);
}

#[test]
fn all_requests_go_to_another_host_by_their_own_protocol_or_its() {
    let all = |protocol: &str| {
        let text = format!(
            "<WebsiteConfiguration><RedirectAllRequestsTo><HostName>a.test</HostName>{protocol}\
             </RedirectAllRequestsTo></WebsiteConfiguration>"
        );
        let Website::RedirectAll(all) = Website::parse(text.as_bytes()).unwrap() else { panic!() };
        Some(all.redirection(asked("a/b?")))
    };
    assert_eq!(all(""), to("http://a.test/a/b%3F", 301));
    assert_eq!(all("<Protocol>https</Protocol>"), to("https://a.test/a/b%3F", 301));
}

#[test]
fn folders_have_an_index() {
    let pages = Pages { index: "index.html".into(), error: None, rules: vec![] };
    let page = |key| pages.page_of(key);
    assert_eq!((page(""), page("a/"), page("a")), ("index.html".into(), "a/index.html".into(), "a".into()));
}
