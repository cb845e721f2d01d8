//! What of a volume one disk holds, run by run: for checks of what should be there. Nothing is opened for writing, so
//! nobody is fenced.

use super::admin::{exchange, greet, late, unexpected};
use crate::limits::ADMIN_TIMEOUT;
use crate::{ClientError, Error, ErrorKind};
use proto::checksum::BlockCrcs;
use proto::control::{DiskPlace, PoolToken};
use proto::message::{BlockRange, BlockState, LIST_END, ListEntry, OpenMode, ReplyBody, RequestBody};
use proto::{ChunkIndex, ClientId, GroupEpoch, Version, VolumeEpoch, VolumeId};
use rt::rng::{Rng, SystemRng};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A connection to a disk, for listing one volume.
pub struct VolumeRuns {
    place: DiskPlace,
    volume: VolumeId,
    stream: TcpStream,
    sequence: u64,
}

impl VolumeRuns {
    /// `groups` is how many the pool has.
    pub async fn open(
        place: &DiskPlace,
        token: PoolToken,
        volume: VolumeId,
        groups: u32,
    ) -> Result<Self, ClientError> {
        let talking = async {
            let mut stream = greet(place, token).await?;
            let client = ClientId(SystemRng.id());
            let (epoch, mode) = (VolumeEpoch(0), OpenMode::Reader);
            let open = RequestBody::Open { volume, epoch, client, mode, groups };
            match exchange(&mut stream, 2, GroupEpoch(0), open).await? {
                ReplyBody::Open(_) => Ok(Self { place: place.clone(), volume, stream, sequence: 2 }),
                other => Err(unexpected(place, &other)),
            }
        };
        timeout(ADMIN_TIMEOUT, talking).await.map_err(|_| late(place, "asking"))?
    }

    /// All runs of the chunks from `first` up to before `end`, data and trims, in order.
    pub async fn within(
        &mut self,
        first: ChunkIndex,
        end: ChunkIndex,
    ) -> Result<Vec<ListEntry>, ClientError> {
        let mut found = Vec::new();
        // A cursor is a chunk's index and a block's within it.
        let mut cursor = u64::from(first.0) << 16;
        loop {
            let (mut entries, next) = self.page(cursor).await?;
            let ended = entries.last().is_some_and(|last| last.chunk >= end);
            entries.retain(|entry| entry.chunk < end);
            found.append(&mut entries);
            if ended || next == LIST_END || next >> 16 >= u64::from(end.0) {
                return Ok(found);
            }
            cursor = next;
        }
    }

    /// The first chunk from this one on of which the disk holds anything, or knows a trim.
    pub async fn next_used(&mut self, from: ChunkIndex) -> Result<Option<ChunkIndex>, ClientError> {
        let mut cursor = u64::from(from.0) << 16;
        loop {
            let (entries, next) = self.page(cursor).await?;
            match entries.first() {
                Some(entry) => return Ok(Some(entry.chunk)),
                None if next == LIST_END => return Ok(None),
                None => cursor = next,
            }
        }
    }

    /// The data of blocks of which every one is held, checked here. `epoch` is their group's.
    pub async fn read(&mut self, range: BlockRange, epoch: GroupEpoch) -> Result<Vec<u8>, ClientError> {
        self.sequence += 1;
        let read = RequestBody::Read { range, epoch: VolumeEpoch(0) };
        let asking = exchange(&mut self.stream, self.sequence, epoch, read);
        let (blocks, parts) =
            match timeout(ADMIN_TIMEOUT, asking).await.map_err(|_| late(&self.place, "asking"))?? {
                ReplyBody::Read { range: of, blocks, data } if of == range => (blocks, data),
                other => return Err(unexpected(&self.place, &other)),
            };
        let place = &self.place;
        let bad =
            |what: &str| Error::new(ErrorKind::Corrupt, format!("disk {} {what} of {range:?}", place.disk));
        if blocks.iter().any(|block| block.state == BlockState::Corrupt) {
            return Err(bad("has a bad copy"));
        }
        if blocks.len() != usize::from(range.count)
            || blocks.iter().any(|block| block.state != BlockState::Data)
        {
            return Err(bad("does not have all blocks"));
        }
        let data = parts.concat();
        let crcs = BlockCrcs::of(&data);
        if data.len() != range.len_bytes() || !crcs.iter().eq(blocks.iter().map(|block| block.crc)) {
            return Err(bad("sent other data than it has"));
        }
        Ok(data)
    }

    async fn page(&mut self, cursor: u64) -> Result<(Vec<ListEntry>, u64), ClientError> {
        self.sequence += 1;
        let list = RequestBody::List { volume: self.volume, above: Version::ZERO, cursor };
        let asking = exchange(&mut self.stream, self.sequence, GroupEpoch(0), list);
        match timeout(ADMIN_TIMEOUT, asking).await.map_err(|_| late(&self.place, "asking"))?? {
            ReplyBody::List { entries, next_cursor } if next_cursor > cursor => Ok((entries, next_cursor)),
            other => Err(unexpected(&self.place, &other)),
        }
    }
}
