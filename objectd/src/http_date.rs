//! Times as HTTP and S3's XML write them.

use time::format_description::well_known::{Iso8601, Rfc2822};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// `Sun, 06 Nov 1994 08:49:37 GMT` from milliseconds since 1970.
pub fn http(ms: u64) -> String {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    at(ms).format(&format).expect("a date in range has every component")
}

/// `1994-11-06T08:49:37.123Z` from milliseconds since 1970.
pub fn iso(ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
    at(ms).format(&format).expect("a date in range has every component")
}

/// `06/Nov/1994:08:49:37 +0000`, as access logs have it.
pub fn access_log(ms: u64) -> String {
    let format = format_description!("[day]/[month repr:short]/[year]:[hour]:[minute]:[second] +0000");
    at(ms).format(&format).expect("a date in range has every component")
}

/// `1994/11/06`
pub fn day(ms: u64) -> String {
    at(ms).format(format_description!("[year]/[month]/[day]")).expect("a date in range has every component")
}

/// `1994-11-06-08-49-37`
pub fn dashed(ms: u64) -> String {
    let format = format_description!("[year]-[month]-[day]-[hour]-[minute]-[second]");
    at(ms).format(&format).expect("a date in range has every component")
}

/// Seconds since 1970 of an HTTP date or, as S3 also takes, an ISO 8601 one.
pub fn parse(text: &str) -> Option<u64> {
    let gmt = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let text = text.trim();
    let seconds = PrimitiveDateTime::parse(text, &gmt)
        .map(|date| date.assume_utc())
        .or_else(|_| OffsetDateTime::parse(text, &Rfc2822))
        .or_else(|_| OffsetDateTime::parse(text, &Iso8601::DEFAULT))
        .ok()?
        .unix_timestamp();
    u64::try_from(seconds).ok()
}

/// Milliseconds since 1970 of an ISO 8601 time.
pub fn parse_iso_ms(text: &str) -> Option<u64> {
    let nanos = OffsetDateTime::parse(text.trim(), &Iso8601::DEFAULT).ok()?.unix_timestamp_nanos();
    u64::try_from(nanos.div_euclid(1_000_000)).ok()
}

fn at(ms: u64) -> OffsetDateTime {
    let nanos = i128::from(ms) * 1_000_000;
    OffsetDateTime::from_unix_timestamp_nanos(nanos).unwrap_or(OffsetDateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        let ms = 784_111_777_123;
        assert_eq!(http(ms), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(iso(ms), "1994-11-06T08:49:37.123Z");
        for text in [http(ms), iso(ms), "Sun, 06 Nov 1994 08:49:37 +0000".to_owned()] {
            assert_eq!(parse(&text), Some(784_111_777), "{text}");
        }
        assert_eq!(parse_iso_ms(&iso(ms)), Some(ms));
        assert_eq!(parse_iso_ms("1994-11-06T09:49:37.123+01:00"), Some(ms));
        assert_eq!(parse_iso_ms(&http(ms)), None);
        for bad in ["", "yesterday", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
