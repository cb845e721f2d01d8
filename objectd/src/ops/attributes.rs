//! GetObjectAttributes.

use super::checksums;
use super::found::Wanted;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::http_date;
use crate::service::S3Request;
use crate::version;
use crate::xml::XmlWriter;
use axum::body::Body;
use http::Response;
use http::header::LAST_MODIFIED;

pub async fn get(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let names = request.parts.headers.get_all("x-amz-object-attributes");
    let mut wanted = Vec::new();
    for list in names {
        let list = list.to_str().map_err(|_| invalid())?;
        wanted.extend(list.split(',').map(|name| name.trim().to_owned()));
    }
    const KNOWN: [&str; 5] = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"];
    if wanted.is_empty() || wanted.iter().any(|name| !KNOWN.contains(&name.as_str())) {
        return Err(invalid());
    }
    let object = Wanted::of(request)?.head(shared).await?;
    request.granted.check_unchanged(&object.annotations)?;
    let record = object.record;
    let wants = |name: &str| wanted.iter().any(|wanted| wanted == name);
    let mut xml = XmlWriter::new("GetObjectAttributesResponse");
    if wants("ETag") {
        xml.text("ETag", &record.etag);
    }
    if wants("Checksum") && !record.checksums.is_empty() {
        xml.start("Checksum");
        checksums::write(&mut xml, &record.checksums);
        xml.end();
    }
    if wants("ObjectParts") && !record.part_sizes.is_empty() {
        // The single parts are listed by AWS only if they have checksums of their own, which are not kept.
        xml.start("ObjectParts");
        xml.value("PartsCount", record.part_sizes.len());
        xml.end();
    }
    if wants("StorageClass") {
        xml.text("StorageClass", "STANDARD");
    }
    if wants("ObjectSize") {
        xml.value("ObjectSize", record.size);
    }
    let mut answer = answer::xml(xml);
    answer::set(&mut answer, LAST_MODIFIED, &http_date::http(record.last_modified_ms));
    version::show(&mut answer, object.version);
    Ok(answer)
}

fn invalid() -> S3Error {
    S3Error::with(S3Code::InvalidArgument, "Invalid attribute name specified.")
        .extra("ArgumentName", "x-amz-object-attributes")
}
