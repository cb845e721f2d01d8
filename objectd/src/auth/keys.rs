//! Access keys as the authenticator sees them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use aws_sigv4::sign::v4::generate_signing_key;

use super::holder::Holder;
use super::scope::Scope;
use crate::error::S3Result;

/// A secret access key. Shown redacted; there is no way to print it but [`Secret::reveal`].
pub struct Secret {
    text: String,
    /// What was derived from it last, and for which scope: most requests of a day are signed for the same one.
    derived: Mutex<Option<(Scope, SigningKey)>>,
}

/// What requests are signed with, for a day, a region and a service.
pub type SigningKey = [u8; 32];

impl Secret {
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret { text: secret.into(), derived: Mutex::default() }
    }

    pub fn reveal(&self) -> &str {
        &self.text
    }

    /// The signing key for a scope, whose date is that of `time`.
    pub(super) fn signing_key(&self, scope: &Scope, time: SystemTime) -> SigningKey {
        let mut derived = self.derived.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, key)) = derived.as_ref()
            && (&of.date, &of.region, &of.service) == (&scope.date, &scope.region, &scope.service)
        {
            return *key;
        }
        let key = generate_signing_key(&self.text, time, &scope.region, &scope.service);
        let mut signing_key = [0; 32];
        signing_key.copy_from_slice(key.as_ref());
        *derived = Some((scope.clone(), signing_key));
        signing_key
    }
}

impl Clone for Secret {
    fn clone(&self) -> Self {
        Self::new(self.text.as_str())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyStatus {
    Active,
    Disabled,
}

/// What is kept about one access key.
#[derive(Debug, Clone)]
pub struct KeyRecord {
    pub secret: Secret,
    pub status: KeyStatus,
    /// The account it belongs to: the id shown as `<Owner><ID>`.
    pub owner: String,
    /// Who in it the key acts for.
    pub holder: Holder,
}

/// A future that borrows its maker; the trait below must be usable as `dyn`.
pub type KeyFuture<'a> = Pin<Box<dyn Future<Output = S3Result<Option<Arc<KeyRecord>>>> + Send + 'a>>;

/// Where access keys are looked up: the control plane, through a cache that revocation empties.
pub trait KeyStore: Send + Sync {
    /// The key's record; `None` if there is no such key. A temporary key comes with its session's token, and no
    /// other does. An error (the control plane can't be asked) refuses the request: what can't be read denies.
    fn key<'a>(&'a self, access_key_id: &'a str, token: Option<&'a str>) -> KeyFuture<'a>;
}
