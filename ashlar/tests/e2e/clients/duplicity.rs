//! duplicity: full and incremental backups, encrypted; verify, restore, remove what is old.

use super::{Shop, Tree, Way, installed, tell_version};
use crate::awscli::contents;
use crate::harness::{clean, skip};
use std::process::Command;

const TEST: &str = "the_everyday_of_duplicity";
/// Each run starts Python, and GnuPG several times.
const SMALL_FILES: u64 = 40;

#[test]
fn the_everyday_of_duplicity() {
    if !installed(TEST, &["duplicity", "gpg"]) {
        return;
    }
    // It runs on the system's Python, whatever is first in the path.
    let boto3 = clean("/usr/bin/python3").args(["-c", "import boto3"]).output();
    if !boto3.is_ok_and(|output| output.status.success()) {
        return skip(TEST, "the system's Python has no boto3");
    }
    tell_version("duplicity", "duplicity", &["--version"]);
    let args = ["-c", "import boto3; print(boto3.__version__)"];
    tell_version("duplicity's boto3", "/usr/bin/python3", &args);
    let shop = Shop::open();
    shop.make_bucket("duplicity");
    let (http, https) = (shop.http(), shop.https());
    let tree = Tree { root: shop.path("tree"), small_files: SMALL_FILES, large_bytes: 9 << 20 };
    tree.plant();
    let (source, to) = (tree.path(), "boto3+s3://duplicity/daily");
    let restore = |way: &Way, name: &str, args: &[&str]| {
        let back = shop.path(name);
        shop.run(duplicity(&shop, way, "restore").args(args).arg(to).arg(&back));
        contents(&back)
    };

    shop.run(duplicity(&shop, &http, "full").args([source, to]));
    let first = tree.contents();
    tree.tend();
    let second = tree.contents();
    shop.run(duplicity(&shop, &https, "incremental").args([source, to]));
    let verified = shop.run(duplicity(&shop, &http, "verify").args(["--compare-data", to, source]));
    // Version 3 says "difference(s)".
    assert!(verified.contains(" 0 difference"), "{verified}");
    // Whoever lost everything has no local copy of the signatures either.
    std::fs::remove_dir_all(shop.path("home/.cache/duplicity")).unwrap();
    assert_eq!(restore(&https, "back", &[]), second);
    let when = full_backup_time(&shop.keys("duplicity"));
    assert_eq!(restore(&http, "back-then", &["--time", &when]), first);

    shop.run(duplicity(&shop, &https, "full").args([source, to]));
    let kept = shop.keys("duplicity").len();
    shop.run(duplicity(&shop, &https, "remove-all-but-n-full").args(["1", "--force", to]));
    shop.run(duplicity(&shop, &http, "cleanup").args(["--force", to]));
    let keys = shop.keys("duplicity");
    assert!(keys.len() < kept && !keys.iter().any(|key| key.contains("inc.")), "{keys:?}");
    assert_eq!(restore(&http, "back-at-last", &[]), second);
    shop.expect_no_uploads("duplicity");
}

/// `20261123T092233Z`, of the volumes' names.
fn full_backup_time(keys: &[String]) -> String {
    let name = keys.iter().find_map(|key| key.strip_prefix("daily/duplicity-full."));
    name.unwrap().split('.').next().unwrap().to_owned()
}

/// The endpoint, and its region, are options of the action.
fn duplicity(shop: &Shop, way: &Way, action: &str) -> Command {
    let mut command = shop.client("duplicity");
    command.env("PASSPHRASE", "correct horse battery staple");
    command.arg(action).args(["--s3-endpoint-url", &way.url]);
    command.args(["--s3-region-name", shop.env("AWS_DEFAULT_REGION")]);
    if let Some(ca) = &way.ca {
        command.env("AWS_CA_BUNDLE", ca);
    }
    command
}
