//! The metrics that a server of ours tells, in Prometheus' text format.

use crate::limits::METRICS_TIMEOUT;
use anyhow::{Context, Result, anyhow, bail};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;

/// One look at `/metrics`.
pub struct Metrics {
    text: String,
}

impl Metrics {
    /// Of the admin API at `url`, such as `http://127.0.0.1:7070`.
    pub fn fetch(url: &str) -> Result<Self> {
        let address = url.strip_prefix("http://").context("the admin API's URL starts with http://")?;
        let address = address.trim_end_matches('/');
        let mut stream = TcpStream::connect(address).with_context(|| format!("connecting to {url}"))?;
        stream.set_read_timeout(Some(METRICS_TIMEOUT))?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|error| match error.kind() {
            ErrorKind::WouldBlock => anyhow!("{url} tells no metrics within {} s", METRICS_TIMEOUT.as_secs()),
            _ => anyhow!("reading the metrics of {url}: {error}"),
        })?;
        Self::of_answer(&answer)
    }

    fn of_answer(answer: &str) -> Result<Self> {
        let (head, body) = answer.split_once("\r\n\r\n").context("the metrics' answer has no body")?;
        let status = head.lines().next().unwrap_or_default();
        if status.split(' ').nth(1) != Some("200") {
            bail!("the metrics were answered with {status:?}");
        }
        Ok(Self { text: body.to_owned() })
    }

    /// The values of all series of a name.
    pub fn values(&self, name: &str) -> Vec<f64> {
        let value = |line: &str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
            rest.rsplit(' ').next()?.parse().ok()
        };
        self.text.lines().filter_map(value).collect()
    }

    /// The values of a name's series by the value of their only label.
    pub fn by_label(&self, name: &str) -> BTreeMap<String, f64> {
        let sample = |line: &str| {
            let (label, value) = line.strip_prefix(name)?.strip_prefix('{')?.split_once("\"} ")?;
            Some((label.split_once("=\"")?.1.to_owned(), value.parse().ok()?))
        };
        self.text.lines().filter_map(sample).collect()
    }

    /// The mean over all disks: each has a replica of everything.
    pub fn of_a_disk(&self, name: &str) -> Result<f64> {
        let values = self.values(name);
        if values.is_empty() {
            bail!("there is no metric {name}");
        }
        let disks = crate::report::figure::count(values.len() as u64);
        Ok(values.iter().sum::<f64>() / disks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_of_one_name_are_read() {
        let answer = "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n\r\n# HELP x y\n\
                      disk_bytes{disk=\"a b\"} 10\ndisk_bytes{disk=\"c\"} 30\ndisk_bytes_total 7\n";
        let metrics = Metrics::of_answer(answer).unwrap();
        assert_eq!(metrics.values("disk_bytes"), [10.0, 30.0]);
        assert_eq!(metrics.of_a_disk("disk_bytes").unwrap(), 20.0);
        assert_eq!(metrics.values("disk_bytes_total"), [7.0]);
        assert!(metrics.of_a_disk("disk").is_err());
        assert!(Metrics::of_answer("HTTP/1.1 503 No\r\n\r\n").is_err());
    }
}
