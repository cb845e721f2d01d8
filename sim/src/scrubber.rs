//! The scrubber: goes over groups while tenants work and troubles come, as the control plane's node does.

use crate::control::GROUPS;
use crate::net::CONTROL;
use crate::scenario::Run;
use crate::world::{Client, Due, Event, MILLISECOND, TOKEN, Violation, World, violation};
use blockd::client::catchup::{Pace, Peer, TalkInput, TalkOutput};
use blockd::client::scrub::{ScrubConfig, ScrubCore, ScrubReport};
use proto::GroupId;
use proto::control::DiskPlace;
use proto::message::Reply;
use std::collections::BTreeMap;

/// A scrub under way.
struct Pass {
    core: ScrubCore,
    began: Began,
    places: Vec<DiskPlace>,
    conns: BTreeMap<usize, u64>,
}

/// What stood when a scrub began.
#[derive(Debug, Clone, Copy)]
pub struct Began {
    pub group: GroupId,
    pub tampered: bool,
}

/// The one that scrubs: a group at a time.
#[derive(Default)]
pub struct Scrubber {
    pass: Option<Pass>,
    wake_at: Option<u64>,
    /// The last scrub, as it ended.
    pub ended: Option<(Began, Result<ScrubReport, blockd::Error>)>,
}

impl Scrubber {
    pub fn is_idle(&self) -> bool {
        self.pass.is_none() && self.ended.is_none()
    }
}

impl World {
    /// Begins to scrub a group, if two members at least are in sync, and no scrub runs. Says whether.
    pub fn start_scrub(&mut self, group: GroupId) -> bool {
        if !self.scrubber.is_idle() {
            return false;
        }
        let map = self.control.map();
        let Some(group) = map.groups.iter().find(|known| known.id == group) else { return false };
        let places: Vec<DiskPlace> =
            group.in_sync().filter_map(|member| map.place(member.disk)).cloned().collect();
        if places.len() < 2 {
            return false;
        }
        let core = ScrubCore::new(&ScrubConfig {
            members: places.clone(),
            group: group.id,
            epoch: group.epoch,
            groups: GROUPS,
            token: TOKEN,
            pace: Pace::UNLIMITED,
            progress: Default::default(),
        });
        let began = Began { group: group.id, tampered: self.custody.any_tampered() };
        self.scrubber.pass = Some(Pass { core, began, places, conns: BTreeMap::new() });
        self.tell_scrubber(TalkInput::Tick);
        true
    }

    fn tell_scrubber(&mut self, input: TalkInput) {
        let now = rt::clock::Instant(self.now);
        let Some(pass) = &mut self.scrubber.pass else { return };
        let mut out = Vec::new();
        pass.core.step(now, input, &mut out);
        for output in out {
            match output {
                TalkOutput::Connect(peer) => self.scrubber_connects(peer),
                TalkOutput::Send(peer, request) => {
                    let pass = self.scrubber.pass.as_ref();
                    if let Some(&conn) = pass.and_then(|pass| pass.conns.get(&peer.0)) {
                        self.send_request(conn, &request);
                    }
                }
                TalkOutput::Done(result) => self.scrub_ends(result),
            }
        }
        let due = self.scrubber.pass.as_ref().and_then(|pass| pass.core.next_deadline());
        let Some(due) = due else { return };
        let at = due.0.max(self.now + MILLISECOND);
        if self.scrubber.wake_at.is_none_or(|wake| at < wake) {
            self.scrubber.wake_at = Some(at);
            self.at(at, Event::ScrubberWake(at));
        }
    }

    fn scrub_ends(&mut self, result: Result<ScrubReport, blockd::Error>) {
        let Some(pass) = self.scrubber.pass.take() else { return };
        self.trace.say(self.now, || format!("scrub of group {}: {result:?}", pass.began.group));
        for &conn in pass.conns.values() {
            self.drop_conn(conn);
        }
        self.scrubber.ended = Some((pass.began, result));
        self.due(0, Due::Scrubbed);
    }

    fn scrubber_connects(&mut self, peer: Peer) {
        let Some(disk) = self.scrubber.pass.as_ref().map(|pass| pass.places[peer.0].disk) else { return };
        let Some(&to) = self.homes.get(&disk) else { return };
        let conn = self.connect(to, Client::Scrubber(peer), CONTROL);
        if let Some(pass) = &mut self.scrubber.pass {
            pass.conns.insert(peer.0, conn);
        }
    }

    pub fn scrubber_wakes(&mut self, at: u64) {
        if self.scrubber.wake_at == Some(at) {
            self.scrubber.wake_at = None;
            self.tell_scrubber(TalkInput::Tick);
        }
    }

    fn is_scrubbers(&self, peer: Peer, conn: u64) -> bool {
        self.scrubber.pass.as_ref().is_some_and(|pass| pass.conns.get(&peer.0) == Some(&conn))
    }

    pub fn scrubber_connected(&mut self, peer: Peer, conn: u64) {
        if self.is_scrubbers(peer, conn) {
            self.tell_scrubber(TalkInput::Connected(peer));
        }
    }

    pub fn scrubber_disconnected(&mut self, peer: Peer, conn: u64) {
        if self.is_scrubbers(peer, conn) {
            if let Some(pass) = &mut self.scrubber.pass {
                pass.conns.remove(&peer.0);
            }
            self.tell_scrubber(TalkInput::Disconnected(peer, "it hung up".into()));
        }
    }

    pub fn scrubber_hears(&mut self, peer: Peer, conn: u64, reply: Reply) {
        if self.is_scrubbers(peer, conn) {
            self.tell_scrubber(TalkInput::Reply(peer, reply));
        }
    }
}

impl Run {
    /// A scrub has ended: promise 6, and no false alarm.
    pub fn scrubbed(&mut self) -> Result<(), Violation> {
        let Some((began, result)) = self.world.scrubber.ended.take() else { return Ok(()) };
        // Servers that went away, or a map that changed: there will be another one.
        let Ok(report) = result else { return Ok(()) };
        self.world.totals.scrubs += 1;
        self.world.totals.scrubbed += report.repaired_blocks;
        self.last_scrub = Some(report);
        let group = began.group;
        let wrong = |why: &str| violation("scrub", format!("group {group}: {why}: {report:?}"));
        if report.bad_blocks + report.missing_blocks != report.repaired_blocks + report.unrepairable_blocks {
            return wrong("what was found is not what was dealt with");
        }
        if report.conflicting_blocks > 0 {
            return wrong("two members hold different data with one version");
        }
        if self.is_finale || began.tampered || self.world.custody.any_tampered() {
            return Ok(());
        }
        if report.bad_blocks + report.unrepairable_blocks > 0 {
            return wrong("copies are called bad, and no disk was touched");
        }
        // What members forgot is made up for when the next writer opens, at the latest.
        let since = self.tenants.iter().map(|tenant| tenant.oracle.opened_at()).min().unwrap_or(0);
        if report.missing_blocks > 0 && !self.world.custody.lost_since(group.0, since) {
            return wrong("copies are called missing, and no disk forgot anything");
        }
        Ok(())
    }
}
