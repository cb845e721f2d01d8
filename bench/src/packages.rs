//! Programs that peers need: found, or installed from Debian's packages when that was asked for.

use crate::machine::say_aside;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A file that a package brings.
#[derive(Debug, Clone, Copy)]
pub struct Needed {
    /// A program's name, looked for in PATH and /usr/sbin, or the pattern of a file's path up to a `*`.
    pub file: &'static str,
    pub package: &'static str,
}

/// What is there, after installing what was missing if `install`. The inner error is for the reader: which packages
/// are missing and how to get them.
pub fn ensure(needed: &[Needed], install: bool) -> Result<Result<(), String>> {
    let lacking = || {
        let mut packages =
            needed.iter().filter(|need| !is_there(need.file)).map(|need| need.package).collect::<Vec<_>>();
        packages.dedup();
        packages
    };
    let missing = lacking();
    if missing.is_empty() {
        return Ok(Ok(()));
    }
    let how = format!("apt-get install --no-install-recommends {}", missing.join(" "));
    if !install {
        return Ok(Err(format!("not installed: {how} (or --install-peers)")));
    }
    say_aside(&format!("installing {}", missing.join(" ")));
    apt_get(&missing)?;
    match lacking() {
        still if still.is_empty() => Ok(Ok(())),
        still => bail!("{} is installed and its program is not there", still.join(", ")),
    }
}

fn apt_get(packages: &[&str]) -> Result<()> {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = Command::new(if is_root { "env" } else { "sudo" });
    if !is_root {
        command.args(["-n", "env"]);
    }
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "-y", "--no-install-recommends"]);
    let command = command.args(["-o", "DPkg::Lock::Timeout=300"]).args(packages).stdin(Stdio::null());
    let output = command.output().context("starting apt-get")?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    bail!("apt-get install {}: {}", packages.join(" "), said.lines().last().unwrap_or("failed"))
}

/// Where a program is.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Daemons lie where a user's PATH does not look.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    folders.map(|folder| folder.join(program)).find(|path| path.is_file())
}

fn is_there(file: &str) -> bool {
    if !file.contains('/') {
        return find(file).is_some();
    }
    let Some((folder, start)) = file.strip_suffix('*').and_then(|pattern| pattern.rsplit_once('/')) else {
        return Path::new(file).exists();
    };
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(start))
}

/// The first line that a program says of its version.
pub fn version(program: &Path, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).lines().next()?.trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_with_its_remedy() {
        let there = Needed { file: "sh", package: "dash" };
        let absent = Needed { file: "no-such-program-anywhere", package: "no-such-package" };
        assert_eq!(ensure(&[there], false).unwrap(), Ok(()));
        let why = ensure(&[there, absent], false).unwrap().unwrap_err();
        assert!(why.contains("apt-get install --no-install-recommends no-such-package"), "{why}");
    }

    #[test]
    fn files_are_found_by_their_start() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("block-rbd.so"), "").unwrap();
        let path = |name: &str| format!("{}/{name}", folder.path().display());
        assert!(is_there(&path("block-rb*")) && is_there(&path("block-rbd.so")));
        assert!(!is_there(&path("block-nfs*")) && !is_there(&path("block-nfs.so")));
    }
}
