//! A body on its way to the log: encrypted if it has a key, and back.

use super::cipher::{Decryptor, Encryptor, PartKey, Parts, Tampered, open_whole, sealed_len};
use super::sealed::Opened;
use crate::error::{S3Error, S3Result};
use crate::objectlog::{self, Appender, ObjectLog, Pending, Piece, Pinned};
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
            let pieces = objectlog::pieces(extents, record.size, &record.part_sizes, bytes);
            return Ok(Box::pin(read(log, pieces.map_err(|_| inconsistent())?, pinned)));
        };
        let parts = self.parts();
        let (decryptor, needed) = Decryptor::new(key.clone(), parts, bytes).map_err(tampered)?;
        let pieces = objectlog::pieces(extents, parts.sealed_size(), &parts.sealed_sizes(), needed);
        Ok(Box::pin(decrypted(read(log, pieces.map_err(|_| inconsistent())?, pinned), decryptor)))
    }
}

fn read(
    log: Arc<ObjectLog>,
    pieces: Vec<Piece>,
    pinned: Pinned,
) -> impl Stream<Item = S3Result<Bytes>> + Send + 'static {
    futures_util::stream::iter(pieces)
        .map(move |piece| {
            let log = Arc::clone(&log);
            async move { log.read(&piece).await }
        })
        .buffered(crate::limits::READ_PIECES_AHEAD)
        .inspect(move |_| {
            // Moved in here to live as long as the stream.
            let _ = &pinned;
        })
}

fn decrypted(
    sealed: impl Stream<Item = S3Result<Bytes>> + Send + 'static,
    mut decryptor: Decryptor,
) -> impl Stream<Item = S3Result<Bytes>> + Send + 'static {
    // The end comes as one more item, so that what is missing there is told.
    sealed.map(Some).chain(futures_util::stream::iter([None])).flat_map(move |read| {
        let opened = match read {
            Some(Ok(data)) => decryptor.push(&data).map_err(tampered),
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
