//! What the guest's maker and the tests share.

use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

/// Emulated guests are slow on a busy machine.
const ATTEMPTS: u32 = 2400;

/// Says that a test did not run, where the CI counts it.
pub fn skip(test: &str, why: &str) {
    let line = format!("test {test}: {why}\n");
    let _ = write!(std::io::stderr(), "SKIPPED {line}");
    if let Some(path) = std::env::var_os("ASHLAR_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

pub fn have(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|dir: PathBuf| dir.join(program).is_file())
}

/// Where downloads are kept between runs.
pub fn cache() -> PathBuf {
    let dir = std::env::var_os("ASHLAR_TEST_CACHE").map(PathBuf::from).unwrap_or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_else(std::env::temp_dir);
        home.join(".cache/ashlar-tests")
    });
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    for _ in 0..ATTEMPTS {
        if let Some(found) = look() {
            return found;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
    panic!("{what} did not come");
}
