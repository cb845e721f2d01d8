//! The public access block of an account, which holds for all its buckets beside each one's own.
//!
//! Source: S3 Control API reference, PutPublicAccessBlock, GetPublicAccessBlock and DeletePublicAccessBlock.

use super::access::{parse_block, write_block};
use crate::answer;
use crate::auth::Principal;
use crate::error::{S3Code, S3Error, S3Result};
use crate::fault;
use crate::gateway::Shared;
use crate::limits::MAX_XML_BYTES;
use crate::operation::ACCOUNT_ID;
use crate::service::S3Request;
use axum::body::Body;
use http::{Response, StatusCode};
use meta::error::{Entity, ErrorKind, MetaError};
use meta::identity_command::IdentityCommand;
use meta::object::BlockPublicAccess;

/// The caller's account, which must be the one that the request names.
fn account(request: &S3Request) -> S3Result<String> {
    let denied = || S3Error::new(S3Code::AccessDenied);
    let Principal::Key { holder, .. } = &request.principal else { return Err(denied()) };
    match request.header(ACCOUNT_ID)? {
        Some(named) if named == holder.account => Ok(holder.account.clone()),
        _ => Err(denied()),
    }
}

pub async fn put_block(shared: &Shared, request: S3Request) -> S3Result<Response<Body>> {
    let account = account(&request)?;
    let body = request.document(MAX_XML_BYTES).await?;
    set(shared, account, Some(parse_block(&body)?)).await?;
    Ok(answer::empty(StatusCode::OK))
}

pub async fn block(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    let account = account(request)?;
    let kept = shared.meta.account(&account).await.map_err(no_account)?.block;
    let missing = || {
        let error = S3Error::new(S3Code::NoSuchPublicAccessBlockConfiguration);
        error.extra("AccountId", account.as_str())
    };
    Ok(write_block(kept.ok_or_else(missing)?))
}

pub async fn delete_block(shared: &Shared, request: &S3Request) -> S3Result<Response<Body>> {
    set(shared, account(request)?, None).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

async fn set(shared: &Shared, account: String, block: Option<BlockPublicAccess>) -> S3Result<()> {
    let command = IdentityCommand::PutAccountBlock { account, block };
    shared.meta.change_identity(command).await.map_err(no_account)
}

/// An owner that was never made an account has no settings.
fn no_account(error: MetaError) -> S3Error {
    match error.kind() {
        ErrorKind::NotFound(Entity::Account) => fault::no_account(S3Code::InvalidRequest, error),
        _ => fault::meta(error),
    }
}
