//! `/metrics`: what all daemons of the pool count, as OpenMetrics text.

use super::Shared;
use crate::fleet::Metric;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use rt::event_loop::EventLoops;
use std::collections::BTreeMap;
use std::fmt::Write;

pub async fn serve(State(shared): State<Shared>) -> impl IntoResponse {
    let mut families: BTreeMap<String, Metric> = BTreeMap::new();
    let mut texts = vec![String::new()];
    if prometheus_client::encoding::text::encode(&mut texts[0], &shared.registry).is_err() {
        tracing::warn!("this process's own metrics could not be written");
    }
    for seen in shared.fleet.seen().into_iter().filter(|seen| seen.silent.is_none()) {
        texts.push(seen.report.openmetrics);
        for metric in seen.report.metrics {
            match families.get_mut(&metric.name) {
                Some(family) => family.samples.extend(metric.samples),
                None => {
                    families.insert(metric.name.clone(), metric);
                }
            }
        }
    }
    let mut metrics: Vec<Metric> = families.into_values().collect();
    metrics.extend(shared.project_metrics().await);
    metrics.extend(crate::allocator::metrics());
    metrics.push(busy());
    texts.push(text(&metrics));
    let body = merged(&texts);
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
}

/// What this process's event loops did, by kind of task: a disk's, a device's, or a volume's that the gateway writes.
fn busy() -> Metric {
    let mut kinds: BTreeMap<String, u64> = BTreeMap::new();
    for (task, busy) in EventLoops::of_process().busy() {
        let kind = task.split(' ').next().unwrap_or_default().to_owned();
        *kinds.entry(kind).or_default() += u64::try_from(busy.as_micros()).unwrap_or(u64::MAX);
    }
    Metric {
        name: "ashlar_task_busy_microseconds_total".into(),
        kind: "counter".into(),
        help: "Time that tasks of this process had their event loop's thread.".into(),
        samples: kinds.into_iter().map(|(kind, busy)| (format!("task=\"{kind}\""), busy)).collect(),
    }
}

/// What is said of a family, and its samples: lines.
type Family<'a> = (Vec<&'a str>, Vec<&'a str>);

/// One text of several, in which each family is in one piece, as OpenMetrics wants it, whoever counts for it.
fn merged(texts: &[String]) -> String {
    let mut families: BTreeMap<&str, Family<'_>> = BTreeMap::new();
    for text in texts {
        let mut family = "";
        for line in text.lines().filter(|line| !line.is_empty() && *line != END) {
            let Some(about) = line.strip_prefix("# ") else {
                families.entry(family).or_default().1.push(line);
                continue;
            };
            let mut words = about.split(' ');
            let keyword = words.next().unwrap_or_default();
            family = words.next().unwrap_or_default();
            let said = &mut families.entry(family).or_default().0;
            if !said.iter().any(|line| line[2..].starts_with(keyword)) {
                said.push(line);
            }
        }
    }
    let lines = families.into_values().flat_map(|(about, samples)| about.into_iter().chain(samples));
    lines.chain([END]).map(|line| format!("{line}\n")).collect()
}

/// The last line of every text.
const END: &str = "# EOF";

fn text(metrics: &[Metric]) -> String {
    let mut text = String::new();
    for metric in metrics.iter().filter(|metric| !metric.samples.is_empty()) {
        // A counter's family is named without the suffix that its samples have.
        let family = metric.name.trim_end_matches("_total");
        let _ = writeln!(text, "# HELP {family} {}", metric.help);
        let _ = writeln!(text, "# TYPE {family} {}", metric.kind);
        for (labels, value) in &metric.samples {
            let labels = if labels.is_empty() { String::new() } else { format!("{{{labels}}}") };
            let _ = writeln!(text, "{}{labels} {value}", metric.name);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_of_several_daemons_are_in_one_piece() {
        let of = |gateway: &str, count: u32| {
            format!(
                "# HELP ashlar_s3_a A.\n# TYPE ashlar_s3_a counter\nashlar_s3_a_total{{gateway=\"{gateway}\"}} {count}\n\
                 # HELP ashlar_s3_b B.\n# TYPE ashlar_s3_b gauge\nashlar_s3_b{{gateway=\"{gateway}\"}} 7\n# EOF\n"
            )
        };
        assert_eq!(
            merged(&[of("g", 1), String::new(), of("h", 2)]),
            "# HELP ashlar_s3_a A.\n# TYPE ashlar_s3_a counter\nashlar_s3_a_total{gateway=\"g\"} 1\n\
             ashlar_s3_a_total{gateway=\"h\"} 2\n# HELP ashlar_s3_b B.\n# TYPE ashlar_s3_b gauge\n\
             ashlar_s3_b{gateway=\"g\"} 7\nashlar_s3_b{gateway=\"h\"} 7\n# EOF\n"
        );
    }

    #[test]
    fn writes_what_prometheus_reads() {
        let metric = |samples| Metric {
            name: "ashlar_x_total".into(),
            kind: "counter".into(),
            help: "X.".into(),
            samples,
        };
        let full = text(&[metric(vec![("disk=\"a\"".into(), 3)]), metric(Vec::new())]);
        assert_eq!(full, "# HELP ashlar_x X.\n# TYPE ashlar_x counter\nashlar_x_total{disk=\"a\"} 3\n");
    }
}
