//! s3cmd: sync both ways, put and get in parts, copy, move, delete.

use super::{Shop, Tree, Way, installed, tell_version};
use crate::awscli::contents;
use std::process::Command;

#[test]
fn the_everyday_of_s3cmd() {
    if !installed("the_everyday_of_s3cmd", &["s3cmd", "curl"]) {
        return;
    }
    tell_version("s3cmd", "s3cmd", &["--version"]);
    let shop = Shop::open();
    for way in shop.ways() {
        everyday(&shop, &way);
    }
}

fn everyday(shop: &Shop, way: &Way) {
    let config = configure(shop, way);
    let command = |args: &[&str]| -> Command {
        let mut command = shop.client("s3cmd");
        command.args(["-c", &config, "--no-progress"]).args(args);
        command
    };
    let s3cmd = |args: &[&str]| shop.run(&mut command(args));
    let bucket = format!("s3cmd-{}", way.name);
    let there = |path: &str| format!("s3://{bucket}/{path}");
    let local = |name: &str| format!("{}-{}/", shop.path(name).display(), way.name);
    let (source, back) = (local("tree"), local("back"));
    let tree = Tree::new(source.clone().into());
    tree.plant();

    s3cmd(&["mb", &there("")]);
    s3cmd(&["sync", &source, &there("tree/")]);
    let again = s3cmd(&["sync", &source, &there("tree/")]);
    assert!(!again.contains("upload:"), "a second sync sends nothing: {again}");
    tree.tend();
    let changed = s3cmd(&["sync", "--delete-removed", &source, &there("tree/")]);
    assert_eq!(changed.matches("upload:").count(), 4, "{changed}");
    s3cmd(&["sync", &there("tree/"), &back]);
    assert_eq!(contents(back.as_ref()), tree.contents());
    let listed = s3cmd(&["ls", "--recursive", &there("tree/")]);
    assert_eq!(listed.lines().count(), tree.contents().len(), "{listed}");
    assert!(s3cmd(&["info", &there("tree/large")]).contains(&format!("File size: {}", super::LARGE_BYTES)));
    assert!(s3cmd(&["du", &there("tree/")]).contains(&format!(" {} objects", listed.lines().count())));

    // Of a copy s3cmd sets the ACL too, and a bucket without ACLs refuses that, AWS's as well: hence its option.
    s3cmd(&["cp", "--acl-private", &there("tree/large"), &there("copied")]);
    s3cmd(&["mv", "--acl-private", &there("copied"), &there("moved")]);
    let refused = command(&["cp", &there("moved"), &there("with-acl")]).output().unwrap();
    assert!(String::from_utf8_lossy(&refused.stderr).contains("(AccessControlListNotSupported)"));
    let got = shop.path(&format!("got-{}", way.name));
    s3cmd(&["get", &there("moved"), got.to_str().unwrap()]);
    let expected = std::fs::read(tree.root.join("large")).unwrap();
    assert!(std::fs::read(got).unwrap() == expected);
    if way.ca.is_none() {
        // Its URLs have signatures of version 2, which AWS's newer regions refuse in the same words.
        let url = s3cmd(&["signurl", &there("moved"), "+600"]);
        let answer = shop.run(shop.client("curl").args(["-sS", url.trim()]));
        assert!(answer.contains("Please use AWS4-HMAC-SHA256"), "{answer}");
    }

    let parts = s3cmd(&["multipart", &there("")]);
    assert!(!parts.contains(".."), "no upload was left: {parts}");
    shop.expect_no_uploads(&bucket);
    s3cmd(&["del", &there("moved")]);
    s3cmd(&["del", "--recursive", "--force", &there("tree/")]);
    assert_eq!(shop.keys(&bucket), ["with-acl"], "what the refused one had copied");
    s3cmd(&["rb", "--recursive", "--force", &there("")]);
    shop.expect_gone(&bucket);
}

/// What `s3cmd --configure` asks for. The keys and their region come from the environment.
fn configure(shop: &Shop, way: &Way) -> String {
    let (host, region) = (way.host_and_port(), shop.env("AWS_DEFAULT_REGION"));
    let tls = match &way.ca {
        Some(ca) => format!("use_https = True\nca_certs_file = {ca}\n"),
        None => "use_https = False\n".to_owned(),
    };
    let path = shop.path(&format!("s3cfg-{}", way.name));
    let text =
        format!("[default]\nhost_base = {host}\nhost_bucket = {host}\nbucket_location = {region}\n{tls}");
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}
