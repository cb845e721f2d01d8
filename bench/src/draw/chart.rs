//! The layout: for each report its sides, for each row a bar a side with the range over the rounds, and where and
//! when it was measured.

use super::svg::{Anchor, Rect, Style, Svg};
use crate::report::figure::{Better, number};
use crate::report::spread::Spread;
use crate::report::{OURS, Report, Row};

const WIDTH: f64 = 960.0;
const MARGIN: f64 = 28.0;
/// Where bars begin and how long the longest is; the text behind it needs the rest.
const BAR_X: f64 = 230.0;
const BAR_WIDTH: f64 = 380.0;
const BAR_HEIGHT: f64 = 15.0;
const BAR_STEP: f64 = 21.0;

const INK: &str = "#1f2328";
const FAINT: &str = "#59636e";
const RULE: &str = "#d8dee4";
const OUR_COLOR: &str = "#0b7285";
const PEER_COLORS: [&str; 5] = ["#8f9aa6", "#d08f4f", "#8d7fc0", "#6b9e5f", "#b76e79"];

const TITLE: Style = Style { size: 22.0, color: INK, is_bold: true };
const SECTION: Style = Style { size: 16.0, color: INK, is_bold: true };
const ROW: Style = Style { size: 13.0, color: INK, is_bold: true };
const LABEL: Style = Style { size: 12.0, color: INK, is_bold: false };
const NOTE: Style = Style { size: 11.0, color: FAINT, is_bold: false };

/// Letters of the size of a note that fit between the margins, at a common font's width.
const NOTE_LETTERS: usize = 150;

struct Chart {
    svg: Svg,
    y: f64,
    /// Peers in the order in which the reports name them: each keeps its color in all of them.
    peers: Vec<String>,
}

pub fn draw(title: &str, reports: &[Report]) -> String {
    let mut peers = Vec::new();
    for side in reports.iter().flat_map(|report| report.sides.iter().skip(1)) {
        if !peers.contains(&side.name) {
            peers.push(side.name.clone());
        }
    }
    let mut chart = Chart { svg: Svg::new(WIDTH), y: MARGIN + 14.0, peers };
    chart.svg.text((MARGIN, chart.y), Anchor::Start, TITLE, title);
    chart.y += 20.0;
    let how = "Medians over the rounds, with the range from the slowest to the fastest round; each row has its own scale where there are peers.";
    chart.note(how);
    for report in reports {
        chart.report(report);
    }
    chart.footer(reports);
    let height = chart.y + MARGIN - 10.0;
    chart.svg.finish(height, title)
}

impl Chart {
    fn report(&mut self, report: &Report) {
        self.y += 14.0;
        self.svg.stroke((MARGIN, self.y), (WIDTH - MARGIN, self.y), RULE);
        self.y += 26.0;
        self.svg.text((MARGIN, self.y), Anchor::Start, SECTION, &report.title);
        let settings = report.settings.iter().map(|(name, value)| format!("{name} {value}"));
        let settings = settings.collect::<Vec<_>>().join(" · ");
        self.y += 18.0;
        self.note(&settings);
        self.y -= 8.0;
        for (index, side) in report.sides.iter().enumerate() {
            self.side(self.color(report, index), &format!("{}: {}", side.name, side.durability));
        }
        for (name, why) in &report.missing {
            self.side("#ffffff", &format!("{name}: not measured: {why}"));
        }
        self.y += 4.0;
        for row in &report.rows {
            self.row(report, row);
        }
    }

    /// A line of the legend, which breaks when it is long.
    fn side(&mut self, color: &str, text: &str) {
        self.svg.rect(Rect { x: MARGIN, y: self.y + 4.0, width: 10.0, height: 10.0 }, 2.0, color);
        for line in wrap(text, NOTE_LETTERS) {
            self.y += 13.0;
            self.svg.text((MARGIN + 16.0, self.y), Anchor::Start, NOTE, &line);
        }
        self.y += 4.0;
    }

    fn row(&mut self, report: &Report, row: &Row) {
        let Some(figure) = report.figure(&row.headline) else { return };
        let spreads = (0..report.sides.len()).map(|side| row.spread(side, &row.headline)).collect::<Vec<_>>();
        let longest = longest(report, row);
        self.y += 24.0;
        let better = match figure.better {
            Better::Higher => "",
            Better::Lower => ", less is better",
        };
        let unit = match (&*figure.name, &*figure.unit) {
            ("IOPS", _) => "IOPS".to_owned(),
            (name, unit) => format!("{name}, {unit}"),
        };
        self.svg.pair((MARGIN, self.y), (ROW, &row.workload), (NOTE, &format!("{unit}{better}")));
        self.y += 6.0;
        for (side, spread) in spreads.iter().enumerate() {
            let Some(spread) = spread else { continue };
            let ratio = (side != OURS).then(|| row.ratio(side, &row.headline)).flatten();
            let color = self.color(report, side);
            self.bar(&report.sides[side].name, color, Scaled { spread: *spread, longest }, ratio);
        }
    }

    fn bar(&mut self, name: &str, color: &str, scaled: Scaled, ratio: Option<Spread>) {
        let Scaled { spread, longest } = scaled;
        let at = |value: f64| BAR_X + BAR_WIDTH * if longest > 0.0 { value / longest } else { 0.0 };
        let baseline = self.y + BAR_HEIGHT - 3.5;
        self.svg.text((BAR_X - 8.0, baseline), Anchor::End, LABEL, name);
        // What is tiny beside the others is there all the same.
        let width = (at(spread.median) - BAR_X).max(1.5);
        self.svg.rect(Rect { x: BAR_X, y: self.y, width, height: BAR_HEIGHT }, 2.0, color);
        let middle = self.y + BAR_HEIGHT / 2.0;
        if at(spread.max) - at(spread.min) > 1.0 {
            self.svg.stroke((at(spread.min), middle), (at(spread.max), middle), INK);
            for end in [spread.min, spread.max] {
                self.svg.stroke((at(end), middle - 3.5), (at(end), middle + 3.5), INK);
            }
        }
        let end = (BAR_X + width).max(at(spread.max)) + 8.0;
        self.svg.text((end, baseline), Anchor::Start, LABEL, &spread.to_string());
        if let Some(ratio) = ratio {
            let text = format!("ours / it: {} x", number(ratio.median));
            self.svg.text((WIDTH - MARGIN, baseline), Anchor::End, NOTE, &text);
        }
        self.y += BAR_STEP;
    }

    fn color(&self, report: &Report, side: usize) -> &'static str {
        let peer = self.peers.iter().position(|peer| *peer == report.sides[side].name);
        match (side, peer) {
            (OURS, _) | (_, None) => OUR_COLOR,
            (_, Some(peer)) => PEER_COLORS[peer % PEER_COLORS.len()],
        }
    }

    fn note(&mut self, text: &str) {
        for line in wrap(text, NOTE_LETTERS) {
            self.svg.text((MARGIN, self.y), Anchor::Start, NOTE, &line);
            self.y += 14.0;
        }
    }

    /// Where and when; once for reports that were made alike.
    fn footer(&mut self, reports: &[Report]) {
        self.y += 12.0;
        self.svg.stroke((MARGIN, self.y), (WIDTH - MARGIN, self.y), RULE);
        self.y += 18.0;
        let mut said = Vec::new();
        for report in reports {
            let line = report.machine.line();
            if !said.contains(&line) {
                self.note(&line);
                said.push(line);
            }
        }
        let made = |report: &Report| {
            let commit =
                report.commit.as_deref().map_or(String::new(), |commit| format!(", commit {commit}"));
            format!("bench {}: {}{commit}", report.mode, report.date)
        };
        let made = reports.iter().map(made).collect::<Vec<_>>().join(" · ");
        self.note(&made);
    }
}

/// A figure and the length of its row's longest bar.
#[derive(Debug, Clone, Copy)]
struct Scaled {
    spread: Spread,
    longest: f64,
}

/// What the longest bar stands for: in a row, or, where ours stands alone, in all rows of the same figure.
fn longest(report: &Report, row: &Row) -> f64 {
    let alike = |other: &&Row| match report.sides.len() {
        1 => other.headline == row.headline,
        _ => other.workload == row.workload,
    };
    let sides = 0..report.sides.len();
    let spreads = report.rows.iter().filter(alike).flat_map(|row| {
        let of_row = sides.clone().filter_map(|side| row.spread(side, &row.headline));
        of_row.collect::<Vec<_>>()
    });
    spreads.map(|spread| spread.max).fold(0.0, f64::max)
}

/// Breaks at spaces; a longer word stays whole.
fn wrap(text: &str, letters: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("it starts with one");
        if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > letters {
            lines.push(word.to_owned());
            continue;
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Facts;
    use crate::report::figure::{IOPS, P50, Sample};
    use crate::report::{RowName, SideFacts};

    fn report() -> Report {
        let sides = ["ashlar", "qsd"].map(|name| SideFacts::new(name, "on disk"));
        let mut report = Report::new("block", "Volumes & more", Facts::default(), sides.to_vec());
        for (side, iops) in [(0, 300.0), (1, 100.0), (0, 400.0), (1, 100.0)] {
            let mut sample = Sample::default();
            sample.put(&IOPS, iops);
            sample.put(&P50, 50.0);
            report.add(&RowName::new("4K randwrite d32", &IOPS), side, sample.clone());
            if side == 0 {
                report.add(&RowName::new("4K randread d1", &P50), side, sample);
            }
        }
        report
    }

    fn bars(svg: &str) -> Vec<f64> {
        let bar = |line: &str| {
            let is_bar = line.starts_with("<rect") && line.contains("height=\"15.0\"");
            let width = line.split("width=\"").nth(1)?.split('"').next()?;
            if is_bar { width.parse().ok() } else { None }
        };
        svg.lines().filter_map(bar).collect()
    }

    #[test]
    fn bars_are_as_long_as_their_medians_in_their_row() {
        let svg = draw("Title", &[report()]);
        assert_eq!(bars(&svg), [BAR_WIDTH * 350.0 / 400.0, BAR_WIDTH * 100.0 / 400.0, BAR_WIDTH]);
        assert!(svg.contains(">350 (300-400)<") && svg.contains(">ours / it: 3.50 x<"), "{svg}");
        assert!(svg.contains(">Volumes &amp; more<") && svg.contains("less is better"));
    }

    #[test]
    fn ours_alone_has_one_scale_for_alike_rows() {
        let mut report = Report::new("memory", "", Facts::default(), vec![SideFacts::new("ashlar", "")]);
        for (row, iops) in [("a", 100.0), ("b", 200.0)] {
            let mut sample = Sample::default();
            sample.put(&IOPS, iops);
            report.add(&RowName::new(row, &IOPS), OURS, sample);
        }
        assert_eq!(bars(&draw("", &[report])), [BAR_WIDTH / 2.0, BAR_WIDTH]);
    }

    #[test]
    fn a_peer_keeps_its_color() {
        let mut other = report();
        other.sides[1].name = "ceph".into();
        let color = |svg: &str, of: &str| {
            let (before, _) = svg.split_once(&format!(">{of}: on disk<")).unwrap();
            before.rsplit("fill=\"").nth(1).map(|rest| rest[..7].to_owned())
        };
        let svg = draw("", &[report(), other.clone()]);
        assert_ne!(color(&svg, "qsd"), color(&svg, "ceph"));
        let again = draw("", &[report(), other, report()]);
        assert_eq!(again.matches(PEER_COLORS[0]).count(), 4, "a mark and a bar in two reports");
    }

    #[test]
    fn long_lines_break_at_spaces() {
        assert_eq!(wrap("one two three", 7), ["one two", "three"]);
        assert_eq!(wrap("incomprehensible x", 5), ["incomprehensible", "x"]);
        assert_eq!(wrap("", 5), [""]);
    }
}
