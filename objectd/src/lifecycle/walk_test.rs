//! Walks against rules that look at all of a key at once.

use super::*;
use meta::object::{VersionId, VersionRef};
use proptest::prelude::*;

const DAY_MS: u64 = 24 * 3_600_000;

fn rules(actions: &[&str]) -> Lifecycle {
    let rules: String = actions
        .iter()
        .map(|action| format!("<Rule><Filter/><Status>Enabled</Status>{action}</Rule>"))
        .collect();
    Lifecycle::parse(format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>").as_bytes()).unwrap()
}

fn entry(key: &str, slot: u64, marker: bool, day: u64) -> ExpirableVersion {
    let seen = SeenVersion {
        version: VersionRef::Id(VersionId { slot, nonce: 1 }),
        marker,
        size: if marker { 0 } else { 5 },
        etag: if marker { String::new() } else { "e".into() },
        last_modified_ms: day * DAY_MS,
        tags: Vec::new(),
    };
    ExpirableVersion { key: key.into(), slot, seen, locked_until_ms: None }
}

fn walk(rules: &Lifecycle, day: u64, entries: &[ExpirableVersion]) -> Vec<Expiry> {
    let (mut walk, mut out) = (Walk::new(rules, day * DAY_MS, day * DAY_MS), Vec::new());
    entries.iter().for_each(|entry| walk.step(entry.clone(), &mut out));
    walk.end(&mut out);
    out
}

#[test]
fn a_locked_version_is_passed_over_while_it_is_locked() {
    let action =
        "<NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays></NoncurrentVersionExpiration>";
    let rules = rules(&[action]);
    let mut entries = [entry("k", 1, false, 5), entry("k", 2, false, 4)];
    entries[1].locked_until_ms = Some(20 * DAY_MS + 1);
    assert_eq!(walk(&rules, 20, &entries), []);
    assert_eq!(walk(&rules, 21, &entries).len(), 1);
}

/// What is due of one key's versions, told from all of them.
fn plainly(key: &str, versions: &[&ExpirableVersion], now: u64, keep: usize) -> Vec<Expiry> {
    let mut due = Vec::new();
    for (at, version) in versions.iter().enumerate() {
        let (seen, day) = (version.seen.clone(), version.seen.last_modified_ms / DAY_MS);
        let what = match at {
            0 if seen.marker && versions.len() == 1 && now >= day + 3 => Expiring::LoneMarker { seen },
            0 if !seen.marker && now >= day + 3 => Expiring::Current { seen, nonce: 0 },
            0 => continue,
            _ => {
                let newest = &versions[0].seen;
                let under = Cover { version: newest.version, last_modified_ms: newest.last_modified_ms };
                let since_ms = versions[at - 1].seen.last_modified_ms;
                if at <= keep || now < since_ms / DAY_MS + 2 {
                    continue;
                }
                Expiring::Noncurrent { seen, under, newer: u32::try_from(keep).unwrap() }
            }
        };
        due.push(Expiry { key: key.to_owned(), what });
    }
    due
}

proptest! {
    #[test]
    fn a_walk_finds_what_is_plainly_due(
        keys in prop::collection::vec(prop::collection::vec((any::<bool>(), 0u64..10), 1..6), 0..5),
        now in 0u64..15,
        keep in 1usize..4,
    ) {
        let action = format!(
            "<Expiration><Days>3</Days></Expiration><NoncurrentVersionExpiration><NoncurrentDays>2</NoncurrentDays>\
             <NewerNoncurrentVersions>{keep}</NewerNoncurrentVersions></NoncurrentVersionExpiration>"
        );
        let rules = rules(&[&action]);
        let (mut entries, mut expected) = (Vec::new(), Vec::new());
        for (at, versions) in keys.iter().enumerate() {
            let key = format!("k{at}");
            let of_key: Vec<ExpirableVersion> = versions
                .iter()
                .zip(1..)
                .map(|((marker, day), slot)| entry(&key, slot, *marker, *day))
                .collect();
            expected.extend(plainly(&key, &of_key.iter().collect::<Vec<_>>(), now, keep));
            entries.extend(of_key);
        }
        prop_assert_eq!(walk(&rules, now, &entries), expected);
    }
}
