use super::super::identity::tests::{self as identities, World, name, record};
use super::*;
use crate::command::Command;
use crate::identity::{FIRST_ACCOUNT, ManagedPolicy, Sealed};
use crate::identity_command::{Effective, IdentityAnswer, IdentityCommand as C, IdentityQuery as Q};
use crate::identity_details::{FullPolicy, PolicyVersion};
use crate::query::{Answer, Query};

impl World {
    fn effective(&self, of: &IdentityName) -> Effective {
        match self.0.ask(Query::Identity(Q::Effective(of.clone()))).unwrap() {
            Answer::Identity(IdentityAnswer::Effective(found)) => *found,
            _ => panic!(),
        }
    }

    fn full(&self, arn: &str) -> FullPolicy {
        match self.0.ask(Query::Identity(Q::FullPolicy { arn: arn.into() })).unwrap() {
            Answer::Identity(IdentityAnswer::FullPolicies(found)) => found.into_iter().next().unwrap(),
            _ => panic!(),
        }
    }
}

fn managed_policy(policy: &str) -> ManagedPolicy {
    ManagedPolicy { text: "one".into(), ..identities::managed_policy(policy) }
}

fn tag(key: &str, value: &str) -> Tag {
    Tag { key: key.into(), value: value.into() }
}

#[test]
fn a_boundary_is_a_policy_that_stays_as_long_as_it_is_one() {
    let w = World::new();
    let (user, group) = (name(IdentityKind::User, "alice"), name(IdentityKind::Group, "g"));
    let arn = managed_policy("limit").arn();
    let details = IdentityDetails { boundary: Some(arn.clone()), tags: vec![tag("a", "1")] };
    let create = || C::CreateDetailedIdentity { record: record(user.clone()), details: details.clone() };
    assert_eq!(w.run(create()), Err(ErrorKind::NotFound(Entity::Policy)));
    let nobody = w.0.ask(Query::Identity(Q::Effective(user.clone())));
    assert!(nobody.is_err(), "not even without what limits it");
    w.run(C::CreateManagedPolicy(managed_policy("limit"))).unwrap();
    w.run(create()).unwrap();
    let found = w.effective(&user);
    assert_eq!(found.details, details);
    assert_eq!(found.boundary, Some(PolicyText { name: arn.clone(), text: "one".into() }));
    assert_eq!(found.policies, [], "it gives nothing");
    // It is of its account, of a user or role, and not deleted under it.
    assert_eq!(w.full(&arn).details.boundaries, 1);
    let delete = || C::DeleteManagedPolicy { arn: arn.clone() };
    assert_eq!(w.run(delete()), Err(ErrorKind::InUse(Entity::Policy)));
    w.run(C::CreateIdentity(record(group.clone()))).unwrap();
    let set = |of: &IdentityName, arn: Option<&str>| {
        w.run(C::SetBoundary { of: of.clone(), arn: arn.map(str::to_owned) })
    };
    assert_eq!(set(&group, Some(&arn)), Err(ErrorKind::Invalid));
    let foreign = arn.replace(FIRST_ACCOUNT, "123456789012");
    assert_eq!(set(&user, Some(&foreign)), Err(ErrorKind::NotFound(Entity::Policy)));
    assert_eq!(w.effective(&user).details, details, "what is refused changes nothing");
    set(&user, Some(&arn)).unwrap();
    assert_eq!(w.full(&arn).details.boundaries, 1);
    // Another version holds for whom it limits, at once.
    let version = PolicyVersion { number: 2, text: "two".into(), created_ms: 5 };
    w.run(C::AddPolicyVersion { arn: arn.clone(), version, default: true }).unwrap();
    assert_eq!(w.effective(&user).boundary.unwrap().text, "two");
    w.run(C::DeletePolicyVersion { arn: arn.clone(), number: 1 }).unwrap();
    set(&user, None).unwrap();
    assert_eq!(set(&user, None), Err(ErrorKind::NotFound(Entity::Policy)));
    assert_eq!((w.effective(&user).boundary, w.full(&arn).details.boundaries), (None, 0));
    set(&user, Some(&arn)).unwrap();
    w.run(C::DeleteIdentity(user.clone())).unwrap();
    w.run(delete()).unwrap();
    // Another of the name has nothing of it.
    w.run(C::CreateIdentity(record(user.clone()))).unwrap();
    assert_eq!(w.effective(&user).details, IdentityDetails::default());
}

#[test]
fn a_policy_has_five_versions_of_which_one_holds() {
    let w = World::new();
    let arn = managed_policy("p").arn();
    w.run(C::CreateManagedPolicy(managed_policy("p"))).unwrap();
    assert_eq!(w.full(&arn).details.versions.len(), 1);
    let add = |number: u32, default: bool| {
        let version = PolicyVersion { number, text: format!("text {number}"), created_ms: 5 };
        w.run(C::AddPolicyVersion { arn: arn.clone(), version, default })
    };
    let text = || w.full(&arn).policy.text;
    add(2, false).unwrap();
    assert_eq!((text(), add(2, false)), ("one".into(), Err(ErrorKind::Exists(Entity::Policy))));
    add(3, true).unwrap();
    assert_eq!(text(), "text 3");
    for number in [4, 5] {
        add(number, false).unwrap();
    }
    assert_eq!(add(6, false), Err(ErrorKind::PreconditionFailed));
    let delete = |number| w.run(C::DeletePolicyVersion { arn: arn.clone(), number });
    assert_eq!(delete(3), Err(ErrorKind::InUse(Entity::Policy)));
    assert_eq!(delete(9), Err(ErrorKind::NotFound(Entity::Policy)));
    delete(5).unwrap();
    assert_eq!(add(5, false), Err(ErrorKind::Exists(Entity::Policy)), "no number is given twice");
    add(6, false).unwrap();
    let hold = |number| w.run(C::SetDefaultPolicyVersion { arn: arn.clone(), number });
    assert_eq!(hold(5), Err(ErrorKind::NotFound(Entity::Policy)));
    hold(1).unwrap();
    assert_eq!(text(), "one");
    let drop = || w.run(C::DeleteManagedPolicy { arn: arn.clone() });
    assert_eq!(drop(), Err(ErrorKind::InUse(Entity::Policy)));
    for number in [2, 3, 4, 6] {
        delete(number).unwrap();
    }
    drop().unwrap();
    w.run(C::CreateManagedPolicy(managed_policy("p"))).unwrap();
    assert_eq!(w.full(&arn).details.last, 1, "another policy of the name begins anew");
}

#[test]
fn tags_are_bounded_and_their_case_is_nothing_to_who_asks() {
    let w = World::new();
    let user = name(IdentityKind::User, "alice");
    let arn = managed_policy("p").arn();
    w.run(C::CreateIdentity(record(user.clone()))).unwrap();
    w.run(C::CreateTaggedPolicy { policy: managed_policy("p"), tags: vec![tag("x", "1")] }).unwrap();
    let set = |put: Vec<Tag>, remove: &[&str]| {
        let remove: Vec<String> = remove.iter().map(|key| (*key).to_owned()).collect();
        let of_policy = C::SetPolicyTags { arn: arn.clone(), put: put.clone(), remove: remove.clone() };
        (w.run(C::SetIdentityTags { of: user.clone(), put, remove }), w.run(of_policy))
    };
    set(vec![tag("Team", "a"), tag("team", "b")], &[]).0.unwrap();
    assert_eq!(w.effective(&user).details.tags, [tag("team", "b")]);
    assert_eq!(w.full(&arn).details.tags, [tag("x", "1"), tag("Team", "a"), tag("team", "b")]);
    set(vec![], &["TEAM", "x"]).0.unwrap();
    assert_eq!(w.effective(&user).details.tags, []);
    assert_eq!(w.full(&arn).details.tags.len(), 2);
    for bad in [tag("", ""), tag(&"k".repeat(129), ""), tag("k", &"v".repeat(257))] {
        assert_eq!(set(vec![bad], &[]), (Err(ErrorKind::Invalid), Err(ErrorKind::Invalid)));
    }
    let many = |count: usize| (0..count).map(|n| tag(&n.to_string(), "")).collect::<Vec<_>>();
    assert_eq!(set(many(51), &[]).0, Err(ErrorKind::PreconditionFailed));
    set(many(50), &[]).0.unwrap();
}

#[test]
fn who_is_renamed_stays_who_it_was() {
    let w = World::new();
    let (user, group) = (name(IdentityKind::User, "alice"), name(IdentityKind::Group, "devs"));
    w.run(C::CreateIdentity(record(user.clone()))).unwrap();
    w.run(C::CreateIdentity(record(name(IdentityKind::User, "carol")))).unwrap();
    w.run(C::CreateIdentity(record(group.clone()))).unwrap();
    w.run(C::SetMember { group: group.clone(), user: "alice".into(), member: true }).unwrap();
    w.run(C::SetIdentityTags { of: user.clone(), put: vec![tag("a", "1")], remove: vec![] }).unwrap();
    let key = IdentityKey {
        id: "AKIA".into(),
        account: FIRST_ACCOUNT.into(),
        user: Some("alice".into()),
        secret: Sealed(vec![1]),
        active: true,
        created_ms: 9,
    };
    w.run(C::CreateIdentityKey(key)).unwrap();
    let update = |of: &IdentityName, name: Option<&str>, path: Option<&str>| {
        let (name, path) = (name.map(str::to_owned), path.map(str::to_owned));
        w.run(C::UpdateIdentity { of: of.clone(), name, path })
    };
    assert_eq!(update(&user, Some("CAROL"), None), Err(ErrorKind::Exists(Entity::Identity)));
    assert_eq!(update(&user, Some("a b"), None), Err(ErrorKind::Invalid));
    update(&user, Some("Alice"), Some("/ops/")).unwrap();
    update(&user, Some("bob"), None).unwrap();
    update(&group, Some("ops"), None).unwrap();
    let bob = w.effective(&name(IdentityKind::User, "bob"));
    assert_eq!(bob.record.arn(), format!("arn:aws:iam::{FIRST_ACCOUNT}:user/ops/bob"));
    assert_eq!((bob.record.groups, bob.details.tags), (vec!["ops".to_owned()], vec![tag("a", "1")]));
    assert!(w.0.ask(Query::Identity(Q::Effective(user))).is_err());
    let Answer::Identity(IdentityAnswer::Identified(found)) =
        w.0.ask(Query::Identity(Q::Identify { key: "AKIA".into() })).unwrap()
    else {
        panic!()
    };
    assert_eq!(found.holder.map(|holder| holder.record.id), Some("IDalice".into()));
    // Its policies follow the group's new name.
    let policy = PolicyText { name: "p".into(), text: "t".into() };
    w.run(C::PutInlinePolicy { of: name(IdentityKind::Group, "ops"), policy }).unwrap();
    assert_eq!(w.effective(&name(IdentityKind::User, "bob")).policies[0].name, "group/ops/inline/p");
}

#[test]
fn who_uses_a_policy_is_found() {
    let w = World::new();
    let arn = managed_policy("p").arn();
    w.run(C::CreateManagedPolicy(managed_policy("p"))).unwrap();
    for who in ["a", "b", "c"] {
        w.run(C::CreateIdentity(record(name(IdentityKind::User, who)))).unwrap();
    }
    w.run(C::CreateIdentity(record(name(IdentityKind::Group, "g")))).unwrap();
    let attach = |of| w.run(C::SetAttached { of, arn: arn.clone(), attached: true }).unwrap();
    attach(name(IdentityKind::User, "a"));
    attach(name(IdentityKind::Group, "g"));
    for who in ["a", "b"] {
        w.run(C::SetBoundary { of: name(IdentityKind::User, who), arn: Some(arn.clone()) }).unwrap();
    }
    let Answer::Identity(IdentityAnswer::PolicyEntities(found)) =
        w.0.ask(Query::Identity(Q::PolicyEntities { arn })).unwrap()
    else {
        panic!()
    };
    let found: Vec<_> =
        found.iter().map(|found| (found.name.as_str(), found.attached, found.boundary)).collect();
    assert_eq!(found, [("g", true, false), ("a", true, true), ("b", false, true)]);
}

#[test]
fn golden_bytes_never_change() {
    let bytes = |command: C| hex::encode(postcard::to_stdvec(&Command::Identity(command)).unwrap());
    let user = || IdentityName { kind: IdentityKind::User, account: "1".into(), name: "u".into() };
    let details = IdentityDetails { boundary: Some("a".into()), tags: vec![tag("k", "v")] };
    let policy = ManagedPolicy { account: "1".into(), text: "t".into(), ..managed_policy("p") };
    let remove = || vec!["r".to_owned()];
    let version = PolicyVersion { number: 2, text: "t".into(), created_ms: 3 };
    let arn = || "a".to_owned();
    let expected = [
        (
            C::CreateDetailedIdentity { record: record(user()), details },
            "2a10 00 0131 0175 012f 03494475 07 00 00 00 00 00 01 0161 01 016b 0176",
        ),
        (C::SetBoundary { of: user(), arn: None }, "2a11 00 0131 0175 00"),
        (
            C::SetIdentityTags { of: user(), put: vec![tag("k", "v")], remove: remove() },
            "2a12 00 0131 0175 01 016b 0176 01 0172",
        ),
        (
            C::CreateTaggedPolicy { policy, tags: vec![tag("k", "v")] },
            "2a13 0131 0170 012f 04414e5041 00 0174 01 00 01 016b 0176",
        ),
        (C::SetPolicyTags { arn: arn(), put: vec![], remove: remove() }, "2a14 0161 00 01 0172"),
        (C::AddPolicyVersion { arn: arn(), version, default: true }, "2a15 0161 02 0174 03 01"),
        (C::SetDefaultPolicyVersion { arn: arn(), number: 2 }, "2a16 0161 02"),
        (C::DeletePolicyVersion { arn: arn(), number: 2 }, "2a17 0161 02"),
        (
            C::UpdateIdentity { of: user(), name: Some("n".into()), path: None },
            "2a18 00 0131 0175 01 016e 00",
        ),
        (
            C::UpdateRole { of: user(), description: None, max_session_s: Some(3600) },
            "2a19 00 0131 0175 00 01 901c",
        ),
    ];
    for (command, expected) in expected {
        assert_eq!(bytes(command.clone()), expected.replace(' ', ""), "{command:?}");
    }
}
