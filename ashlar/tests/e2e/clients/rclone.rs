//! rclone: sync both ways, check, copy, move, stream, purge.

use super::{Shop, Tree, Way, installed, tell_version};
use crate::awscli::contents;
use std::process::{Command, Stdio};

#[test]
fn the_everyday_of_rclone() {
    if !installed("the_everyday_of_rclone", &["rclone"]) {
        return;
    }
    tell_version("rclone", "rclone", &["version"]);
    let shop = Shop::open();
    for way in shop.ways() {
        everyday(&shop, &way);
    }
}

fn everyday(shop: &Shop, way: &Way) {
    let rclone = |args: &[&str]| shop.run(remote(shop, way).args(args));
    let name = |what: &str| format!("{what}-{}", way.name);
    let bucket = name("rclone");
    let there = |path: &str| format!("it:{bucket}/{path}");
    let (tree, back) = (Tree::new(shop.path(&name("tree"))), shop.path(&name("back")));
    let (source, target) = (tree.path(), there("tree"));
    tree.plant();

    rclone(&["mkdir", &there("")]);
    rclone(&["sync", source, &target]);
    rclone(&["check", "--download", source, &target]);
    let again = rclone(&["sync", "-v", source, &target]);
    assert!(again.contains("nothing to transfer"), "{again}");
    tree.tend();
    rclone(&["sync", source, &target]);
    rclone(&["check", source, &target]);
    rclone(&["sync", &target, back.to_str().unwrap()]);
    assert_eq!(contents(&back), tree.contents());
    let listed = rclone(&["lsf", "--recursive", "--files-only", &there("tree")]);
    assert_eq!(listed.lines().filter(|line| !line.contains("NOTICE")).count(), tree.contents().len());

    // From the bucket to the bucket, by copies on the server.
    rclone(&["copy", &target, &there("copied")]);
    rclone(&["check", &target, &there("copied")]);
    rclone(&["moveto", &there("copied/large"), &there("moved/large")]);
    assert!(!shop.keys(&bucket).contains(&"copied/large".to_owned()));
    // The length of a stream is not known before its end, so it is sent in parts.
    let piped = remote(shop, way)
        .args(["rcat", &there("piped")])
        .stdin(std::fs::File::open(tree.root.join("large")).unwrap())
        .output()
        .unwrap();
    assert!(piped.status.success(), "{}", String::from_utf8_lossy(&piped.stderr));
    for key in ["moved/large", "piped"] {
        let read = remote(shop, way).args(["cat", &there(key)]).stderr(Stdio::null()).output().unwrap();
        assert!(read.stdout == std::fs::read(tree.root.join("large")).unwrap(), "{key}");
    }
    shop.expect_no_uploads(&bucket);
    rclone(&["cleanup", &there("")]);
    rclone(&["delete", &there("tree")]);
    assert!(!shop.keys(&bucket).iter().any(|key| key.starts_with("tree/")));
    rclone(&["purge", &there("")]);
    shop.expect_gone(&bucket);
}

/// `provider = Other` is what rclone's own page gives to a server that it has no name for.
fn remote(shop: &Shop, way: &Way) -> Command {
    let mut command = shop.client("rclone");
    command.env("RCLONE_CONFIG", shop.path("home/rclone.conf"));
    for (name, value) in [("TYPE", "s3"), ("PROVIDER", "Other"), ("ENV_AUTH", "true")] {
        command.env(format!("RCLONE_CONFIG_IT_{name}"), value);
    }
    command.env("RCLONE_CONFIG_IT_ENDPOINT", &way.url);
    command.env("RCLONE_CONFIG_IT_REGION", shop.env("AWS_DEFAULT_REGION"));
    if let Some(ca) = &way.ca {
        command.env("RCLONE_CA_CERT", ca);
    }
    command
}
