//! A request as bytes, and the answer to it, over a bare socket: nothing in between corrects what a test
//! got wrong on purpose.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// How long an answer may take: long enough for a loaded machine, short enough to show a hang.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// A signed request that was not sent yet.
#[derive(Debug, Clone)]
pub struct Prepared {
    pub method: String,
    /// Path and query, raw.
    pub target: String,
    pub headers: Vec<(String, String)>,
    /// In its wire framing.
    pub body: Vec<u8>,
}

impl Prepared {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// Replaces a header, or adds it.
    #[must_use]
    pub fn set(mut self, name: &str, value: &str) -> Prepared {
        self = self.without(name);
        self.add(name, value)
    }

    /// Adds a header, even a second one of the same name.
    #[must_use]
    pub fn add(mut self, name: &str, value: &str) -> Prepared {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub fn without(mut self, name: &str) -> Prepared {
        self.headers.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
        self
    }

    /// Changes a header's value.
    #[must_use]
    pub fn edit(self, name: &str, edit: impl FnOnce(&str) -> String) -> Prepared {
        let value = edit(self.header(name).unwrap_or_default());
        self.set(name, &value)
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = format!("{} {} HTTP/1.1\r\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
        }
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&self.body);
        out
    }

    /// Sends it on its own connection. A gateway that closes early still gets its answer read.
    pub async fn send(&self, to: SocketAddr) -> io::Result<Response> {
        send_bytes(to, &self.to_bytes(), &self.method).await
    }
}

/// Sends `bytes` as they are, says that nothing more comes, and reads one answer.
pub async fn send_bytes(to: SocketAddr, bytes: &[u8], method: &str) -> io::Result<Response> {
    Response::parse(&exchange(to, bytes).await?, method)
}

/// Sends `bytes` as they are, says that nothing more comes, and reads all that comes back.
pub async fn exchange(to: SocketAddr, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let exchange = async {
        let (mut receive, mut send) = TcpStream::connect(to).await?.into_split();
        let sending = async {
            // A refusal may come, and the connection go, before all is sent.
            let _ = send.write_all(bytes).await;
            let _ = send.shutdown().await;
        };
        let receiving = async {
            let (mut answer, mut piece) = (Vec::new(), vec![0; 64 << 10]);
            loop {
                match receive.read(&mut piece).await {
                    Ok(0) => return Ok(answer),
                    Ok(len) => answer.extend_from_slice(&piece[..len]),
                    Err(_) if !answer.is_empty() => return Ok(answer),
                    Err(error) => return Err(error),
                }
            }
        };
        let ((), received) = tokio::join!(sending, receiving);
        received
    };
    tokio::time::timeout(ANSWER_TIMEOUT, exchange)
        .await
        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[derive(Debug, Clone)]
pub struct Response {
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The text of the first XML element with this name, as it stands.
    pub fn element(&self, name: &str) -> Option<String> {
        let text = self.text();
        let (_, rest) = text.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.to_owned())
    }

    /// The error's `<Code>`; empty if there is none.
    pub fn code(&self) -> String {
        self.element("Code").unwrap_or_default()
    }

    pub fn parse(bytes: &[u8], method: &str) -> io::Result<Response> {
        let bad = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let end = find(bytes, b"\r\n\r\n").ok_or_else(|| bad("the answer has no end of head"))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status_line = lines.next().unwrap_or_default();
        let status = status_line.split(' ').nth(1).and_then(|text| text.parse().ok());
        let status: u16 = status.ok_or_else(|| bad("the answer has no status"))?;
        let rest = &bytes[end + 4..];
        if status == 100 {
            return Response::parse(rest, method);
        }
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut response = Response { status, headers, body: Vec::new() };
        let bodiless = method == "HEAD" || status == 204 || status == 304;
        if response.header("transfer-encoding") == Some("chunked") && !bodiless {
            response.body = dechunk(rest).ok_or_else(|| bad("the answer's chunks are cut"))?;
        } else if !bodiless {
            let length = response.header("content-length").and_then(|text| text.parse::<usize>().ok());
            let length = length.unwrap_or(rest.len());
            response.body = rest.get(..length).ok_or_else(|| bad("the answer is cut"))?.to_vec();
        }
        Ok(response)
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn dechunk(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let end = find(bytes, b"\r\n")?;
        let size = usize::from_str_radix(std::str::from_utf8(&bytes[..end]).ok()?, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return Some(out);
        }
        out.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size + 2..)?;
    }
}
