//! `ashlar disk`: disks looked into without any daemon.

use crate::cli::Format;
use crate::cli::output::{fields, show};
use crate::error::{Error, Exit};
use blockd::ErrorKind;
use blockd::store::check::{CheckReport, check};
use proto::size;
use rt::device::{Access, FileDevice};
use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Read a whole disk and say what is wrong with it; changes nothing
    Check {
        /// The disk's file or device
        path: PathBuf,
        /// How to print data
        #[arg(short, long, value_enum, default_value = "table", value_name = "FORMAT")]
        output: Format,
    },
}

pub fn run(command: Command) -> Result<(), Error> {
    let Command::Check { path, output } = command;
    let report = read(&path)?;
    show(output, &report, |report| table(&path, report))?;
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
    check(&device).map_err(|error| {
        let why = format!("can't check {}: {error}", path.display());
        match error.kind {
            ErrorKind::NotADisk => Error::usage(why),
            _ => Error::failed(why),
        }
    })
}

fn table(path: &Path, report: &CheckReport) -> String {
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
