//! The evaluator against a slow reference on random policies and requests (HOSTILE 21 and 22).
//!
//! `POLICY_CASES` sets how many worlds the quick test makes, which shrinks what differs; `POLICY_LONG_CASES` the long one.

#![allow(clippy::unwrap_used, reason = "all of it is test code, also what is not in a test's body")]

mod generate;
mod reference;
mod world;

use generate::{Random, canonical};
use policy::{
    Acl, AclPermission, Acls, Attached, Caller, Context, Grant, Grantee, Kind, ObjectOwnership, Policies,
    Policy, PublicAccessBlock, Request, ResourcePolicy, evaluate,
};
use proptest::prelude::*;
use serde_json::Value;
use std::io::Read as _;
use world::{OWNER, Resource, World};

fn parse(policy: &Value, kind: Kind<'_>) -> Result<Policy, policy::Error> {
    Policy::parse(&policy.to_string(), kind)
}

fn parse_all<'a>(policies: impl IntoIterator<Item = &'a Value>) -> Option<Vec<Policy>> {
    policies.into_iter().map(|policy| parse(policy, Kind::Managed).ok()).collect()
}

fn attached(policies: &[Policy]) -> Vec<Attached<'_>> {
    policies.iter().map(|policy| Attached { name: "p", policy: Some(policy) }).collect()
}

fn caller(world: &World) -> Caller {
    let who = &world.who;
    let account = who.account.clone().unwrap_or_default();
    match who.kind {
        "anonymous" => Caller::Anonymous,
        "root" => Caller::Root { account },
        "user" => Caller::User { account, arn: who.arns[0].clone() },
        "role" => {
            Caller::RoleSession { account, role_arn: who.arns[0].clone(), session_arn: who.arns[1].clone() }
        }
        "federated" => {
            Caller::FederatedUser { account, user_arn: who.arns[0].clone(), session_arn: who.arns[1].clone() }
        }
        _ => Caller::Service { name: who.arns[0].clone() },
    }
}

fn acl(grants: &[world::GrantText]) -> Acl {
    let grant = |(to, permission): &world::GrantText| Grant {
        grantee: match to.as_str() {
            "all" => Grantee::AllUsers,
            "authenticated" => Grantee::AuthenticatedUsers,
            "log" => Grantee::LogDelivery,
            id => Grantee::CanonicalUser(id.to_owned()),
        },
        permission: match *permission {
            "READ" => AclPermission::Read,
            "WRITE" => AclPermission::Write,
            "READ_ACP" => AclPermission::ReadAcp,
            "WRITE_ACP" => AclPermission::WriteAcp,
            _ => AclPermission::FullControl,
        },
    };
    Acl { owner: canonical(OWNER), grants: grants.iter().map(grant).collect() }
}

/// What the crate says; `None` if a policy is refused when it is put.
fn decide(world: &World) -> Option<bool> {
    let mut context = Context::new();
    for (key, values) in &world.keys {
        context.set_all(key, values.iter().cloned());
    }
    let identity = parse_all(&world.identity)?;
    let boundary = parse_all(&world.boundary)?;
    let session = match &world.session {
        Some(policies) => Some(parse_all(policies)?),
        None => None,
    };
    let session = session.as_deref().map(attached);
    let resource = match &world.attached {
        Resource::None => None,
        Resource::Bucket(policy) => Some(parse(policy, Kind::Bucket("photos")).ok()?),
        Resource::Trust(policy) => Some(parse(policy, Kind::Trust).ok()?),
    };
    let (bucket_acl, object_acl) = (acl(&world.bucket_acl), acl(&world.object_acl));
    let ownership =
        if world.acls_enabled { ObjectOwnership::ObjectWriter } else { ObjectOwnership::BucketOwnerEnforced };
    let identity = attached(&identity);
    let policies = Policies {
        identity: &identity,
        boundary: attached(&boundary).first().copied(),
        session: session.as_deref(),
        resource: match (&world.attached, &resource) {
            (Resource::Bucket(_), Some(_)) => {
                ResourcePolicy::Bucket(Attached { name: "b", policy: resource.as_ref() })
            }
            (Resource::Trust(_), Some(_)) => {
                ResourcePolicy::Trust(Attached { name: "t", policy: resource.as_ref() })
            }
            _ => ResourcePolicy::Absent,
        },
        acls: Acls {
            ownership,
            bucket: Some(&bucket_acl),
            object: Some(&object_acl),
            object_account: world.object_account.as_deref(),
        },
        block: PublicAccessBlock {
            ignore_public_acls: world.ignore_public_acls,
            restrict_public_buckets: world.restrict_public_buckets,
            ..PublicAccessBlock::default()
        },
    };
    let caller = caller(world);
    let request = Request {
        caller: &caller,
        canonical_id: world.who.canonical.as_deref(),
        action: &world.action,
        resource: &world.resource,
        resource_account: Some(OWNER),
        context: &context,
    };
    Some(evaluate(&request, &policies).allowed)
}

/// How many worlds were compared, and how many of those allowed.
#[derive(Default, Debug)]
struct Seen {
    compared: u64,
    allowed: u64,
}

fn compare(seed: u64, seen: &mut Seen) {
    let world = generate::world(&mut Random(seed));
    let Some(fast) = decide(&world) else { return };
    assert_eq!(fast, world.allowed(), "seed {seed}, {world:#?}");
    seen.compared += 1;
    seen.allowed += u64::from(fast);
}

fn cases(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number of cases"))
}

/// The generator must make worlds that are compared, and of both answers.
fn check_mix(seen: &Seen, cases: u64) {
    assert!(seen.compared * 10 > cases * 7, "too many policies are refused: {seen:?} of {cases}");
    assert!(seen.allowed * 100 > seen.compared * 5 && seen.allowed * 10 < seen.compared * 9, "{seen:?}");
}

#[test]
fn it_agrees_with_the_reference() {
    let cases = cases("POLICY_CASES", 2000);
    let config = ProptestConfig {
        cases: u32::try_from(cases).expect("fewer cases"),
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let seen = std::cell::RefCell::new(Seen::default());
    proptest!(config, |(seed in any::<u64>())| compare(seed, &mut seen.borrow_mut()));
    check_mix(&seen.borrow(), cases);
}

/// HOSTILE 21. Other worlds each time; the seed of one that differs is told.
#[test]
fn a_million_worlds_agree_with_the_reference() {
    let cases = cases("POLICY_LONG_CASES", 1_000_000);
    let mut random = [0; 8];
    std::fs::File::open("/dev/urandom").unwrap().read_exact(&mut random).unwrap();
    let first = u64::from_le_bytes(random);
    let halves = [0..cases / 2, cases / 2..cases];
    let seen = std::thread::scope(|scope| {
        let threads = halves.map(|half| {
            scope.spawn(move || {
                let mut seen = Seen::default();
                half.for_each(|number| compare(first.wrapping_add(number), &mut seen));
                seen
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    let [one, other] = &seen;
    let all = Seen { compared: one.compared + other.compared, allowed: one.allowed + other.allowed };
    println!("{all:?} of {cases} from seed {first}");
    check_mix(&all, cases);
}
