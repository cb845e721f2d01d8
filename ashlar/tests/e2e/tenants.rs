//! Two tenants of one store, told by what they type: a bucket that one shares with the other, a role that is taken on,
//! a website for everybody. Each step is denied before it is allowed, each grant is taken back at the end, and the next
//! request feels it.

use crate::awscli::{Aws, aws_program};
use crate::harness::{clean, skip};
use crate::up::Up;
use serde_json::Value;
use std::collections::BTreeMap;
use trial::process::tail;

/// A line: who | what comes of it | what is typed. What comes is `ok`, the code of an error, or `=NAME`: it works, and
/// the credentials that it shows are NAME's from now on. The public types nothing; it visits a page of the website, and
/// what comes is HTTP's status. `$WORDS` and `{DOCUMENT}` are below.
const SHARED_BUCKET: &str = "
    acme   | ok           | s3api create-bucket --bucket shared
    acme   | ok           | s3api put-object --bucket shared --key report
    beta   | ok           | iam create-user --user-name bob
    beta   | =bob         | iam create-access-key --user-name bob
    bob    | AccessDenied | $read shared
    beta   | AccessDenied | $read shared
    # His own policy alone is not enough, nor is the bucket's.
    beta   | ok           | $bob-may read {read-shared}
    bob    | AccessDenied | $read shared
    beta   | ok           | $bob-may-not read
    acme   | ok           | s3api put-bucket-policy --bucket shared --policy {shared-with-bob}
    bob    | AccessDenied | $read shared
    beta   | ok           | $bob-may read {read-shared}
    bob    | ok           | $read shared
    # Nobody else, and nothing else.
    beta   | AccessDenied | $read shared
    beta   | ok           | iam create-user --user-name eve
    beta   | =eve         | iam create-access-key --user-name eve
    beta   | ok           | iam put-user-policy --user-name eve --policy-name read --policy-document {read-shared}
    eve    | AccessDenied | $read shared
    bob    | AccessDenied | s3api put-object --bucket shared --key report
";

const ASSUMED_ROLE: &str = "
    acme   | ok           | s3api create-bucket --bucket ledger
    acme   | ok           | s3api put-object --bucket ledger --key report
    acme   | ok           | iam create-role --role-name auditor --assume-role-policy-document {trust-acme}
    bob    | AccessDenied | $assume
    # The role trusts beta, which leaves it to beta to say who.
    acme   | ok           | $auditor-trusts {trust-beta}
    bob    | AccessDenied | $assume
    beta   | ok           | $bob-may assume {assume-auditor}
    bob    | =auditor     | $assume
    # It may what the role may, which is nothing yet; not what Bob may.
    auditor| AccessDenied | $read ledger
    auditor| AccessDenied | $read shared
    acme   | ok           | iam put-role-policy --role-name auditor --policy-name all --policy-document {all-of-ledger}
    auditor| ok           | $read ledger
    auditor| ok           | $write ledger
    # A session's policy limits it, and gives nothing that the role has not.
    bob    | =reader      | $assume --policy {read-everything}
    reader | ok           | $read ledger
    reader | AccessDenied | $write ledger
    reader | AccessDenied | $read shared
    auditor| ok           | $write ledger
    bob    | AccessDenied | $read ledger
";

const WEBSITE: &str = "
    acme   | ok           | s3api create-bucket --bucket site
    acme   | ok           | s3api put-object --bucket site --key index.html
    acme   | ok           | s3api put-bucket-website --bucket site --website-configuration {website}
    public | 403          | /
    # A lifted block alone opens nothing.
    acme   | AccessDenied | s3api put-bucket-policy --bucket site --policy {public-site}
    acme   | ok           | s3api delete-public-access-block --bucket site
    public | 403          | /
    # Nor does a policy alone.
    acme   | ok           | s3api put-bucket-policy --bucket site --policy {public-site}
    acme   | ok           | $site-block $restricted
    public | 403          | /
    # Nor both, while the account has a block of its own.
    acme   | ok           | $account-block $restricted
    acme   | ok           | s3api delete-public-access-block --bucket site
    public | 403          | /
    beta   | AccessDenied | s3control delete-public-access-block --account-id $acme
    acme   | ok           | s3control delete-public-access-block --account-id $acme
    public | 200          | /
";

const REVOKED: &str = "
    # The website: by the account's block, by the bucket's, by the policy.
    acme   | ok           | $account-block $restricted
    public | 403          | /
    acme   | ok           | s3control delete-public-access-block --account-id $acme
    public | 200          | /
    acme   | ok           | $site-block $restricted
    public | 403          | /
    acme   | ok           | s3api delete-public-access-block --bucket site
    public | 200          | /
    acme   | ok           | s3api delete-bucket-policy --bucket site
    public | 403          | /
    # The role: those who have taken it on lose it as fast as those who would.
    acme   | ok           | iam delete-role-policy --role-name auditor --policy-name all
    auditor| AccessDenied | $read ledger
    reader | AccessDenied | $read ledger
    beta   | ok           | $bob-may-not assume
    bob    | AccessDenied | $assume
    beta   | ok           | $bob-may assume {assume-auditor}
    bob    | ok           | $assume
    acme   | ok           | $auditor-trusts {trust-acme}
    bob    | AccessDenied | $assume
    # The bucket: from his side, from its side, and with his key.
    bob    | ok           | $read shared
    beta   | ok           | $bob-may-not read
    bob    | AccessDenied | $read shared
    beta   | ok           | $bob-may read {read-shared}
    bob    | ok           | $read shared
    acme   | ok           | s3api delete-bucket-policy --bucket shared
    bob    | AccessDenied | $read shared
    acme   | ok           | s3api put-bucket-policy --bucket shared --policy {shared-with-bob}
    bob    | ok           | $read shared
    beta   | ok           | iam update-access-key --user-name bob --access-key-id $bob-key --status Inactive
    bob    | InvalidAccessKeyId | $read shared
";

const WORDS: &[(&str, &str)] = &[
    ("$read", "s3api get-object /dev/null --key report --bucket"),
    ("$write", "s3api put-object --key report --bucket"),
    ("$bob-may", "iam put-user-policy --user-name bob --policy-document $last --policy-name"),
    ("$bob-may-not", "iam delete-user-policy --user-name bob --policy-name"),
    ("$assume", "sts assume-role --role-arn arn:aws:iam::$acme:role/auditor --role-session-name audit"),
    ("$auditor-trusts", "iam update-assume-role-policy --role-name auditor --policy-document"),
    ("$site-block", "s3api put-public-access-block --bucket site --public-access-block-configuration"),
    (
        "$account-block",
        "s3control put-public-access-block --account-id $acme --public-access-block-configuration",
    ),
    ("$restricted", "RestrictPublicBuckets=true"),
];

/// Statements, but for the website's settings.
const DOCUMENTS: &[(&str, &str)] = &[
    ("{read-shared}", r#""Action": "s3:GetObject", "Resource": "arn:aws:s3:::shared/*""#),
    ("{read-everything}", r#""Action": "s3:GetObject", "Resource": "*""#),
    ("{all-of-ledger}", r#""Action": "s3:*", "Resource": "arn:aws:s3:::ledger/*""#),
    ("{assume-auditor}", r#""Action": "sts:AssumeRole", "Resource": "arn:aws:iam::$acme:role/auditor""#),
    ("{trust-acme}", r#""Action": "sts:AssumeRole", "Principal": {"AWS": "$acme"}"#),
    ("{trust-beta}", r#""Action": "sts:AssumeRole", "Principal": {"AWS": "$beta"}"#),
    (
        "{shared-with-bob}",
        r#""Action": "s3:*", "Resource": "arn:aws:s3:::shared/*",
           "Principal": {"AWS": "arn:aws:iam::$beta:user/bob"}"#,
    ),
    ("{public-site}", r#""Action": "s3:GetObject", "Resource": "arn:aws:s3:::site/*", "Principal": "*""#),
];
const WEBSITE_SETTINGS: &str = r#"{"IndexDocument": {"Suffix": "index.html"}}"#;

struct Story {
    up: Up,
    /// With the credentials of whom was introduced.
    who: BTreeMap<String, Aws>,
    /// What is known by the time of telling: accounts' numbers, ids of keys.
    numbers: BTreeMap<String, String>,
}

#[test]
fn two_tenants_share_assume_publish_and_revoke() {
    let Some(program) = aws_program() else {
        return skip("two_tenants_share_assume_publish_and_revoke", "aws-cli is not installed");
    };
    let up = Up::start(&["--s3-domain", "s3.localhost", "--s3-website-domain", "web.localhost"]);
    let aws = Aws::of_up(program, &up);
    let mut story = Story { up, who: BTreeMap::new(), numbers: BTreeMap::new() };
    for name in ["acme", "beta"] {
        story.found_project(name, &aws);
    }
    for chapter in [SHARED_BUCKET, ASSUMED_ROLE, WEBSITE, REVOKED] {
        story.tell(chapter);
    }
}

impl Story {
    fn found_project(&mut self, name: &str, aws: &Aws) {
        let args = ["project", "create", name, "-o", "json"];
        let output = self.up.client(trial::process::program()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let made: Value = serde_json::from_slice(&output.stdout).unwrap();
        self.numbers.insert(format!("${name}"), made["number"].as_str().unwrap().to_owned());
        self.who.insert(name.to_owned(), aws.with(&made));
    }

    fn tell(&mut self, chapter: &str) {
        let lines = chapter.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        for line in lines {
            let columns: Vec<&str> = line.splitn(3, '|').map(str::trim).collect();
            let [who, expected, typed] = columns[..] else { panic!("{line}") };
            let came = if who == "public" { self.visit(typed) } else { self.typed(who, expected, typed) };
            assert_eq!(came, expected, "{line}\n{}", tail(&self.up.dir.path().join("up.log")));
        }
    }

    /// The status with which the website's page comes.
    fn visit(&self, path: &str) -> String {
        let args = ["--silent", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Host: site.web.localhost"];
        let output = clean("curl").args(args).arg(format!("{}{path}", self.up.http())).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// What is expected if it works, else the error's code.
    fn typed(&mut self, who: &str, expected: &str, typed: &str) -> String {
        let words = self.words(typed);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let aws = &self.who[who];
        let mut command = aws.command(&words);
        command.args(["--output", "json"]);
        let output = command.output().unwrap();
        if !output.status.success() {
            let told = String::from_utf8_lossy(&output.stderr).into_owned();
            let code = told.split_once("An error occurred (").and_then(|(_, rest)| rest.split_once(')'));
            return code.map_or(told.as_str(), |(code, _)| code).to_owned();
        }
        if let Some(name) = expected.strip_prefix('=') {
            let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
            let key = ["AccessKey", "Credentials"].map(|kind| &answer[kind]);
            let key = key.into_iter().find(|found| found.is_object()).unwrap();
            self.numbers.insert(format!("${name}-key"), key["AccessKeyId"].as_str().unwrap().to_owned());
            let known = aws.with(key);
            self.who.insert(name.to_owned(), known);
            return expected.to_owned();
        }
        if expected.starts_with(|c: char| c.is_ascii_uppercase()) {
            return format!("it works, and answers {}", String::from_utf8_lossy(&output.stdout));
        }
        "ok".to_owned()
    }

    /// The words of a line, each `$` and `{}` resolved. `$last` is the line's last word.
    fn words(&self, typed: &str) -> Vec<String> {
        let mut given: Vec<&str> = typed.split_whitespace().collect();
        let alias = |word: &str| WORDS.iter().find(|(name, _)| *name == word).map(|(_, words)| *words);
        let begun: Vec<&str> = alias(given[0]).unwrap_or(given[0]).split(' ').collect();
        let last = begun.contains(&"$last").then(|| given.pop().unwrap());
        let told = begun.into_iter().map(|word| if word == "$last" { last.unwrap() } else { word });
        told.chain(given[1..].iter().map(|word| alias(word).unwrap_or(word)))
            .map(|word| self.resolve(word))
            .collect()
    }

    fn resolve(&self, word: &str) -> String {
        let mut text = match DOCUMENTS.iter().find(|(name, _)| *name == word) {
            Some((_, statement)) => {
                format!(r#"{{"Version": "2012-10-17", "Statement": {{"Effect": "Allow", {statement}}}}}"#)
            }
            None if word == "{website}" => WEBSITE_SETTINGS.to_owned(),
            None => word.to_owned(),
        };
        for (name, number) in &self.numbers {
            text = text.replace(name, number);
        }
        assert!(!text.contains('$'), "{word} is not known: {text}");
        text
    }
}
