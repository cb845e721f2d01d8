//! Ours: `ashlar up` and a volume attached as a user would.

use super::{Process, Side};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::thread;

const VOLUME: &str = "bench";

/// Starts a store with three replicas in `folder` and attaches a volume of `size` bytes.
pub fn start(folder: &Path, size: u64, binary: Option<&Path>) -> Result<Side> {
    let binary = binary.map_or_else(beside_us, |path| Ok(path.to_owned()))?;
    let data = folder.join("ashlar");
    // A log needs room to clean in; the files are sparse.
    let disk_size = format!("{}M", (size >> 20) * 5 / 2 + 2048);
    let mut command = Command::new(&binary);
    command.arg("up").arg("--data").arg(&data);
    command.args(["--s3", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--disk-size", &disk_size]);
    let mut server = Server::start("ashlar up", command.stdout(Stdio::piped()), folder.join("ashlar.log"))?;
    wait_until_ready(&mut server)?;

    let environment = read_environment(&data.join("env.sh"))?;
    let socket = folder.join("ours.sock");
    let ashlar = |arguments: &[&str]| -> Result<()> {
        let output = Command::new(&binary)
            .args(arguments)
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .output()
            .with_context(|| format!("running {}", binary.display()))?;
        if output.status.success() {
            return Ok(());
        }
        bail!("ashlar {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
    };
    ashlar(&["volume", "create", VOLUME, "--size", &format!("{}M", size >> 20)])?;
    let path = socket.to_str().context("the folder's path is not text")?;
    ashlar(&["volume", "attach", VOLUME, "--socket", path])?;
    server.wait_for_socket(&socket)?;
    Ok(Side {
        name: "ashlar",
        socket,
        durability:
            "three replicas on three files, a checksum per 4 KiB; O_DIRECT; a write is acked when the \
                     devices of all three have it, a flush is fdatasync on all three"
                .into(),
        process: Process::Started(server),
    })
}

fn beside_us() -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("ashlar");
    if !path.exists() {
        bail!("{} is missing: cargo build --release -p ashlar, or name one with --ashlar", path.display());
    }
    Ok(path)
}

/// Waits for the line that says so, and keeps reading after it so that the pipe never fills.
fn wait_until_ready(server: &mut Server) -> Result<()> {
    let stdout = server.take_stdout().context("the server's output is piped")?;
    let (tell, told) = sync_channel(1);
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            if line.starts_with("ready") {
                let _ = tell.try_send(());
            }
        }
    });
    server.wait_until("line that starts with \"ready\"", || told.try_recv().is_ok())
}

/// The variables that `env.sh` exports: lines of `export NAME=VALUE`, the value perhaps in quotes.
fn read_environment(path: &Path) -> Result<Vec<(String, String)>> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    let variable = |line: &str| {
        let line = line.trim();
        let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
        let is_name = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        let value = value.trim_matches(['\'', '"']);
        is_name.then(|| (name.to_owned(), value.to_owned()))
    };
    Ok(text.lines().filter_map(variable).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_are_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("env.sh");
        std::fs::write(&path, "# a comment = no\nexport A=1\nexport B='x=y'\nC=\"z\"\n\n").unwrap();
        let want = [("A", "1"), ("B", "x=y"), ("C", "z")].map(|(name, value)| (name.into(), value.into()));
        assert_eq!(read_environment(&path).unwrap(), want);
    }
}
