//! Which bucket and key a request names. Decoded once, here: the name that is authorized is the name that is
//! stored (HOSTILE 9).

use crate::auth::uri::{Query, decode_path};
use crate::error::{S3Code, S3Error, S3Result};
use crate::names;

/// The bucket and key of a request, decoded. No path is normalised: `..`, `//` and `%2F` are parts of keys.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    pub bucket: Option<String>,
    pub key: Option<String>,
}

impl Target {
    /// Reads the target of a request to `host` (port and all) with the raw path `path`. A host of the form
    /// `BUCKET.BASE` names the bucket (virtual-host addressing); else the path's first segment does.
    pub fn parse(host: &str, path: &str, bases: &[String]) -> S3Result<Self> {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = match virtual_bucket(host, bases) {
            Some(bucket) => (bucket, path),
            None => {
                let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
                (decode_path(bucket)?, key)
            }
        };
        if bucket.is_empty() {
            return if key.is_empty() {
                Ok(Self::default())
            } else {
                Err(S3Error::new(S3Code::InvalidBucketName))
            };
        }
        names::check_bucket(&bucket)?;
        let key = decode_path(key)?;
        if key.is_empty() {
            return Ok(Self { bucket: Some(bucket), key: None });
        }
        names::check_key(&key)?;
        Ok(Self { bucket: Some(bucket), key: Some(key) })
    }
}

/// The bucket in `host`, if it is a name below one of the bases.
pub fn virtual_bucket(host: &str, bases: &[String]) -> Option<String> {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.to_ascii_lowercase();
    bases.iter().find_map(|base| {
        let bucket = name.strip_suffix(base.as_str())?.strip_suffix('.')?;
        (!bucket.is_empty()).then(|| bucket.to_owned())
    })
}

/// The value of a query parameter, unless it is absent or empty.
pub fn filled<'a>(query: &'a Query, name: &str) -> Option<&'a str> {
    query.get(name).filter(|value| !value.is_empty())
}

/// A query parameter that must be a whole number; more than `max` becomes `max`.
pub fn number(query: &Query, name: &'static str, max: u32) -> S3Result<Option<u32>> {
    filled(query, name).map(|text| number_of(text, name, max)).transpose()
}

/// The number that a parameter or header of this name says.
pub fn number_of(text: &str, name: &'static str, max: u32) -> S3Result<u32> {
    let bad = || {
        S3Error::with(S3Code::InvalidArgument, "Argument must be an integer between 0 and 2147483647")
            .extra("ArgumentName", name)
            .extra("ArgumentValue", text)
    };
    let value: i32 = text.parse().map_err(|_| bad())?;
    let value = u32::try_from(value).map_err(|_| bad())?;
    Ok(value.min(max))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(host: &str, path: &str) -> Result<(String, String), S3Code> {
        let bases = ["s3.example.com".to_owned(), "localhost".to_owned()];
        let target = Target::parse(host, path, &bases).map_err(|error| error.code())?;
        Ok((target.bucket.unwrap_or_default(), target.key.unwrap_or_default()))
    }

    #[test]
    fn path_and_virtual_host() {
        let cases = [
            ("127.0.0.1:9000", "/", ("", "")),
            ("127.0.0.1", "/buc", ("buc", "")),
            ("127.0.0.1", "/buc/", ("buc", "")),
            ("127.0.0.1", "/buc/k", ("buc", "k")),
            ("127.0.0.1", "/buc//k/", ("buc", "/k/")),
            ("127.0.0.1", "/buc/../x/./y", ("buc", "../x/./y")),
            ("127.0.0.1", "/buc/a%2Fb", ("buc", "a/b")),
            ("127.0.0.1", "/buc/a%252Fb", ("buc", "a%2Fb")),
            ("127.0.0.1", "/buc/a+b%20c", ("buc", "a+b c")),
            ("127.0.0.1", "/buc/%C3%A9%5c", ("buc", "é\\")),
            ("buc.s3.example.com", "/", ("buc", "")),
            ("Buc.S3.example.com:9000", "/k/x", ("buc", "k/x")),
            ("a.b.localhost:80", "/k", ("a.b", "k")),
            ("localhost", "/buc/k", ("buc", "k")),
            ("xlocalhost", "/buc/k", ("buc", "k")),
        ];
        for (host, path, (bucket, key)) in cases {
            assert_eq!(parse(host, path), Ok((bucket.to_owned(), key.to_owned())), "{host} {path}");
        }
    }

    #[test]
    fn bad_targets() {
        let cases = [
            ("/buc/%00", S3Code::InvalidArgument),
            ("/buc/%ff", S3Code::InvalidURI),
            ("/buc/%", S3Code::InvalidURI),
            ("/buc/%4", S3Code::InvalidURI),
            ("/buc/%+1", S3Code::InvalidURI),
            ("//k", S3Code::InvalidBucketName),
            ("/Bad_Name/k", S3Code::InvalidBucketName),
            ("/buc%2Fk", S3Code::InvalidBucketName),
            ("/../k", S3Code::InvalidBucketName),
        ];
        for (path, code) in cases {
            assert_eq!(parse("127.0.0.1", path), Err(code), "{path}");
        }
    }

    #[test]
    fn numbers() {
        let number =
            |raw: &str| number(&Query::parse(Some(raw)).unwrap(), "n", 1000).map_err(|error| error.code());
        assert_eq!(number("n=5000"), Ok(Some(1000)));
        assert_eq!(number("n=0"), Ok(Some(0)));
        assert_eq!(number("m=0"), Ok(None));
        for bad in ["n=-1", "n=x", "n=2147483648", "n=18446744073709551616"] {
            assert_eq!(number(bad), Err(S3Code::InvalidArgument), "{bad}");
        }
    }
}
