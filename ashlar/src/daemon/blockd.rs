//! `ashlar blockd`: the chunk servers of one machine's disks.

use super::remote::{self, Remote, RemoteArgs};
use crate::daemon::config::listen_host;
use crate::error::{Error, Exit};
use crate::fleet::link;
use crate::folder::Folder;
use crate::process::{self, Stop};
use crate::shelf::{DiskSpec, Shelf, ShelfConfig, check_distinct, find, plan};
use serde::Deserialize;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// `ashlar blockd`'s flags and config file.
#[derive(Debug, Clone, Default, clap::Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct BlockdArgs {
    /// A device or file to serve; again for each disk. An empty one is formatted, and one with foreign content
    /// is refused. With SIZE, a file that is not there is made
    #[arg(long, value_name = "PATH[:SIZE]")]
    disk: Vec<String>,
    /// Where the chunk servers listen; with PORT, the first disk takes it and the next ones follow. Without, each
    /// takes the port it had before, or a free one [default: 127.0.0.1]
    #[arg(long, value_name = "HOST[:PORT]")]
    listen: Option<String>,
    /// A folder to write down disks that `ashlar disk add` adds; without one, add them to --disk yourself
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    #[command(flatten)]
    #[serde(skip)]
    remote: RemoteArgs,
    /// A TOML file with any of these, named alike (disk is a list)
    #[arg(long, env = "ASHLAR_CONFIG", value_name = "FILE")]
    #[serde(skip)]
    config: Option<PathBuf>,
}

struct Config {
    remote: Remote,
    disks: Vec<(PathBuf, Option<u64>)>,
    listen: IpAddr,
    first_port: Option<u16>,
    dir: Option<PathBuf>,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(args: BlockdArgs) -> Result<(), Error> {
    let config = resolve(args)?;
    process::run(|| serve(config))
}

fn resolve(args: BlockdArgs) -> Result<Config, Error> {
    let (file, below): (BlockdArgs, _) = remote::file(args.config.as_deref())?;
    let remote = args.remote.over(below);
    let address = args.listen.or(file.listen).unwrap_or_else(|| "127.0.0.1".into());
    let (listen, first_port) = listen_host(&address, remote.insecure_network)?;
    let named = if args.disk.is_empty() { file.disk } else { args.disk };
    let disks = named.iter().map(|text| disk(text)).collect::<Result<Vec<_>, Error>>()?;
    check_distinct(&disks)?;
    let dir = args.dir.or(file.dir);
    if disks.is_empty() && dir.is_none() {
        return Err(Error::usage("a disk is missing; give --disk PATH[:SIZE]"));
    }
    Ok(Config { remote: remote.resolve()?, disks, listen, first_port, dir })
}

/// `PATH[:SIZE]`, the path made absolute.
pub fn disk(text: &str) -> Result<(PathBuf, Option<u64>), Error> {
    let (path, size) = match text.rsplit_once(':') {
        // What is behind a colon may belong to a device's name, such as pci-0000:00:01.0; no size has a slash.
        Some((path, size)) if !size.contains('/') && size.starts_with(|c: char| c.is_ascii_digit()) => {
            match proto::size::parse(size) {
                Ok(bytes) => (path, Some(bytes)),
                Err(_) if std::path::Path::new(text).exists() => (text, None),
                Err(error) => return Err(Error::usage(format!("disk '{text}': {error}"))),
            }
        }
        _ => (text, None),
    };
    if path.is_empty() {
        return Err(Error::usage(format!("disk '{text}' has no path")));
    }
    let path = std::path::absolute(path)
        .map_err(|error| Error::usage(format!("can't use the disk {path}: {error}")))?;
    Ok((path, size))
}

async fn serve(config: Config) -> Result<(), Error> {
    let mut stop = Stop::new()?;
    let folder = match &config.dir {
        Some(dir) => Some(Arc::new(Folder::take(dir).await?)),
        None => None,
    };
    let mut disks = look_at_disks(&config.disks).await?;
    if let Some(folder) = &folder {
        let added = plan::added(folder)?.into_iter();
        let added = added.filter(|(path, _)| !config.disks.iter().any(|(given, _)| given == path));
        disks.extend(added.map(|(path, id)| DiskSpec { path, id: Some(id), create_bytes: None }));
    }
    let Config { remote, listen, first_port, .. } = config;
    // A fixed port needs nobody's word: writers that know the disks find them while the control plane is away.
    if first_port.is_none() && stop.or_started(remote.register()).await?.is_none() {
        return Ok(());
    }
    let shelf = Shelf::new(ShelfConfig {
        node: remote.node.clone(),
        meta: remote.client.clone(),
        token: remote.pool,
        listen,
        first_port,
        folder,
    });
    let count = disks.len();
    let slots = shelf.start(disks).await;
    let failed = slots.iter().filter(|slot| slot.failure().is_some()).count();
    let link = tokio::spawn(link::run(Arc::clone(&shelf) as _, remote.endpoint));
    process::announce(&format!(
        "ready node={} disks={count} failed={failed} listen={listen}\n",
        remote.node.name
    ));
    stop.asked().await;
    link.abort();
    stop.while_stopping(shelf.stop()).await
}

/// Refuses foreign content before anything is served. A disk that is ours and broken, or is held by a daemon that
/// is just ending, is left to its keeper, which tries again.
async fn look_at_disks(disks: &[(PathBuf, Option<u64>)]) -> Result<Vec<DiskSpec>, Error> {
    let mut specs = Vec::new();
    for (path, create_bytes) in disks {
        let (looked_at, size) = (path.clone(), *create_bytes);
        let found = tokio::task::spawn_blocking(move || find(&looked_at, size)).await;
        let found =
            found.map_err(|error| Error::failed(format!("looking at a disk ended badly: {error}")))?;
        let spec = match found {
            Ok(found) => {
                DiskSpec { path: path.clone(), id: Some(found.id), create_bytes: found.create_bytes }
            }
            Err(error) if matches!(error.exit, Exit::Failed | Exit::Unavailable) => {
                DiskSpec { path: path.clone(), id: None, create_bytes: None }
            }
            Err(error) => return Err(error),
        };
        specs.push(spec);
    }
    Ok(specs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_is_a_path_and_maybe_a_size() {
        assert_eq!(disk("/a/b:10G").unwrap(), ("/a/b".into(), Some(10 << 30)));
        assert_eq!(disk("/dev/sdb").unwrap(), ("/dev/sdb".into(), None));
        assert_eq!(disk("/dev/disk/by-path/pci-0000:x").unwrap().1, None);
        for text in ["/a:1X", ":1G", ""] {
            assert_eq!(disk(text).expect_err(text).exit, Exit::Usage);
        }
    }

    #[test]
    fn the_file_has_the_flags_names_and_no_others() {
        let text = "disk = ['/a:1G']\nmeta = 'http://127.0.0.1:1'\ntoken-file = '/t'\nnode = 'n'\nzone = 'z'\n\
                    insecure-network = true\nlisten = '127.0.0.1'\ndir = '/d'\n";
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("blockd.toml");
        std::fs::write(&path, text).unwrap();
        let (read, remote): (BlockdArgs, RemoteArgs) = remote::file(Some(&path)).unwrap();
        assert_eq!(
            (read.disk, remote.node, remote.zone),
            (vec!["/a:1G".into()], Some("n".into()), Some("z".into()))
        );
        assert!(remote.insecure_network && remote.token_file.is_some() && remote.meta.is_some());
        assert!(read.dir.is_some() && read.listen.is_some());
        for (wrong, part) in [
            ("disks = []\n", "disks"),
            ("config = '/x'\n", "config"),
            ("remote = 1\n", "remote"),
            ("node = 7\n", "node"),
            ("\ndisk = 7\n", "disk"),
            ("\n=", "line 2"),
        ] {
            std::fs::write(&path, wrong).unwrap();
            let error = remote::file::<BlockdArgs>(Some(&path)).expect_err(wrong);
            assert_eq!(error.exit, Exit::Usage);
            assert!(!error.to_string().contains('\n') && error.to_string().contains(part), "{error}");
        }
    }
}
