//! `ashlar volume`.

use crate::api::{
    AttachVolume, Copied, CopyVolume, CreateVolume, DetachVolume, ResizeVolume, VolumeDetail, VolumeView,
};
use crate::cli::Format;
use crate::cli::client::{Client, ClientArgs, path};
use crate::cli::output::{fields, print, show, table};
use crate::cli::progress::Far;
use crate::error::Error;
use proto::size;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a copy of a whole volume may take.
const COPY_WAIT: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a volume; it takes space only as it is written
    Create {
        /// The volume's name
        name: String,
        /// Such as 2G
        #[arg(long, value_parser = size::parse, value_name = "SIZE")]
        size: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List all volumes
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a volume's size, use, attachment and replicas
    Show {
        /// The volume's name
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make a volume larger; a running guest sees it at once
    Resize {
        /// The volume's name
        name: String,
        /// The new size, such as 4G; not below the present one
        #[arg(long, value_parser = size::parse)]
        size: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Delete a volume and its data
    Delete {
        /// The volume's name
        name: String,
        /// Don't ask
        #[arg(long)]
        yes: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Serve a volume as a vhost-user-blk socket, until it is detached
    Attach {
        /// The volume's name
        name: String,
        /// Where to make the socket
        #[arg(long, value_name = "PATH")]
        socket: PathBuf,
        /// The machine to serve it on; needed where there are several
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        /// Take it over from the machine that it is attached on, once a guest starts on this one: for a VM that is
        /// about to be moved here by other means than `ashlar vm migrate`
        #[arg(long)]
        takeover: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Stop serving a volume
    Detach {
        /// The volume's name
        name: String,
        /// Even if the machine that serves it does not answer: the next to open it fences that one
        #[arg(long)]
        force: bool,
        /// Only call off that this machine takes the volume over (see attach --takeover)
        #[arg(long, value_name = "NAME", conflicts_with = "force")]
        node: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Copy a volume that is not attached into a raw image file
    Export {
        /// The volume's name
        name: String,
        /// The image, on that machine
        #[arg(long, value_name = "PATH")]
        file: PathBuf,
        /// The machine to do it on; needed where there are several
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Copy a raw image file into a volume that is not attached
    Import {
        /// The volume's name
        name: String,
        /// The image, on that machine
        #[arg(long, value_name = "PATH")]
        file: PathBuf,
        /// The machine to do it on; needed where there are several
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Create { name, size, client } => create(&client, name, size),
        Command::List { client } => list(&client),
        Command::Show { name, client } => {
            let detail: VolumeDetail = Client::new(&client)?.get(&path(&["volumes", &name]))?;
            show(client.output, &detail, detail_table)
        }
        Command::Resize { name, size, client } => {
            let body = ResizeVolume { size_bytes: size };
            let view: VolumeView = Client::new(&client)?.post(&path(&["volumes", &name, "resize"]), &body)?;
            show(client.output, &view, |view| format!("{}: {}\n", view.name, size::show(view.size_bytes)))
        }
        Command::Delete { name, yes, client } => delete(&client, &name, yes),
        Command::Attach { name, socket, node, takeover, client } => {
            let body = AttachVolume { socket: absolute(&socket)?, node, takeover };
            let view: VolumeView = Client::new(&client)?.post(&path(&["volumes", &name, "attach"]), &body)?;
            let verb = if takeover { "will be taken over by a guest that starts" } else { "is served" };
            show(client.output, &view, |_| format!("{name} {verb} at {}\n", body.socket.display()))
        }
        Command::Detach { name, force, node, client } => {
            let body = DetachVolume { force, node };
            let view: VolumeView = Client::new(&client)?.post(&path(&["volumes", &name, "detach"]), &body)?;
            show(client.output, &view, |_| match &body.node {
                None => format!("{name} is detached\n"),
                Some(node) => format!("{name} will not be taken over by {node}\n"),
            })
        }
        Command::Export { name, file, node, client } => {
            copy(&client, &name, CopyVolume { file: absolute(&file)?, node }, "export")
        }
        Command::Import { name, file, node, client } => {
            copy(&client, &name, CopyVolume { file: absolute(&file)?, node }, "import")
        }
    }
}

/// A path that means the same in the daemon's folder as in this one.
pub fn absolute(file: &Path) -> Result<PathBuf, Error> {
    std::path::absolute(file).map_err(|error| Error::usage(format!("can't use {}: {error}", file.display())))
}

fn create(client: &ClientArgs, name: String, size_bytes: u64) -> Result<(), Error> {
    let body = CreateVolume { name, size_bytes };
    let view: VolumeView = Client::new(client)?.post("/v1/volumes", &body)?;
    show(client.output, &view, |view| format!("{}: {}\n", view.name, size::show(view.size_bytes)))
}

fn list(client: &ClientArgs) -> Result<(), Error> {
    let volumes: Vec<VolumeView> = Client::new(client)?.get("/v1/volumes")?;
    show(client.output, &volumes, |volumes| {
        let rows: Vec<_> = volumes
            .iter()
            .map(|volume| {
                vec![
                    volume.name.clone(),
                    size::show(volume.size_bytes),
                    volume.state.clone(),
                    attached(volume),
                ]
            })
            .collect();
        table(&["NAME", "SIZE", "STATE", "ATTACHED"], &rows)
    })
}

fn attached(volume: &VolumeView) -> String {
    match &volume.attachment {
        None => "no".to_owned(),
        Some(attachment) => match (&attachment.error, &attachment.vm) {
            (Some(error), _) => format!("FAILED at {}: {error}", attachment.socket),
            (None, Some(vm)) => format!("VM {vm}"),
            (None, None) => attachment.socket.clone(),
        },
    }
}

fn detail_table(detail: &VolumeDetail) -> String {
    let volume = &detail.volume;
    let mut text = fields(&[
        ("name", volume.name.clone()),
        ("size", size::show(volume.size_bytes)),
        ("used", format!("{} on each replica", size::show(detail.used_bytes))),
        ("state", volume.state.clone()),
        ("attached", attached(volume)),
        ("epoch", volume.epoch.to_string()),
    ]);
    let rows: Vec<_> = detail
        .replicas
        .iter()
        .map(|replica| {
            vec![
                replica.disk.clone(),
                replica.address.clone(),
                size::show(replica.used_bytes),
                replica.error.clone().unwrap_or_else(|| "answers".to_owned()),
            ]
        })
        .collect();
    text.push('\n');
    text.push_str(&table(&["DISK", "ADDRESS", "USED", "STATE"], &rows));
    text
}

fn delete(client: &ClientArgs, name: &str, yes: bool) -> Result<(), Error> {
    if !yes && !confirmed(name)? {
        return Err(Error::failed(format!("{name} was not deleted")));
    }
    let gone: Value = Client::new(client)?.delete(&path(&["volumes", name]))?;
    match client.output {
        Format::Json => show(client.output, &gone, |_| String::new()),
        Format::Table => print(&format!("{name} is deleted\n")),
    }
}

/// Asks a person; a script that forgot `--yes` is told so.
fn confirmed(name: &str) -> Result<bool, Error> {
    use std::io::{IsTerminal, Write};
    if !std::io::stdin().is_terminal() {
        return Err(Error::usage(format!("deleting {name} destroys its data; add --yes to do it")));
    }
    let mut err = std::io::stderr();
    let _ = write!(err, "Delete volume {name} and all its data? Type its name: ").and_then(|()| err.flush());
    let mut line = String::new();
    std::io::stdin()
        .read_line(&mut line)
        .map_err(|error| Error::failed(format!("can't read stdin: {error}")))?;
    Ok(line.trim() == name)
}

fn copy(client: &ClientArgs, name: &str, body: CopyVolume, what: &str) -> Result<(), Error> {
    let waiting = format!("{what} of {name}");
    // All volumes and not this one alone: to show one, its disks are asked.
    let far = |volumes: Vec<VolumeView>| {
        let copy = volumes.into_iter().find(|volume| volume.name == name)?.copy?;
        Some(Far::of(copy.done_bytes, copy.total_bytes))
    };
    let copied: Copied = Client::new(client)?.post_watched(
        &path(&["volumes", name, what]),
        &body,
        (&waiting, COPY_WAIT),
        ("/v1/volumes", far),
    )?;
    show(client.output, &copied, |copied| {
        format!(
            "{what} of {name}: {}, of which {} data\n",
            size::show(copied.bytes),
            size::show(copied.data_bytes)
        )
    })
}
