//! The block layer whole: three chunk servers on files, a volume over TCP.

#![allow(clippy::unwrap_used, reason = "tests")]

mod cluster;

use blockd::ErrorKind;
use blockd::client::{Holes, Volume, admin};
use blockd::server::{ChunkServer, Missing};
use bytes::Bytes;
use cluster::{Cluster, Dice, TOKEN};
use proto::control::PoolToken;
use proto::units::{BLOCK_LEN, CHUNK_BYTES};
use proto::{DiskId, VolumeEpoch, VolumeId};
use std::os::unix::fs::FileExt;
use std::time::Duration;

const DISK_BYTES: u64 = 512 << 20;
const VOLUME_BYTES: u64 = 32 << 20;

fn filled(byte: u8, len: usize) -> Bytes {
    Bytes::from(vec![byte; len])
}

async fn read(volume: &Volume, offset: u64, len: usize) -> Bytes {
    volume.read(offset, len, Holes::Zeros).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_written_is_read_at_any_sector_across_chunks() {
    let cluster = Cluster::start(DISK_BYTES);
    let volume = cluster.open(1, 1, VOLUME_BYTES).await;
    assert_eq!(volume.size_bytes(), VOLUME_BYTES);
    assert_eq!(read(&volume, 0, 8192).await, filled(0, 8192));
    volume.write(4096, filled(1, 4096)).await.unwrap();
    volume.write(512, filled(2, 512)).await.unwrap();
    volume.write(4096 + 3584, filled(3, 1024)).await.unwrap();
    let seen = read(&volume, 0, 12288).await;
    assert!(seen[..512].iter().chain(&seen[1024..4096]).all(|&byte| byte == 0));
    assert_eq!((seen[512], seen[1023], seen[4096], seen[4096 + 3583]), (2, 2, 1, 1));
    assert_eq!((seen[7680], seen[8703], seen[8704]), (3, 3, 0));
    let across = CHUNK_BYTES - 1536;
    let mut dice = Dice(5);
    let data = Bytes::from(dice.bytes(5 << 20));
    volume.write(across, data.clone()).await.unwrap();
    assert!(read(&volume, across, data.len()).await == data);
    volume.flush().await.unwrap();
    volume.trim(CHUNK_BYTES, CHUNK_BYTES).await.unwrap();
    assert!(read(&volume, CHUNK_BYTES, 1 << 20).await.iter().all(|&byte| byte == 0));
    assert!(read(&volume, across, 1536).await == data[..1536]);
    volume.write_zeroes(4096, 512).await.unwrap();
    assert_eq!(read(&volume, 4096, 1024).await, [filled(0, 512), filled(1, 512)].concat());
    let hole = volume.read(CHUNK_BYTES, 4096, Holes::Error).await;
    assert!(hole.is_err(), "a reader that knows of data is told of a hole");
    for (offset, len) in
        [(VOLUME_BYTES, 512), (VOLUME_BYTES - 512, 1024), (u64::MAX - 511, 512), (1, 512), (0, 100)]
    {
        let error = volume.read(offset, len, Holes::Zeros).await.unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{offset} {len}");
        assert_eq!(volume.write(offset, filled(1, len)).await.unwrap_err().kind, ErrorKind::Invalid);
    }
    volume.close().await;
    assert_eq!(volume.flush().await.unwrap_err().kind, ErrorKind::Closed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_operations_match_a_model_over_restarts() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let mut dice = Dice(11);
    let mut model = vec![0u8; usize::try_from(VOLUME_BYTES).unwrap()];
    let mut epoch = 0;
    for round in 0..4 {
        epoch += 1;
        let volume = cluster.open(1, epoch, VOLUME_BYTES).await;
        for _ in 0..120 {
            let sectors = if dice.roll(4) == 0 { 1 + dice.roll(3000) } else { 1 + dice.roll(40) };
            let offset = dice.roll(VOLUME_BYTES / 512 - sectors) * 512;
            let (len, at) = (usize::try_from(sectors * 512).unwrap(), usize::try_from(offset).unwrap());
            match dice.roll(10) {
                0 => {
                    volume.trim(offset, sectors * 512).await.unwrap();
                    // Of a block, all or nothing is trimmed.
                    let (first, last) = (at.next_multiple_of(BLOCK_LEN), (at + len) / BLOCK_LEN * BLOCK_LEN);
                    model[first.min(last)..last].fill(0);
                }
                1 => volume.flush().await.unwrap(),
                2..=5 => assert!(
                    read(&volume, offset, len).await == model[at..at + len],
                    "{round}: {offset} {len}"
                ),
                _ => {
                    let data = dice.bytes(len);
                    model[at..at + len].copy_from_slice(&data);
                    volume.write(offset, data.into()).await.unwrap();
                }
            }
        }
        volume.flush().await.unwrap();
        if round % 2 == 0 {
            cluster.restart();
        } else {
            (0..3).for_each(|number| cluster.kill_one(number));
            (0..3).for_each(|number| cluster.start_one(number));
        }
        let volume = cluster.open(1, epoch + 1, VOLUME_BYTES).await;
        epoch += 1;
        for start in (0..model.len()).step_by(1 << 20) {
            let seen = read(&volume, start as u64, 1 << 20).await;
            let wrong = (0..1 << 20)
                .step_by(512)
                .find(|&at| seen[at..at + 512] != model[start + at..start + at + 512]);
            if let Some(at) = wrong {
                let (seen, meant) = (&seen[at..at + 16], &model[start + at..start + at + 16]);
                panic!("round {round}: at {} is {seen:?}, not {meant:?}", start + at);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overlapping_writers_leave_each_sector_to_one_of_them() {
    let cluster = Cluster::start(DISK_BYTES);
    let volume = cluster.open(1, 1, VOLUME_BYTES).await;
    let mut dice = Dice(23);
    let span = 64 * 4096;
    let mut writes = Vec::new();
    for number in 0..240 {
        let sectors = 1 + dice.roll(48);
        writes.push((
            dice.roll(span / 512 - sectors) * 512,
            sectors * 512,
            u8::try_from(1 + number).unwrap(),
        ));
    }
    let tasks: Vec<_> = writes
        .iter()
        .map(|&(offset, len, byte)| {
            let volume = volume.clone();
            tokio::spawn(
                async move { volume.write(offset, filled(byte, usize::try_from(len).unwrap())).await },
            )
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    let seen = read(&volume, 0, usize::try_from(span).unwrap()).await;
    for (sector, bytes) in seen.chunks(512).enumerate() {
        let at = sector as u64 * 512;
        assert!(bytes.iter().all(|byte| *byte == bytes[0]), "sector {sector} is a mix");
        let mut owners =
            writes.iter().filter(|(offset, len, _)| (*offset..offset + len).contains(&at)).peekable();
        let fits =
            if owners.peek().is_none() { bytes[0] == 0 } else { owners.any(|&(_, _, b)| b == bytes[0]) };
        assert!(fits, "sector {sector} holds {}", bytes[0]);
    }
    volume.close().await;
    let volume = cluster.open(1, 2, VOLUME_BYTES).await;
    assert!(read(&volume, 0, seen.len()).await == seen, "all members agree whoever is asked");
}

/// More than the queue to a member takes, and all at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_of_many_mebibytes_at_once_are_all_done() {
    const WRITES: u64 = 192;
    let len = 1 << 20;
    let cluster = Cluster::start(DISK_BYTES);
    let volume = cluster.open(1, 1, WRITES * len).await;
    let mut writes = tokio::task::JoinSet::new();
    for number in 0..WRITES {
        let (volume, byte) = (volume.clone(), u8::try_from(number).unwrap());
        writes.spawn(async move {
            volume.write(number * len, filled(byte, usize::try_from(len).unwrap())).await.unwrap();
        });
    }
    let all = tokio::time::timeout(Duration::from_secs(60), writes.join_all());
    assert_eq!(all.await.expect("they go on").len() as u64, WRITES);
    for number in [0, WRITES / 2, WRITES - 1] {
        assert!(read(&volume, number * len, 4096).await.iter().all(|&byte| u64::from(byte) == number));
    }
}

/// Flips a bit in every data block of the file that starts with `mark`; how many there were.
fn flip_bits(path: &std::path::Path, mark: &[u8]) -> usize {
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let bytes = std::fs::read(path).unwrap();
    let mut flipped = 0;
    for (block, data) in bytes.chunks(BLOCK_LEN).enumerate() {
        if data.starts_with(mark) {
            file.write_all_at(&[data[2000] ^ 0x10], block as u64 * BLOCK_LEN as u64 + 2000).unwrap();
            flipped += 1;
        }
    }
    flipped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn flipped_bits_are_never_read_and_are_repaired() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let volume = cluster.open(1, 1, 100 * CHUNK_BYTES).await;
    let mark = b"a block with a mark";
    let mut dice = Dice(31);
    let mut data = dice.bytes(96 * BLOCK_LEN);
    data.chunks_mut(BLOCK_LEN).for_each(|block| block[..mark.len()].copy_from_slice(mark));
    let data = Bytes::from(data);
    // One a chunk: which member is read first goes by chunk.
    let offsets: Vec<u64> = (0..96).map(|block| block * CHUNK_BYTES + block * 4096).collect();
    for (block, offset) in offsets.iter().enumerate() {
        volume.write(*offset, data.slice(block * BLOCK_LEN..(block + 1) * BLOCK_LEN)).await.unwrap();
    }
    volume.flush().await.unwrap();
    volume.close().await;
    // After a clean stop nothing is replayed, so that the next reader is the first to find the damage.
    (0..3).for_each(|number| cluster.stop_one(number));
    assert!(flip_bits(&cluster.path(1), mark) >= 96);
    (0..3).for_each(|number| cluster.start_one(number));
    let volume = cluster.open(1, 2, 100 * CHUNK_BYTES).await;
    for round in 0..3 {
        for (block, offset) in offsets.iter().enumerate() {
            let seen = read(&volume, *offset, BLOCK_LEN).await;
            assert!(seen == data[block * BLOCK_LEN..(block + 1) * BLOCK_LEN], "round {round}, block {block}");
        }
    }
    for _ in 0..100 {
        let stat = cluster.server(1).status().stat;
        if stat.corrupt_blocks > 0 && stat.repaired_blocks >= stat.corrupt_blocks {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not repaired: {:?}", cluster.server(1).status().stat);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_older_writer_is_fenced() {
    let cluster = Cluster::start(DISK_BYTES);
    let old = cluster.open(1, 1, VOLUME_BYTES).await;
    old.write(0, filled(1, 4096)).await.unwrap();
    let new = cluster.open(1, 2, VOLUME_BYTES).await;
    assert_eq!(old.write(0, filled(2, 4096)).await.unwrap_err().kind, ErrorKind::Fenced);
    assert_eq!(read(&new, 0, 4096).await, filled(1, 4096));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_goes_on_when_a_server_comes_back_in_time() {
    let mut cluster = Cluster::start(DISK_BYTES);
    let volume = cluster.open(1, 1, VOLUME_BYTES).await;
    volume.write(0, filled(1, 4096)).await.unwrap();
    volume.flush().await.unwrap();
    let mut config = cluster.config(2);
    config.listen = cluster.server(2).addr();
    cluster.kill_one(2);
    let writing = tokio::spawn({
        let volume = volume.clone();
        async move { volume.write(4096, filled(2, 4096)).await }
    });
    let server = ChunkServer::start(config).unwrap();
    tokio::time::timeout(Duration::from_secs(20), writing).await.unwrap().unwrap().unwrap();
    assert_eq!(read(&volume, 0, 8192).await, [filled(1, 4096), filled(2, 4096)].concat());
    server.stop().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_shots_tell_and_delete_and_ask_for_the_token() {
    let cluster = Cluster::start(DISK_BYTES);
    let place = cluster.place(0);
    let volume = cluster.open(9, 1, VOLUME_BYTES).await;
    volume.write(0, filled(1, 1 << 20)).await.unwrap();
    volume.flush().await.unwrap();
    volume.close().await;
    let stat = admin::volume_stat(&place, TOKEN, VolumeId(9)).await.unwrap();
    assert_eq!(stat.live_blocks, 256);
    let disk = admin::disk_stat(&place, TOKEN).await.unwrap();
    assert!(disk.capacity_bytes > 0 && disk.free_bytes <= disk.capacity_bytes, "{disk:?}");
    let wrong = admin::disk_stat(&place, PoolToken([8; 32])).await.unwrap_err();
    assert_eq!(wrong.kind, ErrorKind::Unauthorized);
    let mut elsewhere = place.clone();
    elsewhere.disk = DiskId([9; 16]);
    assert_eq!(admin::disk_stat(&elsewhere, TOKEN).await.unwrap_err().kind, ErrorKind::Unauthorized);
    admin::delete_volume(&place, TOKEN, VolumeId(9), VolumeEpoch(2)).await.unwrap();
    assert_eq!(admin::volume_stat(&place, TOKEN, VolumeId(9)).await.unwrap().live_blocks, 0);
}

#[test]
fn a_server_starts_on_its_own_disk_only() {
    let mut cluster = Cluster::start(64 << 20);
    let busy = ChunkServer::start(cluster.config(0)).err().unwrap();
    assert!(busy.to_string().contains("in use"), "{busy}");
    cluster.stop_one(0);
    let mut config = cluster.config(0);
    config.disk = DiskId([9; 16]);
    assert_eq!(ChunkServer::start(config).err().unwrap().kind, ErrorKind::Invalid);
    let mut config = cluster.config(0);
    config.listen = cluster.server(1).addr();
    assert!(ChunkServer::start(config).err().unwrap().to_string().contains("listening at"));
    let mut config = cluster.config(0);
    config.path = cluster.path(7);
    config.missing = Missing::Fail;
    assert!(ChunkServer::start(config.clone()).is_err());
    assert!(!config.path.exists());
    std::fs::write(&config.path, vec![b'x'; 1 << 20]).unwrap();
    assert_eq!(ChunkServer::start(config).err().unwrap().kind, ErrorKind::NotADisk);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_device_can_not_read_is_repaired_from_its_peers() {
    let cluster = Cluster::start(DISK_BYTES);
    let size = 64 * CHUNK_BYTES;
    let volume = cluster.open(1, 1, size).await;
    for chunk in 0..48 {
        volume.write(chunk * CHUNK_BYTES, filled(7, 64 << 10)).await.unwrap();
    }
    volume.flush().await.unwrap();
    let file = std::fs::File::options().write(true).open(cluster.path(0)).unwrap();
    file.set_len(64 << 10).unwrap();
    for chunk in 0..48 {
        assert_eq!(read(&volume, chunk * CHUNK_BYTES, 64 << 10).await, filled(7, 64 << 10));
    }
    volume.write(0, filled(8, 4096)).await.unwrap();
    for _ in 0..100 {
        let stat = cluster.server(0).status().stat;
        if stat.corrupt_blocks > 0 && stat.repaired_blocks >= stat.corrupt_blocks {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not repaired: {:?}", cluster.server(0).status());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_frames_end_their_connection_only() {
    use std::io::{Read, Write};
    let cluster = Cluster::start(DISK_BYTES);
    let volume = cluster.open(1, 1, VOLUME_BYTES).await;
    let mut dice = Dice(3);
    for number in 0..20 {
        let mut stream = std::net::TcpStream::connect(cluster.server(0).addr()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let bytes =
            if number == 0 { b"GET / HTTP/1.1\r\n\r\n".repeat(10) } else { dice.bytes(64 + number * 999) };
        // The server may close while we still send.
        let _ = stream.write_all(&bytes);
        let mut end = Vec::new();
        let _ = stream.read_to_end(&mut end);
        assert!(end.is_empty());
        volume.write(0, filled(number.to_le_bytes()[0], 4096)).await.unwrap();
    }
}
