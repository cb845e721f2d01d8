//! Checksums of objects: which there are, how they are written, and computing them in one pass.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use crc_fast::CrcAlgorithm;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The algorithms of `x-amz-checksum-*`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumAlgorithm {
    Crc32,
    Crc32c,
    Crc64Nvme,
    Sha1,
    Sha256,
}

impl ChecksumAlgorithm {
    pub const ALL: [ChecksumAlgorithm; 5] = [
        ChecksumAlgorithm::Crc32,
        ChecksumAlgorithm::Crc32c,
        ChecksumAlgorithm::Crc64Nvme,
        ChecksumAlgorithm::Sha1,
        ChecksumAlgorithm::Sha256,
    ];

    /// As in `x-amz-checksum-algorithm` and `<ChecksumAlgorithm>`.
    pub fn name(self) -> &'static str {
        match self {
            ChecksumAlgorithm::Crc32 => "CRC32",
            ChecksumAlgorithm::Crc32c => "CRC32C",
            ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
            ChecksumAlgorithm::Sha1 => "SHA1",
            ChecksumAlgorithm::Sha256 => "SHA256",
        }
    }

    /// The algorithm with this name, in either case.
    pub fn from_name(name: &str) -> Option<ChecksumAlgorithm> {
        ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.name().eq_ignore_ascii_case(name))
    }

    /// The header, and trailer, that carries its value.
    pub fn header(self) -> &'static str {
        match self {
            ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
            ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
            ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
            ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
            ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
        }
    }

    /// The algorithm whose header this is, in any case.
    pub fn from_header(header: &str) -> Option<ChecksumAlgorithm> {
        ChecksumAlgorithm::ALL.into_iter().find(|algorithm| algorithm.header().eq_ignore_ascii_case(header))
    }

    /// The XML element that carries its value: `ChecksumCRC32` and so on.
    pub fn element(self) -> &'static str {
        match self {
            ChecksumAlgorithm::Crc32 => "ChecksumCRC32",
            ChecksumAlgorithm::Crc32c => "ChecksumCRC32C",
            ChecksumAlgorithm::Crc64Nvme => "ChecksumCRC64NVME",
            ChecksumAlgorithm::Sha1 => "ChecksumSHA1",
            ChecksumAlgorithm::Sha256 => "ChecksumSHA256",
        }
    }

    /// Bytes of its value.
    pub fn value_len(self) -> usize {
        match self {
            ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
            ChecksumAlgorithm::Crc64Nvme => 8,
            ChecksumAlgorithm::Sha1 => 20,
            ChecksumAlgorithm::Sha256 => 32,
        }
    }

    /// Whether a whole object's value follows from its parts' values.
    pub fn is_crc(self) -> bool {
        self.crc().is_some()
    }

    pub(super) fn crc(self) -> Option<CrcAlgorithm> {
        match self {
            ChecksumAlgorithm::Crc32 => Some(CrcAlgorithm::Crc32IsoHdlc),
            ChecksumAlgorithm::Crc32c => Some(CrcAlgorithm::Crc32Iscsi),
            ChecksumAlgorithm::Crc64Nvme => Some(CrcAlgorithm::Crc64Nvme),
            ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => None,
        }
    }
}

/// One checksum's value; CRCs are big-endian, as S3 writes them.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Checksum {
    algorithm: ChecksumAlgorithm,
    /// `algorithm.value_len()` bytes, then zeros.
    bytes: [u8; 32],
}

impl Checksum {
    /// `None` unless `value` has exactly the algorithm's length.
    pub fn new(algorithm: ChecksumAlgorithm, value: &[u8]) -> Option<Checksum> {
        let mut bytes = [0; 32];
        (value.len() == algorithm.value_len()).then(|| {
            bytes[..value.len()].copy_from_slice(value);
            Checksum { algorithm, bytes }
        })
    }

    /// Reads a header's value: base64 with padding, of the right length.
    pub fn from_base64(algorithm: ChecksumAlgorithm, text: &str) -> Option<Checksum> {
        Checksum::new(algorithm, &BASE64.decode(text).ok()?)
    }

    pub fn to_base64(self) -> String {
        BASE64.encode(self.as_bytes())
    }

    pub fn algorithm(self) -> ChecksumAlgorithm {
        self.algorithm
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.algorithm.value_len()]
    }

    pub(super) fn from_crc(algorithm: ChecksumAlgorithm, crc: u64) -> Checksum {
        let mut bytes = [0; 32];
        let len = algorithm.value_len();
        bytes[..len].copy_from_slice(&crc.to_be_bytes()[8 - len..]);
        Checksum { algorithm, bytes }
    }

    /// A CRC's value as a number; only the low half of a 32-bit one is used.
    pub(super) fn as_crc(&self) -> u64 {
        self.as_bytes().iter().take(8).fold(0, |crc, byte| crc << 8 | u64::from(*byte))
    }
}

impl fmt::Debug for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.algorithm.name(), self.to_base64())
    }
}

/// Everything that is computed over one body: its length, MD5 (for the ETag), one S3 checksum, and SHA-256
/// where the request's head gave one. Each piece of data is walked once for all of them.
pub struct ChecksumSet {
    length: u64,
    md5: Md5,
    sha256: Option<Sha256>,
    chosen: Chosen,
}

enum Chosen {
    Crc32(crc32fast::Hasher),
    Crc(ChecksumAlgorithm, crc_fast::Digest),
    Sha1(Sha1),
    /// Shares the set's SHA-256.
    Sha256,
}

impl ChecksumSet {
    pub fn new(algorithm: ChecksumAlgorithm, with_sha256: bool) -> ChecksumSet {
        let chosen = match algorithm {
            ChecksumAlgorithm::Crc32 => Chosen::Crc32(crc32fast::Hasher::new()),
            ChecksumAlgorithm::Crc32c => {
                Chosen::Crc(algorithm, crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi))
            }
            ChecksumAlgorithm::Crc64Nvme => {
                Chosen::Crc(algorithm, crc_fast::Digest::new(CrcAlgorithm::Crc64Nvme))
            }
            ChecksumAlgorithm::Sha1 => Chosen::Sha1(Sha1::new()),
            ChecksumAlgorithm::Sha256 => Chosen::Sha256,
        };
        let needs_sha256 = with_sha256 || matches!(chosen, Chosen::Sha256);
        ChecksumSet { length: 0, md5: Md5::new(), sha256: needs_sha256.then(Sha256::new), chosen }
    }

    pub fn update(&mut self, data: &[u8]) {
        self.length += data.len() as u64;
        self.md5.update(data);
        if let Some(sha256) = &mut self.sha256 {
            sha256.update(data);
        }
        match &mut self.chosen {
            Chosen::Crc32(hasher) => hasher.update(data),
            Chosen::Crc(_, digest) => digest.update(data),
            Chosen::Sha1(sha1) => sha1.update(data),
            Chosen::Sha256 => {}
        }
    }

    pub fn finish(self) -> PayloadDigest {
        let sha256: Option<[u8; 32]> = self.sha256.map(|sha256| sha256.finalize().into());
        let checksum = match self.chosen {
            Chosen::Crc32(hasher) => {
                Checksum::from_crc(ChecksumAlgorithm::Crc32, u64::from(hasher.finalize()))
            }
            Chosen::Crc(algorithm, digest) => Checksum::from_crc(algorithm, digest.finalize()),
            Chosen::Sha1(sha1) => Checksum::new(ChecksumAlgorithm::Sha1, &sha1.finalize())
                .expect("SHA-1 has the length of a SHA-1"),
            Chosen::Sha256 => Checksum::new(ChecksumAlgorithm::Sha256, &sha256.unwrap_or_default())
                .expect("SHA-256 has the length of a SHA-256"),
        };
        PayloadDigest { length_bytes: self.length, md5: self.md5.finalize().into(), sha256, checksum }
    }
}

/// A body's length and checksums.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadDigest {
    pub length_bytes: u64,
    pub md5: [u8; 16],
    /// Present if the request's head or its checksum asked for it.
    pub sha256: Option<[u8; 32]>,
    /// The client's checksum, else the one the gateway adds by itself.
    pub checksum: Checksum,
}

impl PayloadDigest {
    /// The ETag's value, without quotes.
    pub fn etag(&self) -> String {
        hex::encode(self.md5)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(algorithm: ChecksumAlgorithm, data: &[u8]) -> PayloadDigest {
        let mut set = ChecksumSet::new(algorithm, true);
        for piece in data.chunks(3) {
            set.update(piece);
        }
        set.finish()
    }

    #[test]
    fn computes_the_catalogued_check_values() {
        let expected: [(ChecksumAlgorithm, &str); 5] = [
            (ChecksumAlgorithm::Crc32, "cbf43926"),
            (ChecksumAlgorithm::Crc32c, "e3069283"),
            (ChecksumAlgorithm::Crc64Nvme, "ae8b14860a799888"),
            (ChecksumAlgorithm::Sha1, "f7c3bc1d808e04732adf679965ccc34ca7ae3441"),
            (ChecksumAlgorithm::Sha256, "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"),
        ];
        for (algorithm, hex_value) in expected {
            let digest = digest(algorithm, b"123456789");
            assert_eq!(hex::encode(digest.checksum.as_bytes()), hex_value, "{}", algorithm.name());
            assert_eq!(digest.etag(), "25f9e794323b453885f5181f1b624d0b");
            assert_eq!(digest.length_bytes, 9);
            assert_eq!(
                hex::encode(digest.sha256.expect("asked for")),
                "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225"
            );
        }
    }

    #[test]
    fn names_and_values_round_trip() {
        for algorithm in ChecksumAlgorithm::ALL {
            assert_eq!(ChecksumAlgorithm::from_name(&algorithm.name().to_lowercase()), Some(algorithm));
            assert_eq!(ChecksumAlgorithm::from_header(algorithm.header()), Some(algorithm));
            let checksum = digest(algorithm, b"x").checksum;
            assert_eq!(Checksum::from_base64(algorithm, &checksum.to_base64()), Some(checksum));
        }
        for bad in ["", "AAAA", "AAAAAA=", "AAAAAAA=", "!!!!!!=="] {
            assert_eq!(Checksum::from_base64(ChecksumAlgorithm::Crc32, bad), None, "{bad}");
        }
    }
}
