//! Every part as a process of its own: a voter, three chunk servers, a gateway, an agent.

use crate::fault_disk::FaultDisk;
use crate::harness::{clean, eventually, expect_success, read_env};
use crate::net::{Link, Namespace, Relay, Weather};
use crate::peer::Door;
use crate::process::{Daemon, program, tail};
use crate::s3_client::S3Client;
use rustix::process::Signal;
use serde_json::Value;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Machines with a disk in the pool.
pub const DISKS: usize = 3;
/// The same and one to spare.
const MACHINES: usize = DISKS + 1;
/// The machine whose disk is a [`FaultDisk`], if one is wanted.
pub const FAULT_MACHINE: usize = 2;
const VOTER: &str = "voter";

/// Where the parts run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// All on one loopback.
    Plain,
    /// Each chunk server in a network namespace of its own, behind relays.
    Relayed,
}

pub struct Fleet {
    disk_size: String,
    /// The machines whose disks are in the pool.
    used: Vec<usize>,
    voter: Option<Daemon>,
    disks: Vec<Option<Daemon>>,
    gateway: Option<Daemon>,
    agent: Option<Daemon>,
    env: BTreeMap<String, String>,
    token_file: String,
    admin_port: u16,
    s3_port: u16,
    // Before the namespaces they stand in.
    relays: Vec<(usize, usize, Relay)>,
    ports: Vec<u16>,
    namespaces: Vec<Arc<Namespace>>,
    /// After the daemons, and before the folder it is in.
    fault_disk: Option<FaultDisk>,
    pub dir: tempfile::TempDir,
}

/// Where a relay begins or ends: a disk's namespace, or the one of everything else.
pub const HOME: usize = usize::MAX;

impl Fleet {
    /// Starts everything, with disks of this size. Fails only for want of namespaces.
    pub fn start(disk_size: &str, network: Network, seed: u64) -> Result<Self, String> {
        Self::start_with(disk_size, network, seed, |_| {})
    }

    /// The same with a disk that fails to order on [`FAULT_MACHINE`]; the reason why not, if it can't be had.
    pub fn start_with_fault_disk(
        disk_gib: u64,
        network: Network,
        seed: u64,
    ) -> Result<(Self, Option<String>), String> {
        let mut why = None;
        let fleet = Self::start_with(&format!("{disk_gib}G"), network, seed, |fleet| {
            let backing = fleet.dir.path().join("backing.img");
            match FaultDisk::mount(&fleet.disk_file(FAULT_MACHINE), &backing, disk_gib << 30, seed) {
                Ok(disk) => fleet.fault_disk = Some(disk),
                Err(error) => why = Some(error),
            }
        })?;
        Ok((fleet, why))
    }

    /// The same, with what is to be there first.
    pub fn start_with(
        disk_size: &str,
        network: Network,
        seed: u64,
        prepare: impl FnOnce(&mut Self),
    ) -> Result<Self, String> {
        let dir = tempfile::Builder::new().prefix("ashlar-fleet").tempdir().unwrap();
        let mut fleet = Self {
            dir,
            fault_disk: None,
            disk_size: disk_size.to_owned(),
            used: (0..DISKS).collect(),
            voter: None,
            disks: (0..MACHINES).map(|_| None).collect(),
            gateway: None,
            agent: None,
            env: BTreeMap::new(),
            token_file: String::new(),
            admin_port: 0,
            s3_port: 0,
            relays: Vec::new(),
            ports: Vec::new(),
            namespaces: Vec::new(),
        };
        prepare(&mut fleet);
        fleet.start_voter();
        if network == Network::Relayed {
            fleet.lay_network(seed)?;
        }
        (0..DISKS).for_each(|disk| fleet.start_disk(disk));
        fleet.start_gateway();
        fleet.start_agent();
        Ok(fleet)
    }

    fn lay_network(&mut self, seed: u64) -> Result<(), String> {
        for disk in 0..MACHINES {
            self.namespaces.push(Arc::new(Namespace::new(&format!("{seed:x}-{disk}"))?));
        }
        for (disk, namespace) in self.namespaces.iter().enumerate() {
            let relay = Relay::start(None, 0, Some(namespace), seed);
            self.ports.push(relay.port());
            self.relays.push((HOME, disk, relay));
            self.relays.push((disk, HOME, Relay::start(Some(namespace), self.admin_port, None, seed)));
        }
        for from in 0..MACHINES {
            for to in (0..MACHINES).filter(|to| *to != from) {
                let ends = (&self.namespaces[from], &self.namespaces[to]);
                let relay = Relay::start(Some(ends.0), self.ports[to], Some(ends.1), seed);
                self.relays.push((from, to, relay));
            }
        }
        Ok(())
    }

    /// The relays between two ends, those of either direction of connecting.
    pub fn links(&self, one: usize, other: usize) -> Vec<(bool, Arc<Link>)> {
        let between = self.relays.iter().filter_map(|(from, to, relay)| {
            let forward = (*from, *to) == (one, other);
            let backward = (*from, *to) == (other, one);
            (forward || backward).then(|| (forward, Arc::clone(&relay.link)))
        });
        between.collect()
    }

    /// Makes the weather between two ends the same both ways.
    pub fn weather(&self, one: usize, other: usize, weather: Weather) {
        self.links(one, other).iter().for_each(|(_, link)| link.set(weather, weather));
    }

    /// Nothing passes from `one` to `other`; the other way all does.
    pub fn one_way(&self, one: usize, other: usize) {
        for (forward, link) in self.links(one, other) {
            if forward {
                link.set(Weather::Blackhole, Weather::Clear);
            } else {
                link.set(Weather::Clear, Weather::Blackhole);
            }
        }
    }

    /// Cuts a disk's machine off from everybody.
    pub fn isolate(&self, disk: usize, weather: Weather) {
        (0..MACHINES)
            .chain([HOME])
            .filter(|other| *other != disk)
            .for_each(|other| self.weather(disk, other, weather));
    }

    /// The machines whose disks are in the pool.
    pub fn used(&self) -> &[usize] {
        &self.used
    }

    pub fn fault_disk(&self) -> Option<&FaultDisk> {
        self.fault_disk.as_ref()
    }

    /// What `disk list` says of a disk, if it answers.
    pub fn listed(&self, disk: usize) -> Option<Value> {
        let output = self.command(&["disk", "list", "-o", "json"]).output().unwrap();
        let path = self.disk_file(disk).to_string_lossy().into_owned();
        let same = |disk: &Value| disk["path"] == path.as_str() && disk["state"] != "removed";
        let disks: Value = serde_json::from_slice(&output.stdout).ok()?;
        disks.as_array()?.iter().find(|disk| same(disk)).cloned()
    }

    /// How to get at a disk's chunk server, in its own network.
    pub fn door(&self, disk: usize) -> Door {
        let disk = self.listed(disk).expect("it is in the pool");
        let text = |name: &str| disk[name].as_str().unwrap();
        Door::new(text("address"), text("id"), &self.dir.path().join(VOTER))
    }

    /// Runs `work` where nothing is between it and a disk's chunk server.
    pub fn beside<T: Send + 'static>(&self, disk: usize, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.namespaces.get(disk) {
            Some(namespace) => namespace.within(work),
            None => work(),
        }
    }

    /// Has a new disk on the machine to spare take the place of one; the new one's machine. It goes on by itself.
    pub fn begin_replacing(&mut self, old: usize) -> usize {
        let new = (0..MACHINES).find(|machine| !self.used.contains(machine)).expect("one is to spare");
        let _ = std::fs::remove_file(self.disk_file(new));
        self.start_disk(new);
        let paths = [old, new].map(|disk| self.disk_file(disk).to_string_lossy().into_owned());
        self.cli(&["disk", "replace", &paths[0], &paths[1]]);
        self.used.push(new);
        new
    }

    /// Waits until a disk that was replaced is in no group, and takes it away.
    #[track_caller]
    pub fn end_replacing(&mut self, old: usize, limit: Duration) {
        let path = self.disk_file(old).to_string_lossy().into_owned();
        eventually("the end of a disk's replacing", limit, || {
            crate::harness::sleep(Duration::from_millis(200));
            let disk = self.listed(old)?;
            let of = |name: &str| disk[name].as_u64().unwrap_or(1);
            (of("in_sync") + of("catching_up") + of("out") == 0).then_some(())
        });
        self.cli(&["disk", "remove", &path]);
        self.stop_disk(old);
        self.used.retain(|used| *used != old);
        std::fs::remove_file(self.disk_file(old)).unwrap();
    }

    /// How often the weather on a disk's links did something.
    pub fn fired(&self, disk: usize) -> u64 {
        let touching = self.relays.iter().filter(|(from, to, _)| *from == disk || *to == disk);
        touching.map(|(_, _, relay)| relay.link.fired()).sum()
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.path().join(format!("{name}.log"))
    }

    pub fn start_voter(&mut self) {
        let mut command = clean(program());
        let listen = format!("127.0.0.1:{}", self.admin_port);
        let data = self.dir.path().join(VOTER);
        command.arg("meta").arg("--data").arg(&data).args(["--listen", &listen]);
        let voter = Daemon::start("ashlar meta", &mut command, &self.log(VOTER));
        self.env = read_env(&data.join("env.sh"));
        self.token_file = voter.ready("token-file");
        self.admin_port = port_of(&voter.ready("admin"));
        self.voter = Some(voter);
    }

    fn remote(&self, command: &mut Command, node: &str) {
        let meta = format!("http://127.0.0.1:{}", self.admin_port);
        command.args(["--meta", &meta, "--token-file", &self.token_file, "--node", node]);
    }

    pub fn disk_file(&self, disk: usize) -> PathBuf {
        self.dir.path().join(format!("disk{disk}.img"))
    }

    fn disk_command(&self, disk: usize) -> Command {
        let mut command = match self.namespaces.get(disk) {
            Some(namespace) => namespace.command(&program()),
            None => clean(program()),
        };
        let path = self.disk_file(disk);
        // Once it was there, it is never made anew.
        let size = if path.exists() { String::new() } else { format!(":{}", self.disk_size) };
        command.arg("blockd").arg("--disk").arg(format!("{}{size}", path.display()));
        if let Some(port) = self.ports.get(disk) {
            command.arg("--listen").arg(format!("127.0.0.1:{port}"));
        }
        self.remote(&mut command, &format!("node{disk}"));
        command
    }

    pub fn start_disk(&mut self, disk: usize) {
        let log = self.log(&format!("disk{disk}"));
        self.disks[disk] = Some(Daemon::start("ashlar blockd", &mut self.disk_command(disk), &log));
    }

    /// Starts a chunk server and kills it after this time, ready or not.
    pub fn start_and_kill_disk(&mut self, disk: usize, after: Duration) {
        let log = self.log(&format!("disk{disk}"));
        let daemon = Daemon::launch("ashlar blockd", &mut self.disk_command(disk), &log);
        crate::harness::sleep(after);
        daemon.kill();
    }

    pub fn kill_disk(&mut self, disk: usize) {
        self.disks[disk].take().expect("it runs").kill();
    }

    pub fn stop_disk(&mut self, disk: usize) {
        self.disks[disk].take().expect("it runs").stop();
    }

    /// SIGSTOP.
    pub fn freeze_disk(&self, disk: usize) {
        self.disks[disk].as_ref().expect("it runs").signal(Signal::STOP);
    }

    /// SIGCONT.
    pub fn thaw_disk(&self, disk: usize) {
        self.disks[disk].as_ref().expect("it runs").signal(Signal::CONT);
    }

    pub fn kill_voter(&mut self) {
        self.voter.take().expect("it runs").kill();
    }

    pub fn stop_voter(&mut self) {
        self.voter.take().expect("it runs").stop();
    }

    pub fn start_gateway(&mut self) {
        let mut command = clean(program());
        let listen = format!("127.0.0.1:{}", self.s3_port);
        command.arg("objectd").args(["--listen", &listen]);
        self.remote(&mut command, "node-s3");
        let gateway = Daemon::start("ashlar objectd", &mut command, &self.log("gateway"));
        self.s3_port = port_of(&gateway.ready("s3"));
        self.gateway = Some(gateway);
    }

    /// Waits until the control plane counts the gateway as running.
    #[track_caller]
    pub fn await_gateway(&self, limit: Duration) {
        eventually("a gateway that runs", limit, || {
            let status = self.status()?;
            let found =
                status["services"].as_array()?.iter().find(|service| service["name"] == "s3 gateway")?;
            (found["state"] == "running").then_some(())
        });
    }

    /// Another gateway, of this name, on a node of its own; whoever starts it also ends it.
    pub fn second_gateway(&self, name: &str) -> Daemon {
        let mut command = clean(program());
        command.args(["objectd", "--listen", "127.0.0.1:0", "--gateway", name]);
        self.remote(&mut command, "node-s3b");
        Daemon::start("the other gateway", &mut command, &self.log("other"))
    }

    pub fn kill_gateway(&mut self) {
        self.gateway.take().expect("it runs").kill();
    }

    pub fn stop_gateway(&mut self) {
        self.gateway.take().expect("it runs").stop();
    }

    pub fn start_agent(&mut self) {
        let mut command = clean(program());
        command.arg("agent").arg("--dir").arg(self.dir.path().join("agent"));
        self.remote(&mut command, "node-vm");
        self.agent = Some(Daemon::start("ashlar agent", &mut command, &self.log("agent")));
    }

    pub fn kill_agent(&mut self) {
        self.agent.take().expect("it runs").kill();
    }

    pub fn stop_agent(&mut self) {
        self.agent.take().expect("it runs").stop();
    }

    /// Makes a volume, attaches it, and returns its socket.
    pub fn volume(&self, name: &str, size: &str) -> PathBuf {
        self.cli(&["volume", "create", name, "--size", size]);
        let socket = self.dir.path().join(format!("{name}.sock"));
        self.cli(&["volume", "attach", name, "--socket", socket.to_str().unwrap()]);
        socket
    }

    /// A value of env.sh.
    pub fn env(&self, name: &str) -> String {
        self.env[name].clone()
    }

    /// Where the gateway is.
    pub fn s3_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.s3_port)
    }

    pub fn s3(&self) -> S3Client {
        self.s3_at(self.s3_url())
    }

    /// A client with the pool's own key, of the gateway that is there.
    pub fn s3_at(&self, url: String) -> S3Client {
        let (id, secret) = (&self.env["AWS_ACCESS_KEY_ID"], &self.env["AWS_SECRET_ACCESS_KEY"]);
        S3Client::new(url, self.env("AWS_DEFAULT_REGION"), id, secret)
    }

    /// A CLI command with env.sh sourced.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = clean(program());
        command.args(args).envs(&self.env).stdin(Stdio::null());
        command
    }

    /// Runs the CLI and expects success; its stdout.
    pub fn cli(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        expect_success(&format!("ashlar {}", args.join(" ")), &output, &self.logs())
    }

    /// `ashlar status`, if it answers.
    pub fn status(&self) -> Option<Value> {
        let output = self.command(&["status", "-o", "json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Groups that have all members in sync, and all groups.
    pub fn whole(&self) -> Option<(u64, u64)> {
        let status = self.status()?;
        let of = |name: &str| status["replicas"][name].as_u64();
        Some((of("whole")?, of("groups")?))
    }

    /// Does what the status says about disks that are kept out for having been slow: the faults that made them slow
    /// are over, and there is no time for the pool's own patience.
    fn readmit_slow(&self) {
        let status = self.status().unwrap_or_default();
        let is_slow = |cause: &Value| cause.as_str().is_some_and(|cause| cause.contains("slow and kept out"));
        if status["causes"].as_array().is_some_and(|causes| causes.iter().any(is_slow)) {
            for &disk in &self.used {
                self.cli(&["disk", "drain", "--undo", &self.disk_file(disk).to_string_lossy()]);
            }
        }
    }

    /// Waits until every group has all its members in sync; how long it took.
    #[track_caller]
    pub fn wait_whole(&self, limit: Duration) -> Duration {
        let begun = crate::harness::now();
        eventually("every group's members in sync", limit, || {
            crate::harness::sleep(Duration::from_millis(200));
            self.readmit_slow();
            self.whole().filter(|(whole, groups)| whole == groups && *groups > 0)
        });
        begun.elapsed()
    }

    /// The ends of all logs.
    pub fn logs(&self) -> String {
        let mut names = vec![VOTER.to_owned(), "gateway".into(), "agent".into()];
        names.extend((0..MACHINES).map(|disk| format!("disk{disk}")));
        names.iter().map(|name| format!("-- {name}\n{}\n", tail(&self.log(name)))).collect()
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        // Who needs others goes first.
        drop((self.agent.take(), self.gateway.take()));
        self.relays.iter().for_each(|(_, _, relay)| relay.link.set(Weather::Clear, Weather::Clear));
        // A chunk server whose disk stalls can't end, not even by SIGKILL.
        self.fault_disk.iter().for_each(FaultDisk::heal);
        self.disks.clear();
        drop(self.voter.take());
        if std::thread::panicking() {
            let _ = writeln!(std::io::stderr(), "{}", self.logs());
        }
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap()
}
