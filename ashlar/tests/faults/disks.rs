//! Disks that fail while their daemon runs: one file of three under `ashlar up` is served over FUSE by the test, and
//! fails, hangs or is slow to order. The others serve, `status` says it, and the disk comes back by itself.

use serde_json::Value;
use std::path::PathBuf;
use std::time::Duration;
use trial::disk_file::DiskFile;
use trial::fault_disk::{Cut, FaultDisk};
use trial::harness::{Random, Store, eventually, now, seed, skip, sleep};
use trial::w1::{self, Blocks, Load};

const BLOCKS: u64 = 2048;
const DISKS: usize = 3;
const BAD: usize = 1;
const DISK_BYTES: u64 = 256 << 20;
const MINUTE: Duration = Duration::from_secs(60);
/// How long a slow disk is seen to stay out: less than its first pause, a minute.
const STAYS_OUT: Duration = Duration::from_secs(15);
/// How long a disk that is well again may take to catch up, on a busy machine.
const WHOLE: Duration = Duration::from_secs(120);

struct Trial {
    // Goes before the store, which has it open.
    disk: FaultDisk,
    store: Store,
    socket: PathBuf,
    seed: u64,
    random: Random,
}

impl Trial {
    /// Or why not: said, and counted as skipped.
    fn new(test: &str) -> Option<Self> {
        let seed = seed();
        let mut store = Store::start("256M");
        store.stop();
        let (path, kept) = (store.disk_file(BAD), store.dir.path().join("kept.img"));
        std::fs::rename(&path, &kept).unwrap();
        let disk = match FaultDisk::mount(&path, &store.dir.path().join("backing.img"), DISK_BYTES, seed) {
            Ok(disk) => disk,
            Err(why) => {
                skip(test, &format!("a disk over FUSE can't be had: {why}"));
                return None;
            }
        };
        let copy = DiskFile::open(&path);
        DiskFile::open(&kept).each_block(|at, block| copy.write(at, block));
        copy.sync();
        drop(copy);
        store.up();
        store.cli(&["volume", "create", "v", "--size", "64M"]);
        let socket = store.dir.path().join("v.sock");
        store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
        let trial = Self { disk, store, socket, seed, random: Random(seed) };
        trial.wait_healthy();
        Some(trial)
    }

    fn load(&mut self) -> Load {
        let load = Load::start(&self.socket, BLOCKS, Blocks::default(), self.random.next());
        w1::wait_operations(&load.live, 200, MINUTE);
        load
    }

    /// Until a fault has done something since `before`.
    #[track_caller]
    fn wait_fired(&self, before: u64) {
        eventually("the fault", MINUTE, || (self.disk.fired() > before).then_some(()));
    }

    /// Until the operator is told that this disk is not well.
    #[track_caller]
    fn wait_told(&self) -> String {
        eventually("word of the disk in the status", MINUTE, || {
            let status = self.store.json(&["status"]);
            let causes = status["causes"].to_string();
            (status["health"] != "healthy" && causes.contains("disk1.img")).then_some(causes)
        })
    }

    /// Until groups go on without the disk.
    #[track_caller]
    fn wait_evicted(&self) {
        eventually("the disk's eviction", MINUTE, || {
            let replicas = self.store.json(&["status"])["replicas"].clone();
            (replicas["whole"].as_u64() < replicas["groups"].as_u64()).then_some(())
        });
    }

    fn disks(&self) -> Vec<Value> {
        self.store.json(&["disk", "list"]).as_array().unwrap().clone()
    }

    #[track_caller]
    fn wait_healthy(&self) {
        eventually("health", WHOLE, || (self.store.json(&["status"])["health"] == "healthy").then_some(()));
    }

    /// How often the daemon said that a disk does not serve.
    fn failures(&self) -> usize {
        let log = std::fs::read_to_string(self.store.dir.path().join("up.log")).unwrap();
        log.lines()
            .filter(|line| line.contains("a disk does not serve") && line.contains("disk1.img"))
            .count()
    }

    /// P0: no error, and every copy is right, also the one of the disk that failed.
    fn check(mut self, load: Load) {
        w1::wait_operations(&load.live, 100, MINUTE);
        let slowest = load.live.take_slowest();
        let mut blocks = load.finish();
        self.wait_healthy();
        blocks.verify_members(DISKS, "v", &self.socket, |args| self.store.cli(args));
        blocks.assert_whole(self.seed);
        eprintln!("the guest waited {slowest:?}");
        self.store.stop();
    }
}

/// Row 27: one failed write, and a disk that fails them all.
#[test]
fn a_failed_write_ends_its_disk_and_the_others_serve() {
    let Some(mut trial) = Trial::new("a_failed_write_ends_its_disk_and_the_others_serve") else { return };
    let load = trial.load();
    let before = trial.disk.fired();
    trial.disk.fail_writes(1);
    trial.wait_fired(before);
    eventually("the disk's end", MINUTE, || (trial.failures() == 1).then_some(()));
    w1::wait_operations(&load.live, 100, MINUTE);
    trial.wait_healthy();

    trial.disk.fail_writes(u32::MAX);
    let causes = trial.wait_told();
    assert!(causes.contains("os error 5") || causes.contains("Input/output"), "{causes}");
    // It is tried again and again, and nobody waits for it.
    w1::wait_operations(&load.live, 200, MINUTE);
    let fired = trial.disk.fired();
    trial.wait_fired(fired);
    assert!(trial.failures() > 1, "seed {}", trial.seed);
    trial.disk.heal();
    trial.check(load);
}

/// Row 28: what the disk did not flush is gone when it is back, and nobody was told that it was there.
#[test]
fn a_failed_flush_ends_its_disk_and_is_never_a_success() {
    let Some(mut trial) = Trial::new("a_failed_flush_ends_its_disk_and_is_never_a_success") else { return };
    let load = trial.load();
    for turn in 1..=2 {
        trial.disk.be_volatile();
        w1::wait_operations(&load.live, 50, MINUTE);
        let before = trial.disk.fired();
        trial.disk.fail_flushes(1);
        trial.wait_fired(before);
        // Like a kernel that drops the pages which it could not write.
        let lost = trial.disk.cut_power(Cut::Subset, &mut trial.random.clone());
        eventually("the disk's end", MINUTE, || (trial.failures() >= turn).then_some(()));
        trial.disk.heal();
        eprintln!("{lost} blocks of what was not flushed are gone");
        w1::wait_operations(&load.live, 100, MINUTE);
        trial.wait_healthy();
    }
    trial.check(load);
}

/// Row 30.
#[test]
fn a_disk_that_hangs_is_left_behind() {
    let Some(mut trial) = Trial::new("a_disk_that_hangs_is_left_behind") else { return };
    let load = trial.load();
    let before = trial.disk.fired();
    trial.disk.stall();
    trial.wait_fired(before);
    trial.wait_evicted();
    // The others serve while it still hangs.
    w1::wait_operations(&load.live, 200, MINUTE);
    trial.disk.heal();
    trial.check(load);
}

/// Row 31: a disk that is slow but answers costs time only, and is left behind; it does not come back by itself
/// before its time, and does when somebody says so.
#[test]
fn a_slow_disk_is_left_behind_until_it_is_wanted() {
    let Some(mut trial) = Trial::new("a_slow_disk_is_left_behind_until_it_is_wanted") else { return };
    let load = trial.load();
    let begun = now();
    w1::wait_operations(&load.live, 300, MINUTE);
    let healthy = begun.elapsed();
    let before = trial.disk.fired();
    trial.disk.throttle(1_000_000);
    let begun = now();
    let slow = || trial.disks().into_iter().find(|disk| disk["slow"].is_string());
    let disk = eventually("the slow disk's eviction", 2 * MINUTE, slow);
    let left_after = begun.elapsed();
    assert!(trial.disk.fired() > before, "seed {}: the fault never fired", trial.seed);
    assert!(disk["path"].as_str().unwrap().ends_with("disk1.img"), "seed {}: {disk}", trial.seed);
    let status = trial.store.json(&["status"]);
    let told = status["causes"].to_string();
    assert!(told.contains("slow and kept out") && told.contains("ashlar disk drain --undo"), "{told}");
    assert!(status["health"] != "healthy", "{status}");
    let listed = trial.store.cli(&["disk", "list"]);
    assert!(listed.contains("slow, kept out of"), "{listed}");

    // The others serve as if it had never been there, and nobody waits for it again, though it answers all the time.
    load.live.take_slowest();
    let begun = now();
    w1::wait_operations(&load.live, 300, MINUTE);
    let without = begun.elapsed();
    let slowest = load.live.take_slowest();
    eprintln!(
        "300 operations took {healthy:?} in health and {without:?} without the slow disk, which left after \
         {left_after:?}; the slowest took {slowest:?} then"
    );
    sleep(STAYS_OUT);
    let disk = slow().expect("it stays out");
    assert_eq!((&disk["in_sync"], &disk["catching_up"]), (&0.into(), &0.into()), "seed {}", trial.seed);

    trial.disk.heal();
    trial.store.cli(&["disk", "drain", "--undo", disk["id"].as_str().unwrap()]);
    trial.wait_healthy();
    assert!(slow().is_none(), "seed {}", trial.seed);
    trial.check(load);
}
