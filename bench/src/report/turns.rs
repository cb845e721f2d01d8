//! The order of a run: sides in turn, round after round.

use super::figure::Sample;
use super::{Report, RowName};
use crate::machine::say_aside;
use anyhow::{Context, Result};

/// Measures each workload on each side, `rounds` times. `measure` gets the workload and the side's place in the
/// report; it answers `None` for a side that can't do this.
pub fn in_turn<W>(
    report: &mut Report,
    rounds: u32,
    workloads: &[(RowName, W)],
    mut measure: impl FnMut(&W, usize, &mut Report) -> Result<Option<Sample>>,
) -> Result<()> {
    for round in 0..rounds {
        for (row, workload) in workloads {
            for side in order(round, report.sides.len()) {
                let name = report.sides[side].name.clone();
                let sample = measure(workload, side, report);
                let sample = sample.with_context(|| format!("{} on {name}", row.workload))?;
                let Some(sample) = sample else { continue };
                say_aside(&format!(
                    "round {} of {rounds}: {:<24} {name:<20} {}",
                    round + 1,
                    row.workload,
                    sample.summary()
                ));
                report.add(row, side, sample);
            }
        }
    }
    Ok(())
}

/// Who goes first changes, so that nobody always meets the disk that another left.
fn order(round: u32, sides: usize) -> impl Iterator<Item = usize> {
    let first = usize::try_from(round).unwrap_or(0) % sides.max(1);
    (0..sides).map(move |place| (first + place) % sides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Facts;
    use crate::report::SideFacts;
    use crate::report::figure::IOPS;

    #[test]
    fn each_side_goes_first_in_its_round() {
        let sides = ["a", "b", "c"].map(|name| SideFacts::new(name, ""));
        let mut report = Report::new("test", "", Facts::default(), sides.to_vec());
        let mut seen = Vec::new();
        let rows = [(RowName::new("row", &IOPS), ())];
        in_turn(&mut report, 3, &rows, |(), side, _| {
            seen.push(side);
            let mut sample = Sample::default();
            sample.put(&IOPS, 1.0);
            Ok((side != 2).then_some(sample))
        })
        .unwrap();
        assert_eq!(seen, [0, 1, 2, 1, 2, 0, 2, 0, 1]);
        assert_eq!(report.rows[0].samples.iter().map(Vec::len).collect::<Vec<_>>(), [3, 3, 0]);
    }
}
