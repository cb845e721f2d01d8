//! Threads with a reactor that many tasks share.
//!
//! What passes between two tasks of one thread needs no wake-up: on few processors those were most of what a
//! 4 KiB write cost. What tasks bring about for each other is heard before the kernel is entered, so that all they
//! want of it goes there in one call.
//!
//! A task never blocks: while it works, others of its thread wait. One that panics ends alone.

mod runner;
mod task;

pub use task::{Died, Task, TaskHandle, Turn};

use crate::limits::{LOOP_REACTOR, TASKS_TOGETHER};
use crate::ring::{Reactor, TaskId, Waker};
use runner::Runner;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use task::{Erased, Running};

/// Some event loops, each a thread. Dropping them ends the threads, and with them their tasks.
pub struct EventLoops {
    /// As many as there should be, and more where those have no room.
    threads: usize,
    loops: Mutex<Vec<Thread>>,
}

struct Thread {
    shared: Arc<Shared>,
    waker: Waker,
    joined: Option<JoinHandle<()>>,
}

/// Whether a task shares its thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Company {
    Welcome,
    /// It may hold its thread up, as one whose file system blocks where it should not: the thread is its own, and ends
    /// with it.
    Unwelcome,
}

/// What a loop's thread and the others share.
struct Shared {
    /// What its tasks want.
    company: Company,
    inbox: Mutex<Vec<New>>,
    ended: AtomicBool,
    /// What its tasks have used.
    used: Mutex<Vec<Arc<Used>>>,
    /// Operations that its tasks may have with the kernel at one time.
    operations: AtomicUsize,
    tasks: AtomicUsize,
}

impl Shared {
    fn take_in(&self, operations: usize) {
        self.operations.fetch_add(operations, Ordering::Relaxed);
        self.tasks.fetch_add(1, Ordering::Relaxed);
    }

    fn let_go(&self, operations: usize) {
        self.operations.fetch_sub(operations, Ordering::Relaxed);
        self.tasks.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What one task has used of its thread.
#[derive(Debug)]
struct Used {
    name: String,
    busy_ns: AtomicU64,
}

/// A task that is to begin.
struct New {
    name: String,
    operations: usize,
    begin: Begin,
}

/// Makes a task on its loop's thread.
type Begin = Box<dyn FnOnce(&mut Reactor) -> Box<dyn Erased> + Send>;

/// Those of this process: a thread for every two processors. The others are for guests, clients and the kernel.
static OF_PROCESS: LazyLock<EventLoops> = LazyLock::new(|| {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    EventLoops::new(processors.div_ceil(2))
});

impl EventLoops {
    /// This many threads, which start with their first task.
    pub fn new(threads: usize) -> Self {
        Self { threads: threads.max(1), loops: Mutex::default() }
    }

    /// The loops of this process.
    pub fn of_process() -> &'static Self {
        &OF_PROCESS
    }

    /// Has a task made by `begin` on one of the threads, and run there until it ends. Whatever has to block is done
    /// before. `operations` is how many of its operations may be with the kernel at one time, which those that
    /// wait for a peer are for as long as it is silent: a thread takes only tasks for all of whose it has room.
    pub fn spawn<T: Task>(
        &self,
        name: String,
        company: Company,
        operations: usize,
        begin: impl FnOnce(&mut Reactor) -> Result<T, T::Outcome> + Send + 'static,
    ) -> io::Result<TaskHandle<T::Outcome>> {
        let (handle, ended) = TaskHandle::new();
        let begin = Box::new(move |reactor: &mut Reactor| -> Box<dyn Erased> {
            Box::new(Running::new(begin(reactor), ended))
        });
        let mut loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let position = place(&mut loops, self.threads, company, operations)?;
        let thread = &loops[position];
        thread.shared.take_in(operations);
        let new = New { name, operations, begin };
        thread.shared.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(new);
        thread.waker.wake();
        Ok(handle)
    }

    /// The names of the tasks, and for how long each has had its thread since it began. What the kernel does for them,
    /// such as writing to their disks, is done for all of a thread at once and is not in it.
    pub fn busy(&self) -> Vec<(String, Duration)> {
        let loops = self.loops.lock().unwrap_or_else(PoisonError::into_inner);
        let of_thread = |thread: &Thread| {
            let used = thread.shared.used.lock().unwrap_or_else(PoisonError::into_inner);
            let busy = |used: &Arc<Used>| {
                (used.name.clone(), Duration::from_nanos(used.busy_ns.load(Ordering::Relaxed)))
            };
            used.iter().map(busy).collect::<Vec<_>>()
        };
        loops.iter().flat_map(of_thread).collect()
    }
}

/// Where so many more operations go: to the thread that has the most room, or to a new one while there may be more of
/// them and that one has company enough. A device and the disks it writes to wake nobody if they share a thread.
fn place(loops: &mut Vec<Thread>, threads: usize, company: Company, operations: usize) -> io::Result<usize> {
    // One that ended by itself takes nobody.
    loops.retain(|thread| thread.joined.as_ref().is_some_and(|joined| !joined.is_finished()));
    if company == Company::Welcome {
        let shared = || loops.iter().enumerate().filter(|(_, thread)| thread.shared.company == company);
        let used = |thread: &Thread| thread.shared.operations.load(Ordering::Relaxed);
        if let Some((position, thread)) = shared().min_by_key(|(_, thread)| used(thread)) {
            let has_room = used(thread) + operations <= LOOP_REACTOR.completions as usize;
            let is_full = thread.shared.tasks.load(Ordering::Relaxed) >= TASKS_TOGETHER;
            if has_room && (shared().count() >= threads || !is_full) {
                return Ok(position);
            }
        }
    }
    loops.push(start(loops.len(), company)?);
    Ok(loops.len() - 1)
}

fn start(number: usize, company: Company) -> io::Result<Thread> {
    let shared = Arc::new(Shared {
        company,
        inbox: Mutex::default(),
        used: Mutex::default(),
        ended: AtomicBool::new(false),
        operations: AtomicUsize::new(0),
        tasks: AtomicUsize::new(0),
    });
    let (made, wakers) = mpsc::sync_channel(1);
    let of_thread = Arc::clone(&shared);
    let body = move || match Reactor::new(LOOP_REACTOR) {
        Ok(reactor) => {
            let _ = made.send(Ok(reactor.waker()));
            Runner::new(reactor, of_thread).run();
        }
        Err(error) => drop(made.send(Err(error))),
    };
    let joined = std::thread::Builder::new().name(format!("loop-{number}")).spawn(body)?;
    let waker = wakers.recv().map_err(|_| io::Error::other("an event loop died at its start"))??;
    Ok(Thread { shared, waker, joined: Some(joined) })
}

impl Drop for EventLoops {
    fn drop(&mut self) {
        let loops = std::mem::take(&mut *self.loops.lock().unwrap_or_else(PoisonError::into_inner));
        for mut thread in loops {
            thread.shared.ended.store(true, Ordering::SeqCst);
            thread.waker.wake();
            if thread.joined.take().is_some_and(|joined| joined.join().is_err()) {
                tracing::error!("an event loop panicked");
            }
        }
    }
}

/// The loop's own: its inbox has something.
const LOOP: TaskId = TaskId(0);

#[cfg(test)]
#[path = "event_loop_test.rs"]
mod tests;
