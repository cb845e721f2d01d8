//! `ashlar project`: tenants, each an account with a root, users and buckets of its own.

use crate::api::{CreateProject, ProjectKey, ProjectView};
use crate::cli::bucket::{Bounds, cells, lines_of};
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
    /// Show a project with what its buckets hold and may hold together
    Show {
        /// The project's name or number
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show the quota of all of a project's buckets together, or change it
    Quota {
        /// The project's name or number
        name: String,
        #[command(flatten)]
        bounds: Bounds,
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
                let row = |project: &ProjectView| {
                    let mut row = vec![project.name.clone(), project.number.clone()];
                    row.extend(cells(&project.usage, &project.quota));
                    row
                };
                let headings = ["NAME", "ACCOUNT", "OBJECTS", "QUOTA", "BYTES", "UPLOADS", "QUOTA"];
                table(&headings, &projects.iter().map(row).collect::<Vec<_>>())
            })
        }
        Command::Show { name, client } => {
            let shown: ProjectView = Client::new(&client)?.get(&path(&["projects", &name]))?;
            show(client.output, &shown, project)
        }
        Command::Quota { name, bounds, client } => {
            let connection = Client::new(&client)?;
            let shown: ProjectView = match bounds.change() {
                Some(change) => connection.post(&path(&["projects", &name, "quota"]), &change)?,
                None => connection.get(&path(&["projects", &name]))?,
            };
            show(client.output, &shown, project)
        }
    }
}

fn project(shown: &ProjectView) -> String {
    let mut lines = vec![("project", shown.name.clone()), ("account", shown.number.clone())];
    lines.extend(lines_of(&shown.usage, &shown.quota));
    fields(&lines)
}

fn key(made: &ProjectKey) -> String {
    fields(&[
        ("project", made.project.name.clone()),
        ("account", made.project.number.clone()),
        ("access key id", made.access_key_id.clone()),
        ("secret access key", made.secret_access_key.clone()),
    ])
}
