//! `ashlar scrub`.

use crate::api::ScrubView;
use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::{fields, show};
use crate::cli::scrub_objects;
use crate::error::Error;
use serde_json::json;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Read and compare every copy of everything now, and repair what is bad; returns at once
    Start {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Prove that no data of objects is lost, and that none is left behind; waits for the end
    Objects(scrub_objects::Args),
    /// Show how far the scrub is, or what the last one found
    Status {
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub fn run(command: Command) -> Result<(), Error> {
    let (view, client): (ScrubView, _) = match command {
        Command::Objects(args) => return scrub_objects::run(&args),
        Command::Start { client } => (Client::new(&client)?.post("/v1/scrub", &json!({}))?, client),
        Command::Status { client } => (Client::new(&client)?.get("/v1/scrub")?, client),
    };
    show(client.output, &view, table)
}

fn table(view: &ScrubView) -> String {
    let state = match (view.running, view.finished_ms) {
        (true, _) => {
            let left = view.seconds_left.map_or(String::new(), |seconds| format!(", about {seconds} s left"));
            format!("{} % done{left}", view.percent)
        }
        (false, Some(_)) => "finished".to_owned(),
        (false, None) => "none yet; ashlar scrub start begins one".to_owned(),
    };
    let counts = &view.counts;
    let mut text = fields(&[
        ("scrub", state),
        ("groups", format!("{} of {}, {} skipped", view.groups_done, view.groups_total, view.groups_skipped)),
        ("copies checked", format!("{} blocks in {} chunks", counts.blocks_checked, counts.chunks)),
        ("bad", format!("{}, and {} missing", counts.bad_blocks, counts.missing_blocks)),
        ("repaired", counts.repaired_blocks.to_string()),
        ("unrepairable", counts.unrepairable_blocks.to_string()),
        ("conflicting", counts.conflicting_blocks.to_string()),
        ("passes", view.passes.to_string()),
    ]);
    for trouble in &view.troubles {
        text.push_str(&format!("  - {trouble}\n"));
    }
    text
}
