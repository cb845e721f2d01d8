//! Ceph's RBD: three OSDs with three replicas, served over vhost-user-blk by qemu-storage-daemon with librbd, so that
//! the client is the same. Only a daemon with the very version of Debian's block driver loads it; where the machine's
//! own is another, one of that version is unpacked beside it.

use super::Shape;
use super::qsd;
use super::side::{Disks, Keeper, Side};
use crate::ceph::Ceph;
use crate::counters::Member;
use crate::machine::say_aside;
use crate::packages;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub const NAME: &str = "ceph";

pub fn start(folder: &Path, shape: Shape, install: bool) -> Result<Result<Side, String>> {
    // The driver needs libraries of the same packages as the cluster, which so come first.
    if let Err(why) = packages::ensure(&crate::ceph::NEEDED, install)? {
        return Ok(Err(why));
    }
    let daemon = match daemon(install)? {
        Ok(daemon) => daemon,
        Err(why) => return Ok(Err(why)),
    };
    let ceph = match Ceph::start(folder, u64::from(shape.volumes) * (shape.area >> 20), install)? {
        Ok(ceph) => ceph,
        Err(why) => return Ok(Err(why)),
    };
    ceph.create_pool("rbd", "rbd")?;
    for volume in 0..shape.volumes {
        let size = format!("{}M", shape.size >> 20);
        ceph.tool("rbd", &["create", "--size", &size, &format!("rbd/volume{volume}")])?;
    }
    let conf = ceph.conf();
    // cache.direct switches librbd's write-back cache off: a write is acked when it is on all three.
    let driver = |volume: u32| {
        format!("driver=rbd,pool=rbd,image=volume{volume},conf={},cache.direct=on", conf.display())
    };
    let (server, sockets) = qsd::serve(&daemon, folder, "ceph", (shape.volumes, &driver))?;
    let mut members = ceph.members();
    members.push(Member::one(server.pid(), "librbd and daemon"));
    let daemon_version = packages::version(&daemon, "--version").unwrap_or_default();
    Ok(Ok(Side {
        name: NAME,
        version: Ceph::version().map(|version| format!("{version}, {daemon_version}")),
        durability:
            "RBD, three replicas on three OSDs (BlueStore on files, checksums), librbd without write-back \
                     cache; a write is acked when all three have it, a flush has nothing left to do"
                .into(),
        members,
        disks: Disks::Sockets(sockets),
        keeper: Keeper::Ceph { _client: server, _cluster: ceph },
    }))
}

/// A daemon that knows RBD: the machine's, or one unpacked earlier, or one unpacked now if `install`.
fn daemon(install: bool) -> Result<Result<PathBuf, String>> {
    let of_machine = PathBuf::from(qsd::NAME);
    if knows_rbd(&of_machine) {
        return Ok(Ok(of_machine));
    }
    let cache = cache()?;
    let unpacked = cache.join("usr/bin").join(qsd::NAME);
    if knows_rbd(&unpacked) {
        return Ok(Ok(unpacked));
    }
    if !install {
        return Ok(Err(format!(
            "this machine's {} has no RBD driver: apt-get install qemu-block-extra of the same version, or \
             --install-peers, which unpacks Debian's daemon and driver beside it",
            qsd::NAME
        )));
    }
    unpack(&cache)?;
    match knows_rbd(&unpacked) {
        true => Ok(Ok(unpacked)),
        false => bail!("{} does not load its RBD driver", unpacked.display()),
    }
}

/// Whether its complaint is about the configuration, which is not there, and not about the driver.
fn knows_rbd(daemon: &Path) -> bool {
    let blockdev = "driver=rbd,node-name=probe,pool=p,image=i,conf=/nonexistent/ceph.conf";
    let output = Command::new(daemon).args(["--blockdev", blockdev]).stdin(Stdio::null()).output();
    output.is_ok_and(|output| {
        String::from_utf8_lossy(&output.stderr).contains("/nonexistent/ceph.conf: No such file")
    })
}

fn cache() -> Result<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || std::env::var_os("HOME").map(|home| Path::new(&home).join(".cache"));
    let cache = cache.or_else(home).context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(cache.join("ashlar-bench").join("qemu-with-rbd"))
}

/// Downloads the driver and the daemon of its version from Debian, and unpacks them without installing.
fn unpack(cache: &Path) -> Result<()> {
    say_aside(&format!("unpacking Debian's {} with its RBD driver in {}", qsd::NAME, cache.display()));
    let policy = Command::new("apt-cache")
        .args(["policy", "qemu-block-extra"])
        .output()
        .context("starting apt-cache")?;
    let policy = String::from_utf8_lossy(&policy.stdout).into_owned();
    let version = candidate(&policy).context("apt knows no qemu-block-extra (apt-get update?)")?;
    let packages = cache.join("packages");
    std::fs::create_dir_all(&packages).with_context(|| format!("making {}", packages.display()))?;
    let mut fetch = Command::new("apt-get");
    fetch.arg("download").current_dir(&packages).stdin(Stdio::null());
    fetch.args(["qemu-system-common", "qemu-block-extra"].map(|name| format!("{name}={version}")));
    let output = fetch.output().context("starting apt-get")?;
    if !output.status.success() {
        bail!("apt-get download: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    for package in std::fs::read_dir(&packages)? {
        let status = Command::new("dpkg").arg("-x").arg(package?.path()).arg(cache).status();
        if !status.context("starting dpkg")?.success() {
            bail!("dpkg can't unpack a package of {}", packages.display());
        }
    }
    Ok(())
}

/// The version that apt would install.
fn candidate(policy: &str) -> Option<&str> {
    let version = policy.lines().find_map(|line| line.trim().strip_prefix("Candidate: "))?;
    (version != "(none)").then_some(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_candidate_is_what_apt_would_install() {
        let policy = "qemu-block-extra:\n  Installed: (none)\n  Candidate: 1:7.2+dfsg-7\n  Version table:\n";
        assert_eq!(candidate(policy), Some("1:7.2+dfsg-7"));
        assert_eq!(candidate("x:\n  Candidate: (none)\n"), None);
        assert_eq!(candidate(""), None);
    }
}
