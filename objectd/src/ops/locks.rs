//! Object Lock: the bucket's configuration, an object's retention and its legal hold. What they forbid is refused
//! by the control plane, in the step that would do it.

use super::found::Wanted;
use crate::annotations::{self, hold_name, mode_name, mode_of};
use crate::answer;
use crate::context::Said;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::http_date;
use crate::limits::MAX_XML_BYTES;
use crate::service::S3Request;
use crate::version;
use crate::xml::{self, Element, XmlWriter};
use axum::body::Body;
use http::{Response, StatusCode};
use meta::command::Annotate;
use meta::error::ErrorKind;
use meta::object::{DefaultRetention, RetentionPeriod};

pub async fn configuration(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let bucket = request.bucket()?;
    let config = shared.meta.versioning(bucket).await.map_err(fault::meta)?;
    let Some(lock) = config.lock else {
        return Err(S3Error::new(S3Code::ObjectLockConfigurationNotFoundError).extra("BucketName", bucket));
    };
    let mut xml = XmlWriter::new("ObjectLockConfiguration");
    xml.text("ObjectLockEnabled", "Enabled");
    if let Some(default) = lock.default {
        xml.start("Rule");
        xml.start("DefaultRetention");
        xml.text("Mode", mode_name(default.mode));
        match default.period {
            RetentionPeriod::Days(days) => xml.value("Days", days),
            RetentionPeriod::Years(years) => xml.value("Years", years),
        }
    }
    Ok(answer::xml(xml))
}

pub async fn put_configuration(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let default = parse_configuration(&body)?;
    let bucket = &request.granted.bucket()?.record;
    shared.meta.put_object_lock((&bucket.name, bucket.id), default).await.map_err(|error| {
        match error.kind() {
            ErrorKind::PreconditionFailed => S3Error::with(
                S3Code::InvalidBucketState,
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration",
            )
            .source(error),
            ErrorKind::Invalid => S3Error::new(S3Code::InvalidRetentionPeriod).source(error),
            _ => fault::meta(error),
        }
    })?;
    Ok(answer::empty(StatusCode::OK))
}

fn parse_configuration(body: &[u8]) -> S3Result<Option<DefaultRetention>> {
    let malformed = || S3Error::new(S3Code::MalformedXML);
    let root = xml::parse(body, "ObjectLockConfiguration")?;
    let rules: Vec<&Element> = root.all("Rule").collect();
    if root.child_text("ObjectLockEnabled") != Some("Enabled") || root.children.len() != 1 + rules.len() {
        return Err(malformed());
    }
    let rule = match &rules[..] {
        [] => return Ok(None),
        [rule] => rule,
        _ => return Err(malformed()),
    };
    let [default] = &rule.children[..] else { return Err(malformed()) };
    let mode = default.child_text("Mode").and_then(mode_of).ok_or_else(malformed)?;
    if default.name != "DefaultRetention" || default.children.len() != 2 {
        return Err(malformed());
    }
    // A number that is too large or not above zero is a number all the same.
    let number = |text: &str| {
        let number: i64 = text.parse().map_err(|_| malformed())?;
        u32::try_from(number).map_err(|_| S3Error::new(S3Code::InvalidRetentionPeriod))
    };
    let period = match (default.child_text("Days"), default.child_text("Years")) {
        (Some(days), None) => RetentionPeriod::Days(number(days)?),
        (None, Some(years)) => RetentionPeriod::Years(number(years)?),
        _ => return Err(malformed()),
    };
    Ok(Some(DefaultRetention { mode, period }))
}

pub async fn retention(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    must_be_locked(shared, request).await?;
    let object = Wanted::of(request)?.head(shared).await?;
    request.granted.check_unchanged(&object.annotations)?;
    let retention = object.annotations.retention.ok_or_else(no_lock)?;
    let mut xml = XmlWriter::new("Retention");
    xml.text("Mode", mode_name(retention.mode));
    xml.text("RetainUntilDate", &http_date::iso(retention.until_ms));
    Ok(answer::xml(xml))
}

pub async fn put_retention(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let retention = annotations::retention_of_xml(&body, shared.now_ms())?;
    let (_, key) = request.object()?;
    request.granted.check_body(key, Said::Retention(retention))?;
    let bypass_governance = request.granted.bypasses_governance();
    annotate(shared, &request, Annotate::Retention { retention, bypass_governance }).await
}

pub async fn legal_hold(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    must_be_locked(shared, request).await?;
    let object = Wanted::of(request)?.head(shared).await?;
    request.granted.check_unchanged(&object.annotations)?;
    let held = object.annotations.legal_hold.ok_or_else(no_lock)?;
    let mut xml = XmlWriter::new("LegalHold");
    xml.text("Status", hold_name(held));
    Ok(answer::xml(xml))
}

pub async fn put_legal_hold(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let body = request.document(MAX_XML_BYTES).await?;
    let held = annotations::hold_of_xml(&body)?;
    let (_, key) = request.object()?;
    request.granted.check_body(key, Said::LegalHold(held))?;
    annotate(shared, &request, Annotate::LegalHold(held)).await
}

async fn annotate(shared: &Shared, request: &S3Request, change: Annotate) -> S3Result<Response<Body>> {
    let wanted = Wanted::of(request)?;
    if request.granted.has_looked() {
        request.granted.check_unchanged(&wanted.head(shared).await?.annotations)?;
    }
    let changed = shared.meta.annotate((wanted.bucket, wanted.key), wanted.version, change);
    let version = changed.await.map_err(|error| wanted.missing(error))?;
    let mut answer = answer::empty(StatusCode::OK);
    version::show(&mut answer, version);
    Ok(answer)
}

async fn must_be_locked(shared: &Shared, request: &S3Request) -> S3Result<()> {
    let config = shared.meta.versioning(request.bucket()?).await.map_err(fault::meta)?;
    let missing = || S3Error::with(S3Code::InvalidRequest, "Bucket is missing Object Lock Configuration");
    config.lock.map(|_| ()).ok_or_else(missing)
}

fn no_lock() -> S3Error {
    S3Error::new(S3Code::NoSuchObjectLockConfiguration)
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::object::RetentionMode;

    #[test]
    fn configurations_are_read_strictly() {
        let parse = |inner: &str| {
            let body = format!("<ObjectLockConfiguration>{inner}</ObjectLockConfiguration>");
            parse_configuration(body.as_bytes()).map_err(|error| error.code())
        };
        let enabled = "<ObjectLockEnabled>Enabled</ObjectLockEnabled>";
        let rule =
            |inner: &str| format!("{enabled}<Rule><DefaultRetention>{inner}</DefaultRetention></Rule>");
        assert_eq!(parse(enabled), Ok(None));
        let days = DefaultRetention { mode: RetentionMode::Governance, period: RetentionPeriod::Days(3) };
        assert_eq!(parse(&rule("<Mode>GOVERNANCE</Mode><Days>3</Days>")), Ok(Some(days)));
        let years = DefaultRetention { mode: RetentionMode::Compliance, period: RetentionPeriod::Years(1) };
        assert_eq!(parse(&rule("<Mode>COMPLIANCE</Mode><Years>1</Years>")), Ok(Some(years)));
        assert_eq!(
            parse(&rule("<Mode>COMPLIANCE</Mode><Years>-1</Years>")),
            Err(S3Code::InvalidRetentionPeriod)
        );
        for bad in [
            String::new(),
            "<ObjectLockEnabled>Disabled</ObjectLockEnabled>".to_owned(),
            rule("<Mode>governance</Mode><Days>3</Days>"),
            rule("<Mode>GOVERNANCE</Mode>"),
            rule("<Days>3</Days>"),
            rule("<Mode>GOVERNANCE</Mode><Days>x</Days>"),
            rule("<Mode>GOVERNANCE</Mode><Days>1</Days><Years>1</Years>"),
            format!("{enabled}<Rule/>"),
            format!("{enabled}<Rules/>"),
        ] {
            assert_eq!(parse(&bad), Err(S3Code::MalformedXML), "{bad}");
        }
    }
}
