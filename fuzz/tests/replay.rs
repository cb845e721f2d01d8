//! The corpus and mutations of it, on the stable toolchain. `ASHLAR_TEST_SEED` takes other mutations,
//! `ASHLAR_FUZZ_RUNS` another number of them.
#![allow(clippy::unwrap_used)]

use fuzz_targets::{Mutator, TARGETS, target};
use std::panic::catch_unwind;
use std::path::Path;

/// The same every time, so that a change that fails here is to blame for it.
const SEED: u64 = 1;

fn replay(name: &str) {
    let target = target(name).unwrap();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path()).collect();
    files.sort();
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| std::fs::read(file).unwrap()).collect();
    assert!(!corpus.is_empty(), "{} is empty", folder.display());
    for (file, input) in files.iter().zip(&corpus) {
        run(name, target.run, input, &file.display().to_string());
    }
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let seed = number("ASHLAR_TEST_SEED").unwrap_or(SEED);
    let runs = number("ASHLAR_FUZZ_RUNS").unwrap_or(u64::from(target.mutations));
    let mut mutator = Mutator::new(seed);
    for turn in 0..runs {
        let input = mutator.input(&corpus);
        run(name, target.run, &input, &format!("seed {seed}, mutation {turn}"));
    }
}

fn run(name: &str, body: fn(&[u8]), input: &[u8], what: &str) {
    if catch_unwind(|| body(input)).is_err() {
        let path = std::env::temp_dir().join(format!("ashlar-fuzz-{name}-{}", std::process::id()));
        std::fs::write(&path, input).unwrap();
        panic!("{name} fails on {what}; the input is in {}: add it to the corpus", path.display());
    }
}

macro_rules! replays {
    ($($name:ident),*) => {
        $(#[test]
        fn $name() {
            replay(stringify!($name));
        })*

        #[test]
        fn every_target_is_replayed() {
            assert_eq!(TARGETS.map(|target| target.name), [$(stringify!($name)),*]);
        }
    };
}

replays!(
    frame,
    batch,
    checkpoint,
    superblock,
    raft_record,
    raft_segment,
    raft_snapshot,
    vhost_chains,
    vhost_session
);
