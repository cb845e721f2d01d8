//! A Ceph cluster for a comparison: one monitor, one manager, three OSDs with BlueStore on files of the same disk, pools
//! of three replicas, everything on loopback. Made anew for a run, and gone after it.

use crate::counters::Member;
use crate::limits::PEER_TOOL_TIMEOUT_S;
use crate::packages::{self, Needed};
use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Debian's packages of it.
pub const NEEDED: [Needed; 4] = [
    Needed { file: "ceph-mon", package: "ceph-mon" },
    Needed { file: "ceph-mgr", package: "ceph-mgr" },
    Needed { file: "ceph-osd", package: "ceph-osd" },
    Needed { file: "rbd", package: "ceph-common" },
];

/// Besides its data an OSD keeps its write-ahead log and its database in its file.
const OSD_EXTRA_MIB: u64 = 6 << 10;
const OSDS: u32 = 3;

/// A running cluster. Dropping it ends it.
pub struct Ceph {
    folder: PathBuf,
    /// The last one started is the first one to stop.
    servers: Vec<(Server, &'static str)>,
}

impl Ceph {
    /// Starts a cluster that has room for so many MiB three times. The inner error says what is missing.
    pub fn start(folder: &Path, data_mib: u64, install: bool) -> Result<Result<Self, String>> {
        if let Err(why) = packages::ensure(&NEEDED, install)? {
            return Ok(Err(why));
        }
        let mut ceph = Self { folder: folder.join("ceph"), servers: Vec::new() };
        ceph.configure(data_mib + data_mib / 4 + OSD_EXTRA_MIB)?;
        ceph.start_monitor().context("starting Ceph's monitor")?;
        fs::create_dir(ceph.folder.join("mgr.x"))?;
        ceph.daemon("ceph-mgr", "x", "manager")?;
        for osd in 0..OSDS {
            ceph.start_osd(&osd.to_string()).with_context(|| format!("starting OSD {osd}"))?;
        }
        Ok(Ok(ceph))
    }

    pub fn conf(&self) -> PathBuf {
        self.folder.join("ceph.conf")
    }

    /// Makes a pool of three replicas.
    pub fn create_pool(&self, name: &str, application: &str) -> Result<()> {
        self.tool("ceph", &["osd", "pool", "create", name, "32"])?;
        self.tool("ceph", &["osd", "pool", "application", "enable", name, application])?;
        Ok(())
    }

    /// Runs one of its command line tools, and answers what it printed.
    pub fn tool(&self, program: &str, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new("timeout");
        command.arg(PEER_TOOL_TIMEOUT_S.to_string()).arg(self.program(program)?);
        command.arg("-c").arg(self.conf()).args(arguments).stdin(Stdio::null());
        output(&mut command, &format!("{program} {}", arguments.join(" ")))
    }

    /// Starts another daemon of the cluster, such as a gateway: `program -f -i id`.
    pub fn daemon(&mut self, program: &str, id: &str, part: &'static str) -> Result<u32> {
        let mut command = Command::new(self.program(program)?);
        command.args(["-f", "-i", id, "-c"]).arg(self.conf()).stdout(Stdio::null());
        let server = Server::start(part, &mut command, self.folder.join(format!("{part}.{id}.out")))?;
        let pid = server.pid();
        self.servers.push((server, part));
        Ok(pid)
    }

    pub fn members(&self) -> Vec<Member> {
        self.servers.iter().map(|(server, part)| Member::one(server.pid(), part)).collect()
    }

    pub fn version() -> Option<String> {
        packages::version(&packages::find("ceph-osd")?, "--version")
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        packages::find(name).with_context(|| format!("{name} is missing"))
    }

    /// Without authentication and encryption, which would only slow it down; all else is as Ceph has it by default.
    fn configure(&self, osd_mib: u64) -> Result<()> {
        fs::create_dir_all(self.folder.join("run"))?;
        let folder = self.folder.display();
        let monitor = monitor_address()?;
        let text = format!(
            "[global]\n\
             fsid = {fsid}\n\
             mon host = {monitor}\n\
             mon initial members = a\n\
             auth cluster required = none\n\
             auth service required = none\n\
             auth client required = none\n\
             public addr = 127.0.0.1\n\
             cluster addr = 127.0.0.1\n\
             run dir = {folder}/run\n\
             admin socket = {folder}/run/$name.asok\n\
             pid file = {folder}/run/$name.pid\n\
             log file = {folder}/$name.log\n\
             keyring = {folder}/keyring\n\
             mon data = {folder}/mon.$id\n\
             mgr data = {folder}/mgr.$id\n\
             osd data = {folder}/osd.$id\n\
             osd pool default size = {OSDS}\n\
             osd pool default min size = 2\n\
             osd pool default pg autoscale mode = off\n\
             # All three are on one machine.\n\
             osd crush chooseleaf type = 0\n\
             osd objectstore = bluestore\n\
             bluestore block size = {osd_bytes}\n",
            fsid = uuid()?,
            osd_bytes = osd_mib << 20,
        );
        fs::write(self.conf(), text).context("writing ceph.conf")?;
        fs::write(self.folder.join("monitor"), monitor).context("keeping the monitor's address")
    }

    fn start_monitor(&mut self) -> Result<()> {
        let map = self.folder.join("monmap");
        let conf = fs::read_to_string(self.conf())?;
        let fsid = conf.lines().find_map(|line| line.strip_prefix("fsid = ")).context("it has an fsid")?;
        let monitor = fs::read_to_string(self.folder.join("monitor"))?;
        let mut make = Command::new(self.program("monmaptool")?);
        make.args(["--create", "--addv", "a", &monitor, "--fsid", fsid]).arg(&map);
        output(&mut make, "monmaptool")?;
        let mut make = Command::new(self.program("ceph-mon")?);
        make.args(["--mkfs", "-i", "a", "--monmap"]).arg(&map).arg("-c").arg(self.conf());
        output(&mut make, "ceph-mon --mkfs")?;
        self.daemon("ceph-mon", "a", "monitor")?;
        Ok(())
    }

    fn start_osd(&mut self, id: &str) -> Result<()> {
        let uuid = uuid()?;
        let given = self.tool("ceph", &["osd", "new", &uuid])?;
        if given.trim() != id {
            bail!("the cluster calls it {given:?}");
        }
        fs::create_dir(self.folder.join(format!("osd.{id}")))?;
        let mut make = Command::new(self.program("ceph-osd")?);
        make.args(["--mkfs", "-i", id, "--osd-uuid", &uuid, "-c"]).arg(self.conf());
        output(&mut make, "ceph-osd --mkfs")?;
        self.daemon("ceph-osd", id, "OSDs")?;
        Ok(())
    }
}

impl Drop for Ceph {
    fn drop(&mut self) {
        while let Some(last) = self.servers.pop() {
            drop(last);
        }
    }
}

/// A port that is free now, in the form that Ceph wants.
fn monitor_address() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    Ok(format!("[v2:127.0.0.1:{}]", listener.local_addr()?.port()))
}

fn uuid() -> Result<String> {
    let uuid = fs::read_to_string("/proc/sys/kernel/random/uuid").context("making a UUID")?;
    Ok(uuid.trim().to_owned())
}

fn output(command: &mut Command, what: &str) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("starting {what}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rev().take(3).collect::<Vec<_>>().join(" / ");
    bail!("{what}: {}: {last}", output.status)
}
