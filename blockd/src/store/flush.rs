//! Durability: who waits for it, and one device flush at a time for all of them.

use super::core::{Io, Store};
use super::event::{Action, Answer, Ticket};

/// Flushes under way and waited for.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    /// Who waits, and up to which operation everything must be durable.
    waiting: Vec<(Ticket, u64)>,
    /// The checkpoint wants one that starts after this many had started.
    checkpoint: Option<u64>,
    running: Option<Running>,
    started: u64,
    /// Every operation up to it is durable.
    flushed_ops: u64,
    /// The last flush that ended, by its number.
    ended: u64,
}

#[derive(Debug, Clone, Copy)]
struct Running {
    ops: u64,
    sequence: u64,
}

impl Flusher {
    /// `ticket` is answered once every operation up to number `ops` is durable.
    pub fn wait(&mut self, ticket: Ticket, ops: u64) {
        self.waiting.push((ticket, ops));
    }

    /// The checkpoint needs a flush that begins from now on; see [`Flusher::checkpoint_is_flushed`].
    pub fn want_for_checkpoint(&mut self) {
        self.checkpoint = Some(self.started);
    }

    /// Whether the flush wanted last for the checkpoint has ended.
    pub fn checkpoint_is_flushed(&self) -> bool {
        self.checkpoint.is_some_and(|after| self.ended > after)
    }

    /// Every operation up to it is durable.
    pub fn flushed_ops(&self) -> u64 {
        self.flushed_ops
    }

    pub fn is_idle(&self) -> bool {
        self.running.is_none() && self.waiting.is_empty()
    }

    pub fn drain_tickets(&mut self) -> Vec<Ticket> {
        self.waiting.drain(..).map(|(ticket, _)| ticket).collect()
    }
}

impl Store {
    /// Answers who is served by what is durable, and starts the next flush if somebody needs one.
    pub(super) fn advance_flush(&mut self, out: &mut Vec<Action>) {
        let written = self.log.written_ops(&self.queue);
        let flusher = &mut self.flusher;
        let flushed = flusher.flushed_ops;
        flusher.waiting.retain(|&(ticket, ops)| {
            let waits = ops > flushed;
            if !waits {
                out.push(Action::Answer { ticket, result: Ok(Answer::Done) });
            }
            waits
        });
        if flusher.running.is_some() {
            return;
        }
        let wanted = flusher.checkpoint.is_some_and(|after| flusher.started == after)
            || flusher.waiting.iter().any(|&(_, ops)| ops <= written)
            || self.cleaner.wants_flush(&self.log);
        if wanted {
            flusher.started += 1;
            flusher.running = Some(Running { ops: written, sequence: self.log.written_sequence });
            self.counters.device_flushes += 1;
            let io = self.new_io(Io::Flush);
            out.push(Action::DiskFlush { io });
        }
    }

    pub(super) fn flush_done(&mut self, out: &mut Vec<Action>) {
        let Some(running) = self.flusher.running.take() else { return };
        self.flusher.ended = self.flusher.started;
        self.flusher.flushed_ops = self.flusher.flushed_ops.max(running.ops);
        self.log.flushed_sequence = self.log.flushed_sequence.max(running.sequence);
        self.advance_flush(out);
    }
}
