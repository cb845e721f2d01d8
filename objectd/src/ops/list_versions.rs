//! ListObjectVersions.

use super::checksums;
use crate::answer;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::http_date;
use crate::limits::MAX_PAGE;
use crate::listing::{self, Encoding};
use crate::service::S3Request;
use crate::target::{filled, number};
use crate::version;
use crate::xml::XmlWriter;
use axum::body::Body;
use http::Response;
use meta::query::{ListVersions, ListedVersion, VersionPage};

pub async fn list(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let query = &request.query;
    let page_size = u32::try_from(MAX_PAGE).unwrap_or(u32::MAX);
    let limit = number(query, "max-keys", page_size)?.unwrap_or(page_size);
    let encoding = Encoding::of(query)?;
    let bucket = request.bucket()?;
    let (prefix, delimiter) = (query.get("prefix").unwrap_or_default(), filled(query, "delimiter"));
    let (key_marker, version_marker) = (filled(query, "key-marker"), filled(query, "version-id-marker"));
    if version_marker.is_some() && key_marker.is_none() {
        let why = "A version-id marker cannot be specified without a key marker.";
        return Err(S3Error::with(S3Code::InvalidArgument, why).extra("ArgumentName", "version-id-marker"));
    }
    let after_version = version_marker.map(|text| version::parse(text, "version-id-marker")).transpose()?;
    // No page has no entries and more to come: AWS says "not truncated".
    let page = if limit == 0 {
        VersionPage::default()
    } else {
        let list = ListVersions {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
            delimiter: delimiter.map(str::to_owned),
            after_key: key_marker.map(str::to_owned),
            after_version,
            limit,
        };
        shared.meta.list_versions(list).await.map_err(fault::meta)?
    };
    let mut xml = XmlWriter::new("ListVersionsResult");
    xml.text("Name", bucket);
    xml.text("Prefix", &encoding.encode(prefix));
    xml.text("KeyMarker", &encoding.encode(key_marker.unwrap_or_default()));
    xml.text("VersionIdMarker", version_marker.unwrap_or_default());
    if let Some((key, version)) = &page.next {
        xml.text("NextKeyMarker", &encoding.encode(key));
        xml.optional("NextVersionIdMarker", version.map(|version| version.to_string()).as_deref());
    }
    xml.value("MaxKeys", limit);
    if let Some(delimiter) = delimiter {
        xml.text("Delimiter", &encoding.encode(delimiter));
    }
    encoding.write(&mut xml);
    xml.value("IsTruncated", page.next.is_some());
    let owner = request.granted.bucket()?.record.owner.as_str();
    for listed in &page.versions {
        entry(&mut xml, listed, encoding, owner);
    }
    for prefix in &page.common_prefixes {
        xml.start("CommonPrefixes");
        xml.text("Prefix", &encoding.encode(prefix));
        xml.end();
    }
    Ok(answer::xml(xml))
}

fn entry(xml: &mut XmlWriter, listed: &ListedVersion, encoding: Encoding, owner: &str) {
    xml.start(if listed.marker { "DeleteMarker" } else { "Version" });
    xml.text("Key", &encoding.encode(&listed.key));
    xml.text("VersionId", &listed.version.to_string());
    xml.value("IsLatest", listed.latest);
    xml.text("LastModified", &http_date::iso(listed.last_modified_ms));
    if !listed.marker {
        xml.text("ETag", &answer::quoted(&listed.etag));
        checksums::write_kind(xml, listed.checksum);
        xml.value("Size", listed.size);
    }
    listing::owner(xml, "Owner", owner);
    if !listed.marker {
        xml.text("StorageClass", "STANDARD");
    }
    xml.end();
}
