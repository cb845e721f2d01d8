//! Reads all data, and computes of it what was kept when it was put. Blocks are read from the disks as any reader's are,
//! with their checksums checked here.

use super::limits::MAX_LISTED;
use super::report::BadObject;
use super::{Progress, Scrub};
use crate::objectlog::{Piece, Pieces};
use crate::ops::checksums::of_index as checksums_of_index;
use crate::payload::{ChecksumAlgorithm, ChecksumSet, PayloadDigest, multipart_etag};
use crate::sse::cipher::Parts;
use blockd::client::runs::VolumeRuns;
use bytes::Bytes;
use meta::MetaError;
use meta::client::Client;
use meta::limits::MAX_PAGE;
use meta::object::{Body, ChecksumType, FoundVersion, ObjectRecord, VersionRef, VersionedObject};
use meta::query::{ListVersions, ListedVersion, ObjectPart};
use meta::sealing::Sealing;
use proto::ChunkIndex;
use proto::control::{PoolMap, PoolToken};
use proto::ids::{DiskId, VolumeId};
use proto::limits::MAX_BLOCKS_PER_IO;
use proto::message::BlockRange;
use proto::units::{BLOCK_BYTES, CHUNK_BYTES};
use std::collections::BTreeMap;

/// Reads every version of every object.
pub async fn read_all(scrub: &Scrub<'_>) -> Result<(), MetaError> {
    let config = scrub.config;
    let mut deep = Deep {
        meta: config.meta.clone(),
        reader: Reader { token: config.token, map: config.meta.pool_map().await?, runs: BTreeMap::new() },
    };
    let mut after = None;
    loop {
        let page = config.meta.buckets("", after, MAX_PAGE).await?;
        for bucket in page.buckets {
            deep.bucket(&config.progress, &bucket.name).await?;
        }
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

struct Deep {
    meta: Client,
    reader: Reader,
}

/// What reading an object came to.
enum Outcome {
    Good,
    Bad(String),
}

impl Deep {
    async fn bucket(&mut self, progress: &Progress, bucket: &str) -> Result<(), MetaError> {
        let mut list = ListVersions { bucket: bucket.to_owned(), limit: MAX_PAGE, ..ListVersions::default() };
        loop {
            let page = match self.meta.list_versions(list.clone()).await {
                Err(error) if matches!(error.kind(), meta::ErrorKind::NotFound(_)) => return Ok(()),
                page => page?,
            };
            for listed in page.versions.iter().filter(|listed| !listed.marker) {
                self.version(progress, bucket, listed).await?;
            }
            let Some((key, version)) = page.next else { return Ok(()) };
            (list.after_key, list.after_version) = (Some(key), version.map(VersionRef::Id));
        }
    }

    async fn version(
        &mut self,
        progress: &Progress,
        bucket: &str,
        listed: &ListedVersion,
    ) -> Result<(), MetaError> {
        let mut seen = None;
        // What is deleted or replaced while it is read seems bad once, and is another or gone the next time.
        while let Some(found) = self.find(bucket, listed).await? {
            let outcome = self.read(&found).await?;
            let size = found.record.size;
            let why = match outcome {
                Outcome::Bad(why) if seen.as_ref() == Some(&found) => Some(why),
                Outcome::Bad(_) => {
                    seen = Some(found);
                    continue;
                }
                Outcome::Good => None,
            };
            progress.change(|report| {
                report.objects_read += 1;
                report.bytes_read = report.bytes_read.saturating_add(size);
                let Some(why) = why else { return };
                report.bad_object_count += 1;
                if report.bad_objects.len() < MAX_LISTED {
                    let object = format!("{:?}, version {}, of bucket {bucket}", listed.key, listed.version);
                    report.bad_objects.push(BadObject { object, why });
                }
            });
            return Ok(());
        }
        Ok(())
    }

    async fn find(
        &self,
        bucket: &str,
        listed: &ListedVersion,
    ) -> Result<Option<Box<VersionedObject>>, MetaError> {
        let named = (bucket, listed.key.as_str());
        match self.meta.version(named, Some(listed.version), ObjectPart::Whole).await {
            Ok(FoundVersion::Object(found)) => Ok(Some(found)),
            Ok(FoundVersion::DeleteMarker { .. }) => Ok(None),
            Err(error) if matches!(error.kind(), meta::ErrorKind::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn read(&mut self, found: &VersionedObject) -> Result<Outcome, MetaError> {
        // All of them are named: data that comes to be kept in another way than as it was sent has to be told apart here.
        let VersionedObject { record, version: _, annotations: _, part_checksums: _, sealing } = found;
        if let Some(sealing) = sealing {
            return self.read_sealed(record, sealing).await;
        }
        let mut sums = Sums::new(record);
        match &record.body {
            Body::Inline(data) => sums.update(data),
            Body::Extents(extents) => {
                let Ok(pieces) = Pieces::new(extents, record.size, &record.part_sizes, 0..record.size) else {
                    return Ok(Outcome::Bad("its extents are not as long as it is".to_owned()));
                };
                for piece in pieces {
                    match self.reader.piece(&self.meta, &piece).await? {
                        Ok(data) => sums.update(&data.slice(piece.wanted)),
                        Err(why) => return Ok(Outcome::Bad(why)),
                    }
                }
            }
        }
        Ok(sums.compare(record))
    }

    /// Encrypted data is read, and its blocks checked; what is in it only those can compare who have its key.
    async fn read_sealed(&mut self, record: &ObjectRecord, sealing: &Sealing) -> Result<Outcome, MetaError> {
        let parts = Parts { size: record.size, sizes: &record.part_sizes, salts: &sealing.salts };
        let size = parts.sealed_size();
        let extents = match &record.body {
            Body::Inline(data) if data.len() as u64 == size => return Ok(Outcome::Good),
            Body::Inline(_) => return Ok(Outcome::Bad("its data is not as long as it is".to_owned())),
            Body::Extents(extents) => extents,
        };
        let Ok(pieces) = Pieces::new(extents, size, &parts.sealed_sizes(), 0..size) else {
            return Ok(Outcome::Bad("its extents are not as long as it is".to_owned()));
        };
        for piece in pieces {
            if let Err(why) = self.reader.piece(&self.meta, &piece).await? {
                return Ok(Outcome::Bad(why));
            }
        }
        Ok(Outcome::Good)
    }
}

/// The sums of an object's data and of each of its parts.
struct Sums {
    whole: ChecksumSet,
    part: Option<ChecksumSet>,
    /// Of the part, bytes to come; and the sizes of those behind it, the next one last.
    left: u64,
    behind: Vec<u64>,
    parts: Vec<[u8; 16]>,
}

impl Sums {
    fn new(record: &ObjectRecord) -> Self {
        let kept = record.checksums.first().map(|known| checksums_of_index(known.algorithm));
        let whole = ChecksumSet::new(kept.unwrap_or(ChecksumAlgorithm::Crc32), false);
        let mut behind: Vec<u64> = record.part_sizes.iter().rev().copied().collect();
        let left = behind.pop();
        let part = left.map(|_| ChecksumSet::new(ChecksumAlgorithm::Crc32, false));
        Self { whole, part, left: left.unwrap_or(0), behind, parts: Vec::new() }
    }

    fn update(&mut self, mut data: &[u8]) {
        self.whole.update(data);
        while let Some(part) = &mut self.part {
            let taken = usize::try_from(self.left).map_or(data.len(), |left| left.min(data.len()));
            let (now, later) = data.split_at(taken);
            part.update(now);
            self.left -= taken as u64;
            data = later;
            if self.left > 0 {
                return;
            }
            self.next_part();
        }
    }

    fn next_part(&mut self) {
        let next = self.behind.pop();
        self.left = next.unwrap_or(0);
        let next = next.map(|_| ChecksumSet::new(ChecksumAlgorithm::Crc32, false));
        if let Some(done) = std::mem::replace(&mut self.part, next) {
            self.parts.push(done.finish().md5);
        }
    }

    fn compare(mut self, record: &ObjectRecord) -> Outcome {
        while self.part.is_some() {
            // Empty parts at the end.
            self.next_part();
        }
        let whole: PayloadDigest = self.whole.finish();
        let etag = if record.part_sizes.is_empty() { whole.etag() } else { multipart_etag(&self.parts) };
        if etag != record.etag {
            return Outcome::Bad(format!("its ETag is {}, and its data's {etag}", record.etag));
        }
        let full = record.checksums.first().filter(|known| known.kind == ChecksumType::FullObject);
        match full {
            Some(known) if known.value != whole.checksum.to_base64() => {
                Outcome::Bad(format!("its checksum is {}, and its data has another", known.value))
            }
            _ => Outcome::Good,
        }
    }
}

/// Reads logs of any gateway.
struct Reader {
    token: PoolToken,
    map: PoolMap,
    runs: BTreeMap<(VolumeId, DiskId), VolumeRuns>,
}

impl Reader {
    /// A piece's blocks, or why no copy gives them; once more where the groups have changed since.
    async fn piece(&mut self, meta: &Client, piece: &Piece) -> Result<Result<Bytes, String>, MetaError> {
        let first = self.try_piece(piece).await;
        if first.is_ok() {
            return Ok(first);
        }
        self.map = meta.pool_map().await?;
        self.runs.clear();
        Ok(self.try_piece(piece).await)
    }

    async fn try_piece(&mut self, piece: &Piece) -> Result<Bytes, String> {
        let mut data = Vec::with_capacity(piece.len);
        let end = piece.offset + piece.len as u64;
        let mut at = piece.offset;
        while at < end {
            let chunk_end = (at / CHUNK_BYTES + 1) * CHUNK_BYTES;
            let stop = end.min(chunk_end).min(at + u64::from(MAX_BLOCKS_PER_IO) * BLOCK_BYTES);
            let number = |value: u64| u16::try_from(value).map_err(|error| error.to_string());
            let range = BlockRange {
                volume: piece.volume,
                chunk: ChunkIndex(super::log::chunk_of(at)),
                first: number(at % CHUNK_BYTES / BLOCK_BYTES)?,
                count: number((stop - at).div_ceil(BLOCK_BYTES))?,
            };
            data.extend_from_slice(&self.blocks(range).await?);
            at = stop;
        }
        Ok(Bytes::from(data))
    }

    /// From the first member in sync that has them good.
    async fn blocks(&mut self, range: BlockRange) -> Result<Vec<u8>, String> {
        let group = self.map.group(range.volume, range.chunk);
        let epoch = group.epoch;
        let members: Vec<DiskId> = group.in_sync().map(|member| member.disk).collect();
        let mut why = "its group has no copy in sync".to_owned();
        for disk in members {
            let key = (range.volume, disk);
            let mut runs = match self.runs.remove(&key) {
                Some(kept) => kept,
                None => match self.connect(range.volume, disk).await {
                    Ok(fresh) => fresh,
                    Err(error) => {
                        why = error;
                        continue;
                    }
                },
            };
            match runs.read(range, epoch).await {
                Ok(data) => {
                    self.runs.insert(key, runs);
                    return Ok(data);
                }
                Err(error) => why = error.to_string(),
            }
        }
        Err(why)
    }

    async fn connect(&self, volume: VolumeId, disk: DiskId) -> Result<VolumeRuns, String> {
        let place = self.map.place(disk).ok_or("the control plane doesn't know where a disk is")?;
        let groups = u32::try_from(self.map.groups.len()).map_err(|error| error.to_string())?;
        VolumeRuns::open(place, self.token, volume, groups).await.map_err(|error| error.to_string())
    }
}
