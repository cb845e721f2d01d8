//! Counts a side's system calls, by perf's tracepoint of their entry.
//!
//! Counting costs every call some time, so it happens in a pass of its own, after the one whose times count.

use super::Member;
use crate::limits::PERF_TIMEOUT;
use crate::machine::{now, pause};
use crate::report::Report;
use crate::report::figure::{SYSTEM_CALLS, Sample, count};
use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Counts where it can; where it can't, the report says why, and it is not tried again.
#[derive(Debug, Default)]
pub struct Census {
    is_impossible: bool,
}

impl Census {
    /// Counts the system calls of a side while `work` runs, which answers how many operations it did. A side without
    /// processes has none to count.
    pub fn system_calls(
        &mut self,
        members: &[Member],
        report: &mut Report,
        work: impl FnOnce() -> Result<u64>,
    ) -> Result<Option<SystemCalls>> {
        if self.is_impossible || members.is_empty() {
            return Ok(None);
        }
        match system_calls(members, work)? {
            Ok(counted) => Ok(Some(counted)),
            Err(why) => {
                self.is_impossible = true;
                report.note(why);
                Ok(None)
            }
        }
    }
}

/// System calls of `members` while `work` runs, which answers how many operations it did. The inner error says why
/// nothing could be counted on this machine; `work` has not run then.
fn system_calls(
    members: &[Member],
    work: impl FnOnce() -> Result<u64>,
) -> Result<Result<SystemCalls, String>> {
    let folder = tempfile::tempdir()?;
    let mut perf = match Perf::start(members, folder.path()) {
        Ok(perf) => perf,
        Err(error) => return Ok(Err(format!("system calls are not counted: {error:#}"))),
    };
    perf.tell("enable\n")?;
    let operations = work();
    perf.tell("disable\n")?;
    let calls = perf.end();
    Ok(Ok(SystemCalls { calls: calls?, operations: operations? }))
}

#[derive(Debug, Clone, Copy)]
pub struct SystemCalls {
    pub calls: u64,
    pub operations: u64,
}

impl SystemCalls {
    pub fn put(self, sample: &mut Sample) {
        sample.put(&SYSTEM_CALLS, count(self.calls) / count(self.operations));
    }
}

/// perf, which counts between `enable` and `disable`.
struct Perf {
    child: Child,
    control: File,
    answers: File,
    result: std::path::PathBuf,
}

impl Perf {
    fn start(members: &[Member], folder: &Path) -> Result<Self> {
        let (control, answers) = (folder.join("control"), folder.join("answers"));
        for path in [&control, &answers] {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).context("making a FIFO")?;
        }
        // Both ends in one descriptor: opening a FIFO does not wait for the other side then.
        let open = |path: &Path| {
            let mut options = File::options();
            options.read(true).write(true).custom_flags(libc::O_NONBLOCK).open(path)
        };
        let result = folder.join("result");
        let pids = members.iter().map(|member| member.pid.to_string()).collect::<Vec<_>>().join(",");
        let mut perf = Self {
            control: open(&control)?,
            answers: open(&answers)?,
            child: Command::new("perf")
                .args(["stat", "-x,", "-e", "raw_syscalls:sys_enter", "-D", "-1", "-p", &pids, "-o"])
                .arg(&result)
                .arg(format!("--control=fifo:{},{}", control.display(), answers.display()))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(File::create(folder.join("errors"))?)
                .spawn()
                .context("perf can't be started (Debian: linux-perf)")?,
            result,
        };
        // The first answer also shows that the kernel lets it count.
        if let Err(error) = perf.tell("disable\n") {
            let said = std::fs::read_to_string(folder.join("errors")).unwrap_or_default();
            let said = said.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
            bail!("perf: {error:#} {said}");
        }
        Ok(perf)
    }

    /// Gives a command and waits until it is carried out.
    fn tell(&mut self, command: &str) -> Result<()> {
        self.control.write_all(command.as_bytes()).context("telling perf")?;
        let end = now() + PERF_TIMEOUT;
        let mut answer = Vec::new();
        let mut some = [0; 64];
        loop {
            match self.answers.read(&mut some) {
                Ok(len) => answer.extend_from_slice(&some[..len]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error).context("hearing perf"),
            }
            if answer.starts_with(b"ack\n") {
                return Ok(());
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if now() > end {
                bail!("it does not answer");
            }
            pause(Duration::from_millis(1));
        }
    }

    fn end(&mut self) -> Result<u64> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-INT", &pid]).status().context("ending perf")?;
        self.child.wait()?;
        let text = std::fs::read_to_string(&self.result).context("reading perf's result")?;
        parse(&text).with_context(|| format!("perf's result is not as expected: {text:?}"))
    }
}

impl Drop for Perf {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Lines of `COUNT,,EVENT,...`; comments and `<not counted>` apart.
fn parse(text: &str) -> Option<u64> {
    let mut counts = text.lines().filter(|line| line.contains("raw_syscalls:sys_enter"));
    counts.next()?.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perfs_lines_are_read() {
        let text = "# started on Mon Nov 23 16:20:00 2026\n\n109,,raw_syscalls:sys_enter,1000,100.00,,\n";
        assert_eq!(parse(text), Some(109));
        assert_eq!(parse("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"), None);
        assert_eq!(parse(""), None);
    }

    /// Where perf may count, it counts what this process does; where it may not, it says why.
    #[test]
    fn own_calls_are_counted_or_the_reason_is_told() {
        let work = || {
            // Reading the clock's file is a few calls each time.
            (0..500).for_each(|_| drop(std::fs::read("/proc/self/comm")));
            Ok(500)
        };
        match system_calls(&[Member::one(std::process::id(), "all")], work).unwrap() {
            Ok(counted) => assert!(counted.calls >= 1500 && counted.operations == 500, "{counted:?}"),
            Err(why) => assert!(why.contains("not counted") && why.contains("perf"), "{why}"),
        }
    }
}
