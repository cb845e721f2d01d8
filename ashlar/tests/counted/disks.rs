//! Stores whose disks write nothing that the clock decides on.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::Path;
use trial::harness::Store;

/// A store on files that have no holes: those would be filled ahead of the log, when there is time.
pub fn store_without_holes(disk_size: &str) -> Store {
    let mut store = Store::start(disk_size);
    store.stop();
    for disk in 0..3 {
        fill_holes(&store.disk_file(disk));
    }
    store.up();
    store
}

/// Puts zeros where a disk's file has nothing: it reads as before.
fn fill_holes(path: &Path) {
    const STEP: usize = 1 << 20;
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let len = file.metadata().unwrap().len();
    let mut data = vec![0; STEP];
    for offset in (0..len).step_by(STEP) {
        let step = STEP.min((len - offset) as usize);
        file.read_exact_at(&mut data[..step], offset).unwrap();
        file.write_all_at(&data[..step], offset).unwrap();
    }
    file.sync_all().unwrap();
}
