//! The open log: address space, writes, shared flushes, pinned reads, trims.

use super::allocator::Allocator;
use super::budget::Budget;
use super::cache::PieceCache;
use super::group_flush::GroupFlush;
use super::holds::{Hold, Holds};
use super::layout::Piece;
use super::pins::{Pinned, Pins};
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::limits::{RESERVE_BYTES, TRIM_BYTES};
use blockd::client::{ControlHandle, Holes, OnFull, Volume, VolumeConfig};
use blockd::{ClientError, ErrorKind};
use bytes::Bytes;
use meta::MetaError;
use meta::client::Client;
use meta::object::Extent;
use prometheus_client::metrics::gauge::Gauge;
use proto::control::PoolToken;
use proto::ids::{ClientId, VolumeEpoch, VolumeId};
use proto::units::BLOCK_BYTES;
use std::future::Future;
use std::ops::Range;
use std::sync::Arc;
use tokio::sync::{Mutex, Notify, RwLock};

/// What opening the log needs.
#[derive(Clone)]
pub struct OpenLog {
    pub meta: Client,
    /// Names the log; the same at every start of this gateway.
    pub gateway: String,
    pub token: PoolToken,
    /// New at each start.
    pub client: ClientId,
    /// Where failed disks are reported.
    pub control: Option<ControlHandle>,
    /// Tells how much memory bodies hold on their way to the log and from it.
    pub body_memory: Gauge,
}

/// One life's right to write a log. It ends when another gateway of that name opens the log, which its former
/// writer notices by itself only when it writes.
#[derive(Clone)]
pub struct Claim {
    meta: Client,
    id: VolumeId,
    epoch: VolumeEpoch,
}

impl Claim {
    /// Whether somebody has opened the log since; unknown while the control plane does not answer.
    pub async fn is_lost(&self) -> Result<bool, MetaError> {
        Ok(self.meta.volume_by_id(self.id).await?.epoch > self.epoch)
    }
}

/// The log, open for writing by this gateway alone.
pub struct ObjectLog {
    pub(super) volume: Volume,
    pub(super) id: VolumeId,
    epoch: VolumeEpoch,
    pub(super) meta: Client,
    allocator: Mutex<Allocator>,
    flushes: GroupFlush,
    pub(super) pins: Arc<Pins>,
    holds: Arc<Holds>,
    /// Held for reading from before an index entry is read until its extents are pinned.
    lookups: RwLock<()>,
    cache: PieceCache,
    /// Of the memory that bodies may take on their way to the log and from it.
    pub budget: Arc<Budget>,
    pub(super) garbage: Notify,
}

impl ObjectLog {
    /// Makes the log if it is not there, and opens it: every earlier writer of it is fenced after this.
    pub async fn open(config: OpenLog) -> S3Result<Arc<Self>> {
        let log = config.meta.ensure_object_log(&config.gateway).await.map_err(fault::meta)?;
        let lease = config.meta.open_volume(log.id).await.map_err(fault::meta)?;
        let epoch = lease.epoch;
        let volume = Volume::open(VolumeConfig {
            lease,
            token: config.token,
            client: config.client,
            on_full: OnFull::Fail,
            control: config.control,
        });
        Ok(Arc::new(Self {
            volume: volume.await.map_err(fault::volume)?,
            id: log.id,
            epoch,
            meta: config.meta,
            allocator: Mutex::default(),
            flushes: GroupFlush::default(),
            pins: Arc::default(),
            holds: Arc::default(),
            lookups: RwLock::default(),
            cache: PieceCache::default(),
            budget: Arc::new(Budget::new(config.body_memory)),
            garbage: Notify::new(),
        }))
    }

    /// Up to `len` bytes of address space in one run of whole blocks, which is on its way until the hold is dropped.
    pub(super) async fn take(&self, len: u64) -> S3Result<(Range<u64>, Hold)> {
        let mut allocator = self.allocator.lock().await;
        loop {
            if let Some(run) = allocator.take(len) {
                let hold = self.holds.hold(run.start, allocator.next());
                return Ok((run, hold));
            }
            // Others wait for this one reservation: they need its space too.
            let reserved = self.meta.reserve_log(self.id, self.epoch, RESERVE_BYTES).await;
            let reserved = reserved.map_err(fault::meta)?;
            allocator.grant(reserved.offset..reserved.offset + reserved.len);
        }
    }

    pub(super) async fn give_back(&self, unused: Range<u64>) {
        let mut allocator = self.allocator.lock().await;
        allocator.give_back(unused);
        self.holds.taken_back(allocator.next());
    }

    /// Nothing below this is on its way any more; unknown before anything was written.
    pub fn settled_bytes(&self) -> Option<u64> {
        self.holds.settled()
    }

    /// The log's volume.
    pub fn volume_id(&self) -> VolumeId {
        self.id
    }

    pub(super) fn extent(&self, run: Range<u64>) -> Extent {
        Extent { volume: self.id, offset: run.start, len: run.end - run.start }
    }

    /// Makes all that was written before durable on every in-sync replica, with one flush for all who wait.
    pub async fn flush(&self) -> S3Result<()> {
        self.flushes.run(|| self.volume.flush()).await.map_err(fault::volume)
    }

    /// Asks the control plane for something that has extents, and pins them before the garbage worker can trim
    /// them, even if the object is deleted in that very moment.
    pub async fn fetch<T>(
        &self,
        query: impl Future<Output = Result<T, MetaError>>,
        extents: impl FnOnce(&T) -> &[Extent],
    ) -> Result<(T, Pinned), MetaError> {
        let _lookup = self.lookups.read().await;
        let found = query.await?;
        let pinned = self.pins.pin(extents(&found));
        Ok((found, pinned))
    }

    /// Returns once every [`fetch`](Self::fetch) that began before has pinned what it found. Whoever asks later
    /// no longer finds what is garbage now.
    pub(super) async fn settle_lookups(&self) {
        drop(self.lookups.write().await);
    }

    /// The object's bytes of one piece. A block that is missing is an error, never zeros.
    pub async fn read(&self, piece: &Piece) -> S3Result<Bytes> {
        if piece.volume != self.id {
            return Err(S3Error::with(
                S3Code::ServiceUnavailable,
                "This object lies in another gateway's log, which this gateway can't read yet",
            ));
        }
        if let Some(data) = self.cache.get(piece) {
            return Ok(data.slice(piece.wanted.clone()));
        }
        let data = self.volume.read(piece.offset, piece.len, Holes::Error).await.map_err(fault::volume)?;
        if data.len() == piece.len {
            self.cache.keep(piece, &data);
            Ok(data.slice(piece.wanted.clone()))
        } else {
            Err(S3Error::internal(format!("a read of {} bytes gave {}", piece.len, data.len())))
        }
    }

    /// Trims whole blocks of a range of the log.
    pub(super) async fn trim(&self, range: Range<u64>) -> Result<(), ClientError> {
        let end = range.end.next_multiple_of(BLOCK_BYTES);
        let mut at = range.start;
        while at < end {
            let len = TRIM_BYTES.min(end - at);
            self.volume.trim(at, len).await?;
            at += len;
        }
        Ok(())
    }

    /// Trims extents that no index entry names or ever will. What can't be trimmed now, the next start's sweep
    /// finds.
    pub(super) async fn discard(&self, extents: &[Extent]) {
        for extent in extents {
            if let Err(error) = self.trim(extent.offset..extent.offset + extent.len).await {
                tracing::warn!(%error, offset = extent.offset, len = extent.len, "unused log space is left to the next sweep");
                if error.kind == ErrorKind::Fenced || error.kind == ErrorKind::Closed {
                    return;
                }
            }
        }
    }

    /// Tells the garbage worker that something was deleted or replaced.
    pub fn garbage_made(&self) {
        self.garbage.notify_one();
    }

    /// Whether the log's thread still serves.
    pub fn is_open(&self) -> bool {
        self.volume.is_open()
    }

    /// What this gateway holds the log by.
    pub fn claim(&self) -> Claim {
        Claim { meta: self.meta.clone(), id: self.id, epoch: self.epoch }
    }

    /// Ends the log's thread. What is in progress fails.
    pub async fn close(&self) {
        self.volume.close().await;
    }
}
