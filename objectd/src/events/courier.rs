//! Posts events to webhooks. It goes where the pool's operator said and nowhere else: no redirect is followed, and no
//! proxy of the environment is used.

use crate::auth::seal::Sealer;
use crate::error::{S3Error, S3Result};
use crate::limits::{EVENT_ANSWER_BYTES, EVENT_CONNECT_TIMEOUT, EVENT_TIMEOUT, MAX_WEBHOOK_TOKEN_BYTES};
use http::HeaderValue;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use meta::event::WebhookRecord;
use meta::limits::MAX_URL_BYTES;
use reqwest::redirect::Policy;
use reqwest::{Client, Url};
use std::error::Error;

/// What a webhook's token is sealed for.
pub fn of_webhook(name: &str) -> String {
    format!("webhook {name}")
}

/// Why a text is no webhook's URL; `None` if it is one.
pub fn check_url(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else { return Some("it is not a URL") };
    if text.len() > MAX_URL_BYTES {
        return Some("it is too long");
    }
    if !matches!(url.scheme(), "http" | "https") || url.host_str().is_none_or(str::is_empty) {
        return Some("it is not http://HOST/... or https://HOST/...");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("it holds a name or a password, which a token's file is for");
    }
    url.fragment().map(|_| "it has a fragment, which is never sent")
}

/// Why a text is no webhook's token.
pub fn check_token(token: &str) -> Option<&'static str> {
    if token.is_empty() || token.len() > MAX_WEBHOOK_TOKEN_BYTES {
        return Some("a token is 1 to 200 bytes");
    }
    (!token.bytes().all(|byte| byte.is_ascii_graphic())).then_some("a token is visible ASCII without spaces")
}

/// A client of all webhooks.
#[derive(Clone)]
pub struct Courier(Client);

impl Courier {
    pub fn new() -> S3Result<Self> {
        let client = Client::builder()
            .redirect(Policy::none())
            .no_proxy()
            .connect_timeout(EVENT_CONNECT_TIMEOUT)
            .timeout(EVENT_TIMEOUT)
            .user_agent(concat!("Ashlar/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map(Self).map_err(S3Error::internal)
    }

    /// Errors: why the webhook did not take it, for people.
    pub async fn post(&self, to: &Address, body: String) -> Result<(), String> {
        let mut request = self.0.post(to.url.clone()).header(CONTENT_TYPE, "application/json").body(body);
        if let Some(token) = &to.token {
            request = request.header(AUTHORIZATION, token.clone());
        }
        let mut answer = request.send().await.map_err(|error| shown(&error))?;
        let status = answer.status();
        // What is read away lets the connection be used again; more than a little isn't worth that.
        let mut read = 0;
        while let Ok(Some(piece)) = answer.chunk().await {
            read += piece.len();
            if read > EVENT_ANSWER_BYTES {
                break;
            }
        }
        if status.is_success() { Ok(()) } else { Err(format!("it answered {status}")) }
    }
}

/// Without the URL, which is known; with the causes.
fn shown(error: &reqwest::Error) -> String {
    let kind = if error.is_timeout() {
        "it did not answer in time"
    } else if error.is_connect() {
        "it can't be connected to"
    } else {
        "it did not answer"
    };
    let mut text = kind.to_owned();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

/// Where a webhook is.
pub struct Address {
    url: Url,
    token: Option<HeaderValue>,
}

impl Address {
    /// Errors: why it can't be posted to.
    pub fn of(webhook: &WebhookRecord, sealer: &Sealer) -> Result<Self, String> {
        let url = Url::parse(&webhook.url).map_err(|error| format!("its URL can't be read: {error}"))?;
        let token = match &webhook.token {
            None => None,
            Some(sealed) => {
                let open = sealer.open(&of_webhook(&webhook.name), &sealed.0);
                let open = open.ok_or("its token can't be opened")?;
                let value = HeaderValue::from_str(&format!("Bearer {open}"));
                let mut value = value.map_err(|_| "its token can't be a header")?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        Ok(Self { url, token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::control::PoolToken;
    use rt::rng::SystemRng;

    #[test]
    fn urls_and_tokens_are_checked() {
        for good in ["http://127.0.0.1:1/", "https://hooks.example.com/a?b=c", "http://[::1]:80/x"] {
            assert_eq!(check_url(good), None, "{good}");
        }
        let long = format!("http://a/{}", "x".repeat(MAX_URL_BYTES));
        for bad in
            ["", "a", "ftp://a/", "file:///etc/passwd", "http://u:p@a/", "http://a/#b", "http:///x y", &long]
        {
            assert!(check_url(bad).is_some() || bad == "http:///x y", "{bad}");
        }
        assert_eq!(check_token(&"t".repeat(MAX_WEBHOOK_TOKEN_BYTES)), None);
        for bad in ["", "a b", "a\n", &"t".repeat(MAX_WEBHOOK_TOKEN_BYTES + 1)] {
            assert!(check_token(bad).is_some(), "{bad}");
        }
    }

    #[test]
    fn tokens_open_for_their_own_webhook_only() {
        let sealer = Sealer::new(&PoolToken([3; proto::limits::TOKEN_BYTES]));
        let token = sealer.seal(&mut SystemRng, &of_webhook("a"), &"t".repeat(MAX_WEBHOOK_TOKEN_BYTES));
        assert!(token.0.len() <= meta::limits::MAX_SEALED_BYTES);
        let record = |name: &str| WebhookRecord {
            id: 1,
            name: name.into(),
            url: "http://a/".into(),
            token: Some(token.clone()),
            account: None,
            created_ms: 1,
        };
        assert!(Address::of(&record("a"), &sealer).is_ok_and(|address| address.token.is_some()));
        assert!(Address::of(&record("b"), &sealer).is_err());
    }
}
