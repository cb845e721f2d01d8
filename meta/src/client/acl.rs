//! Access control lists, and whose the objects of a bucket are.

use super::Client;
use crate::acl::{Grants, ObjectAcl};
use crate::command::{Annotate, Command, Response};
use crate::error::MetaError;
use crate::object::{BucketRecord, ObjectOwnership, VersionRef};

/// A bucket that is to be made with ACLs.
#[derive(Debug, Clone)]
pub struct NewBucket {
    pub name: String,
    pub owner: String,
    /// Whether it has an object lock, and so versioning.
    pub locked: bool,
    pub ownership: ObjectOwnership,
    pub acl: Grants,
}

impl Client {
    /// `Exists(Acl)` if its ACL is public: new buckets block such.
    pub async fn create_bucket_with_acls(&self, new: NewBucket) -> Result<BucketRecord, MetaError> {
        let NewBucket { name, owner, locked, ownership, acl } = new;
        let now_ms = self.now_ms();
        let command = Command::CreateBucketWithAcls { name, owner, locked, ownership, acl, now_ms };
        expect!(self.propose(command).await?, Response::Bucket)
    }

    /// Of the bucket with this id. `PreconditionFailed` if ACLs would be off and its own grants others anything.
    pub async fn put_ownership(
        &self,
        (bucket, id): (&str, u64),
        ownership: Option<ObjectOwnership>,
    ) -> Result<(), MetaError> {
        self.done(Command::PutOwnership { bucket: bucket.to_owned(), id, ownership }).await
    }

    /// What the bucket with this id grants. `Exists(Acl)` if that is public and blocked, `NotFound(Acl)` if ACLs are off.
    pub async fn put_bucket_acl(&self, (bucket, id): (&str, u64), acl: Grants) -> Result<(), MetaError> {
        self.done(Command::PutBucketAcl { bucket: bucket.to_owned(), id, acl }).await
    }

    /// What an object, or a version of it, grants, if its ACL still is the one that was `seen`: `InUse(Acl)` if not.
    /// `Exists(Acl)` if that is public and blocked.
    pub async fn put_object_acl(
        &self,
        named: (&str, &str),
        version: Option<VersionRef>,
        seen: Option<ObjectAcl>,
        grants: Grants,
    ) -> Result<Option<VersionRef>, MetaError> {
        self.annotate(named, version, Annotate::Acl { seen, grants }).await
    }
}
