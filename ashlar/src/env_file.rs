//! `DIR/env.sh`: what a shell sources to reach this store.

use crate::error::Error;
use crate::folder::{Folder, Secrets};
use std::net::SocketAddr;
use std::path::PathBuf;

/// How clients are told to reach S3.
#[derive(Debug, Clone)]
pub enum Endpoint {
    Http(SocketAddr),
    /// With the certificate that they are to trust.
    Https(SocketAddr, PathBuf),
}

impl Endpoint {
    pub fn url(&self) -> String {
        match self {
            Self::Http(addr) => format!("http://{}", reachable(*addr)),
            Self::Https(addr, _) => format!("https://{}", reachable(*addr)),
        }
    }

    /// The variables that aws-cli and AWS's SDKs read.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![("AWS_ENDPOINT_URL", self.url())];
        if let Self::Https(_, ca) = self {
            variables.push(("AWS_CA_BUNDLE", ca.display().to_string()));
        }
        variables
    }
}

/// Writes it whole, readable by its owner only. Without `s3` the endpoint is left to whoever runs the gateway.
pub fn write(
    folder: &Folder,
    secrets: &Secrets,
    region: &str,
    admin: SocketAddr,
    s3: Option<&Endpoint>,
) -> Result<(), Error> {
    let mut text = String::from("# Written by ashlar at each start. Source it: . env.sh\n");
    let endpoint = s3.map(Endpoint::variables).unwrap_or_default();
    let lines = [
        ("AWS_ACCESS_KEY_ID", secrets.key.id.clone()),
        ("AWS_SECRET_ACCESS_KEY", secrets.key.secret.clone()),
        ("AWS_DEFAULT_REGION", region.to_owned()),
        ("ASHLAR_ADMIN", format!("http://{}", reachable(admin))),
        ("ASHLAR_TOKEN", secrets.admin.clone()),
    ];
    for (name, value) in lines.into_iter().chain(endpoint) {
        text.push_str(&format!("export {name}={}\n", quoted(&value)));
    }
    folder.write("env.sh", text.as_bytes())
}

/// A shell word that stands for exactly this text.
pub fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// Where a client on this machine connects to a listener: one on all addresses is reached on loopback.
fn reachable(mut address: std::net::SocketAddr) -> std::net::SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            std::net::SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            std::net::SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_for_a_shell() {
        assert_eq!(quoted("a'b c"), r"'a'\''b c'");
    }

    #[test]
    fn https_says_whom_to_trust() {
        let http = Endpoint::Http("0.0.0.0:9".parse().unwrap()).variables();
        assert_eq!(http, [("AWS_ENDPOINT_URL", "http://127.0.0.1:9".to_owned())]);
        let https = Endpoint::Https("[::]:9".parse().unwrap(), "/data/ca.pem".into()).variables();
        let bundle = ("AWS_CA_BUNDLE", "/data/ca.pem".to_owned());
        assert_eq!(https, [("AWS_ENDPOINT_URL", "https://[::1]:9".to_owned()), bundle]);
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_on_loopback() {
        assert_eq!(reachable("0.0.0.0:9".parse().unwrap()), "127.0.0.1:9".parse().unwrap());
        assert_eq!(reachable("[::]:9".parse().unwrap()), "[::1]:9".parse().unwrap());
        assert_eq!(reachable("127.0.0.2:9".parse().unwrap()), "127.0.0.2:9".parse().unwrap());
    }
}
