//! The peer: Ceph's object gateway on a cluster with three OSDs.

use super::Target;
use super::side::{BUCKET, Keeper, Side};
use super::sign::Identity;
use crate::ceph::Ceph;
use crate::limits::{RGW_DATA_MIB, START_TIMEOUT_S};
use crate::machine::{now, pause};
use crate::packages::{self, Needed};
use anyhow::{Context, Result, bail};
use std::fs::OpenOptions;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

pub const NAME: &str = "rgw";
const NEEDED: [Needed; 1] = [Needed { file: "radosgw", package: "radosgw" }];
/// Of a store that lives as long as a run, reached over loopback only.
const KEY_ID: &str = "BENCHBENCHBENCHBENCH";
const SECRET: &str = "benchbenchbenchbenchbenchbenchbenchbench";

/// Starts a cluster and its gateway. The inner error says what is missing.
pub fn start(folder: &Path, install: bool) -> Result<Result<Side, String>> {
    if let Err(why) = packages::ensure(&NEEDED, install)? {
        return Ok(Err(why));
    }
    let mut ceph = match Ceph::start(folder, RGW_DATA_MIB, install)? {
        Ok(ceph) => ceph,
        Err(why) => return Ok(Err(why)),
    };
    // The gateway makes its pools by itself, too many for the limit of so few OSDs.
    ceph.tool("ceph", &["config", "set", "global", "mon_max_pg_per_osd", "1000"])?;
    let address = free_address()?;
    // The gateway wants encryption towards the monitor by default, which there is none of without authentication. The
    // section is that of all clients, as it does not take its name from `-i`.
    let section = format!("\n[client]\nrgw frontends = beast endpoint={address}\nms mon client mode = crc\n");
    OpenOptions::new()
        .append(true)
        .open(ceph.conf())
        .and_then(|mut conf| conf.write_all(section.as_bytes()))
        .context("telling Ceph's gateway where to listen")?;
    ceph.daemon("radosgw", "rgw", "gateway")?;
    let keys = ["--uid", "bench", "--display-name", "bench", "--access-key", KEY_ID, "--secret-key", SECRET];
    ceph.tool("radosgw-admin", &[&["user", "create"][..], &keys].concat())?;
    wait_for(address)?;
    let identity = Identity { region: "default".into(), key_id: KEY_ID.into(), secret: SECRET.into() };
    Ok(Ok(Side {
        name: NAME.to_owned(),
        version: Ceph::version(),
        durability: "3 OSDs with BlueStore, 3 replicas; a PUT is answered when all three have it on disk"
            .to_owned(),
        members: ceph.members(),
        target: Arc::new(Target { addresses: vec![address], identity, bucket: BUCKET.to_owned() }),
        stamps: Arc::default(),
        kept: Vec::new(),
        socket: None,
        keeper: Keeper::Ceph(ceph),
    }))
}

fn free_address() -> Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("looking for a free port")?;
    listener.local_addr().context("looking for a free port")
}

fn wait_for(address: SocketAddr) -> Result<()> {
    let end = now() + Duration::from_secs(START_TIMEOUT_S);
    while TcpStream::connect(address).is_err() {
        if now() > end {
            bail!(
                "Ceph's gateway does not listen after {START_TIMEOUT_S} s; its log lies in the run's folder"
            );
        }
        pause(Duration::from_millis(100));
    }
    Ok(())
}
