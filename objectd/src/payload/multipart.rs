//! What a multipart object's parts say about the whole.
//!
//! Source: S3 user guide, "Checking object integrity for data uploads".

use crc_fast::checksum_combine;
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

use super::checksum::{Checksum, ChecksumAlgorithm, ChecksumSet};
use base64::Engine as _;

/// `MD5(part MD5s)-N`, without quotes.
pub fn multipart_etag(part_md5s: &[[u8; 16]]) -> String {
    let mut md5 = Md5::new();
    for part in part_md5s {
        md5.update(part);
    }
    format!("{}-{}", hex::encode(md5.finalize()), part_md5s.len())
}

/// A COMPOSITE checksum: the algorithm over the parts' values, and `-N`. `None` if a part has another
/// algorithm.
pub fn composite_checksum(algorithm: ChecksumAlgorithm, parts: &[Checksum]) -> Option<String> {
    let mut values = Vec::with_capacity(parts.len() * algorithm.value_len());
    for part in parts {
        if part.algorithm() != algorithm {
            return None;
        }
        values.extend_from_slice(part.as_bytes());
    }
    let encoded = match algorithm {
        ChecksumAlgorithm::Sha1 => base64::engine::general_purpose::STANDARD.encode(Sha1::digest(&values)),
        ChecksumAlgorithm::Sha256 => {
            base64::engine::general_purpose::STANDARD.encode(Sha256::digest(&values))
        }
        _ => {
            let mut set = ChecksumSet::new(algorithm, false);
            set.update(&values);
            set.finish().checksum.to_base64()
        }
    };
    Some(format!("{encoded}-{}", parts.len()))
}

/// A FULL_OBJECT checksum from the parts' CRCs and lengths in bytes. `None` if the algorithm is not a CRC or a
/// part has another one.
pub fn full_object_checksum(algorithm: ChecksumAlgorithm, parts: &[(Checksum, u64)]) -> Option<Checksum> {
    let crc = algorithm.crc()?;
    let mut whole = ChecksumSet::new(algorithm, false).finish().checksum.as_crc();
    for (part, length) in parts {
        if part.algorithm() != algorithm {
            return None;
        }
        whole = checksum_combine(crc, whole, part.as_crc(), *length);
    }
    Some(Checksum::from_crc(algorithm, whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(algorithm: ChecksumAlgorithm, data: &[u8]) -> Checksum {
        let mut set = ChecksumSet::new(algorithm, false);
        set.update(data);
        set.finish().checksum
    }

    #[test]
    fn parts_combine_to_the_crc_of_the_whole() {
        let data: Vec<u8> = (0..100_003_u32).flat_map(u32::to_le_bytes).collect();
        for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
            for cut in [&[0_usize][..], &[1], &[7, 65_536, 65_536, 300_000]] {
                let (mut parts, mut start) = (Vec::new(), 0);
                for end in cut.iter().copied().chain([data.len()]) {
                    parts.push((sum(algorithm, &data[start..end]), (end - start) as u64));
                    start = end;
                }
                assert_eq!(full_object_checksum(algorithm, &parts), Some(sum(algorithm, &data)));
            }
        }
        assert_eq!(full_object_checksum(ChecksumAlgorithm::Sha256, &[]), None);
    }

    #[test]
    fn composites_hash_the_parts_values() {
        let parts = [sum(ChecksumAlgorithm::Sha256, b"one"), sum(ChecksumAlgorithm::Sha256, b"two")];
        let joined: Vec<u8> = parts.iter().flat_map(|part| part.as_bytes().to_vec()).collect();
        let expected = format!("{}-2", sum(ChecksumAlgorithm::Sha256, &joined).to_base64());
        assert_eq!(composite_checksum(ChecksumAlgorithm::Sha256, &parts), Some(expected));
        assert_eq!(composite_checksum(ChecksumAlgorithm::Crc32, &parts), None);
    }

    #[test]
    fn etags_hash_the_parts_md5s() {
        // md5 of 32 zero bytes.
        assert_eq!(multipart_etag(&[[0; 16], [0; 16]]), "70bc8f4b72a86921468bf8e8441dce51-2");
    }
}
