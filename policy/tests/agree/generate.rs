//! Random worlds, made of few names that nearly match each other.

use serde_json::{Value, json};

use crate::reference::Who;
use crate::world::{GrantText, OWNER, Resource, World};

const OTHER: &str = "222222222222";

/// Splitmix64: the same seed makes the same world.
pub struct Random(pub u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(n).unwrap()).unwrap()
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.below(one_in) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, of: &[&'a T]) -> &'a T {
        of[self.below(of.len())]
    }

    /// One, or a list of up to three.
    fn some(&mut self, of: &[&str]) -> Value {
        if self.chance(2) {
            return json!(self.pick(of));
        }
        let count = 1 + self.below(3);
        Value::Array((0..count).map(|_| json!(self.pick(of))).collect())
    }
}

pub fn canonical(account: &str) -> String {
    account.repeat(6)[..64].to_owned()
}

const ACTIONS: &[&str] = &[
    "s3:GetObject",
    "s3:GetObject",
    "s3:getobject",
    "s3:GetObjectVersion",
    "s3:GetObjectAcl",
    "s3:PutObjectAcl",
    "s3:GetObjectVersionAcl",
    "s3:PutObjectVersionAcl",
    "s3:GetBucketAcl",
    "s3:PutBucketAcl",
    "s3:ListBucketVersions",
    "s3:ListBucketMultipartUploads",
    "s3:PutObject",
    "s3:PutObject",
    "s3:ListBucket",
    "s3:GetObjectTagging",
    "s3:DeleteObject",
    "s3:GetBucketPolicy",
    "s3:DeleteBucketPolicy",
];
/// Of those at the beginning, an ACL can give all but the last.
const OF_ACLS: usize = 16;
const PATTERNS: &[&str] = &[
    "s3:*",
    "*",
    "s3:Get*",
    "s3:GetObject",
    "S3:GETOBJECT",
    "s3:GetObject?*",
    "s3:*Object",
    "s3:?etObject",
    "s3:Put*",
    "s3:ListBucket",
    "s3:*Bucket*",
    "s3:DeleteObject",
];
const RESOURCES: &[&str] = &[
    "arn:aws:s3:::photos/a",
    "arn:aws:s3:::photos/alice/x",
    "arn:aws:s3:::photos/bob/x",
    "arn:aws:s3:::photos/*",
    "arn:aws:s3:::photos/a:b",
];
const RESOURCE_PATTERNS: &[&str] = &[
    "*",
    "arn:aws:s3:::*",
    "arn:aws:s3:*",
    "arn:aws:s3:::photos",
    "arn:aws:s3:::photos*",
    "arn:aws:s3:::photos/*",
    "arn:aws:s3:::photos/a",
    "arn:aws:s3:::photos/?",
    "arn:aws:s3:::photos/a*",
    "arn:aws:s3:::photos/*/x",
    "arn:aws:s3:::photos/${aws:username}/*",
    "arn:aws:s3:::photos/${aws:username, 'bob'}/x",
    "arn:aws:s3:::photos/${*}",
    "arn:aws:s3:::phot?s/al*e/?",
];
const TEXTS: &[&str] =
    &["", "a", "A", "a/", "a*", "alice", "alic?", "*", "${aws:username}", "${*}", "${s3:prefix,'a'}"];
/// Key, values in requests, values in policies, operators without affixes.
type Pool = (&'static str, &'static [&'static str], &'static [&'static str], &'static [&'static str]);
const POOLS: &[Pool] = &[
    ("s3:prefix", &["a", "A", "a/", "", "*", "alice", "bob"], TEXTS, STRINGS),
    ("aws:userid", &["alice", "AIDA1", "a"], &["alice", "AIDA1", "AIDA*", "${aws:username}"], STRINGS),
    ("s3:RequestObjectTagKeys", &["a", "b", "alice", "", "A"], TEXTS, STRINGS),
    ("s3:max-keys", &["10", "10.0", "9", "-1", "abc", "1e3"], &["10", "9.5", "-1", "0"], NUMBERS),
    (
        "aws:CurrentTime",
        &["2026-11-23T01:00:00Z", "2026-11-23", "2024-02-29T23:59:59Z", "1795395600"],
        &["2026-11-23", "2026-11-23T01:00:00Z", "2024-03-01", "2026", "1795395600"],
        DATES,
    ),
    ("aws:SecureTransport", &["true", "false", "maybe"], &["true", "false"], &["Bool"]),
    ("aws:Referer", &["QUJD", "QUJE", "?"], &["QUJD", "QUJE"], &["BinaryEquals"]),
    (
        "aws:SourceIp",
        &["192.0.2.1", "10.1.1.1", "2001:db8::1", "nowhere"],
        &["192.0.2.0/24", "192.0.2.1", "10.0.0.0/8", "0.0.0.0/0", "2001:db8::/32", "::/0", "10.0.0.0/7"],
        &["IpAddress", "NotIpAddress"],
    ),
    (
        "aws:PrincipalArn",
        &["arn:aws:iam::111111111111:user/alice", "arn:aws:iam::222222222222:role/alice:x", "alice"],
        &[
            "*",
            "arn:aws:iam::*:user/*",
            "arn:aws:iam::111111111111:user/${aws:username}",
            "${aws:PrincipalArn}",
            "arn:*",
        ],
        &["ArnEquals", "ArnLike", "ArnNotEquals", "ArnNotLike"],
    ),
];
const STRINGS: &[&str] = &[
    "StringEquals",
    "StringNotEquals",
    "StringEqualsIgnoreCase",
    "StringNotEqualsIgnoreCase",
    "StringLike",
    "StringNotLike",
];
const NUMBERS: &[&str] = &[
    "NumericEquals",
    "NumericNotEquals",
    "NumericLessThan",
    "NumericLessThanEquals",
    "NumericGreaterThan",
    "NumericGreaterThanEquals",
];
const DATES: &[&str] = &[
    "DateEquals",
    "DateNotEquals",
    "DateLessThan",
    "DateLessThanEquals",
    "DateGreaterThan",
    "DateGreaterThanEquals",
];

/// Indexes into [`POOLS`]: all, the key with many values more often.
const ANY_POOL: &[usize] = &[0, 1, 2, 2, 2, 3, 4, 5, 6, 7, 8];
/// Those of keys that can keep a policy from being public.
const LIMITING_POOL: &[usize] = &[1, 7];

fn conditions(random: &mut Random) -> Value {
    let count = random.below(3);
    some_conditions(random, count, ANY_POOL)
}

fn some_conditions(random: &mut Random, count: usize, pools: &[usize]) -> Value {
    let mut all = serde_json::Map::new();
    for _ in 0..count {
        let (key, _, wanted, operators) = POOLS[pools[random.below(pools.len())]];
        let operator = if random.chance(8) {
            "Null".to_owned()
        } else {
            let set = random.pick(&["", "", "ForAllValues:", "ForAnyValue:"]);
            let suffix = random.pick(&["", "", "IfExists"]);
            format!("{set}{}{suffix}", random.pick(operators))
        };
        let values = if operator == "Null" { random.some(&["true", "false"]) } else { random.some(wanted) };
        let keys = all.entry(operator).or_insert_with(|| json!({}));
        keys.as_object_mut().unwrap().insert(key.to_owned(), values);
    }
    Value::Object(all)
}

fn arns() -> Vec<String> {
    let mut arns = Vec::new();
    for account in [OWNER, OTHER] {
        arns.push(format!("arn:aws:iam::{account}:user/alice"));
        arns.push(format!("arn:aws:iam::{account}:role/alice"));
        arns.push(format!("arn:aws:sts::{account}:assumed-role/alice/one"));
        arns.push(format!("arn:aws:sts::{account}:federated-user/one"));
    }
    arns
}

fn principal(random: &mut Random, trust: bool) -> Value {
    if random.chance(5) {
        return json!("*");
    }
    let mut names = arns();
    names.extend([OWNER, OWNER, OTHER, OTHER].map(str::to_owned));
    names.push(format!("arn:aws:iam::{OTHER}:root"));
    names.push("*".to_owned());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut all = json!({"AWS": random.some(&names)});
    if random.chance(5) {
        all["Service"] = json!("logging.s3.amazonaws.com");
    }
    if random.chance(5) && !trust {
        all["CanonicalUser"] = json!(canonical(random.pick(&[OWNER, OTHER])));
    }
    all
}

fn policy(random: &mut Random, kind: &str) -> Value {
    let count = 1 + random.below(2);
    let statements: Vec<Value> = (0..count)
        .map(|_| {
            let deny = random.chance(4);
            let mut statement =
                json!({"Effect": if deny { "Deny" } else { "Allow" }, "Condition": conditions(random)});
            let except = random.chance(8);
            if kind == "trust" {
                statement["Action"] = random.some(&["sts:AssumeRole", "sts:*", "sts:TagSession"]);
            } else {
                statement[if except { "NotAction" } else { "Action" }] = random.some(PATTERNS);
                let name = if random.chance(8) { "NotResource" } else { "Resource" };
                statement[name] = random.some(RESOURCE_PATTERNS);
            }
            if kind != "identity" {
                let name =
                    if deny && kind == "bucket" && random.chance(2) { "NotPrincipal" } else { "Principal" };
                statement[name] = principal(random, kind == "trust");
            }
            statement
        })
        .collect();
    json!({"Version": random.pick(&["2012-10-17", "2012-10-17", "2008-10-17"]), "Statement": statements})
}

fn who(random: &mut Random) -> Who {
    let account = random.pick(&[OWNER, OWNER, OTHER]);
    let kind = random.pick(&["anonymous", "root", "user", "user", "role", "role", "federated", "service"]);
    who_of(kind, account)
}

fn who_of(kind: &'static str, account: &str) -> Who {
    let arns = match kind {
        "user" => vec![format!("arn:aws:iam::{account}:user/alice")],
        "role" => vec![
            format!("arn:aws:iam::{account}:role/alice"),
            format!("arn:aws:sts::{account}:assumed-role/alice/one"),
        ],
        "federated" => vec![
            format!("arn:aws:iam::{account}:user/alice"),
            format!("arn:aws:sts::{account}:federated-user/one"),
        ],
        "service" => vec!["logging.s3.amazonaws.com".to_owned()],
        _ => Vec::new(),
    };
    let has_account = !matches!(kind, "anonymous" | "service");
    let canonical = has_account.then(|| canonical(account));
    Who { kind, account: has_account.then(|| account.to_owned()), arns, canonical }
}

/// Half of the worlds are narrowed, so that one rule alone decides and nothing hides it.
pub fn world(random: &mut Random) -> World {
    let mut world = any_world(random);
    let everything = json!({"Effect": "Allow", "Action": "*", "Resource": "*"});
    match random.below(7) {
        // One condition of an identity's policy.
        0 | 1 => {
            let mut statement = everything;
            statement["Condition"] = some_conditions(random, 1, ANY_POOL);
            world.who = who_of("user", OWNER);
            world.identity = vec![json!({"Version": "2012-10-17", "Statement": [statement]})];
            (world.boundary, world.session, world.attached) = (None, None, Resource::None);
        }
        // The resource's side, without conditions, and a caller's account that allows or not.
        2 => {
            let bare = |policy: &mut Value| {
                let statements = policy["Statement"].as_array_mut().unwrap();
                statements.iter_mut().for_each(|statement| statement["Condition"] = json!({}));
            };
            if let Resource::Bucket(policy) | Resource::Trust(policy) = &mut world.attached {
                bare(policy);
            }
            let allows = random.chance(2);
            world.identity = if allows {
                vec![json!({"Version": "2012-10-17", "Statement": [everything]})]
            } else {
                Vec::new()
            };
        }
        // Whether a bucket's policy is public: another account's user is kept out of it then.
        3 => {
            let mut statement = everything.clone();
            statement["Principal"] = json!("*");
            statement["Condition"] = some_conditions(random, 1, LIMITING_POOL);
            world.who = who_of("user", OTHER);
            world.action = "s3:GetObject".to_owned();
            world.identity = vec![json!({"Version": "2012-10-17", "Statement": [everything]})];
            world.attached = Resource::Bucket(json!({"Version": "2012-10-17", "Statement": [statement]}));
            (world.boundary, world.session, world.acls_enabled) = (None, None, false);
            world.restrict_public_buckets = true;
        }
        // ACLs alone, beside a caller's account that allows or not.
        4 => {
            world.attached = Resource::None;
            (world.boundary, world.session, world.acls_enabled) = (None, None, true);
            world.action = random.pick(&ACTIONS[..OF_ACLS]).to_owned();
            let allows = random.chance(2);
            let all = json!({"Version": "2012-10-17", "Statement": [everything]});
            world.identity = if allows { vec![all] } else { Vec::new() };
        }
        _ => {}
    }
    world
}

fn acl(random: &mut Random) -> Vec<GrantText> {
    let grants = random.below(3);
    let grant = |_| {
        let to = random.pick(&["all", "authenticated", "log", OWNER, OTHER, OTHER]);
        let to = if to.len() == 12 { canonical(to) } else { to.to_owned() };
        (to, random.pick(&["READ", "READ", "WRITE", "READ_ACP", "WRITE_ACP", "FULL_CONTROL"]))
    };
    (0..grants).map(grant).collect()
}

fn any_world(random: &mut Random) -> World {
    let trust = random.chance(8);
    let mut keys = Vec::new();
    for (key, values, ..) in POOLS {
        if random.chance(2) {
            let count = if *key == "s3:RequestObjectTagKeys" { random.below(3) } else { 1 };
            keys.push(((*key).to_owned(), (0..count).map(|_| random.pick(values).to_owned()).collect()));
        }
    }
    if random.chance(2) {
        keys.push((
            "aws:username".to_owned(),
            vec![random.pick(&["alice", "alice", "bob", "*", "*", "A"]).to_owned()],
        ));
    }
    let attached = match random.below(4) {
        _ if trust => Resource::Trust(policy(random, "trust")),
        0 => Resource::None,
        _ => Resource::Bucket(policy(random, "bucket")),
    };
    World {
        who: who(random),
        action: if trust { "sts:AssumeRole".to_owned() } else { random.pick(ACTIONS).to_owned() },
        resource: random.pick(RESOURCES).to_owned(),
        keys,
        identity: (0..random.below(3)).map(|_| policy(random, "identity")).collect(),
        boundary: random.chance(4).then(|| policy(random, "identity")),
        session: random.chance(4).then(|| {
            let count = random.below(3);
            (0..count).map(|_| policy(random, "identity")).collect()
        }),
        attached,
        acls_enabled: random.chance(3),
        bucket_acl: acl(random),
        object_acl: acl(random),
        object_account: random.chance(2).then(|| OTHER.to_owned()),
        ignore_public_acls: random.chance(2),
        restrict_public_buckets: random.chance(3),
    }
}
