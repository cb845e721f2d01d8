//! Users with policies of their own, beside the bucket's, in one account and across two: rows 8, 21, 24, 25 and 26
//! of the table of hostile input, and AWS's order of evaluation.

#[path = "support/store.rs"]
mod store;
mod support;

use base64::Engine as _;
use md5::Digest as _;
use meta::Client as MetaClient;
use meta::identity::{AccountRecord, IdentityKey, IdentityKind, IdentityName, IdentityRecord, PolicyText};
use meta::identity_command::IdentityCommand;
use objectd::auth::seal::{Sealer, of_key};
use rt::rng::SystemRng;
use store::{REGION, SECRET, Store, TOKEN};
use support::{Call, Client, Response};

const HOME: &str = "000000000000";
const AWAY: &str = "123456789012";

struct World {
    store: Store,
    meta: MetaClient,
    /// The root of the account that owns the bucket.
    root: Client,
    /// Users of that account and of another.
    alice: Client,
    stranger: Client,
}

impl World {
    async fn start() -> World {
        let store = Store::start().await;
        let meta = store.meta.client();
        meta.put_access_key(store::key_of("root", "AKIAROOT")).await.expect("the root's key");
        let away = AccountRecord { number: AWAY.into(), name: "away".into(), ..AccountRecord::first() };
        change(&meta, IdentityCommand::CreateAccount(away)).await;
        let client = |id: &str| Client::new(store.addr(), id, SECRET, REGION);
        let (root, alice, stranger) = (client("AKIAROOT"), client("AKIAALICE"), client("AKIASTRANGER"));
        for (account, name, id) in [(HOME, "alice", "AKIAALICE"), (AWAY, "stranger", "AKIASTRANGER")] {
            change(&meta, IdentityCommand::CreateIdentity(user(account, name))).await;
            change(&meta, IdentityCommand::CreateIdentityKey(key_of(account, Some(name), id))).await;
        }
        ok(&root.put("/bucket", b"").await);
        for key in ["public/a", "secret/b", "home/alice/c", "home/bob/d"] {
            ok(&root.put(&format!("/bucket/{key}"), key.as_bytes()).await);
        }
        World { store, meta, root, alice, stranger }
    }

    /// The user's one policy; `None` takes it away.
    async fn own(&self, account: &str, name: &str, statements: Option<&str>) {
        let of = named(account, name);
        change(
            &self.meta,
            match statements {
                Some(statements) => {
                    let policy = PolicyText { name: "own".into(), text: policy(statements) };
                    IdentityCommand::PutInlinePolicy { of, policy }
                }
                None => IdentityCommand::DeleteInlinePolicy { of, name: "own".into() },
            },
        )
        .await;
    }

    async fn alice_may(&self, statements: &str) {
        self.own(HOME, "alice", Some(statements)).await;
    }

    async fn bucket_policy(&self, statements: &str) {
        ok(&self.root.put("/bucket?policy", policy(statements).as_bytes()).await);
    }
}

fn named(account: &str, name: &str) -> IdentityName {
    IdentityName { kind: IdentityKind::User, account: account.into(), name: name.into() }
}

fn user(account: &str, name: &str) -> IdentityRecord {
    IdentityRecord {
        of: named(account, name),
        path: "/team/".into(),
        id: format!("AIDA{name}"),
        created_ms: 1,
        inline: vec![],
        attached: vec![],
        keys: vec![],
        groups: vec![],
        role: None,
    }
}

fn key_of(account: &str, user: Option<&str>, id: &str) -> IdentityKey {
    IdentityKey {
        id: id.into(),
        account: account.into(),
        user: user.map(str::to_owned),
        secret: Sealer::new(&TOKEN).seal(&mut SystemRng, &of_key(id), SECRET),
        active: true,
        created_ms: 1,
    }
}

async fn change(meta: &MetaClient, command: IdentityCommand) {
    meta.change_identity(command).await.expect("a change that is right");
}

fn policy(statements: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)
}

fn statement(effect: &str, action: &str, resource: &str) -> String {
    format!(r#"{{"Effect": "{effect}", "Action": "{action}", "Resource": "{resource}"}}"#)
}

fn by(effect: &str, principal: &str, action: &str, resource: &str) -> String {
    statement(effect, action, resource).replacen(
        '{',
        &format!(r#"{{"Principal": {{"AWS": "{principal}"}}, "#),
        1,
    )
}

const ALL: &str = "arn:aws:s3:::bucket/*";

#[track_caller]
fn ok(response: &Response) {
    assert!((200..300).contains(&response.status), "{} {}", response.status, response.text());
}

#[track_caller]
fn denied(response: &Response) {
    assert_eq!((response.status, response.code().as_str()), (403, "AccessDenied"), "{}", response.text());
}

#[track_caller]
fn no_key(response: &Response) {
    let seen = (response.status, response.code());
    assert_eq!(seen, (403, "InvalidAccessKeyId".to_owned()), "{}", response.text());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_may_what_its_policies_say() {
    let w = World::start().await;
    // Nothing, at first.
    for target in ["/", "/bucket", "/bucket/public/a", "/bucket?policy", "/bucket?publicAccessBlock"] {
        denied(&w.alice.get(target).await);
    }
    denied(&w.alice.put("/bucket/new", b"x").await);
    denied(&w.alice.put("/own-bucket", b"").await);
    denied(&w.alice.delete("/bucket").await);
    denied(&w.alice.post("/bucket/new?uploads", b"").await);
    // Only what is allowed, where it is.
    w.alice_may(&statement("Allow", "s3:GetObject", "arn:aws:s3:::bucket/public/*")).await;
    ok(&w.alice.get("/bucket/public/a").await);
    denied(&w.alice.get("/bucket/secret/b").await);
    denied(&w.alice.get("/bucket/public/missing").await);
    denied(&w.alice.put("/bucket/public/a", b"x").await);
    denied(&w.alice.get("/bucket").await);
    // Its own name.
    let homes = "arn:aws:s3:::bucket/home/${aws:username}/*";
    w.alice_may(&statement("Allow", "s3:*", homes)).await;
    ok(&w.alice.put("/bucket/home/alice/new", b"x").await);
    denied(&w.alice.get("/bucket/home/bob/d").await);
    // A copy needs its source too (row 24).
    let copy = |source: &str| Call {
        method: "PUT",
        target: "/bucket/home/alice/copy".into(),
        headers: vec![("x-amz-copy-source".into(), source.into())],
        ..Call::default()
    };
    denied(&w.alice.call(&copy("/bucket/secret/b")).await);
    ok(&w.alice.call(&copy("/bucket/home/alice/c")).await);
    // Each key of a deletion is judged by itself.
    let body =
        b"<Delete><Object><Key>home/alice/copy</Key></Object><Object><Key>secret/b</Key></Object></Delete>";
    let md5 = base64::engine::general_purpose::STANDARD.encode(md5::Md5::digest(body));
    let call = Call {
        method: "POST",
        target: "/bucket?delete".into(),
        headers: vec![("content-md5".into(), md5)],
        body: body.to_vec(),
        ..Call::default()
    };
    let answer = w.alice.call(&call).await;
    ok(&answer);
    assert!(answer.text().contains("<Deleted><Key>home/alice/copy</Key></Deleted>"), "{}", answer.text());
    assert!(answer.text().contains("<Key>secret/b</Key><Code>AccessDenied</Code>"), "{}", answer.text());
    ok(&w.root.get("/bucket/secret/b").await);
    // Who made a bucket is its account.
    w.alice_may(r#"{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}"#).await;
    ok(&w.alice.put("/own-bucket", b"").await);
    assert!(w.root.get("/").await.text().contains("own-bucket"));
    assert!(w.alice.get("/").await.text().contains("own-bucket"));
    // A condition that doesn't hold gives nothing.
    let conditional = |key: &str, value: &str| {
        format!(
            r#"{{"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*",
                "Condition": {{"StringEquals": {{"{key}": "{value}"}}}}}}"#
        )
    };
    for (key, right) in [
        ("aws:username", "alice"),
        ("aws:userid", "AIDAalice"),
        ("aws:PrincipalAccount", HOME),
        ("aws:PrincipalArn", "arn:aws:iam::000000000000:user/team/alice"),
        ("aws:PrincipalType", "User"),
        ("s3:ResourceAccount", HOME),
    ] {
        w.alice_may(&conditional(key, right)).await;
        ok(&w.alice.get("/bucket/secret/b").await);
        w.alice_may(&conditional(key, &format!("{right}x"))).await;
        denied(&w.alice.get("/bucket/secret/b").await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deny_anywhere_wins_and_the_unreadable_denies() {
    let w = World::start().await;
    let arn = "arn:aws:iam::000000000000:user/team/alice";
    let get = async || w.alice.get("/bucket/public/a").await;
    // In one account either side is enough.
    w.bucket_policy(&by("Allow", arn, "s3:GetObject", ALL)).await;
    ok(&get().await);
    // To name the account leaves it to the account.
    w.bucket_policy(&by("Allow", HOME, "s3:GetObject", ALL)).await;
    denied(&get().await);
    w.alice_may(&statement("Allow", "s3:GetObject", ALL)).await;
    ok(&get().await);
    // A Deny of the bucket stops what the identity allows, and the other way round.
    w.bucket_policy(&by("Deny", arn, "s3:GetObject", "arn:aws:s3:::bucket/public/*")).await;
    denied(&get().await);
    ok(&w.alice.get("/bucket/secret/b").await);
    ok(&w.root.get("/bucket/public/a").await);
    w.bucket_policy(&by("Allow", arn, "s3:*", ALL)).await;
    w.alice_may(&statement("Deny", "s3:GetObject", "arn:aws:s3:::bucket/public/*")).await;
    denied(&get().await);
    ok(&w.alice.get("/bucket/secret/b").await);
    // Deny only is never allow.
    ok(&w.root.delete("/bucket?policy").await);
    denied(&w.alice.get("/bucket/secret/b").await);
    // What can't be read denies, though another policy and the bucket's allow.
    w.bucket_policy(&by("Allow", arn, "s3:*", ALL)).await;
    let broken = PolicyText { name: "broken".into(), text: "{}".into() };
    let put = IdentityCommand::PutInlinePolicy { of: named(HOME, "alice"), policy: broken };
    w.alice_may(&statement("Allow", "s3:*", ALL)).await;
    ok(&get().await);
    change(&w.meta, put).await;
    denied(&get().await);
    // Nobody is named who doesn't exist.
    for nobody in ["arn:aws:iam::000000000000:user/alice", "arn:aws:iam::000000000000:role/r", "999999999999"]
    {
        let put = w.root.put("/bucket?policy", policy(&by("Allow", nobody, "s3:*", ALL)).as_bytes()).await;
        assert_eq!((put.status, put.code().as_str()), (400, "MalformedPolicy"), "{nobody}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn across_accounts_both_sides_must_allow() {
    let w = World::start().await;
    let arn = "arn:aws:iam::123456789012:user/team/stranger";
    let get = async || w.stranger.get("/bucket/public/a").await;
    let own = statement("Allow", "s3:*", "*");
    denied(&get().await);
    w.own(AWAY, "stranger", Some(&own)).await;
    denied(&get().await);
    for principal in [AWAY, "arn:aws:iam::123456789012:root", arn] {
        w.own(AWAY, "stranger", Some(&own)).await;
        w.bucket_policy(&by("Allow", principal, "s3:GetObject", ALL)).await;
        ok(&get().await);
        denied(&w.stranger.put("/bucket/public/a", b"x").await);
        w.own(AWAY, "stranger", None).await;
        denied(&get().await);
    }
    // The owner's own: whatever the bucket's policy gives away.
    w.own(AWAY, "stranger", Some(&own)).await;
    let all = by("Allow", arn, "s3:*", "arn:aws:s3:::bucket");
    w.bucket_policy(&all).await;
    let policy_put = w.stranger.put("/bucket?policy", policy(&all).as_bytes()).await;
    assert_eq!(policy_put.status, 405, "{}", policy_put.text());
    denied(&w.stranger.delete("/bucket?publicAccessBlock").await);
    ok(&w.stranger.get("/bucket?publicAccessBlock").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revoked_is_revoked_at_the_next_request() {
    let w = World::start().await;
    let get = async || w.alice.get("/bucket/public/a").await;
    let account = || HOME.to_owned();
    let user = || Some("alice".to_owned());
    for _ in 0..5 {
        w.alice_may(&statement("Allow", "s3:GetObject", ALL)).await;
        ok(&get().await);
        w.own(HOME, "alice", None).await;
        denied(&get().await);
    }
    // Of a group.
    let group = IdentityName { kind: IdentityKind::Group, ..named(HOME, "readers") };
    let record = IdentityRecord { of: group.clone(), ..self::user(HOME, "readers") };
    change(&w.meta, IdentityCommand::CreateIdentity(record)).await;
    let allow = PolicyText { name: "p".into(), text: policy(&statement("Allow", "s3:GetObject", ALL)) };
    change(&w.meta, IdentityCommand::PutInlinePolicy { of: group.clone(), policy: allow }).await;
    denied(&get().await);
    for member in [true, false, true] {
        change(&w.meta, IdentityCommand::SetMember { group: group.clone(), user: "alice".into(), member })
            .await;
        let answer = get().await;
        if member { ok(&answer) } else { denied(&answer) }
    }
    // Of the key.
    let id = || "AKIAALICE".to_owned();
    let active =
        |active| IdentityCommand::SetIdentityKeyActive { account: account(), user: user(), id: id(), active };
    change(&w.meta, active(false)).await;
    no_key(&get().await);
    change(&w.meta, active(true)).await;
    ok(&get().await);
    change(&w.meta, IdentityCommand::DeleteIdentityKey { account: account(), user: user(), id: id() }).await;
    no_key(&get().await);
    // A sealed secret works for its own key only, and is nowhere in the control plane's files.
    let mut moved = key_of(HOME, Some("alice"), "AKIAOTHER");
    moved.id = "AKIAMOVED".into();
    change(&w.meta, IdentityCommand::CreateIdentityKey(moved)).await;
    let stolen = Client::new(w.store.addr(), "AKIAMOVED", SECRET, REGION);
    assert_eq!(stolen.get("/bucket/public/a").await.status, 500);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_accounts_block_holds_beside_the_buckets() {
    const PATH: &str = "/v20180820/configuration/publicAccessBlock";
    let w = World::start().await;
    let send = async |client: &Client, method: &'static str, account: &str, body: &str| {
        let headers = vec![("x-amz-account-id".to_owned(), account.to_owned())];
        let call = Call { method, target: PATH.into(), headers, body: body.into(), ..Call::default() };
        client.call(&call).await
    };
    let block = |on: &str| {
        format!("<PublicAccessBlockConfiguration><{on}>true</{on}></PublicAccessBlockConfiguration>")
    };
    let public = async || {
        let signing = support::Signing::Anonymous;
        let call = Call { method: "GET", target: "/bucket/public/a".into(), signing, ..Call::default() };
        w.root.call(&call).await
    };
    let everyone = r#"{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::bucket/*"}"#;
    ok(&w.root.delete("/bucket?publicAccessBlock").await);
    w.bucket_policy(everyone).await;
    ok(&public().await);
    let none = send(&w.root, "GET", HOME, "").await;
    assert_eq!((none.status, none.code().as_str()), (404, "NoSuchPublicAccessBlockConfiguration"));
    // Another's account is nobody's business.
    denied(&send(&w.root, "PUT", AWAY, &block("BlockPublicPolicy")).await);
    denied(&send(&w.alice, "PUT", HOME, &block("BlockPublicPolicy")).await);
    ok(&send(&w.root, "PUT", HOME, &block("RestrictPublicBuckets")).await);
    denied(&public().await);
    let shown = send(&w.root, "GET", HOME, "").await;
    assert_eq!(shown.element("RestrictPublicBuckets").as_deref(), Some("true"));
    assert_eq!(shown.element("BlockPublicPolicy").as_deref(), Some("false"));
    w.bucket_policy(everyone).await;
    ok(&send(&w.root, "PUT", HOME, &block("BlockPublicPolicy")).await);
    ok(&public().await);
    denied(&w.root.put("/bucket?policy", policy(everyone).as_bytes()).await);
    w.alice_may(&statement("Allow", "s3:PutAccountPublicAccessBlock", "*")).await;
    denied(&send(&w.alice, "GET", HOME, "").await);
    ok(&send(&w.alice, "DELETE", HOME, "").await);
    w.bucket_policy(everyone).await;
    // Without the header it is an object's name like any other.
    ok(&w.root.put("/v20180820", b"").await);
    ok(&w.root.put(PATH, b"an object").await);
    assert_eq!(w.root.get(PATH).await.text(), "an object");
}
