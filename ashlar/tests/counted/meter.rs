//! Counts what a process does between two moments.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use trial::harness::{Store, eventually, sleep, timed};

/// Tracepoints, which need no counters of the processor: machines without a PMU have them.
const SYSTEM_CALLS: &str = "raw_syscalls:sys_enter";
/// A thread that looks for work before it sleeps offers its processor meanwhile, as often as there is time: of all
/// system calls the one whose count is the clock's.
const YIELDS: &str = "syscalls:sys_enter_sched_yield";
const RING_CALLS: &str = "syscalls:sys_enter_io_uring_enter";

/// How long a store at rest is looked at.
const REST: Duration = Duration::from_secs(4);
/// What the daemon's own timers count, a little.
const AT_REST_TOO: [&str; 8] = [
    "calls",
    "switches",
    ALLOCATIONS,
    ALLOCATED,
    "ashlar_meta_queries_total",
    "ashlar_meta_proposals_total",
    "ashlar_meta_log_flush_seconds_count",
    "ashlar_meta_log_bytes_total",
];
/// Looking itself costs memory.
const LOOKED: [&str; 2] = [ALLOCATIONS, ALLOCATED];
const ALLOCATIONS: &str = "ashlar_process_allocations_total";
const ALLOCATED: &str = "ashlar_process_allocated_bytes_total";

/// Everything counted: metrics by their names, `calls` (system calls), `ring_calls` (io_uring's among them), `switches`
/// (of threads that waited), `written_bytes` (to storage, as the kernel sees it).
pub type Counts = BTreeMap<String, f64>;

/// Measures a store that is at rest but for what is measured.
pub struct Meter<'a> {
    store: &'a Store,
    /// What it counts in a second by itself, for want of work.
    rest: Counts,
    /// What a look at its metrics costs.
    look: Counts,
}

impl<'a> Meter<'a> {
    /// Looks at the store at rest first, so that a slow machine's long run is not held against what ran.
    pub fn new(store: &'a Store) -> Self {
        let (first, second) = (metrics(store), metrics(store));
        let look = LOOKED.map(|name| (name.to_owned(), second[name] - first[name])).into();
        let mut meter = Self { store, rest: Counts::new(), look };
        let mut rest = meter.of(|| sleep(REST));
        rest.values_mut().for_each(|count| *count /= REST.as_secs_f64());
        meter.rest = rest;
        meter
    }

    /// In a second at rest.
    pub fn rest(&self) -> &Counts {
        &self.rest
    }

    /// What `work` made the store count. Without system calls if they can't be counted here.
    pub fn of(&self, work: impl FnOnce()) -> Counts {
        let mut before = settled(self.store);
        let perf = Perf::start(self.store.pid());
        before.extend(process(self.store.pid()));
        let ((), seconds) = timed(work);
        let mut after = process(self.store.pid());
        let calls = perf.map(Perf::stop);
        let first = metrics(self.store);
        after.extend(settled(self.store));
        // Of these what the first look says, the others' costs being in the last.
        after.extend(LOOKED.map(|name| (name.to_owned(), first[name] - self.look[name])));
        let since = |name: &String, value: f64| value - before.get(name).unwrap_or(&0.0);
        let mut counts: Counts =
            after.iter().map(|(name, value)| (name.clone(), since(name, *value))).collect();
        counts.extend(calls.into_iter().flatten());
        for name in AT_REST_TOO {
            if let (Some(count), Some(rest)) = (counts.get_mut(name), self.rest.get(name)) {
                *count -= rest * seconds;
            }
        }
        counts
    }
}

/// The daemon's metrics. Chunk servers publish theirs now and then: read when two looks saw the same.
fn settled(store: &Store) -> Counts {
    let mut last = Counts::new();
    eventually("chunk servers that rest", Duration::from_secs(60), || {
        sleep(Duration::from_millis(400));
        let now = metrics(store);
        let requests = |counts: &Counts| counts.get("ashlar_disk_writes_total").copied();
        let rests = requests(&now).is_some() && requests(&now) == requests(&last);
        last = now;
        rests.then_some(())
    });
    last
}

/// Every family of `/metrics`, summed over its labels.
fn metrics(store: &Store) -> Counts {
    let url = format!("{}/metrics", store.env("ASHLAR_ADMIN"));
    let output = Command::new("curl").args(["-fsS", "--noproxy", "*", &url]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut counts = Counts::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        *counts.entry(family.to_owned()).or_default() += value.parse::<f64>().unwrap();
    }
    counts
}

/// What the kernel counts of a process.
fn process(pid: u32) -> Counts {
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let written = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    let mut switches = 0;
    for thread in std::fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        // One that ended meanwhile has no status any more.
        let status = std::fs::read_to_string(thread.unwrap().path().join("status")).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        switches += line.map_or(0, |count| count.trim().parse::<u64>().unwrap());
    }
    let written: u64 = written.parse().unwrap();
    [("written_bytes", written), ("switches", switches)]
        .map(|(name, value)| (name.to_owned(), value as f64))
        .into()
}

/// `perf stat` on a process, counting for as long as a `cat` runs.
struct Perf {
    child: Child,
    report: tempfile::NamedTempFile,
}

impl Perf {
    /// `None`, said aloud, where the kernel does not let us count.
    fn start(pid: u32) -> Option<Self> {
        let report = tempfile::NamedTempFile::new().unwrap();
        let events = [SYSTEM_CALLS, YIELDS, RING_CALLS].join(",");
        let mut command = Command::new("perf");
        command.args(["stat", "-x,", "-e", &events, "-p", &pid.to_string(), "-o"]).arg(report.path());
        command.args(["--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().ok()?;
        // The echo says that perf counts: it starts the command after that.
        let mut echo = [0];
        let sent = child.stdin.as_mut().unwrap().write_all(b"x");
        let counts = sent.and_then(|()| child.stdout.as_mut().unwrap().read_exact(&mut echo));
        if counts.is_err() {
            let output = child.wait_with_output().unwrap();
            eprintln!("perf can't count: {}", String::from_utf8_lossy(&output.stderr));
            return None;
        }
        Some(Self { child, report })
    }

    fn stop(mut self) -> Counts {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success());
        let report = std::fs::read_to_string(self.report.path()).unwrap();
        let count = |event: &str| -> f64 {
            let line = report.lines().find(|line| line.contains(event)).unwrap_or_else(|| panic!("{report}"));
            line.split(',').next().unwrap().parse().unwrap_or_else(|_| panic!("{event}: {report}"))
        };
        [("calls", count(SYSTEM_CALLS) - count(YIELDS)), ("ring_calls", count(RING_CALLS))]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}
