//! `ashlar meta`: a voter of the control plane, with the admin API.

use crate::admin::{self, Admin, AdminConfig};
use crate::audit::{CONTROL_PLANE, Keep};
use crate::daemon::config::{file, listen, needed};
use crate::env_file;
use crate::error::Error;
use crate::fleet::Fleet;
use crate::folder::{Folder, Secrets};
use crate::listen as ports;
use crate::node;
use crate::process::{self, Stop};
use ::meta::{MetaConfig, MetaNode, planner};
use prometheus_client::registry::Registry;
use rt::rng::SystemRng;
use serde::Deserialize;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;

/// `ashlar meta`'s flags and config file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct MetaArgs {
    /// The data folder; made on the first start, with the pool's secrets and an env.sh
    #[arg(long, env = "ASHLAR_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// Where the admin API listens [default: 127.0.0.1:7070]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The region that S3 clients are told in env.sh [default: ashlar-1]
    #[arg(long, value_name = "NAME")]
    region: Option<String>,
    /// How long a disk must be gone before others take its places [default: 600]
    #[arg(long, value_name = "SECONDS")]
    replace_after: Option<u64>,
    /// How long lines of the audit log are kept, in days [default: 90]
    #[arg(long, value_name = "DAYS")]
    audit_keep_days: Option<u32>,
    /// How much of the audit log is kept, if that is reached earlier [default: 1G]
    #[arg(long, value_name = "SIZE")]
    audit_keep_size: Option<String>,
    /// Listen on other addresses than loopback although there is no TLS: whoever sees that network's traffic
    /// gets the admin token
    #[arg(long)]
    insecure_network: bool,
    /// A TOML file with any of these, named alike
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

struct Config {
    data: PathBuf,
    listen: SocketAddr,
    region: String,
    planner: planner::Settings,
    audit: Keep,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(args: MetaArgs) -> Result<(), Error> {
    let config = resolve(args)?;
    process::run(|| serve(config))
}

fn resolve(args: MetaArgs) -> Result<Config, Error> {
    let file: MetaArgs = file(args.config.as_deref())?;
    let insecure_network = args.insecure_network || file.insecure_network;
    let data = needed(args.data.or(file.data), "data")?;
    let data = std::path::absolute(&data)
        .map_err(|error| Error::usage(format!("can't use the data folder {}: {error}", data.display())))?;
    let address = args.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:7070".into());
    Ok(Config {
        data,
        listen: listen(&address, insecure_network)?,
        region: crate::config::region_name(args.region.or(file.region))?,
        planner: crate::config::planner_settings(args.replace_after.or(file.replace_after)),
        audit: Keep::resolve(
            [args.audit_keep_days, file.audit_keep_days],
            [args.audit_keep_size.as_ref(), file.audit_keep_size.as_ref()],
        )?,
    })
}

async fn serve(config: Config) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    Folder::check(&config.data).await?;
    let listener = ports::bind("the admin API", "listen", config.listen)?;
    let folder = Folder::take(&config.data).await?;
    let secrets = folder.secrets(&mut SystemRng)?;
    let addr = ports::address(&listener)?;
    let Some((meta, admin)) = stop.or_started(start(&folder, &secrets, listener, &config)).await? else {
        return Ok(());
    };
    env_file::write(&folder, &secrets, &config.region, addr, None)?;
    process::announce(&format!(
        "admin API at http://{addr}; . {}/env.sh\nready admin=http://{addr} token-file={}\n",
        config.data.display(),
        folder.daemon_token().display()
    ));
    stop.asked().await;
    stop.while_stopping(async {
        admin.stop().await;
        Ok(meta.stop().await?)
    })
    .await
}

async fn start(
    folder: &Folder,
    secrets: &Secrets,
    listener: TcpListener,
    config: &Config,
) -> Result<(MetaNode, Admin), Error> {
    let audit = config.audit.open(&folder.audit(), CONTROL_PLANE)?;
    let meta_config = MetaConfig::new(folder.path.join("meta"), node::LOCAL);
    let meta = MetaNode::start(MetaConfig { audit: Some(Arc::clone(&audit)), ..meta_config }).await?;
    let mut registry = Registry::default();
    meta.metrics().register(&mut registry);
    admin::make_pool(&meta.client(), secrets).await?;
    let admin = AdminConfig {
        listener,
        data: folder.path.clone(),
        registry,
        fleet: Arc::<Fleet>::default(),
        planner: config.planner,
        audit,
    };
    let admin = Admin::start(admin, &meta, secrets)?;
    Ok((meta, admin))
}
