//! A body on its way to the log: encrypted if it has a key, and back.

use super::cipher::{Decryptor, Encryptor, PartKey, Parts, Tampered, open_whole, sealed_len};
use super::sealed::Opened;
use crate::error::{S3Error, S3Result};
use crate::limits::{OWN_PIECE_BYTES, PIECE_BYTES, READ_PIECES_AHEAD};
use crate::objectlog::{Allowance, Appender, ObjectLog, Pending, Pieces, Pinned, Room, housed};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _};
use meta::object::{Extent, ObjectRecord};
use meta::sealing::Sealing;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

/// Takes a body's data and appends what is kept of it.
pub struct Sink {
    appender: Appender,
    encryptor: Option<Encryptor>,
}

impl Sink {
    /// For a body of `len` bytes.
    pub fn new(log: Arc<ObjectLog>, len: u64, key: Option<PartKey>) -> Self {
        let kept = if key.is_some() { sealed_len(len) } else { len };
        Self { appender: Appender::new(log, kept), encryptor: key.map(Encryptor::new) }
    }

    pub async fn push(&mut self, mut data: Bytes) -> S3Result<()> {
        let Some(encryptor) = &mut self.encryptor else { return self.appender.push(data).await };
        while !data.is_empty() {
            if let Some(segment) = encryptor.push(&mut data) {
                self.appender.push(segment).await?;
            }
        }
        Ok(())
    }

    /// As [`Appender::finish`].
    pub async fn finish(mut self) -> S3Result<Pending> {
        if let Some(last) = self.encryptor.take().and_then(Encryptor::finish) {
            self.appender.push(last).await?;
        }
        self.appender.finish().await
    }
}

fn tampered(Tampered: Tampered) -> S3Error {
    S3Error::internal("an object's encrypted data is not what was stored, or its index entry isn't")
}

fn inconsistent() -> S3Error {
    S3Error::internal("the index entry's body is shorter than its size")
}

/// A stream of an object's bytes.
pub type Data = Pin<Box<dyn Stream<Item = S3Result<Bytes>> + Send>>;

/// An object that is there, and how to read it.
pub struct Source<'a> {
    pub record: &'a ObjectRecord,
    pub sealing: Option<&'a Sealing>,
    pub opened: &'a Opened,
}

impl Source<'_> {
    fn parts(&self) -> Parts<'_> {
        let salts = self.sealing.map_or(&[][..], |sealing| &sealing.salts);
        Parts { size: self.record.size, sizes: &self.record.part_sizes, salts }
    }

    /// `bytes` of an inline body.
    pub fn slice(&self, data: &Bytes, bytes: Range<u64>) -> S3Result<Bytes> {
        if let Some(key) = &self.opened.key {
            return open_whole(key.clone(), self.parts(), bytes, data).map_err(tampered);
        }
        let at = |offset| usize::try_from(offset).ok().filter(|&at| at <= data.len());
        match (at(bytes.start), at(bytes.end)) {
            (Some(start), Some(end)) => Ok(data.slice(start..end)),
            _ => Err(inconsistent()),
        }
    }

    /// `bytes` of one that lies in the log, a few pieces read ahead. The extents stay pinned until the stream is gone.
    pub fn stream(
        &self,
        log: Arc<ObjectLog>,
        extents: &[Extent],
        bytes: Range<u64>,
        pinned: Pinned,
    ) -> S3Result<Data> {
        let record = self.record;
        let Some(key) = &self.opened.key else {
            let pieces = Pieces::new(extents, record.size, &record.part_sizes, bytes);
            let read = read(log, pieces.map_err(|_| inconsistent())?, pinned);
            return Ok(Box::pin(read.map(|read| read.map(|(data, room)| housed(data, room)))));
        };
        let parts = self.parts();
        let (decryptor, needed) = Decryptor::new(key.clone(), parts, bytes).map_err(tampered)?;
        let pieces = Pieces::new(extents, parts.sealed_size(), &parts.sealed_sizes(), needed);
        Ok(Box::pin(decrypted(read(log, pieces.map_err(|_| inconsistent())?, pinned), decryptor)))
    }
}

/// The data of each piece, and its room. How long they are says the allowance.
fn read(
    log: Arc<ObjectLog>,
    pieces: Pieces,
    pinned: Pinned,
) -> impl Stream<Item = S3Result<(Bytes, Room)>> + Send + 'static {
    let allowance = Allowance::new(&log.budget);
    futures_util::stream::unfold((log, pieces, allowance), |(log, mut pieces, allowance)| async move {
        let wanted = pieces.next_len(PIECE_BYTES)?;
        let room = allowance.room(wanted).await;
        let most = if room.bytes() < wanted { OWN_PIECE_BYTES } else { PIECE_BYTES };
        let piece = pieces.next_within(most)?;
        let from = Arc::clone(&log);
        let data = async move { from.read(&piece).await.map(|data| (data, room)) };
        Some((data, (log, pieces, allowance)))
    })
    .buffered(READ_PIECES_AHEAD)
    .inspect(move |_| {
        // Moved in here to live as long as the stream.
        let _ = &pinned;
    })
}

fn decrypted(
    sealed: impl Stream<Item = S3Result<(Bytes, Room)>> + Send + 'static,
    mut decryptor: Decryptor,
) -> impl Stream<Item = S3Result<Bytes>> + Send + 'static {
    // The end comes as one more item, so that what is missing there is told.
    sealed.map(Some).chain(futures_util::stream::iter([None])).flat_map(move |read| {
        let opened = match read {
            Some(Ok((data, room))) => decryptor.push(&data).map_err(tampered).map(|texts| {
                // What is opened takes the room of what was sealed.
                let room = Arc::new(room);
                texts.into_iter().map(|text| housed(text, Arc::clone(&room))).collect()
            }),
            Some(Err(error)) => Err(error),
            None => decryptor.finish().map(|()| Vec::new()).map_err(tampered),
        };
        let items: Vec<S3Result<Bytes>> = match opened {
            Ok(texts) => texts.into_iter().filter(|text| !text.is_empty()).map(Ok).collect(),
            Err(error) => vec![Err(error)],
        };
        futures_util::stream::iter(items)
    })
}
