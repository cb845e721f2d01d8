//! Whom to measure, how to reach them, and how the client works: what all modes over S3 can be told.

use super::connection::Payload;
use super::garage::{self, Shape};
use super::rgw;
use super::side::Side;
use crate::limits::{LEAST_OBJECT_DISK, OBJECT_DISK, S3_MAX_CONNECTIONS, S3_MAX_THREADS};
use crate::options::Run;
use crate::report::{Report, take_in};
use crate::room::{DiskSize, Plan, Room};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub struct Access {
    /// Whom to measure beside ours.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "garage")]
    peers: Vec<Peer>,
    /// Where peers that are built from source are kept; by default ~/.cache/ashlar-bench.
    #[arg(long)]
    peer_cache: Option<PathBuf>,
    /// How uploads are signed, of all sides alike.
    #[arg(long, value_enum, default_value = "signed")]
    pub payload: Payload,
    /// Threads of the client.
    #[arg(long, default_value_t = 1, value_parser = threads)]
    pub threads: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Peer {
    /// Nobody: ours alone.
    None,
    /// Garage from crates.io: 3 nodes, 3 replicas, fsync on.
    Garage,
    /// Garage with one node and without fsync.
    #[value(name = "garage-1-nosync")]
    GarageUnsynced,
    /// Ceph's object gateway.
    Rgw,
    /// RustFS.
    Rustfs,
}

const NO_RUSTFS: &str = "not set up by this tool: RustFS 1.0.1 needs a newer rustc than this workspace's";

pub struct Started {
    pub sides: Vec<Side>,
    /// Peers that are not there, with the reason.
    pub missing: Vec<(String, String)>,
    /// Ours.
    pub disks: DiskSize,
}

impl Access {
    /// Ours and those peers that are there; the others with the reason. Garage gets the shape that suits the mode.
    pub fn start_sides(&self, run: &Run, folder: &Path, shape: Shape) -> Result<Started> {
        // How much peers will take of what a run puts is theirs to know; what they hold before is little.
        let plan = Plan {
            stores: 1,
            disk: OBJECT_DISK,
            least: LEAST_OBJECT_DISK,
            beside_bytes: 0,
            options: "--dir",
        };
        let disks = Room::under(folder)?.choose(plan)?;
        let (mut sides, mut missing) = (vec![Side::ours(folder, disks, run.ashlar())?], Vec::new());
        for peer in &self.peers {
            let (name, started) = match peer {
                Peer::None => continue,
                Peer::Garage => self.start_garage(run, folder, shape)?,
                Peer::GarageUnsynced => self.start_garage(run, folder, Shape::OneUnsynced)?,
                Peer::Rgw => (rgw::NAME, rgw::start(folder, run.install_peers)?),
                Peer::Rustfs => (super::RUSTFS, Err(NO_RUSTFS.to_owned())),
            };
            take_in(name, started, &mut sides, &mut missing);
        }
        Ok(Started { sides, missing, disks })
    }

    fn start_garage(
        &self,
        run: &Run,
        folder: &Path,
        shape: Shape,
    ) -> Result<(&'static str, Result<Side, String>)> {
        let started = match garage::binary(&self.cache()?, run.install_peers)? {
            Ok(binary) => Ok(garage::start(folder, shape, &binary)?),
            Err(why) => Err(why),
        };
        Ok((shape.name(), started))
    }

    fn cache(&self) -> Result<PathBuf> {
        if let Some(cache) = &self.peer_cache {
            return Ok(cache.clone());
        }
        let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")));
        Ok(cache.context("neither HOME nor XDG_CACHE_HOME is set: say --peer-cache")?.join("ashlar-bench"))
    }

    /// Says in the report how it was measured.
    pub fn tell(&self, (run, disks): (&Run, DiskSize), report: &mut Report) {
        report.set("disks", disks.text());
        let payload = match self.payload {
            Payload::Signed => "signed (SHA-256 of each body, which servers check)",
            Payload::Unsigned => "UNSIGNED-PAYLOAD",
        };
        report.set("payload", payload);
        report.set("client threads", self.threads.to_string());
        report.set("seconds", run.seconds.to_string());
        report.set("rounds", run.rounds.to_string());
        report.note("objects that are got were put in the same run: every side may answer from memory");
    }
}

/// A number of connections.
pub fn connections(text: &str) -> Result<usize, String> {
    within(text, S3_MAX_CONNECTIONS)
}

fn threads(text: &str) -> Result<usize, String> {
    within(text, S3_MAX_THREADS)
}

fn within(text: &str, most: usize) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=most).contains(number));
    number.ok_or_else(|| format!("{text:?}: a number from 1 to {most}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        access: Access,
    }

    #[test]
    fn peers_are_named_in_a_list() {
        let of = |arguments: &[&str]| {
            Line::try_parse_from([&["bench"], arguments].concat()).map(|line| line.access)
        };
        assert_eq!(of(&[]).unwrap().peers, [Peer::Garage]);
        let asked = of(&["--peers", "garage,garage-1-nosync,rgw,rustfs", "--payload", "unsigned"]).unwrap();
        assert_eq!(asked.peers, [Peer::Garage, Peer::GarageUnsynced, Peer::Rgw, Peer::Rustfs]);
        assert_eq!((asked.payload, asked.threads), (Payload::Unsigned, 1));
        assert!(of(&["--peers", "minio"]).is_err() && of(&["--threads", "0"]).is_err());
        assert_eq!((connections("64"), connections("65").is_err()), (Ok(64), true));
    }
}
