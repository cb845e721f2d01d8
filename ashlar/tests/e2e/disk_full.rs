//! Full disks: clear errors, nothing lost, and deleting makes room.

use crate::block_client::{BlockClient, SLOT};
use crate::harness::{Store, eventually, noise};
use crate::s3_client::{S3Client, runtime};
use std::time::Duration;

const OBJECT: usize = 4 << 20;

#[test]
fn a_full_store_says_so_and_recovers() {
    let store = Store::start("256M");
    let runtime = runtime();
    let s3 = S3Client::of(&store);
    store.cli(&["volume", "create", "v", "--size", "1G"]);
    let socket = store.dir.path().join("v.sock");
    store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    let mut client = BlockClient::connect(&socket);
    for piece in 0..64u64 {
        assert_eq!(client.write(piece * SLOT as u64, &noise(piece, SLOT)), 0);
    }
    assert_eq!(client.flush(), 0);

    let stored = runtime.block_on(async {
        assert_eq!(s3.put("/full", Vec::new()).await.unwrap().status, 200);
        let mut stored = 0u64;
        loop {
            let answer = s3.put(&format!("/full/{stored}"), noise(1000 + stored, OBJECT)).await.unwrap();
            if answer.status != 200 {
                let text = String::from_utf8_lossy(&answer.body).into_owned();
                assert!(matches!(answer.status, 503 | 507), "{} {text}", answer.status);
                assert!(text.contains("<Message>"), "{text}");
                return stored;
            }
            stored += 1;
            assert!(stored < 100, "400 MiB fitted on a disk of 256 MiB");
        }
    });
    assert!(stored > 10, "only {stored} objects of 4 MiB fitted on 256 MiB");

    // The guest's writes stall and never fail, status says why, and what was stored is still right.
    let is_told = || store.json(&["status"])["causes"].to_string().contains("nearly full");
    let offset = 512 << 20;
    let mut tag = 0;
    client.start_write(tag, 0, offset, &noise(7, SLOT));
    loop {
        match client.wait(Duration::from_secs(8)).first() {
            None if is_told() => break,
            // A busy machine.
            None => {}
            Some(done) => {
                assert_eq!(done.result, 0);
                tag += 1;
                assert!(tag < 5000, "the disks never got full for the guest");
                client.start_write(tag, 0, offset + (tag * SLOT) as u64, &noise(7, SLOT));
            }
        }
    }
    runtime.block_on(async {
        let read = s3.get("/full/3").await.unwrap();
        assert!(read.status == 200 && read.body == noise(1003, OBJECT));
        for object in 0..stored {
            let answer = s3.send("DELETE", &format!("/full/{object}"), Vec::new()).await.unwrap();
            assert_eq!(answer.status, 204, "{}", String::from_utf8_lossy(&answer.body));
        }
    });
    eventually("the stalled write's end", Duration::from_secs(60), || {
        client.wait(Duration::from_millis(500)).first().map(|done| assert_eq!(done.result, 0))
    });
    eventually("room for objects", Duration::from_secs(60), || {
        let answer = runtime.block_on(s3.put("/full/again", noise(1, OBJECT))).unwrap();
        (answer.status == 200).then_some(())
    });
    assert_eq!(client.flush(), 0);
    for piece in 0..64u64 {
        assert!(client.read(piece * SLOT as u64, SLOT) == noise(piece, SLOT), "piece {piece}");
    }
}
