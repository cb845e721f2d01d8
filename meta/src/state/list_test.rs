//! Lists of objects, beyond what the models of objects and versions look at.

use super::super::tests::{Fixture, inline};
use crate::command::{Command, DeleteVersion};
use crate::limits::{MAX_PAGE, MAX_SKIPPED_NAMES};
use crate::object::{Annotations, Precondition, Versioning};
use crate::query::{Answer, ListObjects, Query};

fn put(key: String) -> Command {
    Command::PutVersion {
        bucket: "bucket".into(),
        key,
        record: inline("x"),
        annotations: Annotations::default(),
        precondition: Precondition::None,
        now_ms: 1,
        nonce: 1,
    }
}

/// However many deleted names are in the way, no look passes over more than it may, and none is left out.
#[test]
fn many_deleted_names_end_a_page_that_the_next_goes_on_from() {
    const NAMES: usize = 2 * MAX_SKIPPED_NAMES + 10;
    let f = Fixture::new();
    let Ok(Answer::Bucket(bucket)) = f.ask(Query::Bucket { name: "bucket".into() }) else { panic!() };
    let versioning = Versioning::Enabled;
    f.run(Command::PutVersioning { bucket: "bucket".into(), id: bucket.id, versioning }).unwrap();
    let marker = |number: usize| DeleteVersion {
        key: format!("dir/{number:05}"),
        version: None,
        precondition: Precondition::None,
        bypass_governance: false,
        nonce: number as u64,
    };
    for first in (0..NAMES).step_by(MAX_PAGE as usize) {
        let objects = (first..NAMES.min(first + MAX_PAGE as usize)).map(marker).collect();
        f.run(Command::DeleteVersions { bucket: "bucket".into(), objects, now_ms: 1 }).unwrap();
    }
    for key in [format!("dir/{NAMES:05}"), "last".to_owned()] {
        f.run(put(key)).unwrap();
    }
    for delimiter in [None, Some("/".to_owned())] {
        let (mut found, mut empty, mut after) = (Vec::new(), 0, None);
        loop {
            let list = ListObjects {
                bucket: "bucket".into(),
                delimiter: delimiter.clone(),
                after,
                limit: 1,
                ..ListObjects::default()
            };
            let Answer::Objects(page) = f.ask(Query::ListObjects(list)).unwrap() else { panic!() };
            empty += usize::from(page.objects.is_empty() && page.common_prefixes.is_empty());
            found.extend(page.objects.into_iter().map(|object| object.key));
            found.extend(page.common_prefixes);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let first = delimiter.map_or_else(|| format!("dir/{NAMES:05}"), |_| "dir/".to_owned());
        assert_eq!(found, [first, "last".to_owned()]);
        assert_eq!(empty, 2);
    }
}
