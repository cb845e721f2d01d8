//! Somebody with a key, who calls IAM, STS and S3.

use crate::store::{self, REGION, SECRET, Store};
use crate::support::{Call, Client, Response};
use objectd::auth::uri::uri_encode;

/// Somebody with a key.
#[derive(Clone)]
pub struct Who<'a> {
    pub store: &'a Store,
    pub id: String,
    pub secret: String,
    pub token: Option<String>,
}

impl<'a> Who<'a> {
    pub async fn root(store: &'a Store) -> Who<'a> {
        store.meta.client().put_access_key(store::key_of("root", "AKIAROOT")).await.expect("the root's key");
        let root = Who { store, id: "AKIAROOT".into(), secret: SECRET.into(), token: None };
        root.s3("PUT", "/bucket").await;
        root.s3("PUT", "/bucket/a").await;
        root
    }

    pub async fn send(&self, service: &str, mut call: Call) -> Response {
        let client = Client::new(self.store.addr(), &self.id, &self.secret, REGION);
        let client = Client { service: service.into(), ..client };
        call.headers.extend(self.token.clone().map(|token| ("x-amz-security-token".to_owned(), token)));
        client.call(&call).await
    }

    pub async fn s3(&self, method: &'static str, target: &str) -> Response {
        self.send("s3", Call { method, target: target.into(), ..Call::default() }).await
    }

    pub async fn form(&self, service: &str, version: &str, action: &str, given: &[(&str, &str)]) -> Response {
        let mut form = format!("Action={action}&Version={version}");
        for (name, value) in given {
            form.push_str(&format!("&{name}={}", uri_encode(value.as_bytes(), false)));
        }
        let kind = ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned());
        let call = Call { method: "POST", headers: vec![kind], body: form.into(), ..Call::default() };
        self.send(service, call).await
    }

    pub async fn iam(&self, action: &str, given: &[(&str, &str)]) -> Response {
        self.form("iam", "2010-05-08", action, given).await
    }

    pub async fn sts(&self, action: &str, given: &[(&str, &str)]) -> Response {
        self.form("sts", "2011-06-15", action, given).await
    }

    /// A call that works.
    #[track_caller]
    pub fn does<'b>(
        &'b self,
        action: &'b str,
        given: &'b [(&'b str, &'b str)],
    ) -> impl Future<Output = Response> + use<'b, 'a> {
        let caller = std::panic::Location::caller();
        async move {
            let answer = self.iam(action, given).await;
            assert_eq!(answer.status, 200, "{action} at {caller}: {}", answer.text());
            answer
        }
    }

    /// Another with what is in an answer.
    pub fn with(&self, answer: &Response) -> Who<'a> {
        let get = |name: &str| answer.element(name).unwrap_or_else(|| panic!("{}", answer.text()));
        Who {
            store: self.store,
            id: get("AccessKeyId"),
            secret: get("SecretAccessKey"),
            token: answer.element("SessionToken"),
        }
    }

    pub async fn new_user(&self, name: &str) -> Who<'a> {
        self.does("CreateUser", &[("UserName", name)]).await;
        self.with(&self.does("CreateAccessKey", &[("UserName", name)]).await)
    }

    pub async fn may(&self, user: &str, statements: &str) {
        let text = policy(statements);
        let given = [("UserName", user), ("PolicyName", "own"), ("PolicyDocument", text.as_str())];
        self.does("PutUserPolicy", &given).await;
    }

    /// Makes a managed policy; its ARN.
    pub async fn policy(&self, name: &str, statements: &str) -> String {
        let text = policy(statements);
        let made = self.does("CreatePolicy", &[("PolicyName", name), ("PolicyDocument", &text)]).await;
        made.element("Arn").expect("an ARN")
    }

    pub async fn version(&self, arn: &str, statements: &str, default: &str) -> Response {
        let text = policy(statements);
        let given = [("PolicyArn", arn), ("PolicyDocument", text.as_str()), ("SetAsDefault", default)];
        self.iam("CreatePolicyVersion", &given).await
    }
}

pub fn policy(statements: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)
}
