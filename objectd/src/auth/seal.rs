//! Secrets that only this pool's gateways can read: of users' access keys, and of temporary credentials.
//!
//! The control plane keeps a key's secret sealed, so that its log, its snapshots and their copies don't give it
//! away. A session's token is its credentials, sealed: any gateway opens it, and none keeps it.

use hmac::{Hmac, Mac};
use meta::identity::Sealed;
use proto::control::PoolToken;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use rt::rng::Rng;
use sha2::Sha256;
use std::fmt;

/// What the key is derived for: other uses of the pool's token get other keys.
const LABEL: &[u8] = b"ashlar sealed secrets 1";
const VERSION: u8 = 1;

/// Seals and opens. `Debug` does not show the key.
pub struct Sealer(LessSafeKey);

impl fmt::Debug for Sealer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sealer(redacted)")
    }
}

impl Sealer {
    /// Of the pool with this token.
    pub fn new(token: &PoolToken) -> Self {
        let mut mac = Hmac::<Sha256>::new_from_slice(&token.0).expect("HMAC takes keys of any length");
        mac.update(LABEL);
        let key = UnboundKey::new(&AES_256_GCM, &mac.finalize().into_bytes());
        Self(LessSafeKey::new(key.expect("a SHA-256 is as long as the key")))
    }

    /// Seals a text; it opens only for the same `purpose`.
    pub fn seal(&self, rng: &mut impl Rng, purpose: &str, text: &str) -> Sealed {
        let mut nonce = [0; NONCE_LEN];
        rng.fill(&mut nonce);
        let mut body = text.as_bytes().to_vec();
        let nonce_of = Nonce::assume_unique_for_key(nonce);
        self.0
            .seal_in_place_append_tag(nonce_of, Aad::from(purpose.as_bytes()), &mut body)
            .expect("a text is far below what one nonce may seal");
        let mut sealed = vec![VERSION];
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut body);
        Sealed(sealed)
    }

    /// What was sealed for this purpose; `None` if it wasn't, by this pool, or is damaged.
    pub fn open(&self, purpose: &str, sealed: &[u8]) -> Option<String> {
        let (version, rest) = sealed.split_first()?;
        let (nonce, body) = rest.split_at_checked(NONCE_LEN)?;
        if *version != VERSION {
            return None;
        }
        let mut body = body.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.0.open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut body).ok()?;
        String::from_utf8(text.to_vec()).ok()
    }
}

/// What an access key's secret is sealed for.
pub fn of_key(id: &str) -> String {
    format!("access key {id}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::rng::SystemRng;

    struct Zeros;

    impl Rng for Zeros {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(0);
        }
    }

    fn token(byte: u8) -> PoolToken {
        PoolToken([byte; proto::limits::TOKEN_BYTES])
    }

    #[test]
    fn opens_only_what_was_sealed_here_for_this() {
        let sealer = Sealer::new(&token(1));
        let sealed = sealer.seal(&mut SystemRng, &of_key("AKIA1"), "secret");
        assert_eq!(sealer.open(&of_key("AKIA1"), &sealed.0).as_deref(), Some("secret"));
        assert_eq!(sealer.open(&of_key("AKIA2"), &sealed.0), None, "moved to another key");
        assert_eq!(Sealer::new(&token(2)).open(&of_key("AKIA1"), &sealed.0), None, "another pool's");
        assert_ne!(sealer.seal(&mut SystemRng, &of_key("AKIA1"), "secret"), sealed);
        for at in 0..sealed.0.len() {
            let mut bad = sealed.0.clone();
            bad[at] ^= 1;
            assert_eq!(sealer.open(&of_key("AKIA1"), &bad), None, "byte {at}");
            assert_eq!(sealer.open(&of_key("AKIA1"), &sealed.0[..at]), None, "cut at {at}");
        }
        assert!(!format!("{sealer:?} {sealed:?}").contains("secret"));
    }

    #[test]
    fn golden_bytes_never_change() {
        let sealer = Sealer::new(&token(7));
        let sealed = hex::encode(sealer.seal(&mut Zeros, &of_key("AKIA"), "secret").0);
        assert_eq!(sealed, "01000000000000000000000000f1272be968893efffc410fb2bbfc0de1fbc6e5ab5301");
    }
}
