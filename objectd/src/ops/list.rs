//! ListObjects, version 1 and 2.

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
use meta::query::{ListObjects, ObjectPage};

/// What both versions share.
struct Page {
    bucket: String,
    prefix: String,
    delimiter: Option<String>,
    max_keys: u32,
    encoding: Encoding,
    found: ObjectPage,
}

impl Page {
    async fn fetch(shared: &Shared, request: &S3Request, after: Option<String>) -> S3Result<Self> {
        let query = &request.query;
        let page = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
        let max_keys = number(query, "max-keys", page)?.unwrap_or(page);
        let encoding = Encoding::of(query)?;
        let bucket = request.bucket()?.to_owned();
        let prefix = query.get("prefix").unwrap_or_default().to_owned();
        let delimiter = filled(query, "delimiter").map(str::to_owned);
        // No page has no entries and more to come: AWS says "not truncated".
        let found = if max_keys == 0 {
            ObjectPage::default()
        } else {
            let list = ListObjects {
                bucket: bucket.clone(),
                prefix: prefix.clone(),
                delimiter: delimiter.clone(),
                after,
                limit: max_keys,
            };
            whole_page(shared, list).await?
        };
        Ok(Self { bucket, prefix, delimiter, max_keys, encoding, found })
    }

    fn head(&self, xml: &mut XmlWriter) {
        xml.text("Name", &self.bucket);
        xml.text("Prefix", &self.encoding.encode(&self.prefix));
        if let Some(delimiter) = &self.delimiter {
            xml.text("Delimiter", &self.encoding.encode(delimiter));
        }
        xml.value("MaxKeys", self.max_keys);
        self.encoding.write(xml);
        xml.value("IsTruncated", self.found.next.is_some());
    }

    fn entries(&self, xml: &mut XmlWriter, owner: Option<&str>) {
        for object in &self.found.objects {
            xml.start("Contents");
            xml.text("Key", &self.encoding.encode(&object.key));
            xml.text("LastModified", &http_date::iso(object.last_modified_ms));
            xml.quoted("ETag", &object.etag);
            checksums::write_kind(xml, object.checksum);
            xml.value("Size", object.size);
            if let Some(owner) = owner {
                listing::owner(xml, "Owner", owner);
            }
            xml.text("StorageClass", "STANDARD");
            xml.end();
        }
        for prefix in &self.found.common_prefixes {
            xml.start("CommonPrefixes");
            xml.text("Prefix", &self.encoding.encode(prefix));
            xml.end();
        }
    }
}

/// A page that is full unless the list ends with it, however many deleted names lie in between.
async fn whole_page(shared: &Shared, mut list: ListObjects) -> S3Result<ObjectPage> {
    let mut page = ObjectPage::default();
    loop {
        let found = shared.meta.list_objects(list.clone()).await.map_err(fault::meta)?;
        let entries = found.objects.len() + found.common_prefixes.len();
        list.limit = list.limit.saturating_sub(u32::try_from(entries).unwrap_or(u32::MAX));
        page.objects.extend(found.objects);
        page.common_prefixes.extend(found.common_prefixes);
        page.next = found.next;
        if page.next.is_none() || list.limit == 0 {
            return Ok(page);
        }
        list.after.clone_from(&page.next);
    }
}

pub async fn v1(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let marker = filled(&request.query, "marker").map(str::to_owned);
    let page = Page::fetch(shared, request, marker.clone()).await?;
    let mut xml = XmlWriter::new("ListBucketResult");
    page.head(&mut xml);
    xml.text("Marker", &page.encoding.encode(marker.as_deref().unwrap_or_default()));
    // Without a delimiter, clients go on from the last key: AWS sends no NextMarker then.
    if let (Some(next), Some(_)) = (&page.found.next, &page.delimiter) {
        xml.text("NextMarker", &page.encoding.encode(next));
    }
    page.entries(&mut xml, Some(&request.granted.bucket()?.record.owner));
    Ok(answer::xml(xml))
}

pub async fn v2(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let query = &request.query;
    let token = query.get("continuation-token");
    let start_after = filled(query, "start-after");
    let after = match token {
        Some(token) => Some(listing::open_token(token)?),
        None => start_after.map(str::to_owned),
    };
    let page = Page::fetch(shared, request, after).await?;
    let mut xml = XmlWriter::new("ListBucketResult");
    page.head(&mut xml);
    xml.value("KeyCount", page.found.objects.len() + page.found.common_prefixes.len());
    xml.optional("ContinuationToken", token);
    xml.optional("NextContinuationToken", page.found.next.as_deref().map(listing::token).as_deref());
    if let Some(start_after) = start_after {
        xml.text("StartAfter", &page.encoding.encode(start_after));
    }
    let owner = request.granted.bucket()?.record.owner.as_str();
    page.entries(&mut xml, (query.get("fetch-owner") == Some("true")).then_some(owner));
    Ok(answer::xml(xml))
}
