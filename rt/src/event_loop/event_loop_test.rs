use super::*;
use crate::ring::{Completion, Fd, Op, Token};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(20);

/// Tells of everything that happens to it, and does what it is told.
struct Probe {
    says: Sender<Said>,
    told: Receiver<Order>,
    /// What it waits for, each turn.
    wait: Option<Duration>,
}

#[derive(Debug, PartialEq, Eq)]
enum Said {
    Began,
    Turn,
    Completed(Token),
}

enum Order {
    Poll(Fd),
    Note(Token),
    Wait(Duration),
    Panic,
    End,
}

impl Task for Probe {
    type Outcome = u32;

    fn on_completion(&mut self, completion: Completion, _reactor: &mut Reactor) {
        let _ = self.says.send(Said::Completed(completion.token));
    }

    fn turn(&mut self, reactor: &mut Reactor) -> Turn<u32> {
        let _ = self.says.send(Said::Turn);
        while let Ok(order) = self.told.try_recv() {
            match order {
                Order::Poll(fd) => {
                    let poll = Op::Poll { fd, events: u32::from(libc::POLLIN.cast_unsigned()) };
                    reactor.push(Token::new(1, 0, 5), poll).unwrap();
                }
                Order::Note(token) => reactor.notes().leave(token),
                Order::Wait(wait) => self.wait = Some(wait),
                Order::Panic => panic!("as it was told"),
                Order::End => return Turn::End(7),
            }
        }
        Turn::Wait(self.wait)
    }
}

/// A probe on a loop, from its beginning on.
struct Rig {
    said: Receiver<Said>,
    orders: Sender<Order>,
    waker: Waker,
    handle: TaskHandle<u32>,
}

impl Rig {
    fn new(loops: &EventLoops, operations: usize) -> Self {
        Self::with(loops, Company::Welcome, operations)
    }

    fn with(loops: &EventLoops, company: Company, operations: usize) -> Self {
        let ((says, said), (orders, told), (wakers, waker)) = (channel(), channel(), channel());
        let begin = move |reactor: &mut Reactor| {
            wakers.send(reactor.waker()).unwrap();
            says.send(Said::Began).unwrap();
            Ok(Probe { says, told, wait: None })
        };
        let handle = loops.spawn("probe".into(), company, operations, begin).unwrap();
        let rig = Self { said, orders, waker: waker.recv_timeout(PATIENCE).unwrap(), handle };
        rig.expect(Said::Began);
        rig.expect(Said::Turn);
        rig
    }

    fn order(&self, order: Order) {
        self.orders.send(order).unwrap();
        self.waker.wake();
    }

    fn expect(&self, what: Said) {
        assert_eq!(self.said.recv_timeout(PATIENCE).unwrap(), what);
    }
}

fn of_threads<T>(loops: &EventLoops, tell: impl Fn(&Shared) -> T) -> Vec<T> {
    loops.loops.lock().unwrap().iter().map(|thread| tell(&thread.shared)).collect()
}

#[test]
fn a_task_has_a_turn_when_it_is_woken_or_something_of_its_own_happens_and_not_else() {
    let loops = EventLoops::new(1);
    let (first, second) = (Rig::new(&loops, 8), Rig::new(&loops, 8));
    let token = Token::new(3, 1, 99);
    first.order(Order::Note(token));
    for said in [Said::Turn, Said::Completed(token), Said::Turn] {
        first.expect(said);
    }
    second.order(Order::Note(token));
    for said in [Said::Turn, Said::Completed(token), Said::Turn] {
        second.expect(said);
    }
    // Both have one thread: had the first one had a turn as well, it would have said so by now.
    assert!(first.said.try_recv().is_err());
}

#[test]
fn a_task_that_waits_for_a_time_has_its_turn_then() {
    let loops = EventLoops::new(1);
    let rig = Rig::new(&loops, 8);
    rig.order(Order::Wait(Duration::from_millis(1)));
    (0..5).for_each(|_| rig.expect(Said::Turn));
}

#[test]
fn a_task_that_ends_lets_go_of_what_the_kernel_had() {
    let loops = EventLoops::new(1);
    let rig = Rig::new(&loops, 8);
    let (ours, _theirs) = UnixStream::pair().unwrap();
    let fd: Fd = Arc::new(OwnedFd::from(ours));
    rig.order(Order::Poll(Arc::clone(&fd)));
    rig.expect(Said::Turn);
    assert!(!rig.handle.is_finished());
    rig.order(Order::End);
    assert_eq!(rig.handle.join(), Ok(7));
    assert_eq!(Arc::strong_count(&fd), 1, "the poll, which nothing would have ended, was cancelled");
    // It may have been told to end in the turn in which it was told to poll, or in one more.
    assert!(
        rig.said.iter().all(|said| said == Said::Turn),
        "it was told of the cancelling, though it is gone"
    );
}

#[test]
fn one_that_panics_ends_alone() {
    let loops = EventLoops::new(1);
    let (bad, good) = (Rig::new(&loops, 8), Rig::new(&loops, 8));
    bad.order(Order::Panic);
    assert_eq!(bad.handle.join(), Err(Died));
    let token = Token::new(3, 1, 1);
    good.order(Order::Note(token));
    for said in [Said::Turn, Said::Completed(token), Said::Turn] {
        good.expect(said);
    }
    good.order(Order::End);
    assert_eq!(good.handle.join(), Ok(7));
}

#[test]
fn one_that_panics_at_its_beginning_is_told_of() {
    let loops = EventLoops::new(1);
    let begin = |_: &mut Reactor| -> Result<Probe, u32> { panic!("at the beginning") };
    assert_eq!(loops.spawn("bad".into(), Company::Welcome, 1, begin).unwrap().join(), Err(Died));
    let refuse = |_: &mut Reactor| -> Result<Probe, u32> { Err(3) };
    assert_eq!(loops.spawn("unwilling".into(), Company::Welcome, 1, refuse).unwrap().join(), Ok(3));
}

#[test]
fn dropping_the_loops_ends_their_tasks() {
    let loops = EventLoops::new(2);
    let rigs = [Rig::new(&loops, 8), Rig::new(&loops, 8), Rig::new(&loops, 8)];
    drop(loops);
    for rig in rigs {
        assert_eq!(rig.handle.join(), Err(Died));
    }
}

#[test]
fn tasks_go_where_there_is_room_for_all_their_operations() {
    let loops = EventLoops::new(2);
    let threads = || of_threads(&loops, |shared| shared.operations.load(Ordering::Relaxed));
    let most = LOOP_REACTOR.completions as usize;
    let _large = [Rig::new(&loops, most), Rig::new(&loops, most - 10)];
    let _small = Rig::new(&loops, 10);
    assert_eq!(threads(), [most, most], "two threads as was asked, and the small one where it fits");
    let more = Rig::new(&loops, 5);
    assert_eq!(threads(), [most, most, 5], "and one more when both are full");
    more.order(Order::End);
    assert_eq!(more.handle.join(), Ok(7));
    assert_eq!(threads()[2], 0);
}

#[test]
fn each_task_is_charged_for_its_own_time() {
    let loops = EventLoops::new(1);
    let rig = Rig::new(&loops, 8);
    let named = |name: &str| loops.busy().into_iter().find(|(task, _)| task == name).map(|(_, busy)| busy);
    rig.order(Order::Wait(Duration::from_millis(1)));
    (0..5).for_each(|_| rig.expect(Said::Turn));
    assert!(named("probe").is_some_and(|busy| busy > Duration::ZERO));
    rig.order(Order::End);
    assert_eq!(rig.handle.join(), Ok(7));
    assert_eq!(named("probe"), None, "a task that ended is on nobody's books");
}

#[test]
fn a_few_tasks_share_a_thread_and_more_spread() {
    let loops = EventLoops::new(2);
    let tasks = || of_threads(&loops, |shared| shared.tasks.load(Ordering::Relaxed));
    let mut rigs: Vec<_> = (0..TASKS_TOGETHER).map(|_| Rig::new(&loops, 8)).collect();
    assert_eq!(tasks(), [TASKS_TOGETHER]);
    rigs.extend((0..TASKS_TOGETHER + 4).map(|_| Rig::new(&loops, 8)));
    assert_eq!(tasks(), [TASKS_TOGETHER + 2, TASKS_TOGETHER + 2]);
}

#[test]
fn one_that_wants_no_company_has_a_thread_of_its_own_which_ends_with_it() {
    let loops = EventLoops::new(1);
    let companions = || of_threads(&loops, |shared| shared.company);
    let alone = Rig::with(&loops, Company::Unwelcome, 8);
    let (_first, _second) = (Rig::new(&loops, 8), Rig::with(&loops, Company::Unwelcome, 8));
    let _third = Rig::new(&loops, 8);
    let [no, yes] = [Company::Unwelcome, Company::Welcome];
    assert_eq!(companions(), [no, yes, no]);
    alone.order(Order::End);
    assert_eq!(alone.handle.join(), Ok(7));
    let gone = || loops.loops.lock().unwrap()[0].joined.as_ref().is_some_and(JoinHandle::is_finished);
    while !gone() {
        std::thread::yield_now();
    }
    let _fourth = Rig::new(&loops, 8);
    assert_eq!(companions(), [yes, no]);
}
