//! The operations, each of which owns what the kernel reads or writes until it completes.

use crate::buf::{AlignedBuf, Gather};
use bytes::{Bytes, BytesMut};
use io_uring::{opcode, squeue, types};
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

/// An open file that the operations on it keep open: a number alone could mean another file by the time
/// the kernel sees it.
pub type Fd = Arc<OwnedFd>;

/// One operation. It comes back in its [`Completion`](super::Completion) with its buffers.
#[derive(Debug)]
pub enum Op {
    /// Fills `buf` from `offset`: wholly, or it is an error.
    Read { fd: Fd, buf: AlignedBuf, offset: u64 },
    /// Writes all of `buf` at `offset`, or it is an error.
    Write { fd: Fd, buf: Gather, offset: u64 },
    /// Makes what was written durable, past the device's cache.
    Fsync { fd: Fd },
    /// Takes one connection from a listener into `accepted`.
    Accept { listener: Fd, accepted: Option<OwnedFd> },
    /// Connects a socket.
    Connect { fd: Fd, addr: SocketAddr },
    /// Appends up to `buf`'s spare capacity (which must not be zero); 0 bytes is the stream's end.
    Recv { fd: Fd, buf: BytesMut, order: RecvOrder },
    /// Sends `bufs` one after the other, [`MAX_IOVECS`](crate::limits::MAX_IOVECS) at most; the result may
    /// be short.
    Send { fd: Fd, bufs: Vec<Bytes> },
    /// Waits until an eventfd was signalled and resets it.
    WaitEvent { fd: Fd },
    /// Waits until `fd` can be read (or written, with `POLLOUT`); the result is the `poll` bits.
    Poll { fd: Fd, events: u32 },
    /// Another thread's note (see [`Notes`](super::Notes)); never pushed.
    Note,
}

/// Whether a receive looks for data at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RecvOrder {
    Now,
    /// The socket is known to be empty: wait for data first and save the attempt.
    AfterPoll,
}

/// Memory that the kernel reads besides the buffers: at a fixed place while the operation runs.
#[derive(Default)]
pub(super) struct Scratch {
    iovecs: Vec<libc::iovec>,
    message: Option<Box<libc::msghdr>>,
    address: Option<Box<Address>>,
    event: Box<[u8; 8]>,
}

/// A socket address as the kernel takes it.
#[repr(C)]
union Address {
    v4: libc::sockaddr_in,
    v6: libc::sockaddr_in6,
}

/// `IORING_RECVSEND_POLL_FIRST`, which the crate does not name.
const POLL_FIRST: u16 = 1;

impl Op {
    /// The entry of what is left of this operation after `done` bytes. A pointer in it goes to a buffer
    /// of `self` or to `scratch`, all of them on the heap: moving either does not move those.
    pub(super) fn entry(&mut self, done: usize, scratch: &mut Scratch) -> squeue::Entry {
        let at = |fd: &Fd| types::Fd(fd.as_raw_fd());
        match self {
            Op::Read { fd, buf, offset } => {
                let (start, len) = rest(buf, done);
                opcode::Read::new(at(fd), start, len).offset(*offset + done as u64).build()
            }
            Op::Write { fd, buf, offset } => {
                let iovecs = scratch.rest_of(buf, done);
                let offset = *offset + done as u64;
                if let [only] = iovecs {
                    let entry = opcode::Write::new(at(fd), only.iov_base.cast(), length(only.iov_len));
                    entry.offset(offset).build()
                } else {
                    let count = length(iovecs.len());
                    opcode::Writev::new(at(fd), iovecs.as_ptr(), count).offset(offset).build()
                }
            }
            Op::Fsync { fd } => opcode::Fsync::new(at(fd)).flags(types::FsyncFlags::DATASYNC).build(),
            Op::Accept { listener, .. } => {
                opcode::Accept::new(at(listener), std::ptr::null_mut(), std::ptr::null_mut())
                    .flags(libc::SOCK_CLOEXEC)
                    .build()
            }
            Op::Connect { fd, addr } => {
                let (address, len) = kernel_address(addr);
                let address = scratch.address.insert(Box::new(address));
                opcode::Connect::new(at(fd), std::ptr::from_ref::<Address>(address).cast(), len).build()
            }
            Op::Recv { fd, buf, order } => {
                let spare = buf.spare_capacity_mut();
                assert!(!spare.is_empty(), "a receive has room to receive into");
                let poll = if *order == RecvOrder::AfterPoll { POLL_FIRST } else { 0 };
                opcode::Recv::new(at(fd), spare.as_mut_ptr().cast(), length(spare.len())).ioprio(poll).build()
            }
            Op::Send { fd, bufs } => {
                let flags = libc::MSG_NOSIGNAL.cast_unsigned();
                opcode::SendMsg::new(at(fd), scratch.message(bufs)).flags(flags).build()
            }
            // The reactor links this behind a poll. NOWAIT, since a peer that shares the eventfd may
            // have reset it in between.
            Op::WaitEvent { fd } => opcode::Read::new(at(fd), scratch.event.as_mut_ptr(), 8)
                .offset(u64::MAX)
                .rw_flags(libc::RWF_NOWAIT)
                .build(),
            Op::Poll { fd, events } => opcode::PollAdd::new(at(fd), *events).build(),
            Op::Note => unreachable!("a note is no operation of the kernel"),
        }
    }

    /// The poll that goes before a [`Op::WaitEvent`].
    pub(super) fn poll_before(&self) -> Option<squeue::Entry> {
        let Op::WaitEvent { fd } = self else { return None };
        let readable = u32::from(libc::POLLIN.cast_unsigned());
        let flags = squeue::Flags::IO_LINK | squeue::Flags::SKIP_SUCCESS;
        Some(opcode::PollAdd::new(types::Fd(fd.as_raw_fd()), readable).build().flags(flags))
    }

    /// Bytes a disk operation must move in all; `None` for what may be short.
    pub(super) fn whole_len(&self) -> Option<usize> {
        match self {
            Op::Read { buf, .. } => Some(buf.len()),
            Op::Write { buf, .. } => Some(buf.len()),
            _ => None,
        }
    }

    /// What a disk operation that moved nothing means.
    pub(super) fn nothing_moved(&self) -> io::Error {
        match self {
            Op::Read { .. } => {
                io::Error::new(io::ErrorKind::UnexpectedEof, "the read is past the device's end")
            }
            _ => io::Error::new(io::ErrorKind::WriteZero, "the device took none of the write"),
        }
    }
}

fn iovec(buf: &[u8]) -> libc::iovec {
    libc::iovec { iov_base: buf.as_ptr().cast_mut().cast(), iov_len: buf.len() }
}

impl Scratch {
    /// What is left of a write after `done` bytes, or as much of that as goes into one call.
    fn rest_of(&mut self, buf: &Gather, mut done: usize) -> &[libc::iovec] {
        self.iovecs.clear();
        for piece in buf.pieces() {
            let skipped = done.min(piece.len());
            done -= skipped;
            if skipped < piece.len() && self.iovecs.len() < crate::limits::MAX_IOVECS {
                self.iovecs.push(iovec(&piece[skipped..]));
            }
        }
        &self.iovecs
    }

    fn message(&mut self, bufs: &[Bytes]) -> *const libc::msghdr {
        assert!(bufs.len() <= crate::limits::MAX_IOVECS, "a send has at most IOV_MAX buffers");
        self.iovecs.clear();
        self.iovecs.extend(bufs.iter().map(|buf| iovec(buf)));
        let message = self.message.get_or_insert_with(|| {
            // SAFETY: an all-zero msghdr is a valid one: null pointers with zero lengths.
            Box::new(unsafe { std::mem::zeroed() })
        });
        message.msg_iov = self.iovecs.as_mut_ptr();
        message.msg_iovlen = self.iovecs.len();
        std::ptr::from_ref::<libc::msghdr>(message)
    }
}

fn rest(buf: &mut AlignedBuf, done: usize) -> (*mut u8, u32) {
    let rest = &mut buf[done..];
    (rest.as_mut_ptr(), length(rest.len()))
}

fn length(len: usize) -> u32 {
    u32::try_from(len).expect("buffers are shorter than 4 GiB")
}

fn kernel_address(addr: &SocketAddr) -> (Address, libc::socklen_t) {
    let size = |len: usize| libc::socklen_t::try_from(len).expect("address structs are small");
    let family = |family: libc::c_int| libc::sa_family_t::try_from(family).expect("families are small");
    match addr {
        SocketAddr::V4(v4) => {
            let v4 = libc::sockaddr_in {
                sin_family: family(libc::AF_INET),
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            (Address { v4 }, size(size_of::<libc::sockaddr_in>()))
        }
        SocketAddr::V6(v6) => {
            let v6 = libc::sockaddr_in6 {
                sin6_family: family(libc::AF_INET6),
                sin6_port: v6.port().to_be(),
                sin6_flowinfo: v6.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                sin6_scope_id: v6.scope_id(),
            };
            (Address { v6 }, size(size_of::<libc::sockaddr_in6>()))
        }
    }
}
