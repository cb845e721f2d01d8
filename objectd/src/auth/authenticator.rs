//! From a request's head to one principal.

use std::sync::Arc;

use aws_sigv4::sign::v4::calculate_signature;
use http::StatusCode;
use http::header::HeaderName;
use http::request::Parts;
use rt::clock::Clock;
use sha2::{Digest, Sha256};

use super::canonical;
use super::chunk_signer::{ChunkSigner, signatures_equal};
use super::credentials::{self, Claim, Credentials, Place, SignedForm, single_header};
use super::holder::{Holder, Who};
use super::keys::{KeyRecord, KeyStatus, KeyStore};
use super::timestamp::Timestamp;
use super::uri::Query;
use crate::error::{S3Code, S3Error, S3Result};
use crate::payload::{PayloadAuth, PayloadMode};

/// How far a client's clock may be from ours.
const MAX_SKEW_S: i64 = 15 * 60;
/// The longest a presigned request may be valid: a week.
const MAX_EXPIRES_S: i64 = 7 * 24 * 3600;
/// What S3 clients sign with when nobody told them a region (`US` is s3cmd's name for it): accepted beside the
/// configured one, as AWS accepts it for `GetBucketLocation`, by which such clients learn the real one.
const FALLBACK_REGIONS: [&str; 2] = ["us-east-1", "US"];
const SERVICE: &str = "s3";
const CONTENT_SHA256: &str = "x-amz-content-sha256";

/// Who sent a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// It had no credentials at all.
    Anonymous,
    /// It was signed with this key, of an owner's account.
    Key { access_key_id: String, owner: String, holder: Holder },
}

impl Principal {
    /// The owner the caller acts for, if it is known.
    pub fn owner(&self) -> Option<&str> {
        match self {
            Principal::Anonymous => None,
            Principal::Key { owner, .. } => Some(owner),
        }
    }

    /// The same. Errors: `AccessDenied` for an anonymous one.
    pub fn require(&self) -> S3Result<&str> {
        self.owner().ok_or_else(|| S3Error::new(S3Code::AccessDenied))
    }

    /// Whether its credentials are a session's.
    pub fn is_temporary(&self) -> bool {
        matches!(self, Principal::Key { holder, .. } if holder.temporary.is_some())
    }

    /// Who it is within its account, if it is somebody.
    pub fn who(&self) -> Option<&Who> {
        match self {
            Principal::Anonymous => None,
            Principal::Key { holder, .. } => Some(&holder.who),
        }
    }
}

/// What the authenticator found out.
#[derive(Debug, Clone)]
pub struct Authenticated {
    pub principal: Principal,
    /// How the body must be read: see `payload::BodyPlan`.
    pub payload: PayloadAuth,
    /// The query, decoded as it was for the signature.
    pub query: Query,
    /// Whether the credentials were in the query.
    pub presigned: bool,
    /// `None` of an anonymous request.
    pub signature: Option<Signature>,
}

impl Authenticated {
    /// Of a claim whose signature was verified with its key, over this hash of the payload.
    fn signed(
        (claim, key): (Claim, &KeyRecord),
        query: Query,
        (content_sha256, payload): (String, PayloadAuth),
    ) -> Authenticated {
        let signed_ms = u64::try_from(claim.timestamp.unix_s()).unwrap_or(0).saturating_mul(1000);
        Authenticated {
            presigned: claim.place != Place::Header,
            signature: Some(Signature { signed_ms, content_sha256 }),
            principal: Principal::Key {
                access_key_id: claim.scope.access_key_id,
                owner: key.owner.clone(),
                holder: key.holder.clone(),
            },
            payload,
            query,
        }
    }
}

/// What policies may ask of a signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// When it was made, in milliseconds since 1970.
    pub signed_ms: u64,
    /// What it says of the payload: `x-amz-content-sha256`, or what stands for it.
    pub content_sha256: String,
}

/// Checks SigV4 signatures. One for the whole gateway.
pub struct Authenticator {
    keys: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    region: String,
}

impl Authenticator {
    /// `region` is the one that scopes must name (or `us-east-1`, which clients fall back to).
    pub fn new(keys: Arc<dyn KeyStore>, clock: Arc<dyn Clock>, region: impl Into<String>) -> Authenticator {
        Authenticator { keys, clock, region: region.into() }
    }

    /// Verifies the head of a request. Must run before anything else looks at it.
    ///
    /// Errors: as AWS documents for each defect; never an `Ok` with a principal that did not sign.
    pub async fn authenticate(&self, parts: &Parts) -> S3Result<Authenticated> {
        let query = Query::parse(parts.uri.query())?;
        let claim = match credentials::find(parts, &query)? {
            Credentials::None => return anonymous(parts, query),
            Credentials::Signed(claim) => claim,
        };
        self.check(parts, &claim, SERVICE)?;
        let payload_hash = payload_hash(parts, &query, &claim)?;
        let mode = PayloadMode::parse(&payload_hash)?;
        let key = self.key(&claim).await?;
        let signing_key = verified(parts, &query, &claim, &key, &payload_hash)?;
        let signer = ChunkSigner::new(
            signing_key,
            claim.timestamp.as_str(),
            claim.scope.signed_part(),
            &claim.signature,
        );
        let payload = PayloadAuth::new(mode, Some(signer))?;
        Ok(Authenticated::signed((claim, &key), query, (payload_hash, payload)))
    }

    /// Begins with a request whose signature, in the header, is made for another service than S3 and over the body's
    /// hash: all that can be checked before the body is read, so that only who names a key makes us read one.
    ///
    /// Errors: as for [`authenticate`](Self::authenticate); nobody is anonymous here.
    pub async fn begin(&self, parts: &Parts, service: &str) -> S3Result<Begun> {
        let query = Query::parse(parts.uri.query())?;
        let claim = match credentials::find(parts, &query)? {
            Credentials::Signed(claim) if claim.place == Place::Header => claim,
            _ => return Err(S3Error::new(S3Code::MissingAuthenticationToken)),
        };
        self.check(parts, &claim, service)?;
        let key = self.key(&claim).await?;
        Ok(Begun { query, claim, key })
    }

    /// What can be refused without asking for a key.
    fn check(&self, parts: &Parts, claim: &Claim, service: &str) -> S3Result<()> {
        self.check_time(claim)?;
        self.check_scope(claim, service)?;
        check_signed_headers(parts, claim)
    }

    /// Verifies the signature of a form's policy. What the policy says is not looked at.
    ///
    /// Errors: as [`authenticate`](Self::authenticate).
    pub async fn authenticate_form(&self, form: &SignedForm<'_>) -> S3Result<Authenticated> {
        let claim = credentials::of_form(form, MAX_EXPIRES_S)?;
        self.check_time(&claim)?;
        self.check_scope(&claim, SERVICE)?;
        let key = self.key(&claim).await?;
        let expected = calculate_signature(signing_key(&key, &claim), form.policy.as_bytes());
        if !signatures_equal(&expected, &claim.signature) {
            return Err(S3Error::new(S3Code::SignatureDoesNotMatch)
                .extra("AWSAccessKeyId", claim.scope.access_key_id.as_str())
                .extra("StringToSign", form.policy)
                .extra("SignatureProvided", claim.signature.as_str()));
        }
        let payload = PayloadAuth::new(PayloadMode::Unsigned, None)?;
        let unsigned = ("UNSIGNED-PAYLOAD".to_owned(), payload);
        // Its claim expires as a presigned request's does, and yet its credentials are in no query.
        let signed = Authenticated::signed((claim, &key), Query::parse(None)?, unsigned);
        Ok(Authenticated { presigned: false, ..signed })
    }

    fn check_time(&self, claim: &Claim) -> S3Result<()> {
        let now_s = i64::try_from(self.clock.wall().0 / 1000).map_err(S3Error::internal)?;
        let age_s = now_s - claim.timestamp.unix_s();
        match claim.place {
            Place::Header if age_s.abs() > MAX_SKEW_S => Err(S3Error::new(S3Code::RequestTimeTooSkewed)
                .extra("RequestTime", claim.timestamp.as_str())
                .extra("ServerTime", shown(now_s))
                .extra("MaxAllowedSkewMilliseconds", (MAX_SKEW_S * 1000).to_string())),
            Place::Header => Ok(()),
            Place::Query { expires_s } => check_expiry(claim, now_s, expires_s),
        }
    }

    fn check_scope(&self, claim: &Claim, service: &str) -> S3Result<()> {
        let scope = &claim.scope;
        if scope.date != claim.timestamp.date() {
            return Err(wrong_scope(
                claim,
                &format!(
                    "Invalid credential date \"{}\". This date is not the same as X-Amz-Date: \"{}\"",
                    scope.date,
                    claim.timestamp.date()
                ),
            ));
        }
        if scope.service != service {
            return Err(wrong_scope(
                claim,
                &format!("incorrect service \"{}\". This endpoint belongs to \"{service}\"", scope.service),
            ));
        }
        if scope.region != self.region && !FALLBACK_REGIONS.contains(&scope.region.as_str()) {
            return Err(wrong_scope(
                claim,
                &format!("the region '{}' is wrong; expecting '{}'", scope.region, self.region),
            )
            .extra("Region", self.region.as_str()));
        }
        Ok(())
    }

    async fn key(&self, claim: &Claim) -> S3Result<Arc<KeyRecord>> {
        let access_key_id = claim.scope.access_key_id.as_str();
        match self.keys.key(access_key_id, claim.token.as_deref()).await? {
            Some(key) if key.status == KeyStatus::Active => Ok(key),
            // A disabled key is answered like an unknown one, as AWS does.
            _ => Err(S3Error::new(S3Code::InvalidAccessKeyId).extra("AWSAccessKeyId", access_key_id)),
        }
    }
}

/// A request that is verified once its body is known.
pub struct Begun {
    query: Query,
    claim: Claim,
    key: Arc<KeyRecord>,
}

impl Begun {
    /// Verifies it. Errors: `SignatureDoesNotMatch`.
    pub fn finish(self, parts: &Parts, body: &[u8]) -> S3Result<Authenticated> {
        let Self { query, claim, key } = self;
        let hash: [u8; 32] = Sha256::digest(body).into();
        let payload_hash = hex::encode(hash);
        match single_header(&parts.headers, &HeaderName::from_static(CONTENT_SHA256))? {
            Some(said) if said != payload_hash => return Err(S3Error::new(S3Code::SignatureDoesNotMatch)),
            _ => {}
        }
        verified(parts, &query, &claim, &key, &payload_hash)?;
        let payload = PayloadAuth::new(PayloadMode::Sha256(hash), None)?;
        Ok(Authenticated::signed((claim, &key), query, (payload_hash, payload)))
    }
}

/// The signing key, if the claim is rightly made with the key's secret.
fn verified(
    parts: &Parts,
    query: &Query,
    claim: &Claim,
    key: &KeyRecord,
    payload_hash: &str,
) -> S3Result<[u8; 32]> {
    let signing_key = signing_key(key, claim);
    verify(parts, query, claim, payload_hash, &signing_key)?;
    Ok(signing_key)
}

fn anonymous(parts: &Parts, query: Query) -> S3Result<Authenticated> {
    let mode = match single_header(&parts.headers, &HeaderName::from_static(CONTENT_SHA256))? {
        Some(value) => PayloadMode::parse(value)?,
        None => PayloadMode::Unsigned,
    };
    let payload = PayloadAuth::new(mode, None)?;
    Ok(Authenticated { principal: Principal::Anonymous, payload, query, presigned: false, signature: None })
}

/// As error answers show a time.
fn shown(unix_s: i64) -> String {
    Timestamp::from_unix_s(unix_s).map(|time| time.extended()).unwrap_or_default()
}

fn check_expiry(claim: &Claim, now_s: i64, expires_s: i64) -> S3Result<()> {
    let age_s = now_s - claim.timestamp.unix_s();
    // AWS answers the two range errors with 400; here whoever shows a signature that can't be valid is
    // denied, so that one status covers all of a presigned request's time rules.
    let range = |message: &'static str| {
        Err(S3Error::with(S3Code::AuthorizationQueryParametersError, message)
            .status_code(StatusCode::FORBIDDEN))
    };
    if expires_s < 0 {
        return range("X-Amz-Expires must be non-negative");
    }
    if expires_s > MAX_EXPIRES_S {
        return range(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less \
             than 604800 seconds",
        );
    }
    if age_s < -MAX_SKEW_S {
        return Err(S3Error::with(S3Code::AccessDenied, "Request is not yet valid"));
    }
    if expires_s == 0 || age_s > expires_s {
        let expiry = claim.timestamp.plus_s(expires_s).map(|time| time.extended()).unwrap_or_default();
        return Err(S3Error::with(S3Code::AccessDenied, "Request has expired")
            .extra("X-Amz-Expires", expires_s.to_string())
            .extra("Expires", expiry)
            .extra("ServerTime", shown(now_s)));
    }
    Ok(())
}

/// A scope that is well-formed but not for here. AWS answers 400; denied is denied, so it is 403 here, with
/// AWS's code and `<Region>`, which is what clients act on.
fn wrong_scope(claim: &Claim, what: &str) -> S3Error {
    let error = match claim.place {
        Place::Header => S3Error::with(
            S3Code::AuthorizationHeaderMalformed,
            format!("The authorization header is malformed; {what}."),
        ),
        Place::Query { .. } => S3Error::with(
            S3Code::AuthorizationQueryParametersError,
            format!("Error parsing the X-Amz-Credential parameter; {what}."),
        ),
    };
    error.status_code(StatusCode::FORBIDDEN)
}

/// The host and every `x-amz-*` header must be signed: nothing may be added to a signed request that
/// changes what it does.
fn check_signed_headers(parts: &Parts, claim: &Claim) -> S3Result<()> {
    let signed = |name: &str| claim.signed_headers.iter().any(|known| known == name);
    let mut unsigned: Vec<&str> = parts
        .headers
        .keys()
        .map(HeaderName::as_str)
        .filter(|n| n.starts_with("x-amz-") && !signed(n))
        .collect();
    if !signed("host") {
        unsigned.push("host");
    }
    if unsigned.is_empty() {
        return Ok(());
    }
    Err(S3Error::with(
        S3Code::AccessDenied,
        "There were headers present in the request which were not signed",
    )
    .extra("HeadersNotSigned", unsigned.join(", ")))
}

/// The last line of the canonical request, which is also the payload mode.
fn payload_hash(parts: &Parts, query: &Query, claim: &Claim) -> S3Result<String> {
    let header = single_header(&parts.headers, &HeaderName::from_static(CONTENT_SHA256))?;
    // Presigners may move headers into the query.
    let parameter = query.get_ignoring_case(CONTENT_SHA256).filter(|_| claim.place != Place::Header);
    match (header, parameter) {
        (Some(header), Some(parameter)) if header != parameter => Err(S3Error::with(
            S3Code::InvalidArgument,
            "The x-amz-content-sha256 header and query parameter differ",
        )
        .extra("ArgumentName", CONTENT_SHA256)),
        (Some(value), _) | (None, Some(value)) => Ok(value.to_owned()),
        (None, None) if claim.place == Place::Header => Err(S3Error::with(
            S3Code::InvalidRequest,
            "Missing required header for this request: x-amz-content-sha256",
        )),
        (None, None) => Ok("UNSIGNED-PAYLOAD".to_owned()),
    }
}

fn signing_key(key: &KeyRecord, claim: &Claim) -> [u8; 32] {
    key.secret.signing_key(&claim.scope, claim.timestamp.system_time())
}

fn verify(
    parts: &Parts,
    query: &Query,
    claim: &Claim,
    payload_hash: &str,
    signing_key: &[u8; 32],
) -> S3Result<()> {
    let candidates = canonical::candidates(parts, query, claim, payload_hash)?;
    for candidate in &candidates {
        let to_sign = canonical::string_to_sign(claim, candidate);
        if signatures_equal(&calculate_signature(signing_key, to_sign.as_bytes()), &claim.signature) {
            return Ok(());
        }
    }
    // The documented form is what a client's author wants to compare with theirs.
    let canonical = candidates.first().map(Vec::as_slice).unwrap_or_default();
    Err(S3Error::new(S3Code::SignatureDoesNotMatch)
        .extra("AWSAccessKeyId", claim.scope.access_key_id.as_str())
        .extra("StringToSign", canonical::string_to_sign(claim, canonical))
        .extra("SignatureProvided", claim.signature.as_str())
        .extra("CanonicalRequest", String::from_utf8_lossy(canonical)))
}
