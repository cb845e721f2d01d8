//! The CLI's side of the admin API.

use crate::api::ErrorBody;
use crate::cli::Format;
use crate::cli::output::waiting;
use crate::error::{Error, Exit};
use crate::limits::{CONNECT_TIMEOUT, MAX_ANSWER_BYTES, QUIET_WAIT, REQUEST_TIMEOUT};
use reqwest::Method;
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
        Ok(self.runtime.block_on(meta.query(query))?)
    }

    fn call<Q: Serialize, A: DeserializeOwned>(
        &self,
        (method, path): (Method, &str),
        body: Option<&Q>,
        (what, timeout): (&str, Duration),
    ) -> Result<A, Error> {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .bearer_auth(&self.token)
            .timeout(timeout);
        if let Some(body) = body {
            request = request.json(body);
        }
        let answer = async {
            let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
            let mut bytes = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
                if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                    return Err(Error::failed("the daemon's answer is too long"));
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok((response.status(), bytes))
        };
        let (status, bytes) = self.runtime.block_on(async {
            tokio::pin!(answer);
            match tokio::time::timeout(QUIET_WAIT, &mut answer).await {
                Ok(answer) => answer,
                Err(_) => {
                    let _sign = waiting(what.to_owned());
                    answer.await
                }
            }
        })?;
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

    fn unreachable(&self, error: &reqwest::Error) -> Error {
        if error.is_timeout() && !error.is_connect() {
            return Error::new(Exit::Timeout, format!("the daemon at {} did not answer in time", self.url));
        }
        Error::new(Exit::Unavailable, format!("no daemon answers at {}; start one: ashlar up", self.url))
    }
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
