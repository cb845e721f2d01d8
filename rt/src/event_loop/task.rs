//! A task, and how others learn of its end.

use crate::ring::{Completion, Reactor};
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// Something that runs on an event loop beside others. What it pushes to the reactor is in its name; its tokens are
/// its own.
pub trait Task: 'static {
    /// What it ends with.
    type Outcome: Send + 'static;

    /// Takes the end of an operation, or a note.
    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor);

    /// Does what there is to do: after completions came, when it was woken, when the time is over that its last
    /// turn was ready to wait, and once at its beginning.
    fn turn(&mut self, reactor: &mut Reactor) -> Turn<Self::Outcome>;
}

/// How a turn ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Turn<T> {
    /// The next one follows something that happens to the task, and this time at the latest (`None`: no time).
    Wait(Option<Duration>),
    /// That was the last one. The task is dropped, and what it still has with the kernel is cancelled.
    End(T),
}

/// A task that did not end by itself: it panicked, or its thread is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Died;

impl fmt::Display for Died {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the task panicked or its thread ended")
    }
}

impl std::error::Error for Died {}

/// Learns of the end of a task. Dropping it leaves the task alone.
#[derive(Debug)]
pub struct TaskHandle<T>(Arc<End<T>>);

#[derive(Debug)]
struct End<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
enum State<T> {
    Running,
    Ended(Result<T, Died>),
}

impl<T> TaskHandle<T> {
    pub(super) fn new() -> (Self, Ender<T>) {
        let end = Arc::new(End { state: Mutex::new(State::Running), changed: Condvar::new() });
        (Self(Arc::clone(&end)), Ender { end, outcome: None })
    }

    /// Whether it has ended, and the kernel has nothing of it any more.
    pub fn is_finished(&self) -> bool {
        matches!(*self.0.state.lock().unwrap_or_else(PoisonError::into_inner), State::Ended(_))
    }

    /// Waits until it [is finished](Self::is_finished). Not for tasks: they would wait for their own thread.
    pub fn join(self) -> Result<T, Died> {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match std::mem::replace(&mut *state, State::Running) {
                State::Ended(outcome) => return outcome,
                State::Running => {
                    state = self.0.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Tells the handle of the end when it is dropped.
pub(super) struct Ender<T> {
    end: Arc<End<T>>,
    outcome: Option<T>,
}

impl<T> Drop for Ender<T> {
    fn drop(&mut self) {
        let outcome = self.outcome.take().ok_or(Died);
        *self.end.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ended(outcome);
        self.end.changed.notify_all();
    }
}

/// A task of any type. Dropping it tells its handle.
pub(super) trait Erased {
    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor);

    /// How long it waits; `None` once it has ended.
    fn turn(&mut self, reactor: &mut Reactor) -> Option<Option<Duration>>;

    /// Drops the task itself, which has died.
    fn clear(&mut self);
}

pub(super) struct Running<T: Task> {
    task: Option<T>,
    ender: Ender<T::Outcome>,
}

impl<T: Task> Running<T> {
    pub fn new(begun: Result<T, T::Outcome>, mut ender: Ender<T::Outcome>) -> Self {
        let task = begun.map_err(|outcome| ender.outcome = Some(outcome)).ok();
        Self { task, ender }
    }
}

impl<T: Task> Erased for Running<T> {
    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor) {
        if let Some(task) = &mut self.task {
            task.on_completion(completion, reactor);
        }
    }

    fn turn(&mut self, reactor: &mut Reactor) -> Option<Option<Duration>> {
        match self.task.as_mut()?.turn(reactor) {
            Turn::Wait(wait) => Some(wait),
            Turn::End(outcome) => {
                self.ender.outcome = Some(outcome);
                self.task = None;
                None
            }
        }
    }

    fn clear(&mut self) {
        self.task = None;
    }
}
