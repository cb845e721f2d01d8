//! The command line: what can be asked, and who answers.

mod audit;
mod bucket;
mod client;
mod console;
mod disk;
mod findings;
mod key;
mod node;
mod output;
mod policy;
mod progress;
mod project;
mod scrub;
mod scrub_objects;
mod status;
mod vm;
mod volume;
mod webhook;

use crate::config::UpArgs;
use crate::daemon::{self, AgentArgs, BlockdArgs, MetaArgs, ObjectdArgs};
use crate::error::Error;
use crate::up;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use client::ClientArgs;
use std::io::Write;

/// Software-defined storage: volumes for VMs and S3 objects, on three replicas.
#[derive(Debug, Parser)]
#[command(name = "ashlar", version, arg_required_else_help = true, propagate_version = true)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run everything in one process, in the foreground, until SIGTERM or ^C
    Up(UpArgs),
    /// Run a voter of the control plane with the admin API, in the foreground
    Meta(MetaArgs),
    /// Run the chunk servers of this machine's disks, in the foreground
    Blockd(BlockdArgs),
    /// Run an S3 gateway, in the foreground
    Objectd(ObjectdArgs),
    /// Serve volumes to VMs on this machine, in the foreground
    Agent(AgentArgs),
    /// Show the health of everything on one screen
    Status {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Make, show, attach and delete volumes
    Volume {
        #[command(subcommand)]
        command: volume::Command,
    },
    /// Run VMs on volumes
    Vm {
        #[command(subcommand)]
        command: vm::Command,
    },
    /// Check and repair all copies of everything
    Scrub {
        #[command(subcommand)]
        command: scrub::Command,
    },
    /// Ask who may do what
    Policy {
        #[command(subcommand)]
        command: policy::Command,
    },
    /// Show what buckets hold, and bound it
    Bucket {
        #[command(subcommand)]
        command: bucket::Command,
    },
    /// Make and list projects: tenants with users and buckets of their own
    Project {
        #[command(subcommand)]
        command: project::Command,
    },
    /// Make, show and remove webhooks, where buckets' notifications may go
    Webhook {
        #[command(subcommand)]
        command: webhook::Command,
    },
    /// Show and change the keys that objects are encrypted with
    Key {
        #[command(subcommand)]
        command: key::Command,
    },
    /// Check the logs of who did what
    Audit {
        #[command(subcommand)]
        command: audit::Command,
    },
    /// Show the machines of the pool
    Node {
        #[command(subcommand)]
        command: node::Command,
    },
    /// Show, add, replace, empty and check disks
    Disk {
        #[command(subcommand)]
        command: disk::Command,
    },
}

/// How data is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    #[default]
    Table,
    Json,
}

/// Parses the process's arguments and does what they say.
pub fn run() -> Result<(), Error> {
    let matches = match Args::command().try_get_matches() {
        Ok(matches) => matches,
        Err(error) => return usage(&error),
    };
    let args = Args::from_arg_matches(&matches).map_err(|error| Error::usage(error.to_string()))?;
    match args.command {
        Command::Up(args) => up::run(&args),
        Command::Meta(args) => daemon::run_meta(args),
        Command::Blockd(args) => daemon::run_blockd(args),
        Command::Objectd(args) => daemon::run_objectd(args),
        Command::Agent(args) => daemon::run_agent(args),
        Command::Status { client } => status::run(&client),
        Command::Volume { command } => volume::run(command),
        Command::Vm { command } => vm::run(command),
        Command::Scrub { command } => scrub::run(command),
        Command::Policy { command } => policy::run(command),
        Command::Bucket { command } => bucket::run(command),
        Command::Project { command } => project::run(command),
        Command::Webhook { command } => webhook::run(command),
        Command::Key { command } => key::run(command),
        Command::Audit { command } => audit::run(command),
        Command::Node { command } => node::run(command),
        Command::Disk { command } => disk::run(command),
    }
}

/// Help and version go to stdout and are a success; a mistake becomes one line.
fn usage(error: &clap::Error) -> Result<(), Error> {
    if !error.use_stderr() {
        let _ = write!(std::io::stdout(), "{error}");
        return Ok(());
    }
    let text = error.to_string();
    let what = text.split("\nUsage:").next().unwrap_or_default();
    let what = what.split("\nFor more information").next().unwrap_or_default();
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Err(Error::usage("a command is missing; ashlar --help lists them"));
    }
    let what = what.trim().trim_start_matches("error: ");
    let words = what.split_whitespace().collect::<Vec<_>>().join(" ");
    Err(Error::usage(format!("{words}; --help shows what is possible")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn mistakes_are_one_line() {
        for line in [
            "ashlar volume create",
            "ashlar volume create a --size 2X",
            "ashlar fly",
            "ashlar vm run",
            "ashlar volume",
        ] {
            let error = Args::command().try_get_matches_from(line.split(' ')).expect_err(line);
            let error = usage(&error).expect_err(line);
            assert_eq!(error.exit, crate::error::Exit::Usage);
            assert!(!error.message.contains('\n') && !error.message.contains("Usage:"), "{error}");
        }
    }
}
