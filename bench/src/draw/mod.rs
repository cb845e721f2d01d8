//! `bench draw`: reports as one picture, an SVG that a README can show.

mod chart;
mod svg;

use crate::machine::say_aside;
use crate::report::Report;
use anyhow::{Context, Result};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub struct Options {
    /// Reports that a mode wrote with --json; each becomes a part of the picture.
    #[arg(required = true)]
    reports: Vec<PathBuf>,
    /// Where the picture goes.
    #[arg(long)]
    svg: PathBuf,
    /// What stands above it.
    #[arg(long, default_value = "Ashlar beside its peers")]
    title: String,
}

pub fn run(options: &Options) -> Result<()> {
    let reports = options.reports.iter().map(|path| Report::load(path)).collect::<Result<Vec<_>>>()?;
    let picture = chart::draw(&options.title, &reports);
    std::fs::write(&options.svg, picture).with_context(|| format!("writing {}", options.svg.display()))?;
    say_aside(&format!("drawn to {}", options.svg.display()));
    Ok(())
}
