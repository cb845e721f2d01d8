//! What goes wrong: one trouble after the other, some at once, each for a while.

use crate::clock::HOUR;
use crate::control::GROUPS;
use crate::disk::Mishap;
use crate::fault::Trouble;
use crate::net::{CONTROL, Side, server_node, writer_node};
use crate::scenario::Run;
use proto::GroupId;
use proto::control::Group;

use crate::world::{Due, Event, MILLISECOND, SECOND, World};

/// How long its echo lasts: what was begun in that time may be late.
const ECHO: u64 = 60 * SECOND;
/// As long as a writer puts up with a member that is gone.
const SHORT: u64 = 1500 * MILLISECOND;
/// How many times as long as usual a slow disk takes.
const SLOWER: [u64; 3] = [30, 300, 3000];
/// As long as it may take until a disk that is lost is replaced, and more.
const LONG: u64 = 900 * SECOND;

impl World {
    /// A trouble has come.
    pub fn count(&mut self, trouble: Trouble) {
        self.totals.count(trouble, 1);
    }
}

impl Run {
    /// Something goes wrong, while the tenants are busy.
    pub fn trouble_due(&mut self) {
        if self.calm {
            return;
        }
        for number in 0..self.tenants.len() {
            if self.world.rng.chance(80) {
                self.burst(number);
            }
        }
        self.world.net.tidy(self.world.now);
        let times = self.world.rng.pick(&[1, 1, 1, 2, 3]);
        for _ in 0..times {
            let trouble = self.world.rng.pick(&Trouble::AT_RANDOM);
            let server = self.world.rng.index(self.world.servers.len());
            if let Some(lasts) = self.inflict(trouble, server) {
                self.world.count(trouble);
                self.world.trace.note(trouble as u64);
                self.world.trace.say(self.world.now, || format!("{trouble:?}, server {server}: {lasts} ns"));
                if trouble != Trouble::ControlDown {
                    self.trouble_until = self.trouble_until.max(self.world.now + lasts + ECHO);
                }
                self.wait_for_control();
            }
        }
        let wait = self.world.pace * self.world.rng.spread(20 * SECOND, 5);
        self.world.due(wait, Due::Trouble);
    }

    /// A disk was armed some time ago, and has met the write or flush it was armed for now.
    pub fn disk_struck(&mut self) {
        self.trouble_until = self.trouble_until.max(self.world.now + ECHO);
        self.wait_for_control();
    }

    /// A disk is lost, or as good as lost. Were others to fail before it is out of its groups, all three copies
    /// would be gone, and with them what is promised.
    fn spare_others(&mut self, lost: usize) {
        for (server, state) in self.world.servers.iter().enumerate() {
            if server != lost {
                state.disk.disarm();
            }
        }
    }

    /// Whether a disk that is gone still counts as one of its groups' copies.
    fn lost_one_counts(&self) -> bool {
        let gone = |server: usize| self.world.servers[server].dead.is_some();
        (0..GROUPS).any(|group| self.world.custody.in_sync(group).any(gone))
    }

    /// What needs a decision waits for the control plane: while both it and something else are down, a member
    /// that failed is waited for until both are back.
    fn wait_for_control(&mut self) {
        let back = self.world.control.down_until;
        if back > self.world.now && self.trouble_until > self.world.now {
            self.trouble_until = self.trouble_until.max(back + ECHO);
        }
    }

    /// Does it, and says how long it lasts; `None` if there is nothing to do it to.
    fn inflict(&mut self, trouble: Trouble, server: usize) -> Option<u64> {
        match trouble {
            Trouble::Reset | Trouble::ClockJump | Trouble::WriterCrash | Trouble::WriterMove => {
                self.upset_writer(trouble, server)
            }
            Trouble::KillServer | Trouble::PowerCut => {
                let most = if self.needs_care(server) { SHORT } else { 5 * SECOND };
                let cut = trouble == Trouble::PowerCut;
                let may = self.all_up() && !(cut && self.needs_care(server));
                may.then(|| self.take_down(server, cut, most))
            }
            Trouble::LongKill => {
                let may = self.all_up() && !self.world.custody.any_tampered();
                let most = self.world.rng.pick(&[20 * SECOND, 200 * SECOND, 1500 * SECOND]);
                let cut = self.world.rng.chance(30);
                may.then(|| self.take_down(server, cut, most))
            }
            Trouble::DiskDies => {
                let may = self.world.is_well() && !self.world.custody.any_tampered();
                may.then(|| {
                    self.spare_others(server);
                    self.world.kill_server(server, true);
                    self.world.servers[server].dead = Some("it is gone for good".into());
                    self.world.custody.destroyed(server);
                    LONG
                })
            }
            Trouble::KillAll | Trouble::PowerCutAll => {
                let cut = trouble == Trouble::PowerCutAll;
                if cut && self.world.custody.any_tampered() {
                    return None;
                }
                if self.world.rng.chance(50) {
                    self.kill_writers();
                }
                let servers = 0..self.world.servers.len();
                servers.map(|server| self.take_down(server, cut, 5 * SECOND)).max()
            }
            Trouble::Isolate | Trouble::OneWay | Trouble::NonTransitive | Trouble::SlowNetwork => {
                Some(self.upset_network(trouble, server))
            }
            Trouble::SlowDisk => {
                // Some are a little slow for minutes, others as good as stuck: a write takes seconds.
                let lasts = if self.world.rng.chance(20) {
                    self.world.rng.spread(30 * SECOND, 4)
                } else {
                    self.world.rng.spread(50 * MILLISECOND, 9)
                };
                let state = &mut self.world.servers[server];
                state.slow_until = self.world.now + lasts;
                state.slow_by = self.world.rng.pick(&SLOWER);
                Some(lasts)
            }
            Trouble::PoolFull => {
                let lasts = self.world.rng.spread(20 * MILLISECOND, 8);
                self.world.servers[server].full_until = self.world.now + lasts;
                Some(lasts)
            }
            Trouble::Flip => {
                let server = self.to_tamper(server)?;
                let flipped = (0..3).filter(|_| self.world.flip(server)).count();
                (flipped > 0).then(|| self.tampered(server))
            }
            Trouble::Unreadable => {
                let server = self.to_tamper(server)?;
                self.world.spoil(server).then(|| self.tampered(server))
            }
            Trouble::LostWrite | Trouble::Misdirected => {
                let server = self.to_tamper(server)?;
                let lost = trouble == Trouble::LostWrite;
                self.world.servers[server].disk.arm(if lost {
                    Mishap::LostWrite
                } else {
                    Mishap::Misdirected
                });
                Some(self.tampered(server))
            }
            Trouble::VolumeDeleted => {
                let number = self.world.rng.index(self.tenants.len());
                self.delete_volume(number)
            }
            Trouble::VolumeGrown => {
                let number = self.world.rng.index(self.tenants.len());
                let may = self.world.control.down_until <= self.world.now && self.tenants[number].may_grow();
                may.then(|| self.world.due(0, Due::Grow(number))).map(|()| 0)
            }
            // These come by the run's own course.
            Trouble::RottenCopy
            | Trouble::EveryCopyBad
            | Trouble::LeaderDies
            | Trouble::LeaderCut
            | Trouble::VotersCut
            | Trouble::VoterDies
            | Trouble::VoterRebuilt
            | Trouble::PoolFills => None,
            Trouble::WriteError => self.arm(server, Mishap::WriteError),
            Trouble::DiskFull => self.arm(server, Mishap::NoRoom),
            Trouble::FlushError => self.arm(server, Mishap::FlushError),
            Trouble::AnswersLost => {
                let lasts = self.world.rng.spread(100 * MILLISECOND, 6);
                self.world.control.mute_until = self.world.now + lasts;
                Some(lasts)
            }
            Trouble::ControlDown => {
                let lasts = self.world.rng.spread(100 * MILLISECOND, 12);
                self.world.control.down_until = self.world.now + lasts;
                self.world.due(lasts, Due::Nothing);
                Some(lasts)
            }
        }
    }

    fn arm(&mut self, server: usize, mishap: Mishap) -> Option<u64> {
        if !self.world.is_server_up(server) || self.needs_care(server) || self.lost_one_counts() {
            return None;
        }
        self.world.servers[server].disk.arm(mishap);
        Some(20 * SECOND)
    }

    /// A group is scrubbed, while tenants work and troubles come.
    pub fn scrub_due(&mut self) {
        if self.calm {
            return;
        }
        let group = GroupId(u32::try_from(self.world.rng.index(GROUPS as usize)).expect("a few groups"));
        self.world.start_scrub(group);
        let wait = self.world.rng.spread(100 * SECOND, 4);
        self.world.due(wait, Due::Scrub);
    }

    fn all_up(&self) -> bool {
        (0..self.world.servers.len()).all(|server| self.world.is_server_up(server))
    }

    /// Only one disk's medium is touched, and only while the others have everything: with two such disks,
    /// nobody could tell what must survive.
    fn to_tamper(&self, server: usize) -> Option<usize> {
        let other = (0..self.world.servers.len()).find(|&server| self.world.custody.is_tampered(server));
        let may = if other.is_some() { self.all_up() } else { self.world.is_well() };
        may.then_some(other.unwrap_or(server))
    }

    /// Whether a disk is one of those that are left while another's medium is touched.
    fn needs_care(&self, server: usize) -> bool {
        self.world.custody.any_tampered() && !self.world.custody.is_tampered(server)
    }

    /// A disk's medium was touched. Some time later somebody takes it away.
    fn tampered(&mut self, server: usize) -> u64 {
        self.spare_others(server);
        self.world.custody.tampered(server);
        let wait = self.world.rng.spread(20 * SECOND, 5);
        self.world.due(wait, Due::Scrap(server));
        LONG
    }

    /// A disk that is not to be trusted is thrown away, as soon as the others have everything.
    pub fn scrap(&mut self, server: usize) {
        if self.is_finale {
            return;
        }
        let map = self.world.control.map();
        let disk = self.world.servers[server].id;
        let others = |group: &Group| group.in_sync().filter(|member| member.disk != disk).count() >= 2;
        if !self.world.custody.is_tampered(server) {
            return;
        }
        let up = (0..self.world.servers.len()).all(|other| other == server || self.world.is_server_up(other));
        if up && map.groups.iter().all(others) {
            self.world.trace.say(self.world.now, || format!("server {server} loses its disk"));
            self.world.kill_server(server, false);
            self.world.servers[server].dead = Some("it was thrown away".into());
            self.trouble_until = self.trouble_until.max(self.world.now + LONG);
            self.world.rouse_planner();
        } else {
            self.world.due(20 * SECOND, Due::Scrap(server));
        }
    }

    fn take_down(&mut self, server: usize, cut: bool, most: u64) -> u64 {
        let silently = cut && self.world.rng.chance(50);
        self.world.kill_server(server, silently);
        if cut && !self.world.is_server_up(server) {
            self.world.cut_power(server);
        }
        let wait = self.world.rng.below(most);
        self.world.after(wait, Event::Restart(server));
        wait
    }

    fn kill_writers(&mut self) {
        for number in 0..self.tenants.len() {
            let tenant = &self.tenants[number];
            for writer in [tenant.writer, tenant.opening].into_iter().flatten() {
                self.end_writer(number, writer);
            }
        }
    }

    fn upset_writer(&mut self, trouble: Trouble, server: usize) -> Option<u64> {
        let number = self.world.rng.index(self.tenants.len());
        let writer = self.tenants[number].writer?;
        match trouble {
            Trouble::Reset => {
                let conn = self.world.conn_of(writer)?;
                self.world.reset(conn);
            }
            Trouble::ClockJump => {
                if self.world.rng.chance(50) {
                    self.world.jump(writer, HOUR);
                } else {
                    self.world.servers[server].clock.jump(HOUR);
                }
            }
            Trouble::WriterCrash => self.end_writer(number, writer),
            _ => {
                if self.tenants[number].opening.is_some() {
                    return None;
                }
                self.open(number);
            }
        }
        Some(0)
    }

    fn upset_network(&mut self, trouble: Trouble, server: usize) -> u64 {
        let long = self.world.rng.spread(2 * SECOND, 8);
        let may_be_long = !self.world.custody.any_tampered() && self.world.rng.chance(40);
        let lasts = if may_be_long { long } else { self.world.rng.below(SHORT) };
        let (until, node) = (self.world.now + lasts, Side::One(server_node(server)));
        let net = &mut self.world.net;
        match trouble {
            Trouble::Isolate => {
                net.cut(node, Side::All, until);
                net.cut(Side::All, node, until);
            }
            Trouble::OneWay => {
                if self.world.rng.chance(50) {
                    net.cut(node, Side::All, until);
                } else {
                    net.cut(Side::All, node, until);
                }
            }
            Trouble::NonTransitive => {
                // A writer and a server, or the control plane, can't reach each other; all others can.
                let number = self.world.rng.index(self.tenants.len());
                let writer = self.tenants[number].writer.map_or(CONTROL, writer_node);
                let other = if self.world.rng.chance(70) { node } else { Side::One(CONTROL) };
                net.cut(Side::One(writer), other, until);
                net.cut(other, Side::One(writer), until);
            }
            _ => net.slow(server_node(server), until),
        }
        lasts
    }
}
