//! `ashlar project`: tenants, each an account with a root, users and buckets of its own.

use crate::api::{CreateProject, ProjectKey, ProjectView};
use crate::cli::client::{Client, ClientArgs, path};
use crate::cli::output::{fields, show, table};
use crate::error::Error;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a project and its root's key, whose secret is shown this once
    Create {
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the projects
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make another key for a project's root, whose secret is shown this once; a root has two at most
    CreateKey {
        /// The project's name or number
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Create { name, client } => {
            let made: ProjectKey = Client::new(&client)?.post("/v1/projects", &CreateProject { name })?;
            show(client.output, &made, key)
        }
        Command::CreateKey { name, client } => {
            let path = path(&["projects", &name, "keys"]);
            let made: ProjectKey = Client::new(&client)?.post(&path, &serde_json::json!({}))?;
            show(client.output, &made, key)
        }
        Command::List { client } => {
            let projects: Vec<ProjectView> = Client::new(&client)?.get("/v1/projects")?;
            show(client.output, &projects, |projects| {
                let row = |project: &ProjectView| vec![project.name.clone(), project.number.clone()];
                table(&["NAME", "ACCOUNT"], &projects.iter().map(row).collect::<Vec<_>>())
            })
        }
    }
}

fn key(made: &ProjectKey) -> String {
    fields(&[
        ("project", made.project.name.clone()),
        ("account", made.project.number.clone()),
        ("access key id", made.access_key_id.clone()),
        ("secret access key", made.secret_access_key.clone()),
    ])
}
