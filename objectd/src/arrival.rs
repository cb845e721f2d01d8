//! How a request came: what its connection knows and its head can't say.

use std::net::{IpAddr, SocketAddr};

/// The version of TLS that a connection was made with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

impl TlsVersion {
    /// As `s3:TlsVersion` has it: a number.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}

/// An extension of every request, put there by whoever accepted its connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The other end of the connection, which may be a proxy: no header can change it (HOSTILE 23).
    pub peer: SocketAddr,
    /// `None` if it came in plain text.
    pub tls: Option<TlsVersion>,
}

impl Arrival {
    /// The peer's address. One of IPv4 that came in over an IPv6 socket is the former, or no condition on it
    /// would hold.
    pub fn address(&self) -> IpAddr {
        self.peer.ip().to_canonical()
    }
}
