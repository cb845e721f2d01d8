//! Snapshot files: the whole state at one log id, in checksummed blocks.
//!
//! ```text
//! magic "ASHMSNP1" | format version u32 | length of meta u32 | CRC of meta u32 | meta (postcard)
//! then per block:  length u32 | CRC of (block number u32, payload) u32 | payload
//!                  payload: per pair, key length u32 | value length u32 | key | value
//! at the end:      0 u32 | CRC of (block number u32, number of pairs u64) u32 | number of pairs u64
//! ```

use super::files::{check_version, remove_file, sync_parent};
use super::{SnapshotMeta, io_failed};
use crate::error::{ErrorKind, MetaError};
use crate::limits::{FORMAT_VERSION, MAX_SNAPSHOT_BLOCK_BYTES};
use crate::state::kv::Pair;
use proto::checksum::crc32;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: [u8; 8] = *b"ASHMSNP1";
/// The meta names voters and a log id.
const MAX_META_BYTES: u32 = 1 << 20;

/// The folder of snapshots. Only the newest one is kept.
#[derive(Debug, Clone)]
pub struct SnapshotFolder {
    dir: PathBuf,
}

impl SnapshotFolder {
    pub fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The newest snapshot, if there is one.
    pub fn newest(&self) -> Result<Option<SnapshotFile>, MetaError> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.dir).map_err(|e| io_failed("list", &self.dir, e))? {
            let path = entry.map_err(|e| io_failed("list", &self.dir, e))?.path();
            if path.extension().is_some_and(|extension| extension == "snap") {
                names.push(path);
            }
        }
        names.into_iter().max().map(|path| SnapshotFile::open(&path)).transpose()
    }

    /// A path to write a snapshot to, before it has its name.
    pub fn temporary(&self, what: &str) -> PathBuf {
        self.dir.join(format!("{what}.tmp"))
    }

    /// Gives a finished, durable file its name and removes older snapshots.
    pub fn publish(&self, temporary: &Path, meta: &SnapshotMeta) -> Result<PathBuf, MetaError> {
        let index = meta.last_log_id.map_or(0, |log_id| log_id.index);
        let path = self.dir.join(format!("{index:020}.snap"));
        fs::rename(temporary, &path).map_err(|e| io_failed("rename", temporary, e))?;
        sync_parent(&path)?;
        for entry in fs::read_dir(&self.dir).map_err(|e| io_failed("list", &self.dir, e))? {
            let other = entry.map_err(|e| io_failed("list", &self.dir, e))?.path();
            if other < path && other.extension().is_some_and(|extension| extension == "snap") {
                remove_file(&other)?;
            }
        }
        Ok(path)
    }
}

/// Writes a snapshot block by block.
pub struct SnapshotWriter {
    path: PathBuf,
    out: BufWriter<File>,
    blocks: u32,
    pairs: u64,
}

impl SnapshotWriter {
    pub fn create(path: &Path, meta: &SnapshotMeta) -> Result<Self, MetaError> {
        let meta = postcard::to_stdvec(meta).map_err(|e| {
            MetaError::new(ErrorKind::Invalid, "can't encode a snapshot's meta").with_source(e)
        })?;
        let len = u32::try_from(meta.len()).expect("the meta names a few voters");
        let file = File::create(path).map_err(|e| io_failed("make", path, e))?;
        let mut writer = Self { path: path.to_owned(), out: BufWriter::new(file), blocks: 0, pairs: 0 };
        let mut header = Vec::with_capacity(20 + meta.len());
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        header.extend_from_slice(&len.to_le_bytes());
        header.extend_from_slice(&crc32(&meta).to_le_bytes());
        header.extend_from_slice(&meta);
        writer.put(&header)?;
        Ok(writer)
    }

    pub fn block(&mut self, pairs: &[Pair]) -> Result<(), MetaError> {
        let mut payload = Vec::new();
        let len =
            |bytes: &[u8]| u32::try_from(bytes.len()).expect("keys and values are bounded").to_le_bytes();
        for (key, value) in pairs {
            payload.extend_from_slice(&len(key));
            payload.extend_from_slice(&len(value));
            payload.extend_from_slice(key);
            payload.extend_from_slice(value);
        }
        let header = len(&payload);
        self.put(&header)?;
        self.put(&block_crc(self.blocks, &payload).to_le_bytes())?;
        self.put(&payload)?;
        self.blocks += 1;
        self.pairs += pairs.len() as u64;
        Ok(())
    }

    /// Ends the file and makes it durable; its length in bytes.
    pub fn finish(mut self) -> Result<u64, MetaError> {
        let pairs = self.pairs.to_le_bytes();
        self.put(&0u32.to_le_bytes())?;
        self.put(&block_crc(self.blocks, &pairs).to_le_bytes())?;
        self.put(&pairs)?;
        let finish = |mut out: BufWriter<File>| -> io::Result<u64> {
            out.flush()?;
            out.get_ref().sync_all()?;
            Ok(out.get_ref().metadata()?.len())
        };
        finish(self.out).map_err(|e| io_failed("write", &self.path, e))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), MetaError> {
        self.out.write_all(bytes).map_err(|e| io_failed("write", &self.path, e))
    }
}

fn block_crc(number: u32, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&number.to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

/// A snapshot whose header was read.
#[derive(Debug)]
pub struct SnapshotFile {
    pub path: PathBuf,
    pub meta: SnapshotMeta,
    pub len_bytes: u64,
    input: BufReader<File>,
    blocks: u32,
    pairs: u64,
}

impl SnapshotFile {
    pub fn open(path: &Path) -> Result<Self, MetaError> {
        let open = || -> io::Result<(BufReader<File>, u64)> {
            let file = File::open(path)?;
            let len = file.metadata()?.len();
            Ok((BufReader::new(file), len))
        };
        let (mut input, len_bytes) = open().map_err(|e| io_failed("open", path, e))?;
        let header: [u8; 20] = read(&mut input, path)?;
        if header[..8] != MAGIC {
            return Err(corrupt(path));
        }
        let word = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        check_version(path, word(8))?;
        if word(12) > MAX_META_BYTES {
            return Err(corrupt(path));
        }
        let mut meta = vec![0; word(12) as usize];
        input.read_exact(&mut meta).map_err(|_| corrupt(path))?;
        if crc32(&meta) != word(16) {
            return Err(corrupt(path));
        }
        let meta = postcard::from_bytes(&meta).map_err(|_| corrupt(path))?;
        Ok(Self { path: path.to_owned(), meta, len_bytes, input, blocks: 0, pairs: 0 })
    }

    /// The next block; none at the verified end.
    fn next_block(&mut self) -> Result<Option<Vec<Pair>>, MetaError> {
        let [len, crc]: [u32; 2] = {
            let head: [u8; 8] = read(&mut self.input, &self.path)?;
            [0, 4].map(|at| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")))
        };
        if len == 0 {
            let pairs: [u8; 8] = read(&mut self.input, &self.path)?;
            let end = self.input.read(&mut [0]).map_err(|e| io_failed("read", &self.path, e))? == 0;
            let good = crc == block_crc(self.blocks, &pairs) && u64::from_le_bytes(pairs) == self.pairs;
            return if good && end { Ok(None) } else { Err(corrupt(&self.path)) };
        }
        // Before it is allocated: a length that lies must not cost more than the file it is in.
        if len as usize > MAX_SNAPSHOT_BLOCK_BYTES || u64::from(len) > self.len_bytes {
            return Err(corrupt(&self.path));
        }
        let mut payload = vec![0; len as usize];
        self.input.read_exact(&mut payload).map_err(|_| corrupt(&self.path))?;
        if crc != block_crc(self.blocks, &payload) {
            return Err(corrupt(&self.path));
        }
        let pairs = split(&payload).ok_or_else(|| corrupt(&self.path))?;
        self.blocks += 1;
        self.pairs += pairs.len() as u64;
        Ok(Some(pairs))
    }
}

impl Iterator for SnapshotFile {
    type Item = Result<Vec<Pair>, MetaError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_block().transpose()
    }
}

fn split(mut payload: &[u8]) -> Option<Vec<Pair>> {
    let mut pairs = Vec::new();
    while !payload.is_empty() {
        let (head, rest) = payload.split_at_checked(8)?;
        let len = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        let (key, rest) = rest.split_at_checked(len(0))?;
        let (value, rest) = rest.split_at_checked(len(4))?;
        pairs.push((key.to_vec(), value.to_vec()));
        payload = rest;
    }
    Some(pairs)
}

fn read<const N: usize>(input: &mut impl Read, path: &Path) -> Result<[u8; N], MetaError> {
    let mut bytes = [0; N];
    input.read_exact(&mut bytes).map_err(|_| corrupt(path))?;
    Ok(bytes)
}

fn corrupt(path: &Path) -> MetaError {
    MetaError::new(ErrorKind::Corrupt, format!("snapshot {} is corrupt", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path) -> u64 {
        let meta = SnapshotMeta {
            last_log_id: Some(super::super::LogId::new(openraft::CommittedLeaderId::new(5, 3), 300)),
            last_membership: openraft::StoredMembership::default(),
            snapshot_id: "300".into(),
        };
        let mut writer = SnapshotWriter::create(path, &meta).unwrap();
        writer.block(&[(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), Vec::new())]).unwrap();
        writer.block(&[(b"c".to_vec(), b"333".to_vec())]).unwrap();
        writer.finish().unwrap()
    }

    #[test]
    fn reads_back_and_refuses_any_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.snap");
        let len = write(&path);
        let pairs = |path: &Path| -> Result<Vec<Pair>, MetaError> {
            Ok(SnapshotFile::open(path)?.collect::<Result<Vec<_>, _>>()?.concat())
        };
        let all = pairs(&path).unwrap();
        assert_eq!(all.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>(), [b"a", b"b", b"c"]);
        let good = fs::read(&path).unwrap();
        assert_eq!(len, good.len() as u64);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(&path, &bad).unwrap();
            assert!(pairs(&path).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            fs::write(&path, &good[..len]).unwrap();
            assert!(pairs(&path).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn golden_bytes_never_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.snap");
        write(&path);
        assert_eq!(hex::encode(fs::read(&path).unwrap()), GOLDEN);
    }

    const GOLDEN: &str = "4153484d534e5031020000000c000000bc19a2f7010503ac0200000003333030130000003dcb15be\
        010000000100000061310100000000000000620c0000004a96fc1301000000030000006333333300000000135f6119\
        0300000000000000";
}
