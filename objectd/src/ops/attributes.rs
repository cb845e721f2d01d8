//! GetObjectAttributes.

use super::checksums;
use super::found::Wanted;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use crate::http_date;
use crate::limits::{MAX_PAGE, MAX_PART_NUMBER};
use crate::service::S3Request;
use crate::target::number_of;
use crate::version;
use crate::xml::XmlWriter;
use axum::body::Body;
use http::Response;
use http::header::LAST_MODIFIED;
use meta::object::ObjectRecord;

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
    let page = PageOfParts::of(request)?;
    let wanted_object = Wanted::of(request)?;
    let object = wanted_object.head(shared).await?;
    let opened = wanted_object.unseal(shared, request, &object)?;
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
        xml.start("ObjectParts");
        page.write(&mut xml, &record, &object.part_checksums);
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
    opened.shown.show(&mut answer);
    Ok(answer)
}

/// Which of an object's parts are asked for.
struct PageOfParts {
    after: u32,
    max: u32,
}

impl PageOfParts {
    fn of(request: &S3Request) -> S3Result<Self> {
        let number = |name, max| request.header(name)?.map(|text| number_of(text, name, max)).transpose();
        let most = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
        Ok(Self {
            after: number("x-amz-part-number-marker", MAX_PART_NUMBER)?.unwrap_or(0),
            max: number("x-amz-max-parts", most)?.unwrap_or(most),
        })
    }

    /// Of parts without checksums of their own, AWS tells no more than how many there are.
    fn write(&self, xml: &mut XmlWriter, record: &ObjectRecord, of_parts: &[String]) {
        let count = record.part_sizes.len();
        xml.value("PartsCount", count);
        let Some(algorithm) = record.checksums.first().map(|whole| whole.algorithm) else { return };
        if of_parts.len() != count {
            return;
        }
        let parts = (1u32..).zip(record.part_sizes.iter().zip(of_parts));
        let mut parts = parts.skip(self.after as usize).peekable();
        let page: Vec<_> = parts.by_ref().take(self.max as usize).collect();
        // No page has no entries and more to come: AWS says "not truncated".
        let next = page.last().map(|(number, _)| *number).filter(|_| parts.peek().is_some());
        xml.value("PartNumberMarker", self.after);
        if let Some(next) = next {
            xml.value("NextPartNumberMarker", next);
        }
        xml.value("MaxParts", self.max);
        xml.value("IsTruncated", next.is_some());
        for (number, (size, checksum)) in page {
            xml.start("Part");
            xml.value("PartNumber", number);
            xml.value("Size", size);
            xml.text(checksums::of_index(algorithm).element(), checksum);
            xml.end();
        }
    }
}

fn invalid() -> S3Error {
    S3Error::with(S3Code::InvalidArgument, "Invalid attribute name specified.")
        .extra("ArgumentName", "x-amz-object-attributes")
}
