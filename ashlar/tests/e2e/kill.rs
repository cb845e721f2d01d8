//! SIGKILL at random moments under load on both faces: what was flushed or answered is there afterwards, byte
//! for byte; what was not is wholly old or wholly new.

use crate::block_client::{BlockClient, SLOTS};
use crate::harness::{Random, Store, deadline, noise, seed, sleep, timed};
use crate::s3_client::{S3Client, runtime};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const CYCLES: u64 = 30;
const BLOCK: usize = 4096;
/// Blocks that the load writes to: few, so that most are overwritten again and again.
const BLOCKS: u64 = 4096;
const FLUSH_EVERY: u64 = 32;

#[test]
fn thirty_kills_lose_nothing_that_was_promised() {
    let seed = seed();
    let mut random = Random(seed);
    let mut store = Store::start("4G");
    store.cli(&["volume", "create", "v", "--size", "1G"]);
    let socket = store.dir.path().join("v.sock");
    store.cli(&["volume", "attach", "v", "--socket", socket.to_str().unwrap()]);
    let runtime = runtime();
    let made = runtime.block_on(S3Client::of(&store).put("/load", Vec::new())).unwrap();
    assert_eq!(made.status, 200, "{}", String::from_utf8_lossy(&made.body));

    let mut blocks = Blocks::default();
    let objects = Arc::new(Mutex::new(Objects::default()));
    let mut slowest = 0f64;
    for cycle in 0..CYCLES {
        let stop = Arc::new(AtomicBool::new(false));
        let s3 = S3Client::of(&store);
        let puts: Vec<_> = (0..4)
            .map(|lane| {
                let work =
                    put_load(s3.clone(), Arc::clone(&objects), Arc::clone(&stop), seed ^ (cycle << 8) ^ lane);
                runtime.spawn(work)
            })
            .collect();
        let load = std::thread::spawn({
            let (socket, stop) = (socket.clone(), Arc::clone(&stop));
            let seed = random.next();
            move || {
                block_load(&socket, &mut blocks, &stop, seed);
                blocks
            }
        });
        sleep(Duration::from_millis(100 + random.next() % 1200));
        store.kill();
        stop.store(true, Ordering::SeqCst);
        blocks = load.join().unwrap();
        for put in puts {
            runtime.block_on(put).unwrap();
        }
        let ((), seconds) = timed(|| store.up());
        slowest = slowest.max(seconds);
        check_blocks(&socket, &mut blocks, cycle, seed);
        runtime.block_on(check_objects(&S3Client::of(&store), &objects, cycle, seed));
    }
    let answered = objects.lock().unwrap().answered.len();
    let flushes = blocks.flushes;
    eprintln!(
        "{CYCLES} kills (seed {seed}): {} writes, {flushes} flushes, {answered} PUTs; slowest start {slowest:.2} s",
        blocks.sequence
    );
    assert!(flushes > CYCLES && answered > 30, "the load never ran: {flushes} flushes, {answered} PUTs");
    // Five seconds on an idle machine with a release build; a debug build beside other tests gets more.
    let limit = if cfg!(debug_assertions) { 15.0 } else { 5.0 };
    assert!(slowest < limit, "a start after a kill took {slowest:.2} s");
    store.stop();
}

/// What is known of every block.
#[derive(Default)]
struct Blocks {
    /// The last write's number; each block's content tells by which write it was made.
    sequence: u64,
    flushes: u64,
    known: BTreeMap<u64, Block>,
}

#[derive(Default, Clone)]
struct Block {
    /// The newest write that a flush has promised; 0 is the hole from the start.
    promised: u64,
    /// The newest that was acked.
    acked: u64,
    /// All that may be seen instead: written since the promise.
    possible: BTreeSet<u64>,
}

/// Random writes with a flush every so often, until told to stop or until the daemon is gone.
fn block_load(socket: &Path, blocks: &mut Blocks, stop: &AtomicBool, seed: u64) {
    const FLUSH: usize = 1 << 40;
    let mut random = Random(seed);
    let mut client = BlockClient::connect(socket);
    // The slot's write: its block and its number.
    let mut flying: BTreeMap<usize, (u64, u64)> = BTreeMap::new();
    // What the flush in flight will promise.
    let mut flushing: Option<BTreeMap<u64, u64>> = None;
    let mut since_flush = 0;
    let end = deadline(Duration::from_secs(60));
    while !stop.load(Ordering::SeqCst) && !end.over() {
        if flushing.is_none() && since_flush >= FLUSH_EVERY {
            since_flush = 0;
            let acked = blocks.known.iter().filter(|(_, block)| block.acked > block.promised);
            flushing = Some(acked.map(|(index, block)| (*index, block.acked)).collect());
            client.start_flush(FLUSH);
        }
        while flying.len() < SLOTS / 2 {
            let index = random.next() % BLOCKS;
            // One write of a block at a time, so that the order is known.
            if flying.values().any(|(flying, _)| *flying == index) {
                continue;
            }
            let slot = (0..SLOTS).find(|slot| !flying.contains_key(slot)).unwrap();
            blocks.sequence += 1;
            since_flush += 1;
            let number = blocks.sequence;
            blocks.known.entry(index).or_default().possible.insert(number);
            flying.insert(slot, (index, number));
            client.start_write(slot, slot, index * BLOCK as u64, &content(index, number));
        }
        for done in client.wait(Duration::from_millis(100)) {
            if done.tag == FLUSH {
                let promised = flushing.take().unwrap();
                // A failed flush promises nothing; the daemon may just be dying.
                if done.result == 0 {
                    blocks.flushes += 1;
                    for (index, number) in promised {
                        let block = blocks.known.get_mut(&index).unwrap();
                        block.promised = number;
                        block.possible.retain(|possible| *possible > number);
                    }
                }
            } else {
                let (index, number) = flying.remove(&done.tag).unwrap();
                if done.result == 0 {
                    blocks.known.get_mut(&index).unwrap().acked = number;
                }
            }
        }
    }
}

fn check_blocks(socket: &Path, blocks: &mut Blocks, cycle: u64, seed: u64) {
    let mut client = BlockClient::connect(socket);
    for (index, block) in &mut blocks.known {
        let data = client.read(index * BLOCK as u64, BLOCK);
        let number = u64::from_le_bytes(data[..8].try_into().unwrap());
        let at = format!("cycle {cycle}, seed {seed}, block {index}");
        assert!(
            number == block.promised || block.possible.contains(&number),
            "{at}: write {number} is there; {} was promised, {:?} are possible",
            block.promised,
            block.possible
        );
        assert!(data == content(*index, number), "{at}: the content is not wholly that of write {number}");
        block.acked = number;
    }
    assert_eq!(client.flush(), 0);
    for block in blocks.known.values_mut() {
        block.promised = block.acked;
        block.possible.clear();
    }
}

/// What write `number` puts into block `index`; write 0 is a hole.
fn content(index: u64, number: u64) -> Vec<u8> {
    if number == 0 {
        return vec![0; BLOCK];
    }
    let mut data = number.to_le_bytes().to_vec();
    data.extend(noise(index << 32 | number, BLOCK - 8));
    data
}

/// Objects by key: the number whose content was answered, and those that may have been put without an answer.
#[derive(Default)]
struct Objects {
    answered: BTreeMap<String, u64>,
    unanswered: BTreeMap<String, BTreeSet<u64>>,
}

static NUMBER: AtomicU64 = AtomicU64::new(1);

async fn put_load(s3: S3Client, objects: Arc<Mutex<Objects>>, stop: Arc<AtomicBool>, seed: u64) {
    let mut random = Random(seed);
    while !stop.load(Ordering::SeqCst) {
        let number = NUMBER.fetch_add(1, Ordering::SeqCst);
        // Each lane has keys of its own, so that an overwrite's order is known.
        let key = format!("/load/{}/{}", seed & 0xff & 3, random.next() % 40);
        objects.lock().unwrap().unanswered.entry(key.clone()).or_default().insert(number);
        match s3.put(&key, object(number)).await {
            Some(answer) if answer.status == 200 => {
                let mut objects = objects.lock().unwrap();
                objects.answered.insert(key.clone(), number);
                // What came before it can't be seen any more.
                objects.unanswered.remove(&key);
            }
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn check_objects(s3: &S3Client, objects: &Mutex<Objects>, cycle: u64, seed: u64) {
    let (answered, unanswered) = {
        let objects = objects.lock().unwrap();
        (objects.answered.clone(), objects.unanswered.clone())
    };
    let keys: BTreeSet<&String> = answered.keys().chain(unanswered.keys()).collect();
    for key in keys {
        let at = format!("cycle {cycle}, seed {seed}, object {key}");
        let answer = s3.get(key).await.unwrap_or_else(|| panic!("{at}: no answer"));
        let candidates: Vec<u64> =
            answered.get(key).into_iter().chain(unanswered.get(key).into_iter().flatten()).copied().collect();
        if answer.status == 404 {
            assert!(!answered.contains_key(key), "{at}: it was answered, and is gone");
            continue;
        }
        assert_eq!(answer.status, 200, "{at}: {}", String::from_utf8_lossy(&answer.body));
        let seen = candidates.iter().find(|number| object(**number) == answer.body);
        let seen = *seen.unwrap_or_else(|| panic!("{at}: {} bytes that nobody put", answer.body.len()));
        let mut objects = objects.lock().unwrap();
        objects.answered.insert(key.clone(), seen);
        objects.unanswered.remove(key);
    }
}

/// Object `number`: some inline in the index, most in the object log.
fn object(number: u64) -> Vec<u8> {
    let sizes = [0, 700, 3072, 3073, 8192, 40_000, 300_000];
    let len = sizes[usize::try_from(number % 7).unwrap()];
    noise(number, len)
}
