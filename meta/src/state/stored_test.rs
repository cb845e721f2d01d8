//! What entries keep of checksums: of the whole, which lists show, and of the parts.

use super::super::tests::{Fixture, object};
use super::*;
use crate::command::{Annotate, Command, Response};
use crate::object::{
    CompletedPart, FoundVersion, PartRecord, Precondition, UploadId, UploadRecord, VersionedObject,
};
use crate::query::{Answer, ListObjects, ListVersions, Query};

const ID: UploadId = UploadId([7; 16]);
const MIN: u64 = 5 << 20;
const COMPOSITE: (ChecksumAlgorithm, ChecksumType) = (ChecksumAlgorithm::Sha256, ChecksumType::Composite);

fn sum((algorithm, kind): (ChecksumAlgorithm, ChecksumType), value: &str) -> Checksum {
    Checksum { algorithm, kind, value: value.into() }
}

fn names() -> (String, String) {
    ("bucket".to_owned(), "k".to_owned())
}

/// Makes `k` of two parts with these checksums.
fn complete(f: &Fixture, whole: Option<Checksum>, parts: [Option<Checksum>; 2]) {
    let upload = UploadRecord {
        id: ID,
        key: "k".into(),
        owner: "root".into(),
        initiated_ms: 1,
        headers: StoredHeaders {
            content_type: Some("a/b".into()),
            expires: Some("never".into()),
            ..StoredHeaders::default()
        },
        user_metadata: vec![("m".into(), "n".into())],
        checksum: None,
    };
    f.run(Command::CreateUpload { bucket: "bucket".into(), upload }).unwrap();
    for (number, checksum) in (1..).zip(parts) {
        let size = if number == 1 { MIN } else { 9 };
        let part = PartRecord {
            number,
            size,
            etag: "p".into(),
            last_modified_ms: 1,
            checksums: checksum.into_iter().collect(),
            extents: vec![f.extent(size)],
        };
        let (bucket, key) = names();
        f.run(Command::PutPart { bucket, key, upload: ID, part }).unwrap();
    }
    let (bucket, key) = names();
    let record = ObjectRecord {
        checksums: whole.into_iter().collect(),
        ..object("e-2", Body::Inline(Bytes::new()), 0)
    };
    let parts = [1, 2].map(|number| CompletedPart { number, etag: "p".into() }).to_vec();
    let precondition = Precondition::None;
    let command = Command::CompleteVersion {
        bucket,
        key,
        upload: ID,
        parts,
        record,
        precondition,
        now_ms: 1,
        nonce: 1,
    };
    let Response::Version(_) = f.run(command).unwrap() else { panic!() };
}

fn read(f: &Fixture) -> VersionedObject {
    let (bucket, key) = names();
    let query = Query::Version { bucket, key, version: None, part: ObjectPart::Head };
    let Answer::Version(FoundVersion::Object(found)) = f.ask(query).unwrap() else { panic!() };
    *found
}

/// What both lists show of `k`.
fn listed(f: &Fixture) -> Option<(ChecksumAlgorithm, ChecksumType)> {
    let bucket = "bucket".to_owned();
    let list = ListObjects { bucket: bucket.clone(), limit: 9, ..ListObjects::default() };
    let Answer::Objects(objects) = f.ask(Query::ListObjects(list)).unwrap() else { panic!() };
    let list = ListVersions { bucket, limit: 9, ..ListVersions::default() };
    let Answer::Versions(versions) = f.ask(Query::ListVersions(list)).unwrap() else { panic!() };
    assert_eq!(objects.objects[0].checksum, versions.versions[0].checksum);
    objects.objects[0].checksum
}

fn entry(f: &Fixture) -> Vec<u8> {
    let Ok(Answer::Bucket(bucket)) = f.ask(Query::Bucket { name: "bucket".into() }) else { panic!() };
    f.kv.get(&keys::object(bucket.id, "k", keys::PLAIN_SLOT)).unwrap().unwrap()
}

#[test]
fn parts_keep_their_checksums_and_lists_tell_which() {
    let f = Fixture::new();
    let parts = ["one", "two"].map(|value| Some(sum((COMPOSITE.0, ChecksumType::FullObject), value)));
    complete(&f, Some(sum(COMPOSITE, "both-2")), parts);
    let found = read(&f);
    assert_eq!(found.part_checksums, ["one", "two"]);
    assert_eq!((found.record.checksums, listed(&f)), (vec![sum(COMPOSITE, "both-2")], Some(COMPOSITE)));
    // The end: no tags, no retention, no hold; two texts.
    assert!(hex::encode(entry(&f)).ends_with("000000 02 036f6e65 0374776f".replace(' ', "").as_str()));
    // What is said of the object later leaves them as they are, whether or not it is taken back.
    for tags in [vec![("t".to_owned(), "v".to_owned())], vec![]] {
        let (bucket, key) = names();
        let change = Annotate::Tags(tags.clone());
        f.run(Command::Annotate { bucket, key, version: None, change, now_ms: 2 }).unwrap();
        let found = read(&f);
        assert_eq!((found.annotations.tags, found.part_checksums.len()), (tags, 2));
    }
    // An object in their place has none.
    let put = super::super::tests::put("k", object("e", Body::Inline(Bytes::new()), 0), Precondition::None);
    f.run(put).unwrap();
    assert_eq!((read(&f).part_checksums, listed(&f)), (vec![], None));
}

#[test]
fn parts_of_which_one_has_no_such_checksum_keep_none() {
    let full = |algorithm| (algorithm, ChecksumType::FullObject);
    let sha = || Some(sum(full(ChecksumAlgorithm::Sha256), "s"));
    let crc = || Some(sum(full(ChecksumAlgorithm::Crc32), "c"));
    for (whole, parts) in [
        (Some(sum(COMPOSITE, "w-2")), [sha(), None]),
        (Some(sum(COMPOSITE, "w-2")), [sha(), crc()]),
        (None, [sha(), sha()]),
    ] {
        let f = Fixture::new();
        complete(&f, whole.clone(), parts);
        assert_eq!(read(&f).part_checksums, Vec::<String>::new());
        assert_eq!(listed(&f), whole.map(|whole| (whole.algorithm, whole.kind)));
        // The entry is as those of earlier builds are: nothing comes after its extents.
        let bytes = entry(&f);
        let (_, rest) = postcard::take_from_bytes::<Head<'_>>(&bytes).unwrap();
        let (_, end) = postcard::take_from_bytes::<Rest>(rest).unwrap();
        assert!(end.is_empty());
    }
}
