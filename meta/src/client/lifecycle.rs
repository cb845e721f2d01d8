//! What expires objects.

use super::Client;
use crate::command::{Command, Response};
use crate::error::{MetaError, Refusal};
use crate::lifecycle::{ExpirablePage, Expiry, LifecycleProgress, LifecycleRecord, ListExpirable};
use crate::query::{Answer, Query};

impl Client {
    /// Who works at lifecycles, and how far.
    pub async fn lifecycle(&self) -> Result<LifecycleRecord, MetaError> {
        expect!(self.query(Query::Lifecycle).await?, Answer::Lifecycle)
    }

    /// Takes the work, or goes on holding it, and notes how far it is. It is another's if the answer names another.
    pub async fn keep_lifecycle(
        &self,
        worker: u64,
        progress: Option<LifecycleProgress>,
    ) -> Result<LifecycleRecord, MetaError> {
        let command = Command::KeepLifecycle { worker, progress, now_ms: self.now_ms() };
        expect!(self.propose(command).await?, Response::Lifecycle)
    }

    /// What a bucket's rules have to look at.
    pub async fn list_expirable(&self, list: ListExpirable) -> Result<ExpirablePage, MetaError> {
        expect!(self.query(Query::ListExpirable(list)).await?, Answer::Expirable)
    }

    /// Takes away what still is as it was seen, by the rules whose text has this CRC-32, of the bucket with this
    /// id. Per thing: whether it went, or why it may not.
    pub async fn expire(
        &self,
        (bucket, id): (&str, u64),
        rules_crc: u32,
        things: Vec<Expiry>,
    ) -> Result<Vec<Result<bool, Refusal>>, MetaError> {
        let (bucket, now_ms) = (bucket.to_owned(), self.now_ms());
        let command = Command::Expire { bucket, id, rules_crc, things, now_ms };
        expect!(self.propose(command).await?, Response::Expired)
    }
}
