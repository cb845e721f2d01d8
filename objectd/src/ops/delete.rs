//! DeleteObject and DeleteObjects.

use crate::answer;
use crate::authorize::Granted;
use crate::conditional::unquote;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::{MAX_PAGE, MAX_XML_BYTES};
use crate::names;
use crate::payload::BodyPlan;
use crate::service::S3Request;
use crate::xml::{self, Element, XmlWriter};
use axum::body::Body;
use http::header::IF_MATCH;
use http::{Response, StatusCode};
use meta::MetaError;
use meta::command::{DeleteObject, DeleteVersion};
use meta::object::Precondition;
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
    shared.meta.delete_object(bucket, key, precondition).await.map_err(fault::meta)?;
    shared.log.garbage_made();
    // Deleting what is not there is done, too.
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

pub async fn many(shared: &Arc<Shared>, request: S3Request) -> S3Result<Response<Body>> {
    let bucket = request.bucket()?.to_owned();
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
        .map(|named| shared.meta.deletion(named.object.key.clone(), None, named.object.precondition.clone()))
        .collect();
    let results = if sent.is_empty() {
        Vec::new()
    } else {
        shared.meta.delete_versions(&bucket, sent).await.map_err(fault::meta)?
    };
    shared.log.garbage_made();
    let mut results = results.into_iter();
    let mut xml = XmlWriter::new("DeleteResult");
    for object in asked.objects {
        let (key, outcome) = match object {
            Err((key, error)) => (key, Err(error)),
            Ok(Named { object, .. }) => {
                let unanswered = || Err(S3Error::internal("the control plane answered for fewer objects"));
                let refused = |refusal| fault::meta(MetaError::from(refusal));
                (object.key, results.next().map_or_else(unanswered, |result| result.map_err(refused)))
            }
        };
        match outcome {
            Ok(_) if asked.quiet => {}
            Ok(_) => {
                xml.start("Deleted");
                xml.text("Key", &key);
                xml.end();
            }
            Err(error) => {
                xml.start("Error");
                xml.text("Key", &key);
                xml.text("Code", error.code().as_str());
                xml.text("Message", error.message());
                xml.end();
            }
        }
    }
    Ok(answer::xml(xml))
}

/// A request's body: each object, or why it can't be deleted.
struct Asked {
    objects: Vec<Result<Named, (String, S3Error)>>,
    quiet: bool,
}

/// An object to delete, and the version that the request names: "null", which is the only one there is.
struct Named {
    object: DeleteObject,
    version: Option<String>,
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
            if let Ok(Named { object, version }) = named
                && let Err(error) = granted.check_key(&object.key, version.as_deref())
            {
                *named = Err((std::mem::take(&mut object.key), error));
            }
        }
    }

    fn object(element: &Element) -> S3Result<Result<Named, (String, S3Error)>> {
        // Not trimmed: spaces at a key's ends are part of it.
        let key = element.child("Key").map(|key| key.text.clone()).filter(|key| !key.is_empty());
        let key = key.ok_or_else(|| S3Error::new(S3Code::MalformedXML))?;
        let unserved = ["LastModifiedTime", "Size"].iter().any(|name| element.child(name).is_some());
        let version = element.child_text("VersionId").map(str::to_owned);
        if unserved || version.as_ref().is_some_and(|version| version != "null") {
            return Ok(Err((key, S3Error::new(S3Code::NotImplemented))));
        }
        if let Err(error) = names::check_key(&key) {
            return Ok(Err((key, error)));
        }
        let precondition = match element.child_text("ETag") {
            Some(etag) if !etag.is_empty() => Precondition::IfMatch(unquote(etag).to_owned()),
            _ => Precondition::None,
        };
        Ok(Ok(Named { object: DeleteObject { key, precondition }, version }))
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
        let first = &asked.objects[0].as_ref().unwrap().object;
        assert_eq!(
            (first.key.as_str(), &first.precondition),
            (" a\r ", &Precondition::IfMatch("e".to_owned()))
        );
        let (key, error) = asked.objects[1].as_ref().err().unwrap();
        assert_eq!((key.as_str(), error.code()), ("b", S3Code::NotImplemented));
        let many = |count| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(count));
        assert!(parse(&many(1000)).is_ok());
        for bad in [many(1001), many(0), "<Delete><Object/></Delete>".to_owned(), String::new()] {
            assert_eq!(parse(&bad).err(), Some(S3Code::MalformedXML));
        }
    }
}
