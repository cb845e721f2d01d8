//! How far each client's session got: what a reconnecting writer asks first.

use super::limits::MAX_SESSIONS;
use proto::ClientId;
use std::collections::HashMap;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Held {
    pub sequence: u64,
    /// The batch of its last write: its age.
    pub batch: u64,
}

/// The newest [`MAX_SESSIONS`] sessions.
#[derive(Debug, Default)]
pub(super) struct Sessions(HashMap<ClientId, Held>);

impl Sessions {
    pub fn note(&mut self, client: ClientId, sequence: u64, batch: u64) {
        let held = self.0.entry(client).or_insert(Held { sequence, batch });
        held.sequence = held.sequence.max(sequence);
        held.batch = held.batch.max(batch);
        if self.0.len() > MAX_SESSIONS {
            let oldest =
                self.0.iter().min_by_key(|(client, held)| (held.batch, **client)).map(|(&client, _)| client);
            oldest.map(|client| self.0.remove(&client));
        }
    }

    pub fn held(&self, client: ClientId) -> u64 {
        self.0.get(&client).map_or(0, |held| held.sequence)
    }

    /// All of them, in an order that is the same in every run.
    pub fn sorted(&self) -> Vec<(ClientId, Held)> {
        let mut all: Vec<_> = self.0.iter().map(|(&client, &held)| (client, held)).collect();
        all.sort_unstable_by_key(|(client, _)| *client);
        all
    }
}
