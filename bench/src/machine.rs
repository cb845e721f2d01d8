//! The machine under the benchmark: its clock, its facts, its processes' CPU time.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};
use time::OffsetDateTime;
use time::macros::format_description;

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// The date and the time of day, UTC.
#[expect(clippy::disallowed_methods, reason = "a report says when it was made")]
pub fn date() -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    OffsetDateTime::from(SystemTime::now()).format(format).unwrap_or_else(|_| "unknown".to_owned())
}

/// The commit of the tree that this program was built in, with a plus if files differ from it. `None` if that is no
/// git work tree any more.
pub fn commit() -> Option<String> {
    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.args(["-C", env!("CARGO_MANIFEST_DIR")]).args(arguments).stderr(Stdio::null());
        let output = command.output().ok().filter(|output| output.status.success())?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let commit = git(&["rev-parse", "--short=10", "HEAD"])?;
    let is_clean = git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(if is_clean { commit } else { format!("{commit}+") })
}

/// Waits without work.
pub fn pause(time: Duration) {
    let end = now() + time;
    while let Some(left) = end.checked_duration_since(now()).filter(|left| !left.is_zero()) {
        std::thread::park_timeout(left);
    }
}

/// A line of the result.
pub fn say(line: &str) {
    // A closed pipe ends the reader's interest, not the run: the JSON file may still be wanted.
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A line about progress or failure.
pub fn say_aside(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

/// What a reader needs to judge the figures.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Facts {
    pub cores: usize,
    pub cpu: String,
    pub memory_gib: u64,
    pub kernel: String,
    /// Of one, five and fifteen minutes, before the run.
    pub load: String,
    /// Where the data lies: folder, device and file system.
    pub storage: String,
}

impl Facts {
    pub fn collect(folder: &Path) -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim().to_owned())
        };
        let memory = field(&read("/proc/meminfo"), "MemTotal").unwrap_or_default();
        let memory_kib = memory.split(' ').next().and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0);
        Self {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            cpu: field(&read("/proc/cpuinfo"), "model name").unwrap_or_else(|| "unknown".into()),
            memory_gib: memory_kib >> 20,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load: read("/proc/loadavg").split(' ').take(3).collect::<Vec<_>>().join(" "),
            storage: storage(&read("/proc/self/mounts"), folder),
        }
    }

    /// Cores, processor, memory, kernel.
    pub fn line(&self) -> String {
        format!("{} cores of {}, {} GiB, Linux {}", self.cores, self.cpu, self.memory_gib, self.kernel)
    }

    pub fn print(&self) {
        say(&format!("machine: {}, load {}", self.line(), self.load));
        say(&format!("storage: {}", self.storage));
    }
}

/// The mount that holds a folder, as `/proc/self/mounts` tells it.
fn storage(mounts: &str, folder: &Path) -> String {
    let mount = |line: &str| {
        let mut words = line.split(' ').map(str::to_owned);
        Some((words.next()?, words.next()?, words.next()?))
    };
    let holding = mounts.lines().filter_map(mount).filter(|(_, at, _)| folder.starts_with(at));
    match holding.max_by_key(|(_, at, _)| at.len()) {
        Some((device, _, kind)) => format!("{} on {device} ({kind})", folder.display()),
        None => folder.display().to_string(),
    }
}

/// Bytes a process has caused to be written to storage.
pub fn written_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    line.and_then(|bytes| bytes.parse().ok()).with_context(|| format!("{path} is not as expected"))
}

/// `utime` and `stime`, the 14th and 15th fields; the 2nd is a name in brackets with anything in it.
pub fn parse_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// USER_HZ is 100 on every Linux that programs see.
pub fn ticks(ticks: u64) -> Duration {
    Duration::from_millis(ticks * 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_read_past_odd_names() {
        let stat = "12 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1 0 9";
        assert_eq!(parse_ticks(stat), Some(300));
        assert_eq!(parse_ticks("12 (a"), None);
        assert_eq!(ticks(300), Duration::from_secs(3));
    }

    #[test]
    fn storage_is_the_longest_mount() {
        let mounts = "/dev/a / ext4 rw 0 0\n/dev/b /data xfs rw 0 0\n/dev/c /database btrfs rw 0 0";
        assert_eq!(storage(mounts, Path::new("/data/x")), "/data/x on /dev/b (xfs)");
        assert_eq!(storage(mounts, Path::new("/home")), "/home on /dev/a (ext4)");
    }
}
