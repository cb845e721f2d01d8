//! Which names of buckets and keys are taken.
//!
//! Source: S3 user guide, "General purpose buckets naming rules" and "Naming Amazon S3 objects".

use crate::error::{S3Code, S3Error, S3Result};
use crate::limits::MAX_KEY_BYTES;

/// Checks a new or named bucket against AWS's rules.
pub fn check_bucket(name: &str) -> S3Result<()> {
    if is_bucket_name(name) {
        Ok(())
    } else {
        Err(S3Error::new(S3Code::InvalidBucketName).extra("BucketName", name))
    }
}

/// Whether AWS would take `name` for a bucket.
pub fn is_bucket_name(name: &str) -> bool {
    const PREFIXES: [&str; 3] = ["xn--", "sthree-", "amzn-s3-demo-"];
    const SUFFIXES: [&str; 5] = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];
    let edge = |byte: Option<&u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    let bytes = name.as_bytes();
    (3..=63).contains(&bytes.len())
        && bytes.iter().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
        && edge(bytes.first())
        && edge(bytes.last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !PREFIXES.iter().any(|prefix| name.starts_with(prefix))
        && !SUFFIXES.iter().any(|suffix| name.ends_with(suffix))
}

/// Checks a key: 1 to 1,024 bytes, no NUL (no XML and no C client can name one).
pub fn check_key(key: &str) -> S3Result<()> {
    if key.len() > MAX_KEY_BYTES {
        return Err(S3Error::new(S3Code::KeyTooLongError)
            .extra("Size", key.len().to_string())
            .extra("MaxSizeAllowed", MAX_KEY_BYTES.to_string()));
    }
    if key.is_empty() || key.contains('\0') {
        return Err(S3Error::with(S3Code::InvalidArgument, "A key is 1 to 1024 bytes of UTF-8 without NUL"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_follow_aws() {
        let long = "a".repeat(63);
        for good in ["abc", "a-b.c", "1a2", "my.bucket-1", long.as_str(), "1.2.3", "a.b-c"] {
            assert!(is_bucket_name(good), "{good}");
        }
        let too_long = "a".repeat(64);
        let bad = [
            "",
            "ab",
            "Abc",
            "a_b",
            "-ab",
            "ab-",
            ".ab",
            "ab.",
            "a..b",
            "192.168.5.4",
            "xn--abc",
            "abc-s3alias",
            "a/b",
            "a b",
            "abç",
            "a%2f",
            "sthree-x",
            too_long.as_str(),
            "abc--x-s3",
        ];
        for bad in bad {
            assert!(!is_bucket_name(bad), "{bad}");
        }
    }

    #[test]
    fn keys_are_bounded_and_otherwise_free() {
        for good in ["a", "..", "../../etc/passwd", "a//b", "\\", "%2F", "é", "a\r\nb", " ", "\u{1}"] {
            assert!(check_key(good).is_ok(), "{good:?}");
        }
        assert!(check_key(&"k".repeat(1024)).is_ok());
        assert_eq!(check_key(&"k".repeat(1025)).unwrap_err().code(), S3Code::KeyTooLongError);
        assert_eq!(check_key("").unwrap_err().code(), S3Code::InvalidArgument);
        assert_eq!(check_key("a\0").unwrap_err().code(), S3Code::InvalidArgument);
    }
}
