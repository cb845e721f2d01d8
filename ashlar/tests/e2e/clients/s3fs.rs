//! s3fs: a bucket as a folder, mounted through FUSE.

use super::{Shop, Tree, Way, have, installed, tell_version, write};
use crate::awscli::contents;
use crate::harness::{eventually, skip};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use trial::process::tail;

const TEST: &str = "the_everyday_of_s3fs";
const PATIENCE: Duration = Duration::from_secs(60);
/// A call of the file system is a handful of requests, one after the other.
const SMALL_FILES: u64 = 18;

#[test]
fn the_everyday_of_s3fs() {
    if !installed(TEST, &["s3fs"]) {
        return;
    }
    if !Path::new("/dev/fuse").exists() || !(have("fusermount") || have("fusermount3")) {
        return skip(TEST, "FUSE is not there");
    }
    tell_version("s3fs", "s3fs", &["--version"]);
    let shop = Shop::open();
    shop.make_bucket("mounted");
    // What is longer than 25 MB s3fs sends in parts.
    let tree = Tree { root: shop.path("tree"), small_files: SMALL_FILES, large_bytes: 26 << 20 };
    tree.plant();

    let Some(mount) = Mount::new(&shop, &shop.http()) else {
        return skip(TEST, "this user may not mount");
    };
    let cp = |from: &Path, to: &Path| {
        shop.run(Command::new("cp").arg("-r").arg(from.join(".")).arg(to));
    };
    cp(&tree.root, &mount.path);
    assert_eq!(contents(&mount.path), tree.contents());
    for root in [&tree.root, &mount.path] {
        tree.tend_at(root);
        fs::rename(root.join("large"), root.join("renamed")).unwrap();
        fs::rename(root.join("5"), root.join("moved")).unwrap();
        let file = fs::File::options().write(true).open(root.join("renamed")).unwrap();
        file.set_len(12_345_678).unwrap();
    }
    assert_eq!(contents(&mount.path), tree.contents());
    symlink("empty", mount.path.join("link")).unwrap();
    let mode = fs::Permissions::from_mode(0o600);
    fs::set_permissions(mount.path.join("empty"), mode).unwrap();
    mount.end();
    assert!(shop.keys("mounted").contains(&"renamed".to_owned()));

    // Another mount, by the other way, finds what the first one left.
    let mount = Mount::new(&shop, &shop.https()).expect("the first one could");
    let there = &mount.path;
    assert_eq!(fs::read_link(there.join("link")).unwrap(), PathBuf::from("empty"));
    let empty = fs::metadata(there.join("empty")).unwrap();
    assert_eq!((empty.mode() & 0o777, empty.mtime()), (0o600, i64::try_from(super::LATER).unwrap()));
    fs::remove_file(there.join("link")).unwrap();
    let back = shop.path("back");
    fs::create_dir(&back).unwrap();
    cp(there, &back);
    assert_eq!(contents(&back), tree.contents());
    write(&there.join("by-https"), &crate::harness::noise(5, 11 << 20), super::FIRST);
    assert!(fs::read(there.join("by-https")).unwrap() == crate::harness::noise(5, 11 << 20));
    for entry in fs::read_dir(there).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    mount.end();
    shop.expect_empty("mounted");
}

/// A bucket that is mounted until this is dropped.
struct Mount {
    path: PathBuf,
    log: PathBuf,
    child: Option<Child>,
}

impl Mount {
    /// None, if the kernel refuses it to this user.
    fn new(shop: &Shop, way: &Way) -> Option<Self> {
        let path = shop.path(&format!("mount-{}", way.name));
        fs::create_dir(&path).unwrap();
        let outside = fs::metadata(&path).unwrap().dev();
        // In the foreground, so that its pid is ours. Its endpoint is what others call a region.
        let options =
            format!("url={},use_path_request_style,endpoint={}", way.url, shop.env("AWS_DEFAULT_REGION"));
        let log = path.with_extension("log");
        let mut command = shop.client("s3fs");
        command.arg("mounted").arg(&path).args(["-f", "-o", &options]);
        for (theirs, ours) in
            [("AWSACCESSKEYID", "AWS_ACCESS_KEY_ID"), ("AWSSECRETACCESSKEY", "AWS_SECRET_ACCESS_KEY")]
        {
            command.env(theirs, shop.env(ours));
        }
        if let Some(ca) = &way.ca {
            command.env("CURL_CA_BUNDLE", ca);
        }
        command.stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap());
        let mut mount = Mount { path, log, child: Some(command.spawn().unwrap()) };
        let mounted = eventually("a mount", PATIENCE, || {
            if mount.child.as_mut().unwrap().try_wait().unwrap().is_some() {
                return Some(false);
            }
            fs::metadata(&mount.path).is_ok_and(|root| root.dev() != outside).then_some(true)
        });
        let said = tail(&mount.log);
        let refused =
            ["fusermount", "not permitted", "open /dev/fuse"].iter().any(|word| said.contains(word));
        assert!(mounted || refused, "{said}");
        mounted.then_some(mount)
    }

    fn unmount(&self) -> bool {
        let program = if have("fusermount") { "fusermount" } else { "fusermount3" };
        Command::new(program).arg("-u").arg(&self.path).status().is_ok_and(|status| status.success())
    }

    /// Unmounts, and sees s3fs end.
    fn end(mut self) {
        let mut child = self.child.take().unwrap();
        // Whoever looks into new mounts keeps it busy for a moment.
        eventually("an end of the mount", PATIENCE, || self.unmount().then_some(()));
        let status = eventually("the end of s3fs", PATIENCE, || child.try_wait().unwrap());
        assert!(status.success(), "{status} {}", tail(&self.log));
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            self.unmount();
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
