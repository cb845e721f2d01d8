//! restic: backup, check, restore, forget and prune.

use super::{Shop, Tree, Way, installed, tell_version};
use crate::awscli::contents;
use std::process::Command;

#[test]
fn the_everyday_of_restic() {
    if !installed("the_everyday_of_restic", &["restic"]) {
        return;
    }
    tell_version("restic", "restic", &["version"]);
    let shop = Shop::open();
    for way in shop.ways() {
        everyday(&shop, &way);
    }
}

fn everyday(shop: &Shop, way: &Way) {
    let name = |what: &str| format!("{what}-{}", way.name);
    let restic = |args: &[&str]| shop.run(repository(shop, way).args(args));
    let (tree, back) = (Tree::new(shop.path(&name("tree"))), shop.path(&name("back")));
    tree.plant();
    let first = tree.contents();
    // From within, so that the paths of the backup are those of the tree.
    let backup = || shop.run(repository(shop, way).current_dir(&tree.root).args(["backup", "--json", "."]));

    restic(&["init"]);
    let begun = backup();
    assert!(begun.contains(&format!("\"files_new\":{}", first.len())), "{begun}");
    restic(&["check", "--read-data"]);
    tree.tend();
    let second = tree.contents();
    let more = backup();
    assert!(more.contains("\"files_changed\":3") && more.contains("\"files_new\":1"), "{more}");
    let unchanged = backup();
    assert!(
        unchanged.contains("\"files_changed\":0") && unchanged.contains("\"files_new\":0"),
        "{unchanged}"
    );

    let listed = restic(&["snapshots", "--json"]);
    let ids: Vec<_> = listed.split("\"short_id\":\"").skip(1).map(|rest| &rest[..8]).collect();
    assert_eq!(ids.len(), 3, "{listed}");
    for (id, expected) in [(ids[0], &first), (ids[2], &second)] {
        let target = back.join(id);
        restic(&["restore", id, "--target", target.to_str().unwrap()]);
        assert_eq!(&contents(&target), expected);
    }

    let packs = || shop.keys(&name("restic")).into_iter().filter(|key| key.starts_with("daily/data/"));
    let before: Vec<_> = packs().collect();
    restic(&["forget", "--keep-last", "1", "--prune"]);
    restic(&["check", "--read-data"]);
    assert!(before.iter().any(|key| !packs().any(|kept| kept == *key)), "what nobody needs is deleted");
    restic(&["restore", "latest", "--target", back.join("pruned").to_str().unwrap()]);
    assert_eq!(contents(&back.join("pruned")), second);
    let keys = shop.keys(&name("restic"));
    assert!(!keys.iter().any(|key| key.starts_with("daily/locks/")), "{keys:?}");
    assert_eq!(keys.iter().filter(|key| key.starts_with("daily/snapshots/")).count(), 1, "{keys:?}");
    shop.expect_no_uploads(&name("restic"));
}

fn repository(shop: &Shop, way: &Way) -> Command {
    let mut command = shop.client("restic");
    command.env("RESTIC_REPOSITORY", format!("s3:{}/restic-{}/daily", way.url, way.name));
    command.env("RESTIC_PASSWORD", "correct horse battery staple");
    if let Some(ca) = &way.ca {
        command.args(["--cacert", ca]);
    }
    command
}
