use super::*;
use crate::command::Command;
use crate::raft::CommandBatch;
use openraft::storage::RaftLogStorageExt;
use openraft::{CommittedLeaderId, EntryPayload};

fn log_id(index: u64) -> LogId {
    LogId::new(CommittedLeaderId::new(1, 1), index)
}

fn entry(index: u64, bytes: usize) -> Entry {
    let command = Command::DeleteVolume { name: "n".repeat(bytes) };
    let payload = EntryPayload::Normal(CommandBatch(Arc::new(vec![command])));
    Entry { log_id: log_id(index), payload }
}

fn folder(dir: &tempfile::TempDir) -> Folder {
    let folder = Folder::new(dir.path());
    drop(folder.open().unwrap());
    folder
}

fn open(folder: &Folder) -> Result<LogStore, MetaError> {
    LogFiles::read(folder)?.open(&MetaMetrics::default())
}

async fn indexes(log: &mut LogStore) -> Vec<u64> {
    log.try_get_log_entries(..).await.unwrap().iter().map(|entry| entry.log_id.index).collect()
}

/// A log of entries 0 to `count`, each flushed by itself.
async fn filled(folder: &Folder, count: u64, bytes: usize) -> LogStore {
    let mut log = open(folder).unwrap();
    for index in 0..count {
        log.blocking_append([entry(index, bytes)]).await.unwrap();
    }
    log
}

fn the_file(folder: &Folder) -> PathBuf {
    let files = list(&folder.log()).unwrap();
    assert_eq!(files.len(), 1);
    files[0].1.clone()
}

#[tokio::test]
async fn openraft_is_content_with_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    let mut log = filled(&folder, 5, 10).await;
    log.save_vote(&Vote::new(3, 1)).await.unwrap();
    log.truncate(log_id(3)).await.unwrap();
    assert_eq!(log.get_log_state().await.unwrap().last_log_id, Some(log_id(2)));
    log.blocking_append([entry(3, 20), entry(4, 20)]).await.unwrap();
    log.purge(log_id(1)).await.unwrap();
    assert_eq!(indexes(&mut log).await, [2, 3, 4]);
    log.close();
    let mut log = open(&folder).unwrap();
    assert_eq!(log.read_vote().await.unwrap(), Some(Vote::new(3, 1)));
    let state = log.get_log_state().await.unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(log_id(1)), Some(log_id(4))));
    assert_eq!(indexes(&mut log).await, [2, 3, 4]);
    assert_eq!(log.try_get_log_entries(3..4).await.unwrap(), [entry(3, 20)]);
    // A snapshot from a leader may be ahead of everything here.
    log.purge(log_id(9)).await.unwrap();
    assert_eq!(indexes(&mut log).await, [0; 0]);
    log.blocking_append([entry(10, 10)]).await.unwrap();
    log.close();
    assert_eq!(indexes(&mut open(&folder).unwrap()).await, [10]);
}

#[tokio::test]
async fn segments_roll_and_go_when_purged() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    const BYTES: usize = 3 << 20;
    let mut log = filled(&folder, 14, BYTES).await;
    assert_eq!(list(&folder.log()).unwrap().len(), 3);
    assert_eq!(indexes(&mut log).await, (0..14).collect::<Vec<_>>(), "most are not in memory any more");
    log.truncate(log_id(13)).await.unwrap();
    log.purge(log_id(6)).await.unwrap();
    assert_eq!(list(&folder.log()).unwrap().len(), 2);
    log.close();
    let mut log = open(&folder).unwrap();
    assert_eq!(indexes(&mut log).await, (7..13).collect::<Vec<_>>());
    log.close();
    let (_, first) = list(&folder.log()).unwrap().remove(0);
    fs::remove_file(first).unwrap();
    let error = LogFiles::read(&folder).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "a missing file is no torn tail: {error}");
}

#[tokio::test]
async fn a_tail_torn_at_every_byte_is_cut_and_the_rest_kept() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    let log = filled(&folder, 4, 30).await;
    log.close();
    let path = the_file(&folder);
    let good = fs::read(&path).unwrap();
    let ends: Vec<usize> = {
        let index = log.index();
        let segment = index.segments.back().unwrap();
        (0..4).map(|index| segment.span(index).unwrap().1 as usize).collect()
    };
    for cut in segment::HEADER_BYTES..ends[3] {
        // What a cut leaves behind is zeros written ahead, or the end of the file.
        for zeros in [true, false] {
            let mut bytes = good[..cut].to_vec();
            if zeros {
                bytes.resize(good.len(), 0);
            }
            fs::write(&path, bytes).unwrap();
            let whole = ends.iter().take_while(|&&end| end <= cut).count() as u64;
            let files = LogFiles::read(&folder).unwrap();
            assert_eq!(files.facts().last, whole.checked_sub(1).map(log_id), "cut at {cut}");
            if cut % 16 == 0 {
                let mut log = files.open(&MetaMetrics::default()).unwrap();
                assert_eq!(indexes(&mut log).await, (0..whole).collect::<Vec<_>>());
                log.blocking_append([entry(whole, 5)]).await.unwrap();
                log.close();
                assert_eq!(indexes(&mut open(&folder).unwrap()).await, (0..=whole).collect::<Vec<_>>());
            }
        }
    }
    // A segment that was being made.
    for len in 0..segment::HEADER_BYTES {
        fs::write(&path, &good[..len]).unwrap();
        assert_eq!(LogFiles::read(&folder).unwrap().facts().last, None, "{len} bytes");
    }
}

#[tokio::test]
async fn a_damaged_middle_is_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    let log = filled(&folder, 4, 30).await;
    log.close();
    let path = the_file(&folder);
    let good = fs::read(&path).unwrap();
    let (_, end_of_third) = log.index().segments.back().unwrap().span(2).unwrap();
    for at in 0..end_of_third as usize {
        let mut bytes = good.clone();
        bytes[at] ^= 0x10;
        fs::write(&path, &bytes).unwrap();
        let error = LogFiles::read(&folder).err().unwrap_or_else(|| panic!("byte {at} is damaged"));
        let kind = error.kind();
        assert!(
            kind == ErrorKind::Corrupt || (8..12).contains(&at) && kind == ErrorKind::NewerFormat,
            "{at}"
        );
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        assert_eq!(fs::read(&path).unwrap(), bytes, "nothing was changed");
    }
}

#[tokio::test]
async fn a_batch_whose_parts_landed_out_of_order_is_a_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    let mut log = filled(&folder, 2, 30).await;
    log.blocking_append([entry(2, 30), entry(3, 30)]).await.unwrap();
    log.close();
    let path = the_file(&folder);
    let mut bytes = fs::read(&path).unwrap();
    let (start, _) = log.index().segments.back().unwrap().span(2).unwrap();
    bytes[start as usize + 60] ^= 1;
    fs::write(&path, &bytes).unwrap();
    // Entry 3 verifies, but it says itself that entry 2 was not durable before it.
    assert_eq!(indexes(&mut open(&folder).unwrap()).await, [0, 1]);
}

#[tokio::test]
async fn a_body_that_looks_like_a_record_fools_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    let mut log = filled(&folder, 2, 30).await;
    // A record as another segment would have it, claiming that everything is durable.
    let mut fake = Vec::new();
    record::encode(&entry(9, 1), Marks { durable: 9, committed: 9 }, 12345, &mut fake).unwrap();
    let name: String = fake.iter().map(|&byte| char::from(byte & 0x7f)).collect();
    let payload = EntryPayload::Normal(CommandBatch(Arc::new(vec![Command::DeleteVolume { name }])));
    log.blocking_append([Entry { log_id: log_id(2), payload }]).await.unwrap();
    log.close();
    let path = the_file(&folder);
    let mut bytes = fs::read(&path).unwrap();
    let (start, end) = log.index().segments.back().unwrap().span(2).unwrap();
    let body = start as usize + record::HEADER_BYTES;
    let at = body + (end as usize - body - fake.len());
    bytes[at..at + fake.len()].copy_from_slice(&fake);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(indexes(&mut open(&folder).unwrap()).await, [0, 1]);
}

#[tokio::test]
async fn what_was_committed_is_known_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let folder = folder(&dir);
    let mut log = filled(&folder, 3, 10).await;
    assert_eq!(log.read_committed().await.unwrap(), None);
    log.save_committed(Some(log_id(1))).await.unwrap();
    log.blocking_append([entry(3, 10)]).await.unwrap();
    log.save_committed(Some(log_id(3))).await.unwrap();
    log.close();
    let mut log = open(&folder).unwrap();
    assert_eq!(log.read_committed().await.unwrap(), Some(log_id(1)), "as the last record says");
    log.purge(log_id(2)).await.unwrap();
    log.close();
    assert_eq!(open(&folder).unwrap().read_committed().await.unwrap(), Some(log_id(2)));
}
