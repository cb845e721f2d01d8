//! `Range` of GET and HEAD, and `x-amz-copy-source-range`.

use std::ops::Range;

/// What a `Range` header asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeSpec {
    /// `bytes=first-last`, both included.
    FirstLast { first: u64, last: u64 },
    /// `bytes=first-`.
    From(u64),
    /// `bytes=-count`: the last `count` bytes.
    Suffix(u64),
}

/// A range that no byte of the object falls into: 416.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unsatisfiable;

/// Parses a `Range` header. `None` is a header to be ignored, as RFC 9110 and S3 have it: another unit, several
/// ranges, or bad syntax.
pub fn parse(header: &str) -> Option<RangeSpec> {
    let (unit, set) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") || set.contains(',') {
        return None;
    }
    let (first, last) = set.trim().split_once('-')?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => None,
        (true, false) => Some(RangeSpec::Suffix(number(last)?)),
        (false, true) => Some(RangeSpec::From(number(first)?)),
        (false, false) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then_some(RangeSpec::FirstLast { first, last })
        }
    }
}

/// Digits only; past 2^64 is the same as "past every object".
fn number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().unwrap_or(u64::MAX))
}

impl RangeSpec {
    /// The bytes of an object of `len` bytes that are asked for; never empty.
    pub fn resolve(self, len: u64) -> Result<Range<u64>, Unsatisfiable> {
        let range = match self {
            RangeSpec::FirstLast { first, last } => first..last.saturating_add(1).min(len),
            RangeSpec::From(first) => first..len,
            RangeSpec::Suffix(count) => len.saturating_sub(count)..len,
        };
        if range.start < range.end { Ok(range) } else { Err(Unsatisfiable) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table() {
        let cases = [
            ("bytes=0-0", 10, Some(Ok(0..1))),
            ("bytes=0-9", 10, Some(Ok(0..10))),
            ("bytes=0-99", 10, Some(Ok(0..10))),
            ("bytes=5-", 10, Some(Ok(5..10))),
            ("bytes=-3", 10, Some(Ok(7..10))),
            ("bytes=-30", 10, Some(Ok(0..10))),
            ("Bytes = 1-2", 10, Some(Ok(1..3))),
            ("bytes=9-9", 10, Some(Ok(9..10))),
            ("bytes=10-", 10, Some(Err(Unsatisfiable))),
            ("bytes=10-20", 10, Some(Err(Unsatisfiable))),
            ("bytes=-0", 10, Some(Err(Unsatisfiable))),
            ("bytes=0-", 0, Some(Err(Unsatisfiable))),
            ("bytes=-1", 0, Some(Err(Unsatisfiable))),
            ("bytes=18446744073709551616-", 10, Some(Err(Unsatisfiable))),
            ("bytes=0-18446744073709551616", 10, Some(Ok(0..10))),
            ("bytes=18446744073709551615-18446744073709551615", 10, Some(Err(Unsatisfiable))),
            ("bytes=5-4", 10, None),
            ("bytes=0-1,3-4", 10, None),
            ("items=0-1", 10, None),
            ("bytes=-", 10, None),
            ("bytes=a-b", 10, None),
            ("bytes=+1-2", 10, None),
            ("bytes", 10, None),
            ("", 10, None),
        ];
        for (header, len, expected) in cases {
            assert_eq!(parse(header).map(|spec| spec.resolve(len)), expected, "{header} of {len}");
        }
    }
}
