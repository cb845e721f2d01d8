//! One batch's buffer: header and entries in front, data behind.

use bytes::Bytes;
use proto::checksum::crc32;
use proto::disk::batch::HEADER_BYTES;
use proto::disk::{BatchHeader, Entry};
use proto::ids::DiskId;
use proto::units::BLOCK_LEN;
use rt::buf::{AlignedBuf, Gather, is_aligned};

/// Fills a batch whose size was planned.
pub(super) struct BatchBuilder {
    buf: AlignedBuf,
    /// Data that goes to the device from where it is, behind `buf`.
    shared: Vec<Bytes>,
    header_blocks: usize,
    data_blocks: usize,
    entries: u32,
    entries_end: usize,
    data_end: usize,
}

/// How a batch comes by its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    /// It is copied: what came over a socket lies anywhere in what was received.
    Copied,
    /// All of it [is aligned](is_aligned), and is shared with whoever else has it.
    Shared,
}

impl Data {
    pub fn of<'a>(mut pieces: impl Iterator<Item = &'a [u8]>) -> Self {
        if pieces.all(is_aligned) { Self::Shared } else { Self::Copied }
    }
}

impl BatchBuilder {
    pub fn new(entries_len: usize, data_blocks: usize, data: Data) -> Self {
        let header_blocks = BatchHeader::blocks_for(entries_len);
        let copied_blocks = if data == Data::Copied { data_blocks } else { 0 };
        // `finish` sees to it that all of the data is written over.
        let mut buf = AlignedBuf::recycled((header_blocks + copied_blocks) * BLOCK_LEN);
        buf[..header_blocks * BLOCK_LEN].fill(0);
        Self {
            buf,
            shared: Vec::new(),
            header_blocks,
            data_blocks,
            entries: 0,
            entries_end: HEADER_BYTES,
            data_end: header_blocks * BLOCK_LEN,
        }
    }

    pub fn header_blocks(&self) -> u32 {
        u32::try_from(self.header_blocks).expect("a batch has few header blocks")
    }

    pub fn entry(&mut self, entry: &Entry<'_>) {
        self.entries_end += entry.encode_to(&mut self.buf[self.entries_end..self.header_blocks * BLOCK_LEN]);
        self.entries += 1;
    }

    /// Takes the next blocks in.
    pub fn place(&mut self, blocks: Bytes) {
        if self.data_end == self.buf.len() {
            self.shared.push(blocks);
        } else {
            self.buf[self.data_end..self.data_end + blocks.len()].copy_from_slice(&blocks);
            self.data_end += blocks.len();
        }
    }

    /// Writes the header, with `place` saying whose and where the batch is.
    pub fn finish(mut self, place: impl FnOnce(&mut BatchHeader)) -> Gather {
        let shared_len = self.shared.iter().map(Bytes::len).sum::<usize>();
        let planned_len = (self.header_blocks + self.data_blocks) * BLOCK_LEN;
        assert_eq!(
            self.data_end + shared_len,
            planned_len,
            "a batch holds exactly the data it was planned for"
        );
        let entries_len = self.entries_end - HEADER_BYTES;
        let mut header = BatchHeader {
            disk: DiskId::default(),
            incarnation: 0,
            sequence: 0,
            segment_first: 0,
            flushed: 0,
            segment: 0,
            block: 0,
            header_blocks: u16::try_from(self.header_blocks).expect("a batch has few header blocks"),
            data_blocks: u32::try_from(self.data_blocks).expect("bounded"),
            entries: self.entries,
            entries_len: u32::try_from(entries_len).expect("bounded"),
            entries_crc: crc32(&self.buf[HEADER_BYTES..self.entries_end]),
        };
        assert_eq!(BatchHeader::blocks_for(entries_len), self.header_blocks, "the entries were planned");
        place(&mut header);
        header.encode_to(&mut self.buf);
        Gather::new(self.buf, self.shared)
    }
}
