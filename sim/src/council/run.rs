//! A council's life: bursts of operations, each with something that goes wrong in it, and calm in between.

use super::clients::{Heard, beginning, objects};
use super::linear::{Model, Monitor};
use super::register::{Answer, Object, Op};
use super::{VOTERS, Voters};
use crate::fault::{SimFault, Trouble};
use crate::rng::SimRng;
use crate::trace::Trace;
use crate::world::{MILLISECOND, SECOND, Totals, Violation, violation};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

const CLIENTS: usize = 4;
/// Bursts in a simulated hour.
const BURSTS: u64 = 8;
/// Answers that get lost, in a hundred.
const LOST: u64 = 4;
/// Of one object, in a burst: with more, the checker has too many orders to think of, and what comes later tells
/// less and less.
const MAX_LOST: usize = 3;
/// Within which an up voter that hears no leader stands for election.
const ELECTION: u64 = 300 * MILLISECOND;
/// How long the voters may take to agree when all is well.
const PATIENCE: u64 = 30 * SECOND;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Calls(usize),
    Arrives(usize),
    Hears(usize),
    Ticks(usize),
    Trouble,
    Mended,
}

#[derive(Debug)]
struct Client {
    /// The voter that it takes for the leader.
    at: usize,
    /// Its operation: its number, the object's and what.
    doing: Option<(u64, usize, Op)>,
    heard: Option<Answer>,
    /// What it knows of each object.
    knows: BTreeMap<usize, Answer>,
}

struct Council {
    voters: Voters,
    rng: SimRng,
    fault: SimFault,
    now: u64,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    next: u64,
    clients: Vec<Client>,
    monitors: Vec<Monitor<Object>>,
    /// Operations that nobody heard of again, with their objects.
    lost: Vec<(u64, usize)>,
    /// Operations left of the burst.
    burst: u64,
    totals: Totals,
    trace: Trace,
}

/// Runs the voters of a seed for some hours.
pub fn run(seed: u64, hours: u64, fault: SimFault, tell: Option<fn(&str)>) -> Result<Totals, Violation> {
    let mut council = Council::new(seed, fault, tell);
    council.begin()?;
    for _ in 0..hours * BURSTS {
        council.burst()?;
    }
    council.check_same()?;
    (council.totals.elections, council.totals.trace) = (council.voters.elections, council.trace.hash());
    Ok(council.totals)
}

impl Council {
    fn new(seed: u64, fault: SimFault, tell: Option<fn(&str)>) -> Self {
        // Its own chance: what happens here changes nothing of what happens elsewhere in a run.
        let mut rng = SimRng::new(seed ^ 0x636f_756e_6369_6c00);
        let voters = Voters::new(SimRng::new(rng.u64()), fault);
        let client = |at| Client { at, doing: None, heard: None, knows: BTreeMap::new() };
        Self {
            voters,
            rng,
            fault,
            now: 0,
            queue: BinaryHeap::new(),
            next: 1,
            clients: (0..CLIENTS).map(|number| client(number % VOTERS)).collect(),
            monitors: objects().into_iter().map(Monitor::new).collect(),
            lost: Vec::new(),
            burst: 0,
            totals: Totals::default(),
            trace: Trace::new(tell),
        }
    }

    fn say(&self, what: impl FnOnce() -> String) {
        self.trace.say(self.now, || format!("voters: {}", what()));
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn after(&mut self, wait: u64, event: Event) {
        let number = self.number();
        self.queue.push(Reverse((self.now + wait, number, event)));
    }

    /// The first leader, and the pool.
    fn begin(&mut self) -> Result<(), Violation> {
        self.voters.tick(0);
        for command in beginning() {
            let made = self.voters.propose(0, &command);
            if !matches!(made, super::Proposed::Applied(Ok(_))) {
                return violation("council", format!("{command:?} of three voters that are well: {made:?}"));
            }
        }
        Ok(())
    }

    /// Clients race for a while, and something goes wrong.
    fn burst(&mut self) -> Result<(), Violation> {
        self.burst = self.rng.spread(6, 4);
        for client in 0..CLIENTS {
            let wait = self.rng.below(5 * MILLISECOND);
            self.after(wait, Event::Calls(client));
        }
        for voter in 0..VOTERS {
            let wait = self.rng.below(ELECTION);
            self.after(wait, Event::Ticks(voter));
        }
        let wait = self.rng.below(50 * MILLISECOND);
        self.after(wait, Event::Trouble);
        while self.step()? {}
        self.calm()
    }

    /// All is mended; the voters agree, and what nobody heard of was done by now or never will be.
    fn calm(&mut self) -> Result<(), Violation> {
        self.mend();
        let deadline = self.now + PATIENCE;
        while !self.voters.is_settled() {
            if self.now > deadline {
                return violation("council", "three voters that are well don't agree");
            }
            self.now += ELECTION / 2;
            let voter = self.rng.index(VOTERS);
            self.voters.tick(voter);
        }
        for (id, object) in std::mem::take(&mut self.lost) {
            self.monitors[object].settled(id);
        }
        self.check_broken()
    }

    fn check_broken(&mut self) -> Result<(), Violation> {
        self.voters.broken.take().map_or(Ok(()), |what| violation("council", what))
    }

    fn check_same(&mut self) -> Result<(), Violation> {
        self.voters.check_same().or_else(|what| violation("council", what))
    }

    /// Lets the next thing happen. Says whether there was one.
    fn step(&mut self) -> Result<bool, Violation> {
        let Some(Reverse((at, _, event))) = self.queue.pop() else { return Ok(false) };
        self.now = self.now.max(at);
        self.trace.note(self.now);
        match event {
            Event::Calls(client) => self.calls(client),
            Event::Arrives(client) => self.arrives(client),
            Event::Hears(client) => self.hears(client)?,
            Event::Ticks(voter) => {
                self.voters.tick(voter);
                if self.burst > 0 {
                    let wait = ELECTION / 2 + self.rng.below(ELECTION / 2);
                    self.after(wait, Event::Ticks(voter));
                }
            }
            Event::Trouble => self.trouble(),
            Event::Mended => {
                self.mend();
                if self.burst > 0 {
                    let wait = self.rng.below(SECOND);
                    self.after(wait, Event::Trouble);
                }
            }
        }
        self.check_broken()?;
        Ok(true)
    }

    /// A client calls, if something is left to do.
    fn calls(&mut self, number: usize) {
        let Some(left) = self.burst.checked_sub(1) else { return };
        self.burst = left;
        let object = self.rng.index(self.monitors.len());
        if self.lost.iter().filter(|(_, of)| *of == object).count() >= MAX_LOST {
            return self.over(number);
        }
        let op = self.choose(number, object);
        let id = self.number();
        self.say(|| format!("client {number} calls {id}: {op:?} of object {object}"));
        self.monitors[object].called(id, op.clone());
        self.clients[number].doing = Some((id, object, op));
        let wait = self.rng.below(3 * MILLISECOND);
        self.after(wait, Event::Arrives(number));
    }

    /// What a client asks for goes by what it knows, which may be old.
    fn choose(&mut self, number: usize, object: usize) -> Op {
        let known = self.clients[number].knows.get(&object).cloned();
        let etag = self.next + 1;
        match (object, known) {
            (0 | 1, known) => {
                let there = if let Some(Answer::Etag(there)) = known { there } else { None };
                match self.rng.below(8) {
                    0 | 1 => Op::Look,
                    2 => Op::Put { etag, only: None },
                    3 => Op::Put { etag, only: Some(None) },
                    4 | 5 => Op::Put { etag, only: Some(there) },
                    6 => Op::Delete { only: there },
                    _ => Op::Delete { only: None },
                }
            }
            (2, known) => {
                let epoch = if let Some(Answer::Volume(epoch, _)) = known { epoch } else { 0 };
                let place = u8::try_from(1 + self.rng.below(3)).expect("three places");
                match self.rng.below(8) {
                    0 | 1 => Op::Look,
                    2 | 3 => Op::Open,
                    4 => Op::Attach(place),
                    5 => Op::Detach,
                    _ => Op::Move(place, epoch),
                }
            }
            (_, known) => {
                let epoch = if let Some(Answer::Standing(epoch, _)) = known { epoch } else { 1 };
                match self.rng.below(7) {
                    0 => Op::Look,
                    1 | 2 => Op::Evict(epoch),
                    3 | 4 => Op::Begin(epoch),
                    _ => Op::Join(epoch),
                }
            }
        }
    }

    /// A client's call comes to the voter that it takes for the leader.
    fn arrives(&mut self, number: usize) {
        let Some((id, object, op)) = self.clients[number].doing.clone() else { return };
        let at = self.clients[number].at;
        let stale = self.fault == SimFault::StalePrecondition && matches!(op, Op::Put { only: Some(_), .. });
        let heard =
            if stale { self.puts_blindly(number, object, &op) } else { self.voters.serve(at, object, &op) };
        let heard = match heard {
            // A planted bug: who did not hear the answer asks again, and takes the second one for the first.
            Heard::Answer(_) if self.fault == SimFault::AsksTwice && self.rng.chance(LOST) => {
                self.voters.serve(at, object, &op)
            }
            heard => heard,
        };
        self.say(|| format!("{id} at voter {at}: {heard:?}"));
        match heard {
            Heard::NotDone => {
                self.monitors[object].not_done(id);
                self.clients[number].at = (at + 1) % VOTERS;
                self.over(number);
            }
            Heard::Nothing if op == Op::Look => {
                self.monitors[object].not_done(id);
                self.over(number);
            }
            Heard::Nothing => self.loses(number, id, object),
            Heard::Answer(answer) => {
                self.clients[number].heard = Some(answer);
                let wait = self.rng.below(3 * MILLISECOND);
                self.after(wait, Event::Hears(number));
            }
        }
    }

    /// A planted bug: the condition held when the client looked, and is not given to the control plane.
    fn puts_blindly(&mut self, number: usize, object: usize, op: &Op) -> Heard {
        let at = self.clients[number].at;
        let Some(Answer::Etag(there)) = self.clients[number].knows.get(&object).cloned() else {
            return Heard::NotDone;
        };
        let (after, answer) = Object::Key(there).step(op);
        let (Object::Key(Some(etag)), Answer::Done) = (after, &answer) else { return Heard::Answer(answer) };
        self.voters.serve(at, object, &Op::Put { etag, only: None })
    }

    /// Nobody hears what became of an operation.
    fn loses(&mut self, number: usize, id: u64, object: usize) {
        self.totals.unheard += 1;
        self.lost.push((id, object));
        let voter = self.rng.index(VOTERS);
        self.clients[number].at = voter;
        self.over(number);
    }

    fn over(&mut self, number: usize) {
        self.clients[number].doing = None;
        let wait = self.rng.spread(MILLISECOND, 6);
        self.after(wait, Event::Calls(number));
    }

    fn hears(&mut self, number: usize) -> Result<(), Violation> {
        let client = &mut self.clients[number];
        let (Some((id, object, op)), Some(answer)) = (client.doing.clone(), client.heard.take()) else {
            return Ok(());
        };
        if self.rng.chance(LOST) {
            if op == Op::Look {
                self.monitors[object].not_done(id);
                self.over(number);
            } else {
                self.loses(number, id, object);
            }
            return Ok(());
        }
        self.totals.conditional += 1;
        self.trace.note(id);
        let knows = match (&op, &answer) {
            (Op::Put { etag, .. }, Answer::Done) => Some(Answer::Etag(Some(*etag))),
            (Op::Delete { .. }, Answer::Done) => Some(Answer::Etag(None)),
            (Op::Open, Answer::Epoch(epoch)) => Some(Answer::Volume(*epoch, None)),
            (_, Answer::Etag(_) | Answer::Volume(..) | Answer::Standing(..)) => Some(answer.clone()),
            _ => None,
        };
        self.clients[number].knows.extend(knows.map(|knows| (object, knows)));
        self.over(number);
        self.monitors[object].returned(id, &answer).or_else(|what| violation("linear", what))
    }

    fn mend(&mut self) {
        self.voters.heal();
        for voter in 0..VOTERS {
            if !self.voters.is_up(voter) {
                let keeps_state = self.rng.chance(50);
                self.totals.count(Trouble::VoterRebuilt, u64::from(!keeps_state));
                self.voters.revive(voter, keeps_state);
            }
        }
    }

    fn trouble(&mut self) {
        let any = self.rng.index(VOTERS);
        let leader = self.voters.leader().unwrap_or(any);
        let other = (leader + 1 + self.rng.index(VOTERS - 1)) % VOTERS;
        let trouble = self.rng.pick(&Trouble::OF_VOTERS);
        self.say(|| format!("{trouble:?}, leader {leader}, other {other}"));
        match trouble {
            Trouble::LeaderDies => self.voters.doom(),
            Trouble::LeaderCut => {
                let (one_way, hears) = (self.rng.chance(40), self.rng.chance(50));
                for voter in (0..VOTERS).filter(|&voter| voter != leader) {
                    if !one_way || hears {
                        self.voters.cut(leader, voter);
                    }
                    if !one_way || !hears {
                        self.voters.cut(voter, leader);
                    }
                }
            }
            Trouble::VotersCut => {
                self.voters.cut(leader, other);
                self.voters.cut(other, leader);
            }
            _ => {
                self.voters.kill(other);
                if self.rng.chance(30) {
                    self.voters.kill(leader);
                }
            }
        }
        self.totals.count(trouble, 1);
        let lasts = self.rng.spread(20 * MILLISECOND, 6);
        self.after(lasts, Event::Mended);
    }
}
