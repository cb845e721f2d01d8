//! Times as HTTP and S3's XML write them.

use std::time::Duration;
use time::format_description::well_known::{Iso8601, Rfc2822};
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// `Sun, 06 Nov 1994 08:49:37 GMT` from milliseconds since 1970.
pub fn http(ms: u64) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = at(ms);
    let day = DAYS[usize::from(at.weekday().number_days_from_monday())];
    let month = MONTHS[usize::from(u8::from(at.month())) - 1];
    let mut text = String::with_capacity(32);
    text.extend([day, ", "]);
    two(&mut text, at.day());
    text.extend([" ", month, " "]);
    year(&mut text, at);
    text.push(' ');
    clock(&mut text, at);
    text.push_str(" GMT");
    text
}

/// Written by hand, as a list has a thousand of them.
fn two(text: &mut String, number: u8) {
    text.push(char::from(b'0' + number / 10));
    text.push(char::from(b'0' + number % 10));
}

fn year(text: &mut String, at: OffsetDateTime) {
    // Until 9999.
    let year = at.year().rem_euclid(10_000);
    let part = |part: i32| u8::try_from(part).unwrap_or(0);
    two(text, part(year / 100));
    two(text, part(year % 100));
}

fn clock(text: &mut String, at: OffsetDateTime) {
    two(text, at.hour());
    text.push(':');
    two(text, at.minute());
    text.push(':');
    two(text, at.second());
}

/// `1994-11-06T08:49:37.123Z` from milliseconds since 1970.
pub fn iso(ms: u64) -> String {
    let at = at(ms);
    let mut text = String::with_capacity(32);
    year(&mut text, at);
    text.push('-');
    two(&mut text, u8::from(at.month()));
    text.push('-');
    two(&mut text, at.day());
    text.push('T');
    clock(&mut text, at);
    let millisecond = at.millisecond();
    text.push('.');
    text.push(char::from(b'0' + u8::try_from(millisecond / 100).unwrap_or(0)));
    two(&mut text, u8::try_from(millisecond % 100).unwrap_or(0));
    text.push('Z');
    text
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
    let whole = i64::try_from(ms / 1000).ok().and_then(|s| OffsetDateTime::from_unix_timestamp(s).ok());
    let rest = Duration::from_millis(ms % 1000);
    whole.map_or(OffsetDateTime::UNIX_EPOCH, |whole| whole + rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_by_hand_is_what_the_library_writes() {
        let http_form = format_description!(
            "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
        );
        let iso_form =
            format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");
        // Up to 9999, in steps that meet every weekday, month and part of a second.
        for ms in (0..253_402_300_799_999u64).step_by(86_461_234_567) {
            assert_eq!(http(ms), at(ms).format(&http_form).unwrap());
            assert_eq!(iso(ms), at(ms).format(&iso_form).unwrap());
        }
        assert_eq!(iso(u64::MAX), "1970-01-01T00:00:00.000Z");
    }

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
