//! `ashlar up`: a control plane, three chunk servers, the S3 gateway and the volume agent in one process.
//!
//! The order of starting is the order of dependence, and ports are bound before anything is written, so that
//! a start that can't succeed leaves nothing half-made.

mod local_ca;
mod names;
mod parts;

use crate::config::{Certificate, Config, UpArgs};
use crate::env_file::{self, Endpoint};
use crate::error::Error;
use crate::folder::{Folder, Secrets};
use crate::https;
use crate::listen;
use crate::process::{self, Stop};
use local_ca::LocalCa;
use objectd::TlsFiles;
use rt::clock::{Clock, SystemClock};
use rt::rng::SystemRng;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

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
    let tls = config.tls.as_ref().map(|tls| listen::bind("HTTPS", "tls-listen", tls.listen)).transpose()?;
    if let Some(Certificate::Files(files)) = config.tls.as_ref().map(|tls| &tls.certificate) {
        https::check(files)?;
    }
    let folder = Arc::new(Folder::take(&config.data).await?);
    let secrets = folder.secrets(&mut SystemRng)?;
    let mut addresses = Addresses { admin: listen::address(&admin)?, s3: listen::address(&s3)?, tls: None };
    let mut endpoint = Endpoint::Http(addresses.s3);
    let mut renewing = None;
    let mut tls_port = None;
    if let Some((tls, listener)) = config.tls.as_ref().zip(tls) {
        let addr = listen::address(&listener)?;
        addresses.tls = Some(addr);
        let files = match &tls.certificate {
            // Whose names it holds is not known here, so clients on this machine go on with plain HTTP.
            Certificate::Files(files) => files.clone(),
            Certificate::LocalCa => {
                let domains = [&config.s3_domains[..], &config.website_domains].concat();
                let ca = LocalCa::new(Arc::clone(&folder), addr, &domains);
                ca.renew(SystemClock.wall())?;
                endpoint = Endpoint::Https(addr, ca.authority());
                let files = ca.files();
                renewing = Some(tokio::spawn(ca.keep()));
                files
            }
        };
        tls_port = Some((listener, files));
    }
    let ports = Ports { admin, s3, tls: tls_port };
    let starting = parts::Parts::start(&config, folder, &secrets, addresses, ports);
    let Some(parts) = stop.or_started(starting).await? else { return Ok(()) };
    env_file::write(&parts.folder, &secrets, &config.region, addresses.admin, Some(&endpoint))?;
    announce((&config, parts.pool_key()), &secrets, addresses, &endpoint);
    stop.asked().await;
    if let Some(renewing) = renewing {
        renewing.abort();
    }
    stop.while_stopping(parts.stop()).await
}

/// What was bound before anything was started.
pub struct Ports {
    pub admin: TcpListener,
    pub s3: TcpListener,
    pub tls: Option<(TcpListener, TlsFiles)>,
}

/// Where the faces listen, with the ports they really got.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub admin: SocketAddr,
    pub s3: SocketAddr,
    pub tls: Option<SocketAddr>,
}

/// The lines a newcomer can paste, and the one a script waits for.
fn announce(
    (config, pool_key): (&Config, Option<&Path>),
    secrets: &Secrets,
    addresses: Addresses,
    endpoint: &Endpoint,
) {
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
    if let Some(tls) = addresses.tls {
        text.push_str(&format!("S3 over HTTPS too, at https://{tls}\n"));
    }
    if let Endpoint::Https(_, ca) = endpoint {
        text.push_str(&trusting(&ca.display().to_string()));
    }
    if let Some(path) = pool_key {
        text.push_str(&format!(
            "The keys of encrypted objects are in {}: without that file they are lost for good. Keep a copy elsewhere.\n\n",
            path.display()
        ));
    }
    if secrets.key_is_new {
        let variables = endpoint.variables();
        let variables = variables
            .iter()
            .map(|(name, value)| format!("export {name}={}\n", env_file::quoted(value)))
            .collect::<String>();
        text.push_str(&format!(
            "The root S3 key was made just now and is shown this once (it is kept in the data folder, mode 0600):\n\
             export AWS_ACCESS_KEY_ID={}\n\
             export AWS_SECRET_ACCESS_KEY={}\n\
             export AWS_DEFAULT_REGION={}\n\
             {variables}\n",
            secrets.key.id, secrets.key.secret, config.region
        ));
    }
    let tls = addresses.tls.map_or(String::new(), |tls| format!(" s3-tls=https://{tls}"));
    text.push_str(&format!("ready s3=http://{}{tls} admin=http://{}\n", addresses.s3, addresses.admin));
    process::announce(&text);
}

/// How clients come to trust the local CA.
fn trusting(ca: &str) -> String {
    let ca = env_file::quoted(ca);
    format!(
        "Its certificate is signed by this store's own CA, whose key never leaves the data folder. To trust it:\n\
         # aws-cli and boto3: env.sh sets AWS_CA_BUNDLE; curl and others are given the file\n\
         curl --cacert {ca} ...\n\
         # everything on this machine (Debian); on others, copy the file there first\n\
         sudo cp {ca} /usr/local/share/ca-certificates/ashlar.crt && sudo update-ca-certificates\n\n"
    )
}
