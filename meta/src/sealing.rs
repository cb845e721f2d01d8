//! How the data of objects is encrypted, as far as the control plane keeps it: which key opens what. It has none of the
//! keys itself, and never looks into what is sealed.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Names a pool key; made from it, so that another key has another name. 16 hexadecimal digits in text.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PoolKeyId(pub [u8; 8]);

impl fmt::Display for PoolKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for PoolKeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PoolKeyId({self})")
    }
}

impl FromStr for PoolKeyId {
    type Err = hex::FromHexError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut id = [0; 8];
        hex::decode_to_slice(text, &mut id)?;
        Ok(Self(id))
    }
}

/// Who can open an object's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum SealedBy {
    /// Gateways that have this pool key.
    Pool(PoolKeyId),
    /// Whoever has the key that the client sent with the object (SSE-C).
    Customer,
}

/// What the key of one part's data is derived with, beside the object's own: new at every upload of a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSalt(pub [u8; 16]);

/// How an object's data is encrypted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealing {
    pub by: SealedBy,
    /// The object's own key, encrypted.
    pub wrapped: Vec<u8>,
    /// Of each part, in order; empty of an object that was not put in parts, and of an upload.
    pub salts: Vec<PartSalt>,
}

/// A pool key that gateways told of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolKeyRecord {
    pub id: PoolKeyId,
    pub noted_ms: u64,
    /// Objects and unfinished uploads whose keys only it opens.
    pub uses: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = PoolKeyId([1, 2, 3, 4, 5, 6, 7, 255]);
        assert_eq!(id.to_string(), "01020304050607ff");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("0102".parse::<PoolKeyId>().is_err());
    }
}
