//! The times that requests carry.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{OffsetDateTime, PrimitiveDateTime};

/// A request's time to the second, in the `YYYYMMDD'T'HHMMSS'Z'` form that is signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timestamp {
    text: String,
    unix_s: i64,
}

impl Timestamp {
    /// Reads `20130524T000000Z`; `None` for anything else.
    pub fn parse_basic(text: &str) -> Option<Timestamp> {
        let bytes = text.as_bytes();
        // The format description alone would let signs and other widths through.
        let shape_ok = bytes.len() == 16
            && bytes[8] == b'T'
            && bytes[15] == b'Z'
            && bytes[..8].iter().chain(&bytes[9..15]).all(u8::is_ascii_digit);
        if !shape_ok {
            return None;
        }
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let time = PrimitiveDateTime::parse(text, format).ok()?.assume_utc();
        Some(Timestamp { text: text.to_owned(), unix_s: time.unix_timestamp() })
    }

    /// Reads an HTTP `Date` header.
    pub fn parse_http(text: &str) -> Option<Timestamp> {
        // RFC 2822 knows `GMT` as a zone, which makes it read HTTP's preferred form.
        let time = OffsetDateTime::parse(text, &Rfc2822).ok()?;
        Timestamp::from_unix_s(time.unix_timestamp())
    }

    pub fn from_unix_s(unix_s: i64) -> Option<Timestamp> {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let text = OffsetDateTime::from_unix_timestamp(unix_s).ok()?.format(format).ok()?;
        Timestamp::parse_basic(&text)
    }

    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `YYYYMMDD`.
    pub fn date(&self) -> &str {
        &self.text[..8]
    }

    pub fn unix_s(&self) -> i64 {
        self.unix_s
    }

    pub fn plus_s(&self, seconds: i64) -> Option<Timestamp> {
        Timestamp::from_unix_s(self.unix_s.checked_add(seconds)?)
    }

    /// `2013-05-24T00:00:00Z`, the form in error answers.
    pub fn extended(&self) -> String {
        let t = &self.text;
        format!("{}-{}-{}T{}:{}:{}Z", &t[..4], &t[4..6], &t[6..8], &t[9..11], &t[11..13], &t[13..15])
    }

    /// As the standard library's time; before 1970 it is 1970, which no scope date accepts.
    pub fn system_time(&self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(u64::try_from(self.unix_s).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_forms() {
        let basic = Timestamp::parse_basic("20130524T000000Z").expect("basic");
        assert_eq!(basic.unix_s(), 1_369_353_600);
        assert_eq!(basic.date(), "20130524");
        assert_eq!(basic.extended(), "2013-05-24T00:00:00Z");
        assert_eq!(Timestamp::parse_http("Fri, 24 May 2013 00:00:00 GMT"), Some(basic));
    }

    #[test]
    fn refuses_other_forms() {
        for bad in [
            "",
            "20130524",
            "20130524T000000",
            "20130524T000000z",
            "2013-05-24T00:00:00Z",
            "20131324T000000Z",
            "20130524T250000Z",
            "+0130524T000000Z",
            "20130524T0000é0Z",
        ] {
            assert_eq!(Timestamp::parse_basic(bad), None, "{bad}");
        }
        assert_eq!(Timestamp::parse_http("yesterday"), None);
    }
}
