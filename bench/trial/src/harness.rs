//! A store under test: starts `ashlar up`, runs the CLI against it, stops or kills it by pid.

use crate::process::{Daemon, program};
use serde_json::Value;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// A data folder, and the daemon that runs on it, if one does.
pub struct Store {
    pub dir: tempfile::TempDir,
    args: Vec<String>,
    daemon: Option<Running>,
}

struct Running {
    daemon: Daemon,
    env: BTreeMap<String, String>,
}

impl Store {
    /// A store with disks of this size, started.
    pub fn start(disk_size: &str) -> Self {
        let mut store = Self::new(disk_size);
        store.up();
        store
    }

    /// The same, with more flags.
    pub fn start_with(disk_size: &str, flags: &[&str]) -> Self {
        let mut store = Self::new(disk_size);
        store.args.extend(flags.iter().map(|&flag| flag.to_owned()));
        store.up();
        store
    }

    pub fn new(disk_size: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("ashlar").tempdir().unwrap();
        Self { dir, args: vec!["--disk-size".into(), disk_size.into()], daemon: None }
    }

    /// The data folder.
    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// The file of the pool's keys, which is made when one is first needed.
    pub fn pool_key(&self) -> PathBuf {
        self.dir.path().join("pool.key")
    }

    pub fn disk_file(&self, index: usize) -> PathBuf {
        self.data().join(format!("disks/disk{index}.img"))
    }

    /// Starts the daemon and waits for its `ready` line.
    pub fn up(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        let mut command = clean(program());
        command
            .arg("up")
            .arg("--data")
            .arg(self.data())
            .args(["--s3", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--pool-key")
            .arg(self.pool_key())
            .args(&self.args);
        let daemon = Daemon::start("ashlar up", &mut command, &self.dir.path().join("up.log"));
        let env = read_env(&self.data().join("env.sh"));
        self.daemon = Some(Running { daemon, env });
    }

    /// Starts the daemon and kills it before it may be ready, after this time.
    pub fn up_and_kill(&mut self, after: Duration) {
        let mut command = clean(program());
        command
            .arg("up")
            .arg("--data")
            .arg(self.data())
            .args(["--s3", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .arg("--pool-key")
            .arg(self.pool_key())
            .args(&self.args);
        let daemon = Daemon::launch("ashlar up", &mut command, &self.dir.path().join("up.log"));
        sleep(after);
        daemon.kill();
    }

    /// What `up` printed, to its ready line.
    pub fn stdout(&self) -> &str {
        &self.daemon.as_ref().expect("it runs").daemon.stdout
    }

    /// A variable of env.sh.
    pub fn env(&self, name: &str) -> String {
        self.daemon.as_ref().expect("it runs").env[name].clone()
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        self.daemon.take().expect("it runs").daemon.stop();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.take().expect("it runs").daemon.kill();
    }

    /// The daemon's process.
    pub fn pid(&self) -> u32 {
        self.daemon.as_ref().expect("it runs").daemon.pid()
    }

    /// The daemon's log so far.
    pub fn log(&self) -> String {
        crate::process::tail(&self.dir.path().join("up.log"))
    }

    /// A CLI command with env.sh sourced.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = clean(program());
        command.args(args).envs(&self.daemon.as_ref().expect("it runs").env).stdin(Stdio::null());
        command
    }

    /// Runs the CLI and expects success; its stdout.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        expect_success(&format!("ashlar {}", args.join(" ")), &output, &self.log())
    }

    /// The same with `-o json`, parsed.
    pub fn json(&self, args: &[&str]) -> Value {
        let mut args = args.to_vec();
        args.extend(["-o", "json"]);
        serde_json::from_str(&self.cli(&args)).unwrap()
    }

    /// Runs the CLI and expects this exit code; its one line of stderr.
    pub fn fails(&self, code: i32, args: &[&str]) -> String {
        refused(code, &self.command(args).output().unwrap())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        drop(self.daemon.take());
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "the daemon's log:\n{}", self.log());
        }
    }
}

/// A command without this environment's own settings of AWS and Ashlar.
pub fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("AWS_")
            || name.starts_with("ASHLAR_")
            || name.to_ascii_lowercase().ends_with("_proxy")
        {
            command.env_remove(name);
        }
    }
    command
}

/// Asserts a failure told in one line, and returns it.
#[track_caller]
pub fn refused(code: i32, output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    // A daemon that fails late has logged before; the CLI logs nothing.
    let is_log = |line: &&str| line.starts_with("20") && (line.contains(" INFO ") || line.contains(" WARN "));
    let line = text.lines().filter(|line| !is_log(line)).collect::<Vec<_>>().join("\n");
    assert_eq!(output.status.code(), Some(code), "{line}");
    assert!(line.starts_with("error: "), "{line}");
    assert_eq!(line.lines().count(), 1, "{line}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
    line
}

#[track_caller]
pub fn expect_success(what: &str, output: &Output, log: &str) -> String {
    assert!(
        output.status.success(),
        "{what}: {}\n{}\n{}\n{log}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Says that the calling test can't run here; `make test` counts it.
pub fn skip(test: &str, why: &str) {
    let line = format!("test {test}: {why}\n");
    let _ = write!(std::io::stderr(), "SKIPPED {line}");
    if let Some(path) = std::env::var_os("ASHLAR_TEST_SKIPS") {
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}

/// Whether a program is there.
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

pub fn sha256(data: &[u8]) -> String {
    use sha2::Digest;
    hex::encode(sha2::Sha256::digest(data))
}

/// Bytes that look random and are the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = Vec::with_capacity(len + 8);
    while out.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(len);
    out
}

/// The most that one look at a deadline counts. Whoever stops this process for minutes (a debugger, another's
/// measurement) stops its relays and disks too: that is no slowness of those who are waited for.
pub const MOST_BETWEEN_LOOKS: Duration = Duration::from_secs(5);

/// How long a wait may still go on, counted while this process runs.
pub struct Deadline {
    left: Cell<Duration>,
    looked: Cell<Instant>,
}

pub fn deadline(after: Duration) -> Deadline {
    Deadline { left: Cell::new(after), looked: Cell::new(now()) }
}

impl Deadline {
    /// Looked at now and then while waiting.
    pub fn over(&self) -> bool {
        let passed = now() - self.looked.replace(now());
        self.left.set(self.left.get().saturating_sub(passed.min(MOST_BETWEEN_LOOKS)));
        self.left.get().is_zero()
    }
}

/// The monotonic clock.
#[expect(clippy::disallowed_methods, reason = "trials of real processes measure real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Seconds that something took.
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = now();
    let result = work();
    (result, start.elapsed().as_secs_f64())
}

/// Between two looks at something awaited.
pub fn pause() {
    sleep(Duration::from_millis(25));
}

#[expect(clippy::disallowed_methods, reason = "tests of real processes wait in real time")]
pub fn sleep(time: Duration) {
    std::thread::sleep(time);
}

static INTERRUPTED: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Whoever waits for something panics soon, so that what was started is stopped on the way out.
pub fn interrupt() {
    INTERRUPTED.store(true, std::sync::atomic::Ordering::SeqCst);
}

/// Panics if the trial was interrupted.
#[track_caller]
pub fn look_for_interrupt() {
    let interrupted = INTERRUPTED.load(std::sync::atomic::Ordering::SeqCst);
    assert!(!interrupted || std::thread::panicking(), "interrupted");
}

/// Waits this long, or until the trial is interrupted.
#[track_caller]
pub fn rest(time: Duration) {
    let end = deadline(time);
    while !end.over() {
        look_for_interrupt();
        sleep(Duration::from_millis(20));
    }
}

/// Waits until `done` gives something.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let end = deadline(limit);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(!end.over(), "{what} did not happen in {} s", limit.as_secs());
        look_for_interrupt();
        pause();
    }
}

/// The variables that an env.sh exports.
pub fn read_env(path: &Path) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}

/// splitmix64: the same for the same seed.
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    #[expect(clippy::should_implement_trait, reason = "it never ends")]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    /// Below `bound`, which is not 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// Another one each time; `ASHLAR_TEST_SEED` repeats one.
pub fn seed() -> u64 {
    let given = std::env::var("ASHLAR_TEST_SEED").ok().and_then(|text| text.parse().ok());
    given.unwrap_or_else(|| {
        let mut bytes = [0; 8];
        let mut source = std::fs::File::open("/dev/urandom").unwrap();
        std::io::Read::read_exact(&mut source, &mut bytes).unwrap();
        u64::from_le_bytes(bytes)
    })
}
