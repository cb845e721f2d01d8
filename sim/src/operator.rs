//! Who looks after the pool: the control plane's planner, and a person who puts a new disk where one is lost.

use crate::net::server_node;
use crate::server::Server;
use crate::world::{Event, SECOND, World};
use meta::command::Command;
use meta::planner::{Settings, plan};
use meta::query::{Answer, Query};
use meta::record::{DiskAdmin, DiskRecord};
use proto::DiskId;

/// How often the planner looks while something is amiss: the longest step that it counts.
const LOOK: u64 = 15 * SECOND;

impl World {
    /// The planner looks soon, if it does not already.
    pub fn rouse_planner(&mut self) {
        if !std::mem::replace(&mut self.planner_due, true) {
            self.after(LOOK, Event::Planner);
        }
    }

    /// Whether all groups are whole, all servers up, and nothing is left of what was moved away.
    pub fn is_well(&self) -> bool {
        (0..self.servers.len()).all(|server| self.is_server_up(server))
            && self.control.shape().whole
            && !(0..self.servers.len()).any(|server| self.has_left(server))
    }

    /// Whether a server's disk has an old copy of a group that it left.
    pub fn has_left(&self, server: usize) -> bool {
        let disk = self.servers[server].id;
        self.control.shape().left.iter().any(|(_, of)| *of == disk)
    }

    pub fn planner_looks(&mut self) {
        self.planner_due = false;
        if self.is_well() {
            return;
        }
        self.rouse_planner();
        if self.control.down_until > self.now {
            return;
        }
        let now_ms = self.now / 1_000_000;
        for server in 0..self.servers.len() {
            if self.is_server_up(server) && self.server_reaches_control(server) {
                let disk = self.servers[server].id;
                let (seen_ms, why) = (now_ms, String::new());
                self.change(Command::DiskSeen { disk, seen_ms, healthy: true, used_bytes: 0, why });
            }
        }
        let (Some(Answer::Disks(disks)), Some(Answer::Left(left))) =
            (self.control.ask(&Query::Disks), self.control.ask(&Query::Left))
        else {
            return;
        };
        let map = self.control.map();
        let is_removed = |disk: &&DiskRecord| disk.admin == DiskAdmin::Removed;
        let removed: Vec<DiskId> = disks.iter().filter(is_removed).map(|disk| disk.id).collect();
        let settings = Settings::default();
        let view = self.watch.look(now_ms, map, disks, left, &settings);
        for command in plan(&view) {
            self.change(command);
        }
        self.replace_lost(&removed);
    }

    /// Whoever looks after the machines puts new disks where old ones are lost.
    fn replace_lost(&mut self, removed: &[DiskId]) {
        for server in 0..self.servers.len() {
            if self.servers[server].dead.is_some() {
                self.new_disk(server);
            }
        }
        // Lost disks that nobody removes count as silent, and the planner does nothing once most are.
        let is_old = |id: &DiskId, home: usize| self.servers[home].id != *id && !removed.contains(id);
        let of_old = self.homes.iter().filter(|&(id, &home)| is_old(id, home));
        let old: Vec<DiskId> = of_old.map(|(&id, _)| id).collect();
        for disk in old {
            let _ = self.control.run(Command::SetDiskState { disk, state: DiskAdmin::Removed });
        }
    }

    /// A new, empty disk with a name of its own takes the place of a server's.
    fn new_disk(&mut self, server: usize) {
        self.kill_server(server, false);
        self.custody.destroyed(server);
        let mut id = self.servers[server].id.0;
        id[15] += 1;
        let id = DiskId(id);
        let (clock, len_bytes) = (self.servers[server].clock, crate::world::DISK_BYTES);
        let before = &self.servers[server];
        let (life, looks) = (before.life, before.keeper.looks);
        self.servers[server] = Server::new(id, len_bytes, clock);
        self.servers[server].life = life;
        self.servers[server].keeper.looks = looks;
        self.homes.insert(id, server);
        self.custody.renamed(server, id);
        self.control.register(id, u64::from(server_node(server)) + 1, len_bytes);
        self.trace.say(self.now, || format!("server {server} gets a new disk: {id}"));
        self.totals.new_disks += 1;
        self.start_server(server);
    }
}
