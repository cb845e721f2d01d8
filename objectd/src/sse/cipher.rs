//! How data is encrypted: AES-256-GCM in segments, so that a range opens only what it touches.
//!
//! An object has a key of its own, and each of its parts one that is derived from it with the part's salt; what was not
//! put in parts is one part, with a salt of zeros. A part is cut into segments of 65,520 bytes, of which each becomes
//! 65,536: sixteen blocks of the log, with its tag. Its nonce is its number within the part, and whether it is the last:
//! so none can be taken for another, and none be missing at the end. Parts can't be exchanged, since their keys differ;
//! which parts there are, and how long each is, says the index entry.

use bytes::{Buf, Bytes, BytesMut};
use hmac::{Hmac, Mac};
use meta::sealing::PartSalt;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rt::rng::Rng;
use sha2::Sha256;
use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

pub const KEY_BYTES: usize = 32;
const TAG_BYTES: usize = 16;
/// A sealed segment that isn't the last.
pub const SEGMENT_BYTES: usize = 64 << 10;
/// What is in it.
pub const TEXT_BYTES: usize = SEGMENT_BYTES - TAG_BYTES;
/// What the keys of parts are derived for.
const LABEL: &[u8] = b"ashlar object part 1";

const _: () = assert!(SEGMENT_BYTES.is_multiple_of(proto::units::BLOCK_LEN));
const _: () = assert!(crate::limits::PIECE_BYTES.is_multiple_of(SEGMENT_BYTES));
const _: () = assert!(crate::limits::MAX_INLINE_BYTES <= TEXT_BYTES);
const _: () = assert!(TAG_BYTES <= meta::limits::MAX_SEAL_OVERHEAD_BYTES);

/// Sealed data that is not what it should be: changed, cut off, moved, or another's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tampered;

/// An object's key. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct DataKey([u8; KEY_BYTES]);

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DataKey(redacted)")
    }
}

impl DataKey {
    pub fn new(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    pub fn random(rng: &mut impl Rng) -> Self {
        let mut bytes = [0; KEY_BYTES];
        rng.fill(&mut bytes);
        Self(bytes)
    }

    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// The key of what was not put in parts.
    pub fn whole(&self) -> PartKey {
        self.part(WHOLE)
    }

    pub fn part(&self, salt: PartSalt) -> PartKey {
        PartKey(aead_key(&derive(&self.0, &[LABEL, &salt.0])))
    }
}

/// The salt of what was not put in parts.
const WHOLE: PartSalt = PartSalt([0; 16]);

/// A key for one use. `parts` are of fixed lengths, but the last.
pub fn derive(key: &[u8; KEY_BYTES], parts: &[&[u8]]) -> [u8; KEY_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

pub fn aead_key(key: &[u8; KEY_BYTES]) -> LessSafeKey {
    LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("the key is as long as the cipher wants"))
}

/// The key of one part's data.
pub struct PartKey(LessSafeKey);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    index: u64,
    last: bool,
}

impl Segment {
    fn nonce(self) -> Nonce {
        let mut nonce = [0; NONCE_LEN];
        nonce[0] = u8::from(self.last);
        nonce[NONCE_LEN - 8..].copy_from_slice(&self.index.to_be_bytes());
        Nonce::assume_unique_for_key(nonce)
    }
}

impl PartKey {
    fn seal(&self, segment: Segment, mut text: BytesMut) -> Bytes {
        let sealed = self.0.seal_in_place_append_tag(segment.nonce(), Aad::empty(), &mut text);
        sealed.expect("a segment is far below what one nonce may seal");
        text.freeze()
    }

    fn open(&self, segment: Segment, mut sealed: BytesMut) -> Result<Bytes, Tampered> {
        let text = self.0.open_in_place(segment.nonce(), Aad::empty(), &mut sealed).map_err(|_| Tampered)?;
        let length = text.len();
        sealed.truncate(length);
        Ok(sealed.freeze())
    }
}

/// The bytes that so much of a part is when it is sealed. Nothing stays nothing.
pub fn sealed_len(text: u64) -> u64 {
    text + text.div_ceil(TEXT_BYTES as u64) * TAG_BYTES as u64
}

/// Seals one part, as its data comes.
pub struct Encryptor {
    key: PartKey,
    next: u64,
    /// Kept until it is known whether more follows.
    text: BytesMut,
}

impl Encryptor {
    pub fn new(key: PartKey) -> Self {
        Self { key, next: 0, text: BytesMut::new() }
    }

    /// Takes from `data` up to a segment's end; what that makes whole comes back. To be called until `data` is empty.
    pub fn push(&mut self, data: &mut Bytes) -> Option<Bytes> {
        let full = (self.text.len() == TEXT_BYTES && !data.is_empty()).then(|| self.segment(false));
        if self.text.capacity() == 0 {
            let room = if full.is_some() { SEGMENT_BYTES } else { data.len().min(TEXT_BYTES) + TAG_BYTES };
            self.text.reserve(room);
        }
        let taken = data.split_to(data.len().min(TEXT_BYTES - self.text.len()));
        self.text.extend_from_slice(&taken);
        full
    }

    /// The last segment, if there was any data.
    pub fn finish(mut self) -> Option<Bytes> {
        (!self.text.is_empty()).then(|| self.segment(true))
    }

    fn segment(&mut self, last: bool) -> Bytes {
        let segment = Segment { index: self.next, last };
        self.next += 1;
        self.key.seal(segment, std::mem::take(&mut self.text))
    }
}

/// Seals what is at hand as a whole.
pub fn seal_whole(key: &DataKey, text: &Bytes) -> Bytes {
    let mut encryptor = Encryptor::new(key.whole());
    let mut sealed = BytesMut::new();
    let mut left = text.clone();
    while !left.is_empty() {
        sealed.extend(encryptor.push(&mut left));
    }
    sealed.extend(encryptor.finish());
    sealed.freeze()
}

/// The parts of an object, in order.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    pub size: u64,
    /// Empty of what was not put in parts, as its salts are.
    pub sizes: &'a [u64],
    pub salts: &'a [PartSalt],
}

impl Parts<'_> {
    /// How long each part is when it is sealed.
    pub fn sealed_sizes(&self) -> Vec<u64> {
        self.sizes.iter().map(|&size| sealed_len(size)).collect()
    }

    /// How long all are together.
    pub fn sealed_size(&self) -> u64 {
        if self.sizes.is_empty() { sealed_len(self.size) } else { self.sealed_sizes().iter().sum() }
    }

    fn all(&self) -> Result<Vec<(PartSalt, u64)>, Tampered> {
        if self.sizes.len() != self.salts.len() {
            return Err(Tampered);
        }
        if self.sizes.is_empty() {
            return Ok(vec![(WHOLE, self.size)]);
        }
        Ok(self.salts.iter().copied().zip(self.sizes.iter().copied()).collect())
    }
}

/// Segments of one part that are still to come.
#[derive(Debug)]
struct Run {
    salt: PartSalt,
    segments: Range<u64>,
    size: u64,
}

impl Run {
    fn count(&self) -> u64 {
        self.size.div_ceil(TEXT_BYTES as u64)
    }

    /// The next segment, and how long it is.
    fn next(&self) -> (Segment, usize) {
        let segment = Segment { index: self.segments.start, last: self.segments.start + 1 == self.count() };
        let text = self.size - segment.index * TEXT_BYTES as u64;
        let text = usize::try_from(text).unwrap_or(usize::MAX).min(TEXT_BYTES);
        (segment, text + TAG_BYTES)
    }
}

/// Opens a range of an object, as its sealed segments come.
pub struct Decryptor {
    key: DataKey,
    runs: VecDeque<Run>,
    /// Of the first of them.
    part: Option<PartKey>,
    sealed: BytesMut,
    /// Bytes of the first segment that are before the range.
    skip: u64,
    /// Bytes of the range that are still to come.
    left: u64,
}

impl Decryptor {
    /// For `range` of an object, and which of its sealed bytes are needed for it: whole segments.
    pub fn new(key: DataKey, parts: Parts<'_>, range: Range<u64>) -> Result<(Self, Range<u64>), Tampered> {
        let text = TEXT_BYTES as u64;
        let (mut at, mut sealed_at) = (0u64, 0u64);
        let (mut needed, mut skip, mut runs) = (0..0, 0, VecDeque::new());
        for (salt, size) in parts.all()? {
            let (first, end) = (range.start.max(at), range.end.min(at + size));
            if first < end {
                let segments = (first - at) / text..(end - at).div_ceil(text);
                let sealed_first = sealed_at + segments.start * SEGMENT_BYTES as u64;
                let sealed_end = sealed_at + (segments.end * SEGMENT_BYTES as u64).min(sealed_len(size));
                if runs.is_empty() {
                    skip = (first - at) % text;
                    needed = sealed_first..sealed_end;
                }
                needed.end = sealed_end;
                runs.push_back(Run { salt, segments, size });
            }
            at += size;
            sealed_at += sealed_len(size);
        }
        if range.end > at || range.start > range.end {
            return Err(Tampered);
        }
        let left = range.end - range.start;
        let decryptor = Self { key, runs, part: None, sealed: BytesMut::new(), skip, left };
        Ok((decryptor, needed))
    }

    /// Takes sealed bytes, in order; those of the range that they complete come back.
    pub fn push(&mut self, data: &[u8]) -> Result<Vec<Bytes>, Tampered> {
        self.sealed.extend_from_slice(data);
        let mut opened = Vec::new();
        while let Some(run) = self.runs.front_mut() {
            let (segment, length) = run.next();
            if self.sealed.len() < length {
                break;
            }
            let part = self.part.get_or_insert_with(|| self.key.part(run.salt));
            let mut text = part.open(segment, self.sealed.split_to(length))?;
            run.segments.start += 1;
            if run.segments.is_empty() {
                self.runs.pop_front();
                self.part = None;
            }
            let skipped = usize::try_from(std::mem::take(&mut self.skip)).map_err(|_| Tampered)?;
            text.advance(skipped.min(text.len()));
            text.truncate(usize::try_from(self.left).unwrap_or(usize::MAX));
            self.left -= text.len() as u64;
            opened.push(text);
        }
        if self.runs.is_empty() && !self.sealed.is_empty() { Err(Tampered) } else { Ok(opened) }
    }

    /// That all came.
    pub fn finish(&self) -> Result<(), Tampered> {
        if self.left == 0 && self.runs.is_empty() { Ok(()) } else { Err(Tampered) }
    }
}

/// Opens `range` of an object whose sealed bytes are all at hand.
pub fn open_whole(
    key: DataKey,
    parts: Parts<'_>,
    range: Range<u64>,
    sealed: &Bytes,
) -> Result<Bytes, Tampered> {
    if sealed.len() as u64 != parts.sealed_size() {
        return Err(Tampered);
    }
    let (mut decryptor, needed) = Decryptor::new(key, parts, range)?;
    let to = |at| usize::try_from(at).map_err(|_| Tampered);
    let opened = decryptor.push(&sealed[to(needed.start)?..to(needed.end)?])?;
    decryptor.finish()?;
    Ok(opened.concat().into())
}

#[cfg(test)]
#[path = "cipher_test.rs"]
mod tests;
