//! Encrypted objects: what entries and uploads keep of how, and what each pool key is counted to open.

use super::super::tests::{Fixture, object, part_record, upload_record};
use super::*;
use crate::command::{Annotate, Command};
use crate::object::{
    Annotations, Body, CompletedPart, FoundVersion, Precondition, UploadId, VersionedObject,
};
use crate::query::{Answer, ObjectPart, Query};
use crate::sealing::PartSalt;
use crate::state::kv::Read as _;
use bytes::Bytes;

const A: PoolKeyId = PoolKeyId([1; 8]);
const B: PoolKeyId = PoolKeyId([2; 8]);
const ID: UploadId = UploadId([7; 16]);

fn by(id: PoolKeyId) -> Sealing {
    Sealing { by: SealedBy::Pool(id), wrapped: vec![9; 3], salts: vec![] }
}

fn note(f: &Fixture, id: PoolKeyId, first: bool) -> Result<(), ErrorKind> {
    f.run(Command::NotePoolKey { id, first, now_ms: u64::from(id.0[0]) }).map(|_| ()).map_err(|no| no.kind)
}

fn uses(f: &Fixture) -> Vec<u64> {
    let Answer::PoolKeys(keys) = f.ask(Query::PoolKeys).unwrap() else { panic!() };
    keys.iter().map(|key| key.uses).collect()
}

fn put(f: &Fixture, key: &str, sealing: Option<Sealing>) -> Result<(), ErrorKind> {
    // Three bytes, and a tag.
    let body = Bytes::from(vec![0; if sealing.is_some() { 19 } else { 3 }]);
    let record = object("e", Body::Inline(body), 3);
    let (bucket, key, annotations) = ("bucket".to_owned(), key.to_owned(), Annotations::default());
    let (precondition, now_ms, nonce) = (Precondition::None, 1, 1);
    let command = match sealing {
        None => Command::PutVersion { bucket, key, record, annotations, precondition, now_ms, nonce },
        Some(sealing) => {
            Command::PutSealed { bucket, key, record, sealing, annotations, precondition, now_ms, nonce }
        }
    };
    f.run(command).map(|_| ()).map_err(|no| no.kind)
}

fn read(f: &Fixture, key: &str) -> VersionedObject {
    let (bucket, key) = ("bucket".to_owned(), key.to_owned());
    let query = Query::Version { bucket, key, version: None, part: ObjectPart::Whole };
    let Answer::Version(FoundVersion::Object(found)) = f.ask(query).unwrap() else { panic!() };
    *found
}

fn delete(f: &Fixture, key: &str) {
    let objects = vec![crate::command::DeleteVersion {
        key: key.into(),
        version: None,
        precondition: Precondition::None,
        bypass_governance: false,
        nonce: 0,
    }];
    f.run(Command::DeleteVersions { bucket: "bucket".into(), objects, now_ms: 1 }).unwrap();
}

#[test]
fn a_pool_key_is_noted_before_it_is_used_and_its_uses_are_counted() {
    let f = Fixture::new();
    assert_eq!(put(&f, "k", Some(by(A))), Err(ErrorKind::Invalid));
    note(&f, A, true).unwrap();
    note(&f, A, true).unwrap();
    assert_eq!(note(&f, B, true), Err(ErrorKind::PreconditionFailed));
    note(&f, B, false).unwrap();
    put(&f, "k", Some(by(A))).unwrap();
    put(&f, "l", Some(by(A))).unwrap();
    let customer = Sealing { by: SealedBy::Customer, ..by(A) };
    put(&f, "m", Some(customer.clone())).unwrap();
    assert_eq!(uses(&f), [2, 0]);
    assert_eq!((read(&f, "k").sealing, read(&f, "m").sealing), (Some(by(A)), Some(customer)));
    // Overwritten by another key's, by what is plain, and deleted.
    put(&f, "k", Some(by(B))).unwrap();
    assert_eq!(uses(&f), [1, 1]);
    put(&f, "k", None).unwrap();
    assert_eq!((uses(&f), read(&f, "k").sealing), (vec![1, 0], None));
    delete(&f, "l");
    assert_eq!(uses(&f), [0, 0]);
}

#[test]
fn annotations_leave_a_sealing_and_a_rewrap_takes_its_place() {
    let f = Fixture::new();
    note(&f, A, true).unwrap();
    note(&f, B, false).unwrap();
    put(&f, "k", Some(by(A))).unwrap();
    let (bucket, key) = ("bucket".to_owned(), "k".to_owned());
    let change = Annotate::Tags(vec![("t".into(), "v".into())]);
    f.run(Command::Annotate { bucket, key, version: None, change, now_ms: 2 }).unwrap();
    assert_eq!(read(&f, "k").sealing, Some(by(A)));
    let rewrap = |before: &[u8]| {
        let (bucket, key, wrapped) = ("bucket".to_owned(), "k".to_owned(), vec![8; 4]);
        f.run(Command::Rewrap { bucket, key, version: None, before: before.to_vec(), by: B, wrapped })
    };
    assert_eq!(rewrap(&[1]).unwrap_err().kind, ErrorKind::PreconditionFailed);
    rewrap(&[9; 3]).unwrap();
    let found = read(&f, "k");
    assert_eq!(found.sealing.unwrap().wrapped, [8; 4]);
    assert_eq!((uses(&f), found.annotations.tags.len()), (vec![0, 1], 1));
    assert_eq!(rewrap(&[9; 3]).unwrap_err().kind, ErrorKind::PreconditionFailed);
}

fn part(f: &Fixture, number: u16, salt: Option<u8>) -> Result<(), ErrorKind> {
    let size = if number == 2 { 5 << 20 } else { 9 };
    let extents = vec![f.extent(size)];
    let part = part_record(number, ("p", size), extents);
    let (bucket, key, upload) = ("bucket".to_owned(), "u".to_owned(), ID);
    let command = match salt.map(|salt| PartSalt([salt; 16])) {
        None => Command::PutPart { bucket, key, upload, part },
        Some(salt) => Command::PutSealedPart { bucket, key, upload, part, salt },
    };
    f.run(command).map(|_| ()).map_err(|no| no.kind)
}

fn create(f: &Fixture, sealing: Option<Sealing>) {
    let upload = upload_record("u", ID);
    let (bucket, annotations) = ("bucket".to_owned(), Annotations::default());
    f.run(match sealing {
        None => Command::CreateUpload { bucket, upload },
        Some(sealing) => Command::CreateSealedUpload { bucket, upload, sealing, annotations },
    })
    .unwrap();
}

#[test]
fn an_object_of_parts_has_the_salts_of_those_it_is_made_of() {
    let f = Fixture::new();
    note(&f, A, true).unwrap();
    create(&f, Some(by(A)));
    assert_eq!(uses(&f), [1]);
    assert_eq!(part(&f, 2, None), Err(ErrorKind::Invalid), "a plain part");
    for (number, salt) in [(2, 1), (3, 2), (7, 3), (2, 4)] {
        part(&f, number, Some(salt)).unwrap();
    }
    let (bucket, key) = ("bucket".to_owned(), "u".to_owned());
    let open = Query::OpenUpload { bucket: bucket.clone(), key: key.clone(), upload: ID };
    let Answer::OpenUpload(_, sealing) = f.ask(open).unwrap() else { panic!() };
    assert_eq!(sealing, Some(by(A)));
    let parts = [2, 7].map(|number| CompletedPart { number, etag: "p".into() }).to_vec();
    let record = object("e-2", Body::Inline(Bytes::new()), 0);
    let (precondition, now_ms, nonce) = (Precondition::None, 1, 1);
    let upload = ID;
    f.run(Command::CompleteVersion { bucket, key, upload, parts, record, precondition, now_ms, nonce })
        .unwrap();
    let salts = vec![PartSalt([4; 16]), PartSalt([3; 16])];
    assert_eq!(read(&f, "u").sealing, Some(Sealing { salts, ..by(A) }));
    assert_eq!(uses(&f), [1]);
    // An upload that comes to nothing.
    create(&f, Some(by(A)));
    assert_eq!(uses(&f), [2]);
    let (bucket, key) = ("bucket".to_owned(), "u".to_owned());
    f.run(Command::AbortUpload { bucket, key, upload: ID }).unwrap();
    assert_eq!(uses(&f), [1]);
    create(&f, None);
    assert_eq!(part(&f, 2, Some(1)), Err(ErrorKind::Invalid), "an encrypted part of a plain upload");
}

#[test]
fn golden_bytes_never_change() {
    let sealing = Sealing { salts: vec![PartSalt([5; 16])], ..by(A) };
    let bytes = hex::encode(postcard::to_stdvec(&Some(sealing)).unwrap());
    assert_eq!(bytes, format!("0100{}03090909 01{}", "01".repeat(8), "05".repeat(16)).replace(' ', ""));
    let bytes = hex::encode(postcard::to_stdvec(&SealedBy::Customer).unwrap());
    assert_eq!(bytes, "01");
    let record = PoolKeyRecord { id: B, noted_ms: 300, uses: 1 };
    let bytes = hex::encode(postcard::to_stdvec(&record).unwrap());
    assert_eq!(bytes, format!("{}ac0201", "02".repeat(8)));
    let f = Fixture::new();
    note(&f, A, true).unwrap();
    put(&f, "k", Some(by(A))).unwrap();
    let Ok(Answer::Bucket(bucket)) = f.ask(Query::Bucket { name: "bucket".into() }) else { panic!() };
    let entry = f.kv.get(&keys::object(bucket.id, "k", keys::PLAIN_SLOT)).unwrap().unwrap();
    // No tags, no retention, no hold; no checksums of parts; sealed, by a pool key, three bytes, no salts.
    let end = format!("000000 00 01 00{} 03090909 00", "01".repeat(8)).replace(' ', "");
    assert!(hex::encode(entry).ends_with(&end));
}
