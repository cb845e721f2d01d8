//! `bench memory`: what the index takes as a volume fills, and what a gateway takes with its connections.

mod gateway;
mod index;

use crate::options::{Run, parse_size, size_text};
use crate::report::{Report, SideFacts, Verdict};
use crate::room::Room;
use crate::store;
use anyhow::Result;

#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    pub run: Run,
    /// Size of the volume whose blocks are all written.
    #[arg(long, default_value = "4G", value_parser = parse_size)]
    size: u64,
    /// Connections of the gateway, one row each with all silent and with all at work.
    #[arg(long, value_delimiter = ',', default_value = "16,64,256")]
    connections: Vec<u32>,
}

pub fn run(options: &Options) -> Result<Verdict> {
    let (folder, facts) = options.run.begin()?;
    let durability =
        "three replicas on three files, a checksum per 4 KiB; memory is a process's own and its files' pages";
    let side = SideFacts::new(store::NAME, durability);
    let title = "Memory: the index of a disk, and a gateway (a process of its own)";
    let mut report = Report::new("memory", title, facts, vec![side]);
    report.set("size", size_text(options.size));
    report.note("the index is measured once: it is a count and not a time");
    // Both are asked before one is started: the second has the room that the first gives back.
    let room = Room::under(folder.path())?;
    let (index, gateway) = (index::disks(options, &room)?, gateway::disks(options, &room)?);
    if let Some(disks) = index {
        report.set("disks under the volume", disks.text());
        index::run((options, disks), folder.path(), &mut report)?;
    }
    if let Some(disks) = gateway {
        report.set("disks under the gateway", disks.text());
        gateway::run((options, disks), folder.path(), &mut report)?;
    }
    options.run.finish(&report)
}
