//! Removes deleted volumes' data from the disks, and then their records. What a crash interrupts, the next
//! start takes up again: the record stays in state *deleting* until the data is gone.

use super::Shared;
use crate::limits::{DELETE_QUEUE, DELETE_RETRY};
use blockd::client::admin;
use meta::record::{VolumeRecord, VolumeState};
use proto::control::MemberState;
use tokio::sync::{mpsc, oneshot};

/// A volume to remove, and who waits for it.
pub struct Deletion {
    pub volume: VolumeRecord,
    /// Told once the first try is over: nothing, or why it will be tried again.
    pub done: Option<oneshot::Sender<Result<(), String>>>,
}

/// The way to ask for a deletion.
pub fn channel() -> (mpsc::Sender<Deletion>, mpsc::Receiver<Deletion>) {
    mpsc::channel(DELETE_QUEUE)
}

/// Deletes one after another; what fails is tried again later.
pub async fn run(shared: Shared, mut requests: mpsc::Receiver<Deletion>) {
    let mut waiting: Vec<VolumeRecord> = unfinished(&shared).await;
    loop {
        let mut again = Vec::new();
        for volume in waiting {
            if let Err(why) = delete(&shared, &volume).await {
                tracing::warn!(volume = %volume.name, why, "a deleted volume's data is still there");
                again.push(volume);
            }
        }
        waiting = again;
        let next = if waiting.is_empty() {
            requests.recv().await
        } else {
            tokio::select! {
                request = requests.recv() => request,
                () = tokio::time::sleep(DELETE_RETRY) => continue,
            }
        };
        let Some(request) = next else { return };
        let outcome = delete(&shared, &request.volume).await;
        if outcome.is_err() {
            waiting.push(request.volume);
        }
        if let Some(done) = request.done {
            let _ = done.send(outcome);
        }
    }
}

async fn unfinished(shared: &Shared) -> Vec<VolumeRecord> {
    match shared.meta.volumes().await {
        Ok(volumes) => volumes.into_iter().filter(|volume| volume.state == VolumeState::Deleting).collect(),
        Err(error) => {
            tracing::warn!(%error, "can't tell which volumes are still to be deleted");
            Vec::new()
        }
    }
}

async fn delete(shared: &Shared, volume: &VolumeRecord) -> Result<(), String> {
    let map = shared.meta.pool_map().await.map_err(|error| error.to_string())?;
    // A disk that is out everywhere is not waited for: when it catches up, it is told what was deleted.
    let counts = |disk| {
        let mut members = map.groups.iter().filter_map(|group| group.member(disk));
        members.any(|member| member.state != MemberState::Out)
    };
    for place in map.disks.iter().filter(|place| counts(place.disk)) {
        admin::delete_volume(place, shared.token, volume.id, volume.epoch)
            .await
            .map_err(|error| error.to_string())?;
    }
    shared.meta.finish_delete(volume.id).await.map_err(|error| error.to_string())?;
    tracing::info!(volume = %volume.name, id = %volume.id, "a volume is deleted");
    Ok(())
}
