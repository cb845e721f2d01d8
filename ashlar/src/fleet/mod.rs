//! The daemons of the pool as the admin API sees them: what each said of itself last, and a way to ask it for
//! something.
//!
//! Daemons open no port for this. They call the admin API again and again (see [`link`]), bring their report
//! and the outcomes of what they were asked, and take with them what they are asked next. In `ashlar up` the
//! parts are in the same process and are asked directly, through the same trait.

pub mod link;
mod task;

pub use task::{
    AttachmentReport, CopyReport, DaemonId, DaemonKind, DescribedVm, Door, LogMark, Metric, Order, Outcome,
    Poll, Rebuild, Report, Settled, Task,
};

use crate::error::{Error, Exit};
use crate::limits::{DAEMON_GONE, MAX_DAEMONS, MAX_ORDERS, POLL_WAIT};
use rt::clock::{Clock, Instant, SystemClock};
use serde_json::Value;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// What a task comes to.
pub type Performing = Pin<Box<dyn Future<Output = Result<Value, Error>> + Send>>;

/// A part of a daemon that can be asked: the agent, the shelf of disks, the gateway.
pub trait Part: Send + Sync {
    fn daemon(&self) -> DaemonId;
    fn report(&self) -> Report;
    fn perform(self: Arc<Self>, task: Task) -> Performing;
}

/// All daemons that are known here.
#[derive(Default)]
pub struct Fleet {
    members: Mutex<BTreeMap<DaemonId, Member>>,
    next_order: AtomicU64,
}

enum Member {
    Local(Arc<dyn Part>),
    Remote(Remote),
}

/// A daemon in another process.
struct Remote {
    /// Drawn at random by each start of it.
    instance: String,
    seen: Instant,
    report: Report,
    /// Asked for and not yet answered, with who waits.
    orders: BTreeMap<u64, (Order, oneshot::Sender<Result<Value, Error>>)>,
    wake: Arc<Notify>,
}

/// A daemon and its last report.
pub struct Seen {
    pub daemon: DaemonId,
    pub report: Report,
    /// How long nothing was heard of it, if that is longer than it should be.
    pub silent: Option<Duration>,
}

impl Fleet {
    /// A part of this process.
    pub fn add_local(&self, part: Arc<dyn Part>) {
        self.members().insert(part.daemon(), Member::Local(part));
    }

    /// Everybody, with what they said last.
    pub fn seen(&self) -> Vec<Seen> {
        let now = SystemClock.now();
        let members = self.members();
        members
            .iter()
            .map(|(daemon, member)| match member {
                Member::Local(part) => Seen { daemon: daemon.clone(), report: part.report(), silent: None },
                Member::Remote(remote) => {
                    let since = now.since(remote.seen);
                    let silent = (since > DAEMON_GONE).then_some(since);
                    Seen { daemon: daemon.clone(), report: remote.report.clone(), silent }
                }
            })
            .collect()
    }

    /// The only daemon of its kind, or the one of the node with this name.
    pub fn find(&self, kind: DaemonKind, node: Option<&str>) -> Result<DaemonId, Error> {
        let found: Vec<DaemonId> = self
            .seen()
            .into_iter()
            .filter(|seen| seen.daemon.kind == kind && seen.silent.is_none())
            .map(|seen| seen.daemon)
            .filter(|daemon| node.is_none_or(|node| daemon.node_name == node))
            .collect();
        match (found.as_slice(), node) {
            ([one], _) => Ok(one.clone()),
            ([], Some(node)) => Err(Error::new(
                Exit::Unavailable,
                format!("no {kind} of a node '{node}' answers; ashlar node list shows those there are"),
            )),
            ([], None) => Err(Error::new(
                Exit::Unavailable,
                format!("no {kind} answers; start one: ashlar {kind} --help"),
            )),
            (several, _) => {
                let names: Vec<_> = several.iter().map(|daemon| daemon.node_name.as_str()).collect();
                Err(Error::usage(format!(
                    "there are several {kind}s ({}); name one with --node",
                    names.join(", ")
                )))
            }
        }
    }

    /// Asks a daemon for something and waits for what comes of it, for as long as the daemon is there.
    pub async fn ask(&self, daemon: &DaemonId, task: Task) -> Result<Value, Error> {
        let gone = || gone(daemon);
        let (id, mut outcome) = match self.hand_over(daemon, task)? {
            Handed::Here(performing) => return performing.await,
            Handed::There(id, outcome) => (id, outcome),
        };
        loop {
            match tokio::time::timeout(DAEMON_GONE, &mut outcome).await {
                Ok(Ok(outcome)) => return outcome,
                Ok(Err(_)) => return Err(gone()),
                Err(_) => {
                    let mut members = self.members();
                    let Some(Member::Remote(remote)) = members.get_mut(daemon) else { return Err(gone()) };
                    if SystemClock.now().since(remote.seen) > DAEMON_GONE {
                        remote.orders.remove(&id);
                        return Err(gone());
                    }
                }
            }
        }
    }

    fn hand_over(&self, daemon: &DaemonId, task: Task) -> Result<Handed, Error> {
        let mut members = self.members();
        let remote = match members.get_mut(daemon).ok_or_else(|| gone(daemon))? {
            Member::Local(part) => return Ok(Handed::Here(Arc::clone(part).perform(task))),
            Member::Remote(remote) => remote,
        };
        if remote.orders.len() >= MAX_ORDERS {
            return Err(Error::new(
                Exit::Unavailable,
                format!("{daemon} has {MAX_ORDERS} requests to answer already; try again"),
            ));
        }
        let id = self.next_order.fetch_add(1, Ordering::Relaxed);
        let (sender, outcome) = oneshot::channel();
        remote.orders.insert(id, (Order { id, task }, sender));
        remote.wake.notify_one();
        Ok(Handed::There(id, outcome))
    }

    /// A daemon's call: takes what it brings, and returns what it has to do as soon as there is something.
    pub async fn poll(&self, poll: Poll) -> Result<Vec<Order>, Error> {
        let daemon = poll.daemon.clone();
        let known = poll.known.clone();
        let wake = {
            let mut members = self.members();
            if !members.contains_key(&daemon) && members.len() >= MAX_DAEMONS {
                return Err(Error::new(
                    Exit::Unavailable,
                    format!("there are {MAX_DAEMONS} daemons already"),
                ));
            }
            let remote = take_in(&mut members, poll)?;
            let orders = remote.unknown(&known);
            if !orders.is_empty() {
                return Ok(orders);
            }
            Arc::clone(&remote.wake)
        };
        let _ = tokio::time::timeout(POLL_WAIT, wake.notified()).await;
        match self.members().get(&daemon) {
            Some(Member::Remote(remote)) => Ok(remote.unknown(&known)),
            _ => Ok(Vec::new()),
        }
    }

    fn members(&self) -> MutexGuard<'_, BTreeMap<DaemonId, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A task that somebody has taken.
enum Handed {
    Here(Performing),
    There(u64, oneshot::Receiver<Result<Value, Error>>),
}

fn gone(daemon: &DaemonId) -> Error {
    Error::new(
        Exit::Unavailable,
        format!("{daemon} does not answer any more; look what became of it, and ask again"),
    )
}

impl Remote {
    /// What was asked and has not reached the daemon: an answer may be lost on its way, so an order is given
    /// again until the daemon says that it has it.
    fn unknown(&self, known: &[u64]) -> Vec<Order> {
        self.orders
            .iter()
            .filter(|(id, _)| !known.contains(id))
            .map(|(_, (order, _))| order.clone())
            .collect()
    }
}

fn take_in(members: &mut BTreeMap<DaemonId, Member>, poll: Poll) -> Result<&mut Remote, Error> {
    let fresh = |instance: &str| {
        Member::Remote(Remote {
            instance: instance.to_owned(),
            seen: SystemClock.now(),
            report: Report::default(),
            orders: BTreeMap::new(),
            wake: Arc::default(),
        })
    };
    let member = members.entry(poll.daemon.clone()).or_insert_with(|| fresh(&poll.instance));
    match member {
        Member::Local(_) => {
            return Err(Error::new(
                Exit::Conflict,
                format!("{} runs inside the control plane's own process; use another --node", poll.daemon),
            ));
        }
        // Another life of it: whoever waits for the former one is told by the channel's end.
        Member::Remote(remote) if remote.instance != poll.instance => *member = fresh(&poll.instance),
        Member::Remote(_) => {}
    }
    let Member::Remote(remote) = member else {
        return Err(Error::failed("a daemon changed its kind")); // just made remote
    };
    remote.seen = SystemClock.now();
    remote.report = poll.report;
    for Outcome { id, result } in poll.outcomes {
        if let Some((_, waiting)) = remote.orders.remove(&id) {
            let _ = waiting.send(result.map_err(Error::from));
        }
    }
    Ok(remote)
}

#[cfg(test)]
#[path = "fleet_test.rs"]
mod tests;
