//! Access keys, read from the control plane at every request: a revoked key is refused from the moment its
//! revocation returned, on every gateway.

use crate::auth::{KeyRecord, KeyStatus, KeyStore, Secret};
use crate::error::S3Result;
use crate::fault;
use meta::client::Client;
use meta::error::{Entity, ErrorKind};
use std::future::Future;
use std::pin::Pin;

/// The control plane as the authenticator's key store.
pub struct MetaKeys(pub Client);

impl KeyStore for MetaKeys {
    fn key<'a>(
        &'a self,
        access_key_id: &'a str,
    ) -> Pin<Box<dyn Future<Output = S3Result<Option<KeyRecord>>> + Send + 'a>> {
        Box::pin(async move {
            match self.0.access_key(access_key_id).await {
                Ok(key) => Ok(Some(KeyRecord {
                    secret: Secret::new(key.secret.0),
                    status: if key.enabled { KeyStatus::Active } else { KeyStatus::Disabled },
                    owner: key.owner,
                })),
                Err(error) => match error.kind() {
                    // An id that no key can have is no key.
                    ErrorKind::NotFound(Entity::AccessKey) | ErrorKind::Invalid => Ok(None),
                    _ => Err(fault::meta(error)),
                },
            }
        })
    }
}
