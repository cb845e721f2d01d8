//! `ashlar objectd`: an S3 gateway.

use super::remote::{self, Remote, RemoteArgs};
use crate::audit::Keep;
use crate::control;
use crate::daemon::config::listen;
use crate::error::Error;
use crate::fleet::link;
use crate::gateway::{GatewayPart, HttpsPort, Ports};
use crate::https;
use crate::listen as ports;
use crate::process::{self, Stop};
use ::objectd::{GatewayConfig, Https, Metrics, TlsFiles};
use prometheus_client::registry::Registry;
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

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
    /// A domain below which a host names a bucket's website, such as s3-website.example.com; again for each
    #[arg(long, value_name = "DOMAIN")]
    website_domain: Vec<String>,
    /// Where HTTPS is served, beside HTTP [default: 127.0.0.1:9443, if there is a certificate]
    #[arg(long, value_name = "HOST:PORT")]
    tls_listen: Option<String>,
    /// The certificate of HTTPS and those that signed it, in PEM; looked at again and again, and changed when it does
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// Its key in PEM, not encrypted
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// For tests: a file with the seconds by which the clock that lifecycle rules go by is ahead of the machine's. It
    /// may change at any time, and things that it makes due are deleted for good
    #[arg(long, value_name = "FILE")]
    lifecycle_ahead: Option<PathBuf>,
    /// How long lines of buckets' access logs wait to be delivered [default: 300]
    #[arg(long, value_name = "SECONDS")]
    log_delivery_seconds: Option<u32>,
    /// The file of the keys that objects are encrypted with, the same for all gateways of the pool; made when the pool
    /// first needs one. Without it there is no encryption with the pool's keys (SSE-S3)
    #[arg(long, value_name = "FILE")]
    pool_key: Option<PathBuf>,
    /// A folder for the audit log: who changed what, and who was refused. Without one there is no such log
    #[arg(long, value_name = "DIR")]
    audit: Option<PathBuf>,
    /// How long lines of the audit log are kept, in days [default: 90]
    #[arg(long, value_name = "DAYS")]
    audit_keep_days: Option<u32>,
    /// How much of the audit log is kept, if that is reached earlier [default: 1G]
    #[arg(long, value_name = "SIZE")]
    audit_keep_size: Option<String>,
    #[command(flatten)]
    #[serde(skip)]
    remote: RemoteArgs,
    /// A TOML file with any of these, named alike (domain and website-domain are lists)
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

struct Config {
    remote: Remote,
    listen: SocketAddr,
    https: Option<(SocketAddr, TlsFiles)>,
    gateway: String,
    region: String,
    domains: Vec<String>,
    website_domains: Vec<String>,
    pool_key: Option<PathBuf>,
    lifecycle_ahead: Option<PathBuf>,
    log_delivery: Duration,
    audit: Option<PathBuf>,
    keep: Keep,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(args: ObjectdArgs) -> Result<(), Error> {
    let config = resolve(args)?;
    process::run(|| {
        // A gateway has no table that is worth huge pages; those are for what serves blocks, in `up` and `blockd`.
        if let Err(error) = rt::memory::keep_little() {
            tracing::warn!(%error, "the gateway may take more memory than it needs");
        }
        serve(config)
    })
}

fn resolve(args: ObjectdArgs) -> Result<Config, Error> {
    let (file, below): (ObjectdArgs, _) = remote::file(args.config.as_deref())?;
    let remote = args.remote.over(below);
    let address = args.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1:9000".into());
    let listen = listen(&address, remote.insecure_network)?;
    let files = https::files(args.tls_cert.or(file.tls_cert), args.tls_key.or(file.tls_key))?;
    let tls_listen = args.tls_listen.or(file.tls_listen);
    if tls_listen.is_some() && files.is_none() {
        return Err(Error::usage("--tls-listen needs a certificate; give --tls-cert and --tls-key"));
    }
    let https = match files {
        Some(files) => Some((https::address(tls_listen)?, files)),
        None => None,
    };
    let remote = remote.resolve()?;
    let domains = if args.domain.is_empty() { file.domain } else { args.domain };
    let websites = if args.website_domain.is_empty() { file.website_domain } else { args.website_domain };
    Ok(Config {
        domains: crate::config::s3_domains("domain", &domains)?,
        website_domains: crate::config::s3_domains("website-domain", &websites)?,
        listen,
        https,
        audit: args.audit.or(file.audit),
        keep: Keep::resolve(
            [args.audit_keep_days, file.audit_keep_days],
            [args.audit_keep_size.as_ref(), file.audit_keep_size.as_ref()],
        )?,
        gateway: args.gateway.or(file.gateway).unwrap_or_else(|| format!("gateway-{}", remote.node.name)),
        region: crate::config::region_name(args.region.or(file.region))?,
        lifecycle_ahead: args.lifecycle_ahead.or(file.lifecycle_ahead),
        log_delivery: crate::config::log_delivery(args.log_delivery_seconds.or(file.log_delivery_seconds))?,
        pool_key: args.pool_key.or(file.pool_key),
        remote,
    })
}

async fn serve(config: Config) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    let Config {
        remote,
        listen,
        https,
        gateway,
        region,
        domains,
        website_domains,
        lifecycle_ahead,
        log_delivery,
        audit,
        keep,
        pool_key,
    } = config;
    let listener = ports::bind("the S3 gateway", "listen", listen)?;
    let addr = ports::address(&listener)?;
    let https = match https {
        Some((listen, files)) => {
            https::check(&files)?;
            Some((ports::bind("HTTPS", "tls-listen", listen)?, files))
        }
        None => None,
    };
    let audit = audit.map(|dir| keep.open(&dir, &gateway)).transpose()?;
    if audit.is_none() {
        tracing::warn!("there is no audit log; --audit DIR keeps one");
    }
    if stop.or_started(remote.register()).await?.is_none() {
        return Ok(());
    }
    // Several gateways' counts are shown side by side.
    let label = ("gateway".into(), gateway.clone().into());
    let mut registry = Registry::with_labels([label].into_iter());
    let metrics = Metrics::register(&mut registry);
    let https = match https {
        Some((listener, files)) => {
            let https = Https::load(files, metrics.clone()).map_err(https::unusable)?;
            Some(HttpsPort { addr: ports::address(&listener)?, listener, https })
        }
        None => None,
    };
    let tls = https.as_ref().map_or(String::new(), |port| format!(" s3-tls=https://{}", port.addr));
    let gateway = GatewayConfig {
        listen: addr,
        region,
        gateway,
        meta: remote.client.clone(),
        token: remote.pool,
        control: Some(control::handle(&remote.client)),
        virtual_host_bases: domains,
        website_domains,
        metrics,
        lifecycle_ahead,
        log_delivery,
        audit,
        pool_key,
    };
    let gateway =
        GatewayPart::start(remote.node.clone(), gateway, Ports { http: listener, https }, Some(registry));
    let link = tokio::spawn(link::run(Arc::clone(&gateway) as _, remote.endpoint));
    let serves = async {
        gateway.serves().await;
        Ok(())
    };
    if stop.or_started(serves).await?.is_some() {
        process::announce(&format!("ready s3=http://{addr}{tls} node={}\n", remote.node.name));
        stop.asked().await;
    }
    link.abort();
    stop.while_stopping(async {
        gateway.stop().await;
        Ok(())
    })
    .await
}
