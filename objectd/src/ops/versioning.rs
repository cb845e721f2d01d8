//! GetBucketVersioning and PutBucketVersioning.

use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::service::S3Request;
use crate::xml::{self, XmlWriter};
use axum::body::Body;
use http::{Response, StatusCode};
use meta::error::ErrorKind;
use meta::object::Versioning;

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let config = shared.meta.versioning(request.bucket()?).await.map_err(fault::meta)?;
    let mut xml = XmlWriter::new("VersioningConfiguration");
    match config.versioning {
        // A bucket that never kept versions has an empty document.
        Versioning::Off => {}
        Versioning::Enabled => xml.text("Status", "Enabled"),
        Versioning::Suspended => xml.text("Status", "Suspended"),
    }
    Ok(answer::xml(xml))
}

pub async fn put(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let versioning = parse(&body)?;
    let bucket = &request.granted.bucket()?.record;
    shared.meta.put_versioning((&bucket.name, bucket.id), versioning).await.map_err(|error| {
        match error.kind() {
            ErrorKind::PreconditionFailed => S3Error::with(
                S3Code::InvalidBucketState,
                "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed.",
            )
            .source(error),
            _ => fault::meta(error),
        }
    })?;
    Ok(answer::empty(StatusCode::OK))
}

fn parse(body: &[u8]) -> S3Result<Versioning> {
    let root = xml::parse(body, "VersioningConfiguration")?;
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let (mut status, mut mfa) = (None, None);
    for child in &root.children {
        let place = match child.name.as_str() {
            "Status" => &mut status,
            "MfaDelete" => &mut mfa,
            _ => return Err(malformed()),
        };
        if place.replace(child.text.trim()).is_some() || !child.children.is_empty() {
            return Err(malformed());
        }
    }
    match mfa {
        None | Some("Disabled") => {}
        Some("Enabled") => {
            return Err(S3Error::with(S3Code::NotImplemented, "MFA delete is not offered; use Object Lock")
                .extra("Header", "MfaDelete"));
        }
        Some(_) => return Err(malformed()),
    }
    match status {
        Some("Enabled") => Ok(Versioning::Enabled),
        Some("Suspended") => Ok(Versioning::Suspended),
        Some(_) => Err(malformed()),
        None => Err(S3Error::new(S3Code::IllegalVersioningConfigurationException)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_read_strictly() {
        let parse = |inner: &str| {
            let body = format!("<VersioningConfiguration>{inner}</VersioningConfiguration>");
            parse(body.as_bytes()).map_err(|error| error.code())
        };
        assert_eq!(parse("<Status>Enabled</Status>"), Ok(Versioning::Enabled));
        assert_eq!(
            parse("<Status>Suspended</Status><MfaDelete>Disabled</MfaDelete>"),
            Ok(Versioning::Suspended)
        );
        assert_eq!(
            parse("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>"),
            Err(S3Code::NotImplemented)
        );
        assert_eq!(parse(""), Err(S3Code::IllegalVersioningConfigurationException));
        for bad in [
            "<Status>enabled</Status>",
            "<Status>Off</Status>",
            "<Status>Enabled</Status><Status>Suspended</Status>",
            "<Status>Enabled</Status><MFADelete>Enabled</MFADelete>",
            "<Status>Enabled</Status><MfaDelete>x</MfaDelete>",
        ] {
            assert_eq!(parse(bad), Err(S3Code::MalformedXML), "{bad}");
        }
    }
}
