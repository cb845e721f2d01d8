//! `ashlar up`: a control plane, three chunk servers, the S3 gateway and the volume agent in one process.
//!
//! The order of starting is the order of dependence, and ports are bound before anything is written, so that
//! a start that can't succeed leaves nothing half-made.

mod parts;

use crate::config::{Config, UpArgs};
use crate::env_file;
use crate::error::Error;
use crate::folder::{Folder, Secrets};
use crate::listen;
use crate::process::{self, Stop};
use rt::rng::SystemRng;
use std::net::SocketAddr;

/// Runs until SIGTERM or SIGINT.
pub fn run(args: &UpArgs) -> Result<(), Error> {
    let config = Config::resolve(args)?;
    process::run(|| serve(config))
}

async fn serve(config: Config) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    Folder::check(&config.data).await?;
    let admin = listen::bind("the admin API", "admin", config.admin)?;
    let s3 = listen::bind("the S3 gateway", "s3", config.s3)?;
    let folder = Folder::take(&config.data).await?;
    let secrets = folder.secrets(&mut SystemRng)?;
    let addresses = Addresses { admin: listen::address(&admin)?, s3: listen::address(&s3)? };
    let starting = parts::Parts::start(&config, folder, &secrets, addresses, admin, s3);
    let Some(parts) = stop.or_started(starting).await? else { return Ok(()) };
    env_file::write(&parts.folder, &secrets, &config.region, addresses.admin, Some(addresses.s3))?;
    announce(&config, &secrets, addresses);
    stop.asked().await;
    stop.while_stopping(parts.stop()).await
}

/// Where the two faces listen, with the ports they really got.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub admin: SocketAddr,
    pub s3: SocketAddr,
}

/// The lines a newcomer can paste, and the one a script waits for.
fn announce(config: &Config, secrets: &Secrets, addresses: Addresses) {
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
    process::announce(&text);
}
