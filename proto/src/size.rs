//! Sizes as people write them: `4096`, `64K`, `2G`, `1.5T`, `10GiB`. Units are powers of 1024.

use std::fmt;

/// Bytes of a size in text.
pub fn parse(text: &str) -> Result<u64, BadSize> {
    let bad = || BadSize(text.to_owned());
    let split = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let shift = match unit.trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 10,
        "M" | "m" => 20,
        "G" | "g" => 30,
        "T" | "t" => 40,
        "P" | "p" => 50,
        _ => return Err(bad()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(bad);
    }
    let (whole, fraction) = number.split_once('.').ok_or_else(bad)?;
    if fraction.is_empty() || fraction.len() > 6 || shift == 0 {
        return Err(bad());
    }
    let whole: u64 = whole.parse().map_err(|_| bad())?;
    let digits: u64 = fraction.parse().map_err(|_| bad())?;
    let scale = 10u64.pow(u32::try_from(fraction.len()).map_err(|_| bad())?);
    let part = (u128::from(digits) << shift) / u128::from(scale);
    let total = (u128::from(whole) << shift) + part;
    u64::try_from(total).map_err(|_| bad())
}

/// A size as people read it: two significant places, in the largest unit that keeps it at 1 or above.
pub fn show(bytes: u64) -> String {
    const UNITS: [&str; 6] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
    let mut unit = 0;
    let mut shift = 0;
    while unit + 1 < UNITS.len() && bytes >> (shift + 10) > 0 {
        unit += 1;
        shift += 10;
    }
    if unit == 0 {
        return format!("{bytes} B");
    }
    let tenths = (u128::from(bytes) * 10 + (1u128 << (shift - 1))) >> shift;
    if tenths.is_multiple_of(10) {
        format!("{} {}", tenths / 10, UNITS[unit])
    } else {
        format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
    }
}

/// Text that is not a size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSize(String);

impl fmt::Display for BadSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "'{}' is not a size; write bytes or a number with K, M, G, T or P, such as 2G", self.0)
    }
}

impl std::error::Error for BadSize {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parses_what_people_write() {
        for (text, bytes) in
            [("0", 0), ("512", 512), ("4K", 4096), ("2G", 2 << 30), ("1.5T", 3 << 39), ("10GiB", 10 << 30)]
        {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
        for text in ["", "G", "-1", "1.2", "2X", "1..5G", "99999999999P", "2 G", "0x10", "1e3"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn shows_two_places() {
        assert_eq!(show(0), "0 B");
        assert_eq!(show(2 << 30), "2 GiB");
        assert_eq!(show(1536), "1.5 KiB");
    }
}
