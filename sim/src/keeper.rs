//! What runs beside each chunk server: it says how its disk is, and lets it catch up where it is out.

use crate::clearing::Clearing;
use crate::control::GROUPS;
use crate::fault::SimFault;
use crate::net::{CONTROL, server_node};
use crate::world::{Client, Event, MILLISECOND, SECOND, TOKEN, World};
use blockd::client::catchup::{CatchUpConfig, CatchUpCore, CatchUpReport, Pace, Peer, TalkInput, TalkOutput};
use meta::command::{Command, Pardon};
use meta::query::{Answer, Query};
use proto::control::{Copied, DiskPlace, Group, MemberState, PoolMap};
use proto::message::Reply;
use proto::{DiskId, GroupEpoch, GroupId};
use std::collections::BTreeMap;

/// How often a keeper looks at the map while something is amiss.
const LOOK: u64 = 2 * SECOND;

/// A catch-up under way.
struct Run {
    core: CatchUpCore,
    disk: DiskId,
    group: GroupId,
    epoch: GroupEpoch,
    /// The leases that were known before it began.
    leases: u64,
    places: Vec<DiskPlace>,
    conns: BTreeMap<usize, u64>,
}

#[derive(Default)]
pub struct Keeper {
    run: Option<Run>,
    pub clearing: Option<Clearing>,
    pub looks: bool,
    wake_at: Option<u64>,
}

impl World {
    /// Whether a chunk server's machine hears the control plane and is heard.
    pub fn server_reaches_control(&self, server: usize) -> bool {
        self.control.down_until <= self.now && self.net.connects(server_node(server), CONTROL, self.now)
    }

    /// Every keeper has a look soon, if something is amiss.
    pub fn rouse_keepers(&mut self) {
        for server in 0..self.servers.len() {
            if !std::mem::replace(&mut self.servers[server].keeper.looks, true) {
                let wait = self.rng.below(LOOK);
                self.after(wait, Event::Keeper(server));
            }
        }
    }

    /// A keeper looks at the map, and does what it asks for.
    pub fn keeper_looks(&mut self, server: usize) {
        self.servers[server].keeper.looks = false;
        let shape = self.control.shape();
        if shape.whole && !self.has_left(server) {
            return;
        }
        let map = &shape.map;
        self.servers[server].keeper.looks = true;
        let wait = LOOK + self.rng.below(SECOND);
        self.after(wait, Event::Keeper(server));
        let busy = self.servers[server].keeper.run.is_some();
        if busy || !self.is_server_up(server) || !self.server_reaches_control(server) {
            return;
        }
        if self.start_clearing(server) {
            return;
        }
        let disk = self.servers[server].id;
        let is = |group: &&Group, state| group.member(disk).is_some_and(|member| member.state == state);
        let out: Vec<(GroupId, GroupEpoch)> =
            map.groups.iter().filter(|group| is(group, MemberState::Out)).map(|g| (g.id, g.epoch)).collect();
        if !out.is_empty() {
            self.change(Command::BeginCatchUp { disk, groups: out });
            self.forgive_a_slow_disk(disk);
        }
        let shape = self.control.shape();
        let map = &shape.map;
        if let Some(group) = map.groups.iter().find(|group| is(group, MemberState::CatchingUp)) {
            self.start_catch_up(server, map, group);
        }
    }

    /// One that is kept out for being slow is tried again, soon: here its keeper's patience is no subject.
    fn forgive_a_slow_disk(&mut self, disk: DiskId) {
        let Some(Answer::Slow(slow)) = self.control.ask(&Query::Slow) else { return };
        if let Some(slow) = slow.into_iter().find(|slow| slow.disk == disk && slow.held) {
            let pardon = Pardon::TryAgain;
            self.change(Command::PardonDisk { disk, strikes: slow.strikes, pardon });
        }
    }

    fn start_catch_up(&mut self, server: usize, map: &PoolMap, group: &Group) {
        let disk = self.servers[server].id;
        if self.fault == SimFault::JoinEarly {
            self.change(Command::Join { disk, group: group.id, epoch: group.epoch });
            return;
        }
        let mut sources: Vec<DiskPlace> =
            group.in_sync().filter_map(|member| map.place(member.disk)).cloned().collect();
        let (Some(target), false) = (map.place(disk).cloned(), sources.is_empty()) else { return };
        let first = self.rng.index(sources.len());
        let source = sources.remove(first);
        let Some(Answer::Leases(leases)) = self.control.ask(&Query::Leases) else { return };
        let config = CatchUpConfig {
            target: target.clone(),
            source: source.clone(),
            others: sources.clone(),
            group: group.id,
            epoch: group.epoch,
            groups: GROUPS,
            token: TOKEN,
            leases: leases.epochs,
            pace: Pace::UNLIMITED,
            progress: Default::default(),
        };
        let mut places = vec![target, source];
        places.extend(sources);
        let core = CatchUpCore::new(&config);
        self.trace.say(self.now, || format!("server {server} catches up in group {}", group.id));
        self.totals.catch_ups += 1;
        let (leases, conns) = (leases.revision, BTreeMap::new());
        let run = Run { core, disk, group: group.id, epoch: group.epoch, leases, places, conns };
        self.servers[server].keeper.run = Some(run);
        self.tell_keeper(server, TalkInput::Tick);
    }

    pub fn tell_keeper(&mut self, server: usize, input: TalkInput) {
        let now = self.servers[server].clock.read(self.now);
        let Some(run) = &mut self.servers[server].keeper.run else { return };
        let mut out = Vec::new();
        run.core.step(now, input, &mut out);
        for output in out {
            match output {
                TalkOutput::Connect(peer) => self.keeper_connects(server, peer),
                TalkOutput::Send(peer, request) => {
                    let run = self.servers[server].keeper.run.as_ref();
                    if let Some(&conn) = run.and_then(|run| run.conns.get(&peer.0)) {
                        self.send_request(conn, &request);
                    }
                }
                TalkOutput::Done(result) => self.caught_up(server, result),
            }
        }
        self.keeper_sleeps(server);
    }

    fn keeper_connects(&mut self, server: usize, peer: Peer) {
        let Some(disk) = self.servers[server].keeper.run.as_ref().map(|run| run.places[peer.0].disk) else {
            return;
        };
        let Some(&to) = self.homes.get(&disk) else { return };
        let conn = self.connect(to, Client::Keeper(server, peer), server_node(server));
        if let Some(run) = &mut self.servers[server].keeper.run {
            run.conns.insert(peer.0, conn);
        }
    }

    fn keeper_sleeps(&mut self, server: usize) {
        let state = &self.servers[server];
        let Some(due) = state.keeper.run.as_ref().and_then(|run| run.core.next_deadline()) else { return };
        let at = self.now + state.clock.wait(self.now, due).max(MILLISECOND);
        if state.keeper.wake_at.is_none_or(|wake| at < wake) {
            self.servers[server].keeper.wake_at = Some(at);
            self.at(at, Event::KeeperWake { server, at });
        }
    }

    pub fn keeper_wakes(&mut self, server: usize, at: u64) {
        if self.servers[server].keeper.wake_at == Some(at) {
            self.servers[server].keeper.wake_at = None;
            self.tell_keeper(server, TalkInput::Tick);
        }
    }

    fn caught_up(&mut self, server: usize, result: Result<CatchUpReport, blockd::Error>) {
        let Some(run) = self.stop_catch_up(server) else { return };
        self.trace.say(self.now, || format!("server {server}, group {}: {result:?}", run.group));
        if let Ok(report) = result {
            self.totals.copied += report.blocks_copied;
            if self.server_reaches_control(server) {
                let (disk, group, epoch, leases) = (run.disk, run.group, run.epoch, run.leases);
                let (source, incarnation) = (run.places[1].disk, report.source_incarnation);
                let copied = Copied { group, disk, source, incarnation };
                let join = Command::JoinCopied { copied, epoch, leases };
                self.change(join);
            }
        }
    }

    /// Ends the catch-up of a server, however far it is.
    fn stop_catch_up(&mut self, server: usize) -> Option<Run> {
        let run = self.servers[server].keeper.run.take()?;
        for &conn in run.conns.values() {
            self.drop_conn(conn);
        }
        Some(run)
    }

    /// A keeper dies with its server.
    pub fn kill_keeper(&mut self, server: usize) {
        self.stop_catch_up(server);
        self.stop_clearing(server);
    }

    fn is_keepers(&self, server: usize, peer: Peer, conn: u64) -> bool {
        self.servers[server].keeper.run.as_ref().is_some_and(|run| run.conns.get(&peer.0) == Some(&conn))
    }

    pub fn keeper_connected(&mut self, server: usize, peer: Peer, conn: u64) {
        if self.is_keepers(server, peer, conn) {
            self.tell_keeper(server, TalkInput::Connected(peer));
        }
    }

    pub fn keeper_disconnected(&mut self, server: usize, peer: Peer, conn: u64) {
        if self.is_keepers(server, peer, conn) {
            if let Some(run) = &mut self.servers[server].keeper.run {
                run.conns.remove(&peer.0);
            }
            self.tell_keeper(server, TalkInput::Disconnected(peer, "it hung up".into()));
        }
    }

    pub fn keeper_hears(&mut self, server: usize, peer: Peer, conn: u64, reply: Reply) {
        if self.is_keepers(server, peer, conn) {
            self.tell_keeper(server, TalkInput::Reply(peer, reply));
        }
    }
}
