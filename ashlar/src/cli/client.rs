//! The CLI's side of the admin API.

use crate::api::ErrorBody;
use crate::cli::Format;
use crate::cli::progress::{Bar, Far, Unit, bar, waiting};
use crate::error::{Error, Exit};
use crate::limits::{CONNECT_TIMEOUT, MAX_ANSWER_BYTES, PROGRESS_POLL, QUIET_WAIT, REQUEST_TIMEOUT};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What is waited for, if nothing better is known.
const WAITING: &str = "waiting for the daemon";

/// How to reach the daemon, and how to print what it says.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientArgs {
    /// The admin API's URL, as DIR/env.sh sets it beside ASHLAR_TOKEN
    #[arg(long, env = "ASHLAR_ADMIN", value_name = "URL")]
    admin: Option<String>,
    /// The data folder whose env.sh is read when ASHLAR_ADMIN is not set
    #[arg(long, env = "ASHLAR_DATA", default_value = "data", value_name = "DIR")]
    data: PathBuf,
    /// How to print data
    #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
}

/// A connection to the daemon, with a runtime to wait on it.
#[derive(Debug)]
pub struct Client {
    runtime: tokio::runtime::Runtime,
    http: reqwest::Client,
    url: String,
    token: String,
}

/// A path below `/v1`, its parts escaped.
pub fn path(parts: &[&str]) -> String {
    let mut path = String::from("/v1");
    for part in parts {
        path.push('/');
        for byte in part.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
    }
    path
}

impl Client {
    pub fn new(args: &ClientArgs) -> Result<Self, Error> {
        let token = std::env::var("ASHLAR_TOKEN").ok().filter(|token| !token.is_empty());
        let (url, token) = match (&args.admin, token) {
            (Some(url), Some(token)) => (url.clone(), token),
            (Some(_), None) => {
                return Err(Error::new(
                    Exit::Denied,
                    "ASHLAR_ADMIN is set but ASHLAR_TOKEN is not; source the env.sh of the data folder",
                ));
            }
            (None, _) => from_env_file(&args.data)?,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::failed(format!("can't start a runtime: {error}")))?;
        let http = reqwest::Client::builder()
            .no_proxy()
            .connect_timeout(CONNECT_TIMEOUT)
            .build()
            .map_err(|error| Error::failed(format!("can't make an HTTP client: {error}")))?;
        Ok(Self { runtime, http, url: url.trim_end_matches('/').to_owned(), token })
    }

    pub fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, Error> {
        self.call((Method::GET, path), None::<&()>, (WAITING, REQUEST_TIMEOUT))
    }

    pub fn post<Q: Serialize, A: DeserializeOwned>(&self, path: &str, body: &Q) -> Result<A, Error> {
        self.call((Method::POST, path), Some(body), (WAITING, REQUEST_TIMEOUT))
    }

    /// A request that the daemon may take `wait` to answer, beyond the usual time. `what` says what is waited for.
    pub fn post_slowly<Q: Serialize, A: DeserializeOwned>(
        &self,
        path: &str,
        body: &Q,
        (what, wait): (&str, Duration),
    ) -> Result<A, Error> {
        self.call((Method::POST, path), Some(body), (what, REQUEST_TIMEOUT + wait))
    }

    pub fn delete<A: DeserializeOwned>(&self, path: &str) -> Result<A, Error> {
        self.call((Method::DELETE, path), None::<&()>, (WAITING, REQUEST_TIMEOUT))
    }

    /// Lets time pass between two questions.
    pub fn pause(&self, time: Duration) {
        self.runtime.block_on(async { tokio::time::sleep(time).await });
    }

    /// Asks the control plane itself, as daemons do.
    pub fn ask(&self, query: meta::query::Query) -> Result<meta::query::Answer, Error> {
        let meta = meta::Client::remote(&self.url, &self.token)?;
        self.signed("waiting for the control plane", async { Ok(meta.query(query).await?) })
    }

    /// The same, one of many questions; who asks them shows how far it is.
    pub fn ask_quietly(&self, query: meta::query::Query) -> Result<meta::query::Answer, Error> {
        let meta = meta::Client::remote(&self.url, &self.token)?;
        Ok(self.runtime.block_on(meta.query(query))?)
    }

    /// The same for work that says how far it is: `look` finds that in the answer to `GET watched`, once it is there.
    pub fn post_watched<Q: Serialize, A: DeserializeOwned, W: DeserializeOwned>(
        &self,
        path: &str,
        body: &Q,
        (what, wait): (&str, Duration),
        (watched, look): (&str, impl Fn(W) -> Option<Far>),
    ) -> Result<A, Error> {
        let answer = self.exchange((Method::POST, path), Some(body), REQUEST_TIMEOUT + wait);
        self.runtime.block_on(async {
            tokio::pin!(answer);
            if let Ok(answer) = tokio::time::timeout(QUIET_WAIT, &mut answer).await {
                return understood(answer?);
            }
            let mut spinner = Some(waiting(what.to_owned()));
            let mut shown: Option<Bar> = None;
            loop {
                if let Ok(answer) = tokio::time::timeout(PROGRESS_POLL, &mut answer).await {
                    return understood(answer?);
                }
                // The work goes on whether this is answered or not.
                let seen = self.exchange((Method::GET, watched), None::<&()>, REQUEST_TIMEOUT).await;
                let far = seen.and_then(understood).ok().and_then(&look);
                if let Some(far) = far {
                    // The one is gone before the other is drawn.
                    drop(spinner.take());
                    shown.get_or_insert_with(|| bar(what.to_owned(), Unit::Bytes)).at(far);
                }
            }
        })
    }

    fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        request: (Method, &str),
        body: Option<&Q>,
        (what, timeout): (&str, Duration),
    ) -> Result<A, Error> {
        let answer = self.exchange(request, body, timeout);
        understood(self.signed(what, answer)?)
    }

    /// Waits, and after a while shows that it does.
    fn signed<T>(&self, what: &str, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        self.runtime.block_on(async {
            tokio::pin!(work);
            match tokio::time::timeout(QUIET_WAIT, &mut work).await {
                Ok(done) => done,
                Err(_) => {
                    let _sign = waiting(what.to_owned());
                    work.await
                }
            }
        })
    }

    /// One request and its answer as it came.
    async fn exchange<Q: Serialize>(
        &self,
        (method, path): (Method, &str),
        body: Option<&Q>,
        timeout: Duration,
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .timeout(timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(Error::failed("the daemon's answer is too long"));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok((response.status(), bytes))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        if error.is_timeout() && !error.is_connect() {
            return Error::new(Exit::Timeout, format!("the daemon at {} did not answer in time", self.url));
        }
        Error::new(Exit::Unavailable, format!("no daemon answers at {}; start one: ashlar up", self.url))
    }
}

/// What the bytes of an answer say.
fn understood<A: DeserializeOwned>((status, bytes): (StatusCode, Vec<u8>)) -> Result<A, Error> {
    if status.is_success() {
        return serde_json::from_slice(&bytes).map_err(|error| {
            Error::failed(format!(
                "can't understand the daemon's answer ({error}); is it another version than this CLI?"
            ))
        });
    }
    let message = match serde_json::from_slice::<ErrorBody>(&bytes) {
        Ok(body) => body.error.message,
        Err(_) => format!("the daemon answered {status}"),
    };
    Err(Error::new(Exit::of_status(status.as_u16()), message))
}

fn from_env_file(data: &Path) -> Result<(String, String), Error> {
    let path = data.join("env.sh");
    let text = std::fs::read_to_string(&path).map_err(|error| {
        Error::new(
            Exit::Unavailable,
            format!(
                "ASHLAR_ADMIN is not set and {} can't be read ({error}); start a daemon (ashlar up) and source its env.sh",
                path.display()
            ),
        )
    })?;
    let value = |name: &str| {
        let start = format!("export {name}=");
        let line = text.lines().find_map(|line| line.strip_prefix(start.as_str()))?;
        Some(line.trim_matches('\'').to_owned())
    };
    value("ASHLAR_ADMIN")
        .zip(value("ASHLAR_TOKEN"))
        .ok_or_else(|| Error::failed(format!("{} is damaged; start the daemon again", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_the_parts_of_a_path() {
        assert_eq!(path(&["volumes", "a/b c"]), "/v1/volumes/a%2Fb%20c");
    }

    #[test]
    fn reads_what_up_writes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(
            dir.path().join("env.sh"),
            "export ASHLAR_ADMIN='http://x'\nexport ASHLAR_TOKEN='t'\n",
        )
        .unwrap();
        assert_eq!(from_env_file(dir.path()).unwrap(), ("http://x".into(), "t".into()));
        let none = from_env_file(&dir.path().join("none")).expect_err("none");
        assert_eq!(none.exit, Exit::Unavailable);
    }
}
