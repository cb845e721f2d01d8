//! The one binary: every daemon as a subcommand, and the CLI.

mod api;
mod cli;
mod config;
mod error;
mod folder;
mod limits;
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
