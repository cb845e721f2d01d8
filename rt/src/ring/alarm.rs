//! Wakes a reactor's thread from another one.
//!
//! A wake-up costs a system call and, on an idle processor, an interrupt. So a reactor says when it sleeps, and
//! looks once more at what was put before it right after it said so: who finds it awake only leaves word, who finds
//! it asleep pays. It is the event index of virtio, for threads.

use super::Fd;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::{fmt, io};

/// The reactor's thread looks at everything before it sleeps.
const AWAKE: u8 = 0;
/// It waits in the kernel, or is about to.
const ASLEEP: u8 = 1;
/// Somebody woke it, and it has not looked since.
const SIGNALLED: u8 = 2;

/// Makes [`Reactor::wait`](super::Reactor::wait) return. Clones wake the same reactor.
///
/// Put the message where the reactor's thread looks, then ring; the thread looks after each `wait`.
#[derive(Clone)]
pub(super) struct Alarm {
    event: Fd,
    state: Arc<AtomicU8>,
}

impl Alarm {
    pub fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so `fd` is open and nobody else's.
        let event = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { event, state: Arc::new(AtomicU8::new(AWAKE)) })
    }

    /// Makes the reactor's present or next `wait` return.
    pub fn ring(&self) {
        if self.state.swap(SIGNALLED, Ordering::SeqCst) != ASLEEP {
            return;
        }
        let one = 1u64.to_ne_bytes();
        // SAFETY: the eight bytes outlive the call. It can't fail or block: it is made once a sleep, and the
        // count, which the reactor's read resets, never gets near its maximum.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub fn event(&self) -> Fd {
        self.event.clone()
    }

    /// Whether somebody wakes the reactor, seen without a system call.
    pub fn is_signalled(&self) -> bool {
        self.state.load(Ordering::SeqCst) == SIGNALLED
    }

    /// The reactor's thread is about to sleep; `false` if it must look again instead.
    pub fn falls_asleep(&self) -> bool {
        self.state.compare_exchange(AWAKE, ASLEEP, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Called at the end of a wait, before the causes of wake-ups are looked for; whether there may be any.
    pub fn awakes(&self) -> bool {
        self.state.swap(AWAKE, Ordering::SeqCst) == SIGNALLED
    }
}

impl fmt::Debug for Alarm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Alarm")
    }
}
