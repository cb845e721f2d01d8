//! Encrypted objects, and the pool keys that open them.

use super::Client;
use crate::command::{Command, Response};
use crate::error::MetaError;
use crate::object::{
    Annotations, ObjectRecord, PartRecord, Precondition, UploadId, UploadRecord, VersionRef,
};
use crate::query::{Answer, Query};
use crate::sealing::{PartSalt, PoolKeyId, PoolKeyRecord, Sealing};
use rt::rng::{Rng, SystemRng};

impl Client {
    /// [`put_version`](Self::put_version) of encrypted data, if it has a sealing.
    pub async fn put_sealed(
        &self,
        (bucket, key): (&str, &str),
        (record, sealing): (ObjectRecord, Option<Sealing>),
        annotations: Annotations,
        precondition: Precondition,
    ) -> Result<Option<VersionRef>, MetaError> {
        let Some(sealing) = sealing else {
            return self.put_version((bucket, key), record, annotations, precondition).await;
        };
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        let (now_ms, nonce) = (self.now_ms(), SystemRng.u64());
        let command =
            Command::PutSealed { bucket, key, record, sealing, annotations, precondition, now_ms, nonce };
        expect!(self.tell(command).await?, Response::Version)
    }

    pub async fn create_sealed_upload(
        &self,
        bucket: &str,
        (upload, sealing): (UploadRecord, Option<Sealing>),
        annotations: Annotations,
    ) -> Result<(), MetaError> {
        let Some(sealing) = sealing else { return self.create_upload(bucket, upload, annotations).await };
        let bucket = bucket.to_owned();
        self.done(Command::CreateSealedUpload { bucket, upload, sealing, annotations }).await
    }

    /// An upload, and how what it will make is encrypted.
    pub async fn open_upload(
        &self,
        bucket: &str,
        key: &str,
        upload: UploadId,
    ) -> Result<(UploadRecord, Option<Sealing>), MetaError> {
        let query = Query::OpenUpload { bucket: bucket.to_owned(), key: key.to_owned(), upload };
        match self.query(query).await? {
            Answer::OpenUpload(upload, sealing) => Ok((upload, sealing)),
            _ => Err(MetaError::new(
                crate::error::ErrorKind::Corrupt,
                "the control plane's answer is not an OpenUpload",
            )),
        }
    }

    pub async fn put_sealed_part(
        &self,
        (bucket, key, upload): (&str, &str, UploadId),
        part: PartRecord,
        salt: Option<PartSalt>,
    ) -> Result<(), MetaError> {
        let Some(salt) = salt else { return self.put_part(bucket, key, upload, part).await };
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.done(Command::PutSealedPart { bucket, key, upload, part, salt }).await
    }

    /// Tells of a pool key before anything is sealed with it. As the pool's first, it is refused
    /// (`PreconditionFailed`) if there is another.
    pub async fn note_pool_key(&self, id: PoolKeyId, first: bool) -> Result<(), MetaError> {
        self.done(Command::NotePoolKey { id, first, now_ms: self.now_ms() }).await
    }

    /// The oldest first.
    pub async fn pool_keys(&self) -> Result<Vec<PoolKeyRecord>, MetaError> {
        expect!(self.query(Query::PoolKeys).await?, Answer::PoolKeys)
    }

    /// Puts an object's key, encrypted anew, in the place of what it was before; refused (`PreconditionFailed`) if
    /// it isn't that any more.
    pub async fn rewrap(
        &self,
        (bucket, key): (&str, &str),
        version: Option<VersionRef>,
        before: Vec<u8>,
        (by, wrapped): (PoolKeyId, Vec<u8>),
    ) -> Result<(), MetaError> {
        let (bucket, key) = (bucket.to_owned(), key.to_owned());
        self.done(Command::Rewrap { bucket, key, version, before, by, wrapped }).await
    }
}
