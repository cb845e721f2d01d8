//! `ashlar agent`: volumes as vhost-user-blk sockets, and VMs, on one machine.

use super::remote::{self, Remote, RemoteArgs};
use crate::agent::Agent;
use crate::daemon::config::{listen_host, needed};
use crate::error::Error;
use crate::fleet::link;
use crate::folder::Folder;
use crate::process::{self, Stop};
use compute::{AccelChoice, Compute, ComputeConfig};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// `ashlar agent`'s flags and config file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct AgentArgs {
    /// The agent's folder: records of VMs and their sockets; made on the first start. Stopping the agent leaves
    /// the VMs running; their disks wait until it is started again
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How VMs run: auto, kvm or tcg [default: auto]
    #[arg(long, env = "ASHLAR_ACCEL", value_name = "HOW")]
    accel: Option<String>,
    /// QEMU's program [default: qemu-system-x86_64]
    #[arg(long, env = "ASHLAR_QEMU", value_name = "PROGRAM")]
    qemu: Option<PathBuf>,
    /// Where VMs that move to this machine come in; without PORT, each at a free one. What is in their memory goes
    /// over the wire as it is [default: 127.0.0.1]
    #[arg(long, value_name = "HOST[:PORT]")]
    listen: Option<String>,
    #[command(flatten)]
    #[serde(skip)]
    remote: RemoteArgs,
    /// A TOML file with any of these, named alike
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

struct Config {
    remote: Remote,
    dir: PathBuf,
    accel: AccelChoice,
    qemu: PathBuf,
    receive_at: SocketAddr,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(args: AgentArgs) -> Result<(), Error> {
    let config = resolve(args)?;
    process::run(|| serve(config))
}

fn resolve(args: AgentArgs) -> Result<Config, Error> {
    let (file, below): (AgentArgs, _) = remote::file(args.config.as_deref())?;
    let dir = needed(args.dir.or(file.dir), "dir")?;
    let dir = std::path::absolute(&dir)
        .map_err(|error| Error::usage(format!("can't use the folder {}: {error}", dir.display())))?;
    let accel = args.accel.or(file.accel);
    let remote = args.remote.over(below);
    let address = args.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1".into());
    let (ip, port) = listen_host(&address, remote.insecure_network)?;
    Ok(Config {
        receive_at: (ip, port.unwrap_or(0)).into(),
        dir,
        accel: accel.as_deref().map_or(Ok(AccelChoice::Auto), crate::config::accel_choice)?,
        qemu: args.qemu.or(file.qemu).unwrap_or_else(|| "qemu-system-x86_64".into()),
        remote: remote.resolve()?,
    })
}

async fn serve(config: Config) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    let folder = Folder::take(&config.dir).await?;
    let remote = config.remote;
    if stop.or_started(remote.register()).await?.is_none() {
        return Ok(());
    }
    let compute = ComputeConfig { dir: folder.path.join("vms"), qemu: config.qemu, accel: config.accel };
    let (compute, exits) = Compute::open(compute).await?;
    let agent =
        Agent::new(remote.node.clone(), remote.client.clone(), remote.pool, compute, config.receive_at);
    let Some(mut tending) = stop.or_started(agent.start(exits)).await? else { return Ok(()) };
    let link = tokio::spawn(link::run(Arc::clone(&agent) as _, remote.endpoint));
    process::announce(&format!("ready agent node={}\n", remote.node.name));
    stop.asked().await;
    link.abort();
    tending.abort_all();
    let outcome = stop
        .while_stopping(async {
            agent.close_devices().await;
            Ok(())
        })
        .await;
    drop(folder);
    outcome
}
