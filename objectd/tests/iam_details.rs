//! Permissions boundaries, versions of policies, tags, other names and the rest of IAM, against a whole store: row 26 of
//! the table of hostile input, and AWS's order of evaluation.

#[path = "support/store.rs"]
mod store;
mod support;
#[path = "support/who.rs"]
mod who;

use store::{REGION, Store};
use support::{Call, Response};
use who::{Who, policy};

const HOME: &str = "000000000000";
const ALL: &str = "arn:aws:s3:::bucket/*";

fn statement(effect: &str, action: &str, resource: &str) -> String {
    format!(r#"{{"Effect": "{effect}", "Action": "{action}", "Resource": "{resource}"}}"#)
}

fn when(statement: &str, condition: &str) -> String {
    format!(r#"{}, "Condition": {condition}}}"#, statement.strip_suffix('}').expect("a statement"))
}

#[track_caller]
fn is(response: &Response, status: u16, code: &str) {
    let seen = (response.status, response.code());
    assert_eq!((seen.0, seen.1.as_str()), (status, code), "{}", response.text());
}

#[track_caller]
fn denied(response: &Response) {
    is(response, 403, "AccessDenied");
}

#[track_caller]
fn ok(response: &Response) {
    assert!((200..300).contains(&response.status), "{} {}", response.status, response.text());
}

async fn bucket_policy(root: &Who<'_>, statements: &str) {
    let body = policy(statements).into_bytes();
    ok(&root
        .send("s3", Call { method: "PUT", target: "/bucket?policy".into(), body, ..Call::default() })
        .await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_boundary_limits_what_its_user_and_its_sessions_are_given() {
    let store = Store::start().await;
    let root = Who::root(&store).await;
    let alice = root.new_user("alice").await;
    root.may("alice", &statement("Allow", "*", "*")).await;
    ok(&alice.s3("PUT", "/bucket/b").await);
    let arn = root.policy("limit", &statement("Allow", "s3:GetObject", ALL)).await;
    let put = [("UserName", "alice"), ("PermissionsBoundary", arn.as_str())];
    root.does("PutUserPermissionsBoundary", &put).await;
    let shown = root.does("GetUser", &[("UserName", "alice")]).await;
    assert_eq!(shown.element("PermissionsBoundaryArn").as_deref(), Some(arn.as_str()), "{}", shown.text());

    // At once, for S3, IAM and STS, for itself and its session; and it takes its own limit away nowhere.
    let session = alice.with(&alice.sts("GetSessionToken", &[]).await);
    for who in [&alice, &session] {
        ok(&who.s3("GET", "/bucket/a").await);
        denied(&who.s3("PUT", "/bucket/b").await);
        denied(&who.s3("DELETE", "/bucket/b").await);
        denied(&who.s3("GET", "/bucket").await);
    }
    denied(&alice.iam("DeleteUserPermissionsBoundary", &[("UserName", "alice")]).await);
    denied(&alice.iam("ListUsers", &[]).await);
    let everything = policy(&statement("Allow", "*", "*"));
    let widen =
        [("PolicyArn", arn.as_str()), ("PolicyDocument", everything.as_str()), ("SetAsDefault", "true")];
    denied(&alice.iam("CreatePolicyVersion", &widen).await);

    // A bucket's policy that names her gives her what her boundary doesn't allow, as AWS has it; one that names
    // everybody doesn't, nor does her account; and what the boundary denies, nothing gives.
    let principal = |principal: &str| {
        statement("Allow", "s3:PutObject", ALL).replacen(
            '{',
            &format!(r#"{{"Principal": {{"AWS": "{principal}"}}, "#),
            1,
        )
    };
    let herself = format!("arn:aws:iam::{HOME}:user/alice");
    bucket_policy(&root, &principal(HOME)).await;
    denied(&alice.s3("PUT", "/bucket/b").await);
    bucket_policy(&root, &principal(&herself)).await;
    ok(&alice.s3("PUT", "/bucket/b").await);
    let deny = [statement("Allow", "s3:*", ALL), statement("Deny", "s3:PutObject", ALL)].join(", ");
    ok(&root.version(&arn, &deny, "true").await);
    denied(&alice.s3("PUT", "/bucket/b").await);
    ok(&alice.s3("DELETE", "/bucket/b").await);
    ok(&root.s3("DELETE", "/bucket?policy").await);

    // Without it again, at once.
    root.does("DeleteUserPermissionsBoundary", &[("UserName", "alice")]).await;
    for who in [&alice, &session] {
        ok(&who.s3("PUT", "/bucket/b").await);
    }
    let again = root.iam("DeleteUserPermissionsBoundary", &[("UserName", "alice")]).await;
    is(&again, 404, "NoSuchEntity");
    let none = [("UserName", "alice"), ("PermissionsBoundary", "arn:aws:iam::000000000000:policy/none")];
    is(&root.iam("PutUserPermissionsBoundary", &none).await, 404, "NoSuchEntity");
    is(&root.iam("PutGroupPermissionsBoundary", &none).await, 400, "InvalidAction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_roles_boundary_and_its_session_policy_both_limit() {
    let store = Store::start().await;
    let root = Who::root(&store).await;
    let alice = root.new_user("alice").await;
    root.may("alice", &statement("Allow", "sts:*", "*")).await;
    let arn = root.policy("limit", &statement("Allow", "s3:*Object", ALL)).await;
    let trust = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": {{"AWS": "{HOME}"}}, "Action": "sts:AssumeRole"}}}}"#
    );
    let role =
        [("RoleName", "r"), ("AssumeRolePolicyDocument", trust.as_str()), ("PermissionsBoundary", &arn)];
    root.does("CreateRole", &role).await;
    let everything = policy(&statement("Allow", "*", "*"));
    let given = [("RoleName", "r"), ("PolicyName", "all"), ("PolicyDocument", everything.as_str())];
    root.does("PutRolePolicy", &given).await;
    let role_arn = format!("arn:aws:iam::{HOME}:role/r");
    let reading = policy(&statement("Allow", "s3:Get*", "*"));
    let assume = [("RoleArn", role_arn.as_str()), ("RoleSessionName", "one"), ("Policy", reading.as_str())];
    let (free, limited) =
        (alice.sts("AssumeRole", &assume[..2]).await, alice.sts("AssumeRole", &assume).await);
    let (free, limited) = (alice.with(&free), alice.with(&limited));
    ok(&free.s3("PUT", "/bucket/b").await);
    denied(&free.s3("GET", "/bucket").await);
    denied(&free.iam("ListUsers", &[]).await);
    ok(&limited.s3("GET", "/bucket/a").await);
    denied(&limited.s3("PUT", "/bucket/b").await);
    denied(&limited.s3("GET", "/bucket?policy").await);
    // A policy that is a boundary stays.
    is(&root.iam("DeletePolicy", &[("PolicyArn", &arn)]).await, 409, "DeleteConflict");
    root.does("DeleteRolePermissionsBoundary", &[("RoleName", "r")]).await;
    ok(&free.s3("GET", "/bucket").await);
    denied(&limited.s3("GET", "/bucket").await);
    root.does("DeletePolicy", &[("PolicyArn", &arn)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_make_users_within_a_boundary_makes_none_without() {
    let store = Store::start().await;
    let root = Who::root(&store).await;
    let carol = root.new_user("carol").await;
    let arn = root.policy("limit", &statement("Allow", "s3:*", "*")).await;
    let other = root.policy("other", &statement("Allow", "*", "*")).await;
    // AWS's own example of delegating: create and change whom this limits, and leave the limit alone.
    let condition = format!(r#"{{"StringEquals": {{"iam:PermissionsBoundary": "{arn}"}}}}"#);
    let users = format!("arn:aws:iam::{HOME}:user/*");
    let delegated = [
        when(&statement("Allow", "iam:CreateUser", &users), &condition),
        when(&statement("Allow", "iam:PutUserPolicy", &users), &condition),
        when(&statement("Allow", "iam:AttachUserPolicy", &users), &condition),
        when(&statement("Allow", "iam:PutUserPermissionsBoundary", &users), &condition),
    ];
    root.may("carol", &delegated.join(", ")).await;
    let create = |boundary: &'static str| vec![("UserName", "dave"), ("PermissionsBoundary", boundary)];
    denied(&carol.iam("CreateUser", &create("")).await);
    denied(&carol.iam("CreateUser", &[("UserName", "dave"), ("PermissionsBoundary", &other)]).await);
    ok(&carol.iam("CreateUser", &[("UserName", "dave"), ("PermissionsBoundary", &arn)]).await);
    let all = policy(&statement("Allow", "*", "*"));
    let put = |user: &'static str| {
        let all = all.clone();
        let carol = carol.clone();
        async move {
            let given = [("UserName", user), ("PolicyName", "p"), ("PolicyDocument", all.as_str())];
            carol.iam("PutUserPolicy", &given).await
        }
    };
    ok(&put("dave").await);
    denied(&put("carol").await);
    denied(&carol.iam("DeleteUserPermissionsBoundary", &[("UserName", "dave")]).await);
    let swap = [("UserName", "dave"), ("PermissionsBoundary", other.as_str())];
    denied(&carol.iam("PutUserPermissionsBoundary", &swap).await);
    denied(&carol.iam("AttachUserPolicy", &[("UserName", "carol"), ("PolicyArn", &other)]).await);
    ok(&carol.iam("AttachUserPolicy", &[("UserName", "dave"), ("PolicyArn", &other)]).await);
    let dave = root.with(&root.does("CreateAccessKey", &[("UserName", "dave")]).await);
    ok(&dave.s3("PUT", "/bucket/d").await);
    denied(&dave.iam("ListUsers", &[]).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_says_what_its_default_version_says() {
    let store = Store::start().await;
    let root = Who::root(&store).await;
    let alice = root.new_user("alice").await;
    let arn = root.policy("p", &statement("Allow", "s3:GetObject", ALL)).await;
    let of = |version: &'static str| [("PolicyArn", arn.clone()), ("VersionId", version.to_owned())];
    root.does("AttachUserPolicy", &[("UserName", "alice"), ("PolicyArn", &arn)]).await;
    let call = async |action: &str, version: &'static str| {
        let given = of(version);
        root.iam(action, &[(given[0].0, &given[0].1), (given[1].0, &given[1].1)]).await
    };
    let may = async || (alice.s3("GET", "/bucket/a").await.status, alice.s3("PUT", "/bucket/b").await.status);
    assert_eq!(may().await, (200, 403));
    let made = root.version(&arn, &statement("Allow", "s3:PutObject", ALL), "false").await;
    assert_eq!(made.element("VersionId").as_deref(), Some("v2"), "{}", made.text());
    assert_eq!(may().await, (200, 403), "a draft changes nothing");
    ok(&call("SetDefaultPolicyVersion", "v2").await);
    assert_eq!(may().await, (403, 200));
    let shown = root.does("GetPolicy", &[("PolicyArn", &arn)]).await;
    assert_eq!(shown.element("DefaultVersionId").as_deref(), Some("v2"));
    assert!(call("GetPolicyVersion", "v1").await.text().contains("GetObject"));
    ok(&root.version(&arn, &statement("Allow", "s3:*", ALL), "true").await);
    assert_eq!(may().await, (200, 200));
    for version in ["v9", "v01", "2", "v-1", "v4294967296", ""] {
        let found = call("GetPolicyVersion", version).await;
        let expected = if version == "v9" { (404, "NoSuchEntity") } else { (400, "ValidationError") };
        is(&found, expected.0, expected.1);
    }
    is(&call("SetDefaultPolicyVersion", "v9").await, 404, "NoSuchEntity");
    is(&root.version(&arn, "{}", "false").await, 400, "MalformedPolicyDocument");
    for _ in 0..2 {
        ok(&root.version(&arn, &statement("Allow", "s3:*", ALL), "false").await);
    }
    is(&root.version(&arn, &statement("Allow", "s3:*", ALL), "false").await, 409, "LimitExceeded");
    is(&call("DeletePolicyVersion", "v3").await, 409, "DeleteConflict");
    ok(&call("DeletePolicyVersion", "v5").await);
    let made = root.version(&arn, &statement("Allow", "s3:*", ALL), "false").await;
    assert_eq!(made.element("VersionId").as_deref(), Some("v6"), "no name comes again");
    let page = root.does("ListPolicyVersions", &[("PolicyArn", &arn), ("MaxItems", "2")]).await;
    assert_eq!(
        (page.text().matches("<VersionId>").count(), page.element("VersionId").as_deref()),
        (2, Some("v6"))
    );
    let marker = page.element("Marker").unwrap();
    let rest = root.does("ListPolicyVersions", &[("PolicyArn", &arn), ("Marker", &marker)]).await;
    assert!(
        rest.text().contains("<VersionId>v1<") && !rest.text().contains("<VersionId>v4<"),
        "{}",
        rest.text()
    );
    // Back to the first, which was kept.
    ok(&call("SetDefaultPolicyVersion", "v1").await);
    assert_eq!(may().await, (200, 403));
    root.does("DetachUserPolicy", &[("UserName", "alice"), ("PolicyArn", &arn)]).await;
    is(&root.iam("DeletePolicy", &[("PolicyArn", &arn)]).await, 409, "DeleteConflict");
    for version in ["v2", "v3", "v4", "v6"] {
        ok(&call("DeletePolicyVersion", version).await);
    }
    root.does("DeletePolicy", &[("PolicyArn", &arn)]).await;
    // Who may not learns nothing.
    denied(&alice.iam("GetPolicyVersion", &[("PolicyArn", &arn), ("VersionId", "v1")]).await);
    denied(&alice.version(&arn, &statement("Allow", "*", "*"), "true").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conditions_see_the_tags_of_who_asks_and_of_what_is_asked_for() {
    let store = Store::start().await;
    let root = Who::root(&store).await;
    let alice = root.new_user("alice").await;
    let own = when(
        &statement("Allow", "s3:GetObject", ALL),
        r#"{"StringEquals": {"aws:PrincipalTag/team": "blue"}}"#,
    );
    root.may("alice", &own).await;
    denied(&alice.s3("GET", "/bucket/a").await);
    let tag = |key: &'static str, value: &'static str| {
        [("UserName", "alice"), ("Tags.member.1.Key", key), ("Tags.member.1.Value", value)]
    };
    root.does("TagUser", &tag("Team", "blue")).await;
    ok(&alice.s3("GET", "/bucket/a").await);
    root.does("TagUser", &tag("team", "red")).await;
    denied(&alice.s3("GET", "/bucket/a").await);
    let listed = root.does("ListUserTags", &[("UserName", "alice")]).await;
    assert_eq!(
        (listed.text().matches("<member>").count(), listed.element("Key").as_deref()),
        (1, Some("team"))
    );
    root.does("TagUser", &tag("team", "blue")).await;
    ok(&alice.s3("GET", "/bucket/a").await);
    root.does("UntagUser", &[("UserName", "alice"), ("TagKeys.member.1", "TEAM")]).await;
    denied(&alice.s3("GET", "/bucket/a").await);

    // What a request brings, and what is there: only users of one's own team, and only such are made.
    let condition = |key: &str| format!(r#"{{"StringEquals": {{"{key}/team": "blue"}}}}"#);
    let made = [
        when(&statement("Allow", "iam:CreateUser", "*"), &condition("aws:RequestTag")),
        when(&statement("Allow", "iam:TagUser", "*"), &condition("aws:RequestTag")),
        when(&statement("Allow", "iam:DeleteUser", "*"), &condition("iam:ResourceTag")),
    ];
    root.may("alice", &made.join(", ")).await;
    let bob = |value: &'static str| {
        [("UserName", "bob"), ("Tags.member.1.Key", "team"), ("Tags.member.1.Value", value)]
    };
    denied(&alice.iam("CreateUser", &bob("blue")[..1]).await);
    denied(&alice.iam("CreateUser", &bob("red")).await);
    let shown = alice.does("CreateUser", &bob("blue")).await;
    assert_eq!(shown.element("Value").as_deref(), Some("blue"), "{}", shown.text());
    root.does("CreateUser", &[("UserName", "carol")]).await;
    denied(&alice.iam("DeleteUser", &[("UserName", "carol")]).await);
    alice.does("DeleteUser", &[("UserName", "bob")]).await;
    // To make one with tags needs the right to tag.
    root.may("alice", &statement("Allow", "iam:CreateUser", "*")).await;
    denied(&alice.iam("CreateUser", &bob("blue")).await);
    alice.does("CreateUser", &bob("blue")[..1]).await;

    // Of policies and roles.
    let arn = root.policy("p", &statement("Allow", "s3:*", "*")).await;
    let on = [("PolicyArn", arn.as_str()), ("Tags.member.1.Key", "a"), ("Tags.member.1.Value", "1")];
    root.does("TagPolicy", &on).await;
    assert_eq!(root.does("GetPolicy", &on[..1]).await.element("Key").as_deref(), Some("a"));
    root.does("UntagPolicy", &[on[0], ("TagKeys.member.1", "a")]).await;
    assert_eq!(root.does("ListPolicyTags", &on[..1]).await.element("Key"), None);
    let many: Vec<(String, String)> =
        (1..=50).map(|n| (format!("Tags.member.{n}.Key"), format!("k{n:02}"))).collect();
    let mut given: Vec<(&str, &str)> = many.iter().map(|(name, key)| (name.as_str(), key.as_str())).collect();
    given.push(("UserName", "carol"));
    root.does("TagUser", &given).await;
    let one_more = [("UserName", "carol"), ("Tags.member.1.Key", "another"), ("Tags.member.1.Value", "")];
    is(&root.iam("TagUser", &one_more).await, 409, "LimitExceeded");
    let page = root.does("ListUserTags", &[("UserName", "carol"), ("MaxItems", "49")]).await;
    let marker = page.element("Marker").unwrap();
    let rest = root.does("ListUserTags", &[("UserName", "carol"), ("Marker", &marker)]).await;
    assert_eq!(rest.element("Key").as_deref(), Some("k50"));
    is(&root.iam("TagUser", &[("UserName", "carol")]).await, 400, "ValidationError");
    is(&root.iam("TagGroup", &[("GroupName", "g")]).await, 400, "InvalidAction");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_is_shown_as_a_whole_and_its_names_change() {
    let store = Store::start().await;
    let root = Who::root(&store).await;
    let alice = root.new_user("alice").await;
    root.may("alice", &statement("Allow", "iam:GetUser", &format!("arn:aws:iam::{HOME}:user/ops/*"))).await;
    denied(&alice.iam("GetUser", &[]).await);
    let arn = root.policy("p", &statement("Allow", "s3:*", "*")).await;
    root.does("CreateGroup", &[("GroupName", "devs")]).await;
    root.does("AddUserToGroup", &[("GroupName", "devs"), ("UserName", "alice")]).await;
    root.does("AttachGroupPolicy", &[("GroupName", "devs"), ("PolicyArn", &arn)]).await;
    ok(&alice.s3("GET", "/bucket/a").await);
    let update = [("UserName", "alice"), ("NewUserName", "anna"), ("NewPath", "/ops/")];
    denied(&alice.iam("UpdateUser", &update).await);
    root.does("UpdateUser", &update).await;
    root.does("UpdateGroup", &[("GroupName", "devs"), ("NewGroupName", "ops")]).await;
    let shown = alice.does("GetUser", &[]).await;
    assert_eq!(shown.element("Arn"), Some(format!("arn:aws:iam::{HOME}:user/ops/anna")));
    ok(&alice.s3("GET", "/bucket/a").await);
    is(&root.iam("GetUser", &[("UserName", "alice")]).await, 404, "NoSuchEntity");

    let trust = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": {{"AWS": "{HOME}"}}, "Action": "sts:AssumeRole"}}}}"#
    );
    root.does("CreateRole", &[("RoleName", "r"), ("AssumeRolePolicyDocument", &trust)]).await;
    root.does("UpdateRole", &[("RoleName", "r"), ("MaxSessionDuration", "7200"), ("Description", "d")]).await;
    let role = root.does("GetRole", &[("RoleName", "r")]).await;
    assert_eq!(role.element("MaxSessionDuration").as_deref(), Some("7200"), "{}", role.text());
    let role = root.does("UpdateRoleDescription", &[("RoleName", "r"), ("Description", "other")]).await;
    assert_eq!(role.element("Description").as_deref(), Some("other"));
    let short = [("RoleName", "r"), ("MaxSessionDuration", "60")];
    is(&root.iam("UpdateRole", &short).await, 400, "ValidationError");
    root.does("PutRolePermissionsBoundary", &[("RoleName", "r"), ("PermissionsBoundary", &arn)]).await;
    let entities = root.does("ListEntitiesForPolicy", &[("PolicyArn", &arn)]).await;
    let (group, role) = (entities.element("GroupName"), entities.element("RoleName"));
    assert_eq!((group.as_deref(), role.as_deref()), (Some("ops"), Some("r")), "{}", entities.text());
    let filter = [("PolicyArn", arn.as_str()), ("PolicyUsageFilter", "PermissionsPolicy")];
    assert_eq!(root.does("ListEntitiesForPolicy", &filter).await.element("RoleName"), None);

    let summary = root.does("GetAccountSummary", &[]).await.text();
    for (name, count) in
        [("Users", 1), ("Groups", 1), ("Roles", 1), ("Policies", 1), ("VersionsPerPolicyQuota", 5)]
    {
        let entry = format!("<entry><key>{name}</key><value>{count}</value></entry>");
        assert!(summary.contains(&entry), "{entry}: {summary}");
    }
    let all = root.does("GetAccountAuthorizationDetails", &[]).await.text();
    for part in [
        "<UserName>anna<",
        "<GroupList><member>ops<",
        "<RoleName>r<",
        "<VersionId>v1<",
        "PermissionsBoundaryArn",
    ] {
        assert!(all.contains(part), "{part}: {all}");
    }
    let users = root.does("GetAccountAuthorizationDetails", &[("Filter.member.1", "User")]).await.text();
    assert!(users.contains("anna") && !users.contains("<RoleName>"), "{users}");
    let (mut seen, mut marker) = (0, String::new());
    loop {
        let given = [("MaxItems", "1"), ("Marker", marker.as_str())];
        let page = root.does("GetAccountAuthorizationDetails", &given).await;
        seen += page.text().matches("<Arn>").count();
        match page.element("Marker") {
            Some(next) => marker = next,
            None => break,
        }
    }
    assert_eq!(seen, 4);
    for action in ["GetAccountSummary", "GetAccountAuthorizationDetails"] {
        denied(&alice.iam(action, &[]).await);
    }
    is(
        &root.iam("GetAccountAuthorizationDetails", &[("Filter.member.1", "Dog")]).await,
        400,
        "ValidationError",
    );

    // When a key was last used is told soon after; who may not, isn't told.
    let last = [("AccessKeyId", alice.id.as_str())];
    for _ in 0..200 {
        if root.does("GetAccessKeyLastUsed", &last).await.element("LastUsedDate").is_some() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let used = root.does("GetAccessKeyLastUsed", &last).await;
    assert!(used.element("LastUsedDate").is_some(), "{}", used.text());
    assert_eq!(
        (used.element("UserName").as_deref(), used.element("Region").as_deref()),
        (Some("anna"), Some(REGION))
    );
    denied(&alice.iam("GetAccessKeyLastUsed", &last).await);
    denied(&alice.iam("GetAccessKeyLastUsed", &[("AccessKeyId", "AKIANONE")]).await);
    is(&root.iam("GetAccessKeyLastUsed", &[("AccessKeyId", "AKIANONE")]).await, 404, "NoSuchEntity");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_federation_token_gives_what_its_user_and_its_policy_both_allow() {
    let store = Store::start().await;
    let root = Who::root(&store).await;
    let alice = root.new_user("alice").await;
    let all = policy(&statement("Allow", "*", "*"));
    let ask =
        |name: &'static str, policy: &str| vec![("Name", name.to_owned()), ("Policy", policy.to_owned())];
    let token = async |who: &Who<'_>, name: &'static str, policy: &str| {
        let given = ask(name, policy);
        let given: Vec<(&str, &str)> = given.iter().map(|(name, value)| (*name, value.as_str())).collect();
        who.sts("GetFederationToken", &given).await
    };
    denied(&token(&alice, "dana", &all).await);
    let give =
        statement("Allow", "sts:GetFederationToken", &format!("arn:aws:sts::{HOME}:federated-user/dana"));
    let get = statement("Allow", "s3:GetObject", ALL);
    root.may("alice", &format!("{give}, {get}")).await;
    denied(&token(&alice, "mallory", &all).await);
    let answer = token(&alice, "dana", &all).await;
    ok(&answer);
    let arn = format!("arn:aws:sts::{HOME}:federated-user/dana");
    let shown = (answer.element("FederatedUserId"), answer.element("Arn"));
    assert_eq!(shown, (Some(format!("{HOME}:dana")), Some(arn.clone())));
    let (dana, bare) = (root.with(&answer), root.with(&token(&alice, "dana", "").await));
    let limited = policy(&statement("Allow", "s3:PutObject", ALL));
    let limited = root.with(&token(&alice, "dana", &limited).await);
    assert_eq!(dana.sts("GetCallerIdentity", &[]).await.element("Arn"), Some(arn.clone()));
    // What both allow; nothing without a policy, and nothing that the user may not.
    ok(&dana.s3("GET", "/bucket/a").await);
    denied(&dana.s3("PUT", "/bucket/b").await);
    for who in [&bare, &limited] {
        denied(&who.s3("GET", "/bucket/a").await);
        denied(&who.s3("PUT", "/bucket/b").await);
    }
    // For S3 only, and for nothing that lasts longer.
    root.may("alice", &statement("Allow", "*", "*")).await;
    ok(&dana.s3("PUT", "/bucket/b").await);
    is(&dana.iam("ListUsers", &[]).await, 403, "InvalidClientTokenId");
    is(&dana.iam("CreateAccessKey", &[("UserName", "alice")]).await, 403, "InvalidClientTokenId");
    is(&dana.sts("GetSessionToken", &[]).await, 403, "InvalidClientTokenId");
    is(&token(&dana, "dana", &all).await, 403, "InvalidClientTokenId");
    let role = format!("arn:aws:iam::{HOME}:role/r");
    let assume = [("RoleArn", role.as_str()), ("RoleSessionName", "one")];
    is(&dana.sts("AssumeRole", &assume).await, 403, "InvalidClientTokenId");
    let session = alice.with(&alice.sts("GetSessionToken", &[]).await);
    denied(&token(&session, "dana", &all).await);
    denied(&token(&root, "dana", &all).await);
    for (name, value) in [("Name", "x"), ("Name", "a b"), ("Name", ""), ("DurationSeconds", "899")] {
        let given = if name == "Name" { vec![(name, value)] } else { vec![("Name", "dana"), (name, value)] };
        is(&alice.sts("GetFederationToken", &given).await, 400, "ValidationError");
    }
    // A Deny of the user's own is not escaped, by whatever it knows the user; nor its boundary.
    for key in [
        r#"{"StringEquals": {"aws:username": "alice"}}"#.to_owned(),
        format!(r#"{{"ArnEquals": {{"aws:PrincipalArn": "arn:aws:iam::{HOME}:user/alice"}}}}"#),
    ] {
        let deny = when(&statement("Deny", "s3:PutObject", ALL), &key);
        root.may("alice", &format!("{}, {deny}", statement("Allow", "*", "*"))).await;
        denied(&dana.s3("PUT", "/bucket/b").await);
    }
    root.may("alice", &statement("Allow", "*", "*")).await;
    let limit = root.policy("limit", &statement("Allow", "s3:GetObject", ALL)).await;
    let put = [("UserName", "alice"), ("PermissionsBoundary", limit.as_str())];
    root.does("PutUserPermissionsBoundary", &put).await;
    denied(&dana.s3("PUT", "/bucket/b").await);
    ok(&dana.s3("GET", "/bucket/a").await);
    root.does("DeleteUserPermissionsBoundary", &put[..1]).await;
    // A bucket may name it, and then needs no policy of the session's.
    let named = statement("Allow", "s3:GetObject", ALL).replacen(
        '{',
        &format!(r#"{{"Principal": {{"AWS": "{arn}"}}, "#),
        1,
    );
    bucket_policy(&root, &named).await;
    ok(&bare.s3("GET", "/bucket/a").await);
    denied(&bare.s3("PUT", "/bucket/b").await);
    let elsewhere = policy(&named.replace(HOME, "111122223333")).into_bytes();
    let put = Call { method: "PUT", target: "/bucket?policy".into(), body: elsewhere, ..Call::default() };
    is(&root.send("s3", put).await, 400, "MalformedPolicy");
    // It goes with the user's key.
    ok(&dana.s3("GET", "/bucket/a").await);
    let off = [("UserName", "alice"), ("AccessKeyId", alice.id.as_str()), ("Status", "Inactive")];
    root.does("UpdateAccessKey", &off).await;
    is(&dana.s3("GET", "/bucket/a").await, 403, "InvalidAccessKeyId");
}
