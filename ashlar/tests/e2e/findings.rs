//! `ashlar policy findings`: each kind of finding is shown, and the command that it names makes it go.

use crate::awscli::{Aws, aws_program};
use crate::harness::{deadline, skip, sleep};
use crate::up::Up;
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;
use trial::process::program;

const PUBLIC: &str = r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::open/*"}}"#;
const EVERYTHING: &str = r#"{"Statement": {"Effect": "Allow", "Action": "*", "Resource": "*"}}"#;

struct World {
    up: Up,
    /// Roots by their accounts' numbers.
    roots: BTreeMap<String, Aws>,
}

impl World {
    fn cli(&self, args: &[&str]) -> (Option<i32>, Value, String) {
        let output = self.up.client(program()).args(args).args(["-o", "json"]).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), serde_json::from_slice(&output.stdout).unwrap_or_default(), told)
    }

    /// What is found, with the exit code checked.
    fn found(&self, days_ahead: &str) -> Vec<Value> {
        let (code, found, told) = self.cli(&["policy", "findings", "--days-ahead", days_ahead]);
        let found = found.as_array().unwrap_or_else(|| panic!("{told}")).clone();
        assert_eq!(code, Some(if found.is_empty() { 0 } else { 8 }), "{told}");
        found
    }

    fn rules(found: &[Value]) -> Vec<&str> {
        let mut rules: Vec<&str> = found.iter().map(|found| found["rule"].as_str().unwrap()).collect();
        rules.sort_unstable();
        rules
    }

    /// Runs the command that mends it, as its account's root.
    fn mend(&self, finding: &Value) {
        let line = finding["mend"].as_str().unwrap();
        let output = self.roots[finding["account"].as_str().unwrap()].line(line).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Mends all but those of this rule, each of which makes just itself go.
    fn mend_all(&self, days_ahead: &str, but: &str) {
        let mut before = self.found(days_ahead);
        while let Some(first) = before.iter().find(|finding| finding["rule"] != but) {
            self.mend(first);
            let after = self.found(days_ahead);
            let left: Vec<_> = before.iter().filter(|finding| *finding != first).collect();
            // A key that is turned off is neither old nor unused any more.
            let of_key = first["mend"].as_str().unwrap().contains("update-access-key");
            let left: Vec<_> =
                left.into_iter().filter(|found| !(of_key && found["mend"] == first["mend"])).collect();
            assert_eq!(after.iter().collect::<Vec<_>>(), left, "after {first}");
            before = after;
        }
    }
}

#[test]
fn each_finding_goes_by_the_command_that_mends_it() {
    let Some(aws) = aws_program() else {
        return skip("each_finding_goes_by_the_command_that_mends_it", "aws-cli is not installed");
    };
    let up = Up::start(&["--s3-domain", "s3.localhost"]);
    let own = Aws::of_up(aws, &up);
    let mut w = World { up, roots: BTreeMap::from([("000000000000".to_owned(), own.clone())]) };
    // A new store has one finding; the store's own key is none.
    assert_eq!(World::rules(&w.found("0")), ["account-block-off"]);
    w.mend_all("0", "");

    let (_, made, told) = w.cli(&["project", "create", "acme"]);
    let number = made["number"].as_str().unwrap_or_else(|| panic!("{told}")).to_owned();
    let acme = own.with(&made);
    w.roots.insert(number.clone(), acme.clone());
    assert_eq!(World::rules(&w.found("0")), ["account-block-off"], "its root's key was not used yet");
    assert_eq!(World::rules(&w.found("91")), ["account-block-off", "old-key", "unused-key"]);
    open_everything(&acme, &own);
    let key = made["access_key_id"].as_str().unwrap();
    let waited = deadline(Duration::from_secs(30));
    let used = || acme.ok(&["iam", "get-access-key-last-used", "--access-key-id", key]);
    while used()["AccessKeyLastUsed"]["LastUsedDate"].is_null() {
        assert!(!waited.over(), "{}", used());
        sleep(Duration::from_millis(200));
    }

    let found = w.found("0");
    let expected = [
        "account-block-off",
        "administrator",
        "administrator",
        "administrator",
        "no-encryption",
        "no-encryption",
        "no-encryption",
        "no-encryption",
        "no-versioning",
        "no-versioning",
        "no-versioning",
        "no-versioning",
        "public-acl",
        "public-bucket",
        "public-role",
        "root-key-used",
        "shared-acl",
        "shared-bucket",
        "shared-role",
    ];
    assert_eq!(World::rules(&found), expected, "{found:?}");
    assert_eq!(found[0]["severity"], "critical", "the worst comes first");
    for finding in &found {
        assert_eq!(finding["account"], number, "{finding}");
        assert!(
            !finding["what"].as_str().unwrap().is_empty() && !finding["why"].as_str().unwrap().is_empty()
        );
    }
    let table = w.up.client(program()).args(["policy", "findings"]).output().unwrap();
    let (table, told) = (String::from_utf8_lossy(&table.stdout), String::from_utf8_lossy(&table.stderr));
    assert!(table.contains("CRITICAL  bucket open is public") && told == "error: there are 19 findings\n");
    // It only looked.
    assert_eq!(w.found("0"), found);
    w.mend_all("0", "root-key-used");

    // Who is left in a policy keeps what it had.
    let policy = acme.ok(&["s3api", "get-bucket-policy", "--bucket", "shared"])["Policy"].clone();
    assert!(policy.as_str().unwrap().contains(&number) && !policy.as_str().unwrap().contains("000000000000"));
    // In three months a user's key is old, and unused; then the root's is turned off, with which nobody can be anything.
    acme.ok(&["iam", "create-access-key", "--user-name", "carol"]);
    assert_eq!(World::rules(&w.found("90")), ["root-key-used"], "ninety days are no more than ninety");
    assert_eq!(World::rules(&w.found("91")), ["old-key", "old-key", "unused-key", "unused-key"]);
    let of_user = |found: &Value| found["what"].as_str().unwrap().contains("carol");
    let old = w.found("91").into_iter().find(of_user).unwrap();
    w.mend(&old);
    assert!(!w.found("91").iter().any(of_user));
    w.mend_all("0", "");
    assert_eq!(w.found("91"), Vec::<Value>::new());
}

/// One of each kind.
fn open_everything(acme: &Aws, own: &Aws) {
    let root = "000000000000";
    let account = acme.ok(&["sts", "get-caller-identity"])["Account"].as_str().unwrap().to_owned();
    for bucket in ["open", "shared"] {
        acme.ok(&["s3api", "create-bucket", "--bucket", bucket]);
    }
    acme.ok(&["s3api", "delete-public-access-block", "--bucket", "open"]);
    acme.ok(&["s3api", "put-bucket-policy", "--bucket", "open", "--policy", PUBLIC]);
    let shared = format!(
        r#"{{"Statement": {{"Effect": "Allow", "Principal": {{"AWS": ["{account}", "{root}"]}},
            "Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/*"}}}}"#
    );
    acme.ok(&["s3api", "put-bucket-policy", "--bucket", "shared", "--policy", &shared]);
    let theirs = own.ok(&["s3api", "list-buckets"])["Owner"]["ID"].as_str().unwrap().to_owned();
    for (bucket, grant) in
        [("listed", "--acl=public-read".to_owned()), ("granted", format!("--grant-read=id={theirs}"))]
    {
        let with_lists = ["--object-ownership", "BucketOwnerPreferred"];
        acme.ok(&[&["s3api", "create-bucket", "--bucket", bucket][..], &with_lists].concat());
        acme.ok(&["s3api", "delete-public-access-block", "--bucket", bucket]);
        acme.ok(&["s3api", "put-bucket-acl", "--bucket", bucket, &grant]);
    }
    for (role, principal) in [("everybodys", "*"), ("theirs", root), ("ours", account.as_str())] {
        let trust = format!(
            r#"{{"Statement": {{"Effect": "Allow", "Principal": {{"AWS": "{principal}"}}, "Action": "sts:AssumeRole"}}}}"#
        );
        acme.ok(&["iam", "create-role", "--role-name", role, "--assume-role-policy-document", &trust]);
    }
    for user in ["inline", "attached", "carol"] {
        acme.ok(&["iam", "create-user", "--user-name", user]);
    }
    acme.put_policy(("user", "inline"), "all", EVERYTHING).unwrap();
    // Who may everything within a boundary may not everything.
    let limit = r#"{"Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}}"#;
    let made = acme.ok(&["iam", "create-policy", "--policy-name", "limit", "--policy-document", limit]);
    let limit = made["Policy"]["Arn"].as_str().unwrap();
    acme.ok(&["iam", "create-user", "--user-name", "limited", "--permissions-boundary", limit]);
    acme.put_policy(("user", "limited"), "all", EVERYTHING).unwrap();
    let made = acme.ok(&["iam", "create-policy", "--policy-name", "all", "--policy-document", EVERYTHING]);
    let arn = made["Policy"]["Arn"].as_str().unwrap();
    acme.ok(&["iam", "attach-user-policy", "--user-name", "attached", "--policy-arn", arn]);
    acme.ok(&["iam", "create-group", "--group-name", "admins"]);
    acme.ok(&["iam", "attach-group-policy", "--group-name", "admins", "--policy-arn", arn]);
    acme.ok(&["iam", "add-user-to-group", "--group-name", "admins", "--user-name", "carol"]);
}
