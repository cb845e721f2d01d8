//! Versions of objects, and what is said of them.

use super::Client;
use crate::command::{Annotate, Command, DeleteVersion, Deletion, Response};
use crate::error::{MetaError, Refusal};
use crate::object::{
    Annotations, BucketRecord, BucketVersioning, DefaultRetention, FoundVersion, ObjectRecord, Precondition,
    VersionRef, Versioning,
};
use crate::query::{Answer, ListVersions, ObjectPart, Query, VersionPage};
use rt::rng::{Rng, SystemRng};

impl Client {
    /// The same with annotations; says which version it is, if the bucket ever kept any.
    pub async fn put_version(
        &self,
        (bucket, key): (&str, &str),
        record: ObjectRecord,
        annotations: Annotations,
        precondition: Precondition,
    ) -> Result<Option<VersionRef>, MetaError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let (now_ms, nonce) = (self.now_ms(), SystemRng.u64());
        let command = Command::PutVersion { bucket, key, record, annotations, precondition, now_ms, nonce };
        expect!(self.tell(command).await?, Response::Version)
    }

    /// What the key, or a version of it, leads to.
    pub async fn version(
        &self,
        (bucket, key): (&str, &str),
        version: Option<VersionRef>,
        part: ObjectPart,
    ) -> Result<FoundVersion, MetaError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        expect!(self.query(Query::Version { bucket, key, version, part }).await?, Answer::Version)
    }

    /// What to give to [`delete_versions`](Self::delete_versions).
    pub fn deletion(
        &self,
        key: String,
        version: Option<VersionRef>,
        precondition: Precondition,
    ) -> DeleteVersion {
        DeleteVersion { key, version, precondition, bypass_governance: false, nonce: SystemRng.u64() }
    }

    /// Per object: what became of it, or why it was not deleted.
    pub async fn delete_versions(
        &self,
        bucket: &str,
        objects: Vec<DeleteVersion>,
    ) -> Result<Vec<Result<Deletion, Refusal>>, MetaError> {
        let command = Command::DeleteVersions { bucket: bucket.to_owned(), objects, now_ms: self.now_ms() };
        expect!(self.tell(command).await?, Response::DeletedVersions)
    }

    /// Changes what can be changed of a version; says which one that was.
    pub async fn annotate(
        &self,
        (bucket, key): (&str, &str),
        version: Option<VersionRef>,
        change: Annotate,
    ) -> Result<Option<VersionRef>, MetaError> {
        let (bucket, key, now_ms) = (bucket.to_owned(), key.to_owned(), self.now_ms());
        let command = Command::Annotate { bucket, key, version, change, now_ms };
        expect!(self.tell(command).await?, Response::Version)
    }

    /// A new bucket with object lock, and so with versioning.
    pub async fn create_locked_bucket(&self, name: &str, owner: &str) -> Result<BucketRecord, MetaError> {
        let (name, owner) = (name.to_owned(), owner.to_owned());
        let command = Command::CreateLockedBucket { name, owner, now_ms: self.now_ms() };
        expect!(self.propose(command).await?, Response::Bucket)
    }

    /// What the bucket does with versions.
    pub async fn versioning(&self, bucket: &str) -> Result<BucketVersioning, MetaError> {
        let query = Query::Versioning { bucket: bucket.to_owned() };
        expect!(self.query(query).await?, Answer::Versioning)
    }

    /// Of the bucket with this id. `PreconditionFailed` if it is locked and would stop.
    pub async fn put_versioning(
        &self,
        (bucket, id): (&str, u64),
        versioning: Versioning,
    ) -> Result<(), MetaError> {
        self.done(Command::PutVersioning { bucket: bucket.to_owned(), id, versioning }).await
    }

    /// Gives the bucket with this id an object lock, or changes its default. `PreconditionFailed` if it doesn't
    /// keep versions.
    pub async fn put_object_lock(
        &self,
        (bucket, id): (&str, u64),
        default: Option<DefaultRetention>,
    ) -> Result<(), MetaError> {
        self.done(Command::PutObjectLock { bucket: bucket.to_owned(), id, default }).await
    }

    pub async fn list_versions(&self, list: ListVersions) -> Result<VersionPage, MetaError> {
        expect!(self.query(Query::ListVersions(list)).await?, Answer::Versions)
    }
}
