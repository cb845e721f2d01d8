//! The control plane as the writers of volumes use it.

use blockd::client::{Complaint, ControlFuture, ControlHandle, ControlPlane, control_unavailable};
use meta::client::Client;
use proto::control::PoolMap;
use proto::ids::{DiskId, GroupEpoch, GroupId};
use std::sync::Arc;
use tokio::runtime::Handle;

struct MetaControl(Client);

/// A writer's line to the control plane. Called on the runtime that is to carry its calls.
pub fn handle(meta: &Client) -> ControlHandle {
    ControlHandle::new(Arc::new(MetaControl(meta.clone())), Handle::current())
}

impl ControlPlane for MetaControl {
    fn evict(
        &self,
        disk: DiskId,
        groups: Vec<(GroupId, GroupEpoch)>,
        (complaint, why): (Complaint, String),
    ) -> ControlFuture<PoolMap> {
        let meta = self.0.clone();
        Box::pin(async move {
            tracing::warn!(%disk, groups = groups.len(), ?complaint, why, "a writer asks to evict a disk");
            let evicted = match complaint {
                Complaint::Failed => meta.evict_disk(disk, groups, &why).await,
                Complaint::Slow => meta.evict_slow_disk(disk, groups, &why).await,
            };
            evicted.map_err(control_unavailable)
        })
    }

    fn map_since(&self, version: u64) -> ControlFuture<Option<PoolMap>> {
        let meta = self.0.clone();
        Box::pin(async move { meta.pool_map_since(version).await.map_err(control_unavailable) })
    }
}
