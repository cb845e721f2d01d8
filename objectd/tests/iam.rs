//! What attackers send to IAM and STS: rows 2, 4, 5, 8, 11, 14 and 26 of the table of hostile input, on a service whose
//! signature covers the body. Nothing that is refused is done.

#[path = "support/store.rs"]
mod store;
mod support;

use meta::Client as MetaClient;
use meta::identity::IdentityKind;
use objectd::auth::seal::Sealer;
use objectd::auth::session::{Origin, Session};
use rt::clock::{Clock, SystemClock};
use rt::rng::SystemRng;
use store::{REGION, SECRET, Store, TOKEN};
use support::{Call, Client, Payload, Response, Signing};

const ROOT: &str = "AKIAROOT";

struct World {
    store: Store,
    meta: MetaClient,
    iam: Client,
    sts: Client,
}

impl World {
    async fn start() -> World {
        let store = Store::start().await;
        let meta = store.meta.client();
        meta.put_access_key(store::key_of("root", ROOT)).await.expect("the root's key");
        let of = |service: &str| client(&store, service, ROOT, SECRET);
        let (iam, sts) = (of("iam"), of("sts"));
        World { store, meta, iam, sts }
    }

    async fn users(&self) -> Vec<String> {
        let kind = (IdentityKind::User, "000000000000");
        let page = self.meta.identities(kind, "/", None, 1000).await.expect("users");
        page.identities.into_iter().map(|user| user.of.name).collect()
    }

    /// Sends a form to IAM.
    async fn call(&self, form: &str) -> Response {
        self.iam.call(&form_call(form)).await
    }
}

fn client(store: &Store, service: &str, id: &str, secret: &str) -> Client {
    Client { service: service.into(), ..Client::new(store.addr(), id, secret, REGION) }
}

fn form_call(form: &str) -> Call {
    let kind = ("content-type".to_owned(), "application/x-www-form-urlencoded; charset=utf-8".to_owned());
    Call { method: "POST", headers: vec![kind], body: form.into(), ..Call::default() }
}

fn create(user: &str) -> String {
    format!("Action=CreateUser&Version=2010-05-08&UserName={user}")
}

const WHO: &str = "Action=GetCallerIdentity&Version=2011-06-15";

#[track_caller]
fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{}", response.text());
    assert!(response.text().contains("<ErrorResponse "), "{}", response.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signature_is_for_one_service_one_body_and_one_time() {
    let w = World::start().await;
    assert_eq!(w.call(&create("right")).await.status, 200);
    // Of another service: here, there, and of the two that live here.
    let s3 = client(&w.store, "s3", ROOT, SECRET);
    refused(&s3.call(&form_call(&create("a"))).await, 403, "SignatureDoesNotMatch");
    refused(&w.sts.call(&form_call(&create("a"))).await, 403, "SignatureDoesNotMatch");
    refused(&w.call(WHO).await, 403, "SignatureDoesNotMatch");
    assert_eq!(w.sts.call(&form_call(WHO)).await.status, 200);
    for method in ["GET", "PUT"] {
        let call = Call { method, target: "/bucket".into(), ..Call::default() };
        let answer = w.iam.call(&call).await;
        assert_eq!((answer.status, answer.code().as_str()), (403, "AuthorizationHeaderMalformed"));
    }
    // Another body than the one that was signed, whatever the header says of it.
    for payload in [Payload::Sha256, Payload::Unsigned] {
        let signed = w.iam.prepare(&Call { payload, ..form_call(&create("a")) });
        let mut sent = signed.clone();
        sent.body = create("b").into();
        let answer = w.iam.send(&sent).await;
        assert_eq!(answer.status, 403, "{}", answer.text());
    }
    let unsigned = Call { payload: Payload::Unsigned, ..form_call(&create("a")) };
    refused(&w.iam.call(&unsigned).await, 403, "SignatureDoesNotMatch");
    // In the query, by nobody, by a stranger, at another time, with another secret.
    let presigned = Call { signing: Signing::Query(60), ..form_call(&create("a")) };
    assert!(w.iam.call(&presigned).await.status >= 400);
    let nobody = Call { signing: Signing::Anonymous, ..form_call(&create("a")) };
    refused(&w.iam.call(&nobody).await, 403, "MissingAuthenticationToken");
    let stranger = client(&w.store, "iam", "AKIASTRANGER", SECRET);
    refused(&stranger.call(&form_call(&create("a"))).await, 403, "InvalidClientTokenId");
    let wrong = client(&w.store, "iam", ROOT, "wrong");
    refused(&wrong.call(&form_call(&create("a"))).await, 403, "SignatureDoesNotMatch");
    for off in [-16 * 60, 16 * 60] {
        let late = Call { clock_off_s: off, ..form_call(&create("a")) };
        refused(&w.iam.call(&late).await, 403, "SignatureDoesNotMatch");
    }
    let skewed = Call { clock_off_s: 14 * 60, ..form_call(&create("skewed")) };
    assert_eq!(w.iam.call(&skewed).await.status, 200);
    // Added after the signature.
    let mut added = w.iam.prepare(&form_call(&create("a")));
    added.headers.push(("x-amz-security-token".into(), "t".into()));
    assert_eq!(w.iam.send(&added).await.status, 403);
    assert_eq!(w.users().await, ["right", "skewed"]);
    // No form, or not to the service itself: nothing of IAM's.
    let typed =
        Call { headers: vec![("content-type".into(), "text/plain".into())], ..form_call(&create("a")) };
    assert_eq!(w.iam.call(&typed).await.code(), "AuthorizationHeaderMalformed");
    let elsewhere = Call { target: "/bucket".into(), ..form_call(&create("a")) };
    assert_eq!(w.iam.call(&elsewhere).await.code(), "AuthorizationHeaderMalformed");
    assert_eq!(w.users().await, ["right", "skewed"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_are_bounded_and_read_in_one_way() {
    let w = World::start().await;
    let many: String = (0..130).map(|n| format!("&a{n}=b")).collect();
    for (form, code) in [
        (format!("{}&UserName=b", create("a")), "InvalidArgument"),
        (format!("{}&username=b", create("a")), "InvalidArgument"),
        (format!("{}{many}", create("a")), "InvalidArgument"),
        (create("%"), "MalformedQueryString"),
        (create("%ff"), "MalformedQueryString"),
        (create(""), "ValidationError"),
        (create("a%00b"), "ValidationError"),
        (create("a%0d%0ab"), "ValidationError"),
        (create("%3Cx%3E"), "ValidationError"),
        (create("..%2Fa"), "ValidationError"),
        (create(&"a".repeat(129)), "ValidationError"),
        (format!("{}&Path=nowhere", create("a")), "ValidationError"),
        (format!("{}&PermissionsBoundary={}", create("a"), "x".repeat(2049)), "ValidationError"),
        (format!("{}&Tags.member.2.Key=a", create("a")), "ValidationError"),
        (format!("{}&Tags.member.1.Key=a&Tags.member.1.Other=b", create("a")), "ValidationError"),
        (format!("{}&Tags.member.1.Key=aws:a", create("a")), "InvalidInput"),
        (format!("{}&Tags.member.1.Key=%3Cx%3E", create("a")), "InvalidInput"),
        (format!("{}&Tags.member.1.Key=a&Tags.member.2.Key=A", create("a")), "InvalidInput"),
        (
            "Action=CreateGroup&Version=2010-05-08&GroupName=g&Tags.member.1.Key=a".to_owned(),
            "InvalidParameterValue",
        ),
        ("Action=CreateUser&UserName=a".to_owned(), "InvalidAction"),
        ("Version=2010-05-08&UserName=a".to_owned(), "InvalidAction"),
        ("Action=createuser&Version=2010-05-08&UserName=a".to_owned(), "InvalidAction"),
        ("Action=%3C/Message%3E&Version=2010-05-08".to_owned(), "InvalidAction"),
        (String::new(), "InvalidAction"),
        (format!("{}&x={}", create("a"), "y".repeat(600 << 10)), "MaxMessageLengthExceeded"),
        ("Action=ListUsers&Version=2010-05-08&MaxItems=0".to_owned(), "ValidationError"),
        ("Action=ListUsers&Version=2010-05-08&MaxItems=-1".to_owned(), "ValidationError"),
        ("Action=ListUsers&Version=2010-05-08&MaxItems=18446744073709551616".to_owned(), "ValidationError"),
    ] {
        let answer = w.call(&form).await;
        refused(&answer, 400, code);
        assert!(!answer.text().contains("</Message></Message>") && !answer.text().contains("<x>"));
    }
    assert!(w.users().await.is_empty());
    // Signatures apart, an error does not show what was signed: the form may hold secrets.
    let wrong = client(&w.store, "iam", ROOT, "wrong");
    let answer = wrong.call(&form_call(&create("canary"))).await.text();
    assert!(!answer.contains("canary") && !answer.contains("StringToSign"), "{answer}");
    // Pages.
    for user in ["c", "a", "b"] {
        assert_eq!(w.call(&create(user)).await.status, 200);
    }
    let list = |rest: &str| format!("Action=ListUsers&Version=2010-05-08&MaxItems=2{rest}");
    let first = w.call(&list("")).await;
    assert_eq!(first.element("IsTruncated").as_deref(), Some("true"), "{}", first.text());
    let marker = first.element("Marker").unwrap();
    let second = w.call(&list(&format!("&Marker={marker}"))).await;
    assert_eq!(second.element("UserName").as_deref(), Some("c"), "{}", second.text());
    assert_eq!(second.element("IsTruncated").as_deref(), Some("false"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_raises_itself_nowhere() {
    let w = World::start().await;
    assert_eq!(w.call(&create("alice")).await.status, 200);
    let made = w.call("Action=CreateAccessKey&Version=2010-05-08&UserName=alice").await;
    let (id, secret) = (made.element("AccessKeyId").unwrap(), made.element("SecretAccessKey").unwrap());
    let alice = client(&w.store, "iam", &id, &secret);
    let policy = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%7D";
    let put = format!(
        "Action=PutUserPolicy&Version=2010-05-08&UserName=alice&PolicyName=all&PolicyDocument={policy}"
    );
    let trust = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%22*%22%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%7D";
    // Each call by its name, with parameters that would do: whoever has no policy gets nothing, not even whether
    // what is named exists.
    let calls = [
        create("eve"),
        put.clone(),
        format!("Action=CreateRole&Version=2010-05-08&RoleName=r&AssumeRolePolicyDocument={trust}"),
        format!("Action=CreatePolicy&Version=2010-05-08&PolicyName=p&PolicyDocument={policy}"),
        "Action=CreateGroup&Version=2010-05-08&GroupName=g".to_owned(),
        "Action=AddUserToGroup&Version=2010-05-08&GroupName=g&UserName=alice".to_owned(),
        "Action=AttachUserPolicy&Version=2010-05-08&UserName=alice&PolicyArn=arn:aws:iam::000000000000:policy/p".to_owned(),
        "Action=GetPolicy&Version=2010-05-08&PolicyArn=arn:aws:iam::000000000000:policy/p".to_owned(),
        "Action=DeleteUser&Version=2010-05-08&UserName=alice".to_owned(),
        "Action=GetUser&Version=2010-05-08".to_owned(),
        "Action=GetUser&Version=2010-05-08&UserName=nobody".to_owned(),
        "Action=ListRoles&Version=2010-05-08".to_owned(),
        "Action=CreateAccessKey&Version=2010-05-08".to_owned(),
        "Action=UpdateAccessKey&Version=2010-05-08&AccessKeyId=AKIAROOT&Status=Inactive".to_owned(),
        "Action=DeleteAccessKey&Version=2010-05-08&UserName=alice&AccessKeyId=AKIAROOT".to_owned(),
    ];
    for call in &calls {
        refused(&alice.call(&form_call(call)).await, 403, "AccessDenied");
    }
    assert_eq!(w.users().await, ["alice"]);
    // With all rights in its account, it has none in another's, and can't take another's key.
    assert_eq!(w.call(&put).await.status, 200);
    let steal = |id: &str| {
        form_call(&format!("Action=DeleteAccessKey&Version=2010-05-08&UserName=alice&AccessKeyId={id}"))
    };
    refused(&alice.call(&steal(ROOT)).await, 404, "NoSuchEntity");
    let foreign = "Action=GetPolicy&Version=2010-05-08&PolicyArn=arn:aws:iam::111122223333:policy/p";
    refused(&alice.call(&form_call(foreign)).await, 404, "NoSuchEntity");
    // A root assumes nothing, and a role that is not there is denied like one that may not be assumed.
    let assume =
        "Action=AssumeRole&Version=2011-06-15&RoleSessionName=one&RoleArn=arn:aws:iam::000000000000:role/r";
    refused(&w.sts.call(&form_call(assume)).await, 403, "AccessDenied");
    let role = format!("Action=CreateRole&Version=2010-05-08&RoleName=r&AssumeRolePolicyDocument={trust}");
    assert_eq!(w.call(&role).await.status, 200);
    refused(&w.sts.call(&form_call(assume)).await, 403, "AccessDenied");
    let alice_sts = client(&w.store, "sts", &id, &secret);
    let session = alice_sts.call(&form_call(assume)).await;
    assert_eq!(session.status, 200, "{}", session.text());
    // A Deny of the role's trust wins over all rights.
    let deny = trust.replace("Allow", "Deny");
    let update = format!("Action=UpdateAssumeRolePolicy&Version=2010-05-08&RoleName=r&PolicyDocument={deny}");
    assert_eq!(w.call(&update).await.status, 200);
    refused(&alice_sts.call(&form_call(assume)).await, 403, "AccessDenied");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_ends_with_its_time_and_its_origin() {
    let w = World::start().await;
    let now_ms = SystemClock.wall().0;
    let session = |pool: &objectd::auth::seal::Sealer, expires_ms: u64, origin: Origin| {
        let session = Session {
            key_id: "ASIATEMPORARY".into(),
            secret: "temporary".into(),
            account: "000000000000".into(),
            origin,
            issued_ms: now_ms - 1000,
            expires_ms,
            policies: vec![],
        };
        session.token(pool, &mut SystemRng)
    };
    let key = |id: &str, holder: &str| Origin::Key { id: id.into(), holder: holder.into() };
    let sealer = Sealer::new(&TOKEN);
    let s3 = client(&w.store, "s3", "ASIATEMPORARY", "temporary");
    let list = async |token: &str| {
        let headers = vec![("x-amz-security-token".to_owned(), token.to_owned())];
        s3.call(&Call { headers, ..Call::default() }).await
    };
    let root = || key(ROOT, "000000000000");
    let answer = list(&session(&sealer, now_ms + 60_000, root())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let expired = list(&session(&sealer, now_ms, root())).await;
    assert_eq!((expired.status, expired.code().as_str()), (400, "ExpiredToken"));
    // Sealed by somebody else; of a key that is not there, or is another's.
    let forged = Sealer::new(&proto::control::PoolToken([8; 32]));
    let forged = list(&session(&forged, now_ms + 60_000, root())).await;
    assert_eq!((forged.status, forged.code().as_str()), (400, "InvalidToken"));
    for origin in [
        key("AKIANOBODY", "000000000000"),
        key(ROOT, "AIDASOMEBODY"),
        Origin::Role { name: "r".into(), id: "AROA".into(), session: "s".into() },
    ] {
        let gone = list(&session(&sealer, now_ms + 60_000, origin)).await;
        assert_eq!((gone.status, gone.code().as_str()), (403, "InvalidAccessKeyId"));
    }
    // The same at IAM's door, in IAM's words.
    let headers = |token: String| {
        let mut call = form_call(WHO);
        call.headers.push(("x-amz-security-token".to_owned(), token));
        call
    };
    let sts = client(&w.store, "sts", "ASIATEMPORARY", "temporary");
    let answer = sts.call(&headers(session(&sealer, now_ms + 60_000, root()))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    refused(&sts.call(&headers(session(&sealer, now_ms, root()))).await, 403, "ExpiredToken");
    refused(&sts.call(&headers("x".into())).await, 403, "InvalidClientTokenId");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_gets_a_name_does_not_get_what_was_given_to_it() {
    let w = World::start().await;
    let s3 = client(&w.store, "s3", ROOT, SECRET);
    assert_eq!(s3.put("/bucket", b"").await.status, 200);
    assert_eq!(s3.put("/bucket/a", b"a").await.status, 200);
    let user = async || {
        assert_eq!(w.call(&create("alice")).await.status, 200);
        let made = w.call("Action=CreateAccessKey&Version=2010-05-08&UserName=alice").await;
        (made.element("AccessKeyId").unwrap(), made.element("SecretAccessKey").unwrap())
    };
    let (id, secret) = user().await;
    let arn = "arn:aws:iam::000000000000:user/alice";
    let policy = format!(
        r#"{{"Statement": [{{"Effect": "Allow", "Principal": {{"AWS": "{arn}"}}, "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::bucket/*"}}]}}"#
    );
    let put = async || assert_eq!(s3.put("/bucket?policy", policy.as_bytes()).await.status, 204);
    put().await;
    let trust = "%7B%22Statement%22%3A%7B%22Effect%22%3A%22Allow%22%2C%22Principal%22%3A%7B%22AWS%22%3A%22arn%3Aaws%3Aiam%3A%3A000000000000%3Auser%2Falice%22%7D%2C%22Action%22%3A%22sts%3AAssumeRole%22%7D%7D";
    let role = format!("Action=CreateRole&Version=2010-05-08&RoleName=r&AssumeRolePolicyDocument={trust}");
    assert_eq!(w.call(&role).await.status, 200);
    let assume =
        "Action=AssumeRole&Version=2011-06-15&RoleSessionName=one&RoleArn=arn:aws:iam::000000000000:role/r";
    let may = async |id: &str, secret: &str| {
        let get = client(&w.store, "s3", id, secret).get("/bucket/a").await.status;
        (get, client(&w.store, "sts", id, secret).call(&form_call(assume)).await.status)
    };
    assert_eq!(may(&id, &secret).await, (200, 200));
    let delete = format!("Action=DeleteAccessKey&Version=2010-05-08&UserName=alice&AccessKeyId={id}");
    assert_eq!(w.call(&delete).await.status, 200);
    assert_eq!(w.call("Action=DeleteUser&Version=2010-05-08&UserName=alice").await.status, 200);
    // Another of the same name: until whoever owns the bucket and the role says that it is the one.
    let (id, secret) = user().await;
    assert_eq!(may(&id, &secret).await, (403, 403));
    put().await;
    assert_eq!(may(&id, &secret).await, (200, 403));
    let update =
        format!("Action=UpdateAssumeRolePolicy&Version=2010-05-08&RoleName=r&PolicyDocument={trust}");
    assert_eq!(w.call(&update).await.status, 200);
    assert_eq!(may(&id, &secret).await, (200, 200));
}
