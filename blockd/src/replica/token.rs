//! Comparing secrets without telling by the time it takes where they differ.

use proto::limits::TOKEN_BYTES;

/// Whether two tokens are the same; looks at every byte whatever they hold.
pub(super) fn same(a: &[u8; TOKEN_BYTES], b: &[u8; TOKEN_BYTES]) -> bool {
    let differ = a.iter().zip(b).fold(0u8, |differ, (a, b)| differ | (a ^ b));
    // The compiler must not turn the fold into an early return.
    std::hint::black_box(differ) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        assert!(same(&[7; TOKEN_BYTES], &[7; TOKEN_BYTES]));
        for at in 0..TOKEN_BYTES {
            let mut other = [7; TOKEN_BYTES];
            other[at] ^= 0x80;
            assert!(!same(&[7; TOKEN_BYTES], &other));
        }
    }
}
