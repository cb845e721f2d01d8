//! Versions in requests and answers.
//!
//! Source: S3 User Guide, "Retaining multiple versions of objects with S3 Versioning", "Working with delete
//! markers".

use crate::answer;
use crate::auth::uri::Query;
use crate::error::{S3Code, S3Error, S3Result};
use axum::body::Body;
use http::{HeaderName, Response};
use meta::object::VersionRef;

pub const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");
pub const DELETE_MARKER: HeaderName = HeaderName::from_static("x-amz-delete-marker");
pub const COPY_SOURCE_VERSION_ID: HeaderName = HeaderName::from_static("x-amz-copy-source-version-id");

/// The version that `versionId` names, if it is there.
pub fn of_query(query: &Query) -> S3Result<Option<VersionRef>> {
    query.get("versionId").map(|text| parse(text, "versionId")).transpose()
}

pub fn parse(text: &str, argument: &'static str) -> S3Result<VersionRef> {
    let why = if text.is_empty() {
        "Version id cannot be the empty string"
    } else {
        "Invalid version id specified"
    };
    text.parse().map_err(|_| {
        S3Error::with(S3Code::InvalidArgument, why)
            .extra("ArgumentName", argument)
            .extra("ArgumentValue", text)
    })
}

/// Says which version an answer is about, in a bucket that ever kept any.
pub fn show(answer: &mut Response<Body>, version: Option<VersionRef>) {
    show_as(answer, VERSION_ID, version);
}

pub fn show_as(answer: &mut Response<Body>, name: HeaderName, version: Option<VersionRef>) {
    if let Some(version) = version {
        answer::set(answer, name, &version.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_null_or_ids() {
        let of = |raw| of_query(&Query::parse(Some(raw)).unwrap()).map_err(|error| error.code());
        assert_eq!(of("a=b"), Ok(None));
        assert_eq!(of("versionId=null"), Ok(Some(VersionRef::Null)));
        let id = of("versionId=0123456789abcdef0123456789abcdef").unwrap().unwrap();
        assert_eq!(id.to_string(), "0123456789abcdef0123456789abcdef");
        for bad in
            ["versionId", "versionId=x", "versionId=NULL", "versionId=0123456789abcdef0123456789abcdeF"]
        {
            assert_eq!(of(bad), Err(S3Code::InvalidArgument), "{bad}");
        }
    }
}
