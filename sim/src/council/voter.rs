//! One voter of the control plane: the real state machine, over its log of encoded commands and a snapshot.

use meta::command::{Command, Response};
use meta::error::Refusal;
use meta::query::{Answer, Query};
use meta::state::kv::{Batch, Kv, MemKv};
use meta::state::{self, txn::Txn};
use std::rc::Rc;

/// Entries from which on a voter makes a snapshot of what it applied.
const MAX_LOG: usize = 80;

/// A command as the log holds it, and the term of the leader that put it there. A new leader's first entry has
/// no command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub term: u64,
    pub command: Rc<[u8]>,
}

impl Entry {
    pub fn of(term: u64, command: Option<&Command>) -> Self {
        let bytes = command.map(|command| postcard::to_stdvec(command).expect("commands can be encoded"));
        Self { term, command: bytes.unwrap_or_default().into() }
    }

    fn decode(&self) -> Option<Command> {
        (!self.command.is_empty())
            .then(|| postcard::from_bytes(&self.command).expect("what was encoded decodes"))
    }
}

/// The whole state up to an entry.
#[derive(Debug, Clone, Default)]
struct Snapshot {
    index: u64,
    term: u64,
    pairs: Rc<Batch>,
}

#[derive(Debug, Default)]
pub struct Voter {
    pub up: bool,
    pub leads: bool,
    pub term: u64,
    /// For whom it voted in its term.
    pub voted: Option<usize>,
    snapshot: Snapshot,
    /// What follows the snapshot.
    log: Vec<Entry>,
    /// As far as it knows.
    pub committed: u64,
    applied: u64,
    kv: MemKv,
}

/// What the newest of some applied commands came to.
pub type Outcome = Option<Result<Response, Refusal>>;

fn position(distance: u64) -> usize {
    usize::try_from(distance).expect("logs are short")
}

impl Voter {
    pub fn new() -> Self {
        Self { up: true, ..Self::default() }
    }

    pub fn last(&self) -> u64 {
        self.snapshot.index + self.log.len() as u64
    }

    pub fn last_term(&self) -> u64 {
        self.log.last().map_or(self.snapshot.term, |entry| entry.term)
    }

    pub fn push(&mut self, entry: Entry) {
        self.log.push(entry);
    }

    fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.snapshot.index {
            return Some(self.snapshot.term);
        }
        let at = index.checked_sub(self.snapshot.index + 1)?;
        self.log.get(position(at)).map(|entry| entry.term)
    }

    /// Takes the leader's log over from where the two part. `Err` if that takes back what was committed.
    pub fn follow(&mut self, leader: &Self) -> Result<(), String> {
        let mut same = self.last().min(leader.last());
        while same > self.snapshot.index
            && (same < leader.snapshot.index || leader.term_at(same) != self.term_at(same))
        {
            same -= 1;
        }
        if same < leader.snapshot.index {
            self.install(&leader.snapshot);
            same = leader.snapshot.index;
        }
        if same < self.last() && same < leader.last() {
            if same < self.committed {
                return Err(format!("entry {} was committed and is taken back", same + 1));
            }
            self.log.truncate(position(same - self.snapshot.index));
        }
        let from = self.last().max(same) - leader.snapshot.index;
        if let Some(new) = leader.log.get(position(from)..) {
            self.log.extend_from_slice(new);
        }
        self.committed = self.committed.max(leader.committed.min(self.last()));
        Ok(())
    }

    fn install(&mut self, snapshot: &Snapshot) {
        self.snapshot = snapshot.clone();
        self.log.clear();
        self.reload();
    }

    /// Begins again with the snapshot: what a voter does whose materialised state is gone or of no use.
    pub fn reload(&mut self) {
        self.kv = MemKv::default();
        self.kv.apply(self.snapshot.pairs.as_ref().clone()).expect("a map in memory does not fail");
        self.applied = self.snapshot.index;
        self.committed = self.committed.max(self.applied);
    }

    /// A planted bug's: the end of the log was not kept.
    pub fn forget(&mut self, entries: usize) {
        self.log.truncate(self.log.len().saturating_sub(entries));
        self.committed = self.committed.min(self.last());
        if self.applied > self.committed {
            self.committed = self.snapshot.index;
            self.reload();
        }
    }

    /// Applies all that is committed, in one batch, as far as it was not. `seen` is told of every entry.
    pub fn apply(&mut self, mut seen: impl FnMut(u64, &Entry)) -> Outcome {
        let mut newest = None;
        let mut txn = Txn::new(&self.kv);
        for index in self.applied + 1..=self.committed {
            let entry = &self.log[position(index - self.snapshot.index - 1)];
            seen(index, entry);
            newest = entry
                .decode()
                .map(|command| state::apply(&mut txn, command).expect("a map in memory does not fail"));
        }
        self.kv.apply(txn.into_batch()).expect("a map in memory does not fail");
        self.applied = self.committed;
        if self.log.len() > MAX_LOG {
            self.compact();
        }
        newest
    }

    /// Puts all that is applied into a snapshot: voters that lag behind it are given that.
    fn compact(&mut self) {
        let Some(term) = self.term_at(self.applied) else { return };
        let pairs = self.kv.dump().into_iter().map(|(key, value)| (key, Some(value))).collect();
        self.log.drain(..position(self.applied - self.snapshot.index));
        self.snapshot = Snapshot { index: self.applied, term, pairs: Rc::new(pairs) };
    }

    pub fn ask(&self, query: &Query) -> Option<Answer> {
        state::answer(&self.kv, query, None).ok()
    }

    /// All it knows, with what it has applied.
    pub fn holds(&self) -> (u64, std::collections::BTreeMap<Vec<u8>, Vec<u8>>) {
        (self.applied, self.kv.dump())
    }

    /// Whether nothing of its log is undecided, and all is applied.
    pub fn is_settled(&self) -> bool {
        self.committed == self.last() && self.applied == self.committed
    }
}
