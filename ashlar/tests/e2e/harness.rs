//! A store under test: starts `ashlar up`, runs the CLI against it, stops or kills it by pid.

use serde_json::Value;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_ashlar");
/// Enough for a debug build on a busy machine.
const START: Duration = Duration::from_secs(60);

/// A data folder, and the daemon that runs on it, if one does.
pub struct Store {
    pub dir: tempfile::TempDir,
    args: Vec<String>,
    daemon: Option<Daemon>,
}

struct Daemon {
    child: Child,
    env: BTreeMap<String, String>,
    stdout: String,
}

impl Store {
    /// A store with disks of this size, started.
    pub fn start(disk_size: &str) -> Self {
        let mut store = Self::new(disk_size);
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

    pub fn disk_file(&self, index: usize) -> PathBuf {
        self.data().join(format!("disks/disk{index}.img"))
    }

    /// Starts the daemon and waits for its `ready` line.
    pub fn up(&mut self) {
        assert!(self.daemon.is_none(), "it runs already");
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.dir.path().join("up.log"))
            .unwrap();
        let mut child = clean(PROGRAM)
            .arg("up")
            .arg("--data")
            .arg(self.data())
            .args(["--s3", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
            .args(&self.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let out = child.stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let mut sender = Some(sender);
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                text.push_str(&line);
                text.push('\n');
                if line.starts_with("ready")
                    && let Some(sender) = sender.take()
                {
                    let _ = sender.send(std::mem::take(&mut text));
                }
            }
        });
        let stdout = match receiver.recv_timeout(START) {
            Ok(stdout) => stdout,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("ashlar up did not get ready ({error}): {}", self.log());
            }
        };
        let env = read_env(&self.data().join("env.sh"));
        self.daemon = Some(Daemon { child, env, stdout });
    }

    /// What `up` printed, to its ready line.
    pub fn stdout(&self) -> &str {
        &self.daemon.as_ref().expect("it runs").stdout
    }

    /// A variable of env.sh.
    pub fn env(&self, name: &str) -> String {
        self.daemon.as_ref().expect("it runs").env[name].clone()
    }

    /// SIGTERM, and a clean end.
    pub fn stop(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        signal(daemon.child.id(), rustix::process::Signal::TERM);
        let status = wait(&mut daemon.child, Duration::from_secs(60));
        assert!(status.success(), "up ended with {status}: {}", self.log());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let mut daemon = self.daemon.take().expect("it runs");
        daemon.child.kill().unwrap();
        let status = daemon.child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "it ended by itself before: {}", self.log());
    }

    /// The daemon's log so far.
    pub fn log(&self) -> String {
        let text = std::fs::read(self.dir.path().join("up.log")).unwrap_or_default();
        let start = text.len().saturating_sub(6000);
        String::from_utf8_lossy(&text[start..]).into_owned()
    }

    /// A CLI command with env.sh sourced.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = clean(PROGRAM);
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
        if let Some(mut daemon) = self.daemon.take() {
            signal(daemon.child.id(), rustix::process::Signal::TERM);
            let end = deadline(Duration::from_secs(30));
            while daemon.child.try_wait().unwrap().is_none() && !end.over() {
                pause();
            }
            let _ = daemon.child.kill();
            let _ = daemon.child.wait();
        }
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

/// A moment after which a wait is given up.
pub struct Deadline(std::time::Instant);

#[expect(clippy::disallowed_methods, reason = "tests of real processes wait in real time")]
pub fn deadline(after: Duration) -> Deadline {
    Deadline(std::time::Instant::now() + after)
}

impl Deadline {
    #[expect(clippy::disallowed_methods, reason = "tests of real processes wait in real time")]
    pub fn over(&self) -> bool {
        std::time::Instant::now() > self.0
    }
}

/// Seconds that something took.
#[expect(clippy::disallowed_methods, reason = "it measures")]
pub fn timed<T>(work: impl FnOnce() -> T) -> (T, f64) {
    let start = std::time::Instant::now();
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

/// Waits until `done` gives something.
#[track_caller]
pub fn eventually<T>(what: &str, limit: Duration, mut done: impl FnMut() -> Option<T>) -> T {
    let end = deadline(limit);
    loop {
        if let Some(value) = done() {
            return value;
        }
        assert!(!end.over(), "{what} did not happen in {} s", limit.as_secs());
        pause();
    }
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = rustix::process::kill_process(pid, signal);
}

fn wait(child: &mut Child, limit: Duration) -> ExitStatus {
    eventually("the daemon's end", limit, || child.try_wait().unwrap())
}

fn read_env(path: &Path) -> BTreeMap<String, String> {
    let mut text = String::new();
    std::fs::File::open(path).unwrap().read_to_string(&mut text).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("export ")?.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.trim_matches('\'').to_owned()))
        .collect()
}
