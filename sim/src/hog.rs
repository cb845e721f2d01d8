//! A pool that runs full: somebody writes until a chunk store has no room, and some time later deletes it all.
//!
//! While it is full, guests stall or are told so, each as it asked for; reads, flushes and everything else go on,
//! nothing that was promised is lost, and once something is deleted, everybody goes on. It takes a real store to be
//! really full, so this is dear, and only some seeds have it.

use crate::deleter::Grave;
use crate::fault::{SimFault, Trouble};
use crate::scenario::Run;
use crate::world::{Due, MILLISECOND, SECOND, World};
use blockd::client::{OnFull, VolumeOp};
use bytes::Bytes;
use meta::command::{Command, Response};
use proto::VolumeId;
use proto::message::{Reply, ReplyBody};
use proto::{ErrorCode, units::CHUNK_BYTES};

/// One seed in so many fills its pool.
const EVERY: u64 = 24;
const ITS_TURN: u64 = 7;
const NAME: &str = "hog";
/// More than fits, however its chunks fall to the groups.
const SIZE_BYTES: u64 = 96 << 20;
const WRITE_BYTES: usize = 1 << 20;
const DEPTH: usize = 4;
/// How long the pool may take to fill: some disk may be away.
const PATIENCE: u64 = 600 * SECOND;
/// What was begun until then after it is gone may be late.
const ECHO: u64 = 60 * SECOND;

/// Who fills the pool.
#[derive(Debug)]
pub struct Hog {
    volume: VolumeId,
    writer: Option<usize>,
    is_open: bool,
    next_bytes: u64,
    in_flight: usize,
    /// What stores had refused when it began.
    refused: u64,
    is_full: bool,
    /// It is deleted, and its data is about to be.
    is_gone: bool,
}

pub fn is_due(seed: u64) -> bool {
    seed % EVERY == ITS_TURN
}

impl World {
    /// A store has refused something for want of room. A planted bug: its server goes on to refuse.
    pub fn note_full(&mut self, server: usize, reply: &Reply) {
        if matches!(&reply.body, ReplyBody::Error(error) if error.code == ErrorCode::NoSpace) {
            self.refused += 1;
            if self.fault == SimFault::FullForEver {
                self.servers[server].full_until = u64::MAX;
            }
        }
    }
}

impl Run {
    /// Somebody begins to fill the pool.
    pub fn start_hog(&mut self) {
        let volume = self.world.control.create_volume(NAME.into(), SIZE_BYTES);
        self.hog = Some(Hog {
            volume,
            writer: None,
            is_open: false,
            next_bytes: 0,
            in_flight: 0,
            refused: self.world.refused,
            is_full: false,
            is_gone: false,
        });
        self.world.due(0, Due::Hog);
        self.world.due(PATIENCE, Due::HogGoes);
    }

    pub fn hog_due(&mut self) {
        let control_is_up = self.world.control.down_until <= self.world.now;
        let Some(hog) = self.hog.as_mut().filter(|hog| !hog.is_gone && !hog.is_full) else { return };
        if self.world.refused > hog.refused && hog.is_open {
            hog.is_full = true;
            let lasts = self.world.rng.spread(SECOND, 7);
            self.world.count(Trouble::PoolFills);
            self.world.trace.say(self.world.now, || format!("the pool is full, for {lasts} ns"));
            self.world.due(lasts, Due::HogGoes);
            return;
        }
        match hog.writer {
            None if control_is_up => {
                let lease = self.world.control.open_volume(hog.volume).expect("the volume is there");
                hog.writer = self.world.start_writer(lease, OnFull::Wait).ok();
                hog.is_open = false;
            }
            Some(writer) if hog.is_open && hog.in_flight < DEPTH && hog.next_bytes < SIZE_BYTES => {
                let offset = hog.next_bytes;
                hog.next_bytes += WRITE_BYTES as u64;
                hog.in_flight += 1;
                let data = Bytes::from_static(&[0xee; WRITE_BYTES]);
                let id = self.next_id;
                self.next_id += 1;
                self.world.submit(writer, id, VolumeOp::Write { offset, data });
            }
            _ => {}
        }
        self.world.due(10 * MILLISECOND, Due::Hog);
    }

    /// Sees what the hog's writer has to say. Says whether it is its.
    pub fn watch_hog(&mut self, writer: usize) -> bool {
        let Some(hog) = self.hog.as_mut().filter(|hog| hog.writer == Some(writer)) else { return false };
        let state = &mut self.world.writers[writer];
        let done = std::mem::take(&mut state.done);
        hog.in_flight = hog.in_flight.saturating_sub(done.len());
        let failed = done.iter().any(|(_, result)| result.is_err());
        match state.opened.take() {
            Some(Ok(())) => (hog.is_open, hog.in_flight) = (true, 0),
            Some(Err(_)) => hog.writer = None,
            None => {}
        }
        if failed || hog.writer.is_none() {
            // What it had under way may not be there, and is not asked for.
            hog.writer = None;
            self.world.kill_writer(writer);
        }
        true
    }

    /// The hog's volume is deleted.
    pub fn hog_goes(&mut self) {
        if self.world.control.down_until > self.world.now {
            return self.world.due(SECOND, Due::HogGoes);
        }
        let Some(hog) = self.hog.as_mut().filter(|hog| !hog.is_gone) else { return };
        hog.is_gone = true;
        let (volume, writer) = (hog.volume, hog.writer);
        if let Some(writer) = writer {
            self.world.kill_writer(writer);
        }
        let delete = Command::DeleteVolume { name: NAME.into() };
        let Ok(Response::Volume(record)) = self.world.control.run(delete) else {
            unreachable!("a volume that nobody attached can be deleted");
        };
        self.world.trace.say(self.world.now, || "the hog's volume is deleted".into());
        let chunks = u32::try_from(SIZE_BYTES / CHUNK_BYTES).expect("a small volume");
        self.graves.push(Grave::new(volume, chunks));
        self.world.delete_data(volume, record.epoch);
    }

    /// The data of a volume is off the disks.
    pub fn hog_is_buried(&mut self, volume: VolumeId) {
        if self.hog.as_ref().is_some_and(|hog| hog.volume == volume) {
            self.hog = None;
            self.trouble_until = self.trouble_until.max(self.world.now + ECHO);
        }
    }
}
