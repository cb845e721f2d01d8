use super::*;
use crate::error::Entity;
use crate::object::{Body, ObjectRecord, Precondition, StoredHeaders};
use crate::query::{ListObjects, ObjectPart};
use bytes::Bytes;
use std::path::Path;

fn record(body: &[u8]) -> ObjectRecord {
    ObjectRecord {
        size: body.len() as u64,
        etag: hex::encode(&body[..body.len().min(16)]) + "e",
        last_modified_ms: 1,
        headers: StoredHeaders::default(),
        user_metadata: Vec::new(),
        checksums: Vec::new(),
        part_sizes: Vec::new(),
        body: Body::Inline(Bytes::copy_from_slice(body)),
    }
}

async fn start(dir: &Path) -> MetaNode {
    MetaNode::start(MetaConfig::new(dir, NodeId(1))).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_a_stop_and_a_start() {
    let dir = tempfile::tempdir().unwrap();
    let node = start(dir.path()).await;
    let client = node.client();
    client.create_bucket("bucket", "root").await.unwrap();
    client.put_object("bucket", "k", record(b"hello"), Precondition::None).await.unwrap();
    node.stop().await.unwrap();
    assert_eq!(client.bucket("bucket").await.unwrap_err().kind(), ErrorKind::Unavailable);
    let node = start(dir.path()).await;
    let got = node.client().object("bucket", "k", ObjectPart::Whole).await.unwrap();
    assert_eq!(got, record(b"hello"));
    let missing = node.client().object("bucket", "x", ObjectPart::Whole).await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::NotFound(Entity::Key));
    let list = ListObjects { bucket: "bucket".into(), limit: 10, ..Default::default() };
    assert_eq!(node.client().list_objects(list).await.unwrap().objects.len(), 1);
    node.stop().await.unwrap();
}
