//! What the agent counts.

use super::Agent;
use crate::fleet::Metric;

pub fn of(agent: &Agent) -> Vec<Metric> {
    let mut metrics = devices(agent);
    metrics.push(Metric {
        name: "ashlar_vms_running".into(),
        kind: "gauge".into(),
        help: "VMs that run on this machine.".into(),
        samples: vec![(
            format!("node=\"{}\"", agent.node.name),
            agent.compute.list().iter().filter(|vm| vm.state.is_running()).count() as u64,
        )],
    });
    metrics
}

fn devices(agent: &Agent) -> Vec<Metric> {
    let mut statuses = Vec::new();
    agent.each_device(|name, status| statuses.push((name.to_owned(), status.clone())));
    let metric = |name: &str, help: &str, value: fn(&vhost_user::DeviceStatus) -> u64| Metric {
        name: String::from(name),
        kind: "counter".into(),
        help: String::from(help),
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
