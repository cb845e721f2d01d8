//! Bits flipped in one replica's file while nothing runs.

use crate::block_client::BlockClient;
use crate::harness::{Store, clean, eventually, noise};
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::time::Duration;
use trial::process::program;

const PIECE: usize = 64 << 10;
const PIECES: u64 = 128;

#[test]
fn flipped_bits_are_read_right_and_repaired() {
    let mut store = Store::start("256M");
    store.cli(&["volume", "create", "v", "--size", "64M"]);
    let socket = store.dir.path().join("v.sock");
    store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    let mut client = BlockClient::connect(&socket);
    for piece in 0..PIECES {
        assert_eq!(client.write(piece * PIECE as u64, &noise(piece, PIECE)), 0);
    }
    assert_eq!(client.flush(), 0);
    drop(client);
    store.stop();
    check_disk(&store, 1, 0);

    let flipped = flip(&store, 1);
    assert!(flipped > 0, "none of the data was found in the disk's file");
    let report = check_disk(&store, 1, 1);
    assert!(report.contains("corrupt") || report.contains("checksum"), "{report}");

    store.up();
    // Reads go to one replica each, and to the next one with each attachment: three see every copy.
    for _ in 0..3 {
        let mut client = BlockClient::connect(&socket);
        for piece in 0..PIECES {
            assert!(client.read(piece * PIECE as u64, PIECE) == noise(piece, PIECE), "piece {piece}");
        }
        drop(client);
        store.cli(&["volume", "detach", "v"]);
        store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    }
    eventually("the repair", Duration::from_secs(30), || {
        let status = store.json(&["status"]);
        let disks = status["disks"].as_array().unwrap();
        let repaired: u64 = disks.iter().map(|disk| disk["repaired_blocks"].as_u64().unwrap()).sum();
        (repaired >= flipped).then_some(())
    });
    store.stop();
    for disk in 0..3 {
        check_disk(&store, disk, 0);
    }
}

/// Flips one bit in some of the blocks that hold the volume's data; how many.
fn flip(store: &Store, disk: usize) -> u64 {
    let file = OpenOptions::new().read(true).write(true).open(store.disk_file(disk)).unwrap();
    let len = file.metadata().unwrap().len();
    let wanted: Vec<Vec<u8>> =
        (0..PIECES).step_by(8).map(|piece| noise(piece, PIECE)[..4096].to_vec()).collect();
    let mut flipped = 0;
    let mut chunk = vec![0u8; 1 << 20];
    let mut at = 0;
    while at < len {
        let count = file.read_at(&mut chunk, at).unwrap();
        for start in (0..count).step_by(4096) {
            if wanted.iter().any(|block| chunk[start..].starts_with(block)) {
                let place = at + start as u64 + 1234;
                let byte = chunk[start + 1234] ^ 0x10;
                file.write_all_at(&[byte], place).unwrap();
                flipped += 1;
            }
        }
        at += count as u64;
    }
    file.sync_all().unwrap();
    flipped
}

/// `ashlar disk check` of a disk that no daemon uses; its output.
#[track_caller]
fn check_disk(store: &Store, disk: usize, code: i32) -> String {
    let output = clean(program()).args(["disk", "check"]).arg(store.disk_file(disk)).output().unwrap();
    let text =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}
