//! Ending connections whose client does not read its answer.
//!
//! Only time in which the socket takes nothing counts, so that a slow disk is never held against a client, and an
//! answer may take as long as its client goes on reading. It lies below TLS: what is counted is what goes to the
//! kernel, not what is put into a buffer on the way.

use crate::limits::{MIN_WRITE_BYTES, UNSENT_BYTES, WRITE_TIMEOUT};
use crate::metrics::Metrics;
use rt::clock::{Clock, Instant};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A connection that fails with `TimedOut` once its client has let it wait too long.
pub struct WriteGuard<S> {
    stream: S,
    clock: Arc<dyn Clock>,
    metrics: Metrics,
    pace: Pace,
    /// Wakes a write that nothing else would.
    timer: Option<Pin<Box<Sleep>>>,
}

impl WriteGuard<TcpStream> {
    /// Also keeps what the kernel holds unsent small: a socket is writable again only when a part of that has gone,
    /// and in the megabytes it takes by itself, that may be later than the limit for a client that does read.
    pub fn of_socket(stream: TcpStream, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        if let Err(error) = socket2::SockRef::from(&stream).set_tcp_notsent_lowat(UNSENT_BYTES) {
            tracing::debug!(%error, "TCP_NOTSENT_LOWAT can't be set");
        }
        Self::new(stream, clock, metrics)
    }

    /// Looks at what comes without taking it.
    pub async fn peek(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.peek(buffer).await
    }
}

impl<S> WriteGuard<S> {
    pub fn new(stream: S, clock: Arc<dyn Clock>, metrics: Metrics) -> Self {
        Self { stream, clock, metrics, pace: Pace::new(WRITE_TIMEOUT), timer: None }
    }

    /// What an attempt to write came to, unless the client has let it wait for too long.
    fn judged<T>(
        &mut self,
        context: &mut Context<'_>,
        attempt: Poll<io::Result<T>>,
        written: impl FnOnce(&T) -> usize,
    ) -> Poll<io::Result<T>> {
        let Poll::Pending = attempt else {
            if let Poll::Ready(Ok(done)) = &attempt {
                self.pace.went_on(self.clock.now(), written(done));
            }
            return attempt;
        };
        loop {
            let left = self.pace.waits(self.clock.now());
            if left.is_zero() {
                self.metrics.write_timed_out();
                let why = "the client reads nothing of its answer";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            let mut timer = Box::pin(tokio::time::sleep(left));
            let rings = timer.as_mut().poll(context);
            self.timer = Some(timer);
            if rings.is_pending() {
                return Poll::Pending;
            }
        }
    }
}

/// How a client reads. Pure.
#[derive(Debug)]
struct Pace {
    limit: Duration,
    /// Time waited, and bytes gone meanwhile, since enough went last.
    waited: Duration,
    gone: usize,
    /// The wait that goes on.
    since: Option<Instant>,
}

impl Pace {
    fn new(limit: Duration) -> Self {
        Self { limit, waited: Duration::ZERO, gone: 0, since: None }
    }

    /// A write came to an end.
    fn went_on(&mut self, now: Instant, bytes: usize) {
        if let Some(since) = self.since.take() {
            self.waited += now.since(since);
        }
        self.gone = self.gone.saturating_add(bytes);
        if self.gone >= MIN_WRITE_BYTES {
            (self.waited, self.gone) = (Duration::ZERO, 0);
        }
    }

    /// A write has to wait. For how long it may.
    fn waits(&mut self, now: Instant) -> Duration {
        let since = *self.since.get_or_insert(now);
        self.limit.saturating_sub(self.waited + now.since(since))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteGuard<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteGuard<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judged(context, attempt, |written| *written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let attempt = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judged(context, attempt, |written| *written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.stream).poll_flush(context);
        self.judged(context, attempt, |()| 0)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let attempt = Pin::new(&mut self.stream).poll_shutdown(context);
        self.judged(context, attempt, |()| 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use http_body_util::Full;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use prometheus_client::registry::Registry;
    use rt::clock::{SystemClock, WallMillis};
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicU64, Ordering};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    const SECOND: Duration = Duration::from_secs(1);

    /// Seconds, moved by the test.
    #[derive(Default)]
    struct ManualClock(AtomicU64);

    impl Clock for ManualClock {
        fn now(&self) -> Instant {
            at(self.0.load(Ordering::Relaxed))
        }

        fn wall(&self) -> WallMillis {
            WallMillis(0)
        }
    }

    fn at(seconds: u64) -> Instant {
        Instant(seconds * 1_000_000_000)
    }

    fn metrics() -> Metrics {
        Metrics::register(&mut Registry::default())
    }

    #[test]
    fn only_waiting_counts_and_enough_bytes_end_it() {
        let mut pace = Pace::new(WRITE_TIMEOUT);
        assert_eq!(pace.waits(at(1000)), WRITE_TIMEOUT);
        assert_eq!(pace.waits(at(1020)), WRITE_TIMEOUT - 20 * SECOND);
        // A byte is not enough, and an hour in which nothing had to be written is nothing.
        pace.went_on(at(1030), 1);
        assert_eq!(pace.waits(at(5000)), WRITE_TIMEOUT - 30 * SECOND);
        pace.went_on(at(5000), MIN_WRITE_BYTES - 1);
        assert_eq!(pace.waits(at(6000)), WRITE_TIMEOUT);
        assert_eq!(pace.waits(at(6059)), SECOND);
        assert_eq!(pace.waits(at(6060)), Duration::ZERO);
        assert_eq!(pace.waits(at(9999)), Duration::ZERO);
    }

    /// A client that takes some of its answer every 50 seconds gets all of it; once it stops, the write fails.
    #[tokio::test]
    async fn a_slow_reader_is_served_and_one_that_stops_is_not() {
        let clock = Arc::new(ManualClock::default());
        let (mut client, server) = tokio::io::duplex(MIN_WRITE_BYTES);
        let mut guard = WriteGuard::new(server, Arc::clone(&clock) as _, metrics());
        let mut context = Context::from_waker(noop_waker_ref());
        let mut piece = vec![0; MIN_WRITE_BYTES];
        let mut write = |guard: &mut WriteGuard<_>| {
            Pin::new(guard)
                .poll_write(&mut context, &[7; MIN_WRITE_BYTES])
                .map(|done| done.map_err(|e| e.kind()))
        };
        for _ in 0..100 {
            assert_eq!(write(&mut guard), Poll::Ready(Ok(MIN_WRITE_BYTES)));
            assert_eq!(write(&mut guard), Poll::Pending);
            clock.0.fetch_add(50, Ordering::Relaxed);
            assert_eq!(write(&mut guard), Poll::Pending);
            client.read_exact(&mut piece).await.unwrap();
            // tokio lets a task do only so much between two yields, and its pipes take nothing then.
            tokio::task::yield_now().await;
        }
        assert_eq!(write(&mut guard), Poll::Ready(Ok(MIN_WRITE_BYTES)));
        assert_eq!(write(&mut guard), Poll::Pending);
        clock.0.fetch_add(60, Ordering::Relaxed);
        assert_eq!(write(&mut guard), Poll::Ready(Err(io::ErrorKind::TimedOut)));
    }

    /// Nothing but its timer wakes the guard here.
    #[tokio::test]
    async fn an_answer_that_nobody_reads_ends_its_connection() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        let metrics = metrics();
        let mut guard = WriteGuard::of_socket(server, Arc::new(SystemClock), metrics.clone());
        guard.pace.limit = Duration::from_millis(20);
        let body = Full::new(bytes::Bytes::from(vec![7; 64 << 20]));
        let service = service_fn(move |_: http::Request<hyper::body::Incoming>| {
            let body = body.clone();
            async move { Ok::<_, Infallible>(http::Response::new(body)) }
        });
        client.write_all(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").await.unwrap();
        let serving =
            hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(guard), service);
        let error = serving.await.expect_err("nobody reads");
        let source = std::error::Error::source(&error).expect("the guard's");
        assert_eq!(source.downcast_ref::<io::Error>().unwrap().kind(), io::ErrorKind::TimedOut);
        assert_eq!(metrics.write_timeouts(), 1);
    }
}
