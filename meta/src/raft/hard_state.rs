//! Raft's own durable words: the vote, and up to where the log was purged. One small file, replaced whole.

use super::files::{check_version, write_atomically};
use super::{LogId, Vote, io_failed};
use crate::error::{ErrorKind, MetaError};
use crate::limits::{FORMAT_VERSION, MAX_HARD_STATE_BYTES};
use proto::checksum::crc32;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::{fs, io};

const MAGIC: [u8; 8] = *b"ASHMVOTE";
/// Magic, format version, length, CRC of what follows.
const HEADER_BYTES: usize = 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
struct Words {
    vote: Option<Vote>,
    purged: Option<LogId>,
}

/// The vote and the purged mark.
#[derive(Debug)]
pub struct HardState {
    path: PathBuf,
    words: Words,
}

impl HardState {
    /// Reads the file; absent means that this node never voted.
    pub fn open(path: PathBuf) -> Result<Self, MetaError> {
        let words = match fs::read(&path) {
            Ok(bytes) => decode(&path, &bytes)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Words::default(),
            Err(error) => return Err(io_failed("read", &path, error)),
        };
        Ok(Self { path, words })
    }

    pub fn vote(&self) -> Option<Vote> {
        self.words.vote
    }

    /// The last log id that may be missing from the log.
    pub fn purged(&self) -> Option<LogId> {
        self.words.purged
    }

    pub fn set_vote(&mut self, vote: Vote) -> Result<(), MetaError> {
        self.replace(Words { vote: Some(vote), ..self.words })
    }

    pub fn set_purged(&mut self, purged: LogId) -> Result<(), MetaError> {
        self.replace(Words { purged: Some(purged), ..self.words })
    }

    fn replace(&mut self, words: Words) -> Result<(), MetaError> {
        write_atomically(&self.path, &encode(&words)?)?;
        self.words = words;
        Ok(())
    }
}

fn encode(words: &Words) -> Result<Vec<u8>, MetaError> {
    let body = postcard::to_stdvec(words)
        .map_err(|e| MetaError::new(ErrorKind::Invalid, "can't encode the vote").with_source(e))?;
    let len = u32::try_from(body.len()).expect("a vote is a few bytes");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&crc32(&body).to_le_bytes());
    bytes.extend_from_slice(&body);
    Ok(bytes)
}

fn decode(path: &Path, bytes: &[u8]) -> Result<Words, MetaError> {
    let corrupt = || {
        let message = format!("{} is corrupt: the vote of this node can't be known", path.display());
        MetaError::new(ErrorKind::Corrupt, message)
    };
    if bytes.len() < HEADER_BYTES || bytes.len() > MAX_HARD_STATE_BYTES || bytes[..8] != MAGIC {
        return Err(corrupt());
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    check_version(path, word(8))?;
    let body = &bytes[HEADER_BYTES..];
    if word(12) as usize != body.len() || word(16) != crc32(body) {
        return Err(corrupt());
    }
    postcard::from_bytes(body).map_err(|_| corrupt())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "4153484d564f54450200000009000000de3547e501070301010503ac02";

    fn words() -> Words {
        let purged = LogId::new(openraft::CommittedLeaderId::new(5, 3), 300);
        Words { vote: Some(Vote::new_committed(7, 3)), purged: Some(purged) }
    }

    #[test]
    fn golden_bytes_never_change() {
        let path = Path::new("raft");
        assert_eq!(hex::encode(encode(&words()).unwrap()), GOLDEN);
        assert_eq!(decode(path, &hex::decode(GOLDEN).unwrap()).unwrap(), words());
    }

    #[test]
    fn any_flipped_bit_is_refused() {
        let good = encode(&words()).unwrap();
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(Path::new("raft"), &bad).is_err(), "bit {bit}");
        }
        for len in 0..good.len() {
            assert!(decode(Path::new("raft"), &good[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn survives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("raft");
        let mut state = HardState::open(path.clone()).unwrap();
        assert_eq!((state.vote(), state.purged()), (None, None));
        state.set_vote(words().vote.unwrap()).unwrap();
        state.set_purged(words().purged.unwrap()).unwrap();
        assert_eq!(HardState::open(path).unwrap().words, words());
    }
}
