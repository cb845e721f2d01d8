use super::super::tests::Fixture;
use super::*;
use crate::command::Command;
use crate::identity::{IdentityKey, RoleSettings, Sealed};
use crate::identity_command::{IdentityAnswer, IdentityCommand as C, IdentityQuery as Q, KnownKey};
use crate::key_use::KeyUse;
use crate::query::{Answer, Query};
use crate::record::{AccessKey, Secret};

const OTHER: &str = "123456789012";

pub fn name(kind: IdentityKind, name: &str) -> IdentityName {
    IdentityName { kind, account: FIRST_ACCOUNT.into(), name: name.into() }
}

pub fn record(of: IdentityName) -> IdentityRecord {
    let role = (of.kind == IdentityKind::Role).then(|| RoleSettings {
        trust: "{}".into(),
        bound: vec![],
        description: String::new(),
        max_session_s: 3600,
    });
    IdentityRecord {
        id: format!("ID{}", of.name),
        of,
        path: "/".into(),
        created_ms: 7,
        inline: vec![],
        attached: vec![],
        keys: vec![],
        groups: vec![],
        role,
    }
}

fn key(id: &str, user: Option<&str>) -> IdentityKey {
    IdentityKey {
        id: id.into(),
        account: FIRST_ACCOUNT.into(),
        user: user.map(str::to_owned),
        secret: Sealed(vec![1, 2]),
        active: true,
        created_ms: 9,
    }
}

fn inline(policy: &str, text: &str) -> PolicyText {
    PolicyText { name: policy.into(), text: text.into() }
}

pub fn managed_policy(policy: &str) -> ManagedPolicy {
    ManagedPolicy {
        account: FIRST_ACCOUNT.into(),
        name: policy.into(),
        path: "/".into(),
        id: "ANPA".into(),
        description: String::new(),
        text: "managed".into(),
        created_ms: 1,
        attachments: 0,
    }
}

fn bound(arn: &str, id: &str) -> BoundPrincipal {
    BoundPrincipal { arn: arn.into(), id: id.into() }
}

pub struct World(pub Fixture);

impl World {
    pub fn new() -> Self {
        Self(Fixture::new())
    }

    pub fn run(&self, command: C) -> Result<(), ErrorKind> {
        self.0.run(Command::Identity(command)).map(|_| ()).map_err(|refusal| refusal.kind)
    }

    fn ask(&self, query: Q) -> Result<IdentityAnswer, ErrorKind> {
        match self.0.ask(Query::Identity(query)) {
            Ok(Answer::Identity(answer)) => Ok(answer),
            Ok(_) => panic!(),
            Err(error) => Err(error.kind()),
        }
    }

    fn names(&self, path: &str, after: Option<&str>, limit: u32) -> (Vec<String>, Option<String>) {
        let (kind, account) = (IdentityKind::User, FIRST_ACCOUNT.to_owned());
        let after = after.map(str::to_owned);
        let query = Q::Identities { kind, account, path: path.into(), after, limit };
        let Ok(IdentityAnswer::Identities(page)) = self.ask(query) else { panic!() };
        (page.identities.into_iter().map(|found| found.of.name).collect(), page.next)
    }

    fn policies(&self, of: IdentityName) -> Vec<String> {
        let Ok(IdentityAnswer::Effective(found)) = self.ask(Q::Effective(of)) else { panic!() };
        found.policies.into_iter().map(|policy| policy.name).collect()
    }
}

#[test]
fn users_are_made_listed_and_deleted() {
    let w = World::new();
    for user in ["Bob", "alice", "carol"] {
        let path = if user == "alice" { "/ops/" } else { "/" };
        let made = IdentityRecord { path: path.into(), ..record(name(IdentityKind::User, user)) };
        w.run(C::CreateIdentity(made)).unwrap();
    }
    let again = record(name(IdentityKind::User, "ALICE"));
    assert_eq!(w.run(C::CreateIdentity(again)), Err(ErrorKind::Exists(Entity::Identity)), "case is nothing");
    let names = |list: &[&str]| list.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    assert_eq!(w.names("/", None, 10), (names(&["alice", "Bob", "carol"]), None));
    assert_eq!(w.names("/ops/", None, 10), (names(&["alice"]), None));
    assert_eq!(w.names("/", None, 2), (names(&["alice", "Bob"]), Some("bob".into())));
    assert_eq!(w.names("/", Some("bob"), 2), (names(&["carol"]), None));
    // A role or group may have a user's name, and the other account has its own.
    for kind in [IdentityKind::Group, IdentityKind::Role] {
        w.run(C::CreateIdentity(record(name(kind, "alice")))).unwrap();
    }
    let elsewhere = IdentityName { account: OTHER.into(), ..name(IdentityKind::User, "alice") };
    let elsewhere = record(elsewhere);
    let made = w.run(C::CreateIdentity(elsewhere.clone()));
    assert_eq!(made, Err(ErrorKind::NotFound(Entity::Account)));
    w.run(C::CreateAccount(AccountRecord { number: OTHER.into(), ..AccountRecord::first() })).unwrap_err();
    let other = AccountRecord { number: OTHER.into(), name: "other".into(), ..AccountRecord::first() };
    w.run(C::CreateAccount(other.clone())).unwrap();
    assert_eq!(w.run(C::CreateAccount(other)), Err(ErrorKind::Exists(Entity::Account)));
    w.run(C::CreateIdentity(elsewhere)).unwrap();
    assert_eq!(w.names("/", None, 10).0, names(&["alice", "Bob", "carol"]));
    let Ok(IdentityAnswer::Accounts(all)) = w.ask(Q::Accounts) else { panic!() };
    assert_eq!(all.iter().map(|account| account.name.as_str()).collect::<Vec<_>>(), ["root", "other"]);

    w.run(C::DeleteIdentity(name(IdentityKind::User, "bob"))).unwrap();
    let gone = w.run(C::DeleteIdentity(name(IdentityKind::User, "bob")));
    assert_eq!(gone, Err(ErrorKind::NotFound(Entity::Identity)));
    for bad in ["", "a b", "a/b", "ä", "a:b", &"a".repeat(129)] {
        let bad = record(name(IdentityKind::User, bad));
        assert_eq!(w.run(C::CreateIdentity(bad.clone())), Err(ErrorKind::Invalid), "{}", bad.of.name);
    }
    for bad in ["", "a", "/a", "a/", "/a b/", "/*/"] {
        let bad = IdentityRecord { path: bad.into(), ..record(name(IdentityKind::User, "x")) };
        assert_eq!(w.run(C::CreateIdentity(bad.clone())), Err(ErrorKind::Invalid), "{}", bad.path);
    }
}

#[test]
fn what_holds_for_a_user_is_its_own_and_its_groups() {
    let w = World::new();
    let (user, group) = (name(IdentityKind::User, "alice"), name(IdentityKind::Group, "devs"));
    w.run(C::CreateIdentity(record(user.clone()))).unwrap();
    w.run(C::CreateIdentity(record(group.clone()))).unwrap();
    let put = |of: &IdentityName, policy: &str, text: &str| {
        w.run(C::PutInlinePolicy { of: of.clone(), policy: inline(policy, text) })
    };
    put(&user, "b", "b1").unwrap();
    put(&user, "a", "a1").unwrap();
    put(&user, "b", "b2").unwrap();
    put(&group, "g", "g1").unwrap();
    let policy = managed_policy("m");
    let arn = policy.arn();
    w.run(C::CreateManagedPolicy(policy.clone())).unwrap();
    assert_eq!(w.run(C::CreateManagedPolicy(policy)), Err(ErrorKind::Exists(Entity::Policy)));
    let attach = |attached| C::SetAttached { of: group.clone(), arn: arn.clone(), attached };
    w.run(attach(true)).unwrap();
    w.run(attach(true)).unwrap();
    assert_eq!(w.policies(user.clone()), ["user/alice/inline/a", "user/alice/inline/b"]);
    let member = |member| C::SetMember { group: group.clone(), user: "ALICE".into(), member };
    w.run(member(true)).unwrap();
    let all = ["user/alice/inline/a", "user/alice/inline/b", "group/devs/inline/g", arn.as_str()];
    assert_eq!(w.policies(user.clone()), all);
    let Ok(IdentityAnswer::Identities(page)) = w.ask(Q::Members(group.clone())) else { panic!() };
    assert_eq!(page.identities[0].of, user);

    // Nothing goes that something hangs on.
    let in_use = |of: &IdentityName| {
        assert_eq!(w.run(C::DeleteIdentity(of.clone())), Err(ErrorKind::InUse(Entity::Identity)));
    };
    in_use(&user);
    in_use(&group);
    let drop = C::DeleteManagedPolicy { arn: arn.clone() };
    assert_eq!(w.run(drop.clone()), Err(ErrorKind::InUse(Entity::Policy)));
    w.run(attach(false)).unwrap();
    assert_eq!(w.run(attach(false)), Err(ErrorKind::NotFound(Entity::Policy)));
    w.run(drop).unwrap();
    let delete = |of: &IdentityName, policy: &str| {
        w.run(C::DeleteInlinePolicy { of: of.clone(), name: policy.into() })
    };
    delete(&group, "g").unwrap();
    in_use(&group);
    w.run(member(false)).unwrap();
    w.run(C::DeleteIdentity(group.clone())).unwrap();
    assert_eq!(delete(&user, "c"), Err(ErrorKind::NotFound(Entity::Policy)));
    delete(&user, "a").unwrap();
    delete(&user, "b").unwrap();
    w.run(C::DeleteIdentity(user)).unwrap();
}

#[test]
fn inline_policies_are_bounded_together() {
    let w = World::new();
    let user = name(IdentityKind::User, "alice");
    w.run(C::CreateIdentity(record(user.clone()))).unwrap();
    let put = |policy: &str, text: String| {
        w.run(C::PutInlinePolicy { of: user.clone(), policy: PolicyText { name: policy.into(), text } })
    };
    put("a", format!("{}{}", "x".repeat(MAX_USER_INLINE_CHARS - 1), " ".repeat(5000))).unwrap();
    put("b", "x".into()).unwrap();
    assert_eq!(put("c", "x".into()), Err(ErrorKind::PreconditionFailed));
    assert_eq!(put("c", String::new()), Err(ErrorKind::Invalid));
    put("a", "y".into()).unwrap();
    put("c", "x".into()).unwrap();
}

#[test]
fn a_holder_has_two_keys_and_rotates_them() {
    let w = World::new();
    w.run(C::CreateIdentity(record(name(IdentityKind::User, "alice")))).unwrap();
    let id = |id: &str| w.ask(Q::Identify { key: id.into() });
    for holder in [Some("Alice"), None] {
        let at = |n: u8| format!("AKIA{}{n}", holder.unwrap_or("root"));
        w.run(C::CreateIdentityKey(key(&at(1), holder))).unwrap();
        let again = w.run(C::CreateIdentityKey(key(&at(1), holder)));
        assert_eq!(again, Err(ErrorKind::Exists(Entity::AccessKey)));
        w.run(C::CreateIdentityKey(key(&at(2), holder))).unwrap();
        assert_eq!(w.run(C::CreateIdentityKey(key(&at(3), holder))), Err(ErrorKind::PreconditionFailed));
        let (account, user) = (FIRST_ACCOUNT.to_owned(), holder.map(str::to_owned));
        let active = |id: String, active| {
            let (account, user) = (account.clone(), user.clone());
            w.run(C::SetIdentityKeyActive { account, user, id, active })
        };
        active(at(1), false).unwrap();
        let Ok(IdentityAnswer::Identified(found)) = id(&at(1)) else { panic!() };
        let KnownKey::OfIdentity(own) = found.key else { panic!() };
        assert_eq!((own.active, own.user.as_deref()), (false, holder.map(|_| "alice")), "as it is spelt");
        assert_eq!(found.holder.map(|holder| holder.record.of.name), holder.map(|_| "alice".to_owned()));
        // Nobody else's key is changed by naming its id.
        let strange =
            |user: Option<String>| C::DeleteIdentityKey { account: account.clone(), user, id: at(1) };
        let other = if holder.is_some() { None } else { Some("alice".to_owned()) };
        assert_eq!(w.run(strange(other)), Err(ErrorKind::NotFound(Entity::AccessKey)));
        w.run(strange(user.clone())).unwrap();
        assert_eq!(id(&at(1)).unwrap_err(), ErrorKind::NotFound(Entity::AccessKey));
        assert_eq!(active(at(1), true), Err(ErrorKind::NotFound(Entity::AccessKey)));
        w.run(C::CreateIdentityKey(key(&at(3), holder))).unwrap();
        let Ok(IdentityAnswer::IdentityKeys(keys)) =
            w.ask(Q::IdentityKeys { account: account.clone(), user: user.clone() })
        else {
            panic!()
        };
        assert_eq!(keys.iter().map(|key| key.id.clone()).collect::<Vec<_>>(), [at(2), at(3)]);
    }
    let delete = w.run(C::DeleteIdentity(name(IdentityKind::User, "alice")));
    assert_eq!(delete, Err(ErrorKind::InUse(Entity::Identity)));
    let nobody = w.run(C::CreateIdentityKey(key("AKIAx", Some("bob"))));
    assert_eq!(nobody, Err(ErrorKind::NotFound(Entity::Identity)));
    // Keys of owners are as they were.
    let old = AccessKey {
        id: "OLD".into(),
        secret: Secret("s".into()),
        owner: "root".into(),
        enabled: true,
        created_ms: 1,
    };
    w.0.run(Command::PutAccessKey(old.clone())).unwrap();
    let Ok(IdentityAnswer::Identified(found)) = id("OLD") else { panic!() };
    assert_eq!((found.key, found.holder), (KnownKey::OfOwner(old), None));
    let taken = w.run(C::CreateIdentityKey(key("OLD", Some("alice"))));
    assert_eq!(taken, Err(ErrorKind::Exists(Entity::AccessKey)));
    for (number, there) in [(FIRST_ACCOUNT, true), (OTHER, false)] {
        let Ok(IdentityAnswer::Exists(exists)) = w.ask(Q::AccountExists { number: number.into() }) else {
            panic!()
        };
        assert_eq!(exists, there, "{number}");
    }
}

#[test]
fn an_accounts_block_holds_for_its_buckets() {
    let w = World::new();
    let access = || {
        let Ok(Answer::BucketAccess(found)) = w.0.ask(Query::BucketAccess { name: "bucket".into() }) else {
            panic!()
        };
        found
    };
    assert_eq!(access().account_block, None);
    let id = access().bucket.id;
    let named = || ("bucket".to_owned(), id);
    let lift = Command::PutPublicAccessBlock { bucket: named().0, id, block: None };
    w.0.run(lift).unwrap();
    let put = || Command::PutBucketPolicy { bucket: named().0, id, text: "p".into(), public: true };
    w.0.run(put()).unwrap();
    let block = |block| C::PutAccountBlock { account: FIRST_ACCOUNT.into(), block };
    w.run(block(Some(BlockPublicAccess::ALL))).unwrap();
    assert_eq!(access().account_block, Some(BlockPublicAccess::ALL));
    assert_eq!(access().access.block, None);
    assert_eq!(w.0.run(put()).unwrap_err().kind, ErrorKind::PreconditionFailed);
    w.run(block(None)).unwrap();
    w.0.run(put()).unwrap();
    let nobody = C::PutAccountBlock { account: OTHER.into(), block: None };
    assert_eq!(w.run(nobody), Err(ErrorKind::NotFound(Entity::Account)));
}

#[test]
fn whom_a_buckets_policy_means_is_kept_as_long_as_the_policy() {
    let w = World::new();
    let ask = || {
        let Ok(Answer::BucketAccess(found)) = w.0.ask(Query::BucketAccess { name: "bucket".into() }) else {
            panic!()
        };
        found
    };
    let id = ask().bucket.id;
    let bucket = || "bucket".to_owned();
    let put = |principals: &[BoundPrincipal]| {
        let bound = principals.to_vec();
        w.run(C::PutBoundPolicy { bucket: bucket(), id, text: "p".into(), public: false, bound })
    };
    let one = bound("arn", "AIDA");
    put(std::slice::from_ref(&one)).unwrap();
    assert_eq!((ask().bound, ask().access.policy), (vec![one.clone()], Some("p".into())));
    put(&[]).unwrap();
    assert_eq!(ask().bound, []);
    // By a command of before, or with no policy, nobody is bound.
    let old = Command::PutBucketPolicy { bucket: bucket(), id, text: "q".into(), public: false };
    let ends =
        [old, Command::DeleteBucketPolicy { bucket: bucket(), id }, Command::DeleteBucket { name: bucket() }];
    for end in ends {
        put(std::slice::from_ref(&one)).unwrap();
        w.0.run(end).unwrap();
        assert_eq!(w.0.kv.get(&crate::state::keys::bound(id)).unwrap(), None);
    }
    assert_eq!(put(&[]), Err(ErrorKind::NotFound(Entity::Bucket)));
    w.0.run(Command::CreateBucket { name: bucket(), owner: "root".into(), now_ms: 1 }).unwrap();
    assert_eq!(put(&[]), Err(ErrorKind::NotFound(Entity::Bucket)), "another bucket of that name");
}

#[test]
fn golden_bytes_never_change() {
    let bytes = |command: C| hex::encode(postcard::to_stdvec(&Command::Identity(command)).unwrap());
    let user = || IdentityName { kind: IdentityKind::User, account: "1".into(), name: "u".into() };
    let role = IdentityName { kind: IdentityKind::Role, ..user() };
    let account = AccountRecord { number: "1".into(), name: "n".into(), ..AccountRecord::first() };
    let expected = [
        (C::CreateAccount(account), "2a000131016e000000"),
        (C::PutAccountBlock { account: "1".into(), block: None }, "2a01013100"),
        (C::CreateIdentity(record(role)), "2a02020131017501 2f034944 75 07 00000000 01 027b7d 00 00 901c"),
        (C::DeleteIdentity(user()), "2a030001310175"),
        (C::PutInlinePolicy { of: user(), policy: inline("p", "t") }, "2a0400013101750170 0174"),
        (C::DeleteInlinePolicy { of: user(), name: "p".into() }, "2a0500013101750170"),
        (
            C::PutTrust { role: user(), text: "t".into(), bound: vec![bound("a", "i")] },
            "2a0600013101750174 01 0161 0169",
        ),
        (
            C::PutBoundPolicy {
                bucket: "b".into(),
                id: 5,
                text: "t".into(),
                public: false,
                bound: vec![bound("a", "i")],
            },
            "2a0e 0162 05 0174 00 01 0161 0169",
        ),
        (C::SetMember { group: user(), user: "m".into(), member: true }, "2a070001310175016d01"),
        (
            C::CreateManagedPolicy(ManagedPolicy {
                account: "1".into(),
                text: "t".into(),
                ..managed_policy("p")
            }),
            "2a08013101 70 012f 04414e5041 00 0174 01 00",
        ),
        (C::DeleteManagedPolicy { arn: "a".into() }, "2a090161"),
        (C::SetAttached { of: user(), arn: "a".into(), attached: false }, "2a0a000131017501 6100"),
        (
            C::CreateIdentityKey(IdentityKey { account: "1".into(), ..key("k", Some("u")) }),
            "2a0b016b0131010175 020102 01 09",
        ),
        (
            C::SetIdentityKeyActive { account: "1".into(), user: None, id: "k".into(), active: true },
            "2a0c013100016b01",
        ),
        (C::DeleteIdentityKey { account: "1".into(), user: None, id: "k".into() }, "2a0d013100016b"),
        (
            C::NoteKeyUses(vec![KeyUse {
                key: "k".into(),
                used_ms: 300,
                service: "s3".into(),
                region: "r".into(),
            }]),
            "2a0f 01 016b ac02 027333 0172",
        ),
    ];
    for (command, expected) in expected {
        assert_eq!(bytes(command.clone()), expected.replace(' ', ""), "{command:?}");
    }
}
