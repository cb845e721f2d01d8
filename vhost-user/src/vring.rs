//! One queue while it runs: its rings in guest memory and the two descriptors that announce work.

use crate::error::{Error, ErrorKind};
use crate::mem::GuestRam;
use std::fs::File;
use std::io::{ErrorKind as IoErrorKind, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::{DescriptorChain, Queue, QueueOwnedT, QueueT};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

/// Where a queue's three parts lie in guest memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RingPlace {
    pub descriptors: u64,
    pub available: u64,
    pub used: u64,
}

/// What a queue is started with.
#[derive(Debug)]
pub struct VringSetup {
    pub size: u16,
    pub place: RingPlace,
    /// The next entry of the available ring to look at.
    pub next_avail: u16,
    pub has_event_idx: bool,
    /// What to write to when requests are done; `None` when the front end polls.
    pub call: Option<File>,
}

/// A running queue.
pub struct Vring {
    queue: Queue,
    available: GuestAddress,
    call: Option<File>,
}

impl Vring {
    /// Checks that the rings lie in `ram` and takes up where the used ring says the last device stopped.
    pub fn start(setup: VringSetup, ram: &GuestRam) -> Result<Self, Error> {
        let mut queue = Queue::new(setup.size).map_err(unusable)?;
        let RingPlace { descriptors, available, used } = setup.place;
        queue.try_set_desc_table_address(GuestAddress(descriptors)).map_err(unusable)?;
        queue.try_set_avail_ring_address(GuestAddress(available)).map_err(unusable)?;
        queue.try_set_used_ring_address(GuestAddress(used)).map_err(unusable)?;
        queue.set_event_idx(setup.has_event_idx);
        queue.set_next_avail(setup.next_avail);
        queue.set_ready(true);
        let next_used = queue.used_idx(ram.map(), Ordering::Relaxed).map_err(unusable)?;
        queue.set_next_used(next_used.0);
        let mut vring = Self { queue, available: GuestAddress(available), call: None };
        vring.check(ram)?;
        vring.set_call(setup.call)?;
        Ok(vring)
    }

    /// Checks again that the rings are mapped, after the memory table changed.
    pub fn check(&self, ram: &GuestRam) -> Result<(), Error> {
        // A front end may share memory whose first page is at 0, but no ring lies there: the queue takes an
        // available ring at 0 for one that was never set.
        if self.queue.is_valid(ram.map()) && self.available.0 != 0 {
            Ok(())
        } else {
            Err(Error::new(ErrorKind::Protocol, "a queue's rings are not in guest memory"))
        }
    }

    /// Changes what is written to when requests are done.
    pub fn set_call(&mut self, call: Option<File>) -> Result<(), Error> {
        self.call = match call {
            None => None,
            Some(file) => {
                // A full pipe or counter in the place of an eventfd must not stop the data thread. The
                // stream is only the standard library's safe way to set a descriptor non-blocking.
                let stream = UnixStream::from(OwnedFd::from(file));
                stream.set_nonblocking(true).map_err(|error| Error::system("a queue's call", error))?;
                Some(File::from(OwnedFd::from(stream)))
            }
        };
        Ok(())
    }

    /// The next chain that the driver made available, if there is one.
    pub fn pop<'m>(
        &mut self,
        ram: &'m GuestRam,
    ) -> Result<Option<DescriptorChain<&'m GuestMemoryMmap>>, Error> {
        Ok(self.queue.iter(ram.map()).map_err(unusable)?.next())
    }

    /// Asks the driver not to announce new chains.
    pub fn silence(&mut self, ram: &GuestRam) -> Result<(), Error> {
        self.queue.disable_notification(ram.map()).map_err(unusable)
    }

    /// Asks the driver to announce the next chain. True if one came meanwhile, which nobody will announce.
    pub fn listen(&mut self, ram: &GuestRam) -> Result<bool, Error> {
        self.queue.enable_notification(ram.map()).map_err(unusable)
    }

    /// Hands a chain back, with how many bytes were written to it.
    pub fn give_back(&mut self, ram: &GuestRam, head: u16, len: u32) -> Result<(), Error> {
        self.queue.add_used(ram.map(), head, len).map_err(unusable)
    }

    /// Announces what was handed back since the last call, if the driver wants to know.
    pub fn announce(&mut self, ram: &GuestRam) -> Result<(), Error> {
        let wanted = self.queue.needs_notification(ram.map()).map_err(unusable)?
            && (self.queue.event_idx_enabled() || !self.is_muted(ram)?);
        if !wanted {
            return Ok(());
        }
        let Some(call) = &mut self.call else { return Ok(()) };
        match call.write_all(&1u64.to_ne_bytes()) {
            // A counter that is full already says that there is something.
            Err(error) if error.kind() == IoErrorKind::WouldBlock => Ok(()),
            outcome => outcome.map_err(|error| Error::system("announcing to the guest", error)),
        }
    }

    /// Where a next device goes on in the available ring.
    pub fn next_avail(&self) -> u16 {
        self.queue.next_avail()
    }

    fn is_muted(&self, ram: &GuestRam) -> Result<bool, Error> {
        let flags: u16 = ram.map().load(self.available, Ordering::Relaxed).map_err(|error| {
            Error::caused(ErrorKind::Protocol, "an available ring is not in guest memory", error)
        })?;
        Ok(u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT != 0)
    }
}

fn unusable(error: virtio_queue::Error) -> Error {
    Error::caused(ErrorKind::Protocol, "a queue is unusable", error)
}
