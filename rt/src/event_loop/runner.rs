//! A loop's thread.

use super::task::Erased;
use super::{Company, LOOP, New, Shared, Used};
use crate::clock::{Clock, Instant, SystemClock};
use crate::limits::{DROP_WAIT_MS, LOOP_ROUNDS};
use crate::ring::{Completion, Reactor, TaskId};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Runs the tasks of one thread.
pub(super) struct Runner {
    reactor: Reactor,
    shared: Arc<Shared>,
    /// In the order of their ids.
    tasks: Vec<Entry>,
    /// Those that have ended and still have something with the kernel.
    ending: Vec<Ending>,
    next_id: u64,
    completions: Vec<Completion>,
    /// When the present or last task got the thread.
    since: Instant,
}

struct Entry {
    id: TaskId,
    used: Arc<Used>,
    operations: usize,
    task: Box<dyn Erased>,
    /// When its next turn is at the latest.
    due: Option<Instant>,
    /// Something happened to it since its last turn.
    is_ready: bool,
}

struct Ending {
    entry: Entry,
    deadline: Instant,
}

impl Runner {
    pub fn new(reactor: Reactor, shared: Arc<Shared>) -> Self {
        let (tasks, ending, completions) = (Vec::new(), Vec::new(), Vec::new());
        Self { reactor, shared, tasks, ending, next_id: LOOP.0 + 1, completions, since: Instant::default() }
    }

    /// Runs until the loops are dropped, or the machine refuses the ring.
    pub fn run(mut self) {
        while !self.shared.ended.load(Ordering::SeqCst) && !self.is_alone() {
            let timeout = self.timeout();
            let mut completions = std::mem::take(&mut self.completions);
            if let Err(error) = self.reactor.wait(timeout, &mut completions) {
                tracing::error!(%error, "an event loop ends: waiting for its ring");
                return;
            }
            self.since = SystemClock.now();
            for entry in &mut self.tasks {
                entry.is_ready |= entry.due.is_some_and(|due| due <= self.since);
            }
            for _ in 0..LOOP_ROUNDS {
                self.take_in(&mut completions);
                self.take_turns();
                self.reactor.wait_for_notes(&mut completions);
                if completions.is_empty() && self.reactor.woken().is_empty() {
                    break;
                }
            }
            // What the last round left: it is told, and has its turn after the kernel was asked.
            self.take_in(&mut completions);
            self.completions = completions;
            self.end_tasks();
        }
    }

    /// Whether the one task that it was for has come and gone.
    fn is_alone(&self) -> bool {
        let has_begun = self.next_id > LOOP.0 + 1;
        self.shared.company == Company::Unwelcome
            && has_begun
            && self.tasks.is_empty()
            && self.ending.is_empty()
    }

    fn timeout(&self) -> Option<Duration> {
        if self.tasks.iter().any(|entry| entry.is_ready) {
            return Some(Duration::ZERO);
        }
        let ending = self.ending.iter().map(|ending| ending.deadline);
        let first = self.tasks.iter().filter_map(|entry| entry.due).chain(ending).min()?;
        Some(first.since(SystemClock.now()))
    }

    fn position(&self, id: TaskId) -> Option<usize> {
        self.tasks.binary_search_by_key(&id, |entry| entry.id).ok()
    }

    /// Gives completions to their tasks, and marks who was woken.
    fn take_in(&mut self, completions: &mut Vec<Completion>) {
        let mut has_new = false;
        for position in 0..self.reactor.woken().len() {
            let id = self.reactor.woken()[position];
            has_new |= id == LOOP;
            if let Some(position) = self.position(id) {
                self.tasks[position].is_ready = true;
            }
        }
        for completion in completions.drain(..) {
            // One whose task has ended was waited for by nobody else.
            let Some(position) = self.position(completion.task) else { continue };
            let entry = &mut self.tasks[position];
            entry.is_ready = true;
            self.reactor.set_task(entry.id);
            let call = || entry.task.on_completion(completion, &mut self.reactor);
            let outcome = catch_unwind(AssertUnwindSafe(call));
            self.charge(position);
            if outcome.is_err() {
                self.died(position);
            }
        }
        if has_new {
            self.begin_tasks();
        }
    }

    /// Puts the time since the last charge on a task's account.
    fn charge(&mut self, position: usize) {
        let now = SystemClock.now();
        let busy_ns = now.0 - self.since.0;
        self.since = now;
        self.tasks[position].used.busy_ns.fetch_add(busy_ns, Ordering::Relaxed);
    }

    fn begin_tasks(&mut self) {
        let new = std::mem::take(&mut *self.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for New { name, operations, begin } in new {
            let id = TaskId(self.next_id);
            self.next_id += 1;
            self.reactor.set_task(id);
            match catch_unwind(AssertUnwindSafe(|| begin(&mut self.reactor))) {
                Ok(task) => {
                    let used = Arc::new(Used { name, busy_ns: AtomicU64::new(0) });
                    self.shared.used.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&used));
                    self.tasks.push(Entry { id, used, operations, task, due: None, is_ready: true });
                }
                Err(_) => {
                    tracing::error!(task = name, "a task panicked at its beginning");
                    self.reactor.cancel_task(id);
                    self.shared.let_go(operations);
                }
            }
        }
    }

    fn take_turns(&mut self) {
        let mut position = 0;
        while let Some(entry) = self.tasks.get_mut(position) {
            if !std::mem::take(&mut entry.is_ready) {
                position += 1;
                continue;
            }
            self.reactor.set_task(entry.id);
            let outcome = catch_unwind(AssertUnwindSafe(|| entry.task.turn(&mut self.reactor)));
            self.charge(position);
            match outcome {
                Ok(Some(wait)) => {
                    self.tasks[position].due = wait.map(|wait| self.since + wait);
                    position += 1;
                }
                Ok(None) => self.ended(position),
                Err(_) => self.died(position),
            }
        }
    }

    fn died(&mut self, position: usize) {
        let entry = &mut self.tasks[position];
        tracing::error!(task = entry.used.name, "a task panicked");
        if catch_unwind(AssertUnwindSafe(|| entry.task.clear())).is_err() {
            tracing::error!(task = entry.used.name, "and again when it was dropped");
        }
        self.ended(position);
    }

    fn ended(&mut self, position: usize) {
        let entry = self.tasks.remove(position);
        self.reactor.cancel_task(entry.id);
        let mut used = self.shared.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.retain(|used| !Arc::ptr_eq(used, &entry.used));
        drop(used);
        let deadline = SystemClock.now() + Duration::from_millis(DROP_WAIT_MS);
        self.ending.push(Ending { entry, deadline });
    }

    /// Lets go of tasks of which the kernel has nothing any more: only then may another open the same files.
    fn end_tasks(&mut self) {
        if self.ending.is_empty() {
            return;
        }
        let now = SystemClock.now();
        self.ending.retain(|Ending { entry, deadline }| {
            let pending = self.reactor.pending_of(entry.id);
            let is_late = now >= *deadline;
            if pending > 0 && is_late {
                tracing::error!(
                    task = entry.used.name,
                    pending,
                    "the kernel keeps operations of a task that ended"
                );
            }
            if pending == 0 || is_late {
                self.shared.let_go(entry.operations);
            }
            pending > 0 && !is_late
        });
    }
}
