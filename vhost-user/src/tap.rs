//! Looks at each message before the protocol crate takes it, for the two things the crate keeps to itself: the
//! socket of the back end's own requests, which it wraps but offers no CONFIG_CHANGE on, and SET_LOG_FD, which
//! it does not know.

use crate::error::Error;
use crate::vring::nonblocking;
use rustix::io::Errno;
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, recv, recvmsg};
use std::fs::File;
use std::io::{IoSliceMut, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

const HEADER_BYTES: usize = 12;
const SET_LOG_FD: u32 = 7;
const SET_BACKEND_REQ_FD: u32 = 21;
/// The back end's request that says that the config space changed.
const CONFIG_CHANGE: u32 = 2;
/// Header flags: the protocol's version, a reply, a wish for one.
const VERSION: u32 = 1;
const REPLY: u32 = 4;
const NEED_REPLY: u32 = 8;

/// A message that is next on a connection.
pub enum Next {
    /// The protocol crate's business, as are ends and errors of the connection.
    Other,
    /// SET_BACKEND_REQ_FD, still to be taken by the crate, and the socket that comes with it.
    BackendSocket(Option<UnixStream>),
    /// SET_LOG_FD, taken: the descriptor, and whether the front end waits for a reply.
    LogCall { call: File, needs_reply: bool },
    /// SET_LOG_FD that makes no sense.
    BadLogCall,
}

/// Waits for the next message: which it is. None is for the protocol crate to say something about: the connection's
/// end, or a header in pieces, which is legal and never sent.
pub fn await_request(stream: &UnixStream) -> Option<u32> {
    let mut header = [0; HEADER_BYTES];
    let peeked = loop {
        match recv(stream, &mut header, RecvFlags::PEEK) {
            Err(Errno::INTR) => {}
            outcome => break outcome,
        }
    };
    matches!(peeked, Ok((HEADER_BYTES, _))).then(|| word(&header, 0))
}

/// Waits for the next message and looks at it.
pub fn look(stream: &UnixStream) -> Next {
    let Some(request) = await_request(stream) else { return Next::Other };
    match request {
        SET_BACKEND_REQ_FD => {
            let socket = receive(stream, RecvFlags::PEEK).and_then(|(_, fd)| fd).map(UnixStream::from);
            Next::BackendSocket(socket)
        }
        SET_LOG_FD => match receive(stream, RecvFlags::empty()) {
            Some((header, Some(fd))) if word(&header, 8) == 0 => {
                Next::LogCall { call: File::from(fd), needs_reply: word(&header, 4) & NEED_REPLY != 0 }
            }
            _ => Next::BadLogCall,
        },
        _ => Next::Other,
    }
}

/// Answers SET_LOG_FD.
pub fn acknowledge_log_call(mut stream: &UnixStream) -> std::io::Result<()> {
    let header = [SET_LOG_FD, VERSION | REPLY, 8].map(u32::to_le_bytes).concat();
    stream.write_all(&[&header[..], &0u64.to_le_bytes()].concat())
}

/// The socket on which the back end asks things of the front end.
pub struct BackendSocket(UnixStream);

impl BackendSocket {
    pub fn new(socket: UnixStream) -> Result<Self, Error> {
        // A front end that does not read must not stop whoever resizes the volume.
        nonblocking(File::from(OwnedFd::from(socket))).map(|file| Self(UnixStream::from(OwnedFd::from(file))))
    }

    /// Says that the config space changed. One that is lost in a full socket is no loss: others wait in it.
    pub fn say_config_changed(&self) -> std::io::Result<()> {
        let message = [CONFIG_CHANGE, VERSION, 0].map(u32::to_le_bytes).concat();
        match (&self.0).write(&message) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
            Ok(sent) if sent < message.len() => Err(std::io::ErrorKind::WriteZero.into()),
            outcome => outcome.map(|_| ()),
        }
    }
}

/// A header and the one descriptor that comes with it.
fn receive(stream: &UnixStream, flags: RecvFlags) -> Option<([u8; HEADER_BYTES], Option<OwnedFd>)> {
    let mut header = [0; HEADER_BYTES];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = flags | RecvFlags::CMSG_CLOEXEC;
    let received = recvmsg(stream, &mut [IoSliceMut::new(&mut header)], &mut control, flags).ok()?;
    let fds = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(fds) => Some(fds),
        _ => None,
    });
    let mut fds: Vec<OwnedFd> = fds.flatten().collect();
    // The space is rounded up and may hold a second one; what it can't hold, the kernel has dropped.
    let is_one = fds.len() == 1 && !received.flags.contains(ReturnFlags::CTRUNC);
    let fd = if is_one { fds.pop() } else { None };
    (received.bytes == HEADER_BYTES).then_some((header, fd))
}

fn word(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"))
}
