//! The report as text: a block for each row, a line for each figure, a column for each side that has the row.

use super::bound::Judged;
use super::figure::{Better, Figure};
use super::{OURS, Report, Row};
use crate::machine::say;

/// Wide enough for "123,456 (123,456-123,456)".
const SIDE_WIDTH: usize = 28;
const RATIO_WIDTH: usize = 19;
/// At least.
const NAME_WIDTH: usize = 30;

impl Report {
    /// Prints everything but the machine, which a run tells at its start.
    pub fn print(&self) {
        self.lines().iter().for_each(|line| say(line));
    }

    fn lines(&self) -> Vec<String> {
        let mut lines = vec![
            String::new(),
            "medians over the rounds (min-max); of what has a +, more is better, else less".to_owned(),
        ];
        for row in &self.rows {
            lines.push(String::new());
            lines.push(self.heading(row));
            lines.extend(self.figures.iter().filter_map(|figure| self.line(row, figure)));
        }
        if !self.bounds.is_empty() {
            lines.push(String::new());
            lines.extend(self.judged().iter().map(judged_line));
        }
        let missing = self.missing.iter().map(|(name, why)| format!("not measured: {name}: {why}"));
        lines.extend(missing);
        lines.extend(self.notes.iter().map(|note| format!("note: {note}")));
        lines
    }

    fn heading(&self, row: &Row) -> String {
        let width = self.name_width();
        let mut line = format!("{:<width$}", row.workload);
        for (index, side) in self.sides.iter().enumerate().filter(|&(index, _)| row.has(index)) {
            line.push_str(&format!("{:>SIDE_WIDTH$}", side.name));
            if index != OURS {
                line.push_str(&format!("{:>RATIO_WIDTH$}", "ours / it"));
            }
        }
        line
    }

    /// So that the columns of all rows stand below each other.
    fn name_width(&self) -> usize {
        let longest = self.rows.iter().map(|row| row.workload.len()).max().unwrap_or(0);
        longest.max(NAME_WIDTH)
    }

    /// `None` for a figure that nobody has in this row.
    fn line(&self, row: &Row, figure: &Figure) -> Option<String> {
        let spreads = (0..self.sides.len()).map(|side| row.spread(side, &figure.name)).collect::<Vec<_>>();
        if spreads.iter().all(Option::is_none) {
            return None;
        }
        let name = match figure.name.split_once(": ") {
            Some((_, part)) => format!("    {part}"),
            None => format!("  {}, {}{}", figure.name, figure.unit, direction(figure)),
        };
        let width = self.name_width();
        let mut line = format!("{name:<width$}");
        for (index, spread) in spreads.iter().enumerate().filter(|&(index, _)| row.has(index)) {
            let text = spread.map_or_else(|| "-".to_owned(), |spread| spread.to_string());
            line.push_str(&format!("{text:>SIDE_WIDTH$}"));
            if index != OURS {
                let ratio = row.ratio(index, &figure.name).map(|ratio| ratio.to_string());
                line.push_str(&format!("{:>RATIO_WIDTH$}", ratio.unwrap_or_else(|| "-".to_owned())));
            }
        }
        Some(line.trim_end().to_owned())
    }
}

fn direction(figure: &Figure) -> &'static str {
    match figure.better {
        Better::Higher => " +",
        Better::Lower => "",
    }
}

fn judged_line(judged: &Judged) -> String {
    let measured = judged.measured.map_or_else(|| "-".to_owned(), |spread| spread.to_string());
    format!("bound: {}: {measured}: {}", judged.text, judged.outcome.text())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Facts;
    use crate::report::figure::{CPU, IOPS, P50, Sample};
    use crate::report::{RowName, SideFacts};

    #[test]
    fn a_table_has_every_figure_of_every_side() {
        let sides = ["ashlar", "qsd"].map(|name| SideFacts::new(name, ""));
        let mut report = Report::new("block", "", Facts::default(), sides.to_vec());
        for (side, iops) in [(0, 52_300.0), (1, 70_400.0)] {
            let mut sample = Sample::default();
            sample.put(&IOPS, iops);
            sample.put(&CPU, 20.0);
            if side == 0 {
                sample.put(&CPU.of_part("device"), 12.0);
            }
            report.add(&RowName::new("4K randwrite d32", &IOPS), side, sample);
            let mut sample = Sample::default();
            sample.put(&P50, 100.0);
            report.add(&RowName::new("4K randwrite d1", &P50), side, sample);
        }
        let text = report.lines().join("\n");
        let line = |start: &str| text.lines().find(|line| line.trim_start().starts_with(start)).unwrap();
        let words = |start: &str| line(start).split_whitespace().collect::<Vec<_>>();
        assert_eq!(words("IOPS"), ["IOPS,", "/s", "+", "52,300", "70,400", "0.74"]);
        assert_eq!(words("device"), ["device", "12.0", "-", "-"]);
        assert_eq!(words("p50"), ["p50,", "us", "100", "100", "1.00"]);
        assert_eq!(text.matches("IOPS").count(), 1, "a row shows only its own figures:\n{text}");
    }
}
