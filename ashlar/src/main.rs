//! The one binary: every daemon as a subcommand, and the CLI.

mod admin;
mod agent;
mod allocator;
mod api;
mod audit;
mod cli;
mod config;
mod control;
mod daemon;
mod env_file;
mod error;
mod fleet;
mod folder;
mod gateway;
mod https;
mod keeper;
mod limits;
mod listen;
mod node;
mod pool_key;
mod process;
mod shelf;
mod up;

use std::io::Write;
use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // A closed stderr leaves the exit code to speak.
            let _ = writeln!(std::io::stderr(), "error: {error}");
            ExitCode::from(error.exit as u8)
        }
    }
}
