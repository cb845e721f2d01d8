//! A disk that can't be used when the daemon starts: the others serve, status says why, and once it can be used
//! again it catches up by itself.

use std::os::unix::fs::FileExt;
use std::time::Duration;
use trial::harness::{Store, eventually, noise};

/// Catching up takes a second on an idle machine.
const CATCH_UP: Duration = Duration::from_secs(120);

#[test]
fn a_disk_that_is_missing_or_damaged_is_gone_without_and_comes_back() {
    let mut store = Store::start("256M");
    let image = store.dir.path().join("in.img");
    let (disk, away) = (store.disk_file(1), store.dir.path().join("away"));
    store.cli(&["volume", "create", "v", "--size", "16M"]);
    for round in 0..2u64 {
        store.stop();
        let superblocks = std::fs::File::options().read(true).write(true).open(&disk).unwrap();
        let mut kept = vec![0; 1 << 20];
        superblocks.read_exact_at(&mut kept, 0).unwrap();
        if round == 0 {
            std::fs::rename(&disk, &away).unwrap();
        } else {
            superblocks.write_all_at(&noise(1, kept.len()), 0).unwrap();
        }
        store.up();
        let status = store.json(&["status"]);
        assert_eq!(status["health"], "degraded", "{status}");
        let causes = status["causes"].to_string();
        assert!(causes.contains("disk1.img"), "{causes}");
        assert!(store.cli(&["status"]).starts_with("Degraded"));

        // What is written without it must be there when it is back and another one is away.
        let data = noise(7 + round, 5 << 20);
        std::fs::write(&image, &data).unwrap();
        store.cli(&["volume", "import", "v", "--file", image.to_str().unwrap()]);
        if round == 0 {
            std::fs::rename(&away, &disk).unwrap();
        } else {
            superblocks.write_all_at(&kept, 0).unwrap();
        }
        drop(superblocks);
        eventually("health", CATCH_UP, || (store.json(&["status"])["health"] == "healthy").then_some(()));

        store.stop();
        let (other, other_away) = (store.disk_file(2), store.dir.path().join("other"));
        std::fs::rename(&other, &other_away).unwrap();
        store.up();
        let out = store.dir.path().join(format!("out{round}.img"));
        store.cli(&["volume", "export", "v", "--file", out.to_str().unwrap()]);
        assert!(std::fs::read(&out).unwrap()[..data.len()] == data[..], "round {round}");
        std::fs::rename(&other_away, &other).unwrap();
        eventually("health", CATCH_UP, || (store.json(&["status"])["health"] == "healthy").then_some(()));
    }
    store.stop();
}
