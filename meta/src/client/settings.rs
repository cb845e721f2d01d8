//! Settings of buckets, and how far audit logs are.

use super::Client;
use crate::command::Command;
use crate::error::MetaError;
use crate::query::{Answer, Query};
use crate::record::AuditHead;
use crate::setting::{BucketSetting, SettingKind};

impl Client {
    pub async fn note_audit(&self, head: AuditHead) -> Result<(), MetaError> {
        self.done(Command::NoteAudit(head)).await
    }

    pub async fn bucket_setting(&self, bucket: &str, kind: SettingKind) -> Result<BucketSetting, MetaError> {
        let query = Query::BucketSetting { bucket: bucket.to_owned(), kind };
        expect!(self.query(query).await?, Answer::BucketSetting)
    }

    /// Sets a setting of the bucket with this id, or takes it away.
    pub async fn put_bucket_setting(
        &self,
        (bucket, id): (&str, u64),
        kind: SettingKind,
        text: Option<String>,
    ) -> Result<(), MetaError> {
        self.done(Command::PutBucketSetting { bucket: bucket.to_owned(), id, kind, text }).await
    }
}
