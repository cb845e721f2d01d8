//! How objects' keys are kept: each encrypted with a key that is derived, for it alone, from a pool key or from the key
//! that a client sent. It opens only for the name that it was sealed for.

use super::cipher::{DataKey, KEY_BYTES, aead_key, derive};
use md5::{Digest as _, Md5};
use meta::sealing::PoolKeyId;
use ring::aead::{Aad, NONCE_LEN, Nonce};
use rt::rng::Rng;
use std::fmt;
use std::ops::Deref;

const VERSION: u8 = 1;
const SALT_BYTES: usize = 16;
const POOL_LABEL: &[u8] = b"ashlar pool key 1";
const CUSTOMER_LABEL: &[u8] = b"ashlar customer key 1";
const ID_LABEL: &[u8] = b"ashlar pool key id 1";

/// A key that wraps others. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct PoolKey {
    pub id: PoolKeyId,
    key: [u8; KEY_BYTES],
}

impl fmt::Debug for PoolKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl PoolKey {
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&derive(&key, &[ID_LABEL])[..8]);
        Self { id: PoolKeyId(id), key }
    }

    pub fn random(rng: &mut impl Rng) -> Self {
        let mut key = [0; KEY_BYTES];
        rng.fill(&mut key);
        Self::new(key)
    }

    /// For the key file alone.
    pub fn secret(&self) -> &[u8; KEY_BYTES] {
        &self.key
    }

    pub fn wrap(&self, rng: &mut impl Rng, name: Name<'_>, data_key: &DataKey) -> Vec<u8> {
        wrap(rng, (POOL_LABEL, &self.key), name, data_key)
    }

    pub fn unwrap(&self, name: Name<'_>, wrapped: &[u8]) -> Option<DataKey> {
        unwrap((POOL_LABEL, &self.key), name, wrapped)
    }
}

/// The key that a client sent with its request (SSE-C). It is never kept; `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct CustomerKey {
    key: [u8; KEY_BYTES],
    md5: [u8; 16],
}

impl fmt::Debug for CustomerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CustomerKey(redacted)")
    }
}

impl CustomerKey {
    pub fn new(key: [u8; KEY_BYTES]) -> Self {
        Self { md5: Md5::digest(key).into(), key }
    }

    pub fn md5(&self) -> &[u8; 16] {
        &self.md5
    }

    pub fn wrap(&self, rng: &mut impl Rng, name: Name<'_>, data_key: &DataKey) -> Vec<u8> {
        wrap(rng, (CUSTOMER_LABEL, &self.key), name, data_key)
    }

    /// `None` for another key than the object's.
    pub fn unwrap(&self, name: Name<'_>, wrapped: &[u8]) -> Option<DataKey> {
        unwrap((CUSTOMER_LABEL, &self.key), name, wrapped)
    }
}

/// What a key is sealed for: the object's bucket and key.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a> {
    pub bucket: &'a str,
    pub key: &'a str,
}

impl Name<'_> {
    /// Names of buckets have no slash.
    fn authenticated(self) -> Vec<u8> {
        [self.bucket, "/", self.key].concat().into_bytes()
    }
}

/// A key that is used once needs no other nonce than this.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn wrap(
    rng: &mut impl Rng,
    (label, key): (&[u8], &[u8; KEY_BYTES]),
    name: Name<'_>,
    data_key: &DataKey,
) -> Vec<u8> {
    let mut salt = [0; SALT_BYTES];
    rng.fill(&mut salt);
    let mut body = data_key.bytes().to_vec();
    aead_key(&derive(key, &[label, &salt]))
        .seal_in_place_append_tag(nonce(), Aad::from(name.authenticated()), &mut body)
        .expect("a key is far below what one nonce may seal");
    let mut wrapped = vec![VERSION];
    wrapped.extend_from_slice(&salt);
    wrapped.append(&mut body);
    wrapped
}

fn unwrap((label, key): (&[u8], &[u8; KEY_BYTES]), name: Name<'_>, wrapped: &[u8]) -> Option<DataKey> {
    let (version, rest) = wrapped.split_first()?;
    let (salt, body) = rest.split_at_checked(SALT_BYTES)?;
    if *version != VERSION {
        return None;
    }
    let mut body = body.to_vec();
    let opened = aead_key(&derive(key, &[label, salt]))
        .open_in_place(nonce(), Aad::from(name.authenticated()), &mut body)
        .ok()?;
    Some(DataKey::new(opened.deref().try_into().ok()?))
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

    const NAME: Name<'_> = Name { bucket: "buc", key: "a/b" };

    #[test]
    fn opens_only_with_its_key_for_its_name() {
        let (pool, data) = (PoolKey::random(&mut SystemRng), DataKey::random(&mut SystemRng));
        let wrapped = pool.wrap(&mut SystemRng, NAME, &data);
        assert_eq!(pool.unwrap(NAME, &wrapped), Some(data.clone()));
        assert_eq!(pool.unwrap(Name { key: "a/c", ..NAME }, &wrapped), None, "moved to another name");
        assert_eq!(PoolKey::random(&mut SystemRng).unwrap(NAME, &wrapped), None);
        assert_eq!(CustomerKey::new(*pool.secret()).unwrap(NAME, &wrapped), None, "for another use");
        assert_ne!(pool.wrap(&mut SystemRng, NAME, &data), wrapped);
        for at in 0..wrapped.len() {
            let mut bad = wrapped.clone();
            bad[at] ^= 1;
            assert_eq!(pool.unwrap(NAME, &bad), None, "byte {at}");
            assert_eq!(pool.unwrap(NAME, &wrapped[..at]), None, "cut at {at}");
        }
        let shown = format!("{pool:?} {data:?} {:?}", CustomerKey::new([0x61; 32]));
        assert!(!shown.contains("97, 97") && !shown.contains(&hex::encode(pool.secret())));
    }

    #[test]
    fn golden_bytes_never_change() {
        let (pool, customer) = (PoolKey::new([7; 32]), CustomerKey::new([8; 32]));
        assert_eq!(pool.id.to_string(), GOLDEN_ID);
        let data = DataKey::new([9; 32]);
        assert_eq!(hex::encode(pool.wrap(&mut Zeros, NAME, &data)), GOLDEN_POOL);
        assert_eq!(hex::encode(customer.wrap(&mut Zeros, NAME, &data)), GOLDEN_CUSTOMER);
    }

    /// As another implementation of HMAC and AES-GCM (Python's cryptography) makes them.
    const GOLDEN_ID: &str = "459e067e5d0d72ab";
    const GOLDEN_POOL: &str = "01000000000000000000000000000000001cd0dd4c628fd8248c748dc10356b3b2\
        fb398ea9257b342c1399609914a4bbf0e47e9554b302616aa05225aff5cb3d28";
    const GOLDEN_CUSTOMER: &str = "010000000000000000000000000000000073c79aa91b2f13ee18dafe40c4126220\
        a55100609e65d17bc06ce5af843a145af16290cd56a0d5068e3668c3d640fb1d";
}
