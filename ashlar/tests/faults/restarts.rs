//! Everything killed at once, and killed again while it recovers.

use std::time::Duration;
use trial::harness::{Random, Store, seed, sleep};
use trial::w1::{self, Blocks, Lost};

const BLOCKS: u64 = 4096;
const CRASHES: u64 = 4;
const KILLS_IN_RECOVERY: u64 = 6;

/// Rows 4 and 12: what was flushed is there, and what was not is wholly old or new and the same at every look,
/// however often the start is cut short.
#[test]
fn killed_while_recovering_is_like_killed_once() {
    let seed = seed();
    let mut random = Random(seed);
    let mut store = Store::start("1G");
    store.cli(&["volume", "create", "v", "--size", "64M"]);
    let socket = store.dir.path().join("v.sock");
    store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    let mut blocks = Blocks::default();
    for _ in 0..CRASHES {
        let load = w1::Load::start(&socket, BLOCKS, blocks, random.next());
        w1::wait_operations(&load.live, 300, Duration::from_secs(60));
        sleep(Duration::from_millis(random.below(300)));
        store.kill();
        blocks = load.abandon(Lost::Everything);
        for _ in 0..KILLS_IN_RECOVERY {
            store.up_and_kill(Duration::from_millis(random.below(500)));
        }
        store.up();
        blocks.verify(&socket);
        // From another member too.
        store.cli(&["volume", "detach", "v"]);
        store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
        blocks.verify(&socket);
        blocks.assert_whole(seed);
    }
    assert!(blocks.flushes > 3 * CRASHES, "seed {seed}: the load never ran: {} flushes", blocks.flushes);
    store.stop();
}
