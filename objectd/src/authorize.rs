//! Whether a caller may: the one place between routing and every operation.
//!
//! The permissions come from `policy`'s table, and all of them must be allowed, each on its own resource, by what
//! is kept of the bucket at this moment.

use crate::annotations::Tags;
use crate::arrival::Arrival;
use crate::auth::uri::Query;
use crate::auth::{Authenticated, Principal};
use crate::bucket_rules::{Asked, BucketRules, ObjectGrants};
use crate::context::{Contexts, Known, Said, account_of, caller_of, existing_tag_keys, sealing_keys};
use crate::copy_source::CopySource;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::identity_rules::IdentityRules;
use crate::operation::Operation;
use crate::target::Target;
use crate::version;
use http::HeaderMap;
use http::request::Parts;
use meta::acl::ObjectAcl;
use meta::error::{Entity, ErrorKind};
use meta::object::{Annotations, FoundVersion, VersionRef};
use meta::query::ObjectPart;
use policy::{Caller, Decision, Facts, Need, On, Policies, Reason, Request, When};
use std::sync::Arc;

/// A request whose sender is known, and what it asks for.
pub struct Routed<'a> {
    pub parts: &'a Parts,
    pub authenticated: &'a Authenticated,
    pub operation: Operation,
    pub target: &'a Target,
}

/// What an allowed operation works on, and what else its caller may.
pub struct Granted {
    /// The bucket of the request, if the operation needs one that exists.
    pub bucket: Option<Arc<BucketRules>>,
    pub source: Option<CopySource>,
    source_bucket: Option<Arc<BucketRules>>,
    caller: Caller,
    rules: IdentityRules,
    owner: Option<String>,
    contexts: Contexts,
    facts: Facts,
    operation: Operation,
    now_ms: u64,
    /// The object and the source as they were judged, where more than their names could matter.
    seen: Option<Seen>,
    source_seen: Option<Seen>,
    /// What the object grants, where ACLs are on: the one that is there, or the one that is to be.
    object: Option<ObjectGrants>,
}

/// What of an object may have a say, as it was found.
struct Seen {
    exists: bool,
    tags: Tags,
    acl: Option<ObjectAcl>,
}

/// Checks every permission that the request needs.
///
/// Errors: `AccessDenied` if one is not allowed; `NoSuchBucket`, but not to strangers.
pub async fn authorize(shared: &Shared, routed: &Routed<'_>) -> S3Result<Granted> {
    let Routed { parts, authenticated, operation, target } = *routed;
    refuse_anonymous_writers(&authenticated.principal, operation)?;
    let headers = &parts.headers;
    let source = if operation.needs_source() { Some(source_of(headers)?) } else { None };
    let arrival = parts.extensions.get::<Arrival>().copied();
    let known = Known {
        operation,
        headers,
        authenticated,
        arrival: arrival.ok_or_else(|| S3Error::internal("a request came without its peer's address"))?,
        now_ms: shared.now_ms(),
        region: &shared.region,
        source: source.as_ref(),
    };
    let mut granted = Granted {
        bucket: None,
        source_bucket: None,
        caller: caller_of(&authenticated.principal),
        rules: IdentityRules::of(&authenticated.principal, &shared.parsed_identities),
        owner: authenticated.principal.owner().map(str::to_owned),
        contexts: Contexts::default(),
        facts: known.facts()?,
        operation,
        now_ms: known.now_ms,
        seen: None,
        source_seen: None,
        object: None,
        source: source.clone(),
    };
    let needs: Vec<Need> = operation.permissions().needed(granted.facts).collect();
    if operation.needs_bucket() {
        let name = target.bucket.as_deref().ok_or_else(|| S3Error::new(S3Code::InvalidBucketName))?;
        granted.bucket = Some(granted.rules(shared, name).await?);
        granted.learn(&known)?;
        if let Some(key) = target.key.as_deref() {
            // What can't be a version is none; the operation says so to those who get that far.
            let version = version::of_query(&authenticated.query).ok().flatten();
            granted.look_at(shared, (name, key), version).await?;
        }
        granted.look_at_upload(shared, target, &authenticated.query).await?;
    } else {
        granted.learn(&known)?;
    }
    for need in needs.iter().filter(|need| need.on != On::Source) {
        granted.check(need, target)?;
    }
    if let Some(bucket) = &granted.bucket {
        check_owners_own(operation, &granted.caller, bucket)?;
        check_expected(headers, "x-amz-expected-bucket-owner", bucket)?;
    }
    if let Some(source) = &granted.source {
        let bucket = granted.rules(shared, &source.bucket).await?;
        let copies_tags = operation == Operation::CopyObject && !replaces_tags(headers)?;
        if copies_tags || granted.tags_matter(&bucket) || bucket.has_acls() {
            let named = (source.bucket.as_str(), source.key.as_str());
            granted.source_seen = Some(see(shared, named, source.version).await?);
        }
        for need in needs.iter().filter(|need| need.on == On::Source) {
            granted.check_source(need, source, &bucket)?;
        }
        check_expected(headers, "x-amz-source-expected-bucket-owner", &bucket)?;
        if copies_tags && granted.source_seen.as_ref().is_some_and(|seen| !seen.tags.is_empty()) {
            let facts = Facts { source_tags: true, ..granted.facts };
            let of_tags = |need: &Need| matches!(need.when, When::SourceTags | When::SourceVersionTags);
            for need in operation.permissions().needed(facts).filter(of_tags) {
                match need.on {
                    On::Source => granted.check_source(&need, source, &bucket)?,
                    _ => granted.check(&need, target)?,
                }
            }
        }
        granted.source_bucket = Some(bucket);
    }
    Ok(granted)
}

/// What a caller who may nothing at all is told of a request that can't even be routed: that. Others hear what is
/// wrong with it.
pub fn unrouted(principal: &Principal, error: S3Error) -> S3Error {
    match principal {
        Principal::Anonymous => S3Error::new(S3Code::AccessDenied).source(error),
        Principal::Key { .. } => error,
    }
}

impl Granted {
    /// The bucket of the request. Only operations that need one ask.
    pub fn bucket(&self) -> S3Result<&BucketRules> {
        self.bucket.as_deref().ok_or_else(|| S3Error::new(S3Code::NoSuchBucket))
    }

    /// Whether the operation may be done to this key of its body, of the version that is named there, if one is.
    pub fn check_key(&self, key: &str, version: Option<&str>) -> S3Result<()> {
        let bucket = self.bucket()?;
        let facts = Facts { version: version.is_some(), ..self.facts };
        let mut context = self.contexts.own.clone();
        if let Some(version) = version {
            context.set("s3:VersionId", version);
        }
        for need in self.operation.permissions().needed(facts).filter(|need| need.on == On::EachKey) {
            let asked = Asked { action: need.action, key: Some(key), context: &context, ..self.asked() };
            judge(need.action, &bucket.decide(asked))?;
        }
        Ok(())
    }

    /// Judges an operation whose body has a say, when that was read.
    pub fn check_body(&self, key: &str, said: Said<'_>) -> S3Result<()> {
        let bucket = self.bucket()?;
        let mut context = self.contexts.own.clone();
        said.claim(&mut context, self.now_ms)?;
        for need in self.operation.permissions().needed(self.facts) {
            let asked = Asked { action: need.action, key: Some(key), context: &context, ..self.asked() };
            judge(need.action, &bucket.decide(asked))?;
        }
        Ok(())
    }

    /// Whether the caller might do something else to the object.
    pub fn may(&self, action: &str, key: &str) -> bool {
        let asked = Asked { action, key: Some(key), ..self.asked() };
        self.bucket.as_ref().is_some_and(|bucket| bucket.decide(asked).allowed)
    }

    /// The owner that the caller acts for, if it is known.
    pub fn owner(&self) -> Option<&str> {
        self.owner.as_deref()
    }

    /// Whether the request asks for governance to be bypassed, which it then was allowed.
    pub fn bypasses_governance(&self) -> bool {
        self.facts.bypass
    }

    /// Whether the object was looked at, so that it has to be held to [`check_unchanged`](Self::check_unchanged).
    pub fn has_looked(&self) -> bool {
        self.seen.is_some()
    }

    /// That the object still is what it was judged as. If not, another try is judged by what it is then.
    pub fn check_unchanged(&self, annotations: &Annotations) -> S3Result<()> {
        unchanged(self.seen.as_ref(), annotations)
    }

    /// The same of a copy's source.
    pub fn check_source_unchanged(&self, annotations: &Annotations) -> S3Result<()> {
        unchanged(self.source_seen.as_ref(), annotations)
    }

    /// Finds out what conditions of policies may be about, if there is a policy that could have any. Of a copy's source
    /// that isn't known yet.
    fn learn(&mut self, known: &Known<'_>) -> S3Result<()> {
        let by_policy = self.bucket.as_deref().is_some_and(BucketRules::has_policy);
        if by_policy || self.source.is_some() || !self.rules.are_none() {
            self.contexts = known.contexts()?;
        }
        Ok(())
    }

    /// Whether a policy that has a say asks for an object's tags: reading them is a query of its own.
    fn tags_matter(&self, bucket: &BucketRules) -> bool {
        bucket.asks_for_object_tags() || self.rules.asks_for_object_tags()
    }

    /// Looks at the object, if what it is may matter. That is a query of its own.
    async fn look_at(
        &mut self,
        shared: &Shared,
        named: (&str, &str),
        version: Option<VersionRef>,
    ) -> S3Result<()> {
        let Some(bucket) = &self.bucket else { return Ok(()) };
        let tags_matter = self.operation.sees_tags() && self.tags_matter(bucket);
        if !self.operation.is_of_object() {
            self.object = bucket.has_acls().then(|| bucket.grants_of_new());
        } else if tags_matter || bucket.has_acls() {
            let seen = see(shared, named, version).await?;
            if tags_matter {
                existing_tag_keys(&mut self.contexts.own, &seen.tags);
            }
            if seen.exists && bucket.has_acls() {
                self.object = Some(bucket.grants_of(seen.acl.as_ref()));
            }
            self.seen = Some(seen);
        }
        Ok(())
    }

    /// How a part is encrypted was said when its upload was made: policies see it there.
    async fn look_at_upload(&mut self, shared: &Shared, target: &Target, query: &Query) -> S3Result<()> {
        let matters = |bucket: &BucketRules| bucket.asks_for_encryption() || self.rules.asks_for_encryption();
        if !self.operation.continues_upload() || !self.bucket.as_deref().is_some_and(matters) {
            return Ok(());
        }
        // What is no upload is told to those who get that far.
        let id = query.get("uploadId").and_then(|id| id.parse().ok());
        let (Some(bucket), Some(key), Some(id)) = (&target.bucket, &target.key, id) else { return Ok(()) };
        match shared.meta.open_upload(bucket, key, id).await {
            Ok((_, sealing)) => {
                sealing_keys(&mut self.contexts.own, sealing.as_ref());
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(()),
            Err(error) => Err(fault::meta(error)),
        }
    }

    async fn rules(&self, shared: &Shared, name: &str) -> S3Result<Arc<BucketRules>> {
        match shared.meta.bucket_access(name).await {
            Ok(found) => {
                shared.access_log.note(&found);
                BucketRules::of(&found, &shared.parsed_policies)
            }
            // Strangers don't learn which buckets there are.
            Err(error)
                if error.kind() == ErrorKind::NotFound(Entity::Bucket)
                    && self.caller == Caller::Anonymous =>
            {
                Err(S3Error::new(S3Code::AccessDenied).source(error))
            }
            Err(error) => Err(fault::meta(error).extra("BucketName", name)),
        }
    }

    fn asked(&self) -> Asked<'_> {
        Asked {
            caller: &self.caller,
            rules: &self.rules,
            owner: self.owner.as_deref(),
            action: "",
            key: None,
            object: self.object.as_ref(),
            context: &self.contexts.own,
        }
    }

    fn check(&self, need: &Need, target: &Target) -> S3Result<()> {
        match (need.on, &self.bucket) {
            (On::Account, _) => self.check_account(need.action, "arn:aws:s3:::*"),
            (On::Bucket, None) => {
                let name = target.bucket.as_deref().ok_or_else(|| S3Error::new(S3Code::InvalidBucketName))?;
                self.check_account(need.action, &format!("arn:aws:s3:::{name}"))
            }
            (On::Bucket, Some(bucket)) => {
                judge(need.action, &bucket.decide(Asked { action: need.action, ..self.asked() }))
            }
            (On::Object, Some(bucket)) if self.operation.judged_by_body() => {
                self.check_any_key(need.action, bucket)
            }
            (On::Object, Some(bucket)) => {
                let key = target.key.as_deref().ok_or_else(|| S3Error::new(S3Code::AccessDenied))?;
                let asked = Asked { action: need.action, key: Some(key), ..self.asked() };
                let decision = bucket.decide(asked);
                judge(need.action, &decision).map_err(|error| self.missing(&decision, key).unwrap_or(error))
            }
            (On::EachKey, Some(bucket)) => self.check_any_key(need.action, bucket),
            (On::Object | On::EachKey | On::Source, _) => Err(S3Error::new(S3Code::AccessDenied)),
        }
    }

    /// What is not there grants nothing. Who may list the bucket is told so.
    fn missing(&self, decision: &Decision, key: &str) -> Option<S3Error> {
        let gone = self.seen.as_ref().is_some_and(|seen| !seen.exists);
        let by_acl = self.bucket.as_deref().is_some_and(BucketRules::has_acls);
        let unsaid = matches!(decision.reason, Reason::NoAllow(_));
        let code = if self.facts.version { S3Code::NoSuchVersion } else { S3Code::NoSuchKey };
        let told = gone && by_acl && unsaid && !self.hides_missing();
        told.then(|| S3Error::new(code).extra("Key", key))
    }

    /// What is of no bucket that exists: the caller's own account decides.
    fn check_account(&self, action: &str, resource: &str) -> S3Result<()> {
        let request = Request {
            caller: &self.caller,
            canonical_id: self.owner.as_deref(),
            action,
            resource,
            resource_account: self.caller.account(),
            context: &self.contexts.own,
        };
        judge(action, &self.rules.decide(&request, Policies::default()))
    }

    /// Each key is judged by itself when the body was read. A caller who may delete none of them, whatever they
    /// are, is refused before.
    fn check_any_key(&self, action: &str, bucket: &BucketRules) -> S3Result<()> {
        let decision = bucket.decide(Asked { action, key: Some(""), ..self.asked() });
        let hopeless = match &decision.reason {
            Reason::Unreadable(..) | Reason::Restricted(_) => true,
            Reason::NoAllow(_) => !bucket.has_policy() && self.rules.is_empty(),
            _ => false,
        };
        if hopeless { judge(action, &decision) } else { Ok(()) }
    }

    fn check_source(&self, need: &Need, source: &CopySource, bucket: &BucketRules) -> S3Result<()> {
        let mut context = self.contexts.common.clone();
        if let Some(version) = &source.version {
            context.set("s3:VersionId", version.to_string());
        }
        let seen = self.source_seen.as_ref();
        if let Some(seen) = seen {
            existing_tag_keys(&mut context, &seen.tags);
        }
        let object = seen
            .filter(|seen| seen.exists && bucket.has_acls())
            .map(|seen| bucket.grants_of(seen.acl.as_ref()));
        let (action, key, object) = (need.action, Some(source.key.as_str()), object.as_ref());
        let asked = Asked { action, key, object, context: &context, ..self.asked() };
        judge(need.action, &bucket.decide(asked))
    }

    /// Whether the caller may not list a bucket of this request, so that it isn't told that a key doesn't exist.
    pub fn hides_missing(&self) -> bool {
        let asked = Asked { action: "s3:ListBucket", context: &self.contexts.common, ..self.asked() };
        let mut buckets = self.bucket.iter().chain(&self.source_bucket);
        buckets.any(|bucket| !bucket.decide(asked).allowed)
    }
}

/// An object as it is.
async fn see(shared: &Shared, named: (&str, &str), version: Option<VersionRef>) -> S3Result<Seen> {
    let nothing = Seen { exists: false, tags: Tags::new(), acl: None };
    match shared.meta.version(named, version, ObjectPart::Head).await {
        Ok(FoundVersion::Object(object)) => {
            let Annotations { tags, acl, .. } = object.annotations;
            Ok(Seen { exists: true, tags, acl })
        }
        Ok(FoundVersion::DeleteMarker { .. }) => Ok(nothing),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(nothing),
        Err(error) => Err(fault::meta(error)),
    }
}

fn unchanged(judged: Option<&Seen>, annotations: &Annotations) -> S3Result<()> {
    match judged {
        Some(judged)
            if !judged.exists || judged.tags != annotations.tags || judged.acl != annotations.acl =>
        {
            Err(S3Error::with(
                S3Code::ServiceUnavailable,
                "The object's tags or its ACL changed while the request was judged by them. Please try again.",
            ))
        }
        _ => Ok(()),
    }
}

fn replaces_tags(headers: &HeaderMap) -> S3Result<bool> {
    let name = http::HeaderName::from_static("x-amz-tagging-directive");
    Ok(crate::auth::single_header(headers, &name)? == Some("REPLACE"))
}

fn judge(action: &str, decision: &Decision) -> S3Result<()> {
    if decision.allowed {
        return Ok(());
    }
    tracing::debug!(action, reason = ?decision.reason, "denied");
    Err(S3Error::new(S3Code::AccessDenied))
}

fn source_of(headers: &HeaderMap) -> S3Result<CopySource> {
    let missing = || S3Error::with(S3Code::InvalidArgument, "x-amz-copy-source is missing");
    CopySource::of(headers)?.ok_or_else(missing)
}

/// What AWS asks a signature for, whatever policies say: a copy and an upload in parts belong to somebody.
fn refuse_anonymous_writers(principal: &Principal, operation: Operation) -> S3Result<()> {
    let why = match operation {
        Operation::CopyObject | Operation::UploadPartCopy => {
            "Anonymous users cannot copy objects.  Please authenticate."
        }
        Operation::CreateMultipartUpload => {
            "Anonymous users cannot initiate multipart uploads.  Please authenticate."
        }
        _ => return Ok(()),
    };
    match principal {
        Principal::Anonymous => Err(S3Error::with(S3Code::AccessDenied, why)),
        Principal::Key { .. } => Ok(()),
    }
}

/// Who may use a bucket is its own account's to say, even if a policy gives the permission away.
fn check_owners_own(operation: Operation, caller: &Caller, bucket: &BucketRules) -> S3Result<()> {
    let code = match operation {
        Operation::PutBucketPolicy | Operation::GetBucketPolicy | Operation::DeleteBucketPolicy => {
            S3Code::MethodNotAllowed
        }
        Operation::PutPublicAccessBlock | Operation::DeletePublicAccessBlock => S3Code::AccessDenied,
        _ => return Ok(()),
    };
    if caller.account() == Some(bucket.account()) { Ok(()) } else { Err(S3Error::new(code)) }
}

/// Clients may name the account by its number, as AWS's do, or by the id that lists show.
fn check_expected(headers: &HeaderMap, name: &'static str, bucket: &BucketRules) -> S3Result<()> {
    let owner = bucket.record.owner.as_str();
    match crate::auth::single_header(headers, &http::HeaderName::from_static(name))? {
        Some(expected) if expected != owner && expected != account_of(owner) => {
            Err(S3Error::new(S3Code::AccessDenied))
        }
        _ => Ok(()),
    }
}
