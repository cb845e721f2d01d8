//! Ctrl-C and SIGTERM end a run without leaving servers or gigabytes behind.

use crate::limits::INTERRUPT_PATIENCE;
use crate::machine::{now, pause, say_aside};
use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

/// What a shell expects of a program that was interrupted.
const INTERRUPTED: i32 = 130;

/// From now on, either signal ends every process that this one started, removes `folder`, and ends this one.
pub fn clean_up(folder: &Path) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let entered = runtime.enter();
    let mut signals = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(entered);
    let folder = folder.to_owned();
    let wait = move || {
        runtime.block_on(async {
            tokio::select! {
                _ = signals.0.recv() => {}
                _ = signals.1.recv() => {}
            }
        });
        say_aside("interrupted: ending what was started");
        end(&folder);
        std::process::exit(INTERRUPTED);
    };
    thread::Builder::new().name("interrupt".into()).spawn(wait).context("watching for signals")?;
    Ok(())
}

fn end(folder: &PathBuf) {
    let deadline = now() + INTERRUPT_PATIENCE;
    let mut how = Signal::TERM;
    loop {
        let running = children();
        // Not even SIGKILL ends one whose disk hangs.
        if running.is_empty() || now() > deadline + INTERRUPT_PATIENCE {
            break;
        }
        if now() > deadline {
            how = Signal::KILL;
        }
        for child in running {
            // It may be gone since.
            let _ = kill_process(child, how);
        }
        pause(Duration::from_millis(200));
    }
    if let Err(error) = fs::remove_dir_all(folder) {
        say_aside(&format!("{} is left: {error}", folder.display()));
    }
}

/// Processes of this one that still run; those that only wait to be reaped do not count.
fn children() -> Vec<Pid> {
    let own = std::process::id();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let child = |entry: fs::DirEntry| {
        let pid = entry.file_name().to_str()?.parse::<i32>().ok()?;
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        is_running_child(&stat, own).then(|| Pid::from_raw(pid)).flatten()
    };
    entries.filter_map(child).collect()
}

/// The state and the parent are the first two fields after the name, which may hold anything.
fn is_running_child(stat: &str, own: u32) -> bool {
    let Some((_, rest)) = stat.rsplit_once(')') else { return false };
    let mut fields = rest.split_whitespace();
    let state = fields.next();
    let parent = fields.next().and_then(|parent| parent.parse().ok());
    parent == Some(own) && state != Some("Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_own_children_that_run_are_ended() {
        for (stat, is) in [
            ("7 (ceph-osd) S 42 7 7", true),
            ("7 (a) b) R 42 7 7", true),
            ("7 (sh) Z 42 7 7", false),
            ("7 (sh) S 43 7 7", false),
            ("7 (sh", false),
        ] {
            assert_eq!(is_running_child(stat, 42), is, "{stat}");
        }
    }
}
