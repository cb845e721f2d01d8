//! Access keys, read from the control plane at every request with what their holders may: a revoked key or policy
//! is refused from the moment its revocation returned, on every gateway.

use crate::auth::seal::{Sealer, of_key};
use crate::auth::{Holder, KeyFuture, KeyRecord, KeyStatus, KeyStore, Secret, Who};
use crate::error::{S3Error, S3Result};
use crate::fault;
use meta::client::Client;
use meta::error::{Entity, ErrorKind};
use meta::identity::account_of;
use meta::identity_command::{Identified, KnownKey};
use std::sync::Arc;

/// The control plane as the authenticator's key store.
pub struct MetaKeys {
    pub meta: Client,
    pub sealer: Arc<Sealer>,
}

impl KeyStore for MetaKeys {
    fn key<'a>(&'a self, access_key_id: &'a str) -> KeyFuture<'a> {
        Box::pin(async move {
            match self.meta.identify(access_key_id).await {
                Ok(found) => self.record(found).map(Some),
                Err(error) => match error.kind() {
                    // An id that no key can have is no key.
                    ErrorKind::NotFound(Entity::AccessKey) | ErrorKind::Invalid => Ok(None),
                    _ => Err(fault::meta(error)),
                },
            }
        })
    }
}

impl MetaKeys {
    fn record(&self, found: Identified) -> S3Result<KeyRecord> {
        let status = |active| if active { KeyStatus::Active } else { KeyStatus::Disabled };
        let key = match found.key {
            KnownKey::OfOwner(key) => {
                return Ok(KeyRecord {
                    secret: Secret::new(key.secret.0),
                    status: status(key.enabled),
                    holder: Holder::root(&key.owner),
                    owner: key.owner,
                });
            }
            KnownKey::OfIdentity(key) => key,
        };
        let secret = self.sealer.open(&of_key(&key.id), &key.secret.0).ok_or_else(|| {
            S3Error::internal(format!("the secret of key {} was not sealed with this pool's token", key.id))
        })?;
        let who = match found.holder {
            Some(user) => Who::User(Arc::new(user)),
            None => Who::Root,
        };
        Ok(KeyRecord {
            secret: Secret::new(secret),
            status: status(key.active),
            owner: account_of(&key.account).to_owned(),
            holder: Holder { account: key.account, who, temporary: None },
        })
    }
}
