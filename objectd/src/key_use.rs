//! Tells the control plane now and then which keys are used, so that those that aren't can be found. Not at every
//! request: that would make each of them a change of the control plane.

use crate::auth::Principal;
use crate::limits::{KEY_USE_EVERY_MS, KEY_USE_GATHER, KEY_USE_QUEUE, KEY_USE_RETRY, MAX_NOTED_KEYS};
use meta::client::Client;
use meta::error::ErrorKind;
use meta::identity_command::IdentityCommand;
use meta::key_use::KeyUse;
use meta::limits::MAX_KEY_USES;
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

/// What this gateway told of. Dropping it ends the telling.
pub struct KeyUses {
    /// When the use of a key was last told, by its id.
    told: Mutex<HashMap<String, u64>>,
    queue: Sender<KeyUse>,
    teller: JoinHandle<()>,
    region: String,
}

impl KeyUses {
    /// Must run on tokio.
    pub fn start(meta: Client, region: &str) -> Self {
        let (queue, uses) = channel(KEY_USE_QUEUE);
        let teller = tokio::spawn(tell(meta, uses));
        Self { told: Mutex::default(), queue, teller, region: region.to_owned() }
    }

    /// Notes that who sent a request did so with a key of its own, if that wasn't noted of late.
    pub fn note(&self, principal: &Principal, service: &str, now_ms: u64) {
        let Principal::Key { access_key_id, holder, .. } = principal else { return };
        if holder.temporary.is_some() || !self.is_due(access_key_id, now_ms) {
            return;
        }
        let told = KeyUse {
            key: access_key_id.clone(),
            used_ms: now_ms,
            service: service.to_owned(),
            region: self.region.clone(),
        };
        if self.queue.try_send(told).is_err() {
            // So many at once that this one is left to its next use.
            self.told.lock().unwrap_or_else(PoisonError::into_inner).remove(access_key_id);
        }
    }

    fn is_due(&self, key: &str, now_ms: u64) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_late = |told_ms: u64| now_ms.saturating_sub(told_ms) >= KEY_USE_EVERY_MS;
        if told.get(key).is_some_and(|told_ms| !is_late(*told_ms)) {
            return false;
        }
        if told.len() >= MAX_NOTED_KEYS {
            told.retain(|_, told_ms| !is_late(*told_ms));
        }
        // More keys than that in so short a time: each is told of again, sooner than it need be.
        if told.len() >= MAX_NOTED_KEYS {
            told.clear();
        }
        told.insert(key.to_owned(), now_ms);
        true
    }
}

impl Drop for KeyUses {
    fn drop(&mut self) {
        self.teller.abort();
    }
}

/// Those that come close to each other are told at once.
async fn tell(meta: Client, mut uses: Receiver<KeyUse>) {
    let mut waiting = Vec::new();
    while uses.recv_many(&mut waiting, MAX_KEY_USES).await > 0 {
        tokio::time::sleep(KEY_USE_GATHER).await;
        while waiting.len() < MAX_KEY_USES
            && let Ok(next) = uses.try_recv()
        {
            waiting.push(next);
        }
        while let Err(error) = meta.change_identity(IdentityCommand::NoteKeyUses(waiting.clone())).await {
            if error.kind() != ErrorKind::Unavailable {
                tracing::warn!(%error, "which keys were used is not noted");
                break;
            }
            tracing::debug!(%error, "which keys are used is told later");
            tokio::time::sleep(KEY_USE_RETRY).await;
        }
        waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{Holder, Temporary};

    fn key(id: &str) -> Principal {
        let owner = "root".to_owned();
        Principal::Key { access_key_id: id.into(), holder: Holder::root(&owner), owner }
    }

    #[tokio::test]
    async fn each_key_is_told_of_once_in_a_while_and_sessions_never() {
        let (queue, mut uses) = channel(2);
        let teller = tokio::spawn(async {});
        let noted = KeyUses { told: Mutex::default(), queue, teller, region: "here".into() };
        let mut told = || uses.try_recv().ok().map(|told| (told.key, told.used_ms));
        noted.note(&key("A"), "s3", 5);
        noted.note(&key("A"), "iam", 6);
        noted.note(&key("A"), "s3", 4 + KEY_USE_EVERY_MS);
        noted.note(&Principal::Anonymous, "s3", 7);
        let mut session = key("B");
        let Principal::Key { holder, .. } = &mut session else { unreachable!() };
        holder.temporary = Some(Temporary { issued_ms: 1, policies: vec![] });
        noted.note(&session, "s3", 7);
        assert_eq!((told(), told()), (Some(("A".into(), 5)), None));
        noted.note(&key("A"), "s3", 5 + KEY_USE_EVERY_MS);
        assert_eq!(told(), Some(("A".into(), 5 + KEY_USE_EVERY_MS)));
        // What finds no place is told with its next use.
        for id in ["C", "D", "E"] {
            noted.note(&key(id), "s3", 9);
        }
        assert_eq!((told(), told(), told()), (Some(("C".into(), 9)), Some(("D".into(), 9)), None));
        noted.note(&key("E"), "s3", 10);
        noted.note(&key("D"), "s3", 10);
        assert_eq!((told(), told()), (Some(("E".into(), 10)), None));
    }
}
