//! What all lists share: tokens, encodings, owners.

use crate::auth::uri::{Query, uri_encode};
use crate::error::{S3Code, S3Error, S3Result};
use crate::target::filled;
use crate::xml::XmlWriter;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::borrow::Cow;

/// An opaque token from which a list goes on after `name`.
pub fn token(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

/// The name in a token.
pub fn open_token(token: &str) -> S3Result<String> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok();
    bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(|| {
        S3Error::with(S3Code::InvalidArgument, "The continuation token provided is incorrect")
            .extra("ArgumentName", "continuation-token")
    })
}

/// How a list writes names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Plain,
    Url,
}

impl Encoding {
    /// From `encoding-type`.
    pub fn of(query: &Query) -> S3Result<Self> {
        match filled(query, "encoding-type") {
            None => Ok(Self::Plain),
            Some("url") => Ok(Self::Url),
            Some(other) => {
                Err(S3Error::with(S3Code::InvalidArgument, "Invalid Encoding Method specified in Request")
                    .extra("ArgumentName", "encoding-type")
                    .extra("ArgumentValue", other))
            }
        }
    }

    pub fn encode(self, name: &str) -> Cow<'_, str> {
        match self {
            Self::Plain => Cow::Borrowed(name),
            // Slashes stay, as AWS leaves them.
            Self::Url => Cow::Owned(uri_encode(name.as_bytes(), true)),
        }
    }

    /// `<EncodingType>`, if there is one.
    pub fn write(self, xml: &mut XmlWriter) {
        if self == Self::Url {
            xml.text("EncodingType", "url");
        }
    }
}

/// An account, as lists show it.
pub fn owner(xml: &mut XmlWriter, element: &'static str, owner: &str) {
    xml.start(element);
    xml.text("ID", owner);
    xml.text("DisplayName", owner);
    xml.end();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_and_encodings() {
        assert_eq!(open_token(&token("a/é b")).unwrap(), "a/é b");
        assert_eq!(open_token("!").unwrap_err().code(), S3Code::InvalidArgument);
        assert_eq!(Encoding::Url.encode("a b/+\u{1}é"), "a%20b/%2B%01%C3%A9");
        let of = |raw| Encoding::of(&Query::parse(Some(raw)).unwrap()).map_err(|error| error.code());
        assert_eq!(of("encoding-type=url"), Ok(Encoding::Url));
        assert_eq!(of(""), Ok(Encoding::Plain));
        assert_eq!(of("encoding-type=x"), Err(S3Code::InvalidArgument));
    }
}
