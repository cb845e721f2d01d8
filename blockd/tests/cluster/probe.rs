//! One server asked directly, frame by frame, for tests.
#![allow(dead_code, clippy::unwrap_used, reason = "for tests, each of which uses its part of it")]

use super::cluster::{GROUPS, TOKEN};
use bytes::Bytes;
use proto::checksum::crc32;
use proto::control::DiskPlace;
use proto::frame::{FrameHeader, HEADER_BYTES};
use proto::message::{
    BlockRange, BlockState, LIST_END, OpenMode, ReadBlock, Reply, ReplyBody, Request, RequestBody,
};
use proto::units::{BLOCK_LEN, BLOCKS_PER_CHUNK};
use proto::{ChunkIndex, ClientId, GroupEpoch, GroupId, Version, VolumeEpoch, VolumeId, WireError};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

pub struct Probe {
    stream: TcpStream,
    sequence: u64,
    pub epoch: GroupEpoch,
}

/// What a disk knows of a block: its version and bytes, `None` if it is trimmed.
pub type Known = (Version, Option<Bytes>);

impl Probe {
    pub fn connect(place: &DiskPlace, epoch: u32) -> Self {
        let stream = TcpStream::connect(place.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        let mut probe = Self { stream, sequence: 0, epoch: GroupEpoch(epoch) };
        let client = ClientId([77; 16]);
        probe.ask(RequestBody::Hello { token: TOKEN.0, client, disk: place.disk }).unwrap();
        probe
    }

    pub fn ask(&mut self, body: RequestBody) -> Result<ReplyBody, WireError> {
        self.sequence += 1;
        let sequence = self.sequence;
        let request = Request { sequence, settled: Version::ZERO, group_epoch: self.epoch, body };
        let frame = request.encode();
        self.stream.write_all(&frame.head).unwrap();
        frame.data.iter().for_each(|data| self.stream.write_all(data).unwrap());
        let mut head = [0; HEADER_BYTES];
        self.stream.read_exact(&mut head).unwrap();
        let header = FrameHeader::decode(&head).unwrap();
        let mut payload = vec![0; header.payload_len as usize];
        self.stream.read_exact(&mut payload).unwrap();
        let reply = Reply::decode(&header, &payload.into()).unwrap();
        assert_eq!(reply.sequence, sequence);
        match reply.body {
            ReplyBody::Error(error) => Err(error),
            body => Ok(body),
        }
    }

    pub fn open(&mut self, volume: u64, mode: OpenMode, epoch: u32) -> Result<ReplyBody, WireError> {
        let (volume, epoch, client) = (VolumeId(volume), VolumeEpoch(epoch), ClientId([77; 16]));
        self.ask(RequestBody::Open { volume, epoch, client, mode, groups: GROUPS })
    }

    /// Every block that the disk knows something of.
    pub fn blocks(&mut self, volume: u64) -> BTreeMap<(u32, u16), Known> {
        self.open(volume, OpenMode::Repair, 0).unwrap();
        let mut all = BTreeMap::new();
        for group in 0..GROUPS {
            let mut cursor = 0;
            while cursor != LIST_END {
                let digests = RequestBody::Digests {
                    volume: VolumeId(volume),
                    group: GroupId(group),
                    groups: GROUPS,
                    cursor,
                };
                let Ok(ReplyBody::Digests { chunks, next }) = self.ask(digests) else { panic!("no digests") };
                cursor = next;
                for (chunk, _) in chunks {
                    self.chunk(volume, chunk, &mut all);
                }
            }
        }
        all
    }

    fn chunk(&mut self, volume: u64, chunk: ChunkIndex, all: &mut BTreeMap<(u32, u16), Known>) {
        let volume = VolumeId(volume);
        let list = RequestBody::ListChunk { volume, chunk };
        let Ok(ReplyBody::List { entries, .. }) = self.ask(list) else { panic!("no list") };
        for entry in entries {
            for block in entry.first..entry.first + entry.count {
                all.insert((chunk.0, block), (entry.version, None));
            }
        }
        for first in (0..u16::try_from(BLOCKS_PER_CHUNK).unwrap()).step_by(256) {
            let range = BlockRange { volume, chunk, first, count: 256 };
            let (blocks, data) = self.read(range);
            let mut data = data.chunks(BLOCK_LEN);
            for (block, held) in (first..).zip(blocks) {
                match held.state {
                    BlockState::Data => {
                        let bytes = Bytes::copy_from_slice(data.next().unwrap());
                        assert_eq!(crc32(&bytes), held.crc);
                        let known = all.get_mut(&(chunk.0, block)).expect("it is listed");
                        assert_eq!(known.0, held.version, "block {block} of {range:?}");
                        known.1 = Some(bytes);
                    }
                    BlockState::Hole | BlockState::Trimmed => {
                        assert!(all.get(&(chunk.0, block)).is_none_or(|known| known.1.is_none()));
                    }
                    BlockState::Corrupt => panic!("block {block} of {range:?} is bad"),
                }
            }
        }
    }

    pub fn read(&mut self, range: BlockRange) -> (Vec<ReadBlock>, Vec<u8>) {
        match self.ask(RequestBody::Read { range, epoch: VolumeEpoch(0) }) {
            Ok(ReplyBody::Read { blocks, data, .. }) => (blocks, data.concat()),
            other => panic!("no read: {other:?}"),
        }
    }

    pub fn volumes(&mut self) -> BTreeMap<u64, (VolumeEpoch, bool)> {
        match self.ask(RequestBody::Volumes { cursor: 0 }) {
            Ok(ReplyBody::Volumes { volumes, next: LIST_END }) => {
                volumes.iter().map(|held| (held.volume.0, (held.fence, held.deleted))).collect()
            }
            other => panic!("no volumes: {other:?}"),
        }
    }
}
