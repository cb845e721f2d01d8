//! The control plane: a pure state machine behind openraft, kept in sled, and the admin API.

pub mod acl;
pub mod admin;
pub mod audit;
pub mod check;
#[macro_use]
pub mod client;
pub mod command;
pub mod error;
pub mod event;
#[doc(hidden)]
pub mod fuzz;
pub mod identity;
pub mod identity_command;
pub mod identity_details;
pub mod key_use;
pub mod known;
pub mod lifecycle;
pub mod limits;
pub mod metrics;
pub mod node;
pub mod object;
pub mod planner;
pub mod query;
pub mod quota;
mod raft;
pub mod record;
mod remote;
pub mod sealing;
pub mod setting;
pub mod state;
pub mod wire;

pub use client::Client;
pub use error::{ErrorKind, MetaError};
pub use node::{MetaConfig, MetaNode};

#[cfg(test)]
mod linear;
#[cfg(test)]
mod linear_test;
