//! `ashlar up`: a control plane, three chunk servers, the S3 gateway and the volume agent in one process.
//!
//! The order of starting is the order of dependence, and ports are bound before anything is written, so that
//! a start that can't succeed leaves nothing half-made.

mod agent;
mod copy;
mod deleter;
mod disks;
mod env_file;
mod listen;
mod metrics;
mod parts;
mod report;
mod routes;

use crate::config::{Config, UpArgs};
use crate::error::Error;
use crate::folder::{Folder, Secrets};
use crate::limits::SHUTDOWN_DEADLINE;
use rt::rng::SystemRng;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Runs until SIGTERM or SIGINT.
pub fn run(args: &UpArgs) -> Result<(), Error> {
    let config = Config::resolve(args)?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,openraft=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::failed(format!("can't start a runtime: {error}")))?;
    let outcome = runtime.block_on(serve(config));
    // Tasks that wait for nothing any more must not keep the process.
    runtime.shutdown_background();
    outcome
}

async fn serve(config: Config) -> Result<(), Error> {
    // Asked for first: a signal during the start must not kill half-way.
    let mut stop = Stop::new()?;
    Folder::check(&config.data).await?;
    let admin = listen::bind("the admin API", "admin", config.admin)?;
    let s3 = listen::bind("the S3 gateway", "s3", config.s3)?;
    let folder = Folder::take(&config.data).await?;
    let secrets = folder.secrets(&mut SystemRng)?;
    let addresses = Addresses { admin: listen::address(&admin)?, s3: listen::address(&s3)? };
    let starting = parts::Parts::start(&config, folder, &secrets, addresses, admin, s3);
    let parts = tokio::select! {
        parts = starting => parts?,
        () = stop.asked() => {
            tracing::info!("stopped while starting");
            return Ok(());
        }
    };
    env_file::write(&parts.agent().folder, &config, &secrets, addresses)?;
    announce(&config, &secrets, addresses)?;
    stop.asked().await;
    tracing::info!("stopping");
    let stopping = parts.stop();
    tokio::select! {
        outcome = tokio::time::timeout(SHUTDOWN_DEADLINE, stopping) => outcome.unwrap_or_else(|_| {
            Err(Error::failed("some parts did not stop in time; the next start recovers"))
        }),
        () = stop.asked() => Err(Error::failed("told twice to stop, so it ended at once; the next start recovers")),
    }
}

/// Where the two faces listen, with the ports they really got.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub admin: SocketAddr,
    pub s3: SocketAddr,
}

/// The wish to stop, from a terminal or a supervisor.
struct Stop {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

impl Stop {
    fn new() -> Result<Self, Error> {
        let failed = |error| Error::failed(format!("can't listen to signals: {error}"));
        Ok(Self {
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
        })
    }

    async fn asked(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// The lines a newcomer can paste, and the one a script waits for.
fn announce(config: &Config, secrets: &Secrets, addresses: Addresses) -> Result<(), Error> {
    let env = config.data.join("env.sh");
    let program = std::env::current_exe().unwrap_or_else(|_| "ashlar".into());
    let (env, program) = (env_file::quoted(&env.display().to_string()), program.display().to_string());
    let mut text = format!(
        "\n\
         S3 at http://{s3}, admin API at http://{admin}, data in {data}\n\
         All three replicas are on this machine: losing it loses all of them.\n\n\
         # in another terminal:\n\
         . {env}\n\
         aws s3 mb s3://first && aws s3 cp /etc/hostname s3://first/ && aws s3 ls s3://first\n\
         {program} volume create disk1 --size 2G\n\
         make guest   # once: a kernel and a small initrd\n\
         {program} vm run vm1 --volume disk1 --kernel guest/vmlinuz --initrd guest/initrd.img\n\
         {program} vm console vm1\n\
         {program} status\n\n",
        s3 = addresses.s3,
        admin = addresses.admin,
        data = config.data.display(),
    );
    if secrets.key_is_new {
        text.push_str(&format!(
            "The root S3 key was made just now and is shown this once (it is kept in the data folder, mode 0600):\n\
             export AWS_ACCESS_KEY_ID={}\n\
             export AWS_SECRET_ACCESS_KEY={}\n\
             export AWS_DEFAULT_REGION={}\n\
             export AWS_ENDPOINT_URL=http://{}\n\n",
            secrets.key.id, secrets.key.secret, config.region, addresses.s3
        ));
    }
    text.push_str(&format!("ready s3=http://{} admin=http://{}\n", addresses.s3, addresses.admin));
    let mut out = std::io::stdout().lock();
    // Nobody may be reading any more; the daemon serves all the same.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    Ok(())
}

/// What every part shares.
pub type SharedAgent = Arc<agent::Agent>;
