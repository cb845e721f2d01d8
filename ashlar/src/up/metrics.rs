//! `/metrics`: counts of disks, devices and the gateway, as OpenMetrics text.

use crate::up::SharedAgent;
use crate::up::routes::Shared;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use std::fmt::Write;

/// One metric: its name, its type, its help, and its samples as (labels, value).
struct Metric {
    name: &'static str,
    kind: &'static str,
    help: &'static str,
    samples: Vec<(String, u64)>,
}

pub async fn serve(State(shared): State<Shared>) -> impl IntoResponse {
    let agent = shared.agent;
    let mut metrics = disk_metrics(&agent);
    metrics.extend(device_metrics(&agent));
    metrics.push(Metric {
        name: "ashlar_vms_running",
        kind: "gauge",
        help: "VMs that run on this machine.",
        samples: vec![(
            String::new(),
            agent.compute.list().iter().filter(|vm| vm.state.is_running()).count() as u64,
        )],
    });
    let mut body = text(&metrics);
    // It ends with the mark of the end, as the whole must.
    if prometheus_client::encoding::text::encode(&mut body, &shared.registry).is_err() {
        body.push_str("# EOF\n");
    }
    ([(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], body)
}

fn disk_metrics(agent: &SharedAgent) -> Vec<Metric> {
    let statuses: Vec<_> = agent.disks().iter().map(|disk| (disk.id(), disk.status())).collect();
    let metric = |name, kind, help, value: fn(&blockd::server::ServerStatus) -> u64| Metric {
        name,
        kind,
        help,
        samples: statuses.iter().map(|(id, status)| (format!("disk=\"{id}\""), value(status))).collect(),
    };
    vec![
        metric("ashlar_disk_up", "gauge", "Whether the disk's shard serves.", |s| {
            u64::from(s.failure.is_none())
        }),
        metric("ashlar_disk_capacity_bytes", "gauge", "What data may use.", |s| s.stat.capacity_bytes),
        metric("ashlar_disk_live_bytes", "gauge", "Blocks that the index points to.", |s| s.stat.live_bytes),
        metric("ashlar_disk_free_bytes", "gauge", "What can be written, once cleaned.", |s| {
            s.stat.free_bytes
        }),
        metric("ashlar_disk_index_bytes", "gauge", "Memory of the index.", |s| s.stat.index_bytes),
        metric("ashlar_disk_requests_total", "counter", "Requests served.", |s| s.requests),
        metric("ashlar_disk_read_bytes_total", "counter", "Bytes read from the device.", |s| {
            s.disk_read_bytes
        }),
        metric("ashlar_disk_written_bytes_total", "counter", "Bytes written to the device.", |s| {
            s.disk_written_bytes
        }),
        metric("ashlar_disk_flushes_total", "counter", "Flushes of the device.", |s| s.disk_flushes),
        metric("ashlar_disk_corrupt_blocks_total", "counter", "Bad blocks found.", |s| s.stat.corrupt_blocks),
        metric("ashlar_disk_repaired_blocks_total", "counter", "Bad blocks repaired.", |s| {
            s.stat.repaired_blocks
        }),
    ]
}

fn device_metrics(agent: &SharedAgent) -> Vec<Metric> {
    let mut statuses = Vec::new();
    agent.each_device(|name, status| statuses.push((name.to_owned(), status.clone())));
    let metric = |name, help, value: fn(&vhost_user::DeviceStatus) -> u64| Metric {
        name,
        kind: "counter",
        help,
        // Volumes' names hold no quote and no backslash, and there are as many as the operator made.
        samples: statuses
            .iter()
            .map(|(volume, status)| (format!("volume=\"{volume}\""), value(status)))
            .collect(),
    };
    vec![
        metric("ashlar_volume_reads_total", "Guest reads.", |s| s.reads),
        metric("ashlar_volume_read_bytes_total", "Bytes read by the guest.", |s| s.read_bytes),
        metric("ashlar_volume_writes_total", "Guest writes.", |s| s.writes),
        metric("ashlar_volume_written_bytes_total", "Bytes written by the guest.", |s| s.written_bytes),
        metric("ashlar_volume_flushes_total", "Guest flushes.", |s| s.flushes),
        metric("ashlar_volume_trims_total", "Guest discards.", |s| s.trims),
        metric("ashlar_volume_errors_total", "Guest requests answered with an error.", |s| s.errors),
    ]
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
        let metric = |samples| Metric { name: "ashlar_x_total", kind: "counter", help: "X.", samples };
        let full = text(&[metric(vec![("disk=\"a\"".into(), 3)]), metric(Vec::new())]);
        assert_eq!(full, "# HELP ashlar_x X.\n# TYPE ashlar_x counter\nashlar_x_total{disk=\"a\"} 3\n");
    }
}
