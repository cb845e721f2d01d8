//! From what a request names to an object: a delete marker is none, and says so.

use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::http_date;
use crate::objectlog::Pinned;
use crate::service::S3Request;
use crate::sse::{self, Name, Opened, Transport};
use crate::version::{self, DELETE_MARKER, VERSION_ID};
use http::header::{ALLOW, LAST_MODIFIED};
use meta::MetaError;
use meta::object::{Body, Extent, FoundVersion, VersionRef, VersionedObject};
use meta::query::ObjectPart;

/// An object's name, and the version of it that is meant.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
    pub version: Option<VersionRef>,
}

impl<'a> Wanted<'a> {
    pub fn of(request: &'a S3Request) -> S3Result<Self> {
        let (bucket, key) = request.object()?;
        Ok(Self { bucket, key, version: version::of_query(&request.query)? })
    }

    /// What the object's key is sealed for.
    pub fn name(self) -> Name<'a> {
        Name { bucket: self.bucket, key: self.key }
    }

    /// The key of what was found, which the request must have come with if it is a customer's.
    pub fn unseal(self, shared: &Shared, request: &S3Request, found: &VersionedObject) -> S3Result<Opened> {
        let customer = sse::of_existing(&request.parts.headers, Transport::of(&request.parts))?;
        Opened::of_object(shared, found.sealing.as_ref(), self.name(), customer.as_ref())
    }

    /// The object without its body.
    pub async fn head(self, shared: &Shared) -> S3Result<VersionedObject> {
        let found = shared.meta.version((self.bucket, self.key), self.version, ObjectPart::Head).await;
        self.object(found.map_err(|error| self.missing(error))?)
    }

    /// The object, with what its body lies in pinned until the guard goes.
    pub async fn open(self, shared: &Shared) -> S3Result<(VersionedObject, Pinned)> {
        let query = shared.meta.version((self.bucket, self.key), self.version, ObjectPart::Whole);
        let (found, pinned) = shared.log.fetch(query, extents).await.map_err(|error| self.missing(error))?;
        Ok((self.object(found)?, pinned))
    }

    fn object(self, found: FoundVersion) -> S3Result<VersionedObject> {
        match found {
            FoundVersion::Object(object) => Ok(*object),
            FoundVersion::DeleteMarker { version, last_modified_ms } => {
                Err(self.is_marker(version, last_modified_ms))
            }
        }
    }

    /// A key that leads to a delete marker is not there; a delete marker that is named can only be deleted.
    fn is_marker(self, marker: VersionRef, last_modified_ms: u64) -> S3Error {
        let error = match self.version {
            None => S3Error::new(S3Code::NoSuchKey).extra("Key", self.key),
            Some(_) => S3Error::new(S3Code::MethodNotAllowed)
                .extra("ResourceType", "DeleteMarker")
                .header(ALLOW, "DELETE".to_owned())
                .header(LAST_MODIFIED, http_date::http(last_modified_ms)),
        };
        error.header(DELETE_MARKER, "true".to_owned()).header(VERSION_ID, marker.to_string())
    }

    pub fn missing(self, error: MetaError) -> S3Error {
        let error = fault::meta(error);
        match (error.code(), self.version) {
            (S3Code::NoSuchKey, _) => error.extra("Key", self.key),
            (S3Code::NoSuchVersion, Some(version)) => {
                error.extra("Key", self.key).extra("VersionId", version.to_string())
            }
            _ => error,
        }
    }
}

fn extents(found: &FoundVersion) -> &[Extent] {
    match found {
        FoundVersion::Object(object) => match &object.record.body {
            Body::Inline(_) => &[],
            Body::Extents(extents) => extents,
        },
        FoundVersion::DeleteMarker { .. } => &[],
    }
}
