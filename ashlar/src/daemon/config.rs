//! What all daemons are told alike: a file under the flags, addresses, and who may listen where.

use crate::config::{address, read};
use crate::error::{Error, Exit};
use serde::de::DeserializeOwned;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

/// The settings of the config file, if one was named.
pub fn file<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<T, Error> {
    path.map_or_else(|| Ok(T::default()), read)
}

/// Something without which the daemon can't start.
pub fn needed<T>(value: Option<T>, flag: &str) -> Result<T, Error> {
    value.ok_or_else(|| Error::usage(format!("--{flag} is missing; give it as a flag or in the config file")))
}

/// Where to listen. Without TLS the pool's token goes over the wire as it is, so other addresses than this
/// machine's own have to be asked for twice.
pub fn listen(text: &str, insecure_network: bool) -> Result<SocketAddr, Error> {
    let address = address("listen", text)?;
    check_ip(address.ip(), insecure_network)?;
    Ok(address)
}

/// `HOST` or `HOST:PORT`.
pub fn listen_host(text: &str, insecure_network: bool) -> Result<(IpAddr, Option<u16>), Error> {
    let text = if text == "localhost" { "127.0.0.1" } else { text };
    let (ip, port) = match text.parse::<IpAddr>() {
        Ok(ip) => (ip, None),
        Err(_) => {
            let address = address("listen", text)?;
            (address.ip(), Some(address.port()).filter(|port| *port != 0))
        }
    };
    check_ip(ip, insecure_network)?;
    if ip.is_unspecified() {
        return Err(Error::usage(format!(
            "listen = '{text}' does not say where others find the disks; give one of this machine's addresses"
        )));
    }
    Ok((ip, port))
}

/// The URL of the control plane's admin API.
pub fn meta_url(url: &str, insecure_network: bool) -> Result<String, Error> {
    let wrong = || {
        Error::usage(format!("meta = '{url}' is not a URL of an admin API, such as http://127.0.0.1:7070"))
    };
    let host = url.strip_prefix("http://").ok_or_else(wrong)?.trim_end_matches('/');
    let address = address("meta", host).map_err(|_| wrong())?;
    check_ip(address.ip(), insecure_network)?;
    Ok(url.trim_end_matches('/').to_owned())
}

fn check_ip(ip: IpAddr, insecure_network: bool) -> Result<(), Error> {
    if ip.is_loopback() || insecure_network {
        return Ok(());
    }
    Err(Error::new(
        Exit::Usage,
        format!(
            "{ip} is not on this machine alone, and there is no TLS yet: whoever sees the traffic gets the \
             pool's secrets; use 127.0.0.1, or --insecure-network on a network that is yours"
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_machines_have_to_be_asked_for() {
        assert_eq!(listen("localhost:1", false).unwrap().port(), 1);
        assert!(listen("10.0.0.1:1", true).is_ok());
        for (text, insecure) in [("10.0.0.1:1", false), ("0.0.0.0:1", false), ("here", true)] {
            assert_eq!(listen(text, insecure).expect_err(text).exit, Exit::Usage);
        }
        assert_eq!(listen_host("127.0.0.1", false).unwrap().1, None);
        assert_eq!(listen_host("127.0.0.1:0", false).unwrap().1, None);
        assert_eq!(listen_host("127.0.0.1:7", false).unwrap().1, Some(7));
        assert!(listen_host("0.0.0.0", true).is_err());
        assert_eq!(meta_url("http://localhost:7/", false).unwrap(), "http://localhost:7");
        for url in ["127.0.0.1:7", "https://127.0.0.1:7", "http://10.0.0.1:7", "http://meta"] {
            assert!(meta_url(url, false).is_err(), "{url}");
        }
    }
}
