//! Who sends a request: one authenticator, before routing.
//!
//! It looks at nothing but the request's head, takes credentials from exactly one place, and yields one
//! [`Principal`] and the way the body must be read and verified. It knows no bucket, key or operation, so no
//! operation can be reached around it, whatever its payload mode.
//!
//! Source: S3 API reference, "Authenticating Requests (AWS Signature Version 4)".

mod authenticator;
mod canonical;
mod chunk_signer;
mod credentials;
mod holder;
mod keys;
pub mod mint;
mod scope;
pub mod seal;
pub mod session;
mod timestamp;
pub mod uri;

pub use authenticator::{Authenticated, Authenticator, Principal, Signature};
pub use chunk_signer::ChunkSigner;
pub use credentials::SignedForm;
pub(crate) use credentials::single_header;
pub use holder::{Holder, Temporary, Who};
pub use keys::{KeyFuture, KeyRecord, KeyStatus, KeyStore, Secret};

#[cfg(test)]
mod aws_examples_test;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod verify_test;
