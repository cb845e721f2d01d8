//! What a writer asks of the control plane while a volume is open, and how that is asked off the thread that
//! moves data.

use super::core::{Complaint, CoreInput};
use crate::limits::CONTROL_TIMEOUT;
use crate::{Error, ErrorKind};
use proto::control::PoolMap;
use proto::{DiskId, GroupEpoch, GroupId};
use rt::ring::Waker;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use tokio::runtime::Handle;

/// The error of a call to the control plane.
pub type ControlError = Error;

/// An answer of the control plane that is under way.
pub type ControlFuture<T> = Pin<Box<dyn Future<Output = Result<T, ControlError>> + Send>>;

/// The control plane, as the writers of volumes use it. Neither call needs an answer soon: while there is
/// none a writer waits, and asks again.
pub trait ControlPlane: Send + Sync {
    /// Takes a failed disk out of the groups that are still at the epochs named. The last in-sync member of
    /// a group stays. Answers with the present map, whatever it could do.
    /// One that is slow stays also where too few others would be in sync, and is kept out for a while.
    fn evict(
        &self,
        disk: DiskId,
        groups: Vec<(GroupId, GroupEpoch)>,
        complaint: (Complaint, String),
    ) -> ControlFuture<PoolMap>;

    /// The map, if it is newer than `version`.
    fn map_since(&self, version: u64) -> ControlFuture<Option<PoolMap>>;
}

/// A control plane, and the runtime that its answers are awaited on.
#[derive(Clone)]
pub struct ControlHandle {
    plane: Arc<dyn ControlPlane>,
    runtime: Handle,
}

impl ControlHandle {
    pub fn new(plane: Arc<dyn ControlPlane>, runtime: Handle) -> Self {
        Self { plane, runtime }
    }
}

impl fmt::Debug for ControlHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ControlHandle")
    }
}

/// A driver's line to the control plane. A core has one question at a time.
pub(super) struct ControlLine {
    control: Option<ControlHandle>,
    /// Wakes the reactor that takes the answers.
    waker: Option<Waker>,
    sender: SyncSender<CoreInput>,
    answers: Receiver<CoreInput>,
}

impl ControlLine {
    /// Without a control plane every question is answered with "no map", as while it is away.
    pub fn new(control: Option<ControlHandle>) -> Self {
        let (sender, answers) = sync_channel(1);
        Self { control, waker: None, sender, answers }
    }

    pub fn wake_with(&mut self, waker: Waker) {
        self.waker = Some(waker);
    }

    pub fn evict(&self, disk: DiskId, groups: Vec<(GroupId, GroupEpoch)>, complaint: (Complaint, String)) {
        self.ask(|plane| {
            let evicting = plane.evict(disk, groups, complaint);
            Box::pin(async move { evicting.await.map(Some) })
        });
    }

    pub fn map_since(&self, version: u64) {
        self.ask(|plane| plane.map_since(version));
    }

    /// What came since the last call.
    pub fn take(&self) -> Option<CoreInput> {
        self.answers.try_recv().ok()
    }

    fn ask(&self, call: impl FnOnce(&dyn ControlPlane) -> ControlFuture<Option<PoolMap>>) {
        let answer = Answer { input: None, sender: self.sender.clone(), waker: self.waker.clone() };
        let Some(control) = &self.control else { return };
        let asking = call(&*control.plane);
        control.runtime.spawn(async move {
            // Held whole by the task: when it ends, however it ends, there is an answer.
            let mut answer = answer;
            match tokio::time::timeout(CONTROL_TIMEOUT, asking).await {
                Ok(Ok(map)) => answer.give(map.map(CoreInput::Map)),
                Ok(Err(error)) => tracing::warn!(%error, "the control plane could not be asked"),
                Err(_) => tracing::warn!("the control plane did not answer in time"),
            }
        });
    }
}

/// Sent when it is dropped, so that a runtime that ends leaves no question open.
struct Answer {
    input: Option<CoreInput>,
    sender: SyncSender<CoreInput>,
    waker: Option<Waker>,
}

impl Answer {
    fn give(&mut self, input: Option<CoreInput>) {
        self.input = input;
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        // There is room, since a core has one question at a time; a driver that is gone wants no answer.
        let _ = self.sender.try_send(self.input.take().unwrap_or(CoreInput::NoMap));
        if let Some(waker) = &self.waker {
            waker.wake();
        }
    }
}

/// The error of a control plane that can't be reached.
pub fn control_unavailable(why: impl fmt::Display) -> ControlError {
    Error::new(ErrorKind::Unavailable, format!("the control plane can't be asked: {why}"))
}
