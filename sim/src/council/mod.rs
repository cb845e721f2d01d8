//! The control plane's voters: the real state machine and its log on three of them, which die, come back, and lose
//! sight of each other, while clients race with conditional changes and lose answers.
//!
//! What replicates the log in production (openraft) is no pure core, so here a small Raft stands in for it: terms,
//! votes, an entry that counts once a majority has it, reads that a leader answers only after a majority has said
//! that it still leads. A message takes no time, but it may not come through (one way, or between two only), and a
//! leader may die between any two of them: so a change may be made though nobody heard of it, by the next leader,
//! and a leader that was deposed may not know. What is proven is all that is above: commands that are applied one
//! by one here and in batches there, from the log, from a snapshot or from both, give the same state; nothing that
//! was acked is lost, nothing is done twice, and every answer fits an order of all of them (promise 7).

mod clients;
mod linear;
mod register;
mod run;
mod voter;

pub use run::run;

use crate::fault::SimFault;
use crate::rng::SimRng;
use meta::command::{Command, Response};
use meta::error::Refusal;
use meta::query::{Answer, Query};
use voter::{Entry, Voter};

pub const VOTERS: usize = 3;
const MAJORITY: usize = VOTERS / 2 + 1;

/// What became of a proposal.
#[derive(Debug)]
pub enum Proposed {
    /// It was not made: the voter is down, or does not lead.
    NotHere,
    /// It may be made, now, later or never.
    Unknown,
    Applied(Result<Response, Refusal>),
}

/// What became of a question.
#[derive(Debug)]
pub enum Asked {
    NotHere,
    Answered(Option<Answer>),
}

/// The voters, and what passes between them.
pub struct Voters {
    voters: Vec<Voter>,
    /// Whether anything passes, from one to another.
    cut: [[bool; VOTERS]; VOTERS],
    rng: SimRng,
    fault: SimFault,
    /// Every entry that was applied anywhere.
    history: Vec<Entry>,
    /// The leader dies in the middle of its next proposal.
    doomed: bool,
    pub elections: u64,
    /// What must never be.
    pub broken: Option<String>,
}

impl Voters {
    pub fn new(rng: SimRng, fault: SimFault) -> Self {
        Self {
            voters: (0..VOTERS).map(|_| Voter::new()).collect(),
            cut: [[false; VOTERS]; VOTERS],
            rng,
            fault,
            history: Vec::new(),
            doomed: false,
            elections: 0,
            broken: None,
        }
    }

    fn passes(&self, from: usize, to: usize) -> bool {
        self.voters[from].up && self.voters[to].up && !self.cut[from][to]
    }

    /// The others, in any order.
    fn others(&mut self, than: usize) -> Vec<usize> {
        let mut others: Vec<usize> = (0..VOTERS).filter(|&voter| voter != than).collect();
        let first = self.rng.index(others.len());
        others.rotate_left(first);
        others
    }

    /// The leader's log goes to a follower. Says whether the leader hears that it arrived.
    fn replicate(&mut self, leader: usize, to: usize) -> bool {
        if !self.passes(leader, to) {
            return false;
        }
        let term = self.voters[leader].term;
        if self.voters[to].term > term {
            if self.passes(to, leader) {
                self.voters[leader].leads = false;
            }
            return false;
        }
        let from = std::mem::take(&mut self.voters[leader]);
        let follower = &mut self.voters[to];
        if follower.term < term {
            (follower.term, follower.voted) = (term, None);
        }
        follower.leads = false;
        if let Err(what) = follower.follow(&from) {
            self.broken.get_or_insert(format!("voter {to}: {what}"));
        }
        self.voters[leader] = from;
        self.apply(to);
        self.passes(to, leader)
    }

    /// Applies what is committed, and looks whether everybody applies the same.
    fn apply(&mut self, voter: usize) -> voter::Outcome {
        let (history, broken) = (&mut self.history, &mut self.broken);
        self.voters[voter].apply(|index, entry| {
            let at = usize::try_from(index - 1).expect("logs are short");
            match history.get(at) {
                None => history.push(entry.clone()),
                Some(before) if before == entry => {}
                Some(_) => {
                    broken.get_or_insert(format!(
                        "voter {voter} applies another entry {index} than others did"
                    ));
                }
            }
        })
    }

    /// The leader sends its log to all, and what a majority has is committed. Gives how many have it, and what the
    /// newest entry came to, if the leader lives to see it.
    fn spread(&mut self, leader: usize) -> (usize, voter::Outcome) {
        let doomed = std::mem::take(&mut self.doomed);
        let mut have = 1;
        for other in self.others(leader) {
            if doomed && self.rng.chance(40) {
                self.kill(leader);
                return (0, None);
            }
            have += usize::from(self.replicate(leader, other));
        }
        let state = &mut self.voters[leader];
        if !state.leads {
            return (0, None);
        }
        let alone = self.fault == SimFault::AckAlone;
        if have >= MAJORITY && state.last_term() == state.term || alone {
            state.committed = state.last();
        }
        let outcome = self.apply(leader);
        if doomed {
            self.kill(leader);
            return (0, None);
        }
        (have, outcome)
    }

    /// Proposes a command to a voter.
    pub fn propose(&mut self, voter: usize, command: &Command) -> Proposed {
        let state = &mut self.voters[voter];
        if !state.up || !state.leads {
            return Proposed::NotHere;
        }
        state.push(Entry::of(state.term, Some(command)));
        let index = state.last();
        let (_, outcome) = self.spread(voter);
        let state = &self.voters[voter];
        match outcome {
            Some(result) if state.up && state.leads && state.committed >= index => Proposed::Applied(result),
            _ => Proposed::Unknown,
        }
    }

    /// Asks a voter. A leader answers once a majority has said that it leads.
    pub fn ask(&mut self, voter: usize, query: &Query) -> Asked {
        let state = &self.voters[voter];
        if !state.up || !state.leads {
            return Asked::NotHere;
        }
        if self.fault != SimFault::ReadsAlone {
            let (have, _) = self.spread(voter);
            if have < MAJORITY || !self.voters[voter].is_settled() {
                return Asked::NotHere;
            }
        }
        Asked::Answered(self.voters[voter].ask(query))
    }

    /// A voter's time is up: a leader says that it is there, another looks whether there is one.
    pub fn tick(&mut self, voter: usize) {
        let (up, leads, term) = {
            let state = &self.voters[voter];
            (state.up, state.leads, state.term)
        };
        if !up {
            return;
        }
        if leads {
            self.spread(voter);
            return;
        }
        let mut others = (0..VOTERS).filter(|&other| other != voter);
        let heard = |other: usize| {
            self.voters[other].leads && self.voters[other].term >= term && self.passes(other, voter)
        };
        if !others.any(heard) {
            self.stand(voter);
        }
    }

    /// A voter stands for election.
    fn stand(&mut self, voter: usize) {
        let term = self.voters[voter].term + 1;
        let state = &mut self.voters[voter];
        (state.term, state.voted) = (term, Some(voter));
        let mine = (state.last_term(), state.last());
        let mut votes = 1;
        for other in self.others(voter) {
            if !self.passes(voter, other) {
                continue;
            }
            let state = &mut self.voters[other];
            if state.term < term {
                (state.term, state.voted, state.leads) = (term, None, false);
            }
            let free = state.term == term && state.voted.is_none_or(|voted| voted == voter);
            let fresh = mine >= (state.last_term(), state.last());
            if free && fresh {
                state.voted = Some(voter);
                votes += usize::from(self.passes(other, voter));
            } else if state.term > term && self.passes(other, voter) {
                let newer = self.voters[other].term;
                (self.voters[voter].term, self.voters[voter].voted) = (newer, None);
                return;
            }
        }
        if votes >= MAJORITY {
            self.elections += 1;
            let state = &mut self.voters[voter];
            state.leads = true;
            state.push(Entry::of(term, None));
            self.spread(voter);
        }
    }

    /// Who leads, as far as it knows: of several the newest.
    pub fn leader(&self) -> Option<usize> {
        let leading = (0..VOTERS).filter(|&voter| self.voters[voter].up && self.voters[voter].leads);
        leading.max_by_key(|&voter| self.voters[voter].term)
    }

    pub fn is_up(&self, voter: usize) -> bool {
        self.voters[voter].up
    }

    /// The leader dies in the middle of its next proposal.
    pub fn doom(&mut self) {
        self.doomed = true;
    }

    pub fn kill(&mut self, voter: usize) {
        let state = &mut self.voters[voter];
        (state.up, state.leads) = (false, false);
        if self.fault == SimFault::VoterForgets {
            state.forget(2);
        }
    }

    /// A voter is started again, at times without the state that it had worked out.
    pub fn revive(&mut self, voter: usize, keeps_state: bool) {
        let state = &mut self.voters[voter];
        if !std::mem::replace(&mut state.up, true) && !keeps_state {
            state.reload();
        }
    }

    pub fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = true;
    }

    pub fn heal(&mut self) {
        self.cut = [[false; VOTERS]; VOTERS];
        self.doomed = false;
    }

    /// Whether nothing is undecided anywhere.
    pub fn is_settled(&self) -> bool {
        let settled = |voter: &Voter| voter.up && voter.is_settled() && voter.last() == self.voters[0].last();
        self.voters.iter().all(settled) && self.leader().is_some()
    }

    /// Whether all voters hold the same, and what the log gives when it is applied command by command.
    pub fn check_same(&self) -> Result<(), String> {
        let mut alone = Voter::new();
        for entry in &self.history {
            alone.push(entry.clone());
            alone.committed = alone.last();
            alone.apply(|_, _| {});
        }
        let expected = alone.holds();
        for (number, voter) in self.voters.iter().enumerate() {
            if voter.holds() != expected {
                return Err(format!("voter {number} holds another state than the log gives"));
            }
        }
        Ok(())
    }
}
