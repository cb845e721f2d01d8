//! Makes plans and proposes them, as long as the control plane runs.

use super::{Settings, Watch, plan};
use crate::client::Client;
use crate::error::{ErrorKind, MetaError};
use crate::limits::BUSY_PLAN_INTERVAL_MS;
use crate::metrics::MetaMetrics;
use proto::control::MemberState;
use rt::clock::Clock;
use std::sync::Arc;
use std::time::Duration;

/// Looks and proposes until it is dropped. Any number of these may run beside each other: what one proposed
/// is stale for the others. Where the control plane has no leader, it does nothing.
pub async fn run(client: Client, clock: Arc<dyn Clock>, settings: Settings) {
    let metrics = client.metrics();
    let mut watch = Watch::default();
    let mut pause_ms = settings.interval_ms;
    loop {
        tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        let now_ms = clock.now().0 / 1_000_000;
        match look_and_propose(&client, &mut watch, now_ms, &settings, &metrics).await {
            Ok(Pool::Busy) => pause_ms = settings.interval_ms.min(BUSY_PLAN_INTERVAL_MS),
            Ok(Pool::AtRest) => pause_ms = settings.interval_ms,
            Err(error) if error.kind() == ErrorKind::Unavailable => {}
            Err(error) => tracing::warn!(%error, "the planner could not look at the pool"),
        }
    }
}

async fn look_and_propose(
    client: &Client,
    watch: &mut Watch,
    now_ms: u64,
    settings: &Settings,
    metrics: &MetaMetrics,
) -> Result<Pool, MetaError> {
    let map = client.pool_map().await?;
    metrics.groups_seen(&map);
    let members = map.groups.iter().flat_map(|group| &group.members);
    let coming = members.filter(|member| member.state == MemberState::CatchingUp).count();
    let disks = client.disks().await?;
    let left = client.left_groups().await?;
    watch.note_slow(client.slow_disks().await?.into_iter().filter(|slow| slow.held).map(|slow| slow.disk));
    let planned = plan(&watch.look(now_ms, map, disks, left, settings));
    let pool = if planned.is_empty() && coming == 0 { Pool::AtRest } else { Pool::Busy };
    for command in planned {
        let what = format!("{command:?}");
        match client.propose(command).await {
            Ok(_) => {
                MetaMetrics::count(&metrics.planned, "applied");
                tracing::info!(what, "planned");
            }
            Err(error) if error.is_retryable() => return Err(error),
            // Somebody else changed the group meanwhile: the next look sees it.
            Err(error) => {
                MetaMetrics::count(&metrics.planned, "refused");
                tracing::debug!(what, %error, "a planned change came too late");
            }
        }
    }
    Ok(pool)
}

/// Whether members are on their way somewhere.
enum Pool {
    AtRest,
    Busy,
}
