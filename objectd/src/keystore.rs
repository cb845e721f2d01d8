//! Access keys, read from the control plane at every request with what their holders may: a revoked key or policy
//! is refused from the moment its revocation returned, on every gateway. A session's own secret comes with its
//! token; what it was made from is looked up like any key.

use crate::auth::seal::{Sealer, of_key};
use crate::auth::session::{Origin, Session};
use crate::auth::{Holder, KeyFuture, KeyRecord, KeyStatus, KeyStore, Secret, Temporary, Who};
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use meta::client::Client;
use meta::error::{Entity, ErrorKind};
use meta::identity::{IdentityKind, IdentityName, account_of};
use meta::identity_command::{Identified, KnownKey};
use rt::clock::Clock;
use std::sync::Arc;

/// The control plane as the authenticator's key store.
pub struct MetaKeys {
    pub meta: Client,
    pub sealer: Arc<Sealer>,
    pub clock: Arc<dyn Clock>,
}

impl KeyStore for MetaKeys {
    fn key<'a>(&'a self, access_key_id: &'a str, token: Option<&'a str>) -> KeyFuture<'a> {
        Box::pin(async move {
            match token {
                Some(token) => self.session(access_key_id, token).await,
                None => self.lasting(access_key_id).await,
            }
        })
    }
}

impl MetaKeys {
    async fn lasting(&self, access_key_id: &str) -> S3Result<Option<Arc<KeyRecord>>> {
        match self.meta.identify(access_key_id).await {
            Ok(found) => found.made(|found| self.record(found)).map(Some),
            Err(error) => match error.kind() {
                // An id that no key can have is no key.
                ErrorKind::NotFound(Entity::AccessKey) | ErrorKind::Invalid => Ok(None),
                _ => Err(fault::meta(error)),
            },
        }
    }

    fn record(&self, found: &Identified) -> S3Result<KeyRecord> {
        let status = |active| if active { KeyStatus::Active } else { KeyStatus::Disabled };
        let key = match &found.key {
            KnownKey::OfOwner(key) => {
                return Ok(KeyRecord {
                    secret: Secret::new(key.secret.0.as_str()),
                    status: status(key.enabled),
                    holder: Holder::root(&key.owner),
                    owner: key.owner.clone(),
                });
            }
            KnownKey::OfIdentity(key) => key,
        };
        let secret = self.sealer.open(&of_key(&key.id), &key.secret.0).ok_or_else(|| {
            S3Error::internal(format!("the secret of key {} was not sealed with this pool's token", key.id))
        })?;
        let who = match &found.holder {
            Some(user) => Who::User(Arc::new(user.clone())),
            None => Who::Root,
        };
        Ok(KeyRecord {
            secret: Secret::new(secret),
            status: status(key.active),
            owner: account_of(&key.account).to_owned(),
            holder: Holder { account: key.account.clone(), who, temporary: None },
        })
    }

    /// Errors: `InvalidToken` for a token that isn't this key's; `ExpiredToken`.
    async fn session(&self, access_key_id: &str, token: &str) -> S3Result<Option<Arc<KeyRecord>>> {
        let session = Session::open(&self.sealer, token).filter(|session| session.key_id == access_key_id);
        let session = session.ok_or_else(|| S3Error::new(S3Code::InvalidToken))?;
        if self.clock.wall().0 >= session.expires_ms {
            return Err(S3Error::new(S3Code::ExpiredToken));
        }
        let Some(who) = self.origin(&session).await? else { return Ok(None) };
        let temporary = Temporary { issued_ms: session.issued_ms, policies: session.policies };
        Ok(Some(Arc::new(KeyRecord {
            secret: Secret::new(session.secret),
            status: KeyStatus::Active,
            owner: account_of(&session.account).to_owned(),
            holder: Holder { account: session.account, who, temporary: Some(temporary) },
        })))
    }

    /// Who holds this key, if it works and is still of the one with this id.
    async fn key_holder(&self, key: &str, id: &str) -> S3Result<Option<Who>> {
        let key = self.lasting(key).await?.filter(|key| key.status == KeyStatus::Active);
        Ok(key.filter(|key| key.holder.id() == id).map(|key| key.holder.who.clone()))
    }

    /// Whom a session acts for; `None` if what it was made from is gone, or is another of the same name.
    async fn origin(&self, session: &Session) -> S3Result<Option<Who>> {
        match &session.origin {
            Origin::Key { id, holder } => self.key_holder(id, holder).await,
            Origin::Federation { id, holder, name } => Ok(match self.key_holder(id, holder).await? {
                Some(Who::User(user)) => Some(Who::Federated { user, name: name.clone() }),
                _ => None,
            }),
            Origin::Role { name, id, session: session_name } => {
                let of = IdentityName {
                    kind: IdentityKind::Role,
                    account: session.account.clone(),
                    name: name.clone(),
                };
                match self.meta.effective(&of).await {
                    Ok(role) if role.record.id == *id => {
                        Ok(Some(Who::Role { role: Arc::new(role), session: session_name.clone() }))
                    }
                    Ok(_) => Ok(None),
                    Err(error) => match error.kind() {
                        ErrorKind::NotFound(_) => Ok(None),
                        _ => Err(fault::meta(error)),
                    },
                }
            }
        }
    }
}
