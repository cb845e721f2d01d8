//! What the chunk servers count.

use super::Slot;
use crate::fleet::Metric;
use std::sync::Arc;

pub fn of(slots: &[Arc<Slot>]) -> Vec<Metric> {
    let statuses: Vec<_> = slots.iter().filter_map(|slot| Some((slot.disk()?, slot.status()?))).collect();
    let metric =
        |name: &str, kind: &str, help: &str, value: fn(&blockd::server::ServerStatus) -> u64| Metric {
            name: String::from(name),
            kind: String::from(kind),
            help: String::from(help),
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
        metric("ashlar_disk_reads_total", "counter", "Reads of the device.", |s| s.disk_reads),
        metric("ashlar_disk_writes_total", "counter", "Writes to the device.", |s| s.disk_writes),
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
