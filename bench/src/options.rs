//! What every mode that measures can be told.

use crate::interrupt;
use crate::machine::{Facts, say_aside};
use crate::report::{Report, RowName, Verdict};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

#[derive(Debug, clap::Args)]
pub struct Run {
    /// Seconds of each workload on each side, each round.
    #[arg(long, default_value_t = 5)]
    pub seconds: u64,
    /// Rounds; the sides take turns in each.
    #[arg(long, default_value_t = 3)]
    pub rounds: u32,
    /// Where all sides keep their data; not in memory (tmpfs).
    #[arg(long, default_value = ".")]
    pub dir: PathBuf,
    /// The ashlar binary; by default the one beside this program.
    #[arg(long)]
    pub ashlar: Option<PathBuf>,
    /// Only the workloads whose name contains this.
    #[arg(long)]
    pub only: Option<String>,
    /// Write the whole result here too.
    #[arg(long)]
    pub json: Option<PathBuf>,
    /// Exit with 1 if a bound is missed.
    #[arg(long)]
    pub check: bool,
    /// Install the Debian packages that peers need and that are missing (as root, or by sudo).
    #[arg(long)]
    pub install_peers: bool,
}

impl Run {
    pub fn time(&self) -> Duration {
        Duration::from_secs(self.seconds)
    }

    /// A folder for everything of this run, gone after it, and the machine's facts, which are printed.
    pub fn begin(&self) -> Result<(TempDir, Facts)> {
        let folder = tempfile::Builder::new()
            .prefix("ashlar-bench-")
            .tempdir_in(self.dir.canonicalize().with_context(|| format!("finding {}", self.dir.display()))?)
            .with_context(|| format!("making a folder in {}", self.dir.display()))?;
        interrupt::clean_up(folder.path())?;
        let facts = Facts::collect(folder.path());
        facts.print();
        Ok((folder, facts))
    }

    pub fn wants(&self, workload: &str) -> bool {
        self.only.as_ref().is_none_or(|only| workload.contains(only))
    }

    /// The rows that are wanted, with their names; an error if there are none.
    pub fn rows<R>(
        &self,
        rows: impl Iterator<Item = R>,
        name: impl Fn(&R) -> RowName,
    ) -> Result<Vec<(RowName, R)>> {
        let named = rows.map(|row| (name(&row), row));
        let wanted = named.filter(|(name, _)| self.wants(&name.workload)).collect::<Vec<_>>();
        if wanted.is_empty() {
            bail!("no row's name contains {:?}", self.only.as_deref().unwrap_or_default());
        }
        Ok(wanted)
    }

    /// Prints the report and keeps it where that was asked for.
    pub fn finish(&self, report: &Report) -> Result<Verdict> {
        report.print();
        if let Some(path) = &self.json {
            report.save(path)?;
            say_aside(&format!("written to {0}; draw it: bench draw {0} --svg FILE", path.display()));
        }
        Ok(report.verdict())
    }

    pub fn ashlar(&self) -> Option<&Path> {
        self.ashlar.as_deref()
    }
}

/// A size with M, G or T behind it, in bytes.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let shift = match text[digits.len()..].to_ascii_uppercase().as_str() {
        "M" | "MIB" => 20,
        "G" | "GIB" => 30,
        "T" | "TIB" => 40,
        _ => return Err(format!("{text:?}: a size is a number with M, G or T behind it")),
    };
    let number = digits.parse::<u64>().ok().filter(|&number| number > 0 && number < 1 << 20);
    number.map(|number| number << shift).ok_or_else(|| format!("{text:?}: a size starts with a number"))
}

/// A size for people.
pub fn size_text(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 30 && bytes.is_multiple_of(1 << 30) => format!("{} GiB", bytes >> 30),
        bytes => format!("{} MiB", bytes >> 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_numbers_with_a_unit() {
        assert_eq!((parse_size("4G"), parse_size("512MiB")), (Ok(4 << 30), Ok(512 << 20)));
        for bad in ["", "G", "0G", "4", "4X", "-1G", "4.5G"] {
            assert!(parse_size(bad).is_err(), "{bad}");
        }
        assert_eq!((size_text(4 << 30), size_text(1536 << 20)), ("4 GiB".into(), "1536 MiB".into()));
    }
}
