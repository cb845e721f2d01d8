//! From what a request says to the keys of what it writes and reads.

use super::cipher::{DataKey, PartKey};
use super::headers::{self, Asked, Shown, Transport};
use super::rules::BucketEncryption;
use super::wrap::{CustomerKey, Name};
use crate::bucket_rules::BucketRules;
use crate::error::{S3Code, S3Error, S3Result};
use crate::gateway::Shared;
use http::HeaderMap;
use meta::sealing::{PartSalt, SealedBy, Sealing};
use rt::rng::{Rng as _, SystemRng};

/// How a new object is encrypted.
pub struct Seal {
    pub sealing: Sealing,
    pub key: DataKey,
    pub shown: Shown,
}

/// What is copied, which says how its copy is encrypted where nobody else does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A client's data, or what was kept in clear.
    Clear,
    /// What was encrypted is not kept in clear because nobody spoke of it.
    Encrypted,
}

impl Seal {
    /// For what is put into a bucket; `None` if it is to be kept in clear.
    ///
    /// Errors: what is asked for is not offered, or not rightly asked for; there is no key.
    pub async fn of_new(
        shared: &Shared,
        (headers, transport): (&HeaderMap, Transport),
        bucket: &BucketRules,
        key: &str,
        origin: Origin,
    ) -> S3Result<Option<Self>> {
        let name = Name { bucket: &bucket.record.name, key };
        let by_default = || -> S3Result<bool> {
            let Some(text) = &bucket.encryption else { return Ok(origin == Origin::Encrypted) };
            // What can't be read is not taken for nothing.
            BucketEncryption::parse(text.as_bytes()).map(|_| true).map_err(S3Error::internal)
        };
        match headers::of_new(headers, transport)? {
            Asked::Unsaid if !by_default()? => Ok(None),
            Asked::Unsaid | Asked::Pool => Self::by_pool(shared, name).await.map(Some),
            Asked::Customer(key) => Ok(Some(Self::by_customer(&key, name))),
        }
    }

    async fn by_pool(shared: &Shared, name: Name<'_>) -> S3Result<Self> {
        let pool = shared.keyring.newest().await?;
        let key = DataKey::random(&mut SystemRng);
        let wrapped = pool.wrap(&mut SystemRng, name, &key);
        let sealing = Sealing { by: SealedBy::Pool(pool.id), wrapped, salts: Vec::new() };
        Ok(Self { sealing, key, shown: Shown::Pool })
    }

    fn by_customer(customer: &CustomerKey, name: Name<'_>) -> Self {
        let key = DataKey::random(&mut SystemRng);
        let wrapped = customer.wrap(&mut SystemRng, name, &key);
        let sealing = Sealing { by: SealedBy::Customer, wrapped, salts: Vec::new() };
        Self { sealing, key, shown: Shown::Customer(*customer.md5()) }
    }
}

/// How an object that is there is encrypted, and its key.
#[derive(Debug, Clone, Default)]
pub struct Opened {
    pub key: Option<DataKey>,
    pub shown: Shown,
}

/// What is told to who comes without the right key.
struct Refusals {
    missing: &'static str,
    needless: &'static str,
    wrong: fn() -> S3Error,
}

const OF_OBJECT: Refusals = Refusals {
    missing: "The object was stored using a form of Server Side Encryption. The correct parameters must be provided to \
              retrieve the object.",
    needless: "The encryption parameters are not applicable to this object.",
    wrong: || S3Error::new(S3Code::AccessDenied),
};
const OF_UPLOAD: Refusals = Refusals {
    missing: "The multipart upload initiate requested encryption. Subsequent part requests must include the appropriate \
              encryption parameters.",
    needless: "The provided encryption parameters did not match the ones used originally.",
    wrong: || {
        let why = "The provided encryption parameters did not match the ones used originally.";
        S3Error::with(S3Code::InvalidRequest, why)
    },
};

impl Opened {
    /// Of an object that a request names, with the key that it came with.
    ///
    /// Errors: `InvalidRequest` without a key that is needed, or with one that isn't; `AccessDenied` with another.
    pub fn of_object(
        shared: &Shared,
        sealing: Option<&Sealing>,
        name: Name<'_>,
        customer: Option<&CustomerKey>,
    ) -> S3Result<Self> {
        Self::open(shared, sealing, name, customer, &OF_OBJECT)
    }

    /// Of what an upload will make. Errors: as of an object, but that another key is `InvalidRequest` too.
    pub fn of_upload(
        shared: &Shared,
        sealing: Option<&Sealing>,
        name: Name<'_>,
        customer: Option<&CustomerKey>,
    ) -> S3Result<Self> {
        Self::open(shared, sealing, name, customer, &OF_UPLOAD)
    }

    fn open(
        shared: &Shared,
        sealing: Option<&Sealing>,
        name: Name<'_>,
        customer: Option<&CustomerKey>,
        refusals: &Refusals,
    ) -> S3Result<Self> {
        let refused = |why: &'static str| Err(S3Error::with(S3Code::InvalidRequest, why));
        let by = sealing.map(|sealing| (sealing.by, &sealing.wrapped));
        match (by, customer) {
            (None, None) => Ok(Self::default()),
            (None | Some((SealedBy::Pool(_), _)), Some(_)) => refused(refusals.needless),
            (Some((SealedBy::Customer, _)), None) => refused(refusals.missing),
            (Some((SealedBy::Pool(id), wrapped)), None) => {
                let opened = shared.keyring.key(id)?.unwrap(name, wrapped);
                let damaged =
                    || S3Error::internal(format!("an object's key does not open with the pool key {id}"));
                Ok(Self { key: Some(opened.ok_or_else(damaged)?), shown: Shown::Pool })
            }
            (Some((SealedBy::Customer, wrapped)), Some(customer)) => {
                let opened = customer.unwrap(name, wrapped).ok_or_else(refusals.wrong)?;
                Ok(Self { key: Some(opened), shown: Shown::Customer(*customer.md5()) })
            }
        }
    }

    /// A new part of an upload: its salt and its key, if its data is encrypted.
    pub fn new_part(&self) -> Option<(PartSalt, PartKey)> {
        let key = self.key.as_ref()?;
        let salt = PartSalt(SystemRng.id());
        Some((salt, key.part(salt)))
    }
}
