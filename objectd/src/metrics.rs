//! What the gateway counts.

use meta::event::WebhookStatus;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use std::time::Duration;

/// Both labels have few values: operations are a table, classes are `2xx` to `5xx`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    operation: &'static str,
    class: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

/// What became of lines of an access log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLines {
    Delivered,
    /// Their bucket is gone, or doesn't log any more.
    Ended,
    /// The target does not take them.
    Refused,
    /// Too many waited.
    NoRoom,
}

/// What a bucket's lifecycle took away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    Object,
    NoncurrentVersion,
    DeleteMarker,
    Upload,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OperationLabel {
    operation: &'static str,
}

/// The gateway's metrics, `ashlar_s3_*`. Clones share their values.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<RequestLabels, Counter>,
    durations: Family<OperationLabel, Histogram>,
    received: Counter,
    sent: Counter,
    connections: Gauge,
    body_memory: Gauge,
    write_timeouts: Counter,
    tls_handshake_failures: Counter,
    tls_reload_failures: Counter,
    lifecycle_expired: Family<KindLabel, Counter>,
    lifecycle_failures: Counter,
    lifecycle_last_pass: Gauge,
    notifications: Family<OutcomeLabel, Counter>,
    notifications_waiting: Gauge,
    notifications_dropped: Gauge,
    access_log_lines: Family<OutcomeLabel, Counter>,
    access_log_failures: Counter,
    access_log_waiting: Gauge,
}

impl Metrics {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("ashlar_s3");
        let durations = || Histogram::new(exponential_buckets(0.0005, 2.0, 16));
        let metrics = Self {
            requests: Family::default(),
            durations: Family::new_with_constructor(durations as fn() -> Histogram),
            received: Counter::default(),
            sent: Counter::default(),
            connections: Gauge::default(),
            body_memory: Gauge::default(),
            write_timeouts: Counter::default(),
            tls_handshake_failures: Counter::default(),
            tls_reload_failures: Counter::default(),
            lifecycle_expired: Family::default(),
            lifecycle_failures: Counter::default(),
            lifecycle_last_pass: Gauge::default(),
            notifications: Family::default(),
            notifications_waiting: Gauge::default(),
            notifications_dropped: Gauge::default(),
            access_log_lines: Family::default(),
            access_log_failures: Counter::default(),
            access_log_waiting: Gauge::default(),
        };
        registry.register(
            "requests",
            "Requests answered, by operation and status class",
            metrics.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from a request's head to its answer's head",
            Unit::Seconds,
            metrics.durations.clone(),
        );
        registry.register_with_unit(
            "received",
            "Object data received",
            Unit::Bytes,
            metrics.received.clone(),
        );
        registry.register_with_unit("sent", "Object data sent", Unit::Bytes, metrics.sent.clone());
        registry.register("connections", "Open connections", metrics.connections.clone());
        registry.register_with_unit(
            "body_memory",
            "Memory that bodies hold on their way to the disks and from them",
            Unit::Bytes,
            metrics.body_memory.clone(),
        );
        registry.register(
            "write_timeouts",
            "Connections ended because their client did not read its answer",
            metrics.write_timeouts.clone(),
        );
        registry.register(
            "tls_handshake_failures",
            "Connections to the TLS port that made no TLS connection",
            metrics.tls_handshake_failures.clone(),
        );
        registry.register(
            "tls_reload_failures",
            "Changes of the certificate's files that could not be used",
            metrics.tls_reload_failures.clone(),
        );
        metrics.register_lifecycle(registry);
        metrics.register_notifications(registry);
        metrics.register_access_logs(registry);
        metrics
    }

    fn register_lifecycle(&self, registry: &mut Registry) {
        registry.register(
            "lifecycle_expired",
            "Things that this gateway took away by lifecycle rules, by what they were",
            self.lifecycle_expired.clone(),
        );
        registry.register(
            "lifecycle_failures",
            "Times that this gateway could not go on with lifecycles",
            self.lifecycle_failures.clone(),
        );
        registry.register_with_unit(
            "lifecycle_last_pass",
            "When the pool's last whole pass of lifecycles ended, since 1970; 0 before the first",
            Unit::Seconds,
            self.lifecycle_last_pass.clone(),
        );
    }

    fn register_notifications(&self, registry: &mut Registry) {
        registry.register(
            "notifications",
            "Notifications that this gateway posted, by whether the webhook took them",
            self.notifications.clone(),
        );
        registry.register(
            "notifications_waiting",
            "Notifications of the pool that wait for their webhooks",
            self.notifications_waiting.clone(),
        );
        registry.register(
            "notifications_dropped",
            "Notifications of the pool that were given up, too many or too old, for webhooks there are",
            self.notifications_dropped.clone(),
        );
    }

    fn register_access_logs(&self, registry: &mut Registry) {
        registry.register(
            "access_log_lines",
            "Lines of access logs, by what became of them; all but the delivered ones are lost",
            self.access_log_lines.clone(),
        );
        registry.register(
            "access_log_failures",
            "Deliveries of access logs that failed and are tried again",
            self.access_log_failures.clone(),
        );
        registry.register_with_unit(
            "access_log_waiting",
            "Lines of access logs that wait to be delivered",
            Unit::Bytes,
            self.access_log_waiting.clone(),
        );
    }

    pub(crate) fn log_lines(&self, what: LogLines, lines: u64) {
        let outcome = match what {
            LogLines::Delivered => "delivered",
            LogLines::Ended => "ended",
            LogLines::Refused => "refused",
            LogLines::NoRoom => "no_room",
        };
        self.access_log_lines.get_or_create(&OutcomeLabel { outcome }).inc_by(lines);
    }

    pub(crate) fn log_failed(&self) {
        self.access_log_failures.inc();
    }

    pub(crate) fn log_waiting(&self, bytes: usize) {
        self.access_log_waiting.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(crate) fn notified(&self, taken: bool) {
        let outcome = if taken { "taken" } else { "failed" };
        self.notifications.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// How it is with all webhooks, as the control plane knows it.
    pub(crate) fn webhooks(&self, all: &[WebhookStatus]) {
        let sum = |count: fn(&WebhookStatus) -> u64| i64::try_from(all.iter().map(count).sum::<u64>());
        self.notifications_waiting.set(sum(|webhook| webhook.state.backlog).unwrap_or(i64::MAX));
        let dropped = sum(|webhook| webhook.state.dropped_full + webhook.state.dropped_old);
        self.notifications_dropped.set(dropped.unwrap_or(i64::MAX));
    }

    /// Counts one answer. A request that was refused before it was routed has no operation.
    pub fn answered(&self, operation: Option<&'static str>, status: http::StatusCode, took: Duration) {
        let operation = operation.unwrap_or("none");
        let class = match status.as_u16() / 100 {
            2 => "2xx",
            3 => "3xx",
            4 => "4xx",
            _ => "5xx",
        };
        self.requests.get_or_create(&RequestLabels { operation, class }).inc();
        self.durations.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }

    pub fn received(&self, bytes: u64) {
        self.received.inc_by(bytes);
    }

    pub fn sent(&self, bytes: u64) {
        self.sent.inc_by(bytes);
    }

    pub(crate) fn connection_opened(&self) {
        self.connections.inc();
    }

    pub(crate) fn connection_closed(&self) {
        self.connections.dec();
    }

    /// For who knows how much that is.
    pub(crate) fn body_memory(&self) -> Gauge {
        self.body_memory.clone()
    }

    pub(crate) fn write_timed_out(&self) {
        self.write_timeouts.inc();
    }

    #[cfg(test)]
    pub(crate) fn write_timeouts(&self) -> u64 {
        self.write_timeouts.get()
    }

    pub(crate) fn expired(&self, what: Expired) {
        let kind = match what {
            Expired::Object => "object",
            Expired::NoncurrentVersion => "noncurrent_version",
            Expired::DeleteMarker => "delete_marker",
            Expired::Upload => "upload",
        };
        self.lifecycle_expired.get_or_create(&KindLabel { kind }).inc();
    }

    pub(crate) fn lifecycle_failed(&self) {
        self.lifecycle_failures.inc();
    }

    pub(crate) fn lifecycle_passed(&self, ended_ms: Option<u64>) {
        self.lifecycle_last_pass.set(i64::try_from(ended_ms.unwrap_or(0) / 1000).unwrap_or(i64::MAX));
    }

    pub(crate) fn tls_handshake_failed(&self) {
        self.tls_handshake_failures.inc();
    }

    pub(crate) fn tls_reload_failed(&self) {
        self.tls_reload_failures.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_written_with_its_name_and_unit() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        metrics.answered(Some("PutObject"), http::StatusCode::OK, Duration::from_millis(3));
        metrics.answered(None, http::StatusCode::FORBIDDEN, Duration::ZERO);
        metrics.received(7);
        metrics.sent(9);
        metrics.connection_opened();
        metrics.body_memory().inc_by(8);
        metrics.write_timed_out();
        metrics.tls_handshake_failed();
        metrics.tls_reload_failed();
        metrics.expired(Expired::Upload);
        metrics.lifecycle_failed();
        metrics.lifecycle_passed(Some(5999));
        metrics.notified(true);
        metrics.notified(false);
        metrics.webhooks(&[]);
        for what in [LogLines::Delivered, LogLines::Ended, LogLines::Refused, LogLines::NoRoom] {
            metrics.log_lines(what, 2);
        }
        metrics.log_failed();
        metrics.log_waiting(6);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "ashlar_s3_requests_total{operation=\"PutObject\",class=\"2xx\"} 1",
            "ashlar_s3_requests_total{operation=\"none\",class=\"4xx\"} 1",
            "ashlar_s3_request_duration_seconds_count{operation=\"PutObject\"} 1",
            "ashlar_s3_received_bytes_total 7",
            "ashlar_s3_sent_bytes_total 9",
            "ashlar_s3_connections 1",
            "ashlar_s3_body_memory_bytes 8",
            "ashlar_s3_write_timeouts_total 1",
            "ashlar_s3_tls_handshake_failures_total 1",
            "ashlar_s3_tls_reload_failures_total 1",
            "ashlar_s3_lifecycle_expired_total{kind=\"upload\"} 1",
            "ashlar_s3_lifecycle_failures_total 1",
            "ashlar_s3_lifecycle_last_pass_seconds 5",
            "ashlar_s3_notifications_total{outcome=\"taken\"} 1",
            "ashlar_s3_notifications_total{outcome=\"failed\"} 1",
            "ashlar_s3_notifications_waiting 0",
            "ashlar_s3_notifications_dropped 0",
            "ashlar_s3_access_log_lines_total{outcome=\"delivered\"} 2",
            "ashlar_s3_access_log_lines_total{outcome=\"ended\"} 2",
            "ashlar_s3_access_log_lines_total{outcome=\"refused\"} 2",
            "ashlar_s3_access_log_lines_total{outcome=\"no_room\"} 2",
            "ashlar_s3_access_log_failures_total 1",
            "ashlar_s3_access_log_waiting_bytes 6",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        metrics.connection_closed();
    }
}
