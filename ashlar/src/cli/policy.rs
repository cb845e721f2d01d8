//! `ashlar policy`: what would be decided, by the same rules and from the same bucket as at a gateway.

use crate::cli::client::{Client, ClientArgs};
use crate::cli::findings;
use crate::cli::output::{fields, show};
use crate::error::{Error, Exit};
use meta::identity::IdentityKind;
use meta::identity_command::{IdentityAnswer, IdentityQuery};
use meta::object::FoundVersion;
use meta::query::{Answer, ObjectPart, Query};
use objectd::auth::{Holder, Principal, Who};
use objectd::bucket_rules::{Asked, BucketRules, ObjectGrants, ParsedPolicies};
use objectd::context::{account_of, caller_of, principal_keys, time_keys};
use objectd::identity_rules::{IdentityRules, ParsedIdentities};
use objectd::principals::Named;
use policy::{At, Context, Decision, Layer, Reason, ResourceType, resource_type};
use rt::clock::{Clock, SystemClock};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Say whether a request would be allowed, and what decides; the exit code is 4 if it would be denied
    Test {
        #[command(flatten)]
        client: ClientArgs,
        /// The bucket whose policy, ACLs and public access block are asked
        #[arg(long, value_name = "NAME")]
        bucket: String,
        /// Who asks: anonymous, an account by its number or its root's ARN, or a user or role by its ARN
        #[arg(long, value_name = "WHO")]
        principal: String,
        /// What is asked for, such as s3:GetObject
        #[arg(long, value_name = "ACTION")]
        action: String,
        /// The ARN of what it is done to [default: the bucket's]
        #[arg(long, value_name = "ARN")]
        resource: Option<String>,
        /// A condition key of the request, such as aws:SourceIp=10.0.0.1; may be given more than once. What is not
        /// given is missing, but for the time and who asks
        #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
        context: Vec<(String, String)>,
    },
    /// List what is open or unsafe, each with the command that mends it; the exit code is 8 if there is any
    Findings(findings::Args),
}

/// What was decided.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Verdict {
    allowed: bool,
    /// What decided, in words.
    why: String,
    /// The policy of the statement that decided, if one did.
    policy: Option<String>,
    /// Its place there, from 0.
    statement: Option<usize>,
    sid: Option<String>,
}

pub fn run(command: Command) -> Result<(), Error> {
    let (client, bucket, principal, action, resource, context) = match command {
        Command::Test { client, bucket, principal, action, resource, context } => {
            (client, bucket, principal, action, resource, context)
        }
        Command::Findings(args) => return findings::run(&args),
    };
    let named = parse_principal(&principal)?;
    let key = parse_resource(&bucket, resource.as_deref())?;
    check_action(&action, key.as_deref())?;
    let daemon = Client::new(&client)?;
    let principal = match named {
        Whom::Known(principal) => principal,
        Whom::Named(named) => look_up(&daemon, named)?,
    };
    let Answer::BucketAccess(found) = daemon.ask(Query::BucketAccess { name: bucket })? else {
        return Err(Error::failed("the control plane's answer is not about a bucket"));
    };
    let mut keys = Context::new();
    time_keys(&mut keys, SystemClock.wall().0);
    principal_keys(&mut keys, &principal);
    let mut given: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in context {
        given.entry(key.to_ascii_lowercase()).or_default().push(value);
    }
    for (key, values) in given {
        keys.set_all(&key, values);
    }
    let rules = BucketRules::new(found, &ParsedPolicies::default());
    let object = match &key {
        Some(key) if rules.has_acls() => look_at(&daemon, &rules, key)?,
        _ => None,
    };
    let verdict = decide(&rules, object.as_ref(), &principal, (&action, key.as_deref()), &keys);
    show(client.output, &verdict, table)?;
    match verdict.allowed {
        true => Ok(()),
        false => Err(Error::new(Exit::Denied, "the request would be denied")),
    }
}

/// What an object grants, if it is there. Of a version it is the newest's.
fn look_at(daemon: &Client, rules: &BucketRules, key: &str) -> Result<Option<ObjectGrants>, Error> {
    let (bucket, key) = (rules.record.name.clone(), key.to_owned());
    match daemon.ask(Query::Version { bucket, key, version: None, part: ObjectPart::Head }) {
        Ok(Answer::Version(FoundVersion::Object(object))) => {
            Ok(Some(rules.grants_of(object.annotations.acl.as_ref())))
        }
        Ok(Answer::Version(FoundVersion::DeleteMarker { .. })) => Ok(None),
        Ok(_) => Err(Error::failed("the control plane's answer is not about an object")),
        Err(error) if error.exit == Exit::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn decide(
    rules: &BucketRules,
    object: Option<&ObjectGrants>,
    principal: &Principal,
    (action, key): (&str, Option<&str>),
    context: &Context,
) -> Verdict {
    let caller = caller_of(principal);
    let own = IdentityRules::of(principal, &ParsedIdentities::default());
    let owner = principal.owner();
    let asked = Asked { caller: &caller, rules: &own, owner, action, key, object, context };
    explain(rules.decide(asked), rules.has_policy())
}

fn explain(decision: Decision, has_policy: bool) -> Verdict {
    let allowed = decision.allowed;
    let plain =
        |why: &str| Verdict { allowed, why: why.to_owned(), policy: None, statement: None, sid: None };
    let by = |at: At, why: &str| Verdict {
        policy: Some(at.policy),
        statement: Some(at.statement),
        sid: at.sid,
        ..plain(why)
    };
    match decision.reason {
        Reason::Statement(at) if allowed => by(at, "the statement allows it"),
        Reason::Statement(at) => by(at, "the statement denies it"),
        Reason::Restricted(at) => by(
            at,
            "the statement makes the bucket public, and RestrictPublicBuckets of its public access block then lets \
             in its own account only",
        ),
        Reason::Unreadable(_, policy) => Verdict {
            policy: Some(policy),
            ..plain("the policy can't be read, so all is denied; the account's root can replace or delete it")
        },
        Reason::Root => plain("the caller is the root of the account that owns the bucket"),
        Reason::BucketAcl(grant) => plain(&format!("grant {grant} of the bucket's ACL allows it")),
        Reason::ObjectAcl(grant) => plain(&format!("grant {grant} of the object's ACL allows it")),
        Reason::NoAllow(Layer::Resource) if !has_policy => {
            plain("the bucket has no policy, and the caller is not of the account that owns it")
        }
        Reason::NoAllow(Layer::Boundary) => {
            plain("no statement of the caller's permissions boundary allows it")
        }
        Reason::NoAllow(Layer::Session) => plain("no statement of the session's policies allows it"),
        Reason::NoAllow(_) => plain("no statement allows it"),
    }
}

fn table(verdict: &Verdict) -> String {
    let mut rows = vec![
        ("decision", if verdict.allowed { "allowed" } else { "denied" }.to_owned()),
        ("why", verdict.why.clone()),
    ];
    rows.extend(verdict.policy.clone().map(|policy| ("policy", policy)));
    let statement = verdict.statement.map(|index| match &verdict.sid {
        Some(sid) => format!("{index} ({sid})"),
        None => index.to_string(),
    });
    rows.extend(statement.map(|statement| ("statement", statement)));
    fields(&rows)
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if key.contains(':') => Ok((key.to_owned(), value.to_owned())),
        _ => Err("must be KEY=VALUE, such as aws:SourceIp=10.0.0.1".to_owned()),
    }
}

/// Who is asked about.
#[derive(Debug)]
enum Whom {
    Known(Principal),
    /// A user or role, to be looked up.
    Named(Named),
}

fn parse_principal(text: &str) -> Result<Whom, Error> {
    if text == "anonymous" {
        return Ok(Whom::Known(Principal::Anonymous));
    }
    if let Some(named) = Named::parse(text) {
        return Ok(Whom::Named(named));
    }
    let number =
        text.strip_prefix("arn:aws:iam::").and_then(|rest| rest.strip_suffix(":root")).unwrap_or(text);
    if number.len() != policy::limits::ACCOUNT_DIGITS || !number.bytes().all(|byte| byte.is_ascii_digit()) {
        let why = format!(
            "{text} is nobody: a principal is anonymous, an account's number, arn:aws:iam::NUMBER:root, or the ARN \
             of a user or role"
        );
        return Err(Error::usage(why));
    }
    // Names and numbers of owners change places with each other.
    let owner = account_of(number);
    Ok(Whom::Known(Principal::Key {
        access_key_id: String::new(),
        owner: owner.to_owned(),
        holder: Holder::root(owner),
    }))
}

/// A user or role with its policies. A role is asked about as its sessions are, without policies of their own.
fn look_up(daemon: &Client, named: Named) -> Result<Principal, Error> {
    let Answer::Identity(IdentityAnswer::Effective(found)) =
        daemon.ask(Query::Identity(IdentityQuery::Effective(named.of)))?
    else {
        return Err(Error::failed("the control plane's answer is not about a user or role"));
    };
    if named.arn.is_some_and(|arn| arn != found.record.arn()) {
        let why = format!("there is nobody of that path; its ARN is {}", found.record.arn());
        return Err(Error::new(Exit::NotFound, why));
    }
    let account = found.record.of.account.clone();
    let who = match found.record.of.kind {
        IdentityKind::Role => Who::Role { role: Arc::new(*found), session: "test".to_owned() },
        IdentityKind::User | IdentityKind::Group => Who::User(Arc::new(*found)),
    };
    let owner = account_of(&account).to_owned();
    let holder = Holder { account, who, temporary: None };
    Ok(Principal::Key { access_key_id: String::new(), owner, holder })
}

/// The key in the resource's ARN, if it is of an object.
fn parse_resource(bucket: &str, resource: Option<&str>) -> Result<Option<String>, Error> {
    let Some(resource) = resource else { return Ok(None) };
    let name = resource.strip_prefix("arn:aws:s3:::").unwrap_or_default();
    match name.split_once('/') {
        None if name == bucket => Ok(None),
        Some((name, key)) if name == bucket && !key.is_empty() => Ok(Some(key.to_owned())),
        _ => {
            let why = format!(
                "{resource} is not of the bucket: write arn:aws:s3:::{bucket} or arn:aws:s3:::{bucket}/KEY"
            );
            Err(Error::usage(why))
        }
    }
}

fn check_action(action: &str, key: Option<&str>) -> Result<(), Error> {
    let on = resource_type(action).ok_or_else(|| Error::usage(format!("{action} is no action of S3")))?;
    match (on, key) {
        (ResourceType::Bucket, None) | (ResourceType::Object, Some(_)) => Ok(()),
        (ResourceType::Bucket, Some(_)) => {
            Err(Error::usage(format!("{action} is done to a bucket, not to an object")))
        }
        (ResourceType::Object, None) => {
            Err(Error::usage(format!("{action} is done to an object: name it with --resource")))
        }
        (ResourceType::Account, _) => Err(Error::usage(format!("{action} is not about a bucket"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use meta::acl::{AclGrant, AclPermission, Grantee, ObjectAcl};
    use meta::object::{AccessRecord, BlockPublicAccess, BucketRecord, ObjectOwnership};
    use meta::query::BucketAccess;

    fn bucket(policy: Option<&str>, block: Option<BlockPublicAccess>) -> BucketAccess {
        let bucket = BucketRecord {
            id: 1,
            name: "site".into(),
            owner: "root".into(),
            created_ms: 1,
            block_public_access: BlockPublicAccess::ALL,
            ownership: ObjectOwnership::BucketOwnerEnforced,
        };
        let policy = policy.map(|text| {
            format!(
                r#"{{"Version": "2012-10-17", "Statement": [{{"Sid": "one", "Effect": "{text}", "Principal": "*",
                    "Action": "s3:GetObject", "Resource": "arn:aws:s3:::site/*",
                    "Condition": {{"IpAddress": {{"aws:SourceIp": "10.0.0.0/7"}}}}}}]}}"#
            )
        });
        let access = AccessRecord { policy, block, ..AccessRecord::of_new(&bucket) };
        let (account_block, bound, encryption) = (None, vec![], None);
        BucketAccess { bucket, access, account_block, bound, notifies: false, logs: false, encryption }
    }

    fn get(found: BucketAccess, principal: &str, from: &str) -> Verdict {
        let mut context = Context::new();
        context.set("aws:SourceIp", from);
        let Whom::Known(principal) = parse_principal(principal).unwrap() else { panic!() };
        let rules = BucketRules::new(found, &ParsedPolicies::default());
        decide(&rules, None, &principal, ("s3:GetObject", Some("k")), &context)
    }

    #[test]
    fn acls_decide_where_they_are_on() {
        let to_all = |permission| Some(vec![AclGrant { to: Grantee::AllUsers, permission }]);
        let ask = |ownership, block, action, key: Option<&str>| {
            let mut found = bucket(None, block);
            found.access.ownership = ownership;
            found.access.acl = to_all(AclPermission::Read);
            let rules = BucketRules::new(found, &ParsedPolicies::default());
            let acl = ObjectAcl { owner: None, grants: to_all(AclPermission::Read) };
            let object = key.map(|_| rules.grants_of(Some(&acl)));
            decide(&rules, object.as_ref(), &Principal::Anonymous, (action, key), &Context::new())
        };
        let on = Some(ObjectOwnership::ObjectWriter);
        let list = ask(on, None, "s3:ListBucket", None);
        assert!(list.allowed && list.why == "grant 0 of the bucket's ACL allows it");
        let get = ask(on, None, "s3:GetObject", Some("k"));
        assert!(get.allowed && get.why == "grant 0 of the object's ACL allows it");
        assert!(!ask(on, None, "s3:PutObject", Some("k")).allowed);
        assert!(!ask(on, Some(BlockPublicAccess::ALL), "s3:GetObject", Some("k")).allowed);
        let off = Some(ObjectOwnership::BucketOwnerEnforced);
        assert!(!ask(off, None, "s3:GetObject", Some("k")).allowed);
    }

    #[test]
    fn verdicts_name_what_decided() {
        const ROOT: &str = "arn:aws:iam::000000000000:root";
        let allow = get(bucket(Some("Allow"), None), "anonymous", "10.0.0.1");
        assert!(allow.allowed && allow.why == "the statement allows it");
        assert_eq!((allow.policy.as_deref(), allow.statement), (Some("bucket/site"), Some(0)));
        let text = table(&allow);
        assert!(text.starts_with("decision   allowed\n") && text.contains("statement  0 (one)"), "{text}");
        let elsewhere = get(bucket(Some("Allow"), None), "anonymous", "192.0.2.1");
        assert!(!elsewhere.allowed && elsewhere.why == "no statement allows it");
        let blocked = get(bucket(Some("Allow"), Some(BlockPublicAccess::ALL)), "anonymous", "10.0.0.1");
        assert!(!blocked.allowed && blocked.why.contains("RestrictPublicBuckets"));
        let none = get(bucket(None, None), "111122223333", "10.0.0.1");
        assert!(!none.allowed && none.why.contains("no policy"));
        assert!(get(bucket(None, None), ROOT, "10.0.0.1").allowed);
        assert!(get(bucket(None, None), "000000000000", "10.0.0.1").allowed);
        let denied = get(bucket(Some("Deny"), None), ROOT, "10.0.0.1");
        assert!(!denied.allowed && denied.sid.as_deref() == Some("one"));
        let unreadable = get(bucket(Some("Perhaps"), None), ROOT, "10.0.0.1");
        assert!(!unreadable.allowed && unreadable.why.contains("can't be read"));
    }

    #[test]
    fn questions_that_make_no_sense_are_usage_errors() {
        let user = parse_principal("arn:aws:iam::111122223333:user/a/alice").unwrap();
        assert!(matches!(user, Whom::Named(named) if named.of.name == "alice"));
        for bad in ["", "*", "alice", "arn:aws:iam::111122223333:group/alice", "1234"] {
            assert_eq!(parse_principal(bad).unwrap_err().exit, Exit::Usage, "{bad}");
        }
        assert_eq!(parse_resource("site", Some("arn:aws:s3:::site/a/b")).unwrap().as_deref(), Some("a/b"));
        assert_eq!(parse_resource("site", Some("arn:aws:s3:::site")).unwrap(), None);
        for bad in ["site/a", "arn:aws:s3:::site/", "arn:aws:s3:::site2/a", "arn:aws:s3:::sit"] {
            assert_eq!(parse_resource("site", Some(bad)).unwrap_err().exit, Exit::Usage, "{bad}");
        }
        assert!(
            check_action("s3:getobject", Some("k")).is_ok() && check_action("s3:ListBucket", None).is_ok()
        );
        for (action, key) in [
            ("s3:GetObject", None),
            ("s3:ListBucket", Some("k")),
            ("s3:Get", None),
            ("s3:ListAllMyBuckets", None),
        ] {
            assert_eq!(check_action(action, key).unwrap_err().exit, Exit::Usage, "{action}");
        }
        assert!(
            key_value("aws:SourceIp=::1").is_ok()
                && key_value("SourceIp=1").is_err()
                && key_value("a:b").is_err()
        );
    }
}
