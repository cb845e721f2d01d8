//! The table of permissions: whole, of actions that exist, and what the documentation says.

use std::collections::BTreeSet;
use std::path::Path;

use policy::{Facts, Need, On, Operation, ResourceType, When, render_permissions, resource_type};

#[test]
fn the_page_says_what_the_table_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/S3-PERMISSIONS.md");
    let rendered = render_permissions();
    if std::env::var_os("ASHLAR_WRITE_DOCS").is_some() {
        std::fs::write(&path, &rendered).unwrap();
    }
    let page = std::fs::read_to_string(&path).unwrap();
    assert_eq!(page, rendered, "write it anew: ASHLAR_WRITE_DOCS=1 cargo test -p policy --test operations");
}

#[test]
fn every_action_exists_and_is_done_to_what_the_table_says() {
    let mut names = BTreeSet::new();
    for operation in Operation::ALL {
        assert!(names.insert(operation.name()));
        assert_eq!(Operation::of_name(operation.name()), Some(*operation));
        for Need { action, on, .. } in operation.needs() {
            let expected = match on {
                On::Account => ResourceType::Account,
                On::Bucket => ResourceType::Bucket,
                On::Object | On::EachKey | On::Source => ResourceType::Object,
            };
            assert_eq!(resource_type(action), Some(expected), "{operation:?} {action}");
        }
    }
}

/// All 1,024 combinations of facts.
fn facts() -> impl Iterator<Item = Facts> {
    (0u32..1024).map(|bits| {
        let bit = |at: u32| bits & (1 << at) != 0;
        Facts {
            version: bit(0),
            source_version: bit(1),
            tagging: bit(2),
            source_tags: bit(3),
            acl: bit(4),
            retention: bit(5),
            legal_hold: bit(6),
            bypass: bit(7),
            bucket_lock: bit(8),
            ownership: bit(9),
        }
    })
}

#[test]
fn no_request_goes_without_a_check_and_more_never_needs_less() {
    for operation in Operation::ALL {
        for facts in facts() {
            let needed: Vec<Need> = operation.needed(facts).collect();
            assert!(!needed.is_empty(), "{operation:?} {facts:?}");
            let without =
                Facts { version: facts.version, source_version: facts.source_version, ..Facts::default() };
            assert!(operation.needed(without).all(|need| needed.contains(&need)), "{operation:?} {facts:?}");
        }
    }
}

/// HOSTILE 24: copies and versions need the source's and the version's own permission.
#[test]
fn copies_and_versions_need_their_own_permissions() {
    let needed = |operation: Operation, facts: Facts| -> Vec<(&str, On)> {
        operation.needed(facts).map(|need| (need.action, need.on)).collect()
    };
    let versioned = Facts { version: true, source_version: true, ..Facts::default() };
    for operation in [Operation::CopyObject, Operation::UploadPartCopy] {
        assert!(needed(operation, Facts::default()).contains(&("s3:GetObject", On::Source)));
        assert!(needed(operation, versioned).contains(&("s3:GetObjectVersion", On::Source)));
        assert!(!needed(operation, versioned).contains(&("s3:GetObject", On::Source)));
    }
    assert_eq!(needed(Operation::GetObject, versioned), [("s3:GetObjectVersion", On::Object)]);
    assert_eq!(needed(Operation::DeleteObject, versioned), [("s3:DeleteObjectVersion", On::Object)]);
    let bypass = Facts { bypass: true, ..versioned };
    assert!(
        needed(Operation::DeleteObjects, bypass).contains(&("s3:BypassGovernanceRetention", On::EachKey))
    );
    let tagged = Facts { source_tags: true, ..versioned };
    assert!(needed(Operation::CopyObject, tagged).contains(&("s3:GetObjectVersionTagging", On::Source)));
    assert!(needed(Operation::CopyObject, tagged).contains(&("s3:PutObjectTagging", On::Object)));
    assert!(Operation::PutObject.needs().iter().any(|need| need.when == When::LegalHold));
}
