//! Appends one body to the log, piece by piece, with a bounded number of pieces on their way.

use super::budget::{Allowance, Room, housed};
use super::holds::Hold;
use super::log::ObjectLog;
use crate::error::{S3Error, S3Result};
use crate::fault;
use crate::limits::{MAX_RUN_BYTES, PIECE_BYTES, WRITE_PIECES_IN_FLIGHT};
use blockd::ClientError;
use bytes::{Bytes, BytesMut};
use meta::object::Extent;
use proto::units::BLOCK_LEN;
use std::ops::Range;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::task::JoinSet;

/// A body on its way to the log. Dropping it before [`finish`](Self::finish) trims what it wrote.
pub struct Appender {
    pending: Pending,
    /// Address space taken and not yet written to.
    run: Range<u64>,
    /// Bytes of the body still to come, as declared.
    remaining: u64,
    allowance: Allowance,
    piece: Option<Filling>,
}

/// A piece that is being filled.
struct Filling {
    data: BytesMut,
    room: Room,
}

impl Appender {
    /// For a body of `len` bytes.
    pub fn new(log: Arc<ObjectLog>, len: u64) -> Self {
        let allowance = Allowance::new(&log.budget);
        let pending =
            Pending { log, extents: Vec::new(), writes: JoinSet::new(), settled: false, hold: None };
        Self { pending, run: 0..0, remaining: len, allowance, piece: None }
    }

    /// Appends `data`. Waits while too many pieces are on their way.
    pub async fn push(&mut self, mut data: Bytes) -> S3Result<()> {
        while !data.is_empty() {
            let mut piece = match self.piece.take() {
                Some(piece) => piece,
                None => self.new_piece().await,
            };
            let taken = data.split_to(data.len().min(piece.room.bytes() - piece.data.len()));
            piece.data.extend_from_slice(&taken);
            self.remaining = self.remaining.saturating_sub(taken.len() as u64);
            if piece.data.len() == piece.room.bytes() {
                self.write_piece(piece).await?;
            } else {
                self.piece = Some(piece);
            }
        }
        Ok(())
    }

    /// Writes what is left and returns once every replica has all of it. It is not durable yet.
    pub async fn finish(mut self) -> S3Result<Pending> {
        if let Some(mut piece) = self.piece.take() {
            let padded = piece.data.len().next_multiple_of(BLOCK_LEN);
            piece.data.resize(padded, 0);
            self.write_piece(piece).await?;
        }
        while !self.pending.writes.is_empty() {
            self.pending.one_done().await?;
        }
        if !self.run.is_empty() {
            self.pending.log.give_back(self.run.clone()).await;
        }
        Ok(self.pending)
    }

    /// As long as what is to come, or as there is room for.
    async fn new_piece(&self) -> Filling {
        let wanted = usize::try_from(self.remaining).unwrap_or(PIECE_BYTES).clamp(1, PIECE_BYTES);
        let room = self.allowance.room(wanted.next_multiple_of(BLOCK_LEN)).await;
        Filling { data: BytesMut::with_capacity(room.bytes()), room }
    }

    /// Sends a piece, which is of whole blocks, to the log.
    async fn write_piece(&mut self, piece: Filling) -> S3Result<()> {
        let mut data = housed(piece.data.freeze(), piece.room);
        while !data.is_empty() {
            if self.run.is_empty() {
                let wanted = (data.len() as u64).saturating_add(self.remaining).min(MAX_RUN_BYTES);
                let (run, hold) = self.pending.log.take(wanted).await?;
                self.run = run;
                // The first is the lowest: it holds for all that come after it.
                self.pending.hold.get_or_insert(hold);
            }
            let room = usize::try_from(self.run.end - self.run.start).unwrap_or(usize::MAX);
            let part = data.split_to(data.len().min(room));
            let end = self.run.start + part.len() as u64;
            let at = std::mem::replace(&mut self.run.start, end);
            self.pending.write(at..end, part).await?;
        }
        Ok(())
    }
}

/// Extents that hold data which no index entry names yet. Dropped before [`keep`](Self::keep), it trims them.
pub struct Pending {
    log: Arc<ObjectLog>,
    extents: Vec<Extent>,
    writes: JoinSet<Result<(), ClientError>>,
    settled: bool,
    /// Until it is known what becomes of them.
    hold: Option<Hold>,
}

impl Pending {
    pub fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// Leaves the extents alone from now on: an index entry names them, or may.
    pub fn keep(mut self) {
        self.settled = true;
    }

    async fn write(&mut self, range: Range<u64>, data: Bytes) -> S3Result<()> {
        while self.writes.len() >= WRITE_PIECES_IN_FLIGHT {
            self.one_done().await?;
        }
        // Named before it is written, so that a failure in between is cleaned up too.
        match self.extents.last_mut() {
            Some(last) if last.offset + last.len == range.start => last.len += range.end - range.start,
            _ => self.extents.push(self.log.extent(range.clone())),
        }
        let volume = self.log.volume.clone();
        self.writes.spawn(async move { volume.write(range.start, data).await });
        Ok(())
    }

    async fn one_done(&mut self) -> S3Result<()> {
        match self.writes.join_next().await {
            None => Ok(()),
            Some(Ok(written)) => written.map_err(fault::volume),
            Some(Err(panicked)) => Err(S3Error::internal(panicked)),
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        if self.settled || self.extents.is_empty() {
            return;
        }
        let (log, extents) = (Arc::clone(&self.log), std::mem::take(&mut self.extents));
        let mut writes = std::mem::take(&mut self.writes);
        let hold = self.hold.take();
        // At shutdown there may be no runtime left; the next start's sweep finds what stays.
        let Ok(runtime) = Handle::try_current() else { return };
        runtime.spawn(async move {
            // Writes first: a trim that overtook one would leave its block behind.
            while writes.join_next().await.is_some() {}
            log.discard(&extents).await;
            drop(hold);
        });
    }
}
