//! What happens to the pool as a whole: full disks, a disk replaced, a scrub under faults.

use super::scrub;
use super::world::{World, pick, since};
use crate::limits::{SOAK_DISK_GIB, SOAK_FULL, SOAK_LATE, SOAK_PROGRESS};
use crate::machine::now;
use std::time::Duration;
use trial::block_client::{BlockClient, SLOT, SLOTS};
use trial::fleet::FAULT_MACHINE;
use trial::harness::{Random, eventually, look_for_interrupt, noise, rest};

const FILLER: &str = "filler";
/// No filling writes more than this: twice what a disk holds.
const MOST_PIECES: u64 = (SOAK_DISK_GIB << 31) / SLOT as u64;

impl World {
    /// Fills the pool until writes wait or fail for want of room; then reads go on, what was acked is there, S3 says
    /// what is the matter, and deleting makes room.
    pub(super) fn fill_disks(&mut self) -> u64 {
        let mut blocks = self.end_load();
        let socket = self.fleet.volume(FILLER, "16G");
        let mut client = BlockClient::connect(&socket);
        let acked = fill(&mut client, || self.is_full());
        let fired = u64::from(acked.is_some());
        // Not full: then the round fails for not having fired, and what was written is checked all the same.
        let acked = acked.unwrap_or_default();
        // Reads go on: of what is there long since, and of what was acked last.
        let mut reader = BlockClient::connect(&self.socket);
        for (index, content) in blocks.contents().step_by(97) {
            match reader.try_read(index * content.len() as u64, content.len()) {
                Ok(data) if data == content => {}
                Ok(_) => self.wrong.push(format!("block {index} is another with full disks")),
                Err(errno) => self.wrong.push(format!("block {index} gave {errno} with full disks")),
            }
        }
        drop(reader);
        drop(client);
        self.fleet.cli(&["volume", "detach", FILLER]);
        let socket_text = socket.to_string_lossy().into_owned();
        self.fleet.cli(&["volume", "attach", FILLER, "--socket", &socket_text]);
        self.check_filling(&socket, &acked);
        self.fleet.cli(&["volume", "detach", FILLER]);
        self.fleet.cli(&["volume", "delete", FILLER, "--yes"]);
        eventually("room for objects", SOAK_PROGRESS, || {
            // What was refused last is tried again before anything new is let in: some are told so for a while yet.
            let (puts, refused) = (self.objects().puts(), self.objects().refused_as_full());
            rest(Duration::from_secs(1));
            (self.objects().puts() > puts && self.objects().refused_as_full() == refused).then_some(())
        });
        self.looked_at_bytes += blocks.verify(&self.socket);
        self.start_load(blocks);
        fired
    }

    /// Whether nearly nothing is free, as an operator sees it.
    fn is_full(&self) -> bool {
        let of = |capacity: &serde_json::Value, name: &str| capacity[name].as_u64();
        self.fleet.status().is_some_and(|status| {
            let capacity = &status["capacity"];
            match (of(capacity, "usable_free_bytes"), of(capacity, "usable_bytes")) {
                (Some(free), Some(all)) => free * 10 < all,
                _ => false,
            }
        })
    }

    fn check_filling(&mut self, socket: &std::path::Path, acked: &[bool]) {
        let mut client = BlockClient::connect(socket);
        for (piece, _) in (0u64..).zip(acked).filter(|(_, acked)| **acked).step_by(13) {
            match client.try_read(piece * SLOT as u64, SLOT) {
                Ok(data) if data == noise(piece + 1, SLOT) => self.looked_at_bytes += SLOT as u64,
                Ok(_) => self.wrong.push(format!("piece {piece} of the filling is another")),
                Err(errno) => self.wrong.push(format!("piece {piece} of the filling gave {errno}")),
            }
        }
    }

    /// A new disk takes the place of one, and while it is filled one of its sources is killed.
    pub(super) fn replace_disk(&mut self, random: &mut Random) -> u64 {
        // The one that fails to order stays.
        let used: Vec<usize> =
            self.fleet.used().iter().copied().filter(|disk| *disk != FAULT_MACHINE).collect();
        let old = used[pick(random, used.len())];
        let new = self.fleet.begin_replacing(old);
        rest(Duration::from_millis(random.below(2000)));
        let sources: Vec<usize> =
            self.fleet.used().iter().copied().filter(|disk| *disk != old && *disk != new).collect();
        let source = sources[pick(random, sources.len())];
        self.fleet.kill_disk(source);
        rest(Duration::from_millis(500 + random.below(5000)));
        self.fleet.start_disk(source);
        self.fleet.end_replacing(old, SOAK_LATE);
        1
    }

    /// Nobody is told of bad copies where there are none.
    pub(super) fn scrub_while_killing(&mut self, random: &mut Random) -> u64 {
        let passes = scrub::start(&self.fleet);
        let fired = self.kill_servers(3, random);
        let counts = scrub::wait(&self.fleet, passes);
        // What can't be looked at while its members come and go is skipped, and what they lack is copied.
        let alarms = [counts.bad, counts.unrepairable, counts.conflicting];
        if alarms != [0; 3] {
            self.wrong.push(format!("nothing was spoiled, and the scrub says {counts:?}"));
        }
        fired
    }
}

/// Writes on until there is no room; which pieces were acked. `None` if there is room without end.
fn fill(client: &mut BlockClient, is_full: impl Fn() -> bool) -> Option<Vec<bool>> {
    let mut acked: Vec<bool> = Vec::new();
    let mut flying = std::collections::BTreeMap::<usize, usize>::new();
    let mut last = now();
    let mut has_failed = false;
    loop {
        look_for_interrupt();
        while !has_failed && (acked.len() as u64) < MOST_PIECES {
            let Some(slot) = (0..SLOTS).find(|slot| !flying.contains_key(slot)) else { break };
            let piece = acked.len();
            client.start_write(slot, slot, (piece * SLOT) as u64, &noise(piece as u64 + 1, SLOT));
            flying.insert(slot, piece);
            acked.push(false);
        }
        for done in client.wait(Duration::from_millis(200)) {
            let Some(piece) = flying.remove(&done.tag) else { continue };
            acked[piece] = done.result == 0;
            has_failed |= done.result != 0;
            if done.result == 0 {
                last = now();
            }
        }
        if (since(last) > SOAK_FULL && is_full()) || (has_failed && flying.is_empty()) {
            return Some(acked);
        }
        if flying.is_empty() && acked.len() as u64 >= MOST_PIECES {
            return None;
        }
    }
}
