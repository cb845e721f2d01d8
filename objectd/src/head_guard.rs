//! Seeing what the HTTP library hides: a head whose body two readers could delimit in two ways.
//!
//! Given both `Content-Length` and `Transfer-Encoding`, hyper follows the standard: the second wins, the first
//! is removed from the head, and the connection is closed after the answer. A repeated equal length it
//! forgives likewise. Both are how requests are smuggled past proxies, and no client needs them, so the
//! gateway refuses them; for that it has to see the bytes. Only the first head of a connection is looked at:
//! where later ones begin depends on framing, and what hyper does with them is safe.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::MAX_HEADER_BYTES;

/// Whether a connection's first head was ambiguous. Known before its request is served.
#[derive(Debug, Clone, Default)]
pub struct Ambiguity(Arc<AtomicBool>);

impl Ambiguity {
    pub fn found(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// A connection whose first head is looked at on its way in.
pub struct HeadGuard<S> {
    stream: S,
    /// What came of the head so far; `None` once it was judged.
    head: Option<Vec<u8>>,
    ambiguity: Ambiguity,
}

impl<S> HeadGuard<S> {
    pub fn new(stream: S) -> HeadGuard<S> {
        HeadGuard { stream, head: Some(Vec::new()), ambiguity: Ambiguity::default() }
    }

    pub fn ambiguity(&self) -> Ambiguity {
        self.ambiguity.clone()
    }

    fn look_at(&mut self, bytes: &[u8]) {
        let Some(head) = &mut self.head else { return };
        // The end may straddle two reads.
        let from = head.len().saturating_sub(3);
        head.extend_from_slice(bytes);
        if let Some(end) = head[from..].windows(4).position(|window| window == b"\r\n\r\n") {
            if is_ambiguous(&head[..from + end]) {
                self.ambiguity.0.store(true, Ordering::Release);
            }
            self.head = None;
        } else if head.len() > MAX_HEADER_BYTES {
            // The HTTP library refuses it by its length.
            self.head = None;
        }
    }
}

fn is_ambiguous(head: &[u8]) -> bool {
    let (mut lengths, mut encodings) = (0, 0);
    for line in head.split(|byte| *byte == b'\n').skip(1) {
        let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
        if name.eq_ignore_ascii_case(b"content-length") {
            lengths += 1;
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            encodings += 1;
        }
    }
    lengths + encodings > 1
}

impl<S: AsyncRead + Unpin> AsyncRead for HeadGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(context, buffer);
        if self.head.is_some() {
            self.look_at(&buffer.filled()[before..]);
        }
        result
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for HeadGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    async fn judged(bytes: &[u8], piece: usize) -> bool {
        let mut guard = HeadGuard::new(bytes);
        let ambiguity = guard.ambiguity();
        let mut buffer = vec![0; piece];
        let mut passed = Vec::new();
        loop {
            match guard.read(&mut buffer).await.expect("a slice can be read") {
                0 => break,
                len => passed.extend_from_slice(&buffer[..len]),
            }
        }
        assert_eq!(passed, bytes);
        ambiguity.found()
    }

    #[tokio::test]
    async fn two_ways_to_delimit_a_body_are_found_however_the_head_arrives() {
        let cases: [(&str, bool); 6] = [
            ("PUT / HTTP/1.1\r\nContent-Length: 1\r\n\r\na", false),
            ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", false),
            ("PUT / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", true),
            ("PUT / HTTP/1.1\r\ntransfer-encoding: chunked\r\na: b\r\ncontent-length: 1\r\n\r\n", true),
            ("PUT / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na", true),
            ("PUT / HTTP/1.1\r\nContent-Length: 99\r\n\r\nA: b\r\nContent-Length: 1\r\n\r\n", false),
        ];
        for (bytes, expected) in cases {
            for piece in [1, 2, 3, 7, 4096] {
                assert_eq!(judged(bytes.as_bytes(), piece).await, expected, "{bytes:?} by {piece}");
            }
        }
    }
}
