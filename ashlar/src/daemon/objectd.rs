//! `ashlar objectd`: an S3 gateway.

use super::remote::{self, Remote, RemoteArgs};
use crate::control;
use crate::daemon::config::listen;
use crate::error::Error;
use crate::fleet::link;
use crate::gateway::GatewayPart;
use crate::listen as ports;
use crate::process::{self, Stop};
use ::objectd::{GatewayConfig, Metrics};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// `ashlar objectd`'s flags and config file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ObjectdArgs {
    /// Where the S3 gateway listens [default: 127.0.0.1:9000]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// Names the gateway and its object log: the same at each start, another for every gateway
    /// [default: gateway-NODE]
    #[arg(long, value_name = "NAME")]
    gateway: Option<String>,
    /// The region that signatures must name [default: ashlar-1]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// A domain below which a host names a bucket, such as s3.example.com for BUCKET.s3.example.com; again for each
    #[arg(long, value_name = "DOMAIN")]
    domain: Vec<String>,
    #[command(flatten)]
    #[serde(skip)]
    remote: RemoteArgs,
    /// A TOML file with any of these, named alike (domain is a list)
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

struct Config {
    remote: Remote,
    listen: SocketAddr,
    gateway: String,
    region: String,
    domains: Vec<String>,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(args: ObjectdArgs) -> Result<(), Error> {
    let config = resolve(args)?;
    process::run(|| serve(config))
}

fn resolve(args: ObjectdArgs) -> Result<Config, Error> {
    let (file, below): (ObjectdArgs, _) = remote::file(args.config.as_deref())?;
    let remote = args.remote.over(below);
    let address = args.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:9000".into());
    let listen = listen(&address, remote.insecure_network)?;
    let remote = remote.resolve()?;
    let domains = if args.domain.is_empty() { file.domain } else { args.domain };
    Ok(Config {
        domains: crate::config::s3_domains("domain", &domains)?,
        listen,
        gateway: args.gateway.or(file.gateway).unwrap_or_else(|| format!("gateway-{}", remote.node.name)),
        region: crate::config::region_name(args.region.or(file.region))?,
        remote,
    })
}

async fn serve(config: Config) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    let Config { remote, listen, gateway, region, domains } = config;
    let listener = ports::bind("the S3 gateway", "listen", listen)?;
    let addr = ports::address(&listener)?;
    if stop.or_started(remote.register()).await?.is_none() {
        return Ok(());
    }
    // Several gateways' counts are shown side by side.
    let label = ("gateway".into(), gateway.clone().into());
    let mut registry = Registry::with_labels([label].into_iter());
    let gateway = GatewayConfig {
        listen: addr,
        region,
        gateway,
        meta: remote.client.clone(),
        token: remote.pool,
        control: Some(control::handle(&remote.client)),
        virtual_host_bases: domains,
        metrics: Metrics::register(&mut registry),
    };
    let gateway = GatewayPart::start(remote.node.clone(), gateway, listener, Some(registry));
    let link = tokio::spawn(link::run(Arc::clone(&gateway) as _, remote.endpoint));
    let serves = async {
        gateway.serves().await;
        Ok(())
    };
    if stop.or_started(serves).await?.is_some() {
        process::announce(&format!("ready s3=http://{addr} node={}\n", remote.node.name));
        stop.asked().await;
    }
    link.abort();
    stop.while_stopping(async {
        gateway.stop().await;
        Ok(())
    })
    .await
}
