use super::*;
use std::io::Read;
use std::os::unix::fs::FileExt;

const SHAPE: Shape = Shape { num_queues: 2, queue_size: 4 };
/// 16 bytes and 4 entries of 16, on the next cache line.
const QUEUE_BYTES: u64 = 128;

fn record() -> (File, Arc<Record>) {
    let file = Record::create(SHAPE).unwrap();
    let record = Record::adopt(file.try_clone().unwrap(), 0, SHAPE).unwrap();
    (file, Arc::new(record))
}

fn start(record: &Arc<Record>, used_idx: u16) -> Result<(Tracker, Found), Error> {
    Tracker::start(Arc::clone(record), 1, SHAPE.queue_size, used_idx)
}

#[test]
fn a_record_is_what_the_protocol_says() {
    let (mut file, record) = record();
    let (mut tracker, found) = start(&record, 7).unwrap();
    assert_eq!(found, Found::Nothing);
    tracker.take(2).unwrap();
    tracker.take(0).unwrap();
    tracker.begin_use(2).unwrap();
    tracker.end_use(2, 8).unwrap();
    tracker.take(3).unwrap();
    tracker.begin_use(0).unwrap();
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).unwrap();
    let expected: [&[u8]; 5] = [
        // features, version, desc_num, last_batch_head, used_idx
        &[0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 4, 0, 0, 0, 8, 0],
        // inflight, padding, next, counter
        &[1, 0, 0, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        &[0; 16],
        &[0; 16],
        &[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0],
    ];
    assert_eq!(bytes.len() as u64, SHAPE.len());
    assert_eq!(
        (bytes[..128].iter().all(|&byte| byte == 0), &bytes[128..208]),
        (true, &expected.concat()[..])
    );
    assert!(bytes[208..].iter().all(|&byte| byte == 0));
}

#[test]
fn what_was_taken_comes_back_in_its_order() {
    let (_, record) = record();
    let (mut tracker, _) = start(&record, 65_534).unwrap();
    for head in [3, 1, 2, 0] {
        tracker.take(head).unwrap();
    }
    tracker.begin_use(1).unwrap();
    tracker.end_use(1, 65_535).unwrap();
    let (mut tracker, found) = start(&record, 65_535).unwrap();
    assert_eq!(found, Found::Taken(vec![3, 2, 0]));
    // Its numbers go on, so that a second crash keeps the order.
    tracker.take(1).unwrap();
    tracker.begin_use(3).unwrap();
    // The used ring's index was written, and that was the end.
    let (_, found) = start(&record, 0).unwrap();
    assert_eq!(found, Found::Taken(vec![2, 0, 1]));
    let (_, found) = start(&record, 0).unwrap();
    assert_eq!(found, Found::Taken(vec![2, 0, 1]), "recovery changes nothing the second time");
}

#[test]
fn another_device_s_batches_are_cleared() {
    let (file, record) = record();
    let (mut tracker, _) = start(&record, 0).unwrap();
    (0..4).for_each(|head| tracker.take(head).unwrap());
    // 0, 2 and 3 were handed back as one batch, whose last was 3.
    let next = |head: u64, next: u16| {
        file.write_all_at(&next.to_le_bytes(), QUEUE_BYTES + 16 + 16 * head + 6).unwrap();
    };
    next(3, 2);
    next(2, 0);
    file.write_all_at(&3u16.to_le_bytes(), QUEUE_BYTES + 12).unwrap();
    let (_, found) = start(&record, 3).unwrap();
    assert_eq!(found, Found::Taken(vec![1]));
}

#[test]
fn shapes_and_files_that_do_not_fit_are_refused() {
    for (num_queues, queue_size) in [(0, 4), (1, 0), (65, 4), (1, 1025)] {
        let shape = Shape { num_queues, queue_size };
        assert!(Record::create(shape).is_err());
        assert!(Record::adopt(tempfile::tempfile().unwrap(), 0, shape).is_err());
    }
    let (file, record) = record();
    assert!(file.set_len(0).is_err(), "a record of ours can't be truncated");
    for offset in [4096, u64::MAX - 100, 1] {
        assert!(Record::adopt(file.try_clone().unwrap(), offset, SHAPE).is_err(), "{offset}");
    }
    assert!(Tracker::start(Arc::clone(&record), 2, 4, 0).is_err(), "a third queue");
    assert!(Tracker::start(Arc::clone(&record), 0, 8, 0).is_err(), "a longer queue");
    let (mut tracker, _) = start(&record, 0).unwrap();
    for head in [4, u16::MAX] {
        assert!(tracker.take(head).is_err() && tracker.begin_use(head).is_err());
        assert!(tracker.end_use(head, 1).is_err() && tracker.put_back(head).is_err());
    }
}

#[test]
fn a_truncated_record_is_lost_and_nothing_else() {
    let file = tempfile::tempfile().unwrap();
    file.set_len(SHAPE.len()).unwrap();
    let record = Arc::new(Record::adopt(file.try_clone().unwrap(), 0, SHAPE).unwrap());
    let (mut tracker, _) = start(&record, 0).unwrap();
    file.set_len(0).unwrap();
    tracker.take(1).unwrap();
    assert!(tracker.is_lost());
}

/// Records full of anything: each is refused or taken for heads of the queue, each once.
#[test]
fn garbage_is_contained() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut roll = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..5000 {
        let (file, record) = record();
        let mut bytes: Vec<u8> = (0..QUEUE_BYTES).map(|_| roll().to_le_bytes()[0]).collect();
        if roll() % 4 > 0 {
            bytes[8..12].copy_from_slice(&[1, 0, 4, 0]);
        }
        for entry in 1..5 {
            bytes[16 * entry] &= 1;
        }
        if roll() % 2 > 0 {
            let small = [bytes[12] % 4, 0, bytes[14] % 8, 0];
            bytes[12..16].copy_from_slice(&small);
            (1..5).for_each(|entry| bytes[16 * entry + 6..16 * entry + 8].copy_from_slice(&[1, 0]));
        }
        file.write_all_at(&bytes, QUEUE_BYTES).unwrap();
        match start(&record, 4) {
            Err(_) => refused += 1,
            Ok((_, Found::Nothing)) => panic!("a used record was taken for a new one"),
            Ok((mut tracker, Found::Taken(mut heads))) => {
                taken += heads.len();
                heads.sort_unstable();
                heads.dedup();
                assert!(heads.iter().all(|&head| head < 4));
                tracker.take(0).unwrap();
            }
        }
    }
    assert!(refused > 500 && taken > 500, "{refused} {taken}");
}
