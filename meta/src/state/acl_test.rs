use super::super::tests::{Fixture, object, upload_record};
use crate::acl::{AclGrant, AclPermission, Grantee, Grants, ObjectAcl};
use crate::command::{Annotate, Command, Response};
use crate::error::{Entity, ErrorKind, Refusal};
use crate::limits::MAX_ACL_GRANTS;
use crate::object::{
    AccessRecord, Annotations, BlockPublicAccess, Body, FoundVersion, ObjectOwnership, Precondition,
    UploadId, VersionRef,
};
use crate::query::{Answer, ObjectPart, Query};
use bytes::Bytes;

const BLOCKED: ErrorKind = ErrorKind::Exists(Entity::Acl);
const OFF: ErrorKind = ErrorKind::NotFound(Entity::Acl);

fn access(f: &Fixture, bucket: &str) -> (u64, AccessRecord) {
    let Answer::BucketAccess(found) = f.ask(Query::BucketAccess { name: bucket.into() }).unwrap() else {
        panic!()
    };
    (found.bucket.id, found.access)
}

fn grant(to: Grantee) -> AclGrant {
    AclGrant { to, permission: AclPermission::Read }
}

fn to_all() -> Grants {
    Some(vec![grant(Grantee::AllUsers)])
}

fn to_account(id: &str) -> Grants {
    Some(vec![grant(Grantee::Account(id.into()))])
}

fn own(f: &Fixture, ownership: Option<ObjectOwnership>) -> Result<Response, Refusal> {
    let id = access(f, "bucket").0;
    f.run(Command::PutOwnership { bucket: "bucket".into(), id, ownership })
}

fn put(f: &Fixture, acl: Grants) -> Result<Response, Refusal> {
    let id = access(f, "bucket").0;
    f.run(Command::PutBucketAcl { bucket: "bucket".into(), id, acl })
}

fn block(f: &Fixture, block: Option<BlockPublicAccess>) {
    let id = access(f, "bucket").0;
    f.run(Command::PutPublicAccessBlock { bucket: "bucket".into(), id, block }).unwrap();
}

fn kind(result: Result<Response, Refusal>) -> ErrorKind {
    result.unwrap_err().kind
}

fn put_object(f: &Fixture, acl: Option<ObjectAcl>) -> Result<Response, Refusal> {
    f.run(Command::PutVersion {
        bucket: "bucket".into(),
        key: "k".into(),
        record: object("e", Body::Inline(Bytes::from_static(b"x")), 1),
        annotations: Annotations { acl, ..Annotations::default() },
        precondition: Precondition::None,
        now_ms: 1,
        nonce: 7,
    })
}

fn acl_of(f: &Fixture, version: Option<VersionRef>) -> Option<ObjectAcl> {
    let query = Query::Version { bucket: "bucket".into(), key: "k".into(), version, part: ObjectPart::Whole };
    let Answer::Version(FoundVersion::Object(found)) = f.ask(query).unwrap() else { panic!() };
    assert_eq!(found.record.body, Body::Inline(Bytes::from_static(b"x")));
    found.annotations.acl
}

fn annotate(f: &Fixture, seen: Option<ObjectAcl>, grants: Grants) -> Result<Response, Refusal> {
    let change = Annotate::Acl { seen, grants };
    f.run(Command::Annotate { bucket: "bucket".into(), key: "k".into(), version: None, change, now_ms: 2 })
}

#[test]
fn a_bucket_has_an_acl_only_where_acls_are_on() {
    let f = Fixture::new();
    assert_eq!(access(&f, "bucket").1.ownership, Some(ObjectOwnership::BucketOwnerEnforced));
    assert_eq!(kind(put(&f, to_account("other"))), OFF);
    own(&f, Some(ObjectOwnership::ObjectWriter)).unwrap();
    put(&f, to_account("other")).unwrap();
    assert_eq!(access(&f, "bucket").1.acl, to_account("other"));
    assert_eq!(kind(own(&f, Some(ObjectOwnership::BucketOwnerEnforced))), ErrorKind::PreconditionFailed);
    for ownership in [None, Some(ObjectOwnership::BucketOwnerPreferred)] {
        own(&f, ownership).unwrap();
        assert_eq!(access(&f, "bucket").1.ownership, ownership);
    }
    // What it grants its owner stands in nobody's way.
    put(&f, to_account("root")).unwrap();
    own(&f, Some(ObjectOwnership::BucketOwnerEnforced)).unwrap();
    assert_eq!(access(&f, "bucket").1.acl, to_account("root"));
    let other = Command::PutBucketAcl { bucket: "bucket".into(), id: 99, acl: None };
    assert_eq!(kind(f.run(other)), ErrorKind::NotFound(Entity::Bucket));
}

#[test]
fn a_public_acl_is_put_only_where_that_is_not_blocked() {
    let f = Fixture::new();
    own(&f, Some(ObjectOwnership::ObjectWriter)).unwrap();
    let public = || Some(ObjectAcl { owner: None, grants: to_all() });
    put_object(&f, None).unwrap();
    let upload = |number| Command::CreateAnnotatedUpload {
        bucket: "bucket".into(),
        upload: upload_record("k", UploadId([number; 16])),
        annotations: Annotations { acl: public(), ..Annotations::default() },
    };
    for grants in [to_all(), Some(vec![grant(Grantee::AuthenticatedUsers)])] {
        assert_eq!(kind(put(&f, grants.clone())), BLOCKED);
        assert_eq!(kind(put_object(&f, Some(ObjectAcl { owner: None, grants: grants.clone() }))), BLOCKED);
        assert_eq!(kind(annotate(&f, None, grants)), BLOCKED);
    }
    assert_eq!(kind(f.run(upload(1))), BLOCKED);
    let account = crate::identity_command::IdentityCommand::PutAccountBlock {
        account: crate::identity::FIRST_ACCOUNT.into(),
        block: Some(BlockPublicAccess { block_public_acls: true, ..BlockPublicAccess::NONE }),
    };
    block(&f, None);
    put(&f, to_all()).unwrap();
    put_object(&f, public()).unwrap();
    annotate(&f, public(), None).unwrap();
    annotate(&f, None, to_all()).unwrap();
    f.run(upload(2)).unwrap();
    // The account's holds too; what is there stays.
    f.run(Command::Identity(account)).unwrap();
    assert_eq!(kind(put(&f, to_all())), BLOCKED);
    assert_eq!(kind(put_object(&f, public())), BLOCKED);
    assert_eq!((access(&f, "bucket").1.acl, acl_of(&f, None)), (to_all(), public()));
    put(&f, Some(vec![grant(Grantee::LogDelivery)])).unwrap();
}

#[test]
fn an_object_keeps_its_owner_and_is_changed_only_as_it_was_seen() {
    let f = Fixture::new();
    let id = access(&f, "bucket").0;
    let versioning = crate::object::Versioning::Enabled;
    f.run(Command::PutVersioning { bucket: "bucket".into(), id, versioning }).unwrap();
    let theirs = Some(ObjectAcl { owner: Some("other".into()), grants: None });
    let Response::Version(old) = put_object(&f, theirs.clone()).unwrap() else { panic!() };
    put_object(&f, None).unwrap();
    assert_eq!((acl_of(&f, None), acl_of(&f, old)), (None, theirs.clone()));
    let change = |seen, grants| Command::Annotate {
        bucket: "bucket".into(),
        key: "k".into(),
        version: old,
        change: Annotate::Acl { seen, grants },
        now_ms: 2,
    };
    assert_eq!(kind(f.run(change(None, None))), ErrorKind::InUse(Entity::Acl));
    f.run(change(theirs.clone(), to_account("root"))).unwrap();
    let granted = Some(ObjectAcl { owner: Some("other".into()), grants: to_account("root") });
    assert_eq!((acl_of(&f, None), acl_of(&f, old)), (None, granted.clone()));
    f.run(change(granted, None)).unwrap();
    assert_eq!(acl_of(&f, old), theirs);
    annotate(&f, None, to_account("root")).unwrap();
    annotate(&f, acl_of(&f, None), None).unwrap();
    assert_eq!(acl_of(&f, None), None, "as one that never had any");
}

#[test]
fn what_is_too_much_is_refused() {
    let f = Fixture::new();
    own(&f, None).unwrap();
    let many = |count| Some(vec![grant(Grantee::LogDelivery); count]);
    put(&f, many(MAX_ACL_GRANTS)).unwrap();
    let owned = |owner: &str, grants| Some(ObjectAcl { owner: Some(owner.into()), grants });
    for refused in [
        put(&f, many(MAX_ACL_GRANTS + 1)),
        put(&f, to_account("")),
        put_object(&f, owned("o", many(MAX_ACL_GRANTS + 1))),
        put_object(&f, owned("a\nb", None)),
    ] {
        assert_eq!(kind(refused), ErrorKind::Invalid);
    }
}

#[test]
fn a_bucket_is_made_with_acls_and_closed() {
    let f = Fixture::new();
    let create = |name: &str, locked, acl| Command::CreateBucketWithAcls {
        name: name.into(),
        owner: "root".into(),
        locked,
        ownership: ObjectOwnership::ObjectWriter,
        acl,
        now_ms: 1,
    };
    assert_eq!(kind(f.run(create("new", false, to_all()))), BLOCKED);
    f.run(create("new", false, to_account("other"))).unwrap();
    let expected = AccessRecord {
        policy: None,
        block: Some(BlockPublicAccess::ALL),
        ownership: Some(ObjectOwnership::ObjectWriter),
        acl: to_account("other"),
    };
    assert_eq!(access(&f, "new").1, expected);
    assert_eq!(kind(f.run(create("new", false, None))), ErrorKind::Exists(Entity::Bucket));
    f.run(create("locked", true, None)).unwrap();
    let Answer::Versioning(config) = f.ask(Query::Versioning { bucket: "locked".into() }).unwrap() else {
        panic!()
    };
    assert!(config.lock.is_some());
}

#[test]
fn golden_bytes_never_change() {
    let bytes = |command: &Command| hex::encode(postcard::to_stdvec(command).unwrap());
    let create = Command::CreateBucketWithAcls {
        name: "b".into(),
        owner: "o".into(),
        locked: true,
        ownership: ObjectOwnership::ObjectWriter,
        acl: to_all(),
        now_ms: 5,
    };
    assert_eq!(bytes(&create)[2..], *"0162016f0102010101000 5".replace(' ', ""));
    let ownership = Some(ObjectOwnership::BucketOwnerPreferred);
    let own = Command::PutOwnership { bucket: "b".into(), id: 5, ownership };
    assert_eq!(bytes(&own)[2..], *"0162050101");
    let put = Command::PutBucketAcl { bucket: "b".into(), id: 5, acl: to_account("o") };
    assert_eq!(bytes(&put)[2..], *"01620501010 0016f00".replace(' ', ""));
    let seen = Some(ObjectAcl { owner: None, grants: to_all() });
    let change = Annotate::Acl { seen, grants: None };
    assert_eq!(hex::encode(postcard::to_stdvec(&change).unwrap()), "03010001010100 00".replace(' ', ""));
}
