//! When a device takes its volume over, and how far it is with that.

use crate::error::Error;

/// When a device takes its volume over from whoever wrote it before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Open {
    /// Before it is served: [`Device::serve`](crate::Device::serve) waits for it.
    AtOnce,
    /// When the first queue starts: so for the host that a running guest is about to move to, since its old
    /// host writes until then.
    WithFirstQueue,
    /// By [`DeviceHandle::open`](crate::DeviceHandle::open) alone: for who has to write the change of hosts down
    /// before it happens. Queues that start meanwhile wait.
    WhenTold,
}

/// How far the volume is.
pub enum Opening {
    /// Until it is told.
    Held,
    NotBegun,
    Underway,
    Done,
    /// It can't be served; every session hears why.
    Failed(Error),
}
