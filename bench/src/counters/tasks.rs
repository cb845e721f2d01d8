//! CPU time and context switches of a process's threads, from `/proc/PID/task`.

use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

/// What the threads of a process have used since each began.
pub struct Tasks {
    threads: BTreeMap<u32, Thread>,
}

struct Thread {
    name: String,
    cpu: Duration,
    context_switches: u64,
}

/// The difference of two looks.
pub struct Used {
    /// By thread; names repeat.
    pub cpu: Vec<(String, Duration)>,
    pub context_switches: u64,
}

impl Tasks {
    pub fn of(pid: u32) -> Result<Self> {
        let folder = format!("/proc/{pid}/task");
        let mut threads = BTreeMap::new();
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {folder}"))? {
            let Some(id) = entry?.file_name().to_str().and_then(|id| id.parse().ok()) else { continue };
            // A thread may end between the two looks.
            if let Some(thread) = Thread::of(&format!("{folder}/{id}")) {
                threads.insert(id, thread);
            }
        }
        Ok(Self { threads })
    }

    /// Threads that began meanwhile count whole. One that ended takes its last share with it: servers under load keep
    /// their threads.
    pub fn since(&self, before: &Self) -> Used {
        let mut used = Used { cpu: Vec::new(), context_switches: 0 };
        for (id, thread) in &self.threads {
            let start = before.threads.get(id);
            let cpu = thread.cpu.saturating_sub(start.map_or(Duration::ZERO, |start| start.cpu));
            let switches = start.map_or(0, |start| start.context_switches);
            used.context_switches += thread.context_switches.saturating_sub(switches);
            used.cpu.push((self.owner(thread), cpu));
        }
        used
    }

    /// An io_uring worker (`iou-wrk-TID`) works for the thread whose id it carries.
    fn owner(&self, thread: &Thread) -> String {
        let id = thread.name.strip_prefix("iou-wrk-").or_else(|| thread.name.strip_prefix("iou-sqp-"));
        let owner = id.and_then(|id| self.threads.get(&id.parse().ok()?));
        owner.map_or_else(|| thread.name.clone(), |owner| owner.name.clone())
    }
}

impl Thread {
    fn of(folder: &str) -> Option<Self> {
        let name = fs::read_to_string(format!("{folder}/comm")).ok()?.trim_end().to_owned();
        let status = fs::read_to_string(format!("{folder}/status")).ok()?;
        let switches = number_after(&status, "voluntary_ctxt_switches:")?
            + number_after(&status, "nonvoluntary_ctxt_switches:")?;
        Some(Self { name, cpu: cpu_time(folder)?, context_switches: switches })
    }
}

/// In nanoseconds where the kernel keeps those for a thread, else in ticks.
fn cpu_time(folder: &str) -> Option<Duration> {
    if let Ok(schedstat) = fs::read_to_string(format!("{folder}/schedstat")) {
        return schedstat.split(' ').next()?.parse().ok().map(Duration::from_nanos);
    }
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    crate::machine::parse_ticks(&stat).map(crate::machine::ticks)
}

pub fn read(path: &str) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("reading {path}"))
}

/// The number of a line that starts with `name`.
pub fn number_after(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tasks(threads: &[(u32, &str, u64, u64)]) -> Tasks {
        let thread = |&(id, name, ms, context_switches): &(u32, &str, u64, u64)| {
            let thread = Thread { name: name.into(), cpu: Duration::from_millis(ms), context_switches };
            (id, thread)
        };
        Tasks { threads: threads.iter().map(thread).collect() }
    }

    #[test]
    fn threads_are_told_apart_and_workers_belong_to_one() {
        let before = tasks(&[(1, "main", 10, 5), (2, "disk-a", 100, 50), (3, "gone", 9, 9)]);
        let after = tasks(&[
            (1, "main", 12, 6),
            (2, "disk-a", 150, 80),
            (4, "iou-wrk-2", 7, 3),
            (5, "iou-wrk-99", 1, 0),
        ]);
        let used = after.since(&before);
        let ms = |(name, cpu): &(String, Duration)| (name.clone(), cpu.as_millis());
        let want = [("main", 2), ("disk-a", 50), ("disk-a", 7), ("iou-wrk-99", 1)];
        assert_eq!(used.cpu.iter().map(ms).collect::<Vec<_>>(), want.map(|(name, ms)| (name.to_owned(), ms)));
        assert_eq!(used.context_switches, 1 + 30 + 3);
    }

    #[test]
    fn lines_are_found_by_their_start() {
        let status =
            "Name:\tx\nvoluntary_ctxt_switches:\t7\nnonvoluntary_ctxt_switches:\t3\nRssAnon:\t 12 kB\n";
        let of = |name| number_after(status, name);
        assert_eq!(of("voluntary_ctxt_switches:"), Some(7));
        assert_eq!(of("nonvoluntary_ctxt_switches:"), Some(3));
        assert_eq!((of("RssAnon:"), of("RssFile:")), (Some(12), None));
    }
}
