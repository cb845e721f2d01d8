use super::*;
use proptest::prelude::*;
use rt::rng::SystemRng;

fn text(length: usize) -> Bytes {
    (0..length).map(|at| (at % 251).to_le_bytes()[0]).collect()
}

fn seal(key: PartKey, text: &Bytes, step: usize) -> Vec<Bytes> {
    let mut encryptor = Encryptor::new(key);
    let mut segments = Vec::new();
    for piece in text.chunks(step) {
        let mut piece = Bytes::copy_from_slice(piece);
        while !piece.is_empty() {
            segments.extend(encryptor.push(&mut piece));
        }
    }
    segments.extend(encryptor.finish());
    segments
}

fn salt(byte: u8) -> PartSalt {
    PartSalt([byte; 16])
}

/// All bytes of `range`, from sealed bytes that come in pieces of `step`.
fn open(key: &DataKey, parts: Parts<'_>, range: Range<u64>, sealed: &[u8], step: usize) -> Option<Vec<u8>> {
    let (mut decryptor, needed) = Decryptor::new(key.clone(), parts, range).ok()?;
    let needed = usize::try_from(needed.start).ok()?..usize::try_from(needed.end).ok()?;
    let mut opened = Vec::new();
    for piece in sealed.get(needed)?.chunks(step) {
        decryptor.push(piece).ok()?.iter().for_each(|text| opened.extend_from_slice(text));
    }
    decryptor.finish().ok()?;
    Some(opened)
}

fn plain(size: usize) -> Parts<'static> {
    Parts { size: size as u64, sizes: &[], salts: &[] }
}

#[test]
fn golden_bytes_never_change() {
    let key = DataKey::new([7; 32]);
    assert_eq!(hex::encode(derive(key.bytes(), &[LABEL, &[0; 16]])), GOLDEN_PART_KEY);
    assert_eq!(hex::encode(seal_whole(&key, &Bytes::from_static(b"hello"))), GOLDEN_HELLO);
    // The second segment of a part with a salt, which is its last.
    let sealed = seal(key.part(salt(9)), &text(TEXT_BYTES + 3), 1 << 20);
    assert_eq!(sealed.iter().map(Bytes::len).collect::<Vec<_>>(), [SEGMENT_BYTES, 19]);
    assert_eq!(hex::encode(&sealed[1]), GOLDEN_SECOND);
}

/// As another implementation of HMAC and AES-GCM (Python's cryptography) makes them.
const GOLDEN_PART_KEY: &str = "9cf6b85471e7593bb67b6d175aeb8c7ad43d5716380661836aa0591b6b64cb20";
const GOLDEN_HELLO: &str = "fd08ecde251d7c7ad4e0935a8cf1a29981218173b8";
const GOLDEN_SECOND: &str = "86e448ecd10add870d76d8350536bd034f60a1";

#[test]
fn ranges_open_at_every_border_and_touch_no_more() {
    let key = DataKey::random(&mut SystemRng);
    for size in [0, 1, TEXT_BYTES - 1, TEXT_BYTES, TEXT_BYTES + 1, 3 * TEXT_BYTES, 3 * TEXT_BYTES + 7] {
        let text = text(size);
        let sealed = seal(key.whole(), &text, 10_007).concat();
        assert_eq!(sealed.len() as u64, sealed_len(size as u64), "{size}");
        assert_eq!(seal_whole(&key, &text), sealed);
        let borders =
            [0, 1, TEXT_BYTES - 1, TEXT_BYTES, TEXT_BYTES + 1, 2 * TEXT_BYTES, size.max(1) - 1, size];
        for from in borders.into_iter().filter(|&from| from <= size) {
            for to in borders.into_iter().filter(|&to| from <= to && to <= size) {
                let range = from as u64..to as u64;
                let (_, needed) = Decryptor::new(key.clone(), plain(size), range.clone()).unwrap();
                let segments = if from == to { 0 } else { to.div_ceil(TEXT_BYTES) - from / TEXT_BYTES };
                let most = (segments * SEGMENT_BYTES) as u64;
                assert!(needed.end - needed.start <= most, "{size} {range:?} {needed:?}");
                for step in [4096, 1 << 20] {
                    let opened = open(&key, plain(size), range.clone(), &sealed, step);
                    assert_eq!(opened.as_deref(), Some(&text[from..to]), "{size} {range:?}");
                }
            }
        }
        assert!(Decryptor::new(key.clone(), plain(size), 0..size as u64 + 1).is_err());
    }
}

#[test]
fn what_was_changed_moved_or_cut_off_does_not_open() {
    let key = DataKey::random(&mut SystemRng);
    let size = 2 * TEXT_BYTES + 100;
    let all = 0..size as u64;
    let segments = seal(key.whole(), &text(size), 1 << 20);
    let sealed = segments.concat();
    let opens = |sealed: &[u8]| open(&key, plain(size), all.clone(), sealed, 1 << 20).is_some();
    assert!(opens(&sealed));
    for at in [0, 100, SEGMENT_BYTES - 1, SEGMENT_BYTES, 2 * SEGMENT_BYTES + 115] {
        let mut bad = sealed.clone();
        bad[at] ^= 1;
        assert!(!opens(&bad), "byte {at}");
    }
    assert!(!opens(&[&segments[1][..], &segments[0], &segments[2]].concat()), "in another order");
    assert!(!opens(&[&segments[0][..], &segments[0], &segments[2]].concat()), "one twice");
    // Said to be shorter, by whole segments too.
    for size in [size - 1, 2 * TEXT_BYTES, TEXT_BYTES] {
        assert_eq!(open(&key, plain(size), 0..size as u64, &sealed, 1 << 20), None, "{size}");
    }
    // A last segment in the middle of a longer object.
    let short = seal(key.whole(), &text(TEXT_BYTES), 1 << 20);
    assert!(!opens(&[&short[0][..], &segments[1], &segments[2]].concat()));
    let other = DataKey::random(&mut SystemRng);
    assert_eq!(open(&other, plain(size), all, &sealed, 1 << 20), None, "another object's key");
}

#[test]
fn parts_can_t_be_exchanged() {
    let key = DataKey::random(&mut SystemRng);
    let size = TEXT_BYTES + 5;
    let sealed = [1, 2].map(|part| seal(key.part(salt(part)), &text(size), 1 << 20).concat());
    let (sizes, salts) = ([size as u64; 2], [salt(1), salt(2)]);
    let parts = Parts { size: 2 * size as u64, sizes: &sizes, salts: &salts };
    let all = 0..parts.size;
    let both = sealed.concat();
    assert_eq!(both.len() as u64, parts.sealed_size());
    let twice = [text(size), text(size)].concat();
    assert_eq!(open(&key, parts, all.clone(), &both, 4096), Some(twice.clone()));
    let middle = size as u64 - 3..size as u64 + 3;
    let expected = twice[size - 3..size + 3].to_vec();
    assert_eq!(open(&key, parts, middle.clone(), &both, 4096), Some(expected));
    let swapped = [&sealed[1][..], &sealed[0]].concat();
    assert_eq!(open(&key, parts, all.clone(), &swapped, 4096), None);
    let earlier = Parts { salts: &[salt(1), salt(3)], ..parts };
    assert_eq!(open(&key, earlier, all.clone(), &both, 4096), None, "what was uploaded as that part before");
    assert!(Decryptor::new(key, Parts { salts: &salts[..1], ..parts }, all).is_err());
}

#[test]
fn what_is_at_hand_opens_as_a_whole() {
    let key = DataKey::random(&mut SystemRng);
    for size in [0, 1, 3072] {
        let sealed = seal_whole(&key, &text(size));
        assert_eq!(open_whole(key.clone(), plain(size), 0..size as u64, &sealed), Ok(text(size)));
        let longer = [&sealed[..], &[0]].concat();
        assert_eq!(open_whole(key.clone(), plain(size), 0..size as u64, &longer.into()), Err(Tampered));
    }
    let sealed = seal_whole(&key, &text(100));
    assert_eq!(open_whole(key, plain(100), 5..9, &sealed), Ok(text(100).slice(5..9)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn any_range_of_any_parts(
        lengths in proptest::collection::vec(0usize..150_000, 1..4),
        from in 0usize..300_000, len in 0usize..300_000, step in 1usize..200_000,
    ) {
        let key = DataKey::new([3; 32]);
        let salts: Vec<PartSalt> = (1..=lengths.len()).map(|at| salt(at.to_le_bytes()[0])).collect();
        let sizes: Vec<u64> = lengths.iter().map(|&length| length as u64).collect();
        let all = text(lengths.iter().sum());
        let (mut sealed, mut at) = (Vec::new(), 0);
        for (length, salt) in lengths.iter().zip(&salts) {
            sealed.extend(seal(key.part(*salt), &all.slice(at..at + length), step).concat());
            at += length;
        }
        let parts = Parts { size: all.len() as u64, sizes: &sizes, salts: &salts };
        let from = from.min(all.len());
        let to = (from + len).min(all.len());
        let opened = open(&key, parts, from as u64..to as u64, &sealed, step);
        prop_assert_eq!(opened.as_deref(), Some(&all[from..to]));
    }
}
