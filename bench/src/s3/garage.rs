//! The peer: Garage from crates.io, three nodes on loopback that keep three replicas.
//!
//! It is given what makes it fast: LMDB, no compression (the objects are noise, trying to compress them is lost time),
//! requests spread over all nodes. A second setting, one node without fsync, shows what durability costs it.

use super::Target;
use super::side::{BUCKET, Keeper, Side};
use super::sign::Identity;
use crate::counters::Member;
use crate::limits::{GARAGE_CAPACITY, START_TIMEOUT_S};
use crate::machine::{now, pause, say_aside};
use crate::packages;
use crate::server::Server;
use anyhow::{Context, Result, bail};
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

pub const NAME: &str = "garage";
pub const NAME_UNSAFE: &str = "garage-1-nosync";
const VERSION: &str = "2.5.0";
const REGION: &str = "garage";
/// Of a store that lives as long as a run, reached over loopback only.
const KEY_ID: &str = "GK31c2f218a2e44f485b94239e";
const SECRET: &str = "b892c0665f0ada8a4755dae98baa3b133590e11dae3bcc1f9d769d67f16c3835";
const RPC_SECRET: &str = "a31f2b0fd2a9b1a4b1f4a4d7a8f4d9a5b6c7d8e9f0a1b2c3d4e5f60718293a4b";

/// How many nodes, and whether what is answered is on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shape {
    ThreeSynced,
    /// For what only reads: it is filled in minutes and not in hours.
    ThreeUnsynced,
    OneUnsynced,
}

impl Shape {
    pub fn name(self) -> &'static str {
        match self {
            Self::ThreeSynced | Self::ThreeUnsynced => NAME,
            Self::OneUnsynced => NAME_UNSAFE,
        }
    }

    fn nodes(self) -> usize {
        match self {
            Self::ThreeSynced | Self::ThreeUnsynced => 3,
            Self::OneUnsynced => 1,
        }
    }

    fn durability(self) -> &'static str {
        match self {
            Self::ThreeSynced => {
                "3 nodes, 3 replicas, LMDB, metadata_fsync and data_fsync on, no compression; a PUT is answered when \
                 two of three nodes have it (its write quorum)"
            }
            Self::ThreeUnsynced => {
                "3 nodes, 3 replicas, LMDB, no compression; fsync off, as only reads are measured"
            }
            Self::OneUnsynced => {
                "1 node, 1 replica, LMDB, no fsync, no compression; a power cut loses what was answered"
            }
        }
    }
}

/// The binary in the cache, which is built first if `install`. The inner error tells the reader how to get it.
pub fn binary(cache: &Path, install: bool) -> Result<Result<PathBuf, String>> {
    let root = cache.join(format!("garage-{VERSION}"));
    let binary = root.join("bin/garage");
    if binary.is_file() {
        return Ok(Ok(binary));
    }
    let arguments = ["install", "garage", "--version", VERSION, "--locked", "--root"];
    if !install {
        let command = format!("cargo {} {}", arguments.join(" "), root.display());
        return Ok(Err(format!(
            "{} is missing; --install-peers builds it, as does: {command}",
            binary.display()
        )));
    }
    say_aside(&format!("building Garage {VERSION} from crates.io, which takes a while"));
    let status = Command::new("cargo").args(arguments).arg(&root).stdin(Stdio::null()).status();
    if !status.context("starting cargo")?.success() || !binary.is_file() {
        bail!("cargo install garage failed; what it said stands above");
    }
    Ok(Ok(binary))
}

/// Starts the nodes in a folder of their own, gives them a layout and a key.
pub fn start(folder: &Path, shape: Shape, binary: &Path) -> Result<Side> {
    let folder = folder.join(shape.name());
    let mut nodes = (0..shape.nodes())
        .map(|index| Node::start(&folder.join(format!("node{index}")), shape, binary))
        .collect::<Result<Vec<_>>>()?;
    let ids = nodes.iter_mut().map(Node::id).collect::<Result<Vec<_>>>()?;
    let first = &nodes[0];
    for id in &ids[1..] {
        first.run(&["node", "connect", id])?;
    }
    for id in &ids {
        let name = id.split('@').next().unwrap_or_default();
        first.run(&["layout", "assign", name, "-z", "here", "-c", GARAGE_CAPACITY])?;
    }
    first.run(&["layout", "apply", "--version", "1"])?;
    first.until_run(&["key", "import", KEY_ID, SECRET, "-n", "bench", "--yes"])?;
    first.run(&["key", "allow", "--create-bucket", KEY_ID])?;

    let identity = Identity { region: REGION.into(), key_id: KEY_ID.into(), secret: SECRET.into() };
    let addresses = nodes.iter().map(|node| node.s3).collect();
    let version = packages::version(binary, "--version");
    Ok(Side {
        name: shape.name().to_owned(),
        version,
        durability: shape.durability().to_owned(),
        members: nodes.iter().map(|node| Member::one(node.server.pid(), "node")).collect(),
        target: Arc::new(Target { addresses, identity, bucket: BUCKET.to_owned() }),
        stamps: Arc::default(),
        kept: Vec::new(),
        socket: None,
        keeper: Keeper::Servers(nodes.into_iter().map(|node| node.server).collect()),
    })
}

struct Node {
    server: Server,
    binary: PathBuf,
    config: PathBuf,
    s3: SocketAddr,
}

impl Node {
    fn start(folder: &Path, shape: Shape, binary: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("making {}", folder.display()))?;
        let config = folder.join("garage.toml");
        let [rpc, s3] = free_addresses()?;
        fs::write(&config, config_text(folder, shape, rpc, s3)).context("writing Garage's configuration")?;
        let mut command = Command::new(binary);
        command.arg("-c").arg(&config).arg("server").env("RUST_LOG", "garage=warn").stdout(Stdio::null());
        let server = Server::start("garage", &mut command, folder.join("log"))?;
        Ok(Self { server, binary: binary.to_owned(), config, s3 })
    }

    /// Waits until it serves, and says who it is: `KEY@ADDRESS`.
    fn id(&mut self) -> Result<String> {
        let address = self.s3;
        self.server.wait_until("listener", || std::net::TcpStream::connect(address).is_ok())?;
        Ok(self.run(&["node", "id", "-q"])?.trim().to_owned())
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        let mut command = Command::new(&self.binary);
        let command = command.arg("-c").arg(&self.config).args(arguments).stdin(Stdio::null());
        let output = command.output().with_context(|| format!("running {}", self.binary.display()))?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        bail!("garage {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr).trim())
    }

    /// The same as soon as the layout has reached everybody.
    fn until_run(&self, arguments: &[&str]) -> Result<String> {
        let end = now() + Duration::from_secs(START_TIMEOUT_S);
        loop {
            match self.run(arguments) {
                Err(_) if now() < end => pause(Duration::from_millis(200)),
                result => return result,
            }
        }
    }
}

/// It can't be told to take any port and say which. Another process may take one of these before Garage does; it
/// then fails to start, and says so.
fn free_addresses<const N: usize>() -> Result<[SocketAddr; N]> {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0"));
    let mut addresses = [SocketAddr::from(([127, 0, 0, 1], 0)); N];
    for (address, listener) in addresses.iter_mut().zip(listeners) {
        *address = listener.and_then(|listener| listener.local_addr()).context("looking for a free port")?;
    }
    Ok(addresses)
}

fn config_text(folder: &Path, shape: Shape, rpc: SocketAddr, s3: SocketAddr) -> String {
    let (folder, nodes) = (folder.display(), shape.nodes());
    let is_synced = shape == Shape::ThreeSynced;
    format!(
        r#"metadata_dir = "{folder}/meta"
data_dir = "{folder}/data"
db_engine = "lmdb"
metadata_fsync = {is_synced}
data_fsync = {is_synced}
replication_factor = {nodes}
compression_level = "none"
rpc_bind_addr = "{rpc}"
rpc_public_addr = "{rpc}"
rpc_secret = "{RPC_SECRET}"

[s3_api]
s3_region = "{REGION}"
api_bind_addr = "{s3}"
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_say_what_the_report_says() {
        let address = SocketAddr::from(([127, 0, 0, 1], 3900));
        let text = |shape| config_text(Path::new("/data"), shape, address, address);
        for (shape, nodes, synced) in
            [(Shape::ThreeSynced, 3, true), (Shape::ThreeUnsynced, 3, false), (Shape::OneUnsynced, 1, false)]
        {
            for line in [
                format!("replication_factor = {nodes}"),
                format!("metadata_fsync = {synced}"),
                format!("data_fsync = {synced}"),
            ] {
                assert!(text(shape).contains(&line), "{line}");
            }
            assert!(shape.durability().starts_with(&format!("{nodes} node")));
        }
    }

    #[test]
    fn a_missing_binary_is_told_with_its_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let why = binary(folder.path(), false).unwrap().unwrap_err();
        assert!(
            why.contains("--install-peers") && why.contains("cargo install garage --version 2.5.0"),
            "{why}"
        );
    }
}
