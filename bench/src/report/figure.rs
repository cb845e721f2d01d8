//! What is measured: a named figure with its unit and which way is better, and a sample of several of them.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    Higher,
    Lower,
}

/// A kind of measurement. Its name is its identity within a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figure {
    pub name: Cow<'static, str>,
    pub unit: Cow<'static, str>,
    pub better: Better,
}

impl Figure {
    pub const fn new(name: &'static str, unit: &'static str, better: Better) -> Self {
        Self { name: Cow::Borrowed(name), unit: Cow::Borrowed(unit), better }
    }

    /// The share of `self` that one part of a side has.
    pub fn of_part(&self, part: &str) -> Self {
        Self { name: format!("{}: {part}", self.name).into(), ..self.clone() }
    }
}

pub const IOPS: Figure = Figure::new("IOPS", "/s", Better::Higher);
pub const THROUGHPUT: Figure = Figure::new("throughput", "MiB/s", Better::Higher);
pub const P50: Figure = Figure::new("p50", "us", Better::Lower);
pub const P99: Figure = Figure::new("p99", "us", Better::Lower);
pub const P999: Figure = Figure::new("p99.9", "us", Better::Lower);
/// User and system time of all threads of a side's processes.
pub const CPU: Figure = Figure::new("CPU", "us/op", Better::Lower);
pub const SYSTEM_CALLS: Figure = Figure::new("system calls", "/op", Better::Lower);
/// Voluntary and involuntary.
pub const CONTEXT_SWITCHES: Figure = Figure::new("context switches", "/op", Better::Lower);
/// Bytes that the side's processes caused to be written, over the bytes that the client wrote.
pub const WRITTEN: Figure = Figure::new("written by processes", "B/B", Better::Lower);
/// Bytes that the disk under the data was given meanwhile by everybody, over the bytes that the client wrote.
pub const DEVICE_WRITTEN: Figure = Figure::new("written to the device", "B/B", Better::Lower);
/// Resident memory of a side's processes without what they share with the client.
pub const MEMORY: Figure = Figure::new("memory", "MiB", Better::Lower);

/// One run of one workload on one side: figures in the order in which they were put.
#[derive(Debug, Clone, Default)]
pub struct Sample {
    figures: Vec<(Figure, f64)>,
}

impl Sample {
    /// Keeps a value. A value that is no number (nothing was counted) is left out: the row then shows a dash.
    pub fn put(&mut self, figure: &Figure, value: f64) {
        if value.is_finite() {
            self.figures.retain(|(kept, _)| kept.name != figure.name);
            self.figures.push((figure.clone(), value));
        }
    }

    #[cfg(test)]
    pub fn get(&self, figure: &Figure) -> Option<f64> {
        self.figures.iter().find(|(kept, _)| kept.name == figure.name).map(|&(_, value)| value)
    }

    /// The throughput and latencies that a client saw.
    pub fn put_latencies(&mut self, latencies: &mut Latencies) {
        for (figure, per_mille) in [(P50, 500), (P99, 990), (P999, 999)] {
            self.put(&figure, latencies.at_us(per_mille));
        }
    }

    /// A line for those who watch.
    pub fn summary(&self) -> String {
        let shown = self.figures.iter().take(6);
        let text = |(figure, value): &(Figure, f64)| format!("{} {}", figure.name, number(*value));
        shown.map(text).collect::<Vec<_>>().join("  ")
    }

    pub fn into_figures(self) -> Vec<(Figure, f64)> {
        self.figures
    }
}

/// Latencies of a run, one an operation.
#[derive(Debug, Default)]
pub struct Latencies {
    ns: Vec<u32>,
    is_sorted: bool,
}

impl Latencies {
    pub fn push(&mut self, latency: std::time::Duration) {
        if self.ns.len() < crate::limits::MAX_LATENCIES {
            // Beyond four seconds it is "four seconds at least", which no percentile of interest reaches.
            self.ns.push(u32::try_from(latency.as_nanos()).unwrap_or(u32::MAX));
            self.is_sorted = false;
        }
    }

    pub fn append(&mut self, other: Self) {
        let room = crate::limits::MAX_LATENCIES - self.ns.len();
        self.ns.extend(other.ns.into_iter().take(room));
        self.is_sorted = false;
    }

    /// The latency that so many of a thousand operations did not exceed; no number if there were none.
    pub fn at_us(&mut self, per_mille: usize) -> f64 {
        if !self.is_sorted {
            self.ns.sort_unstable();
            self.is_sorted = true;
        }
        let index = (self.ns.len() * per_mille / 1000).min(self.ns.len().max(1) - 1);
        self.ns.get(index).map_or(f64::NAN, |&ns| f64::from(ns) / 1000.0)
    }
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^53")]
pub fn count(count: u64) -> f64 {
    count as f64
}

/// A value with as many digits as it deserves: three or more, thousands apart.
pub fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 || size == 0.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 0.1 => 2,
        _ => 4,
    };
    let text = format!("{value:.decimals$}");
    let (whole, rest) = text.split_once('.').map_or((&*text, ""), |(whole, rest)| (whole, rest));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut out = sign.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if !rest.is_empty() {
        out.push('.');
        out.push_str(rest);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn numbers_have_the_digits_they_deserve() {
        for (value, text) in [
            (1_234_567.8, "1,234,568"),
            (999.6, "1,000"),
            (52_300.0, "52,300"),
            (100.0, "100"),
            (43.25, "43.2"),
            (0.871, "0.87"),
            (0.0021, "0.0021"),
            (0.0, "0"),
            (-1_500.0, "-1,500"),
        ] {
            assert_eq!(number(value), text);
        }
    }

    #[test]
    fn a_sample_keeps_the_last_of_a_figure_and_no_holes() {
        let mut sample = Sample::default();
        sample.put(&IOPS, 1.0);
        sample.put(&IOPS, 2.0);
        sample.put(&P50, f64::NAN);
        assert_eq!((sample.get(&IOPS), sample.get(&P50)), (Some(2.0), None));
        assert_eq!(CPU.of_part("device").name, "CPU: device");
    }

    #[test]
    fn percentiles_are_of_what_was_counted() {
        let mut latencies = Latencies::default();
        (1..=1000).rev().for_each(|us| latencies.push(Duration::from_micros(us)));
        assert_eq!([500, 990, 999].map(|at| latencies.at_us(at)), [501.0, 991.0, 1000.0]);
        let mut more = Latencies::default();
        more.push(Duration::from_secs(1));
        latencies.append(more);
        assert_eq!((latencies.ns.len(), latencies.at_us(1000)), (1001, 1_000_000.0));
        assert!(Latencies::default().at_us(500).is_nan());
    }
}
