//! What the daemons beside the control plane share: how they find it, and how they prove who they are.

use crate::daemon::config::{meta_url, needed};
use crate::error::Error;
use crate::fleet::link::Endpoint;
use crate::folder::DaemonToken;
use crate::limits::SERVE_RETRY;
use crate::node;
use meta::client::Client;
use meta::record::NodeRecord;
use proto::control::PoolToken;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};
use toml::Table;

/// Flags of every daemon but the control plane.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RemoteArgs {
    /// The control plane's admin API, such as http://127.0.0.1:7070
    #[arg(long, env = "ASHLAR_META", value_name = "URL")]
    pub meta: Option<String>,
    /// The file with the pool's secrets that `ashlar meta` has made: DIR/secrets/daemon.token, mode 0600
    #[arg(long, env = "ASHLAR_TOKEN_FILE", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// This machine's name in the pool [default: its host name]
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The failure domain this machine stands in [default: its name]
    #[arg(long, value_name = "ZONE")]
    pub zone: Option<String>,
    /// Use other addresses than loopback although there is no TLS: whoever sees that network's traffic gets the
    /// pool's secrets
    #[arg(long)]
    pub insecure_network: bool,
}

/// The settings of a daemon's config file: its own, and those of [`RemoteArgs`] beside them. `flatten` would do
/// this too, but for unknown keys, which it lets pass.
pub fn file<T: DeserializeOwned + Default>(path: Option<&Path>) -> Result<(T, RemoteArgs), Error> {
    let Some(path) = path else { return Ok(<(T, RemoteArgs)>::default()) };
    let mut own: Table = crate::config::read(path)?;
    let shared = RemoteArgs::KEYS.into_iter().filter_map(|key| own.remove_entry(key)).collect();
    Ok((typed(path, own)?, typed(path, shared)?))
}

fn typed<T: DeserializeOwned>(path: &Path, table: Table) -> Result<T, Error> {
    table.try_into().map_err(|error: toml::de::Error| {
        Error::usage(format!("can't use the config file {}: {}", path.display(), error.to_string().trim()))
    })
}

impl RemoteArgs {
    /// As the config file names them.
    const KEYS: [&str; 5] = ["meta", "token-file", "node", "zone", "insecure-network"];

    /// These over those of the config file.
    pub fn over(self, file: Self) -> Self {
        Self {
            meta: self.meta.or(file.meta),
            token_file: self.token_file.or(file.token_file),
            node: self.node.or(file.node),
            zone: self.zone.or(file.zone),
            insecure_network: self.insecure_network || file.insecure_network,
        }
    }

    pub fn resolve(self) -> Result<Remote, Error> {
        let url = meta_url(&needed(self.meta, "meta")?, self.insecure_network)?;
        let token = DaemonToken::read(&needed(self.token_file, "token-file")?)?;
        Ok(Remote {
            client: Client::remote(&url, &token.admin)?,
            endpoint: Endpoint { url, token: token.admin },
            pool: token.pool,
            node: node::named(self.node, self.zone)?,
        })
    }
}

/// The control plane as a daemon sees it.
pub struct Remote {
    pub client: Client,
    pub endpoint: Endpoint,
    pub pool: PoolToken,
    pub node: NodeRecord,
}

impl Remote {
    /// Makes the control plane know this machine, as soon as it can be reached.
    pub async fn register(&self) -> Result<(), Error> {
        let mut told = false;
        loop {
            match node::register(&self.client, &self.node).await {
                Err(error) if error.exit == crate::error::Exit::Unavailable => {
                    if !told {
                        tracing::warn!(%error, "waiting for the control plane");
                    }
                    told = true;
                    tokio::time::sleep(SERVE_RETRY).await;
                }
                outcome => return outcome,
            }
        }
    }
}
