//! ListMultipartUploads.

use super::checksums;
use crate::answer;
use crate::error::S3Result;
use crate::fault;
use crate::gateway::Shared;
use crate::http_date;
use crate::limits::MAX_PAGE;
use crate::listing::{self, Encoding};
use crate::service::S3Request;
use crate::target::{filled, number};
use crate::xml::XmlWriter;
use axum::body::Body;
use http::Response;
use meta::query::{ListUploads, UploadPage};

pub async fn list(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let query = &request.query;
    let page_size = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
    let limit = number(query, "max-uploads", page_size)?.unwrap_or(page_size);
    let encoding = Encoding::of(query)?;
    let list = ListUploads {
        bucket: request.bucket()?.to_owned(),
        prefix: query.get("prefix").unwrap_or_default().to_owned(),
        delimiter: filled(query, "delimiter").map(str::to_owned),
        after_key: filled(query, "key-marker").map(str::to_owned),
        // Without a key marker the id marker is ignored, as AWS documents; so is one that is no id.
        after_upload: filled(query, "upload-id-marker").and_then(|id| id.parse().ok()),
        limit,
    };
    let page = if limit == 0 {
        UploadPage::default()
    } else {
        shared.meta.list_uploads(list.clone()).await.map_err(fault::meta)?
    };
    let mut xml = XmlWriter::new("ListMultipartUploadsResult");
    xml.text("Bucket", &list.bucket);
    xml.text("KeyMarker", &encoding.encode(list.after_key.as_deref().unwrap_or_default()));
    xml.text("UploadIdMarker", filled(query, "upload-id-marker").unwrap_or_default());
    if let Some((key, upload)) = &page.next {
        xml.text("NextKeyMarker", &encoding.encode(key));
        xml.text("NextUploadIdMarker", &upload.map(|id| id.to_string()).unwrap_or_default());
    }
    if let Some(delimiter) = &list.delimiter {
        xml.text("Delimiter", &encoding.encode(delimiter));
    }
    xml.text("Prefix", &encoding.encode(&list.prefix));
    xml.value("MaxUploads", limit);
    encoding.write(&mut xml);
    xml.value("IsTruncated", page.next.is_some());
    for upload in &page.uploads {
        xml.start("Upload");
        xml.text("Key", &encoding.encode(&upload.key));
        xml.text("UploadId", &upload.id.to_string());
        listing::owner(&mut xml, "Initiator", &upload.owner);
        listing::owner(&mut xml, "Owner", &request.granted.bucket()?.record.owner);
        xml.text("StorageClass", "STANDARD");
        xml.text("Initiated", &http_date::iso(upload.initiated_ms));
        checksums::write_kind(&mut xml, upload.checksum);
        xml.end();
    }
    for prefix in &page.common_prefixes {
        xml.start("CommonPrefixes");
        xml.text("Prefix", &encoding.encode(prefix));
        xml.end();
    }
    Ok(answer::xml(xml))
}
