//! Quotas, and what is counted against them.

use super::Client;
use crate::command::Command;
use crate::error::MetaError;
use crate::query::{Answer, Query};
use crate::quota::{BoundChange, BucketCountPage, Counted, Incoming, ProjectCount, QuotaOf};

impl Client {
    /// Changes a quota, each bound by itself.
    pub async fn set_quota(
        &self,
        of: QuotaOf,
        bytes: BoundChange,
        objects: BoundChange,
    ) -> Result<(), MetaError> {
        self.done(Command::SetQuota { of, bytes, objects }).await
    }

    /// What a bucket or a project holds, and may.
    pub async fn counted(&self, of: QuotaOf) -> Result<Counted, MetaError> {
        expect!(self.query(Query::Counted(of)).await?, Answer::Counted)
    }

    /// A page of all buckets with what they hold, from after a name.
    pub async fn bucket_counts(
        &self,
        after: Option<String>,
        limit: u32,
    ) -> Result<BucketCountPage, MetaError> {
        expect!(self.query(Query::BucketCounts { after, limit }).await?, Answer::BucketCounts)
    }

    /// What the buckets of each project hold.
    pub async fn project_counts(&self) -> Result<Vec<ProjectCount>, MetaError> {
        expect!(self.query(Query::ProjectCounts).await?, Answer::ProjectCounts)
    }

    /// `QuotaExceeded` if so many bytes more would be refused now, so that they need not be written in vain. Only the
    /// step that commits them decides.
    pub async fn room(&self, bucket: &str, incoming: Incoming, bytes: u64) -> Result<(), MetaError> {
        self.query(Query::Room { bucket: bucket.to_owned(), incoming, bytes }).await.map(|_| ())
    }
}
