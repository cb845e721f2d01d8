//! `ashlar scrub`.

use crate::api::ScrubView;
use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::{fields, show};
use crate::cli::progress::{Far, Unit, bar};
use crate::cli::scrub_objects;
use crate::error::Error;
use crate::limits::PROGRESS_POLL;
use serde_json::json;

/// Where it is asked for and looked at.
const PATH: &str = "/v1/scrub";

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Read and compare every copy of everything now, and repair what is bad; returns at once
    Start {
        /// Return only when it has ended; the exit code is 1 if copies stay bad or groups could not be read
        #[arg(long)]
        wait: bool,
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
    match command {
        Command::Objects(args) => scrub_objects::run(&args),
        Command::Start { wait, client } => {
            let connection = Client::new(&client)?;
            let begun: ScrubView = connection.post(PATH, &json!({}))?;
            if !wait {
                return show(client.output, &begun, table);
            }
            let ended = follow(&connection, begun)?;
            show(client.output, &ended, table)?;
            verdict(&ended)
        }
        Command::Status { client } => {
            let view: ScrubView = Client::new(&client)?.get(PATH)?;
            show(client.output, &view, table)
        }
    }
}

/// Waits for the end, and shows how far it is meanwhile.
fn follow(client: &Client, begun: ScrubView) -> Result<ScrubView, Error> {
    let sign = bar("comparing all copies".to_owned(), Unit::Percent);
    let passes = begun.passes;
    let mut view = begun;
    while view.running {
        sign.at(Far::of(view.percent, 100));
        client.pause(PROGRESS_POLL);
        view = client.get(PATH)?;
    }
    if view.passes > passes {
        return Ok(view);
    }
    let why = view.troubles.first().map_or("the daemon started again; begin it again", String::as_str);
    Err(Error::failed(format!("the scrub did not come to its end: {why}")))
}

fn verdict(view: &ScrubView) -> Result<(), Error> {
    let counts = &view.counts;
    if counts.unrepairable_blocks == 0 && counts.conflicting_blocks == 0 && view.groups_skipped == 0 {
        return Ok(());
    }
    Err(Error::failed("not all copies are good, or could be read; docs/FAILURES.md says what to do"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_good_copies_are_a_success() {
        let good = ScrubView { passes: 1, percent: 100, ..ScrubView::default() };
        assert!(verdict(&good).is_ok());
        let cases: [fn(&mut ScrubView); 3] = [
            |view| view.counts.unrepairable_blocks = 1,
            |view| view.counts.conflicting_blocks = 1,
            |view| view.groups_skipped = 1,
        ];
        for change in cases {
            let mut view = good.clone();
            change(&mut view);
            assert_eq!(verdict(&view).map_err(|error| error.exit), Err(crate::error::Exit::Failed));
        }
        let mut repaired = good;
        repaired.counts.bad_blocks = 3;
        repaired.counts.repaired_blocks = 3;
        assert!(verdict(&repaired).is_ok());
    }
}
