//! Ports, taken before anything else is done.

use crate::error::{Error, Exit};
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};

/// Binds a port; `flag` is the option that changes it.
pub fn bind(what: &str, flag: &str, address: SocketAddr) -> Result<TcpListener, Error> {
    let listener = TcpListener::bind(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => Error::new(
            Exit::Conflict,
            format!(
                "{what} can't listen on {address}: another process does; stop it, or give another address with --{flag}"
            ),
        ),
        ErrorKind::PermissionDenied => Error::new(
            Exit::Denied,
            format!("{what} may not listen on {address}; give a port above 1023 with --{flag}"),
        ),
        _ => Error::failed(format!("{what} can't listen on {address}: {error}; see --{flag}")),
    })?;
    listener
        .set_nonblocking(true)
        .map_err(|error| Error::failed(format!("{what} can't use its socket: {error}")))?;
    Ok(listener)
}

/// Where a listener really listens.
pub fn address(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener.local_addr().map_err(|error| Error::failed(format!("a socket has no address: {error}")))
}
