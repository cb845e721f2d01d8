//! What a row must reach and what it aims at, and whether it did.

use super::figure::{Better, Figure, number};
use super::spread::Spread;
use super::{OURS, Report, Row};
use serde::{Deserialize, Serialize};

/// A target. A figure that is better higher has to reach it at least; one that is better lower, at most.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Bound {
    pub row: String,
    pub figure: Figure,
    pub against: Against,
    pub must: f64,
    pub aim: Option<f64>,
}

/// What ours is divided by, round by round, before it is compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Against {
    /// A peer's figure, or a share of it: 1/3 of a disk that three replicas share.
    Peer { side: String, share: f64 },
    /// The best that any of these peers reached in that round; those that were not measured are left out.
    BestOf { sides: Vec<String> },
    /// Ours in another row, or another figure of ours.
    Own { row: String, figure: Figure },
    /// A constant: the figure itself is compared.
    Itself,
}

/// How a bound came out.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Judged {
    pub text: String,
    /// The ratio (or the figure itself), round by round.
    pub measured: Option<Spread>,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Aim,
    Must,
    Missed,
    /// The row, or who it is compared with, was not measured.
    Unmeasured,
}

impl Outcome {
    pub fn text(self) -> &'static str {
        match self {
            Self::Aim => "aim reached",
            Self::Must => "holds",
            Self::Missed => "MISSED",
            Self::Unmeasured => "not measured",
        }
    }
}

impl Bound {
    pub fn new(row: &str, figure: &Figure, against: Against, (must, aim): (f64, Option<f64>)) -> Self {
        Self { row: row.to_owned(), figure: figure.clone(), against, must, aim }
    }

    /// By the median, as medians are what a report states.
    pub fn judge(&self, report: &Report) -> Judged {
        let measured = self.ratios(report).and_then(Spread::of);
        let reaches = |ratio: f64, bound: f64| match self.figure.better {
            Better::Higher => ratio >= bound,
            Better::Lower => ratio <= bound,
        };
        let outcome = match measured {
            None => Outcome::Unmeasured,
            Some(spread) if self.aim.is_some_and(|aim| reaches(spread.median, aim)) => Outcome::Aim,
            Some(spread) if reaches(spread.median, self.must) => Outcome::Must,
            Some(_) => Outcome::Missed,
        };
        Judged { text: self.text(), measured, outcome }
    }

    fn ratios(&self, report: &Report) -> Option<Vec<f64>> {
        let row = report.row(&self.row)?;
        let ours = row.values(OURS, &self.figure.name);
        let of = |name: &String| report.sides.iter().position(|side| side.name == *name);
        let over = match &self.against {
            Against::Itself => return (!ours.is_empty()).then_some(ours),
            Against::Own { row, figure } => report.row(row)?.values(OURS, &figure.name),
            Against::Peer { side, share } => {
                let theirs = row.values(of(side)?, &self.figure.name);
                theirs.into_iter().map(|value| value * share).collect()
            }
            Against::BestOf { sides } => {
                self.best(row, &sides.iter().filter_map(of).collect::<Vec<_>>(), ours.len())
            }
        };
        let pairs = ours.into_iter().zip(over).filter(|&(_, over)| over > 0.0);
        let ratios = pairs.map(|(ours, over)| ours / over).collect::<Vec<_>>();
        (!ratios.is_empty()).then_some(ratios)
    }

    fn best(&self, row: &Row, sides: &[usize], rounds: usize) -> Vec<f64> {
        let of_sides = sides.iter().map(|&side| row.values(side, &self.figure.name)).collect::<Vec<_>>();
        let best = |round: usize| {
            let values = of_sides.iter().filter_map(|values| values.get(round).copied());
            match self.figure.better {
                Better::Higher => values.reduce(f64::max),
                Better::Lower => values.reduce(f64::min),
            }
        };
        (0..rounds).map_while(best).collect()
    }

    fn text(&self) -> String {
        let unit = &self.figure.unit;
        let limit = |bound: f64| match &self.against {
            Against::Itself => format!("{} {unit}", number(bound)),
            _ => format!("{} x", number(bound)),
        };
        let direction = match self.figure.better {
            Better::Higher => "at least",
            Better::Lower => "at most",
        };
        let of = match &self.against {
            Against::Itself => String::new(),
            Against::Peer { side, share } if (*share - 1.0).abs() < f64::EPSILON => format!(" {side}'s"),
            Against::Peer { side, share } => format!(" {side}'s / {}", number(1.0 / share)),
            Against::BestOf { sides } => format!(" the best of {}", sides.join(", ")),
            Against::Own { row, figure } if *row == self.row => format!(" its {}", figure.name),
            Against::Own { row, .. } => format!(" that of {row:?}"),
        };
        let aim = self.aim.map_or(String::new(), |aim| format!(", aim {}", limit(aim)));
        format!("{}, {}: {direction} {}{of}{aim}", self.row, self.figure.name, limit(self.must))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Facts;
    use crate::report::figure::{IOPS, P50, P999, Sample};
    use crate::report::{RowName, SideFacts};

    fn report() -> Report {
        let sides = ["ashlar", "qsd", "raw"].map(|name| SideFacts::new(name, "none"));
        let mut report = Report::new("block", "Volumes", Facts::default(), sides.to_vec());
        let mut add = |row: &str, side: usize, iops: f64, p50: f64| {
            let mut sample = Sample::default();
            sample.put(&IOPS, iops);
            sample.put(&P50, p50);
            sample.put(&P999, p50 * 8.0);
            report.add(&RowName::new(row, &IOPS), side, sample);
        };
        for (ours, qsd, raw) in [(300.0, 200.0, 600.0), (330.0, 200.0, 600.0), (360.0, 180.0, 600.0)] {
            add("write", 0, ours, 100.0);
            add("write", 1, qsd, 50.0);
            add("write", 2, raw, 20.0);
            add("full", 0, ours / 2.0, 300.0);
        }
        report
    }

    fn outcome(bound: Bound) -> (Outcome, Option<f64>) {
        let judged = bound.judge(&report());
        (judged.outcome, judged.measured.map(|spread| (spread.median * 100.0).round() / 100.0))
    }

    fn peer(side: &str, share: f64) -> Against {
        Against::Peer { side: side.into(), share }
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let bound = |must, aim| Bound::new("write", &IOPS, peer("qsd", 1.0), (must, aim));
        // 1.5, 1.65 and 2.0: the ratio of the medians would be 1.65 too, that of the sums not.
        assert_eq!(outcome(bound(1.5, Some(3.0))), (Outcome::Must, Some(1.65)));
        assert_eq!(outcome(bound(1.5, Some(1.6))), (Outcome::Aim, Some(1.65)));
        assert_eq!(outcome(bound(1.7, None)), (Outcome::Missed, Some(1.65)));
        let third = Bound::new("write", &IOPS, peer("raw", 1.0 / 3.0), (0.7, Some(0.9)));
        assert_eq!(outcome(third.clone()), (Outcome::Aim, Some(1.65)));
        assert!(third.text().contains("at least 0.70 x raw's / 3.00, aim 0.90 x"), "{}", third.text());
    }

    #[test]
    fn latencies_must_not_exceed() {
        let bound = |must| Bound::new("write", &P50, peer("qsd", 1.0), (must, Some(1.3)));
        assert_eq!(outcome(bound(2.0)), (Outcome::Must, Some(2.0)));
        assert_eq!(outcome(bound(1.9)).0, Outcome::Missed);
        let own = Against::Own { row: "full".into(), figure: P50 };
        assert_eq!(outcome(Bound::new("full", &P999, own, (10.0, None))), (Outcome::Must, Some(8.0)));
        assert_eq!(
            outcome(Bound::new("full", &P50, Against::Itself, (200.0, None))),
            (Outcome::Missed, Some(300.0))
        );
    }

    #[test]
    fn other_rows_and_the_best_peer_count() {
        let empty = Against::Own { row: "write".into(), figure: IOPS };
        assert_eq!(outcome(Bound::new("full", &IOPS, empty, (0.5, Some(0.75)))), (Outcome::Must, Some(0.5)));
        let best = |sides: &[&str]| Against::BestOf { sides: sides.iter().map(|&s| s.into()).collect() };
        let judged = |sides| outcome(Bound::new("write", &IOPS, best(sides), (1.0, None)));
        assert_eq!(judged(&["qsd", "raw"]), (Outcome::Missed, Some(0.55)));
        assert_eq!(judged(&["qsd", "absent"]), (Outcome::Must, Some(1.65)));
        assert_eq!(judged(&["absent"]), (Outcome::Unmeasured, None));
    }

    #[test]
    fn nothing_measured_is_neither_held_nor_missed() {
        let of = |row, side| Bound::new(row, &IOPS, peer(side, 1.0), (1.0, None));
        assert_eq!(outcome(of("write", "ceph")).0, Outcome::Unmeasured);
        assert_eq!(outcome(of("read", "qsd")).0, Outcome::Unmeasured);
        assert_eq!(outcome(of("full", "qsd")).0, Outcome::Unmeasured);
    }
}
