//! Front ends that go on where they were with the device before this one, and agree on nothing again.
//!
//! QEMU from 7.2 to 9.0 forgets to look after a disk whose connection ends while its queues are stopped: the guest is
//! paused, or moves, or boots. Its socket connects again, and stays silent. When the queues are to start, it uses that
//! connection as if it were the one before: the first message is SET_FEATURES. The device knows what it offers, so
//! it takes that for agreed, and the guest has its disk back. ("vhost-user: fix lost reconnect again" mends it
//! in QEMU 9.1.)
#![allow(unsafe_code)]

use crate::session::Session;
use rustix::io::{DupFlags, dup3};
use std::io::Write;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use vhost::vhost_user::message::VhostUserProtocolFeatures;
use vhost::vhost_user::{BackendReqHandler, Error as ProtocolError};

const GET_FEATURES: u32 = 1;
pub const SET_FEATURES: u32 = 2;
const SET_PROTOCOL_FEATURES: u32 = 16;
const VERSION: u32 = 1;

/// A handler of `stream` with which `agreed` is agreed already. The protocol crate takes that from messages only, so it
/// gets them on a connection of their own, whose place `stream` takes then.
pub fn handler(
    stream: UnixStream,
    session: &Arc<Mutex<Session>>,
    agreed: VhostUserProtocolFeatures,
) -> Result<BackendReqHandler<Mutex<Session>>, ProtocolError> {
    let (mut front_end, back_end) = UnixStream::pair().map_err(ProtocolError::SocketError)?;
    let mut handler = BackendReqHandler::from_stream(back_end, Arc::clone(session));
    let mut say = |request: u32, body: &[u8]| -> Result<(), ProtocolError> {
        let len = u32::try_from(body.len()).expect("eight bytes at most");
        let header = [request, VERSION, len].map(u32::to_le_bytes).concat();
        front_end.write_all(&[&header, body].concat()).map_err(ProtocolError::SocketError)?;
        handler.handle_request()
    };
    // Its answer, which nobody reads, ends with the connection.
    say(GET_FEATURES, &[])?;
    say(SET_PROTOCOL_FEATURES, &agreed.bits().to_le_bytes())?;
    // SAFETY: the handler owns the descriptor and outlives this borrow of it, which is not dropped; dup3 only makes the
    // same number name another socket of the same kind.
    let mut place = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(handler.as_raw_fd()) });
    dup3(&stream, &mut place, DupFlags::CLOEXEC).map_err(|error| ProtocolError::SocketError(error.into()))?;
    Ok(handler)
}
