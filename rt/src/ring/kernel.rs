//! The kernel's side of the reactor, and nothing else: tests have a shim here that injects faults.

use super::ReactorLimits;
use super::alarm::Alarm;
use crate::limits::MAX_IO_WORKERS;
use io_uring::types::{SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};
use std::io;
use std::time::Duration;

/// One completion as the kernel reports it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reaped {
    pub user_data: u64,
    /// A count, or a negated errno.
    pub result: i32,
    pub flags: u32,
}

/// An io_uring.
pub(super) struct Kernel {
    ring: IoUring,
    #[cfg(test)]
    pub shim: Option<super::shim::Shim>,
}

impl Kernel {
    /// The fastest ring this kernel has: completions run only when this thread waits (6.1), else without
    /// interrupting it (5.19), else plain.
    pub fn new(limits: ReactorLimits) -> io::Result<Self> {
        let builder = || {
            let mut builder = IoUring::builder();
            builder.dontfork().setup_clamp().setup_cqsize(limits.completions);
            builder
        };
        let refused = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
        let single = || {
            let mut builder = builder();
            builder.setup_single_issuer().setup_taskrun_flag();
            builder
        };
        let mut made = single().setup_defer_taskrun().build(limits.submissions);
        if made.as_ref().is_err_and(refused) {
            made = single().setup_coop_taskrun().build(limits.submissions);
        }
        if made.as_ref().is_err_and(refused) {
            made = builder().build(limits.submissions);
        }
        let ring = made.map_err(|error| {
            let why =
                format!("io_uring can't be set up ({error}); the kernel must be 5.11 or newer and allow it");
            io::Error::new(error.kind(), why)
        })?;
        if !ring.params().is_feature_ext_arg() || !ring.params().is_feature_nodrop() {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "this kernel's io_uring is too old; 5.11 or newer is needed",
            ));
        }
        // By default there are four a processor, and a few disks that hang could take all. Kernels before 5.15 don't
        // know it: they have what they have.
        let _ = ring.submitter().register_iowq_max_workers(&mut [MAX_IO_WORKERS, 0]);
        Ok(Self {
            ring,
            #[cfg(test)]
            shim: None,
        })
    }

    /// How many completions the kernel keeps for us.
    pub fn completion_capacity(&self) -> usize {
        self.ring.params().cq_entries() as usize
    }

    /// Makes room for `entries` (2 at most), which then go to the kernel in one submission.
    pub fn reserve(&mut self, entries: usize) -> io::Result<()> {
        let has_room = |ring: &mut IoUring| {
            let queue = ring.submission();
            queue.capacity() - queue.len() >= entries
        };
        if has_room(&mut self.ring) {
            return Ok(());
        }
        #[cfg(test)]
        if let Some(error) = self.shim.as_mut().and_then(super::shim::Shim::refuse) {
            return Err(error);
        }
        self.ring.submit()?;
        if has_room(&mut self.ring) { Ok(()) } else { Err(io::ErrorKind::WouldBlock.into()) }
    }

    /// Puts an entry into the submission queue, where `reserve` made room.
    ///
    /// # Safety
    /// Everything the entry points to stays valid and unmoved until its completion was reaped.
    pub unsafe fn push(&mut self, entry: &squeue::Entry) {
        #[cfg(test)]
        let entry = &self.shim.as_mut().map_or_else(|| entry.clone(), |shim| shim.submit(entry));
        // SAFETY: the caller's promise is `squeue::push`'s own.
        unsafe { self.ring.submission().push(entry) }.expect("the caller reserved room");
    }

    /// Submits what was pushed and waits for one completion at least, or until `timeout`; `Some(ZERO)`
    /// does not wait, and nor does a wake-up that came before. Signals and timeouts are not errors.
    pub fn enter(&mut self, timeout: Option<Duration>, alarm: &Alarm) -> io::Result<()> {
        #[cfg(test)]
        let timeout = match &self.shim {
            Some(shim) if shim.holds() => Some(Duration::ZERO),
            _ => timeout,
        };
        if timeout == Some(Duration::ZERO) || self.has_completions() || alarm.is_signalled() {
            return if self.wants_call() { self.call(0, timeout) } else { Ok(()) };
        }
        // Unless a wake-up came first.
        let want = u32::from(alarm.falls_asleep());
        self.call(want, timeout)
    }

    /// Whether a call that does not wait would do anything: submit, or bring completions that need one.
    fn wants_call(&mut self) -> bool {
        let queue = self.ring.submission();
        !queue.is_empty() || queue.taskrun() || queue.cq_overflow()
    }

    fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// One call of the kernel, which submits what was pushed and waits for `want` completions.
    fn call(&mut self, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        let to_submit = u32::try_from(self.ring.submission().len()).expect("queue lengths are u32");
        let mut args = SubmitArgs::new();
        let spec = timeout.map(Timespec::from);
        if let Some(spec) = &spec {
            args = args.timespec(spec);
        }
        // GETEVENTS even when not waiting: deferred completions run only in an enter that carries it.
        let flags = (EnterFlags::GETEVENTS | EnterFlags::EXT_ARG).bits();
        #[cfg(test)]
        let interrupted = self.shim.as_mut().and_then(super::shim::Shim::interrupt);
        #[cfg(not(test))]
        let interrupted = None;
        let entered = match interrupted {
            Some(error) => Err(error),
            // SAFETY: `args` and what it points to live until the call returns.
            None => unsafe { self.ring.submitter().enter(to_submit, want, flags, Some(&args)) },
        };
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }

    /// Takes the completions that are there.
    pub fn reap(&mut self, out: &mut Vec<Reaped>) {
        out.extend(self.ring.completion().map(|entry: cqueue::Entry| Reaped {
            user_data: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        #[cfg(test)]
        if let Some(shim) = &mut self.shim {
            shim.reap(out);
        }
    }

    /// Asks the kernel to cancel the operation with `user_data`; the request's own completion carries
    /// `own_user_data`.
    pub fn push_cancel(&mut self, user_data: u64, own_user_data: u64) {
        let entry = opcode::AsyncCancel::new(user_data).build().user_data(own_user_data);
        // SAFETY: a cancel points to nothing.
        unsafe { self.push(&entry) };
    }
}
