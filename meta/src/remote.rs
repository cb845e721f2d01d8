//! The control plane over its admin API: postcard in HTTP bodies, errors as the API's JSON.

use crate::command::{Command, Response};
use crate::error::{ErrorKind, MetaError};
use crate::limits::{MAX_ANSWER_BYTES, MAX_COMMAND_BYTES, REMOTE_TIMEOUT_MS};
use crate::query::{Answer, Query};
use crate::wire::{ErrorBody, POSTCARD};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::time::Duration;

pub(crate) struct Remote {
    http: reqwest::Client,
    url: String,
    token: String,
}

impl Remote {
    pub(crate) fn new(url: &str, token: &str) -> Result<Self, MetaError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_millis(REMOTE_TIMEOUT_MS))
            .no_proxy()
            .build()
            .map_err(|e| {
                MetaError::new(ErrorKind::Unavailable, "can't make an HTTP client").with_source(e)
            })?;
        Ok(Self { http, url: url.trim_end_matches('/').to_owned(), token: token.to_owned() })
    }

    pub(crate) async fn propose(&self, command: &Command) -> Result<Response, MetaError> {
        self.call("/v1/propose", command).await
    }

    pub(crate) async fn query(&self, query: &Query) -> Result<Answer, MetaError> {
        self.call("/v1/query", query).await
    }

    async fn call<Q: Serialize, A: DeserializeOwned>(&self, path: &str, body: &Q) -> Result<A, MetaError> {
        let body = postcard::to_stdvec(body)
            .map_err(|e| MetaError::new(ErrorKind::Invalid, "can't encode the request").with_source(e))?;
        if body.len() > MAX_COMMAND_BYTES {
            return Err(MetaError::new(ErrorKind::Invalid, "the request is too large"));
        }
        let unreachable = |e: reqwest::Error| {
            let message = format!("the control plane at {} does not answer", self.url);
            MetaError::new(ErrorKind::Unavailable, message).with_source(e.without_url())
        };
        let request = self.http.post(format!("{}{path}", self.url)).bearer_auth(&self.token);
        let mut response =
            request.header("content-type", POSTCARD).body(body).send().await.map_err(unreachable)?;
        let ok = response.status().is_success();
        let status = response.status();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if bytes.len() + chunk.len() > MAX_ANSWER_BYTES {
                return Err(MetaError::new(ErrorKind::Corrupt, "the control plane's answer is too large"));
            }
            bytes.extend_from_slice(&chunk);
        }
        if ok {
            return postcard::from_bytes(&bytes).map_err(|e| {
                MetaError::new(ErrorKind::Corrupt, "can't read the control plane's answer").with_source(e)
            });
        }
        match serde_json::from_slice::<ErrorBody>(&bytes) {
            Ok(body) => Err(body.into()),
            Err(_) => {
                Err(MetaError::new(ErrorKind::Unavailable, format!("the control plane answered {status}")))
            }
        }
    }
}
