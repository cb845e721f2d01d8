//! The reactor: one thread, one io_uring, disk and network and wake-ups in it.
//!
//! An operation owns its buffers from [`Reactor::push`] until its [`Completion`] hands them back, so the
//! kernel never touches memory that somebody else has. At most as many operations are with the kernel as
//! its completion queue holds; the next ones wait in a bounded backlog. Short or interrupted disk
//! transfers are resumed here; short sends are the caller's, who knows what comes next.

#![allow(unsafe_code)]

mod alarm;
mod kernel;
mod notes;
mod op;
#[cfg(test)]
pub(crate) mod shim;

pub use notes::{Notes, Waker};
pub use op::{Fd, Op, RecvOrder};

use crate::limits::{DROP_WAIT_MS, MAX_RESUMES};
use alarm::Alarm;
use io_uring::cqueue;
use kernel::{Kernel, Reaped};
use notes::{Board, Note};
use op::Scratch;
use slab::Slab;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The caller's tag of an operation. The high byte is the owner's number, so that components can share a
/// reactor; the next byte is the owner's kind of operation, the rest a number of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl Token {
    /// A token of `owner` for its `kind` of operation on its thing number `id` (48 bits are kept).
    pub fn new(owner: u8, kind: u8, id: u64) -> Self {
        Self(u64::from(owner) << 56 | u64::from(kind) << 48 | (id & ((1 << 48) - 1)))
    }

    pub fn owner(self) -> u8 {
        self.0.to_be_bytes()[0]
    }

    pub fn kind(self) -> u8 {
        self.0.to_be_bytes()[1]
    }

    pub fn id(self) -> u64 {
        self.0 & ((1 << 48) - 1)
    }
}

/// One of those who share a reactor. What is pushed, listened to and woken in its name comes back with it, so that
/// tasks need not know of each other to tell their tokens apart. A reactor that nobody shares has one task.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub u64);

/// Names an operation from its push to its completion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OpId(u64);

/// The end of an operation.
#[derive(Debug)]
pub struct Completion {
    /// In whose name it was pushed.
    pub task: TaskId,
    pub token: Token,
    /// The operation, with its buffers.
    pub op: Op,
    /// Bytes moved, or what the operation's own documentation says.
    pub result: io::Result<u32>,
    /// For a receive: the socket has more right now.
    pub more: bool,
}

/// An operation that found both the ring and the backlog full, handed back.
#[derive(Debug)]
pub struct Rejected(pub Op);

/// How much a reactor holds.
#[derive(Debug, Clone, Copy)]
pub struct ReactorLimits {
    /// Entries of the submission queue.
    pub submissions: u32,
    /// Entries of the completion queue, and so operations with the kernel at one time.
    pub completions: u32,
    /// Operations that may wait for the kernel to have room.
    pub backlog: usize,
}

/// An io_uring and the operations that are in it. It stays on the thread that made it.
pub struct Reactor {
    kernel: Kernel,
    slots: Slab<Slot>,
    /// Grows with each push, so that a late cancel can't hit a slot's next operation.
    generation: u32,
    /// Completions that the kernel still owes.
    owed: usize,
    capacity: usize,
    backlog: VecDeque<usize>,
    max_backlog: usize,
    /// To be cancelled once the kernel takes requests again: what waits for a silent peer ends by nothing else.
    uncancelled: Vec<OpId>,
    /// Completed without the kernel: cancelled in the backlog.
    finished: Vec<Completion>,
    reaped: Vec<Reaped>,
    scratches: Vec<Scratch>,
    alarm: Alarm,
    board: Board,
    read_notes: Vec<Note>,
    /// In whose name operations are pushed.
    task: TaskId,
    /// Tasks that were woken in the last wait.
    woken: Vec<TaskId>,
}

struct Slot {
    task: TaskId,
    token: Token,
    op: Op,
    generation: u32,
    stage: Stage,
    done: usize,
    resumes: u8,
    scratch: Scratch,
}

#[derive(PartialEq, Eq)]
enum Stage {
    Backlog,
    Kernel,
}

/// The alarm's own operation.
const ALARM: Token = Token(u64::MAX);
/// In `user_data`: the poll that goes before an event's read. Of the two, the kernel reports one: the
/// read's outcome, or the poll's failure.
const POLL_BIT: u64 = 1 << 63;
/// `user_data` of cancel requests, whose own outcome says nothing that the operation's does not.
const CANCEL: u64 = 1 << 62;
const GENERATION_MASK: u32 = (1 << 30) - 1;
/// Scratches that are kept for the next operations.
const KEPT_SCRATCHES: usize = 256;

impl Reactor {
    /// A reactor of the calling thread, which is the only one that may use it.
    pub fn new(limits: ReactorLimits) -> io::Result<Self> {
        let kernel = Kernel::new(limits)?;
        let capacity = kernel.completion_capacity();
        let alarm = Alarm::new()?;
        let mut reactor = Self {
            kernel,
            slots: Slab::with_capacity(64),
            generation: 0,
            owed: 0,
            capacity,
            backlog: VecDeque::new(),
            max_backlog: limits.backlog,
            uncancelled: Vec::new(),
            finished: Vec::new(),
            reaped: Vec::new(),
            scratches: Vec::new(),
            board: Board::new(alarm.clone()),
            alarm,
            read_notes: Vec::new(),
            task: TaskId::default(),
            woken: Vec::new(),
        };
        reactor.watch_alarm();
        Ok(reactor)
    }

    /// From now on operations are pushed, and notes and wakers made, in the name of `task`.
    pub fn set_task(&mut self, task: TaskId) {
        self.task = task;
    }

    /// Takes an operation. It reaches the kernel with the next [`wait`](Self::wait) at the latest.
    pub fn push(&mut self, token: Token, op: Op) -> Result<OpId, Rejected> {
        if self.backlog.len() >= self.max_backlog {
            return Err(Rejected(op));
        }
        Ok(self.enqueue(token, op))
    }

    fn enqueue(&mut self, token: Token, op: Op) -> OpId {
        self.generation = (self.generation + 1) & GENERATION_MASK;
        let generation = self.generation;
        let scratch = self.scratches.pop().unwrap_or_default();
        let task = self.task;
        let slot = Slot { task, token, op, generation, stage: Stage::Backlog, done: 0, resumes: 0, scratch };
        let key = self.slots.insert(slot);
        self.backlog.push_back(key);
        self.start_backlog();
        OpId(user_data(key, generation))
    }

    /// Asks for the end of an operation. It completes in any case: with `ECANCELED`, or as it would have.
    pub fn cancel(&mut self, id: OpId) {
        let (key, generation) = parts(id.0);
        let Some(slot) = self.slots.get(key).filter(|slot| slot.generation == generation) else { return };
        if slot.stage == Stage::Backlog {
            self.backlog.retain(|&waiting| waiting != key);
            self.finish(key, Err(io::Error::from_raw_os_error(libc::ECANCELED)), false);
            return;
        }
        let poll = if matches!(slot.op, Op::WaitEvent { .. }) { POLL_BIT } else { 0 };
        if self.kernel.reserve(1).is_ok() {
            self.kernel.push_cancel(id.0 | poll, CANCEL);
            self.owed += 1;
        } else {
            self.uncancelled.push(id);
        }
    }

    /// Asks for the end of all that a task has here.
    pub fn cancel_task(&mut self, task: TaskId) {
        let of_task = self.slots.iter().filter(|(_, slot)| slot.task == task && slot.token != ALARM);
        let ids: Vec<_> = of_task.map(|(key, slot)| OpId(user_data(key, slot.generation))).collect();
        ids.into_iter().for_each(|id| self.cancel(id));
    }

    /// Operations of a task that have not completed. It looks at all that are here.
    pub fn pending_of(&self, task: TaskId) -> usize {
        self.slots.iter().filter(|(_, slot)| slot.task == task && slot.token != ALARM).count()
    }

    /// Submits everything pushed, waits for a completion, a wake-up or `timeout` (`None`: for ever;
    /// zero: not at all), and appends what completed to `out`, which may be nothing.
    pub fn wait(&mut self, timeout: Option<Duration>, out: &mut Vec<Completion>) -> io::Result<()> {
        self.start_backlog();
        let timeout = if self.finished.is_empty() { timeout } else { Some(Duration::ZERO) };
        let entered = self.kernel.enter(timeout, &self.alarm);
        // Also after an error, so that nobody takes this thread for asleep.
        self.read_notes();
        entered?;
        self.reap();
        self.start_backlog();
        out.append(&mut self.finished);
        Ok(())
    }

    /// A wait that leaves the kernel alone: appends what was left by notes and cancelled before it began. For who
    /// shares a reactor and may have brought something about for another task: it should not wait for the kernel,
    /// and what that one pushes can go there with the same call.
    pub fn wait_for_notes(&mut self, out: &mut Vec<Completion>) {
        self.read_notes();
        out.append(&mut self.finished);
    }

    /// The tasks that were woken in the last wait.
    pub fn woken(&self) -> &[TaskId] {
        &self.woken
    }

    fn read_notes(&mut self) {
        self.woken.clear();
        if !self.alarm.awakes() {
            return;
        }
        let mut notes = std::mem::take(&mut self.read_notes);
        self.board.take(&mut notes);
        for note in notes.drain(..) {
            match note {
                Note::Happened(task, token) => {
                    self.finished.push(Completion { task, token, op: Op::Note, result: Ok(0), more: false });
                }
                Note::Wake(task, is_due) => {
                    is_due.store(false, Ordering::SeqCst);
                    self.woken.push(task);
                }
            }
        }
        self.read_notes = notes;
    }

    /// A handle for other threads to wake the present task.
    pub fn waker(&self) -> Waker {
        Waker::new(self.board.clone(), self.task)
    }

    /// For what happens on other threads of this process and completes here, for the present task.
    pub fn notes(&self) -> Notes {
        Notes::new(self.board.clone(), self.task)
    }

    /// Operations pushed and not completed.
    pub fn pending(&self) -> usize {
        // The alarm's own one is not the caller's.
        self.slots.len().saturating_sub(1)
    }

    #[cfg(test)]
    pub(crate) fn shim(&mut self) -> &mut Option<shim::Shim> {
        &mut self.kernel.shim
    }

    fn watch_alarm(&mut self) {
        let fd = self.alarm.event();
        self.enqueue(ALARM, Op::WaitEvent { fd });
    }

    /// Moves operations from the backlog to the kernel while its completion queue is sure to hold them, and asks for
    /// the cancels that it had no room for.
    fn start_backlog(&mut self) {
        for id in std::mem::take(&mut self.uncancelled) {
            self.cancel(id);
        }
        while let Some(&key) = self.backlog.front() {
            if self.owed >= self.capacity || !self.start(key) {
                return;
            }
            self.backlog.pop_front();
        }
    }

    /// Hands the operation in slot `key` to the kernel; `false` when its queue is full.
    fn start(&mut self, key: usize) -> bool {
        let slot = &mut self.slots[key];
        let id = user_data(key, slot.generation);
        if self.kernel.reserve(2).is_err() {
            return false;
        }
        if let Some(poll) = slot.op.poll_before() {
            // SAFETY: a poll points to no memory.
            unsafe { self.kernel.push(&poll.user_data(id | POLL_BIT)) };
        }
        let entry = slot.op.entry(slot.done, &mut slot.scratch).user_data(id);
        // SAFETY: the entry points into the heap buffers of `slot.op` and `slot.scratch`, which nobody
        // touches or frees until `finish` takes the slot out after its completion; `drop` keeps to this.
        unsafe { self.kernel.push(&entry) };
        slot.stage = Stage::Kernel;
        self.owed += 1;
        true
    }

    fn reap(&mut self) {
        let mut reaped = std::mem::take(&mut self.reaped);
        self.kernel.reap(&mut reaped);
        for done in reaped.drain(..) {
            self.owed -= 1;
            if done.user_data != CANCEL {
                self.completed(done);
            }
        }
        self.reaped = reaped;
    }

    fn completed(&mut self, done: Reaped) {
        let (key, generation) = parts(done.user_data);
        let slot = &mut self.slots[key];
        assert_eq!(slot.generation, generation, "the kernel completes an operation once");
        if slot.token == ALARM {
            self.slots.remove(key);
            self.watch_alarm();
            return;
        }
        let result = outcome(done.result);
        if matches!(slot.op, Op::WaitEvent { .. }) && result.as_ref().is_err_and(is_transient) {
            // Another holder of the eventfd was faster: wait for the next signal.
            slot.stage = Stage::Backlog;
            self.backlog.push_back(key);
            return;
        }
        let Some(whole) = slot.op.whole_len() else {
            let is_stream = matches!(slot.op, Op::Recv { .. } | Op::Send { .. });
            if is_stream && result.as_ref().is_err_and(is_transient) && slot.resumes < MAX_RESUMES {
                // Nothing moved, and nothing is wrong with the connection.
                slot.resumes += 1;
                slot.stage = Stage::Backlog;
                self.backlog.push_front(key);
                return;
            }
            let result = slot.take_in(result);
            self.finish(key, result, cqueue::sock_nonempty(done.flags));
            return;
        };
        let result = match result {
            Ok(0) => Err(slot.op.nothing_moved()),
            Ok(moved) => {
                slot.done += moved as usize;
                Ok(())
            }
            Err(error) if is_transient(&error) && slot.resumes < MAX_RESUMES => Ok(()),
            Err(error) => Err(error),
        };
        match result {
            Err(error) => self.finish(key, Err(error), false),
            Ok(()) if slot.done >= whole => {
                let len = u32::try_from(whole).expect("buffers are shorter than 4 GiB");
                self.finish(key, Ok(len), false);
            }
            Ok(()) if slot.resumes >= MAX_RESUMES => {
                let error = io::Error::new(io::ErrorKind::Interrupted, "the device keeps transferring short");
                self.finish(key, Err(error), false);
            }
            Ok(()) => {
                slot.resumes += 1;
                slot.stage = Stage::Backlog;
                self.backlog.push_front(key);
            }
        }
    }

    fn finish(&mut self, key: usize, result: io::Result<u32>, more: bool) {
        let slot = self.slots.remove(key);
        if self.scratches.len() < KEPT_SCRATCHES {
            self.scratches.push(slot.scratch);
        }
        self.finished.push(Completion { task: slot.task, token: slot.token, op: slot.op, result, more });
    }

    /// Cancels everything and waits until the kernel has let go of every buffer.
    fn drain(&mut self) -> io::Result<()> {
        self.backlog.clear();
        self.slots.retain(|_, slot| slot.stage == Stage::Kernel);
        let ids: Vec<_> =
            self.slots.iter().map(|(key, slot)| OpId(user_data(key, slot.generation))).collect();
        for id in ids {
            self.cancel(id);
        }
        let step = Duration::from_millis(100);
        let mut steps = DROP_WAIT_MS / 100;
        while self.owed > 0 && steps > 0 {
            self.start_backlog();
            self.kernel.enter(Some(step), &self.alarm)?;
            let mut reaped = std::mem::take(&mut self.reaped);
            self.kernel.reap(&mut reaped);
            steps -= u64::from(reaped.is_empty());
            for done in reaped.drain(..) {
                self.owed -= 1;
                if done.user_data != CANCEL {
                    // Taken in, so that a socket accepted in the last moment is closed.
                    let _ = self.slots.remove(parts(done.user_data).0).take_in(outcome(done.result));
                }
            }
            self.reaped = reaped;
        }
        if self.owed == 0 { Ok(()) } else { Err(io::Error::other("the kernel did not answer in time")) }
    }
}

impl Drop for Reactor {
    fn drop(&mut self) {
        if let Err(error) = self.drain() {
            let operations = self.slots.len();
            tracing::error!(%error, operations, "leaking the buffers of operations that the kernel still has");
            std::mem::forget(std::mem::take(&mut self.slots));
        }
    }
}

impl Slot {
    /// Moves into the operation what the kernel made: received bytes, an accepted socket.
    fn take_in(&mut self, result: io::Result<u32>) -> io::Result<u32> {
        let value = result?;
        match &mut self.op {
            Op::Recv { buf, .. } => {
                let len = buf.len() + value as usize;
                assert!(len <= buf.capacity(), "the kernel stays within the buffer it was given");
                // SAFETY: the kernel just initialised `value` bytes of the spare capacity.
                unsafe { buf.set_len(len) };
            }
            Op::Accept { accepted, .. } => {
                let fd = i32::try_from(value).expect("the kernel's results are i32");
                // SAFETY: the kernel just opened `fd` for this operation; nobody else knows it.
                *accepted = Some(unsafe { OwnedFd::from_raw_fd(fd) });
            }
            _ => {}
        }
        Ok(value)
    }
}

fn outcome(result: i32) -> io::Result<u32> {
    u32::try_from(result).map_err(|_| io::Error::from_raw_os_error(-result))
}

fn is_transient(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN))
}

fn user_data(key: usize, generation: u32) -> u64 {
    let key = u32::try_from(key).expect("slots are fewer than 2^32");
    u64::from(generation) << 32 | u64::from(key)
}

fn parts(user_data: u64) -> (usize, u32) {
    let generation = u32::try_from(user_data >> 32).expect("a u64 shifted by 32 is a u32") & GENERATION_MASK;
    let key = u32::try_from(user_data & u64::from(u32::MAX)).expect("32 bits are a u32");
    (key as usize, generation)
}

#[cfg(test)]
#[path = "ring_test.rs"]
mod tests;
