//! Access keys as the authenticator sees them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use super::holder::Holder;
use crate::error::S3Result;

/// A secret access key. Shown redacted; there is no way to print it but [`Secret::reveal`].
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub fn new(secret: impl Into<String>) -> Secret {
        Secret(secret.into())
    }

    pub fn reveal(&self) -> &str {
        &self.0
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
pub type KeyFuture<'a> = Pin<Box<dyn Future<Output = S3Result<Option<KeyRecord>>> + Send + 'a>>;

/// Where access keys are looked up: the control plane, through a cache that revocation empties.
pub trait KeyStore: Send + Sync {
    /// The key's record; `None` if there is no such key. A temporary key comes with its session's token, and no
    /// other does. An error (the control plane can't be asked) refuses the request: what can't be read denies.
    fn key<'a>(&'a self, access_key_id: &'a str, token: Option<&'a str>) -> KeyFuture<'a>;
}
