//! From what there is to findings, each with its mending. What counts is decided by `policy::findings`.

use super::mend;
use super::survey::{Account, Bucket, Survey, User};
use super::{Found, Rule, Severity};
use meta::identity::{IdentityKey, IdentityRecord};
use meta::key_use::KeyUse;
use meta::object::Versioning;
use objectd::bucket_rules::{BucketRules, ParsedPolicies, block_of};
use policy::findings::{
    BucketView, Finding, KeyView, Setting, of_account, of_bucket, of_identity_policy, of_key, of_root_key,
    of_trust,
};
use policy::{Kind, Policy};

pub fn findings(survey: &Survey, now_s: u64) -> Vec<Found> {
    let mut found = Vec::new();
    for account in &survey.accounts {
        found.extend(block(account));
        found.extend(account.users.iter().flat_map(|user| administrator(account, user)));
        found.extend(account.roles.iter().filter_map(trust));
        found.extend(account.keys.iter().flat_map(|(key, used)| of_one_key(key, used.as_ref(), now_s)));
    }
    found.extend(survey.buckets.iter().flat_map(bucket));
    found
}

fn block(account: &Account) -> Option<Found> {
    of_account(account.record.block.map(|block| block_of(Some(block))))?;
    let number = &account.record.number;
    Some(Found {
        severity: Severity::Medium,
        rule: Rule::AccountBlockOff,
        account: number.clone(),
        what: "the account's public access block is off, or not all of it is on".to_owned(),
        why: "only each bucket's own block then keeps the public out, and whoever may lift that can open the bucket"
            .to_owned(),
        mend: mend::block_account(number),
    })
}

fn bucket(bucket: &Bucket) -> Vec<Found> {
    let (record, access) = (&bucket.access.bucket, &bucket.access.access);
    let name = record.name.as_str();
    let text = access.policy.as_deref().unwrap_or_default();
    let policy = Policy::parse(text, Kind::Bucket(name)).ok();
    let rules = BucketRules::new(bucket.access.clone(), &ParsedPolicies::default());
    let acl = rules.has_acls().then(|| rules.acl());
    let view = BucketView {
        account: &bucket.account,
        canonical_id: &record.owner,
        policy: policy.as_ref(),
        acl: acl.as_ref(),
        block: block_of(access.block).with(block_of(bucket.access.account_block)),
        versioning: if bucket.versioning == Versioning::Enabled { Setting::On } else { Setting::Off },
        encryption: if bucket.is_encrypted { Setting::On } else { Setting::Off },
    };
    let all = of_bucket(&view);
    let found = |(severity, rule, what, why, mend): Told| {
        let account = bucket.account.clone();
        Found { severity, rule, account, what, why: why.to_owned(), mend }
    };
    let unversioned = all.contains(&Finding::NoVersioning).then(|| {
        (
            Severity::Low,
            Rule::NoVersioning,
            format!("bucket {name} keeps no versions"),
            "what is overwritten or deleted there is gone at once",
            mend::keep_versions(name),
        )
    });
    let unencrypted = all.contains(&Finding::NoEncryption).then(|| {
        (
            Severity::Low,
            Rule::NoEncryption,
            format!("bucket {name} keeps what is put in clear, unless its writer asks for encryption"),
            "who gets hold of a disk can read it",
            mend::encrypt(name),
        )
    });
    let told = by_policy(name, text, &all).into_iter().chain(by_acl(name, &all));
    let told = told.chain(unversioned).chain(unencrypted);
    told.map(found).collect()
}

/// A finding of a bucket, but for whose it is: how bad, which, what, why, and its mending.
type Told = (Severity, Rule, String, &'static str, String);

/// To whom the bucket's policy opens it. All of one finding, since one command mends all of a policy.
fn by_policy(name: &str, text: &str, all: &[Finding]) -> Option<Told> {
    let public = statements(all, |finding| matches!(finding, Finding::PublicPolicy { .. }));
    let shared = others(all);
    if !public.is_empty() {
        return Some((
            Severity::Critical,
            Rule::PublicBucket,
            format!("bucket {name} is public by {} of its policy", named(&public)),
            "everybody may do what the policy says, without a key, and no public access block keeps them out",
            mend::block_bucket(name),
        ));
    }
    (!shared.is_empty()).then(|| {
        (
            Severity::Medium,
            Rule::SharedBucket,
            format!("bucket {name} is shared with {} by {} of its policy", whom(&shared), at(&shared)),
            "who is named decides who of theirs may do what the policy says",
            mend::bucket_policy(name, text, &shared),
        )
    })
}

/// To whom its access control list does.
fn by_acl(name: &str, all: &[Finding]) -> Option<Told> {
    let public = all.iter().any(|finding| matches!(finding, Finding::PublicAcl { .. }));
    let granted = all.iter().filter_map(|finding| match finding {
        Finding::SharedAcl { with, .. } => Some(with.as_str()),
        _ => None,
    });
    let granted: Vec<&str> = granted.collect();
    if public {
        return Some((
            Severity::Critical,
            Rule::PublicAcl,
            format!("bucket {name} is open to everybody by its access control list"),
            "everybody, or everybody with a key of any account, may do what the list grants, such as see all names",
            mend::private_acl(name),
        ));
    }
    (!granted.is_empty()).then(|| {
        (
            Severity::Medium,
            Rule::SharedAcl,
            format!("bucket {name} is shared with {} by its access control list", granted.join(", ")),
            "who is named decides who of theirs may do what the list grants",
            mend::private_acl(name),
        )
    })
}

/// Which statements these findings are of.
fn statements(all: &[Finding], wanted: impl Fn(&Finding) -> bool) -> Vec<usize> {
    let of = |finding: &Finding| match finding {
        Finding::PublicPolicy { statement } | Finding::SharedPolicy { statement, .. } => Some(*statement),
        _ => None,
    };
    all.iter().filter(|finding| wanted(finding)).filter_map(of).collect()
}

/// Whom of other accounts the findings are about, and by which statement.
fn others(all: &[Finding]) -> Vec<mend::TooMuch<'_>> {
    all.iter()
        .filter_map(|finding| match finding {
            Finding::SharedPolicy { statement, with } => Some((*statement, with.as_str())),
            _ => None,
        })
        .collect()
}

fn named(statements: &[usize]) -> String {
    let word = if statements.len() == 1 { "statement" } else { "statements" };
    let numbers: Vec<String> = statements.iter().map(usize::to_string).collect();
    format!("{word} {}", numbers.join(", "))
}

fn at(shared: &[mend::TooMuch<'_>]) -> String {
    let mut statements: Vec<usize> = shared.iter().map(|(statement, _)| *statement).collect();
    statements.dedup();
    named(&statements)
}

fn whom(shared: &[mend::TooMuch<'_>]) -> String {
    let who = |(_, who): &mend::TooMuch<'_>| match *who {
        "*" => "everybody whom its conditions leave".to_owned(),
        who => who.to_owned(),
    };
    shared.iter().map(who).collect::<Vec<_>>().join(", ")
}

/// Every role that others than its account may take on.
fn trust(role: &IdentityRecord) -> Option<Found> {
    let text = role.role.as_ref()?.trust.as_str();
    let all = of_trust(&Policy::parse(text, Kind::Trust).ok()?, &role.of.account);
    let public = statements(&all, |finding| matches!(finding, Finding::PublicPolicy { .. }));
    let shared = others(&all);
    let too_much: Vec<_> = public.iter().map(|at| (*at, "*")).chain(shared.iter().copied()).collect();
    let name = &role.of.name;
    let (severity, rule, what, why) = if !public.is_empty() {
        let what = format!("role {name} trusts everybody by {} of its trust policy", named(&public));
        let why = "any user of any account may take it on, and then do what the role may";
        (Severity::Critical, Rule::PublicRole, what, why)
    } else if !shared.is_empty() {
        let what = format!("role {name} trusts {} by {} of its trust policy", whom(&shared), at(&shared));
        let why = "who is named decides who of theirs may do what the role may";
        (Severity::Medium, Rule::SharedRole, what, why)
    } else {
        return None;
    };
    let account = role.of.account.clone();
    let mend = mend::trust(role, text, &too_much);
    Some(Found { severity, rule, account, what, why: why.to_owned(), mend })
}

/// One finding for each way by which a user may do everything: each is mended by itself. Whom a boundary limits can't.
fn administrator(account: &Account, user: &User) -> Vec<Found> {
    if user.boundary.as_deref().is_some_and(|text| !is_everything(text)) {
        return Vec::new();
    }
    let user = &user.record;
    let name = &user.of.name;
    let found = |how: String, mend: String| Found {
        severity: Severity::High,
        rule: Rule::Administrator,
        account: account.record.number.clone(),
        what: format!("user {name} may do everything, {how}"),
        why:
            "whoever has one of its keys has the account; give people what they need, and a role for the rest"
                .to_owned(),
        mend,
    };
    let mut findings = Vec::new();
    for inline in user.inline.iter().filter(|policy| is_everything(&policy.text)) {
        let policy = &inline.name;
        findings.push(found(
            format!("by its inline policy {policy}"),
            format!("aws iam delete-user-policy --user-name {name} --policy-name {policy}"),
        ));
    }
    for arn in administering(account, user) {
        findings.push(found(
            format!("by the policy {arn}, which is attached to it"),
            format!("aws iam detach-user-policy --user-name {name} --policy-arn {arn}"),
        ));
    }
    let is_of = |group: &&IdentityRecord| user.groups.contains(&group.of.name);
    for group in account.groups.iter().filter(is_of) {
        let inline = group.inline.iter().any(|policy| is_everything(&policy.text));
        if inline || administering(account, group).next().is_some() {
            let group = &group.of.name;
            findings.push(found(
                format!("by its group {group}"),
                format!("aws iam remove-user-from-group --group-name {group} --user-name {name}"),
            ));
        }
    }
    findings
}

fn is_everything(text: &str) -> bool {
    Policy::parse(text, Kind::RoleInline).is_ok_and(|policy| !of_identity_policy(&policy).is_empty())
}

/// Which of the policies that are attached to it allow everything.
fn administering<'a>(account: &'a Account, of: &'a IdentityRecord) -> impl Iterator<Item = &'a String> {
    of.attached.iter().filter(|arn| {
        let attached = account.managed.iter().find(|policy| policy.arn() == **arn);
        attached.is_some_and(|policy| is_everything(&policy.text))
    })
}

/// Of those that work: one that is turned off harms nobody.
fn of_one_key(key: &IdentityKey, used: Option<&KeyUse>, now_s: u64) -> Vec<Found> {
    if !key.active {
        return Vec::new();
    }
    let view =
        KeyView { created_s: key.created_ms / 1000, last_used_s: used.map(|used| used.used_ms / 1000) };
    let mut all = of_key(view, now_s);
    if key.user.is_none() {
        all.extend(of_root_key(view, now_s));
    }
    let user = key.user.as_deref();
    let holder = user.map_or_else(|| "the account's root".to_owned(), |user| format!("user {user}"));
    let found = |severity, rule, how: String, why: &str| Found {
        severity,
        rule,
        account: key.account.clone(),
        what: format!("the key {} of {holder} {how}", key.id),
        why: why.to_owned(),
        mend: mend::deactivate_key(user, &key.id),
    };
    let describe = |finding: Finding| match finding {
        Finding::OldKey { age_days } => Some(found(
            Severity::Medium,
            Rule::OldKey,
            format!("is {age_days} days old"),
            "the older a key, the more places have seen it; make another, let it be used, and turn this one off",
        )),
        Finding::UnusedKey { idle_days } => Some(found(
            Severity::Medium,
            Rule::UnusedKey,
            match idle_days {
                Some(days) => format!("was last used {days} days ago"),
                None => "was never used".to_owned(),
            },
            "nobody misses it, and nobody would notice if somebody else used it",
        )),
        Finding::RootKeyUsed { idle_days } => Some(found(
            Severity::High,
            Rule::RootKeyUsed,
            match idle_days {
                0 => "was used within a day".to_owned(),
                days => format!("was used {days} days ago"),
            },
            "no policy limits a root; make users with what they need, and turn its keys off",
        )),
        _ => None,
    };
    all.into_iter().filter_map(describe).collect()
}
