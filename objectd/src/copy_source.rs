//! `x-amz-copy-source`.

use crate::auth::single_header;
use crate::auth::uri::decode_path;
use crate::error::{S3Code, S3Error, S3Result};
use crate::names;
use crate::version;
use http::{HeaderMap, HeaderName};
use meta::object::VersionRef;

/// The object to copy from. Its names are decoded once and never normalised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopySource {
    pub bucket: String,
    pub key: String,
    pub version: Option<VersionRef>,
}

impl CopySource {
    /// The request's copy source, if it has one: `/bucket/key` or `bucket/key`, percent-encoded.
    pub fn of(headers: &HeaderMap) -> S3Result<Option<Self>> {
        let name = HeaderName::from_static("x-amz-copy-source");
        single_header(headers, &name)?.map(Self::parse).transpose()
    }

    fn parse(text: &str) -> S3Result<Self> {
        let bad = || {
            S3Error::with(
                S3Code::InvalidArgument,
                "Copy Source must mention the source bucket and key: sourcebucket/sourcekey",
            )
            .extra("ArgumentName", "x-amz-copy-source")
            .extra("ArgumentValue", text)
        };
        let (path, version) = match text.split_once("?versionId=") {
            Some((path, version)) => (path, Some(version)),
            None => (text, None),
        };
        let version = version.map(|version| version::parse(version, "x-amz-copy-source")).transpose()?;
        // Clients encode the slash after the bucket too (`bucket%2Fkey`): decode first, split after.
        let path = decode_path(path)?;
        let path = path.strip_prefix('/').unwrap_or(&path);
        let (bucket, key) = path.split_once('/').ok_or_else(bad)?;
        if !names::is_bucket_name(bucket) || key.is_empty() {
            return Err(bad());
        }
        names::check_key(key)?;
        Ok(Self { bucket: bucket.to_owned(), key: key.to_owned(), version })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources() {
        let parse = |text| CopySource::parse(text).map(|s| (s.bucket, s.key)).map_err(|error| error.code());
        let ok = |bucket: &str, key: &str| Ok((bucket.to_owned(), key.to_owned()));
        assert_eq!(parse("buc/k"), ok("buc", "k"));
        assert_eq!(parse("/buc/a%20b/c+d"), ok("buc", "a b/c+d"));
        assert_eq!(parse("buc%2Fk"), ok("buc", "k"));
        assert_eq!(parse("buc/k?versionId=null"), ok("buc", "k"));
        // Dots are part of the key: they never leave the bucket.
        assert_eq!(parse("buc/../other/k"), ok("buc", "../other/k"));
        for bad in ["", "/", "buc", "buc/", "/buc/", "../buc/k", "arn:aws:s3:::b/k", "B_d/k"] {
            assert_eq!(parse(bad), Err(S3Code::InvalidArgument), "{bad}");
        }
        for bad in ["buc/k?versionId=3", "buc/k?versionId="] {
            assert_eq!(parse(bad), Err(S3Code::InvalidArgument));
        }
        let named = CopySource::parse("buc/k?versionId=0123456789abcdef0123456789abcdef").unwrap();
        assert_eq!(named.version.unwrap().to_string(), "0123456789abcdef0123456789abcdef");
        assert_eq!(parse("buc/%zz"), Err(S3Code::InvalidURI));
    }
}
