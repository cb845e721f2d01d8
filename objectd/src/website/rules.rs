//! A website configuration, as it is kept and shown.

use crate::xml::XmlWriter;

/// What a bucket's website is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Website {
    /// All requests go elsewhere.
    RedirectAll(Elsewhere),
    Pages(Pages),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elsewhere {
    pub host: String,
    /// The request's own, if it isn't said.
    pub protocol: Option<Protocol>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    Http,
    Https,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pages {
    /// What is appended to a key that ends with a slash, and is the page of the bucket itself.
    pub index: String,
    /// The key of what is shown for errors of clients.
    pub error: Option<String>,
    pub rules: Vec<RoutingRule>,
}

/// Where requests go instead. The first that applies counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoutingRule {
    pub prefix: Option<String>,
    /// Applies to requests that would be answered with this status; else before anything is looked for.
    pub status: Option<u16>,
    pub redirect: Redirect,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Redirect {
    pub host: Option<String>,
    pub protocol: Option<Protocol>,
    pub status: Option<u16>,
    pub replace: Option<Replace>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Replace {
    /// The rule's prefix by this.
    Prefix(String),
    /// The whole key by this.
    Key(String),
}

impl Website {
    pub fn xml(&self) -> XmlWriter {
        let mut xml = XmlWriter::new("WebsiteConfiguration");
        match self {
            Self::RedirectAll(elsewhere) => {
                xml.start("RedirectAllRequestsTo");
                xml.text("HostName", &elsewhere.host);
                xml.optional("Protocol", elsewhere.protocol.map(Protocol::as_str));
                xml.end();
            }
            Self::Pages(pages) => pages.write(&mut xml),
        }
        xml
    }
}

impl Pages {
    fn write(&self, xml: &mut XmlWriter) {
        xml.start("IndexDocument");
        xml.text("Suffix", &self.index);
        xml.end();
        if let Some(key) = &self.error {
            xml.start("ErrorDocument");
            xml.text("Key", key);
            xml.end();
        }
        if self.rules.is_empty() {
            return;
        }
        xml.start("RoutingRules");
        for rule in &self.rules {
            xml.start("RoutingRule");
            rule.write(xml);
            xml.end();
        }
        xml.end();
    }
}

impl RoutingRule {
    fn write(&self, xml: &mut XmlWriter) {
        if self.prefix.is_some() || self.status.is_some() {
            xml.start("Condition");
            xml.optional("KeyPrefixEquals", self.prefix.as_deref());
            if let Some(status) = self.status {
                xml.value("HttpErrorCodeReturnedEquals", status);
            }
            xml.end();
        }
        let redirect = &self.redirect;
        xml.start("Redirect");
        xml.optional("Protocol", redirect.protocol.map(Protocol::as_str));
        xml.optional("HostName", redirect.host.as_deref());
        match &redirect.replace {
            Some(Replace::Prefix(prefix)) => xml.text("ReplaceKeyPrefixWith", prefix),
            Some(Replace::Key(key)) => xml.text("ReplaceKeyWith", key),
            None => {}
        }
        if let Some(status) = redirect.status {
            xml.value("HttpRedirectCode", status);
        }
        xml.end();
    }
}
