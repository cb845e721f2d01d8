//! DeleteObject and DeleteObjects.

use crate::answer;
use crate::audit::Items;
use crate::authorize::Granted;
use crate::conditional::unquote;
use crate::error::{S3Code, S3Error, S3Result};
use crate::events;
use crate::fault;
use crate::gateway::Shared;
use crate::limits::{MAX_PAGE, MAX_XML_BYTES};
use crate::names;
use crate::payload::BodyPlan;
use crate::service::S3Request;
use crate::version::{self, DELETE_MARKER};
use crate::xml::{self, Element, XmlWriter};
use axum::body::Body;
use http::header::IF_MATCH;
use http::{Response, StatusCode};
use meta::MetaError;
use meta::audit::Item;
use meta::command::DeleteVersion;
use meta::event::EventKind;
use meta::object::{Precondition, VersionRef};
use std::sync::Arc;

pub async fn one(shared: &Arc<Shared>, request: &S3Request) -> S3Result<Response<Body>> {
    let (bucket, key) = request.object()?;
    for name in ["x-amz-if-match-last-modified-time", "x-amz-if-match-size"] {
        if request.parts.headers.contains_key(name) {
            return Err(S3Error::new(S3Code::NotImplemented).extra("Header", name));
        }
    }
    let precondition = match crate::auth::single_header(&request.parts.headers, &IF_MATCH)? {
        Some(etag) => Precondition::IfMatch(unquote(etag).to_owned()),
        None => Precondition::None,
    };
    let version = version::of_query(&request.query)?;
    let mut object = shared.meta.deletion(key.to_owned(), version, precondition);
    object.bypass_governance = request.granted.bypasses_governance();
    let who = (&request.parts, &request.principal);
    let meta = events::telling(shared, who, &request.granted, EventKind::RemovedDelete);
    let mut results = meta.delete_versions(bucket, vec![object]).await.map_err(fault::meta)?;
    shared.log.garbage_made();
    let result = results.pop().ok_or_else(unanswered)?;
    let deletion = result.map_err(|refusal| fault::meta(MetaError::from(refusal)))?;
    // Deleting what is not there is done, too.
    let mut answer = answer::empty(StatusCode::NO_CONTENT);
    version::show(&mut answer, deletion.version);
    if deletion.marker {
        answer::set(&mut answer, DELETE_MARKER, "true");
    }
    Ok(answer)
}

pub async fn many(shared: &Arc<Shared>, request: S3Request) -> S3Result<Response<Body>> {
    let bucket = request.bucket()?.to_owned();
    let who = (&request.parts, &request.principal);
    let meta = events::telling(shared, who, &request.granted, EventKind::RemovedDelete);
    let plan = BodyPlan::document(&request.parts, request.payload, MAX_XML_BYTES as u64)?;
    if !request.parts.headers.contains_key("content-md5") && plan.chosen_checksum().is_none() {
        let why = "Missing required header for this request: Content-MD5";
        return Err(S3Error::with(S3Code::InvalidRequest, why));
    }
    let (body, _) = plan.reader(request.body).collect().await?;
    let mut asked = Asked::parse(&body)?;
    asked.refuse_denied(&request.granted);
    let sent: Vec<DeleteVersion> = asked
        .objects
        .iter()
        .filter_map(|named| named.as_ref().ok())
        .map(|named| {
            let (key, precondition) = (named.key.clone(), named.precondition.clone());
            let bypass_governance = request.granted.bypasses_governance();
            DeleteVersion { bypass_governance, ..shared.meta.deletion(key, named.version, precondition) }
        })
        .collect();
    let results = if sent.is_empty() {
        Vec::new()
    } else {
        meta.delete_versions(&bucket, sent).await.map_err(fault::meta)?
    };
    shared.log.garbage_made();
    let mut results = results.into_iter();
    let mut xml = XmlWriter::new("DeleteResult");
    let mut items = Vec::new();
    for object in asked.objects {
        let (key, outcome) = match object {
            Err((key, error)) => (key, Err(error)),
            Ok(Named { key, version, .. }) => {
                let refused = |refusal| fault::meta(MetaError::from(refusal));
                let result =
                    results.next().map_or_else(|| Err(unanswered()), |result| result.map_err(refused));
                ((key, version.map(|version| version.to_string())), result)
            }
        };
        let (key, version) = key;
        let error = outcome.as_ref().err().map(|error| error.code().as_str().to_owned());
        items.push(Item { key: key.clone(), version: version.clone(), error });
        match outcome {
            Ok(_) if asked.quiet => {}
            Ok(deletion) => {
                xml.start("Deleted");
                xml.text("Key", &key);
                xml.optional("VersionId", version.as_deref());
                if deletion.marker {
                    xml.value("DeleteMarker", true);
                    let marker = deletion.version.map(|version| version.to_string());
                    xml.optional("DeleteMarkerVersionId", marker.as_deref());
                }
                xml.end();
            }
            Err(error) => {
                xml.start("Error");
                xml.text("Key", &key);
                xml.optional("VersionId", version.as_deref());
                xml.text("Code", error.code().as_str());
                xml.text("Message", error.message());
                xml.end();
            }
        }
    }
    let mut answer = answer::xml(xml);
    answer.extensions_mut().insert(Items(Arc::new(items)));
    Ok(answer)
}

fn unanswered() -> S3Error {
    S3Error::internal("the control plane answered for fewer objects")
}

/// A key, and its version as the request names it, that can't be deleted; and why.
type Refused = ((String, Option<String>), S3Error);

/// A request's body: each object, or why it can't be deleted.
struct Asked {
    objects: Vec<Result<Named, Refused>>,
    quiet: bool,
}

/// An object to delete, and the version that the request names, if it does.
struct Named {
    key: String,
    version: Option<VersionRef>,
    precondition: Precondition,
}

impl Asked {
    fn parse(body: &[u8]) -> S3Result<Self> {
        let root = xml::parse(body, "Delete")?;
        let objects: Vec<_> = root.all("Object").collect();
        if objects.is_empty() || objects.len() > MAX_PAGE {
            return Err(S3Error::new(S3Code::MalformedXML));
        }
        let quiet = root.child_text("Quiet").is_some_and(|quiet| quiet.eq_ignore_ascii_case("true"));
        let objects: S3Result<Vec<_>> = objects.into_iter().map(Self::object).collect();
        Ok(Self { objects: objects?, quiet })
    }

    /// Each key is allowed or denied by itself.
    fn refuse_denied(&mut self, granted: &Granted) {
        for named in &mut self.objects {
            if let Ok(Named { key, version, .. }) = named {
                let version = version.map(|version| version.to_string());
                if let Err(error) = granted.check_key(key, version.as_deref()) {
                    *named = Err(((std::mem::take(key), version), error));
                }
            }
        }
    }

    fn object(element: &Element) -> S3Result<Result<Named, Refused>> {
        // Not trimmed: spaces at a key's ends are part of it.
        let key = element.child("Key").map(|key| key.text.clone()).filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| S3Error::new(S3Code::MalformedXML))?;
        let text = element.child_text("VersionId").filter(|version| !version.is_empty()).map(str::to_owned);
        if ["LastModifiedTime", "Size"].iter().any(|name| element.child(name).is_some()) {
            return Ok(Err(((key, text), S3Error::new(S3Code::NotImplemented))));
        }
        let version = text.as_deref().map(|text| version::parse(text, "VersionId")).transpose();
        let version = match names::check_key(&key).and(version) {
            Ok(version) => version,
            Err(error) => return Ok(Err(((key, text), error))),
        };
        let precondition = match element.child_text("ETag") {
            Some(etag) if !etag.is_empty() => Precondition::IfMatch(unquote(etag).to_owned()),
            _ => Precondition::None,
        };
        Ok(Ok(Named { key, version, precondition }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies() {
        let parse = |body: &str| Asked::parse(body.as_bytes()).map_err(|error| error.code());
        let asked = parse(
            "<Delete><Object><Key> a&#13; </Key><ETag>\"e\"</ETag></Object><Object><Key>b</Key>\
             <VersionId>v</VersionId></Object><Quiet>true</Quiet></Delete>",
        );
        let asked = asked.unwrap();
        assert!(asked.quiet);
        let first = asked.objects[0].as_ref().ok().unwrap();
        assert_eq!(
            (first.key.as_str(), &first.precondition),
            (" a\r ", &Precondition::IfMatch("e".to_owned()))
        );
        let (key, error) = asked.objects[1].as_ref().err().unwrap();
        assert_eq!((key.0.as_str(), key.1.as_deref()), ("b", Some("v")));
        assert_eq!(error.code(), S3Code::InvalidArgument);
        let many = |count| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(count));
        assert!(parse(&many(1000)).is_ok());
        for bad in [many(1001), many(0), "<Delete><Object/></Delete>".to_owned(), String::new()] {
            assert_eq!(parse(&bad).err(), Some(S3Code::MalformedXML));
        }
    }
}
