//! A volume for tokio's users: a task on an event loop behind a handle.

use super::{Holes, VolumeConfig, VolumeDriver, VolumeOp};
use crate::limits::{
    IDLE_WAIT, VOLUME_DATA_BYTES, VOLUME_OPERATIONS, VOLUME_QUEUE, VOLUME_REACTOR_OPERATIONS,
};
use crate::{ClientError, Error, ErrorKind};
use bytes::Bytes;
use rt::clock::{Clock, SystemClock};
use rt::event_loop::{Company, EventLoops, Task, Turn};
use rt::ring::{Completion, Reactor, Waker};
use slab::Slab;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// A volume opened for writing. Clones share it; the last one to go ends its task.
///
/// Offsets and lengths are in bytes, multiples of 512. Operations that overlap in time have no order
/// between them; what was awaited comes before what is called after.
#[derive(Clone)]
pub struct Volume {
    inner: Arc<Inner>,
}

struct Inner {
    size_bytes: u64,
    /// Taken by the drop, so that the task sees the channel's end when it is woken.
    commands: Option<mpsc::Sender<Command>>,
    waker: Waker,
}

type Outcome = Result<Option<Bytes>, ClientError>;

enum Command {
    Do { op: VolumeOp, reply: oneshot::Sender<Outcome> },
    Close { reply: oneshot::Sender<()> },
}

impl Volume {
    /// Opens the volume at every member of its groups and makes them agree. Every older writer is fenced
    /// when this returns.
    pub async fn open(config: VolumeConfig) -> Result<Self, ClientError> {
        let (size_bytes, volume) = (config.lease.size_bytes, config.lease.volume);
        let (commands, receiver) = mpsc::channel(VOLUME_QUEUE);
        let (started, start) = oneshot::channel();
        let driver = VolumeDriver::new(config, OWNER)?;
        let begin = move |reactor: &mut Reactor| Ok(Worker::begin(driver, receiver, started, reactor));
        // Nobody waits for its end: whoever calls it learns of that.
        let _ = EventLoops::of_process()
            .spawn(format!("volume {volume}"), Company::Welcome, VOLUME_REACTOR_OPERATIONS, begin)
            .map_err(|error| Error::io("starting a volume's thread", error))?;
        let waker = start.await.map_err(|_| closed())??;
        Ok(Self { inner: Arc::new(Inner { size_bytes, commands: Some(commands), waker }) })
    }

    pub fn size_bytes(&self) -> u64 {
        self.inner.size_bytes
    }

    /// Whether its task still takes operations.
    pub fn is_open(&self) -> bool {
        self.inner.commands.as_ref().is_some_and(|commands| !commands.is_closed())
    }

    /// `len` bytes from `offset`.
    pub async fn read(&self, offset: u64, len: usize, holes: Holes) -> Result<Bytes, ClientError> {
        let data = self.call(VolumeOp::Read { offset, len, holes }).await?;
        data.ok_or_else(|| Error::new(ErrorKind::Invalid, "a read came back without data"))
    }

    /// Returns when every in-sync member has the data; it is durable after a [`flush`](Self::flush).
    pub async fn write(&self, offset: u64, data: Bytes) -> Result<(), ClientError> {
        self.call(VolumeOp::Write { offset, data }).await.map(drop)
    }

    /// Makes every write and trim that has returned durable on every in-sync member.
    pub async fn flush(&self) -> Result<(), ClientError> {
        self.call(VolumeOp::Flush).await.map(drop)
    }

    /// Gives the space of the whole 4 KiB blocks in the range back; those read as zeros.
    pub async fn trim(&self, offset: u64, len: u64) -> Result<(), ClientError> {
        self.call(VolumeOp::Trim { offset, len }).await.map(drop)
    }

    /// Makes the range read as zeros.
    pub async fn write_zeroes(&self, offset: u64, len: u64) -> Result<(), ClientError> {
        self.call(VolumeOp::WriteZeroes { offset, len }).await.map(drop)
    }

    /// Ends the volume's task. Whatever is still in progress, on any clone, fails with `Closed`.
    pub async fn close(&self) {
        let (reply, done) = oneshot::channel();
        if self.send(Command::Close { reply }).await.is_ok() {
            let _ = done.await;
        }
    }

    async fn call(&self, op: VolumeOp) -> Outcome {
        let (reply, outcome) = oneshot::channel();
        self.send(Command::Do { op, reply }).await?;
        outcome.await.map_err(|_| closed())?
    }

    async fn send(&self, command: Command) -> Result<(), ClientError> {
        let commands = self.inner.commands.as_ref().ok_or_else(closed)?;
        commands.send(command).await.map_err(|_| closed())?;
        self.inner.waker.wake();
        Ok(())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.commands = None;
        self.waker.wake();
    }
}

fn closed() -> ClientError {
    Error::new(ErrorKind::Closed, "the volume is closed; open it again")
}

/// The task's side.
struct Worker {
    driver: VolumeDriver,
    commands: mpsc::Receiver<Command>,
    /// Who waits for which operation, and its bytes of data.
    callers: Slab<(oneshot::Sender<Outcome>, usize)>,
    data_bytes: usize,
    started: Option<oneshot::Sender<Result<Waker, ClientError>>>,
}

/// The driver's number among this task's owners.
const OWNER: u8 = 1;

impl Worker {
    fn begin(
        mut driver: VolumeDriver,
        commands: mpsc::Receiver<Command>,
        started: oneshot::Sender<Result<Waker, ClientError>>,
        reactor: &mut Reactor,
    ) -> Self {
        driver.start(reactor);
        Self { driver, commands, callers: Slab::new(), data_bytes: 0, started: Some(started) }
    }

    fn tell_done(&mut self) {
        while let Some((id, outcome)) = self.driver.take_done() {
            let key = usize::try_from(id).expect("ids are the slab's keys");
            let (caller, len) = self.callers.remove(key);
            self.data_bytes -= len;
            // A caller that was cancelled does not want to know.
            let _ = caller.send(outcome);
        }
    }

    /// `false` when opening failed, and with it this task's work.
    fn tell_opened(&mut self, reactor: &Reactor) -> bool {
        let Some(outcome) = self.driver.take_opened() else { return true };
        let Some(started) = self.started.take() else { return true };
        let opened = outcome.is_ok();
        // Nobody waits for the open any more: then the channel is closed too, and the task ends by it.
        let _ = started.send(outcome.map(|()| reactor.waker()));
        opened
    }

    /// `false` when there will be no more of them.
    fn take_commands(&mut self, reactor: &mut Reactor) -> bool {
        while self.callers.len() < VOLUME_OPERATIONS && self.data_bytes < VOLUME_DATA_BYTES {
            match self.commands.try_recv() {
                Ok(Command::Do { op, reply }) => {
                    let len = op.data_len();
                    self.data_bytes += len;
                    let id = self.callers.insert((reply, len)) as u64;
                    self.driver.submit(id, op, reactor);
                }
                Ok(Command::Close { reply }) => {
                    let _ = reply.send(());
                    return false;
                }
                Err(mpsc::error::TryRecvError::Empty) => return true,
                Err(mpsc::error::TryRecvError::Disconnected) => return false,
            }
        }
        true
    }
}

/// Serves until the handles are gone or say so; callers then see their channels close.
impl Task for Worker {
    type Outcome = ();

    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor) {
        self.driver.on_completion(completion, reactor);
    }

    fn turn(&mut self, reactor: &mut Reactor) -> Turn<()> {
        self.driver.on_deadline(reactor);
        if !self.tell_opened(reactor) {
            return Turn::End(());
        }
        // What is done makes room for what waits; what is submitted may be done at once.
        self.tell_done();
        if !self.take_commands(reactor) {
            return Turn::End(());
        }
        self.tell_done();
        self.driver.pump(reactor);
        let now = SystemClock.now();
        let wait = self.driver.next_deadline().map_or(IDLE_WAIT, |due| due.since(now).min(IDLE_WAIT));
        Turn::Wait(Some(wait))
    }
}
