//! The S3 gateway: objects over HTTP and HTTPS on the control plane's index and an object log on three replicas.
//!
//! A request goes through [`auth`] (who), [`target`] and [`operation`] (what), [`authorize`] (whether), and then
//! one of [`ops`]. Bodies are read by [`payload`] and kept by [`objectlog`].

mod access_log;
pub mod acl;
pub mod annotations;
pub mod answer;
pub mod arrival;
mod audit;
pub mod auth;
pub mod authorize;
pub mod bucket_rules;
pub mod conditional;
mod connections;
pub mod context;
pub mod copy_source;
pub mod cors;
pub mod error;
pub mod events;
pub mod fault;
pub mod gateway;
mod head_guard;
pub mod http_date;
mod iam;
pub mod identity_rules;
pub mod key_use;
mod keystore;
mod lent_body;
pub mod lifecycle;
pub mod limits;
pub mod listing;
pub mod metrics;
pub mod names;
pub mod objectlog;
pub mod operation;
mod ops;
pub mod payload;
pub mod post;
pub mod principals;
pub mod range;
mod room;
pub mod scrub;
mod service;
pub mod sse;
pub mod stored_headers;
pub mod target;
mod tls;
pub mod version;
mod website;
mod write_guard;
pub mod xml;

pub use connections::Listeners;
pub use gateway::{Gateway, GatewayConfig, GatewayHandle};
pub use metrics::Metrics;
pub use tls::{Https, TlsFiles};
