//! A daemon as a child process: started, watched, signalled and ended by its pid.

use crate::harness::{deadline, eventually, have, pause};
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// Enough for a debug build on a busy machine.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(60);
/// Bytes of a log's end that are shown.
const TAIL_BYTES: usize = 6000;

static GIVEN: OnceLock<PathBuf> = OnceLock::new();

/// Puts this binary on trial from now on; only the first call counts.
pub fn use_program(path: PathBuf) {
    let _ = GIVEN.set(path);
}

/// The binary on trial: the one that was given, `ASHLAR_PROGRAM`, or the one that lies beside the running test or
/// benchmark.
pub fn program() -> PathBuf {
    if let Some(program) = GIVEN.get() {
        return program.clone();
    }
    if let Some(program) = std::env::var_os("ASHLAR_PROGRAM") {
        return program.into();
    }
    let here = std::env::current_exe().unwrap();
    let beside = here.with_file_name("ashlar");
    // Cargo puts tests one folder below.
    let above = here.parent().and_then(Path::parent).map(|dir| dir.join("ashlar"));
    let found = [Some(beside), above].into_iter().flatten().find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("no ashlar beside {}; build it, or set ASHLAR_PROGRAM", here.display()))
}

/// The same command as a process that the kernel kills when the one who started it ends without an end, and that
/// an interrupt from the keyboard does not reach.
fn bound_to_us(command: &Command) -> Command {
    let mut bound = if have("setpriv") {
        let mut bound = Command::new("setpriv");
        bound.args(["--pdeathsig", "KILL", "--"]).arg(command.get_program());
        bound
    } else {
        Command::new(command.get_program())
    };
    bound.args(command.get_args()).process_group(0);
    if let Some(dir) = command.get_current_dir() {
        bound.current_dir(dir);
    }
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bound.env(name, value),
            None => bound.env_remove(name),
        };
    }
    bound
}

/// A running daemon. Dropping it ends it.
pub struct Daemon {
    name: String,
    child: Option<Child>,
    log: PathBuf,
    /// What it printed, to its ready line.
    pub stdout: String,
}

impl Daemon {
    /// Starts `command` and waits for the line that starts with `ready`; what it logs is appended to `log`.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Self {
        let mut daemon = Self::launch(name, command, log);
        daemon.stdout = daemon.wait_ready();
        daemon
    }

    /// Starts `command` and waits for nothing.
    pub fn launch(name: &str, command: &mut Command, log: &Path) -> Self {
        let errors = std::fs::OpenOptions::new().create(true).append(true).open(log).unwrap();
        let mut command = bound_to_us(command);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(errors).spawn();
        let child = child.unwrap_or_else(|error| panic!("{name}: {error}"));
        Self { name: name.to_owned(), child: Some(child), log: log.to_owned(), stdout: String::new() }
    }

    fn wait_ready(&mut self) -> String {
        let out = self.child.as_mut().unwrap().stdout.take().unwrap();
        let (sender, receiver) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            let mut sender = Some(sender);
            // It goes on reading, so that the pipe never fills.
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
        match receiver.recv_timeout(START) {
            Ok(stdout) => stdout,
            Err(error) => panic!("{} did not get ready ({error}): {}", self.name, tail(&self.log)),
        }
    }

    /// A word of the ready line: the value of `name=value`.
    pub fn ready(&self, name: &str) -> String {
        let line = self.stdout.lines().last().unwrap_or_default();
        let value = line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{}: no {name} in {line:?}", self.name)).to_owned()
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// SIGTERM, and a clean end.
    pub fn stop(mut self) {
        let mut child = self.child.take().expect("it runs");
        send(child.id(), Signal::TERM);
        let status = eventually(&format!("the end of {}", self.name), STOP, || child.try_wait().unwrap());
        assert!(status.success(), "{} ended with {status}: {}", self.name, tail(&self.log));
    }

    /// SIGKILL.
    pub fn kill(mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(9), "{} ended by itself before: {}", self.name, tail(&self.log));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // It may have been stopped by SIGSTOP.
        send(child.id(), Signal::CONT);
        send(child.id(), Signal::TERM);
        let end = deadline(Duration::from_secs(30));
        while matches!(child.try_wait(), Ok(None)) && !end.over() {
            pause();
        }
        let _ = child.kill();
        let _ = child.wait();
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _ = kill_process(pid, signal);
}

/// The end of a log.
pub fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let start = text.len().saturating_sub(TAIL_BYTES);
    String::from_utf8_lossy(&text[start..]).into_owned()
}
