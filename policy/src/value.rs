//! The values that conditions compare: exact numbers, instants, address ranges.

use std::net::IpAddr;

use crate::limits::{MAX_FRACTION_DIGITS, MAX_INTEGER_DIGITS};

/// A decimal number, exactly: billionths of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Decimal(i128);

impl Decimal {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (negative, digits) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
        let good = |part: &str, limit| {
            (1..=limit).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
        };
        if !good(whole, MAX_INTEGER_DIGITS) || !good(fraction, MAX_FRACTION_DIGITS) {
            return None;
        }
        let scaled: i128 = format!("{whole}{fraction:0<MAX_FRACTION_DIGITS$}").parse().ok()?;
        Some(Self(if negative { -scaled } else { scaled }))
    }
}

/// An instant: seconds since 1970 in UTC, and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instant {
    seconds: i64,
    nanos: u32,
}

impl Instant {
    /// Reads seconds since 1970, or W3C's profile of ISO 8601: `2026`, `2026-11`, `2026-11-23`,
    /// `2026-11-23T01:02Z`, `2026-11-23T01:02:03.5+02:00`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        if text.len() != 4 && !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(Self { seconds: text.parse().ok()?, nanos: 0 });
        }
        let (date, time) = match text.split_once('T') {
            Some((date, time)) => (date, Some(time)),
            None => (text, None),
        };
        let mut parts = date.split('-');
        let year = number(parts.next()?, 4)?;
        let month = parts.next().map_or(Some(1), |part| number(part, 2))?;
        let day = parts.next().map_or(Some(1), |part| number(part, 2))?;
        let full = date.len() == "2026-11-23".len();
        if parts.next().is_some() || !valid_day(year, month, day) || (time.is_some() && !full) {
            return None;
        }
        let midnight = days_since_1970(year, month, day) * 86_400;
        let (seconds, nanos) = time.map_or(Some((0, 0)), time_of_day)?;
        Some(Self { seconds: midnight + seconds, nanos })
    }
}

/// `text` as a number of exactly `digits` digits.
fn number(text: &str, digits: usize) -> Option<i64> {
    (text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

fn valid_day(year: i64, month: i64, day: i64) -> bool {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return false,
    };
    (1..=last).contains(&day)
}

/// Days from 1970-01-01 in the Gregorian calendar, by counting years from March.
fn days_since_1970(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let month_from_march = (month + 9) % 12;
    let leaps = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leaps + (153 * month_from_march + 2) / 5 + day - 1 - 719_468
}

/// Seconds (offset applied) and nanoseconds of `01:02Z`, `01:02:03Z`, `01:02:03.004+05:00`.
fn time_of_day(text: &str) -> Option<(i64, u32)> {
    let zone_at = text.find(['Z', '+', '-'])?;
    let (clock, zone) = text.split_at(zone_at);
    let offset = match zone {
        "Z" => 0,
        _ => {
            let (hours, minutes) = zone[1..].split_once(':')?;
            let (hours, minutes) = (number(hours, 2)?, number(minutes, 2)?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3600 + minutes * 60;
            if zone.starts_with('-') { -seconds } else { seconds }
        }
    };
    let mut parts = clock.splitn(3, ':');
    let (hours, minutes) = (number(parts.next()?, 2)?, number(parts.next()?, 2)?);
    let (seconds, nanos) = match parts.next() {
        None => (0, 0),
        Some(part) => {
            let (whole, fraction) = part.split_once('.').unwrap_or((part, "0"));
            if !(1..=9).contains(&fraction.len()) || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
                return None;
            }
            (number(whole, 2)?, format!("{fraction:0<9}").parse().ok()?)
        }
    };
    // A leap second counts as the next minute's first.
    (hours <= 23 && minutes <= 59 && seconds <= 60)
        .then_some((hours * 3600 + minutes * 60 + seconds - offset, nanos))
}

/// A range of addresses in CIDR notation; without a length, one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cidr {
    address: IpAddr,
    pub(crate) bits: u8,
}

impl Cidr {
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most: u8 = if address.is_ipv4() { 32 } else { 128 };
        let bits: u8 = match bits {
            None => most,
            Some(bits) if !bits.is_empty() && bits.bytes().all(|byte| byte.is_ascii_digit()) => {
                bits.parse().ok().filter(|bits| *bits <= most)?
            }
            Some(_) => return None,
        };
        // IPv4 inside IPv6 is IPv4; a wider range around it would be both, so it is refused.
        match address.to_canonical() {
            mapped @ IpAddr::V4(_) if address.is_ipv6() => {
                Some(Self { address: mapped, bits: bits.checked_sub(96)? })
            }
            _ => Some(Self { address, bits }),
        }
    }

    /// Whether `address` is in it. An IPv4 address that arrived by an IPv6 socket is the IPv4 address.
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let shift = |width: u32| width - u32::from(self.bits);
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(range), IpAddr::V4(address)) => {
                let cut = |address| u32::checked_shr(u32::from(address), shift(32)).unwrap_or(0);
                cut(range) == cut(address)
            }
            (IpAddr::V6(range), IpAddr::V6(address)) => {
                let cut = |address| u128::checked_shr(u128::from(address), shift(128)).unwrap_or(0);
                cut(range) == cut(address)
            }
            _ => false,
        }
    }

    pub(crate) fn is_ipv4(&self) -> bool {
        self.address.is_ipv4()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact() {
        let decimal = |text| Decimal::parse(text).expect(text);
        assert_eq!(decimal("10"), decimal("10.0"));
        assert_eq!(decimal("-0"), decimal("0.000"));
        assert!(decimal("0.1") < decimal("0.100000001"));
        assert!(decimal("-2") < decimal("-1.5"));
        assert!(decimal("999999999999999999") > decimal("999999999999999998.9"));
        for text in ["", "-", "1.", ".5", "1e3", "+1", "0x1", " 1", "1234567890123456789", "0.1234567890"] {
            assert_eq!(Decimal::parse(text), None, "{text}");
        }
    }

    #[test]
    fn instants_in_every_spelling() {
        let instant = |text| Instant::parse(text).expect(text);
        assert_eq!(instant("1970-01-01"), instant("0"));
        assert_eq!(instant("2000-03-01T00:00:00Z").seconds, 951_868_800);
        assert_eq!(instant("2024-02-29T23:59:59Z").seconds, 1_709_251_199);
        assert_eq!(instant("2026"), instant("2026-01-01T00:00Z"));
        assert_eq!(instant("2026-11-23T03:00:00+02:00"), instant("2026-11-23T01:00:00Z"));
        assert!(instant("2026-11-23T01:00:00.5Z") > instant("2026-11-23T01:00:00Z"));
        assert!(instant("1969-12-31").seconds < 0);
        for text in
            ["", "2026-13", "2026-02-29", "2026-11T01:00Z", "2026-11-23T01:00", "2026-11-23T25:00Z", "x"]
        {
            assert_eq!(Instant::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ranges_of_addresses() {
        let has =
            |cidr: &str, address: &str| Cidr::parse(cidr).expect(cidr).contains(address.parse().unwrap());
        assert!(has("10.0.0.0/8", "10.255.255.255") && !has("10.0.0.0/8", "11.0.0.0"));
        assert!(has("0.0.0.0/0", "255.255.255.255") && !has("0.0.0.0/0", "::2"));
        assert!(has("::/0", "2001:db8::1") && has("2001:db8::/32", "2001:db8:ffff::"));
        assert!(has("192.0.2.1", "192.0.2.1") && !has("192.0.2.1", "192.0.2.2"));
        assert!(has("192.0.2.0/24", "::ffff:192.0.2.7"));
        assert!(has("::ffff:10.0.0.0/104", "10.1.1.1") && !has("::ffff:10.0.0.0/104", "11.1.1.1"));
        assert!(Cidr::parse("::ffff:0:0/96").is_some_and(|range| range.is_ipv4() && range.bits == 0));
        for text in
            ["", "::ffff:0:0/90", "10.0.0.0/33", "10.0.0.0/", "10.0.0/8", "10.0.0.0/+8", "::/129", "a"]
        {
            assert_eq!(Cidr::parse(text), None, "{text}");
        }
    }
}
