//! `ashlar disk`.

use crate::api::{AddDisk, DiskDetail, LoseDisk, ReplaceDisk, SetDiskState};
use crate::cli::Format;
use crate::cli::client::{Client, ClientArgs, path};
use crate::cli::output::{fields, print, show, table};
use crate::cli::progress::{Far, Unit, Waiting, bar, waiting};
use crate::daemon::disk_and_size;
use crate::error::{Error, Exit};
use crate::limits::PROGRESS_POLL;
use blockd::ErrorKind;
use blockd::store::check::{CheckReport, check};
use meta::record::DiskAdmin;
use proto::size;
use rt::device::{Access, BlockDevice, FileDevice};
use serde_json::Value;
use std::cell::Cell;
use std::io;
use std::path::{Path, PathBuf};

/// What is read of a disk between two words about it.
const SHOWN_BYTES: u64 = 16 << 20;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the pool's disks: where they are, how they are, and in how many groups they are in sync
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Take a disk into use on a machine that runs; an empty device or file is formatted, and one with foreign
    /// content is refused
    Add {
        /// The device or file there; with SIZE, a file that is not there is made
        #[arg(value_name = "PATH[:SIZE]")]
        disk: String,
        /// The machine, by name; needed where there are several
        #[arg(long, value_name = "NAME")]
        node: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Have one disk take the place of another, which may be gone; both by id or path
    Replace {
        /// The disk that goes; it is drained
        old: String,
        /// A disk of the pool; add it first: ashlar disk add
        new: String,
        /// Return only when everything has moved
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Move everything off a disk, by id or path; or, with --undo, use it again
    Drain {
        /// Its id, the beginning of that, or its path
        disk: String,
        /// Stop emptying it
        #[arg(long)]
        undo: bool,
        /// Return only when nothing is left on it
        #[arg(long, conflicts_with = "undo")]
        wait: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Forget a disk that is empty or was replaced, by id or path; or, with --lost, one that is gone for good:
    /// other disks take its places, where there are any
    Remove {
        /// Its id, the beginning of that, or its path
        disk: String,
        /// It is dead and never comes back
        #[arg(long)]
        lost: bool,
        /// Give up for good what no other disk holds a copy in sync of
        #[arg(long, requires = "lost")]
        accept_data_loss: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Read a whole disk that no daemon uses and say what is wrong with it; changes nothing
    Check {
        /// The disk's file or device
        path: PathBuf,
        /// How to print data
        #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List { client } => list(&client),
        Command::Add { disk, node, client } => add(&client, &disk, node),
        Command::Replace { old, new, wait, client } => replace(&client, &old, new, wait),
        Command::Drain { disk, undo, wait, client } => {
            let state = if undo { DiskAdmin::Active } else { DiskAdmin::Draining };
            set_state(&client, &disk, state)?;
            if wait { emptied(&Client::new(&client)?, &disk) } else { Ok(()) }
        }
        Command::Remove { disk, lost: true, accept_data_loss, client } => {
            lose(&client, &disk, accept_data_loss)
        }
        Command::Remove { disk, client, .. } => set_state(&client, &disk, DiskAdmin::Removed),
        Command::Check { path, output } => check_disk(&path, output),
    }
}

fn list(client: &ClientArgs) -> Result<(), Error> {
    let disks: Vec<DiskDetail> = Client::new(client)?.get("/v1/disks")?;
    show(client.output, &disks, |disks| {
        let rows: Vec<_> = disks.iter().map(row).collect();
        table(&["ID", "NODE", "PATH", "SIZE", "USED", "GROUPS", "STATE"], &rows)
    })
}

fn row(disk: &DiskDetail) -> Vec<String> {
    let total = disk.in_sync + disk.catching_up + disk.out;
    let state = match (&disk.error, disk.state, disk.catching_up, disk.out) {
        (_, DiskAdmin::Removed, _, _) => "removed".to_owned(),
        (Some(error), _, _, _) => error.clone(),
        (None, DiskAdmin::Draining, _, _) => format!("draining, {total} groups left"),
        (None, _, _, out) if disk.slow.is_some() => {
            format!("slow, kept out of {out} groups; try it now: ashlar disk drain --undo {}", disk.id)
        }
        (None, _, 0, 0) => "good".to_owned(),
        (None, _, 0, out) => format!("out of {out} groups"),
        (None, _, behind, _) => format!("catching up in {behind} groups{}", progress(disk)),
    };
    vec![
        disk.id.clone(),
        disk.node.clone(),
        disk.path.clone(),
        size::show(disk.capacity_bytes),
        size::show(disk.used_bytes),
        format!("{} of {total} in sync", disk.in_sync),
        state,
    ]
}

fn progress(disk: &DiskDetail) -> String {
    let Some(rebuild) = disk.rebuild.as_ref().filter(|rebuild| rebuild.total_bytes > 0) else {
        return String::new();
    };
    let left = rebuild.seconds_left().map_or_else(String::new, |seconds| format!(", about {seconds} s left"));
    format!(", {} %{left}", rebuild.percent())
}

fn add(client: &ClientArgs, text: &str, node: Option<String>) -> Result<(), Error> {
    let (path, size_bytes) = disk_and_size(text)?;
    let answer: Value = Client::new(client)?.post("/v1/disks", &AddDisk { path, size_bytes, node })?;
    show(client.output, &answer, |answer| {
        let id = answer["disk"]["id"].as_str().unwrap_or_default();
        let mut text = format!("{id} is in use\n");
        if answer["remembered"] == false {
            text.push_str("add it to blockd's --disk flags too, or it will not be served after a restart\n");
        }
        text
    })
}

fn replace(client: &ClientArgs, old: &str, new: String, wait: bool) -> Result<(), Error> {
    let body = ReplaceDisk { new };
    let connection = Client::new(client)?;
    let answer: Value = connection.post(&path(&["disks", old, "replace"]), &body)?;
    show(client.output, &answer, |answer| {
        format!(
            "{} takes the place of {} in {} groups; ashlar status shows how far it is\n",
            body.new, old, answer["groups"]
        )
    })?;
    if wait { emptied(&connection, old) } else { Ok(()) }
}

/// Waits until a disk is a member of no group, and shows how far that is.
fn emptied(client: &Client, disk: &str) -> Result<(), Error> {
    let sign = bar(format!("emptying {disk}"), Unit::Groups);
    let mut first = None;
    loop {
        let disks: Vec<DiskDetail> = client.get("/v1/disks")?;
        let left = left_on(&disks, disk)?;
        if left == 0 {
            return Ok(());
        }
        sign.at(Far::left(*first.get_or_insert(left), left));
        client.pause(PROGRESS_POLL);
    }
}

/// Groups that the disk, by id, its beginning or path, is still a member of.
fn left_on(disks: &[DiskDetail], name: &str) -> Result<u64, Error> {
    let is_it = |disk: &&DiskDetail| disk.path == name || disk.id.starts_with(name);
    let Some(disk) = disks.iter().find(is_it) else {
        return Err(Error::new(Exit::NotFound, format!("{name} is no longer a disk of the pool")));
    };
    if disk.state == DiskAdmin::Active {
        return Err(Error::new(
            Exit::Conflict,
            format!("somebody had {name} used again: it is not being emptied"),
        ));
    }
    Ok(u64::from(disk.in_sync) + u64::from(disk.catching_up) + u64::from(disk.out))
}

fn set_state(client: &ClientArgs, disk: &str, state: DiskAdmin) -> Result<(), Error> {
    let answer: Value =
        Client::new(client)?.post(&path(&["disks", disk, "state"]), &SetDiskState { state })?;
    match client.output {
        Format::Json => show(client.output, &answer, |_| String::new()),
        Format::Table => print(&match state {
            DiskAdmin::Active => format!("{disk} is used again\n"),
            DiskAdmin::Draining => format!("{disk} is being emptied; ashlar disk list shows what is left\n"),
            DiskAdmin::Removed => format!("{disk} is no longer a disk of the pool\n"),
        }),
    }
}

fn lose(client: &ClientArgs, disk: &str, accept_data_loss: bool) -> Result<(), Error> {
    let answer: Value =
        Client::new(client)?.post(&path(&["disks", disk, "lose"]), &LoseDisk { accept_data_loss })?;
    show(client.output, &answer, |answer| {
        let mut text = format!(
            "{disk} is no longer a disk of the pool; others take its places in {} groups, where there are any\n",
            answer["groups"]
        );
        if answer["groups_given_up"] != 0 {
            text.push_str(&format!(
                "the only copy of {} groups was given up; volumes that may have lost data: {}\n",
                answer["groups_given_up"], answer["volumes_with_losses"]
            ));
        }
        text
    })
}

fn check_disk(path: &Path, output: Format) -> Result<(), Error> {
    let report = read(path)?;
    show(output, &report, |report| check_table(path, report))?;
    if report.is_clean() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} is damaged ({} findings); the other replicas repair bad blocks when they are read",
        path.display(),
        report.findings_total
    )))
}

fn read(path: &Path) -> Result<CheckReport, Error> {
    let device = FileDevice::open(path, Access::ReadOnly).map_err(|error| {
        let why = format!("can't open {}: {error}", path.display());
        match error.kind() {
            io::ErrorKind::NotFound => Error::new(Exit::NotFound, why),
            io::ErrorKind::PermissionDenied => Error::new(Exit::Denied, why),
            io::ErrorKind::ResourceBusy => Error::new(
                Exit::Conflict,
                format!("{} is in use; stop the ashlar that runs on it first", path.display()),
            ),
            _ => Error::failed(why),
        }
    })?;
    check(&Watched::new(device, path)).map_err(|error| {
        let why = format!("can't check {}: {error}", path.display());
        match error.kind {
            ErrorKind::NotADisk => Error::usage(why),
            _ => Error::failed(why),
        }
    })
}

/// A disk that tells how much of it was read. How much there will be is not known before.
struct Watched {
    device: FileDevice,
    name: String,
    read_bytes: Cell<u64>,
    sign: Waiting,
}

impl Watched {
    fn new(device: FileDevice, path: &Path) -> Self {
        let name = path.display().to_string();
        let sign = waiting(format!("reading {name}"));
        Self { device, name, read_bytes: Cell::new(0), sign }
    }
}

impl BlockDevice for Watched {
    fn len_bytes(&self) -> u64 {
        self.device.len_bytes()
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.device.read_at(buf, offset)?;
        let before = self.read_bytes.get();
        let after = before + buf.len() as u64;
        self.read_bytes.set(after);
        if before / SHOWN_BYTES != after / SHOWN_BYTES {
            self.sign.say(format!(
                "reading {}: {} so far",
                self.name,
                size::show(after / SHOWN_BYTES * SHOWN_BYTES)
            ));
        }
        Ok(())
    }

    fn write_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.device.write_at(buf, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.device.flush()
    }
}

fn check_table(path: &Path, report: &CheckReport) -> String {
    let verdict =
        if report.is_clean() { "clean".to_owned() } else { format!("{} findings", report.findings_total) };
    let mut text = fields(&[
        ("disk", path.display().to_string()),
        ("id", report.disk.to_string()),
        ("size", size::show(report.size_bytes)),
        ("mounts", report.incarnation.to_string()),
        ("segments", format!("{}, {} free", report.segments, report.free_segments)),
        ("batches", format!("{}, {} to replay", report.batches, report.replay_batches)),
        ("volumes", report.volumes.to_string()),
        ("blocks", format!("{} live, {} corrupt", report.live_blocks, report.bad_blocks)),
        ("result", verdict),
    ]);
    for finding in &report.findings {
        text.push_str(&format!("  - {}\n", finding.message));
    }
    for note in &report.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    text
}
