//! Writers that die while their writes are stalled by a full disk: the volume opens again, with all that was acked.

use std::fs::File;
use std::path::Path;
use std::time::Duration;
use trial::block_client::{BlockClient, SLOT};
use trial::fleet::{Fleet, Network};
use trial::harness::{eventually, noise, seed};

/// The disk that is full first, and what the others have.
const SMALL: usize = 0;
const SMALL_BYTES: &str = "256M";
const LARGE_BYTES: u64 = 512 << 20;
const DEPTH: usize = 16;
/// Writes that may be acked before the small disk is full.
const MOST: usize = 8192;
const MINUTE: Duration = Duration::from_secs(60);
/// How long nothing is acked when nothing is going to be, on a busy machine.
const QUIET: Duration = Duration::from_secs(6);

fn offset(piece: usize) -> u64 {
    (piece * SLOT) as u64
}

/// What is known of the volume's pieces: which were acked, of those that were sent.
#[derive(Default)]
struct Pieces(Vec<bool>);

impl Pieces {
    /// Writes piece after piece until all that is in flight is stalled; how many that are.
    fn fill(&mut self, fleet: &Fleet, client: &mut BlockClient) -> usize {
        let mut slots: Vec<usize> = (0..DEPTH).collect();
        loop {
            while let Some(slot) = slots.pop() {
                let piece = self.0.len();
                assert!(piece < MOST, "the disk never got full");
                client.start_write(piece * DEPTH + slot, slot, offset(piece), &content(piece));
                self.0.push(false);
            }
            let done = client.wait(QUIET);
            let is_told =
                || fleet.status().is_some_and(|status| status["causes"].to_string().contains("nearly full"));
            if done.is_empty() && is_told() {
                return self.stalled().len();
            }
            for done in done {
                assert_eq!(done.result, 0, "a stalled guest saw an error");
                self.0[done.tag / DEPTH] = true;
                slots.push(done.tag % DEPTH);
            }
        }
    }

    fn stalled(&self) -> Vec<usize> {
        (0..self.0.len()).filter(|piece| !self.0[*piece]).collect()
    }

    /// Reads all that was acked, from one piece on.
    fn check(&self, client: &mut BlockClient, from: usize) {
        for piece in (from..self.0.len()).filter(|piece| self.0[*piece]) {
            assert!(client.read(offset(piece), SLOT) == content(piece), "piece {piece} of {}", self.0.len());
        }
    }

    fn write(&mut self, client: &mut BlockClient, pieces: &[usize]) {
        for &piece in pieces {
            assert_eq!(client.write(offset(piece), &content(piece)), 0);
            self.0.resize(self.0.len().max(piece + 1), false);
            self.0[piece] = true;
        }
    }
}

fn content(piece: usize) -> Vec<u8> {
    noise(piece as u64, SLOT)
}

/// What a disk has, and has taken, in bytes.
fn room(fleet: &Fleet, disk: usize) -> (u64, u64) {
    let path = fleet.disk_file(disk).to_string_lossy().into_owned();
    let disks: serde_json::Value = serde_json::from_str(&fleet.cli(&["disk", "list", "-o", "json"])).unwrap();
    let disk = disks.as_array().unwrap().iter().find(|disk| disk["path"] == path.as_str()).unwrap();
    (disk["capacity_bytes"].as_u64().unwrap(), disk["used_bytes"].as_u64().unwrap())
}

fn connect(socket: &Path) -> BlockClient {
    eventually("the volume's socket", MINUTE, || std::os::unix::net::UnixStream::connect(socket).ok());
    BlockClient::connect(socket)
}

/// Row 29, with a writer that dies: first alone, then with the full disk's server.
#[test]
fn a_volume_with_stalled_writes_opens_again_and_makes_room() {
    let seed = seed();
    let mut fleet = Fleet::start_with(SMALL_BYTES, Network::Plain, seed, |fleet| {
        for disk in 0..trial::fleet::DISKS {
            if disk != SMALL {
                File::create(fleet.disk_file(disk)).unwrap().set_len(LARGE_BYTES).unwrap();
            }
        }
    })
    .unwrap();
    let socket = fleet.volume("v", "1G");
    let mut pieces = Pieces::default();
    for turn in 0..3 {
        let mut client = connect(&socket);
        // What is stalled is on the other disks, and not on the small one.
        let stalled = pieces.fill(&fleet, &mut client);
        assert!(stalled > 0 && pieces.0.len() > 1000, "seed {seed}: {stalled} of {}", pieces.0.len());
        if turn == 2 {
            fleet.kill_disk(SMALL);
        }
        fleet.kill_agent();
        drop(client);
        if turn == 2 {
            fleet.start_disk(SMALL);
        }
        fleet.start_agent();
        let mut client = connect(&socket);
        pieces.check(&mut client, 0);
        eventually("the reserve's use", MINUTE, || {
            let (capacity, used) = room(&fleet, SMALL);
            (used > capacity).then_some(())
        });
        // What was in flight is on all disks now. The guest sends it again, and it is acked.
        let stalled = pieces.stalled();
        pieces.write(&mut client, &stalled);
        assert_eq!(client.flush(), 0);
    }
    // A guest makes room, and goes on.
    let mut client = connect(&socket);
    assert_eq!(client.discard(0, offset(512)), 0);
    assert_eq!(client.flush(), 0);
    let more: Vec<usize> = (pieces.0.len()..pieces.0.len() + 64).collect();
    pieces.write(&mut client, &more);
    pieces.check(&mut client, 512);
    assert!(client.read(0, SLOT) == vec![0; SLOT], "seed {seed}");
    fleet.wait_whole(MINUTE);
}
