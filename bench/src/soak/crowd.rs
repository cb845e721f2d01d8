//! More requests at one moment than a chunk server's ring can hold the ends of.

use super::world::{World, pick};
use crate::limits::{SOAK_BLOCKS, SOAK_CROWD, SOAK_CROWD_REQUESTS};
use proto::ErrorCode;
use proto::ids::{ChunkIndex, ClientId, GroupEpoch, VolumeEpoch, VolumeId};
use proto::limits::DEFAULT_GROUPS;
use proto::message::{BlockRange, BlockState, OpenMode, ReplyBody, RequestBody};
use proto::units::BLOCKS_PER_CHUNK;
use std::collections::BTreeSet;
use std::io::Write;
use trial::harness::{Random, look_for_interrupt};
use trial::peer::{Door, Peer};

/// What a crowd asks about.
#[derive(Clone)]
struct Subject {
    volume: VolumeId,
    /// The group epoch of each of its first chunks.
    epochs: Vec<GroupEpoch>,
}

impl World {
    /// The server is frozen while a crowd asks it to verify blocks, each of which is a read of the disk; then all of
    /// that is there at once. Every request is answered, and once. In the end the crowd leaves in one moment, half
    /// of it in the middle of a frame.
    pub(super) fn crowd(&mut self, random: &mut Random) -> u64 {
        let disk = self.some_disk(random);
        let door = self.fleet.door(disk);
        let volume = VolumeId(self.volume_id());
        let gather = move || {
            let epochs = group_epochs(&door, volume);
            let peers: Vec<Peer> = (0..SOAK_CROWD).map(|number| repairer(&door, volume, number)).collect();
            (peers, Subject { volume, epochs })
        };
        let (mut peers, subject) = self.fleet.beside(disk, gather);
        self.fleet.freeze_disk(disk);
        for peer in &mut peers {
            look_for_interrupt();
            let asked: Vec<u8> =
                (0..SOAK_CROWD_REQUESTS).flat_map(|_| subject.question(peer, random)).collect();
            if let Err(error) = peer.stream.write_all(&asked) {
                self.wrong.push(format!("one of a crowd could not ask: {error}"));
            }
        }
        self.fleet.thaw_disk(disk);
        let (mut answers, mut failed) = (0, 0);
        for peer in &mut peers {
            look_for_interrupt();
            match hear(peer) {
                Ok(()) => answers += SOAK_CROWD_REQUESTS as u64,
                Err(why) if failed == 0 => {
                    self.wrong.push(why);
                    failed = 1;
                }
                Err(_) => failed += 1,
            }
        }
        if failed > 0 {
            self.wrong.push(format!("{failed} of a crowd of {SOAK_CROWD} did not get their answers"));
        }
        for peer in peers.iter_mut().step_by(2) {
            // The server may have closed it already.
            let _ = peer.stream.write_all(b"ASHF half a header");
        }
        answers
    }
}

impl Subject {
    fn question(&self, peer: &mut Peer, random: &mut Random) -> Vec<u8> {
        let chunk = pick(random, self.epochs.len());
        let first = pick(random, BLOCKS_PER_CHUNK as usize);
        peer.epoch = self.epochs[chunk];
        peer.bytes(RequestBody::Verify { range: one_block(self.volume, chunk, first) })
    }
}

fn one_block(volume: VolumeId, chunk: usize, first: usize) -> BlockRange {
    let chunk = ChunkIndex(u32::try_from(chunk).expect("a soak's volume is small"));
    let first = u16::try_from(first).expect("a chunk has 1024 blocks");
    BlockRange { volume, chunk, first, count: 1 }
}

/// A connection that may verify blocks of the volume: it needs no epoch and fences nobody.
fn repairer(door: &Door, volume: VolumeId, number: usize) -> Peer {
    look_for_interrupt();
    let mut id = [0xc0; 16];
    id[..8].copy_from_slice(&(number as u64).to_le_bytes());
    let client = ClientId(id);
    let mut peer = door.hello(client);
    let (epoch, mode) = (VolumeEpoch(0), OpenMode::Repair);
    let answer = peer.ask(RequestBody::Open { volume, epoch, client, mode, groups: DEFAULT_GROUPS });
    assert!(matches!(answer, Some(ReplyBody::Open(_))), "an open to repair was answered with {answer:?}");
    peer
}

/// What the server takes for the groups' epochs: it says so to whoever names an older one.
fn group_epochs(door: &Door, volume: VolumeId) -> Vec<GroupEpoch> {
    let mut peer = repairer(door, volume, SOAK_CROWD);
    let chunks =
        usize::try_from(SOAK_BLOCKS / u64::from(BLOCKS_PER_CHUNK)).expect("a soak's volume is small");
    let epoch_of = |chunk| {
        peer.epoch = GroupEpoch(0);
        match peer.ask(RequestBody::Verify { range: one_block(volume, chunk, 0) }) {
            Some(ReplyBody::Verify { .. }) => GroupEpoch(0),
            Some(ReplyBody::Error(error)) if error.code == ErrorCode::StaleGroupEpoch => {
                let told =
                    error.message.split_once(" is at epoch ").and_then(|(_, rest)| rest.split_once(';'));
                let epoch = told.and_then(|(epoch, _)| epoch.parse().ok());
                GroupEpoch(epoch.unwrap_or_else(|| panic!("no epoch in {:?}", error.message)))
            }
            other => panic!("a verify was answered with {other:?}"),
        }
    };
    (0..chunks).map(epoch_of).collect()
}

/// Takes all answers that a connection has to come.
fn hear(peer: &mut Peer) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for _ in 0..SOAK_CROWD_REQUESTS {
        let Some(reply) = peer.answer() else {
            return Err(format!("one of a crowd was sent away after {} answers", seen.len()));
        };
        if !seen.insert(reply.sequence) {
            return Err(format!("one of a crowd was answered twice to its request {}", reply.sequence));
        }
        match reply.body {
            ReplyBody::Verify { blocks, .. }
                if blocks.iter().all(|block| block.state != BlockState::Corrupt) => {}
            // The group has other members by now, or the server says for itself that this is too much.
            ReplyBody::Error(error) if matches!(error.code, ErrorCode::StaleGroupEpoch | ErrorCode::Busy) => {
            }
            other => return Err(format!("one of a crowd was answered with {other:?}")),
        }
    }
    Ok(())
}
