//! One flush for all the uploads that wait for one.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Mutex;

/// Shares flushes: whoever asks while one runs waits for the next, together with everybody else who asked.
#[derive(Debug, Default)]
pub struct GroupFlush {
    /// Tickets given out; a flush covers every ticket that was out when it began.
    asked: AtomicU64,
    /// The highest ticket that a successful flush covered.
    done: AtomicU64,
    turn: Mutex<()>,
}

impl GroupFlush {
    /// Returns once a successful `flush` that began after this call has ended. An error is only that of a
    /// flush this caller ran itself: the next in line tries again.
    pub async fn run<E, F: Future<Output = Result<(), E>>>(
        &self,
        flush: impl FnOnce() -> F,
    ) -> Result<(), E> {
        let ticket = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        let _turn = self.turn.lock().await;
        if self.done.load(Ordering::SeqCst) >= ticket {
            return Ok(());
        }
        let covers = self.asked.load(Ordering::SeqCst);
        flush().await?;
        self.done.fetch_max(covers, Ordering::SeqCst);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::Semaphore;

    #[tokio::test]
    async fn many_callers_share_two_flushes() {
        let group = Arc::new(GroupFlush::default());
        let flushes = Arc::new(AtomicU64::new(0));
        let gate = Arc::new(Semaphore::new(0));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (group, flushes, gate) = (group.clone(), flushes.clone(), gate.clone());
                tokio::spawn(async move {
                    let flush = || async {
                        flushes.fetch_add(1, Ordering::SeqCst);
                        gate.acquire().await.unwrap().forget();
                        Ok::<(), ()>(())
                    };
                    group.run(flush).await
                })
            })
            .collect();
        while group.asked.load(Ordering::SeqCst) < 50 {
            tokio::task::yield_now().await;
        }
        gate.add_permits(50);
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        // The first began with whoever had asked by then; the second covers all the rest.
        assert!(flushes.load(Ordering::SeqCst) <= 2);
    }

    #[tokio::test]
    async fn a_failed_flush_covers_nobody() {
        let group = GroupFlush::default();
        assert_eq!(group.run(|| async { Err("no") }).await, Err("no"));
        let mut ran = false;
        let flush = || {
            ran = true;
            async { Ok::<(), &str>(()) }
        };
        assert_eq!(group.run(flush).await, Ok(()));
        assert!(ran);
    }
}
