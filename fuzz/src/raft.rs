//! The control plane's files: log records and segments, snapshots, the vote.

use crate::{mode, put};
use meta::limits::FORMAT_VERSION;
use proto::checksum::crc32;
use rustix::fs::{MemfdFlags, memfd_create};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Of the segments whose records are read here.
pub const SALT: u64 = 0x0123_4567_89ab_cdef;
/// The index of their first entry.
pub const FIRST_INDEX: u64 = 300;

const RECORD_HEADER: usize = 56;
const SEGMENT_HEADER: usize = 40;

/// One record of the log.
pub fn record(input: &[u8]) {
    let Some((fix, bytes)) = mode(input) else { return };
    let mut bytes = bytes.to_vec();
    if fix && bytes.len() >= RECORD_HEADER {
        let body = bytes.split_off(RECORD_HEADER);
        bytes = seal(&bytes, &body);
    }
    meta::fuzz::log_record(&bytes, SALT);
}

/// A record with right lengths and checksums.
fn seal(header: &[u8], body: &[u8]) -> Vec<u8> {
    let mut record = header.to_vec();
    put(&mut record, 0, b"ALR1");
    put(&mut record, 4, &u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
    put(&mut record, 48, &crc32(body).to_le_bytes());
    let mut salted = record[..52].to_vec();
    salted.extend_from_slice(&SALT.to_le_bytes());
    put(&mut record, 52, &crc32(&salted).to_le_bytes());
    record.extend_from_slice(body);
    record
}

/// A segment. With right checksums: records of 16 bytes of header's fields and a body of up to 255.
pub fn segment(input: &[u8]) {
    let Some((fix, bytes)) = mode(input) else { return };
    let bytes = if fix { make_segment(bytes) } else { bytes.to_vec() };
    let _ = with_file(&bytes, |path| meta::fuzz::log_segment(path, FIRST_INDEX));
}

pub fn segment_header() -> Vec<u8> {
    let mut header = vec![0; SEGMENT_HEADER];
    put(&mut header, 0, b"ASHMLOG1");
    put(&mut header, 8, &FORMAT_VERSION.to_le_bytes());
    put(&mut header, 16, &FIRST_INDEX.to_le_bytes());
    put(&mut header, 24, &SALT.to_le_bytes());
    let crc = crc32(&header[..32]);
    put(&mut header, 32, &crc.to_le_bytes());
    header
}

fn make_segment(mut script: &[u8]) -> Vec<u8> {
    let mut segment = segment_header();
    let mut index = FIRST_INDEX;
    // A step: what to do, how far the marks lie back, the body's length; then the body.
    while let Some((step, rest)) = script.split_at_checked(3) {
        let body = &rest[..rest.len().min(usize::from(step[2]))];
        script = &rest[body.len()..];
        let mut header = vec![0; RECORD_HEADER];
        put(&mut header, 8, &index.to_le_bytes());
        put(&mut header, 16, &5u64.to_le_bytes());
        put(&mut header, 32, &index.wrapping_sub(u64::from(step[1] >> 4)).to_le_bytes());
        put(&mut header, 40, &index.wrapping_sub(u64::from(step[1] & 15)).to_le_bytes());
        let record = seal(&header, body);
        match step[0] % 8 {
            0 => segment.extend_from_slice(body),
            1 => segment.extend_from_slice(&record[..record.len() / 2]),
            2 => segment.resize(segment.len() + 4096, 0),
            3 => index = index.wrapping_add(u64::from(step[1])),
            _ => {
                segment.extend_from_slice(&record);
                index += 1;
            }
        }
    }
    segment
}

/// A snapshot, and the same bytes as the vote's file.
pub fn snapshot(input: &[u8]) {
    let Some((fix, bytes)) = mode(input) else { return };
    let mut bytes = bytes.to_vec();
    if fix {
        fix_snapshot(&mut bytes);
    }
    let _ = with_file(&bytes, meta::fuzz::snapshot);
    if fix && bytes.len() >= 20 {
        put(&mut bytes, 0, b"ASHMVOTE");
        let body = u32::try_from(bytes.len() - 20).unwrap_or(u32::MAX);
        put(&mut bytes, 12, &body.to_le_bytes());
        let crc = crc32(&bytes[20..]);
        put(&mut bytes, 16, &crc.to_le_bytes());
    }
    let _ = with_file(&bytes, meta::fuzz::hard_state);
}

/// Makes the checksums right that lie where the lengths before them say.
fn fix_snapshot(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")) as usize)
    };
    put(bytes, 0, b"ASHMSNP1");
    put(bytes, 8, &FORMAT_VERSION.to_le_bytes());
    let Some(meta_len) = word(bytes, 12) else { return };
    let Some(meta) = bytes.get(20..).and_then(|rest| rest.get(..meta_len)) else { return };
    let crc = crc32(meta);
    put(bytes, 16, &crc.to_le_bytes());
    let mut at = 20 + meta_len;
    let mut block = 0u32;
    while let Some(len) = word(bytes, at) {
        let payload_len = if len == 0 { 8 } else { len };
        let Some(payload) = bytes.get(at + 8..).and_then(|rest| rest.get(..payload_len)) else { return };
        let crc = crc32(&[&block.to_le_bytes(), payload].concat());
        put(bytes, at + 4, &crc.to_le_bytes());
        at += 8 + payload_len;
        block += 1;
    }
}

fn with_file<T>(bytes: &[u8], read: impl FnOnce(&Path) -> T) -> T {
    let file = File::from(memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory for a file"));
    file.write_all_at(bytes, 0).expect("memory for a file");
    read(Path::new(&format!("/proc/self/fd/{}", file.as_raw_fd())))
}
