//! Which names, sizes and texts the state machine takes.

use crate::error::Refusal;
use crate::identity::BoundPrincipal;
use crate::limits::{
    ACCOUNT_DIGITS, MAX_ARN_BYTES, MAX_BOUND, MAX_IAM_NAME_CHARS, MAX_IAM_PATH_CHARS, MAX_KEY_BYTES,
    MAX_LABEL_BYTES, MAX_VOLUME_NAME_BYTES,
};

/// A volume's name: `[a-z0-9][a-z0-9._-]{0,62}`.
pub fn volume(name: &str) -> Result<(), Refusal> {
    short("a volume's name", name)
}

/// A webhook's name, which is in ARNs: as a volume's.
pub fn webhook(name: &str) -> Result<(), Refusal> {
    short("a webhook's name", name)
}

fn short(what: &str, name: &str) -> Result<(), Refusal> {
    let first = name.bytes().next().is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    let rest = name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || b"._-".contains(&c));
    if first && rest && name.len() <= MAX_VOLUME_NAME_BYTES {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "'{}' is not {what}: 1 to {MAX_VOLUME_NAME_BYTES} of a-z, 0-9, '.', '_', '-', starting with a letter or digit",
        shown(name)
    )))
}

/// A bucket's name, by S3's rules for general purpose buckets.
pub fn bucket(name: &str) -> Result<(), Refusal> {
    let alphanumeric = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = name.bytes().next().is_some_and(alphanumeric) && name.bytes().last().is_some_and(alphanumeric);
    let all = name.bytes().all(|c| alphanumeric(c) || c == b'.' || c == b'-');
    let address = name.split('.').count() == 4
        && name.split('.').all(|part| !part.is_empty() && part.bytes().all(|c| c.is_ascii_digit()));
    let reserved = ["xn--", "sthree-", "amzn-s3-demo-"].iter().any(|prefix| name.starts_with(prefix))
        || ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"].iter().any(|end| name.ends_with(end));
    if (3..=63).contains(&name.len()) && ends && all && !name.contains("..") && !address && !reserved {
        return Ok(());
    }
    Err(Refusal::invalid(format!("'{}' is not a valid bucket name", shown(name))))
}

/// An object's key: 1 to 1,024 bytes of UTF-8.
pub fn key(key: &str) -> Result<(), Refusal> {
    match key.len() {
        1..=MAX_KEY_BYTES => Ok(()),
        len => Err(Refusal::invalid(format!("an object's key is 1 to {MAX_KEY_BYTES} bytes, not {len}"))),
    }
}

/// A short text that people gave a thing: not empty, no control characters.
pub fn label(what: &str, label: &str) -> Result<(), Refusal> {
    if !label.is_empty() && label.len() <= MAX_LABEL_BYTES && !label.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "{what} is 1 to {MAX_LABEL_BYTES} bytes without control characters, not '{}'",
        shown(label)
    )))
}

/// An account's number.
pub fn account(number: &str) -> Result<(), Refusal> {
    if number.len() == ACCOUNT_DIGITS && number.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(());
    }
    Err(Refusal::invalid(format!("an account's number is {ACCOUNT_DIGITS} digits")))
}

/// The name of a user, group, role or policy: letters, digits and `+=,.@_-` (IAM).
pub fn iam(name: &str) -> Result<(), Refusal> {
    let good = name.bytes().all(|c| c.is_ascii_alphanumeric() || b"+=,.@_-".contains(&c));
    if good && (1..=MAX_IAM_NAME_CHARS).contains(&name.len()) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "a name is 1 to {MAX_IAM_NAME_CHARS} letters, digits or any of +=,.@_-, not '{}'",
        shown(name)
    )))
}

/// Users and roles that a policy names.
pub fn bound(bound: &[BoundPrincipal]) -> Result<(), Refusal> {
    let longest = bound.iter().map(|one| one.arn.len().max(one.id.len())).max().unwrap_or(0);
    if bound.len() <= MAX_BOUND && longest <= MAX_ARN_BYTES {
        return Ok(());
    }
    Err(Refusal::invalid(format!("a policy names at most {MAX_BOUND} users and roles")))
}

/// The path of one: `/`, or visible ASCII between slashes (IAM).
pub fn path(path: &str) -> Result<(), Refusal> {
    let ends = path.starts_with('/') && path.ends_with('/');
    let plain = path.bytes().all(|c| c.is_ascii_graphic() && !b"*?$:".contains(&c));
    if ends && plain && path.len() <= MAX_IAM_PATH_CHARS {
        return Ok(());
    }
    Err(Refusal::invalid(format!("a path begins and ends with a slash, not '{}'", shown(path))))
}

/// The start of a text that somebody sent, safe to show.
pub fn shown(text: &str) -> String {
    text.chars().take(MAX_LABEL_BYTES).flat_map(char::escape_default).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_the_rules_say() {
        for good in ["a", "0", "vm-1.data_disk", &"a".repeat(63)] {
            assert!(volume(good).is_ok(), "{good}");
        }
        for bad in ["", ".a", "-a", "A", "a b", "a/b", "ä", "a\0", &"a".repeat(64)] {
            assert!(volume(bad).is_err(), "{bad}");
        }
        for good in ["abc", "a.b.c", "1.2.3", "1.2.3.4a", "a-b", &"a".repeat(63)] {
            assert!(bucket(good).is_ok(), "{good}");
        }
        for bad in
            ["ab", "Abc", "a_b", "a..b", "-ab", "ab-", "1.2.3.4", "xn--abc", "abc-s3alias", &"a".repeat(64)]
        {
            assert!(bucket(bad).is_err(), "{bad}");
        }
        assert!(key("").is_err() && key(&"k".repeat(1025)).is_err() && key(&"k".repeat(1024)).is_ok());
        assert!(label("a zone", "a\nb").is_err() && label("a zone", "rack 1").is_ok());
    }
}
