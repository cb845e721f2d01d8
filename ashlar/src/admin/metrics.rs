//! `/metrics`: what all daemons of the pool count, as OpenMetrics text.

use super::Shared;
use crate::fleet::Metric;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::collections::BTreeMap;
use std::fmt::Write;

pub async fn serve(State(shared): State<Shared>) -> impl IntoResponse {
    let mut families: BTreeMap<String, Metric> = BTreeMap::new();
    for seen in shared.fleet.seen().into_iter().filter(|seen| seen.silent.is_none()) {
        for metric in seen.report.metrics {
            match families.get_mut(&metric.name) {
                Some(family) => family.samples.extend(metric.samples),
                None => {
                    families.insert(metric.name.clone(), metric);
                }
            }
        }
    }
    let metrics: Vec<Metric> = families.into_values().collect();
    let mut body = text(&metrics);
    // It ends with the mark of the end, as the whole must.
    if prometheus_client::encoding::text::encode(&mut body, &shared.registry).is_err() {
        body.push_str("# EOF\n");
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
}

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
