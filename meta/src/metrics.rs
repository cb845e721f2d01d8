//! What the control plane counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use proto::control::PoolMap;
use proto::limits::REPLICAS;
use std::time::Duration;

/// How a request ended: a closed set, so that labels stay bounded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Outcome {
    pub outcome: &'static str,
}

/// The control plane's metrics. Clones share them.
#[derive(Debug, Clone)]
pub struct MetaMetrics {
    pub(crate) proposals: Family<Outcome, Counter>,
    pub(crate) queries: Family<Outcome, Counter>,
    pub(crate) admin_requests: Family<Outcome, Counter>,
    pub(crate) log_bytes: Counter,
    pub(crate) log_flush: Histogram,
    pub(crate) batch_commands: Histogram,
    pub(crate) snapshots: Counter,
    pub(crate) rebuilds: Counter,
    pub(crate) applied_index: Gauge,
    pub(crate) planned: Family<Outcome, Counter>,
    pub(crate) groups: Family<Standing, Gauge>,
}

/// How many of a group's replicas are in sync: a closed set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Standing {
    /// `whole`, `degraded` or `stalled`.
    pub standing: &'static str,
}

impl Default for MetaMetrics {
    fn default() -> Self {
        Self {
            proposals: Family::default(),
            queries: Family::default(),
            admin_requests: Family::default(),
            log_bytes: Counter::default(),
            log_flush: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            batch_commands: Histogram::new(exponential_buckets(1.0, 2.0, 10)),
            snapshots: Counter::default(),
            rebuilds: Counter::default(),
            applied_index: Gauge::default(),
            planned: Family::default(),
            groups: Family::default(),
        }
    }
}

impl MetaMetrics {
    /// Registers everything as `ashlar_meta_*` in a registry without a prefix of its own.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("ashlar_meta");
        registry.register("proposals", "Commands proposed, by outcome", self.proposals.clone());
        registry.register("queries", "Queries answered, by outcome", self.queries.clone());
        registry.register("admin_requests", "Admin API requests, by outcome", self.admin_requests.clone());
        registry.register_with_unit("log", "Written to the log", Unit::Bytes, self.log_bytes.clone());
        let flush = "Time to write and flush one batch of the log";
        registry.register_with_unit("log_flush", flush, Unit::Seconds, self.log_flush.clone());
        registry.register("batch_commands", "Commands of one log entry", self.batch_commands.clone());
        registry.register("snapshots", "Snapshots taken", self.snapshots.clone());
        let rebuilds = "Times the materialised state was rebuilt from snapshot and log";
        registry.register("rebuilds", rebuilds, self.rebuilds.clone());
        let planned = "Changes of members that the planner proposed, by outcome";
        registry.register("planned", planned, self.planned.clone());
        let groups = "Groups, by whether all their replicas are in sync, some, or too few for writes";
        registry.register("groups", groups, self.groups.clone());
        registry.register("applied_index", "Index of the last applied log entry", self.applied_index.clone());
    }

    pub(crate) fn log_flushed(&self, bytes: usize, took: Duration) {
        self.log_bytes.inc_by(bytes as u64);
        self.log_flush.observe(took.as_secs_f64());
    }

    /// What the planner saw of the groups.
    pub(crate) fn groups_seen(&self, map: &PoolMap) {
        let mut counts = [("whole", 0), ("degraded", 0), ("stalled", 0)];
        for group in &map.groups {
            let in_sync = group.in_sync().count();
            let stalled = in_sync < map.min_in_sync as usize;
            counts[if stalled { 2 } else { usize::from(in_sync < REPLICAS) }].1 += 1;
        }
        for (standing, count) in counts {
            self.groups.get_or_create(&Standing { standing }).set(count);
        }
    }

    pub(crate) fn count(family: &Family<Outcome, Counter>, outcome: &'static str) {
        family.get_or_create(&Outcome { outcome }).inc();
    }
}
