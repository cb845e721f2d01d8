//! New ids and secrets, in AWS's shapes, since some clients check them.

use rt::rng::Rng;

/// Both alphabets' lengths divide 256, so every letter is as likely.
const OF_IDS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
const OF_SECRETS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

fn text(rng: &mut impl Rng, alphabet: &[u8], length: usize) -> String {
    let mut bytes = vec![0; length];
    rng.fill(&mut bytes);
    bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
}

/// An access key's id: `AKIA` of one that lasts, `ASIA` of a temporary one, and 16 letters.
pub fn key_id(rng: &mut impl Rng, prefix: &str) -> String {
    format!("{prefix}{}", text(rng, OF_IDS, 16))
}

/// The unique id of a user, group, role or policy: `AIDA`, `AGPA`, `AROA` or `ANPA` and 17 letters.
pub fn unique_id(rng: &mut impl Rng, prefix: &str) -> String {
    format!("{prefix}{}", text(rng, OF_IDS, 17))
}

/// A secret access key: 240 random bits.
pub fn secret(rng: &mut impl Rng) -> String {
    text(rng, OF_SECRETS, 40)
}

/// An account's number. The first digit is not zero, so that no program takes it for a shorter number.
pub fn account(rng: &mut impl Rng) -> String {
    const LEAST: u64 = 100_000_000_000;
    (LEAST + rng.u64() % (9 * LEAST)).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::rng::SystemRng;

    #[test]
    fn ids_and_secrets_have_aws_shapes() {
        let mut rng = SystemRng;
        let (key, id, secret) = (key_id(&mut rng, "AKIA"), unique_id(&mut rng, "AIDA"), secret(&mut rng));
        assert_eq!((key.len(), id.len(), secret.len()), (20, 21, 40));
        assert!(key.starts_with("AKIA") && id.starts_with("AIDA"));
        assert_ne!(key_id(&mut rng, "AKIA"), key);
        for _ in 0..100 {
            let account = account(&mut rng);
            assert!(account.len() == 12 && account.bytes().all(|byte| byte.is_ascii_digit()), "{account}");
        }
    }
}
