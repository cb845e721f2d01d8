//! Where frame connections come in.

use super::{ACCEPT, ring_full};
use crate::net;
use crate::ring::{Completion, Fd, Op, Reactor, Token};
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// Who owns a connection or listener on a reactor, and its number there. A number is not used again, so
/// that a late completion of a closed connection finds nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnerTag {
    pub owner: u8,
    pub id: u64,
}

impl OwnerTag {
    pub(crate) fn token(self, kind: u8) -> Token {
        Token::new(self.owner, kind, self.id)
    }
}

/// A listening socket on a reactor.
#[derive(Debug)]
pub struct FrameListener {
    fd: Fd,
    tag: OwnerTag,
    addr: SocketAddr,
}

impl FrameListener {
    /// Listens at `addr`; port 0 takes a free one.
    pub fn bind(tag: OwnerTag, addr: SocketAddr) -> io::Result<Self> {
        Self::from_listener(tag, net::tcp_listener(addr)?)
    }

    /// Takes over a socket that listens already.
    pub fn from_listener(tag: OwnerTag, listener: std::net::TcpListener) -> io::Result<Self> {
        let addr = listener.local_addr()?;
        Ok(Self { fd: Arc::new(OwnedFd::from(listener)), tag, addr })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Whether a completion is a listener's.
    pub fn is_accept(token: Token) -> bool {
        token.kind() == ACCEPT
    }

    /// Starts to take one connection; its completion goes to [`on_completion`](Self::on_completion), and
    /// then this is due again.
    pub fn accept(&self, reactor: &mut Reactor) -> io::Result<()> {
        let op = Op::Accept { listener: Fd::clone(&self.fd), accepted: None };
        reactor.push(self.tag.token(ACCEPT), op).map_err(|_| ring_full()).map(drop)
    }

    /// The accepted socket. An error is the one connection's, or passes (no descriptors left).
    pub fn on_completion(&self, completion: Completion) -> io::Result<OwnedFd> {
        completion.result?;
        match completion.op {
            Op::Accept { accepted: Some(socket), .. } => Ok(socket),
            op => Err(io::Error::other(format!("no accepted socket in {op:?}"))),
        }
    }
}
