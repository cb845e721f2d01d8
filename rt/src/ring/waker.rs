//! Wakes a reactor from another thread.

use super::Fd;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, io};

/// A handle that makes [`Reactor::wait`](super::Reactor::wait) return. Clones wake the same reactor.
///
/// Put the message where the reactor's thread looks, then wake; the thread looks after each `wait`.
#[derive(Clone)]
pub struct Waker {
    event: Fd,
    /// Set while a wake-up is on its way, so that a thousand wakes cost one system call.
    pending: Arc<AtomicBool>,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes no pointers.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the call succeeded, so `fd` is open and nobody else's.
        let event = Arc::new(unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Self { event, pending: Arc::default() })
    }

    /// Makes the reactor's present or next `wait` return.
    pub fn wake(&self) {
        if self.pending.swap(true, Ordering::SeqCst) {
            return;
        }
        let one = 1u64.to_ne_bytes();
        // SAFETY: the eight bytes outlive the call. It can't fail or block: the count never gets near
        // its maximum, since it is read before `pending` lets another one in.
        unsafe { libc::write(self.event.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    pub(super) fn event(&self) -> Fd {
        self.event.clone()
    }

    /// Called once the wake-up arrived and before its cause is looked for.
    pub(super) fn arrived(&self) {
        self.pending.store(false, Ordering::SeqCst);
    }
}

impl fmt::Debug for Waker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waker")
    }
}
