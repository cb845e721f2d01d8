//! A request's body, lent to the operation that reads it.
//!
//! An operation may fail in the middle of a body. Closing a connection that still has unread data resets it,
//! and the client then often never sees why; so the connection keeps hold of the body and reads a bounded
//! rest away before it answers.

use bytes::{Buf as _, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

/// A handle to the body; clones share it.
#[derive(Debug, Clone)]
pub struct LentBody(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    body: Incoming,
    /// Whether anything was asked of it: only then was a waiting client told to go on.
    asked: bool,
    /// For an empty one nobody is told to go on.
    empty: bool,
}

impl LentBody {
    pub fn new(body: Incoming) -> Self {
        let empty = body.is_end_stream();
        Self(Arc::new(Mutex::new(Inner { body, asked: false, empty })))
    }

    /// Whether somebody began to read it.
    pub fn was_asked(&self) -> bool {
        self.lock().asked
    }

    /// Whether a client that waits for a `100 Continue` has got one.
    pub fn was_continued(&self) -> bool {
        let inner = self.lock();
        inner.asked && !inner.empty
    }

    /// Reads what is left away, up to `max` bytes and for at most `wait`.
    pub async fn drain(&mut self, max: usize, wait: Duration) {
        let reading = async {
            let mut seen = 0;
            while let Some(Ok(frame)) = self.frame().await {
                seen += frame.data_ref().map_or(0, Bytes::remaining);
                if seen > max {
                    break;
                }
            }
        };
        // Late or not: the answer follows.
        let _ = tokio::time::timeout(wait, reading).await;
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body for LentBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut inner = self.lock();
        inner.asked = true;
        Pin::new(&mut inner.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.lock().body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.lock().body.size_hint()
    }
}
