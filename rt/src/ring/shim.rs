//! What a kernel may do to a ring and seldom does, done on purpose in tests: transfers that stop short, operations
//! that end with an error before they moved anything, calls that are interrupted, and completions that come late
//! and in another order. The reactor above is the real one, and so is the kernel below.

use super::kernel::Reaped;
use io_uring::{opcode, squeue};
use std::collections::HashMap;
use std::io;

/// What becomes of one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It moves this many bytes at most; 0 leaves it as it is.
    Short(u32),
    /// It does nothing and ends with this errno.
    Errno(i32),
}

/// The operations that a plan can tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A read or write of this many bytes.
    Disk(u32),
    /// A write of this many pieces.
    Gather(u32),
    Fsync,
    /// The read of an eventfd, behind its poll.
    Event,
    Recv(u32),
    Send,
    Other,
}

/// How often each thing happened: a fault that never fires is no test.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fired {
    pub short: u64,
    pub errno: u64,
    pub late: u64,
    pub interrupted: u64,
    pub refused: u64,
}

/// Sits between a reactor and its kernel.
pub(crate) struct Shim {
    plan: Box<dyn FnMut(Kind) -> Fault>,
    random: Random,
    /// Of 16 completions, and of 16 calls of the kernel, those that are held up.
    late: u64,
    /// Errors in the place of results, by the operation's `user_data`.
    instead: HashMap<u64, i32>,
    held: Vec<Reaped>,
    /// Kept until the end: the kernel reads them when it likes.
    #[expect(clippy::vec_box, reason = "the kernel has their addresses while others are added")]
    messages: Vec<Box<Message>>,
    pub fired: Fired,
}

/// A shorter message in the place of a send's own.
struct Message {
    header: libc::msghdr,
    iovec: libc::iovec,
}

/// splitmix64.
pub(crate) struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (value ^ (value >> 31)) % bound
    }

    pub fn short(&mut self, bound: u32) -> u32 {
        u32::try_from(self.below(u64::from(bound))).expect("it is below a u32")
    }

    pub fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).expect("it is below a length")
    }
}

// Where the kernel's `struct io_uring_sqe` has them; it is part of its interface.
const OPCODE_AT: usize = 0;
const ADDR_AT: usize = 16;
const LEN_AT: usize = 24;
const USER_DATA_AT: usize = 32;

impl Shim {
    /// `late` of 16 completions and calls are held up, in an order that `seed` decides.
    pub fn new(seed: u64, late: u64, plan: impl FnMut(Kind) -> Fault + 'static) -> Self {
        Self {
            plan: Box::new(plan),
            random: Random(seed),
            late,
            instead: HashMap::new(),
            held: Vec::new(),
            messages: Vec::new(),
            fired: Fired::default(),
        }
    }

    /// The entry that goes to the kernel in the place of `entry`.
    pub fn submit(&mut self, entry: &squeue::Entry) -> squeue::Entry {
        let mut bytes = bytes_of(entry);
        let kind = kind_of(&bytes);
        match (self.plan)(kind) {
            Fault::None | Fault::Short(0) => return entry.clone(),
            Fault::Short(most) => match kind {
                Kind::Disk(len) | Kind::Recv(len) if most < len => {
                    bytes[LEN_AT..LEN_AT + 4].copy_from_slice(&most.to_ne_bytes());
                }
                // Whole pieces: the kernel takes a vectored write short at any place, and this is one.
                Kind::Gather(pieces) if pieces > 1 => {
                    bytes[LEN_AT..LEN_AT + 4].copy_from_slice(&(1 + most % (pieces - 1)).to_ne_bytes());
                }
                Kind::Send => {
                    let message = self.shorter(address(&bytes), most as usize);
                    bytes[ADDR_AT..ADDR_AT + 8].copy_from_slice(&(message as u64).to_ne_bytes());
                }
                _ => return entry.clone(),
            },
            Fault::Errno(errno) => {
                let user_data = u64::from_ne_bytes(part(&bytes, USER_DATA_AT));
                self.instead.insert(user_data, -errno);
                self.fired.errno += 1;
                return opcode::Nop::new().build().user_data(user_data);
            }
        }
        self.fired.short += 1;
        // SAFETY: an entry is the 64 bytes of the kernel's struct, any value of which is one.
        unsafe { std::mem::transmute::<[u8; 64], squeue::Entry>(bytes) }
    }

    fn shorter(&mut self, message: u64, most: usize) -> *const libc::msghdr {
        let header = message as *const libc::msghdr;
        // SAFETY: the reactor's scratch holds the message and its first iovec until the send completes.
        let (header, first) = unsafe { (*header, *(*header).msg_iov) };
        let iovec = libc::iovec { iov_base: first.iov_base, iov_len: first.iov_len.min(most) };
        self.messages.push(Box::new(Message { header, iovec }));
        let message = self.messages.last_mut().expect("it was pushed");
        message.header.msg_iov = &raw mut message.iovec;
        message.header.msg_iovlen = 1;
        &raw const message.header
    }

    /// Whether a call of the kernel is interrupted before it did anything.
    pub fn interrupt(&mut self) -> Option<io::Error> {
        let errno = [libc::EINTR, libc::EAGAIN, libc::EBUSY][self.random.index(3)];
        (self.random.below(16) < self.late).then(|| {
            self.fired.interrupted += 1;
            io::Error::from_raw_os_error(errno)
        })
    }

    /// Whether the kernel takes no submission now.
    pub fn refuse(&mut self) -> Option<io::Error> {
        (self.random.below(16) < self.late).then(|| {
            self.fired.refused += 1;
            io::Error::from_raw_os_error(libc::EBUSY)
        })
    }

    /// Whether completions wait here, so that the kernel may have none left to wait for.
    pub fn holds(&self) -> bool {
        !self.held.is_empty()
    }

    /// Changes what the kernel reported, and holds some of it back.
    pub(super) fn reap(&mut self, out: &mut Vec<Reaped>) {
        for done in out.iter_mut() {
            if let Some(result) = self.instead.remove(&done.user_data) {
                done.result = result;
            }
        }
        self.held.append(out);
        let mut left = Vec::new();
        while !self.held.is_empty() {
            let next = self.random.index(self.held.len());
            let done = self.held.swap_remove(next);
            if self.random.below(16) < self.late {
                self.fired.late += 1;
                left.push(done);
            } else {
                out.push(done);
            }
        }
        self.held = left;
    }
}

fn bytes_of(entry: &squeue::Entry) -> [u8; 64] {
    // SAFETY: as in `submit`; and every byte of an entry is initialised, since the crate zeroes it first.
    unsafe { std::mem::transmute::<squeue::Entry, [u8; 64]>(entry.clone()) }
}

fn part<const N: usize>(bytes: &[u8; 64], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the lengths agree")
}

fn address(bytes: &[u8; 64]) -> u64 {
    u64::from_ne_bytes(part(bytes, ADDR_AT))
}

fn kind_of(bytes: &[u8; 64]) -> Kind {
    let len = u32::from_ne_bytes(part(bytes, LEN_AT));
    // Only an event's read asks for no offset.
    let is_stream = u64::from_ne_bytes(part(bytes, 8)) == u64::MAX;
    match bytes[OPCODE_AT] {
        opcode::Read::CODE if is_stream => Kind::Event,
        opcode::Read::CODE | opcode::Write::CODE => Kind::Disk(len),
        opcode::Writev::CODE => Kind::Gather(len),
        opcode::Fsync::CODE => Kind::Fsync,
        opcode::Recv::CODE => Kind::Recv(len),
        opcode::SendMsg::CODE => Kind::Send,
        _ => Kind::Other,
    }
}

#[cfg(test)]
#[path = "shim_test.rs"]
mod tests;
