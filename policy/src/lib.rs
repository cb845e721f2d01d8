//! Who may do what: AWS's policy language, ACLs and public access blocks.
//!
//! Pure: a decision is a function of the policies and of what is known of the request. There is no clock here;
//! `aws:CurrentTime` is a value of the [`Context`] like all others. Policies are parsed strictly when they are put
//! ([`Policy::parse`]); then [`evaluate`] says whether one request is allowed and which statement decided.

#![forbid(unsafe_code)]

mod acl;
mod arn;
mod condition;
mod context;
mod error;
mod evaluate;
pub mod findings;
mod json;
mod keys;
pub mod limits;
mod operations;
mod operator;
mod parse;
mod parse_statement;
mod policy;
mod principal;
mod public;
mod s3_actions;
mod template;
mod value;
mod wildcard;

pub use acl::{Acl, AclPermission, CannedAcl, Grant, Grantee, ObjectOwnership};
pub use context::Context;
pub use error::{Error, ErrorKind, Result};
pub use evaluate::{
    Acls, At, Attached, Decision, Layer, Policies, Reason, Request, ResourcePolicy, evaluate,
};
pub use operations::{Facts, Need, On, Operation, When, render_permissions};
pub use parse::counted_chars;
pub use policy::{Effect, Kind, Policy, Statement};
pub use principal::{Caller, PrincipalName, Principals};
pub use public::PublicAccessBlock;
pub use s3_actions::{ResourceType, resource_type};
