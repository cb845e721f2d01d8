//! `ashlar audit`: reads audit logs, on the machine that has them.

use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::{show, table};
use crate::cli::progress::waiting;
use crate::error::Error;
use meta::audit::{Verified, verify};
use meta::query::{Answer, Query};
use meta::record::AuditHead;
use serde::Serialize;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Check that no line of a log was changed, added or taken out; the exit code is 1 if one was
    Verify {
        /// A log's folder, or one with several logs, such as the data folder's audit/
        dir: PathBuf,
        /// Don't ask the control plane how far the logs were: lines cut off at the end of one are not seen then
        #[arg(long)]
        offline: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, Serialize)]
struct Log {
    name: String,
    #[serde(flatten)]
    found: Verified,
}

pub fn run(command: Command) -> Result<(), Error> {
    let Command::Verify { dir, offline, client } = command;
    let known = if offline { Vec::new() } else { known(&client)? };
    let mut logs = Vec::new();
    let found = folders(&dir)?;
    let sign = waiting(String::new());
    for (at, (name, dir)) in found.iter().enumerate() {
        sign.say(format!("reading log {name}, {} of {}", at + 1, found.len()));
        let known = known.iter().find(|head| head.log == *name);
        logs.push(Log { found: verify(dir, known)?, name: name.clone() });
    }
    drop(sign);
    if logs.is_empty() {
        return Err(Error::usage(format!("{} holds no audit log", dir.display())));
    }
    show(client.output, &logs, |logs| {
        let rows: Vec<Vec<String>> = logs
            .iter()
            .map(|Log { name, found }| {
                let time = |time: &Option<String>| time.clone().unwrap_or_else(|| "-".into());
                let whole = if found.faults.is_empty() { "whole" } else { "NOT WHOLE" };
                vec![
                    name.clone(),
                    format!("{} to {}", found.first, found.last),
                    time(&found.first_time),
                    time(&found.last_time),
                    whole.to_owned(),
                ]
            })
            .collect();
        table(&["LOG", "LINES", "FROM", "TO", "CHAIN"], &rows)
    })?;
    let faults: Vec<String> = logs
        .iter()
        .flat_map(|log| {
            log.found
                .faults
                .iter()
                .map(|fault| format!("{}/{}, line {}: {}", log.name, fault.file, fault.line, fault.what))
        })
        .collect();
    if faults.is_empty() { Ok(()) } else { Err(Error::failed(faults.join("; "))) }
}

fn known(client: &ClientArgs) -> Result<Vec<AuditHead>, Error> {
    match Client::new(client)?.ask(Query::AuditHeads)? {
        Answer::AuditHeads(heads) => Ok(heads),
        _ => Err(Error::failed("the control plane's answer is not about audit logs")),
    }
}

/// A log's folder, or those in it that hold one; with their names.
fn folders(dir: &Path) -> Result<Vec<(String, PathBuf)>, Error> {
    let unread = |error| Error::usage(format!("can't read {}: {error}", dir.display()));
    let holds_log = |dir: &Path| -> std::io::Result<bool> {
        let mut entries = std::fs::read_dir(dir)?;
        Ok(entries.any(|entry| {
            entry.is_ok_and(|entry| entry.path().extension().is_some_and(|extension| extension == "jsonl"))
        }))
    };
    let name = |dir: &Path| dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
    if holds_log(dir).map_err(unread)? {
        return Ok(vec![(name(dir), dir.to_owned())]);
    }
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(unread)? {
        let path = entry.map_err(unread)?.path();
        if path.is_dir() && holds_log(&path).map_err(unread)? {
            found.push((name(&path), path));
        }
    }
    found.sort();
    Ok(found)
}
