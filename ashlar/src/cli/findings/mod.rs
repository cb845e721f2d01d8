//! `ashlar policy findings`: what is open or unsafe, why, and the command that mends it. It reads, and changes nothing.

mod mend;
mod rules;
mod survey;

use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::show;
use crate::cli::progress::waiting;
use crate::error::{Error, Exit};
use rt::clock::{Clock, SystemClock};
use serde::Serialize;
use std::fmt;

const DAY_MS: u64 = 86_400_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    client: ClientArgs,
    /// As it will be in this many days, if nothing changes until then: which keys will be old
    #[arg(long, value_name = "DAYS", default_value_t = 0)]
    days_ahead: u32,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Severity {
    Critical,
    High,
    Medium,
    Low,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Critical => "CRITICAL",
            Self::High => "HIGH",
            Self::Medium => "MEDIUM",
            Self::Low => "LOW",
        })
    }
}

/// Which rule it is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Rule {
    PublicBucket,
    PublicAcl,
    PublicRole,
    Administrator,
    RootKeyUsed,
    SharedBucket,
    SharedAcl,
    SharedRole,
    OldKey,
    UnusedKey,
    AccountBlockOff,
    NoEncryption,
    NoVersioning,
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Found {
    severity: Severity,
    rule: Rule,
    /// The number of the account that it is in, whose root, or who else may there, mends it.
    account: String,
    what: String,
    why: String,
    /// A line for a shell, with credentials of that account.
    mend: String,
}

pub fn run(args: &Args) -> Result<(), Error> {
    let sign = waiting("reading accounts, users, buckets and their policies".to_owned());
    let survey = survey::take(&Client::new(&args.client)?);
    drop(sign);
    let survey = survey?;
    let now_ms = SystemClock.wall().0.saturating_add(u64::from(args.days_ahead) * DAY_MS);
    let mut found = rules::findings(&survey, now_ms / 1000);
    found.sort();
    show(args.client.output, &found, |found| table(found))?;
    match found.len() {
        0 => Ok(()),
        1 => Err(Error::new(Exit::Findings, "there is a finding")),
        more => Err(Error::new(Exit::Findings, format!("there are {more} findings"))),
    }
}

/// Three lines each: people read them one by one.
fn table(found: &[Found]) -> String {
    let lines = found.iter().map(|found| {
        let Found { severity, account, what, why, mend, .. } = found;
        format!("{severity:8}  {what} (account {account})\n          {why}\n          $ {mend}\n")
    });
    lines.collect::<Vec<_>>().join("\n")
}
