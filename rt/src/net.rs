//! Sockets for the reactor: blocking ones, since io_uring waits for them by itself and hands a socket's
//! "again" straight back when it is not.

#![allow(unsafe_code)]

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// An unconnected TCP socket for `addr`'s family.
pub fn tcp_socket(addr: &SocketAddr) -> io::Result<OwnedFd> {
    let family = if addr.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: the call takes no pointers.
    let fd = unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call succeeded, so `fd` is open and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A listening socket; port 0 takes a free one, which `local_addr` tells.
pub fn tcp_listener(addr: SocketAddr) -> io::Result<TcpListener> {
    // The standard library sets SO_REUSEADDR, so that a restart finds its port free.
    TcpListener::bind(addr)
}

/// Sends small frames at once instead of waiting for the peer's acknowledgement of earlier ones.
pub fn no_delay(fd: OwnedFd) -> io::Result<OwnedFd> {
    let stream = TcpStream::from(fd);
    stream.set_nodelay(true)?;
    Ok(stream.into())
}

/// Ends both directions of a socket, and with them whatever waits on it.
pub(crate) fn shut_down(socket: &OwnedFd) {
    // SAFETY: the call takes no pointers. It fails on what is not connected, which is as well.
    unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) };
}

/// Listens at a free port with a chosen backlog, which the standard library does not let one do.
#[cfg(test)]
pub(crate) fn tests_listen(socket: OwnedFd, backlog: i32) -> TcpListener {
    // SAFETY: an unbound socket that listens is bound to a free port; the call takes no pointers.
    assert_eq!(unsafe { libc::listen(socket.as_raw_fd(), backlog) }, 0);
    socket.into()
}
