use super::*;
use crate::audit::{Item, Verified, Who, verify};
use crate::record::AuditHead;
use rt::clock::WallMillis;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

const NOON: u64 = 1_700_000_000_000;

struct TestClock(AtomicU64);

impl Clock for TestClock {
    fn now(&self) -> Instant {
        rt::clock::SystemClock.now()
    }

    fn wall(&self) -> WallMillis {
        WallMillis(self.0.load(Ordering::Relaxed))
    }
}

fn config(dir: &Path) -> AuditConfig {
    AuditConfig { dir: dir.join("log"), keep_days: 90, keep_bytes: 1 << 30 }
}

fn put(key: &str) -> Entry {
    Entry {
        who: Who::Key { arn: "arn:aws:iam::1:root".into(), account: "1".into(), access_key: "AK".into() },
        from: Some("127.0.0.1:1".into()),
        action: "s3:PutObject".into(),
        items: vec![Item { key: key.into(), version: None, error: None }],
        status: 200,
        ..Entry::of_daemon("", None)
    }
}

/// A log of so many lines between its first and its last.
async fn written(config: &AuditConfig, clock: &Arc<TestClock>, count: usize) {
    let log = AuditLog::open(config.clone(), Arc::clone(clock) as _).unwrap();
    for index in 0..count {
        log.record(put(&format!("key \"{index}\"\n"))).await.unwrap();
    }
    assert_eq!(log.trouble(), None);
}

fn clock() -> Arc<TestClock> {
    Arc::new(TestClock(AtomicU64::new(NOON)))
}

fn only_file(config: &AuditConfig) -> std::path::PathBuf {
    let files = files::list(&config.dir).unwrap();
    assert_eq!(files.len(), 1);
    files[0].path.clone()
}

fn whole(config: &AuditConfig) -> Verified {
    let found = verify(&config.dir, None).unwrap();
    assert_eq!(found.faults, []);
    found
}

#[tokio::test]
async fn a_log_goes_on_where_it_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (config(dir.path()), clock());
    written(&config, &clock, 3).await;
    let first = whole(&config);
    assert_eq!((first.lines, first.first, first.last), (5, 1, 5));
    written(&config, &clock, 2).await;
    let second = whole(&config);
    assert_eq!((second.lines, second.last, second.files), (9, 9, 1));
    assert_eq!(second.last_time.as_deref(), Some("2023-11-14T22:13:20.000Z"));
    assert_ne!(first.hash, second.hash);
}

#[tokio::test]
async fn golden_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (config(dir.path()), clock());
    written(&config, &clock, 1).await;
    let text = std::fs::read_to_string(only_file(&config)).unwrap();
    let zeros = "0".repeat(64);
    let lines: Vec<&str> = text.lines().collect();
    let expected = format!(
        r#"{{"seq":1,"time":"2023-11-14T22:13:20.000Z","prev":"{zeros}","who":{{"type":"daemon"}},"action":"audit:Open","outcome":"done","status":0,"hash":""#
    );
    assert!(lines[0].starts_with(&expected), "{}", lines[0]);
    let hash = &lines[0][expected.len()..expected.len() + 64];
    let expected = format!(
        r#"{{"seq":2,"time":"2023-11-14T22:13:20.000Z","prev":"{hash}","who":{{"type":"key","arn":"arn:aws:iam::1:root","account":"1","access_key":"AK"}},"from":"127.0.0.1:1","action":"s3:PutObject","items":[{{"key":"key \"0\"\n"}}],"outcome":"done","status":200,"hash":""#
    );
    assert!(lines[1].starts_with(&expected), "{}", lines[1]);
}

#[tokio::test]
async fn every_change_of_a_byte_and_every_line_taken_out_shows() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (config(dir.path()), clock());
    written(&config, &clock, 4).await;
    let path = only_file(&config);
    let good = std::fs::read(&path).unwrap();
    for at in (0..good.len()).step_by(7) {
        let mut bad = good.clone();
        bad[at] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert_ne!(verify(&config.dir, None).unwrap().faults, [], "byte {at}");
    }
    let lines: Vec<&[u8]> = good.split_inclusive(|byte| *byte == b'\n').collect();
    // But for the last: nothing in the log itself can tell of that.
    for out in 0..lines.len() - 1 {
        let rest: Vec<&[u8]> =
            lines.iter().enumerate().filter(|(at, _)| *at != out).map(|(_, line)| *line).collect();
        std::fs::write(&path, rest.concat()).unwrap();
        assert_ne!(verify(&config.dir, None).unwrap().faults, [], "line {out}");
    }
    let swapped: Vec<&[u8]> = [0, 2, 1, 3, 4, 5].map(|index| lines[index]).to_vec();
    std::fs::write(&path, swapped.concat()).unwrap();
    assert_ne!(verify(&config.dir, None).unwrap().faults, []);
    std::fs::write(&path, good).unwrap();
    whole(&config);
}

#[tokio::test]
async fn a_line_that_a_kill_cut_off_is_taken_away() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (config(dir.path()), clock());
    written(&config, &clock, 2).await;
    let path = only_file(&config);
    let good = std::fs::read(&path).unwrap();
    std::fs::write(&path, &good[..good.len() - 9]).unwrap();
    assert_eq!(whole(&config).lines, 3, "the last one was never answered");
    written(&config, &clock, 1).await;
    assert_eq!(whole(&config).lines, 6);
}

#[tokio::test]
async fn a_changed_log_goes_on_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (config(dir.path()), clock());
    written(&config, &clock, 2).await;
    let path = only_file(&config);
    let bad = std::fs::read_to_string(&path).unwrap().replace("AK", "BK");
    std::fs::write(&path, bad).unwrap();
    written(&config, &clock, 1).await;
    let found = verify(&config.dir, None).unwrap();
    assert_eq!(found.faults.len(), 2);
    assert!(std::fs::read_to_string(&path).unwrap().contains("not as it was written"));
}

#[tokio::test]
async fn old_files_go_and_a_line_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (AuditConfig { keep_days: 2, ..config(dir.path()) }, clock());
    for day in 0..6 {
        clock.0.store(NOON + day * DAY_MS, Ordering::Relaxed);
        written(&config, &clock, 3).await;
    }
    let found = whole(&config);
    assert!(found.files < 6 && found.first > 1, "{found:?}");
    // One more by hand.
    let files = files::list(&config.dir).unwrap();
    std::fs::remove_file(&files[0].path).unwrap();
    let [fault] = &verify(&config.dir, None).unwrap().faults[..] else { panic!() };
    assert!(fault.what.contains("no line says"), "{fault:?}");
}

#[tokio::test]
async fn what_is_too_much_goes() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (AuditConfig { keep_bytes: 1, ..config(dir.path()) }, clock());
    for day in 0..3 {
        clock.0.store(NOON + day * DAY_MS, Ordering::Relaxed);
        written(&config, &clock, 1).await;
    }
    assert_eq!(whole(&config).files, 1);
}

#[tokio::test]
async fn requests_that_come_together_share_a_write() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let log = Arc::new(AuditLog::open(config.clone(), clock()).unwrap());
    let asks: Vec<_> = (0..1000)
        .map(|index| {
            let log = Arc::clone(&log);
            tokio::spawn(async move { log.record(put(&index.to_string())).await })
        })
        .collect();
    for ask in asks {
        ask.await.unwrap().unwrap();
    }
    drop(log);
    assert_eq!(whole(&config).lines, 1002);
}

#[tokio::test]
async fn a_full_disk_is_told_and_the_log_goes_on_whole() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let mut writer = Writer::open(config.clone(), clock()).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let file = std::mem::replace(&mut writer.file, full);
    let error = writer.append(&[put("a")]).unwrap_err();
    writer.note(Some(error));
    writer.tend();
    assert!(writer.is_troubled());
    writer.file = file;
    writer.tend();
    assert!(!writer.is_troubled());
    // Half a line, as a disk that fills up in the middle of one leaves it, and what is done about it.
    writer.file.write_all(b"{\"seq\":2,").unwrap();
    files::cut(&mut writer.file, writer.len).unwrap();
    writer.append(&[put("b")]).unwrap();
    assert_eq!(whole(&config).lines, 3);
}

#[tokio::test]
async fn lines_cut_off_at_the_end_show_by_what_was_noted() {
    let dir = tempfile::tempdir().unwrap();
    let (config, clock) = (config(dir.path()), clock());
    written(&config, &clock, 3).await;
    let found = whole(&config);
    let known = AuditHead { log: "log".into(), seq: found.last, hash: found.hash };
    assert_eq!(verify(&config.dir, Some(&known)).unwrap().faults, []);
    let path = only_file(&config);
    let good = std::fs::read_to_string(&path).unwrap();
    let cut: Vec<&str> = good.split_inclusive('\n').take(3).collect();
    std::fs::write(&path, cut.concat()).unwrap();
    assert_eq!(verify(&config.dir, None).unwrap().faults, []);
    let [fault] = &verify(&config.dir, Some(&known)).unwrap().faults[..] else { panic!() };
    assert!(fault.what.contains("lines 4 to 5 are missing"), "{fault:?}");
    // Nor does it help to write others in their place.
    written(&config, &clock, 3).await;
    assert_eq!(verify(&config.dir, None).unwrap().faults, []);
    assert_ne!(verify(&config.dir, Some(&known)).unwrap().faults, []);
}

#[tokio::test]
async fn lines_that_never_pause_are_flushed_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let log = AuditLog::open(config(dir.path()), clock()).unwrap();
    while log.synced().0 < 2 {
        log.record(put("a")).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_on_the_disk_is_known() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path());
    let log = AuditLog::open(config.clone(), clock()).unwrap();
    log.record(put("a")).await.unwrap();
    while log.synced().0 < 2 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let known = AuditHead { log: "log".into(), seq: 2, hash: log.synced().1 };
    assert_eq!(verify(&config.dir, Some(&known)).unwrap().faults, []);
}
