//! The result of a run: sides, rows, samples a round, bounds; as a table, as JSON, and read back to be drawn.

pub mod bound;
pub mod figure;
pub mod spread;
mod table;
pub mod turns;

use crate::machine::{self, Facts};
use anyhow::{Context, Result};
use bound::{Bound, Judged, Outcome};
use figure::{Figure, Sample};
use serde::{Deserialize, Serialize};
use spread::Spread;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;

/// The side that every ratio has above the line.
pub const OURS: usize = 0;

/// Everything that was measured. Sides are addressed by their place in `sides`; ours is the first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Report {
    /// The command that made it: block, s3, cleaner...
    pub mode: String,
    pub title: String,
    /// Date and time, UTC.
    pub date: String,
    /// Of the tree that the benchmark was built in, if that is a git work tree still.
    pub commit: Option<String>,
    pub machine: Facts,
    /// What was asked for: name and value, such as `size` and `4 GiB`.
    pub settings: Vec<(String, String)>,
    pub sides: Vec<SideFacts>,
    /// Peers that were asked for and not measured: name and why.
    pub missing: Vec<(String, String)>,
    /// What a reader must know to read the figures, such as what could not be counted.
    pub notes: Vec<String>,
    /// Every figure that some sample has, in the order of the table.
    pub figures: Vec<Figure>,
    pub rows: Vec<Row>,
    pub bounds: Vec<Bound>,
}

/// Who was measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SideFacts {
    pub name: String,
    pub version: Option<String>,
    /// When it says "written", and to how many copies.
    pub durability: String,
}

impl SideFacts {
    pub fn new(name: &str, durability: &str) -> Self {
        Self { name: name.to_owned(), version: None, durability: durability.to_owned() }
    }

    pub fn with_version(self, version: Option<String>) -> Self {
        Self { version, ..self }
    }
}

/// Takes a side in that was started, or says aloud, and keeps for the report, why it is missing.
pub fn take_in<S>(
    name: &str,
    started: Result<S, String>,
    sides: &mut Vec<S>,
    missing: &mut Vec<(String, String)>,
) {
    match started {
        Ok(side) => sides.push(side),
        Err(why) => {
            machine::say(&format!("{name}: not measured: {why}"));
            missing.push((name.to_owned(), why));
        }
    }
}

/// A row's name and the figure that speaks for it.
#[derive(Debug, Clone)]
pub struct RowName {
    pub workload: String,
    pub headline: Figure,
}

impl RowName {
    pub fn new(workload: impl Into<String>, headline: &Figure) -> Self {
        Self { workload: workload.into(), headline: headline.clone() }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Row {
    pub workload: String,
    /// The name of the figure that the picture shows.
    pub headline: String,
    /// For each side a sample a round; empty for a side that can't do this.
    pub samples: Vec<Vec<BTreeMap<String, f64>>>,
}

impl Row {
    /// A figure of a side, round by round, as far as it was measured.
    pub fn values(&self, side: usize, figure: &str) -> Vec<f64> {
        let rounds = self.samples.get(side).into_iter().flatten();
        rounds.filter_map(|sample| sample.get(figure).copied()).collect()
    }

    /// Whether a side was measured at this at all.
    pub fn has(&self, side: usize) -> bool {
        self.samples.get(side).is_some_and(|rounds| !rounds.is_empty())
    }

    pub fn spread(&self, side: usize, figure: &str) -> Option<Spread> {
        Spread::of(self.values(side, figure))
    }

    /// Ours over a peer's, round by round.
    pub fn ratio(&self, peer: usize, figure: &str) -> Option<Spread> {
        let pairs = self.values(OURS, figure).into_iter().zip(self.values(peer, figure));
        Spread::of(pairs.filter(|&(_, theirs)| theirs > 0.0).map(|(ours, theirs)| ours / theirs))
    }
}

/// Whether every bound that was measured holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Holds,
    Missed,
}

impl Report {
    pub fn new(mode: &str, title: &str, machine: Facts, sides: Vec<SideFacts>) -> Self {
        // Said in the report, as its figures would mislead.
        let unoptimised = cfg!(debug_assertions).then(|| "this program is an unoptimised build".to_owned());
        Self {
            mode: mode.to_owned(),
            title: title.to_owned(),
            date: machine::date(),
            commit: machine::commit(),
            machine,
            settings: Vec::new(),
            sides,
            missing: Vec::new(),
            notes: unoptimised.into_iter().collect(),
            figures: Vec::new(),
            rows: Vec::new(),
            bounds: Vec::new(),
        }
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) {
        self.settings.push((name.to_owned(), value.into()));
    }

    /// Says something once.
    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Keeps a round's sample.
    pub fn add(&mut self, row: &RowName, side: usize, sample: Sample) {
        let index = self.rows.iter().position(|kept| kept.workload == row.workload);
        let index = index.unwrap_or_else(|| {
            self.rows.push(Row {
                workload: row.workload.clone(),
                headline: row.headline.name.to_string(),
                samples: vec![Vec::new(); self.sides.len()],
            });
            self.rows.len() - 1
        });
        let mut kept = BTreeMap::new();
        for (figure, value) in sample.into_figures() {
            kept.insert(figure.name.to_string(), value);
            self.know(figure);
        }
        self.rows[index].samples[side].push(kept);
    }

    /// Parts of a figure stay behind it, whoever's they are.
    fn know(&mut self, figure: Figure) {
        if self.figures.iter().any(|known| known.name == figure.name) {
            return;
        }
        let family = |name: &str| name.split(':').next().unwrap_or_default().to_owned();
        let own = family(&figure.name);
        let behind = self.figures.iter().rposition(|known| family(&known.name) == own);
        let at = behind.map_or(self.figures.len(), |at| at + 1);
        self.figures.insert(at, figure);
    }

    pub fn row(&self, workload: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.workload == workload)
    }

    pub fn figure(&self, name: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.name == name)
    }

    /// The bounds whose rows were measured at all: `--only` takes the others out of the question.
    pub fn judged(&self) -> Vec<Judged> {
        let asked = self.bounds.iter().filter(|bound| self.row(&bound.row).is_some());
        asked.map(|bound| bound.judge(self)).collect()
    }

    pub fn verdict(&self) -> Verdict {
        match self.judged().iter().any(|judged| judged.outcome == Outcome::Missed) {
            true => Verdict::Missed,
            false => Verdict::Holds,
        }
    }

    /// Writes everything, with the medians, ratios and verdicts that follow from it for those who read only those.
    pub fn save(&self, path: &Path) -> Result<()> {
        let spreads = |of: &dyn Fn(&str) -> Option<Spread>| -> BTreeMap<String, Spread> {
            let names = self.figures.iter().map(|figure| figure.name.to_string());
            names.filter_map(|name| of(&name).map(|spread| (name, spread))).collect()
        };
        let medians = self.rows.iter().map(|row| {
            let sides = self.sides.iter().enumerate();
            let of_side = |(index, side): (usize, &SideFacts)| {
                let ratios = match index {
                    OURS => BTreeMap::new(),
                    _ => spreads(&|name| row.ratio(index, name)),
                };
                let medians = spreads(&|name| row.spread(index, name));
                SideSummary { side: side.name.clone(), medians, ours_over_it: ratios }
            };
            RowSummary { workload: row.workload.clone(), sides: sides.map(of_side).collect() }
        });
        let saved = Saved { report: self, summary: medians.collect(), judged: self.judged() };
        let file = File::create(path).with_context(|| format!("creating {}", path.display()))?;
        serde_json::to_writer_pretty(file, &saved).with_context(|| format!("writing {}", path.display()))
    }

    pub fn load(path: &Path) -> Result<Self> {
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let reader = std::io::BufReader::new(file);
        serde_json::from_reader(reader).with_context(|| format!("{} is no report of bench", path.display()))
    }
}

#[derive(Serialize)]
struct Saved<'a> {
    #[serde(flatten)]
    report: &'a Report,
    summary: Vec<RowSummary>,
    judged: Vec<Judged>,
}

#[derive(Serialize)]
struct RowSummary {
    workload: String,
    sides: Vec<SideSummary>,
}

#[derive(Serialize)]
struct SideSummary {
    side: String,
    medians: BTreeMap<String, Spread>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    ours_over_it: BTreeMap<String, Spread>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use figure::{CPU, IOPS, P50};

    #[test]
    fn a_report_is_the_same_after_its_file() {
        let sides = ["ashlar", "qsd"].map(|name| SideFacts::new(name, "on three disks"));
        let mut report = Report::new("block", "Volumes", Facts::default(), sides.to_vec());
        for (side, iops) in [(0, 10.0), (1, 20.0), (0, 30.0), (1, 20.0)] {
            let mut sample = Sample::default();
            sample.put(&IOPS, iops);
            report.add(&RowName::new("4K randwrite d32", &IOPS), side, sample);
        }
        report.set("size", "4 GiB");
        report.note("twice");
        report.note("twice");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.json");
        report.save(&path).unwrap();
        let read = Report::load(&path).unwrap();
        let row = read.row("4K randwrite d32").unwrap();
        assert_eq!(row.spread(OURS, "IOPS"), Spread::of([10.0, 30.0]));
        assert_eq!(row.ratio(1, "IOPS"), Spread::of([0.5, 1.5]));
        assert_eq!(
            (read.notes.iter().filter(|note| *note == "twice").count(), read.settings.len(), read.verdict()),
            (1, 1, Verdict::Holds)
        );
        assert_eq!(read.figure("IOPS"), Some(&IOPS));
        std::fs::write(&path, "{}").unwrap();
        assert!(Report::load(&path).is_err());
    }

    #[test]
    fn parts_stay_behind_their_figure() {
        let mut report = Report::new("block", "", Facts::default(), vec![SideFacts::new("ashlar", "")]);
        let figures = [CPU, CPU.of_part("device"), P50, CPU.of_part("osd"), P50.of_part("x")];
        figures.into_iter().for_each(|figure| report.know(figure));
        let names = report.figures.iter().map(|figure| &*figure.name).collect::<Vec<_>>();
        assert_eq!(names, ["CPU", "CPU: device", "CPU: osd", "p50", "p50: x"]);
    }
}
