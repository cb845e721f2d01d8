//! The data task: the queues' kicks, the volume's connections and the control thread's commands, on an event loop.
//! It is the only one that touches guest memory.

use crate::dirty::DirtyLog;
use crate::engine::{Enabled, Engine, Logging, Submission, WriteCache};
use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_COMMANDS, STOP_QUEUE_TIMEOUT_MS};
use crate::mem::GuestRam;
use crate::opening::Opening;
use crate::vring::VringSetup;
use blockd::ClientError;
use blockd::client::{VolumeDriver, VolumeOp};
use bytes::Bytes;
use rt::clock::{Clock, Instant};
use rt::event_loop::{Task, Turn};
use rt::ring::{Completion, Fd, Op, OpId, Reactor, Token, Waker};
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TryRecvError, channel, sync_channel};
use std::time::Duration;

/// Owner byte of the kicks' tokens.
const KICKS: u8 = 1;
/// Owner byte of the volume's tokens.
pub const VOLUME: u8 = 2;

/// The volume behind the queues, on the data task's reactor. As [`VolumeDriver`]'s methods of these names;
/// the tests' other one is in memory.
pub trait Backend {
    fn start(&mut self, reactor: &mut Reactor);
    fn take_opened(&mut self) -> Option<Result<(), ClientError>>;
    fn submit(&mut self, id: u64, op: VolumeOp, reactor: &mut Reactor);
    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor);
    fn pump(&mut self, reactor: &mut Reactor);
    fn next_deadline(&self) -> Option<Instant>;
    fn on_deadline(&mut self, reactor: &mut Reactor);
    fn take_done(&mut self) -> Option<Done>;
    fn set_size(&mut self, size_bytes: u64);
}

impl Backend for VolumeDriver {
    fn start(&mut self, reactor: &mut Reactor) {
        self.start(reactor);
    }

    fn take_opened(&mut self) -> Option<Result<(), ClientError>> {
        self.take_opened()
    }

    fn submit(&mut self, id: u64, op: VolumeOp, reactor: &mut Reactor) {
        self.submit(id, op, reactor);
    }

    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor) {
        self.on_completion(completion, reactor);
    }

    fn pump(&mut self, reactor: &mut Reactor) {
        self.pump(reactor);
    }

    fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline()
    }

    fn on_deadline(&mut self, reactor: &mut Reactor) {
        self.on_deadline(reactor);
    }

    fn take_done(&mut self) -> Option<Done> {
        self.take_done()
    }

    fn set_size(&mut self, size_bytes: u64) {
        // By its type, so that it can't become this method again.
        VolumeDriver::set_size(self, size_bytes);
    }
}

/// The end of a submission, under its id; a read's has the data.
pub type Done = (u64, Result<Option<Bytes>, ClientError>);

/// Where the data task answers a command.
pub type Reply<T> = Sender<Result<T, Error>>;

/// What the control thread asks of the data task.
pub enum Command {
    SetRam(Arc<GuestRam>, Reply<()>),
    Engine(EngineAsk),
    Start {
        queue: usize,
        setup: VringSetup,
        kick: Option<File>,
        enabled: Enabled,
        reply: Reply<()>,
    },
    SetCall {
        queue: usize,
        call: Option<File>,
    },
    /// Answers with where the queue's next device goes on, once nothing of it is in flight.
    Stop {
        queue: usize,
        reply: Reply<u16>,
    },
    EndSession(Reply<()>),
    /// Opens the volume now; answers once it is open.
    Open(Reply<()>),
    /// The volume has grown.
    Resize {
        size_bytes: u64,
        reply: Reply<()>,
    },
    Shutdown,
}

/// What the engine does by itself, whoever runs it.
pub enum EngineAsk {
    SetFeatures {
        cache: WriteCache,
        logging: Logging,
        reply: Reply<()>,
    },
    SetLog(Arc<DirtyLog>, Reply<()>),
    /// Where the front end wants to hear of changes of the dirty log.
    SetLogCall(File),
    /// The guest address at which the used ring's pages are marked, if they are.
    SetLogAddr {
        queue: usize,
        addr: Option<u64>,
        reply: Reply<()>,
    },
    Enable {
        queue: usize,
        enabled: Enabled,
    },
}

impl EngineAsk {
    pub fn obey(self, engine: &mut Engine) {
        // A reply that nobody waits for any more is no loss.
        match self {
            Self::SetFeatures { cache, logging, reply } => {
                engine.set_cache(cache);
                engine.set_logging(logging);
                let _ = reply.send(Ok(()));
            }
            Self::SetLog(log, reply) => {
                engine.set_log(log);
                let _ = reply.send(Ok(()));
            }
            Self::SetLogCall(call) => engine.set_log_call(call),
            Self::SetLogAddr { queue, addr, reply } => {
                engine.set_log_addr(queue, addr);
                let _ = reply.send(Ok(()));
            }
            Self::Enable { queue, enabled } => engine.enable(queue, enabled),
        }
    }
}

/// The control thread's way to the data task.
#[derive(Clone)]
pub enum DataLink {
    Task {
        commands: SyncSender<Command>,
        waker: Waker,
    },
    /// Obeyed by the caller's own thread.
    #[cfg(any(test, feature = "fuzzing"))]
    Inline(Arc<std::sync::Mutex<crate::fuzz::Rig>>),
}

impl DataLink {
    pub fn send(&self, command: Command) -> Result<(), Error> {
        match self {
            Self::Task { commands, waker } => {
                commands.send(command).map_err(|_| stopped())?;
                waker.wake();
            }
            #[cfg(any(test, feature = "fuzzing"))]
            Self::Inline(rig) => rig.lock().expect("a rig is not used after a panic").obey(command),
        }
        Ok(())
    }

    /// Sends the command made with a reply, and waits for it.
    pub fn ask<T>(&self, command: impl FnOnce(Reply<T>) -> Command) -> Result<T, Error> {
        let (reply, answer) = channel();
        self.send(command(reply))?;
        answer.recv().map_err(|_| stopped())?
    }
}

/// A device's queues and the volume behind them.
pub struct DataTask<B> {
    commands: Receiver<Command>,
    clock: Arc<dyn Clock>,
    /// When the present turn began. A pass takes too little time to read the clock in it again.
    now: Instant,
    engine: Engine,
    volume: B,
    opening: Opening,
    /// Who asked for it to be opened.
    openers: Vec<Reply<()>>,
    /// An answer that came with the submission.
    early: Option<Done>,
    kicks: Vec<Option<Kick>>,
    /// Grows with every watch, so that a former queue's kick is not taken for its successor's.
    next_serial: u64,
    stops: Vec<Stop>,
    /// Set from the session's failure until the control thread has ended it.
    failed: Option<Error>,
    hang_up: Box<dyn Fn(&Error) + Send>,
    submissions: Vec<Submission>,
}

struct Kick {
    serial: u64,
    fd: Fd,
    op: OpId,
}

struct Stop {
    queue: usize,
    reply: Reply<u16>,
    deadline: Instant,
}

enum Next {
    Go,
    Stop,
}

impl<B: Backend> DataTask<B> {
    /// A task for the loop of this reactor, and the way to it. `hang_up` ends the present session's connection.
    pub fn new(
        reactor: &Reactor,
        clock: Arc<dyn Clock>,
        engine: Engine,
        num_queues: u16,
        volume: B,
        hang_up: Box<dyn Fn(&Error) + Send>,
    ) -> (Self, DataLink) {
        let (sender, commands) = sync_channel(MAX_COMMANDS);
        let link = DataLink::Task { commands: sender, waker: reactor.waker() };
        let data = Self {
            commands,
            now: clock.now(),
            clock,
            engine,
            volume,
            opening: Opening::NotBegun,
            openers: Vec::new(),
            early: None,
            kicks: (0..num_queues).map(|_| None).collect(),
            next_serial: 0,
            stops: Vec::new(),
            failed: None,
            hang_up,
            submissions: Vec::new(),
        };
        (data, link)
    }

    /// Has the first queue wait for [`Command::Open`].
    pub fn hold(&mut self) {
        self.opening = Opening::Held;
    }

    fn has_begun(&self) -> bool {
        !matches!(self.opening, Opening::Held | Opening::NotBegun)
    }

    /// Opens the volume, if nobody did.
    pub fn begin_to_open(&mut self, reactor: &mut Reactor) {
        if let Opening::NotBegun = self.opening {
            self.opening = Opening::Underway;
            self.volume.start(reactor);
        }
    }

    /// Queues are served from when the volume is open on.
    fn take_opened(&mut self, reactor: &mut Reactor) {
        let Opening::Underway = self.opening else { return };
        match self.volume.take_opened() {
            Some(Ok(())) => {
                self.opening = Opening::Done;
                self.engine.open();
                self.answer_openers(&Ok(()));
            }
            Some(Err(error)) => {
                let error = Error::caused(ErrorKind::Volume, "the volume can't be opened", error);
                self.opening = Opening::Failed(error.clone());
                self.answer_openers(&Err(error.clone()));
                self.fail(reactor, error);
            }
            None => {}
        }
    }

    fn answer_openers(&mut self, outcome: &Result<(), Error>) {
        for reply in self.openers.drain(..) {
            let _ = reply.send(outcome.clone());
        }
    }

    fn open_for(&mut self, reply: Reply<()>, reactor: &mut Reactor) {
        if matches!(self.opening, Opening::Held) {
            self.opening = Opening::NotBegun;
        }
        self.begin_to_open(reactor);
        self.openers.push(reply);
        match &self.opening {
            Opening::Done => self.answer_openers(&Ok(())),
            Opening::Failed(error) => {
                let outcome = Err(error.clone());
                self.answer_openers(&outcome);
            }
            _ => {}
        }
    }

    /// One pass over what the volume did and what the queues ask. True if there is more right now.
    fn serve(&mut self, reactor: &mut Reactor) -> Result<bool, Error> {
        let mut submissions = std::mem::take(&mut self.submissions);
        let answer = self.early.take().or_else(|| self.volume.take_done());
        let outcome = self.pass(answer, &mut submissions);
        // What was taken from a ring before a failure is in the engine's books: it must be asked.
        for (id, op) in submissions.drain(..) {
            self.volume.submit(id, op, reactor);
        }
        self.submissions = submissions;
        // A volume that has failed answers at once, and no completion will tell of that.
        self.early = self.volume.take_done();
        if let Some(error) = self.engine.take_failure() {
            tracing::warn!(%error, "the volume failed a guest's request");
        }
        outcome.map(|more| more || self.early.is_some())
    }

    fn pass(&mut self, mut answer: Option<Done>, submissions: &mut Vec<Submission>) -> Result<bool, Error> {
        let mut outcome = Ok(());
        while let Some((id, result)) = answer {
            // Every answer is taken even if one of them fails: each ends a request.
            let taken = self.engine.complete(id, result, submissions);
            outcome = outcome.and(taken);
            answer = self.volume.take_done();
        }
        outcome?;
        // The guest hears of what is done before new work delays it.
        self.engine.announce()?;
        let more = self.engine.run(submissions)?;
        self.engine.announce()?;
        Ok(more)
    }

    fn kicked(&mut self, completion: Completion, reactor: &mut Reactor) {
        let queue = usize::from(completion.token.kind());
        let is_current =
            |kick: &&mut Option<Kick>| kick.as_ref().is_some_and(|kick| kick.serial == completion.token.id());
        let Some(Some(kick)) = self.kicks.get_mut(queue).filter(is_current) else { return };
        let armed = completion.result.and_then(|_| watch(reactor, completion.token, Arc::clone(&kick.fd)));
        match armed {
            Ok(op) => {
                kick.op = op;
                self.engine.kick(queue);
            }
            Err(error) => self.fail(reactor, Error::system("a queue's kick", error)),
        }
    }

    fn take_commands(&mut self, reactor: &mut Reactor) -> Next {
        loop {
            let command = match self.commands.try_recv() {
                Ok(command) => command,
                Err(TryRecvError::Empty) => return Next::Go,
                Err(TryRecvError::Disconnected) => return Next::Stop,
            };
            if let Next::Stop = self.obey(command, reactor) {
                return Next::Stop;
            }
        }
    }

    fn obey(&mut self, command: Command, reactor: &mut Reactor) -> Next {
        // A reply that nobody waits for any more is no loss.
        match command {
            Command::SetRam(ram, reply) => {
                let outcome = self.check_session().and_then(|()| self.engine.set_ram(ram));
                let _ = reply.send(outcome);
            }
            Command::Engine(ask) => ask.obey(&mut self.engine),
            Command::Start { queue, setup, kick, enabled, reply } => {
                let _ = reply.send(self.start_queue(queue, setup, (kick, enabled), reactor));
            }
            Command::SetCall { queue, call } => {
                if let Err(error) = self.engine.set_call(queue, call) {
                    self.fail(reactor, error);
                }
            }
            Command::Stop { queue, reply } => {
                self.unwatch(queue, reactor);
                self.engine.begin_stop(queue);
                let deadline = self.clock.now() + Duration::from_millis(STOP_QUEUE_TIMEOUT_MS);
                self.stops.push(Stop { queue, reply, deadline });
            }
            Command::EndSession(reply) => {
                (0..self.kicks.len()).for_each(|queue| self.unwatch(queue, reactor));
                self.engine.end_session();
                self.stops.clear();
                self.failed = None;
                let _ = reply.send(Ok(()));
            }
            Command::Open(reply) => self.open_for(reply, reactor),
            Command::Resize { size_bytes, reply } => {
                self.volume.set_size(size_bytes);
                self.engine.set_size(size_bytes);
                let _ = reply.send(Ok(()));
            }
            Command::Shutdown => return Next::Stop,
        }
        Next::Go
    }

    fn check_session(&self) -> Result<(), Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }

    fn start_queue(
        &mut self,
        queue: usize,
        setup: VringSetup,
        (kick, enabled): (Option<File>, Enabled),
        reactor: &mut Reactor,
    ) -> Result<(), Error> {
        self.check_session()?;
        if let Opening::Failed(error) = &self.opening {
            return Err(error.clone());
        }
        self.engine.start(queue, setup, enabled)?;
        self.begin_to_open(reactor);
        let Some(file) = kick else { return Ok(()) };
        self.next_serial += 1;
        let serial = self.next_serial;
        let fd: Fd = Arc::new(OwnedFd::from(file));
        let kind = u8::try_from(queue).expect("a device has at most 256 queues");
        let op = watch(reactor, Token::new(KICKS, kind, serial), Arc::clone(&fd))
            .map_err(|error| Error::system("a queue's kick", error))?;
        self.kicks[queue] = Some(Kick { serial, fd, op });
        Ok(())
    }

    fn unwatch(&mut self, queue: usize, reactor: &mut Reactor) {
        if let Some(kick) = self.kicks[queue].take() {
            reactor.cancel(kick.op);
        }
    }

    fn finish_stops(&mut self, reactor: &mut Reactor) {
        if self.stops.is_empty() {
            return;
        }
        let now = self.clock.now();
        let mut failure = None;
        self.stops.retain(|stop| {
            let next_avail = match self.engine.stopped(stop.queue) {
                Some(next_avail) => Ok(Some(next_avail)),
                None if now < stop.deadline => return true,
                // The volume stalls, which is no reason to keep the front end: the next session asks again.
                None => self.engine.abandon(stop.queue),
            };
            match next_avail {
                Ok(Some(next_avail)) => {
                    let _ = stop.reply.send(Ok(next_avail));
                }
                Ok(None) => {
                    let message = format!(
                        "requests of a stopped queue are not done after {STOP_QUEUE_TIMEOUT_MS} ms and there is \
                         nothing to keep them in"
                    );
                    failure = Some(Error::new(ErrorKind::System, message));
                }
                Err(error) => failure = Some(error),
            }
            false
        });
        if let Some(error) = failure {
            self.fail(reactor, error);
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let stops = self.stops.iter().map(|stop| stop.deadline);
        let volume = if self.has_begun() { self.volume.next_deadline() } else { None };
        let first = stops.chain(volume).min()?;
        Some(first.since(self.now))
    }

    /// Ends the session, and nothing else: its queues and memory go, its connection is hung up.
    fn fail(&mut self, reactor: &mut Reactor, error: Error) {
        (0..self.kicks.len()).for_each(|queue| self.unwatch(queue, reactor));
        self.engine.end_session();
        // Dropping the replies answers them with an error.
        self.stops.clear();
        if self.failed.is_none() {
            (self.hang_up)(&error);
            self.failed = Some(error);
        }
    }
}

impl<B: Backend + 'static> Task for DataTask<B> {
    type Outcome = ();

    fn on_completion(&mut self, completion: Completion, reactor: &mut Reactor) {
        if completion.token.owner() == KICKS {
            self.kicked(completion, reactor);
        } else {
            self.volume.on_completion(completion, reactor);
        }
    }

    /// Ends with [`Command::Shutdown`].
    fn turn(&mut self, reactor: &mut Reactor) -> Turn<()> {
        self.now = self.clock.now();
        if self.has_begun() && self.volume.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.volume.on_deadline(reactor);
        }
        if let Next::Stop = self.take_commands(reactor) {
            return Turn::End(());
        }
        self.take_opened(reactor);
        let more = self.serve(reactor).unwrap_or_else(|error| {
            self.fail(reactor, error);
            self.early.is_some()
        });
        self.finish_stops(reactor);
        if self.has_begun() {
            self.volume.pump(reactor);
        }
        // Only now: a pump takes the control plane's answers, and what the volume does next may be due at a time
        // that nothing but this wait brings about.
        Turn::Wait(if more { Some(Duration::ZERO) } else { self.timeout() })
    }
}

fn watch(reactor: &mut Reactor, token: Token, fd: Fd) -> std::io::Result<OpId> {
    let full = |_| std::io::Error::other("the ring's backlog is full");
    reactor.push(token, Op::WaitEvent { fd }).map_err(full)
}

fn stopped() -> Error {
    Error::new(ErrorKind::Closed, "the device has stopped")
}
