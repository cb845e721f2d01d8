//! Users, groups, roles and sessions through real `aws iam` and `aws sts`: what each may is denied before it is
//! allowed, and what is revoked at one gateway is revoked at the other.

use crate::awscli::{Aws, aws_program};
use crate::harness::{Store, clean, seed, skip};
use crate::s3_client::runtime;
use serde_json::Value;
use std::time::Duration;
use trial::fleet::{Fleet, Network};

const MINUTE: Duration = Duration::from_secs(60);
const ACCOUNT: &str = "000000000000";

fn policy(statements: &str) -> String {
    format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#)
}

fn allow(action: &str, resource: &str) -> String {
    policy(&format!(r#"{{"Effect": "Allow", "Action": "{action}", "Resource": "{resource}"}}"#))
}

const HEAD: [&str; 6] = ["s3api", "head-object", "--bucket", "shared", "--key", "a"];
const GET_ALL: &str = "arn:aws:s3:::shared/*";

#[test]
fn users_are_made_and_revoked_by_aws_iam() {
    let Some(program) = aws_program() else {
        return skip("users_are_made_and_revoked_by_aws_iam", "aws-cli is not installed");
    };
    let mut store = Store::start("1G");
    let root = Aws::of(program.clone(), &store);
    let who = root.ok(&["sts", "get-caller-identity"]);
    assert_eq!(who["Arn"], format!("arn:aws:iam::{ACCOUNT}:root"));
    assert_eq!((who["Account"].as_str(), who["UserId"].as_str()), (Some(ACCOUNT), Some(ACCOUNT)));
    root.ok(&["s3api", "create-bucket", "--bucket", "shared"]);
    root.ok(&["s3api", "put-object", "--bucket", "shared", "--key", "a"]);

    let made = root.ok(&["iam", "create-user", "--user-name", "alice", "--path", "/ops/"]);
    assert_eq!(made["User"]["Arn"], format!("arn:aws:iam::{ACCOUNT}:user/ops/alice"));
    assert!(made["User"]["UserId"].as_str().unwrap().starts_with("AIDA"));
    root.fails(&["iam", "create-user", "--user-name", "Alice"], "EntityAlreadyExists");
    root.fails(&["iam", "create-user", "--user-name", "a/b"], "ValidationError");
    root.fails(&["iam", "get-user", "--user-name", "bob"], "NoSuchEntity");
    let first = root.new_key("alice");
    let alice = root.with(&first);
    let who = alice.ok(&["sts", "get-caller-identity"]);
    assert_eq!(who["Arn"], made["User"]["Arn"]);
    assert_eq!(who["UserId"], made["User"]["UserId"]);

    // Nothing without a policy, of S3 or of IAM itself; then just what the policy says.
    alice.fails(&HEAD, "403");
    for call in [
        &["iam", "list-users"][..],
        &["iam", "get-user"],
        &["iam", "create-user", "--user-name", "mallory"],
        &["iam", "create-access-key"],
        &["iam", "create-access-key", "--user-name", "nobody"],
        &["iam", "put-user-policy", "--user-name", "alice", "--policy-name", "p", "--policy-document", "{}"],
    ] {
        alice.fails(call, "AccessDenied");
    }
    let put = |name: &str, text: &str| root.put_policy(("user", "alice"), name, text);
    let read = allow("s3:GetObject", GET_ALL);
    put("read", &read).unwrap();
    alice.ok(&HEAD);
    alice.fails(&["s3api", "put-object", "--bucket", "shared", "--key", "a"], "AccessDenied");
    let shown = root.ok(&["iam", "get-user-policy", "--user-name", "alice", "--policy-name", "read"]);
    assert_eq!(shown["PolicyDocument"], serde_json::from_str::<Value>(&read).unwrap());
    let names = root.ok(&["iam", "list-user-policies", "--user-name", "alice"]);
    assert_eq!(names["PolicyNames"], serde_json::json!(["read"]));
    for bad in ["{}", r#"{"Statement": []}"#, &policy(r#"{"Effect": "Allow", "Action": "s3:*"}"#)] {
        assert!(put("bad", bad).unwrap_err().contains("(MalformedPolicyDocument)"), "{bad}");
    }
    let long = allow("s3:GetObject", &format!("arn:aws:s3:::{}", "x".repeat(2100)));
    assert!(put("long", &long).unwrap_err().contains("(LimitExceeded)"));
    // A user may rotate its own key where a policy says so, and nobody else's.
    let own = format!("arn:aws:iam::{ACCOUNT}:user/ops/${{aws:username}}");
    put("own", &allow("iam:*AccessKey*", &own)).unwrap();
    root.ok(&["iam", "create-user", "--user-name", "bob"]);
    alice.fails(&["iam", "create-access-key", "--user-name", "bob"], "AccessDenied");
    let second = alice.ok(&["iam", "create-access-key"])["AccessKey"].clone();
    alice.fails(&["iam", "create-access-key"], "LimitExceeded");
    let keys = alice.ok(&["iam", "list-access-keys"]);
    assert_eq!(keys["AccessKeyMetadata"].as_array().unwrap().len(), 2, "{keys}");
    let rotated = root.with(&second);
    rotated.ok(&HEAD);
    let old = first["AccessKeyId"].as_str().unwrap();
    rotated.ok(&["iam", "update-access-key", "--access-key-id", old, "--status", "Inactive"]);
    alice.fails(&HEAD, "403");
    alice.fails(&["sts", "get-caller-identity"], "InvalidClientTokenId");
    rotated.ok(&["iam", "update-access-key", "--access-key-id", old, "--status", "Active"]);
    alice.ok(&HEAD);
    rotated.ok(&["iam", "delete-access-key", "--access-key-id", old]);
    alice.fails(&HEAD, "403");
    rotated.fails(&["iam", "delete-access-key", "--access-key-id", old], "NoSuchEntity");

    groups_and_managed_policies(&root, &rotated);
    refusals(&root);

    // What was made outlives the process, and the state that is made again from the log.
    store.stop();
    std::fs::remove_dir_all(store.data().join("meta/state")).unwrap();
    store.up();
    let root = Aws::of(program, &store);
    let rotated = root.with(&second);
    rotated.ok(&HEAD);
    let test = ["policy", "test", "--bucket", "shared", "--action", "s3:GetObject", "--resource", GET_ALL];
    let alice_arn = format!("arn:aws:iam::{ACCOUNT}:user/ops/alice");
    let said = store.cli(&[&test[..], &["--principal", &alice_arn]].concat());
    assert!(said.contains("allowed") && said.contains("user/alice/inline/read"), "{said}");
    // Nothing is deleted that something hangs on.
    root.fails(&["iam", "delete-user", "--user-name", "alice"], "DeleteConflict");
    let last = second["AccessKeyId"].as_str().unwrap();
    root.ok(&["iam", "delete-access-key", "--user-name", "alice", "--access-key-id", last]);
    for name in ["read", "own"] {
        root.ok(&["iam", "delete-user-policy", "--user-name", "alice", "--policy-name", name]);
    }
    root.ok(&["iam", "delete-user", "--user-name", "alice"]);
    root.fails(&["iam", "get-user", "--user-name", "alice"], "NoSuchEntity");
    // The secret is nowhere in the control plane's files; it is sealed there.
    for secret in [&first, &second] {
        let secret = secret["SecretAccessKey"].as_str().unwrap();
        let found = clean("grep").args(["-rqaF", "-e", secret]).arg(store.data()).status().unwrap();
        assert_eq!(found.code(), Some(1), "a secret is kept in clear");
    }
}

fn groups_and_managed_policies(root: &Aws, alice: &Aws) {
    let write = ["s3api", "put-object", "--bucket", "shared", "--key", "b"];
    let made = root.ok(&[
        "iam",
        "create-policy",
        "--policy-name",
        "writers",
        "--policy-document",
        &allow("s3:PutObject", GET_ALL),
    ]);
    let arn = made["Policy"]["Arn"].as_str().unwrap().to_owned();
    assert_eq!(arn, format!("arn:aws:iam::{ACCOUNT}:policy/writers"));
    root.ok(&["iam", "create-group", "--group-name", "writers"]);
    root.ok(&["iam", "attach-group-policy", "--group-name", "writers", "--policy-arn", &arn]);
    alice.fails(&write, "AccessDenied");
    root.ok(&["iam", "add-user-to-group", "--group-name", "writers", "--user-name", "alice"]);
    alice.ok(&write);
    let groups = root.ok(&["iam", "list-groups-for-user", "--user-name", "alice"]);
    assert_eq!(groups["Groups"][0]["GroupName"], "writers");
    let group = root.ok(&["iam", "get-group", "--group-name", "writers"]);
    assert_eq!(group["Users"][0]["UserName"], "alice");
    root.fails(&["iam", "delete-policy", "--policy-arn", &arn], "DeleteConflict");
    root.fails(&["iam", "delete-group", "--group-name", "writers"], "DeleteConflict");
    root.ok(&["iam", "detach-group-policy", "--group-name", "writers", "--policy-arn", &arn]);
    alice.fails(&write, "AccessDenied");
    root.ok(&["iam", "attach-user-policy", "--user-name", "alice", "--policy-arn", &arn]);
    alice.ok(&write);
    let attached = root.ok(&["iam", "list-attached-user-policies", "--user-name", "alice"]);
    assert_eq!(attached["AttachedPolicies"][0]["PolicyArn"], arn);
    let version = ["iam", "get-policy-version", "--policy-arn", &arn, "--version-id", "v1"];
    assert_eq!(root.ok(&version)["PolicyVersion"]["Document"]["Statement"][0]["Action"], "s3:PutObject");
    assert_eq!(root.ok(&["iam", "list-policies", "--scope", "Local"])["Policies"][0]["AttachmentCount"], 1);
    root.ok(&["iam", "detach-user-policy", "--user-name", "alice", "--policy-arn", &arn]);
    alice.fails(&write, "AccessDenied");
    root.ok(&["iam", "remove-user-from-group", "--group-name", "writers", "--user-name", "alice"]);
    root.ok(&["iam", "delete-group", "--group-name", "writers"]);
    root.ok(&["iam", "delete-policy", "--policy-arn", &arn]);
}

fn refusals(root: &Aws) {
    root.fails(&["iam", "create-login-profile", "--user-name", "alice", "--password", "x"], "InvalidAction");
    root.fails(&["sts", "get-access-key-info", "--access-key-id", "AKIAIOSFODNN7EXAMPLE"], "InvalidAction");
    root.fails(&["sts", "get-federation-token", "--name", "abc"], "AccessDenied");
    let first = &root.key.0;
    root.fails(&["iam", "delete-access-key", "--access-key-id", first], "UnmodifiableEntity");
    let wrong = Aws { key: (root.key.0.clone(), "wrong".to_owned()), ..root.clone() };
    wrong.fails(&["sts", "get-caller-identity"], "SignatureDoesNotMatch");
    let nobody = Aws { key: ("AKIANOBODY".to_owned(), "wrong".to_owned()), ..root.clone() };
    nobody.fails(&["iam", "list-users"], "InvalidClientTokenId");
    // Nobody is anonymous here.
    let form = "Action=CreateUser&Version=2010-05-08&UserName=eve";
    let output = clean("curl").args(["--silent", "--data", form, &root.endpoint]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("<Code>MissingAuthenticationToken</Code>"), "{text}");
    root.fails(&["iam", "get-user", "--user-name", "eve"], "NoSuchEntity");
}

#[test]
fn sessions_never_exceed_what_they_were_made_from() {
    let Some(program) = aws_program() else {
        return skip("sessions_never_exceed_what_they_were_made_from", "aws-cli is not installed");
    };
    let store = Store::start("1G");
    let root = Aws::of(program, &store);
    root.ok(&["s3api", "create-bucket", "--bucket", "shared"]);
    root.ok(&["s3api", "put-object", "--bucket", "shared", "--key", "a"]);
    root.ok(&["iam", "create-user", "--user-name", "alice"]);
    let key = root.new_key("alice");
    let alice = root.with(&key);
    let read = allow("s3:GetObject", GET_ALL);
    let put = || root.put_policy(("user", "alice"), "read", &read).unwrap();
    put();

    // GetSessionToken: as the user is, at every moment; and not for IAM.
    let token = ["sts", "get-session-token", "--duration-seconds", "900"];
    let session = root.with(&alice.ok(&token)["Credentials"]);
    session.ok(&HEAD);
    session.fails(&["s3api", "put-object", "--bucket", "shared", "--key", "a"], "AccessDenied");
    session.fails(&["iam", "list-users"], "InvalidClientTokenId");
    session.fails(&token, "AccessDenied");
    assert_eq!(
        session.ok(&["sts", "get-caller-identity"])["Arn"],
        format!("arn:aws:iam::{ACCOUNT}:user/alice")
    );
    let url = session.run(&["s3", "presign", "s3://shared/a"]);
    let status = || {
        let args = ["--silent", "-o", "/dev/null", "-w", "%{http_code}", url.trim()];
        String::from_utf8(clean("curl").args(args).output().unwrap().stdout).unwrap()
    };
    assert_eq!(status(), "200", "{url}");
    // The token of one session with the key of another, no token, a token where none belongs.
    let other = root.with(&alice.ok(&token)["Credentials"]);
    Aws { token: other.token.clone(), ..session.clone() }.fails(&HEAD, "400");
    Aws { token: None, ..session.clone() }.fails(&HEAD, "403");
    Aws { token: session.token.clone(), ..alice.clone() }.fails(&HEAD, "400");
    let mut cut = session.token.clone().unwrap();
    cut.replace_range(8..9, if &cut[8..9] == "A" { "B" } else { "A" });
    Aws { token: Some(cut), ..session.clone() }.fails(&HEAD, "400");
    // With the user's policy, and with its key.
    root.ok(&["iam", "delete-user-policy", "--user-name", "alice", "--policy-name", "read"]);
    session.fails(&HEAD, "403");
    assert_eq!(status(), "403");
    put();
    session.ok(&HEAD);
    let id = key["AccessKeyId"].as_str().unwrap();
    let set = |status: &str| {
        let update = ["iam", "update-access-key", "--user-name", "alice", "--access-key-id", id, "--status"];
        root.ok(&[&update[..], &[status]].concat());
    };
    set("Inactive");
    session.fails(&HEAD, "403");
    set("Active");
    session.ok(&HEAD);

    roles(&root, &alice);
}

fn roles(root: &Aws, alice: &Aws) {
    let arn = format!("arn:aws:iam::{ACCOUNT}:role/reader");
    let trust = |principal: &str, condition: &str| {
        policy(&format!(
            r#"{{"Effect": "Allow", "Principal": {{"AWS": "{principal}"}}, "Action": "sts:AssumeRole", "Condition": {condition}}}"#
        ))
    };
    let nobody = trust(&format!("arn:aws:iam::{ACCOUNT}:user/nobody"), "{}");
    let create = |document: &str| {
        root.attempt(&[
            "iam",
            "create-role",
            "--role-name",
            "reader",
            "--assume-role-policy-document",
            document,
        ])
    };
    assert!(create(&nobody).unwrap_err().contains("(MalformedPolicyDocument)"));
    let account = trust(ACCOUNT, r#"{"StringEquals": {"sts:ExternalId": "a secret word"}}"#);
    create(&account).unwrap();
    root.put_policy(("role", "reader"), "all", &allow("s3:*", "*")).unwrap();
    let assume = ["sts", "assume-role", "--role-arn", &arn, "--role-session-name", "one"];
    let told = [&assume[..], &["--external-id", "a secret word"]].concat();
    // The account is named: it decides by its own policies, which say nothing yet.
    alice.fails(&told, "AccessDenied");
    let allowed = allow("sts:AssumeRole", &arn);
    root.put_policy(("user", "alice"), "assume", &allowed).unwrap();
    alice.fails(&assume, "AccessDenied");
    alice.fails(&[&assume[..], &["--external-id", "another"]].concat(), "AccessDenied");
    root.fails(&told, "AccessDenied");
    let answer = alice.ok(&told);
    let session = root.with(&answer["Credentials"]);
    let who = session.ok(&["sts", "get-caller-identity"]);
    assert_eq!(who["Arn"], format!("arn:aws:sts::{ACCOUNT}:assumed-role/reader/one"));
    let write = ["s3api", "put-object", "--bucket", "shared", "--key", "c"];
    session.ok(&write);
    session.fails(&["iam", "list-users"], "AccessDenied");
    // Limited further, never widened.
    let narrow = allow("*", "arn:aws:s3:::shared/a");
    let limited = [&told[..], &["--policy", &narrow]].concat();
    let limited = root.with(&alice.ok(&limited)["Credentials"]);
    limited.ok(&HEAD);
    limited.fails(&write, "AccessDenied");
    limited.fails(&["iam", "list-users"], "AccessDenied");
    alice.fails(&[&told[..], &["--duration-seconds", "7200"]].concat(), "ValidationError");
    // With what the role may, at once; and with the role, though another gets its name.
    root.ok(&["iam", "delete-role-policy", "--role-name", "reader", "--policy-name", "all"]);
    session.fails(&write, "AccessDenied");
    root.ok(&["iam", "delete-role", "--role-name", "reader"]);
    session.fails(&["sts", "get-caller-identity"], "InvalidClientTokenId");
    create(&account).unwrap();
    session.fails(&["sts", "get-caller-identity"], "InvalidClientTokenId");
    alice.fails(
        &["sts", "assume-role", "--role-arn", &arn.replace("reader", "none"), "--role-session-name", "one"],
        "AccessDenied",
    );
}

#[test]
fn two_projects_share_a_bucket_and_a_role() {
    let Some(program) = aws_program() else {
        return skip("two_projects_share_a_bucket_and_a_role", "aws-cli is not installed");
    };
    let store = Store::start("1G");
    let base = Aws::of(program, &store);
    let project = |name: &str| {
        let made = store.json(&["project", "create", name]);
        let root = base.with(&made);
        assert_eq!(root.ok(&["sts", "get-caller-identity"])["Account"], made["number"]);
        (made["number"].as_str().unwrap().to_owned(), root)
    };
    let ((one, owner), (two, guest_root)) = (project("one"), project("two"));
    let listed = store.json(&["project", "list"]);
    assert_eq!(listed.as_array().unwrap().len(), 3, "{listed}");
    assert!(!store.command(&["project", "create", "one"]).output().unwrap().status.success());
    owner.ok(&["s3api", "create-bucket", "--bucket", "shared"]);
    owner.ok(&["s3api", "put-object", "--bucket", "shared", "--key", "a"]);
    assert_eq!(owner.ok(&["s3api", "list-buckets"])["Buckets"].as_array().unwrap().len(), 1);
    assert_eq!(guest_root.ok(&["s3api", "list-buckets"])["Buckets"].as_array().unwrap().len(), 0);

    // A user of the other project: both sides must allow.
    guest_root.ok(&["iam", "create-user", "--user-name", "guest"]);
    let guest = base.with(&guest_root.new_key("guest"));
    guest.fails(&HEAD, "403");
    let own = allow("s3:GetObject", GET_ALL);
    guest_root.put_policy(("user", "guest"), "p", &own).unwrap();
    guest.fails(&HEAD, "403");
    let consent = policy(&format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "arn:aws:iam::{two}:user/guest"}}, "Action": "s3:*",
            "Resource": ["arn:aws:s3:::shared", "{GET_ALL}"]}}"#
    ));
    owner.ok(&["s3api", "put-bucket-policy", "--bucket", "shared", "--policy", &consent]);
    guest.ok(&HEAD);
    guest.fails(&["s3api", "put-object", "--bucket", "shared", "--key", "a"], "AccessDenied");
    guest_root.ok(&["iam", "delete-user-policy", "--user-name", "guest", "--policy-name", "p"]);
    guest.fails(&HEAD, "403");
    // A user of the same name in the other project is somebody else.
    owner.ok(&["iam", "create-user", "--user-name", "guest"]);
    base.with(&owner.new_key("guest")).fails(&HEAD, "403");
    owner.fails(&["iam", "list-access-keys", "--user-name", "nobody"], "NoSuchEntity");
    assert_eq!(owner.ok(&["iam", "list-users"])["Users"].as_array().unwrap().len(), 1);

    // A role of the owner's project that the guest may take on.
    let arn = format!("arn:aws:iam::{one}:role/reader");
    let trust = policy(&format!(
        r#"{{"Effect": "Allow", "Principal": {{"AWS": "{two}"}}, "Action": "sts:AssumeRole"}}"#
    ));
    owner.ok(&["iam", "create-role", "--role-name", "reader", "--assume-role-policy-document", &trust]);
    owner.ok(&["s3api", "delete-bucket-policy", "--bucket", "shared"]);
    let assume = ["sts", "assume-role", "--role-arn", &arn, "--role-session-name", "guest"];
    guest.fails(&assume, "AccessDenied");
    let may = allow("sts:AssumeRole", &arn);
    guest_root.put_policy(("user", "guest"), "p", &may).unwrap();
    let session = base.with(&guest.ok(&assume)["Credentials"]);
    session.fails(&HEAD, "403");
    let read = allow("s3:GetObject", GET_ALL);
    owner.put_policy(("role", "reader"), "r", &read).unwrap();
    session.ok(&HEAD);
    assert_eq!(session.ok(&["sts", "get-caller-identity"])["Account"], one);
}

#[test]
fn what_iam_revokes_at_one_gateway_is_revoked_at_the_other() {
    let Some(aws) = aws_program() else {
        return skip("what_iam_revokes_at_one_gateway_is_revoked_at_the_other", "aws-cli is not installed");
    };
    let fleet = Fleet::start("1G", Network::Plain, seed()).unwrap();
    fleet.await_gateway(MINUTE);
    let other = fleet.second_gateway("gateway-two");
    let (first, second) = (fleet.s3_url(), other.ready("s3"));
    let root = Aws::of_fleet(aws, &fleet);
    let there = Aws { endpoint: second.clone(), ..root.clone() };
    root.ok(&["s3api", "create-bucket", "--bucket", "shared"]);
    root.ok(&["s3api", "put-object", "--bucket", "shared", "--key", "a"]);
    root.ok(&["iam", "create-user", "--user-name", "alice"]);
    let key = there.new_key("alice");
    let id = key["AccessKeyId"].as_str().unwrap();
    let alice = root.with(&key);
    let runtime = runtime();
    let clients = [alice.s3(&second), alice.s3(&first)];
    let seen = || {
        let both = clients.each_ref();
        both.map(|client| runtime.block_on(async { client.get("/shared/a").await.unwrap().status }))
    };
    let read = allow("s3:GetObject", GET_ALL);
    let put = |aws: &Aws| aws.put_policy(("user", "alice"), "p", &read).unwrap();
    let delete = ["iam", "delete-user-policy", "--user-name", "alice", "--policy-name", "p"];
    let set = ["iam", "update-access-key", "--user-name", "alice", "--access-key-id", id, "--status"];
    // Each change at one gateway; each look at the other first, where a cache would still say the opposite.
    assert_eq!(seen(), [403, 403]);
    for round in 0..4 {
        let (here, away) = if round % 2 == 0 { (&root, &there) } else { (&there, &root) };
        put(here);
        assert_eq!(seen(), [200, 200]);
        away.ok(&delete);
        assert_eq!(seen(), [403, 403]);
        put(away);
        here.ok(&[&set[..], &["Inactive"]].concat());
        assert_eq!(seen(), [403, 403]);
        away.ok(&[&set[..], &["Active"]].concat());
        assert_eq!(seen(), [200, 200]);
        here.ok(&delete);
    }
    // A session that one gateway gave is known to the other, and goes with its key.
    put(&root);
    let session = alice.with(&alice.ok(&["sts", "get-session-token"])["Credentials"]);
    let away = Aws { endpoint: second, ..session };
    away.ok(&HEAD);
    root.ok(&["iam", "delete-access-key", "--user-name", "alice", "--access-key-id", id]);
    assert_eq!(seen(), [403, 403]);
    away.fails(&HEAD, "403");
    other.stop();
}
