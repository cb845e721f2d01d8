//! `ashlar node`.

use crate::api::NodeView;
use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::{show, table};
use crate::error::Error;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the machines of the pool and the daemons that run on them
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub fn run(command: Command) -> Result<(), Error> {
    let Command::List { client } = command;
    let nodes: Vec<NodeView> = Client::new(&client)?.get("/v1/nodes")?;
    show(client.output, &nodes, |nodes| {
        let rows: Vec<_> = nodes.iter().map(row).collect();
        table(&["NAME", "ZONE", "DISKS", "DAEMONS"], &rows)
    })
}

fn row(node: &NodeView) -> Vec<String> {
    let daemons: Vec<_> = node
        .daemons
        .iter()
        .map(|daemon| match daemon.state.as_str() {
            "running" => daemon.kind.clone(),
            state => format!("{} ({state})", daemon.kind),
        })
        .collect();
    vec![node.name.clone(), node.zone.clone(), node.disks.to_string(), daemons.join(", ")]
}
