//! The clock that rules are judged by. Tests move it ahead, months in a second; nothing else goes by it: neither
//! signatures nor locks.

use crate::error::{S3Error, S3Result};
use rt::clock::Clock;
use std::io::ErrorKind;
use std::path::PathBuf;
use std::sync::Arc;

/// The machine's clock, moved ahead by the seconds that a file says, if there is to be one.
pub struct MovableClock {
    clock: Arc<dyn Clock>,
    file: Option<PathBuf>,
}

impl MovableClock {
    pub fn new(clock: Arc<dyn Clock>, file: Option<PathBuf>) -> Self {
        Self { clock, file }
    }

    pub fn is_movable(&self) -> bool {
        self.file.is_some()
    }

    /// The time now. A file that isn't there yet moves nothing.
    ///
    /// Errors: what is in the file is not a number. No time is better than a wrong one.
    pub async fn now_ms(&self) -> S3Result<u64> {
        let now_ms = self.clock.wall().0;
        let Some(file) = &self.file else { return Ok(now_ms) };
        let text = match tokio::fs::read_to_string(file).await {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(now_ms),
            Err(error) => return Err(S3Error::internal(error)),
        };
        let ahead_s: u64 = text.trim().parse().map_err(|_| {
            S3Error::internal(format!("{} does not hold a number of seconds", file.display()))
        })?;
        Ok(now_ms.saturating_add(ahead_s.saturating_mul(1000)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::clock::{Instant, WallMillis};

    struct Stopped;

    impl Clock for Stopped {
        fn now(&self) -> Instant {
            Instant(0)
        }

        fn wall(&self) -> WallMillis {
            WallMillis(5000)
        }
    }

    #[tokio::test]
    async fn a_file_moves_it_and_nonsense_stops_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ahead");
        let clock = MovableClock::new(Arc::new(Stopped), Some(file.clone()));
        assert_eq!(clock.now_ms().await.unwrap(), 5000);
        std::fs::write(&file, "86400\n").unwrap();
        assert_eq!(clock.now_ms().await.unwrap(), 86_405_000);
        for bad in ["", "-1", "1 day"] {
            std::fs::write(&file, bad).unwrap();
            assert!(clock.now_ms().await.is_err(), "{bad}");
        }
        let fixed = MovableClock::new(Arc::new(Stopped), None);
        assert_eq!(fixed.now_ms().await.unwrap(), 5000);
    }
}
