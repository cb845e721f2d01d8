//! aws-cli's everyday, over plain HTTP.

use crate::harness::{Store, clean, expect_success, have, noise, sha256, skip};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const NAMES: [&str; 7] = [
    "plain.txt",
    "with space.txt",
    "größe/ünï ćode.bin",
    "percent%2Fslash.txt",
    "plus+and+plus.txt",
    "deep/er/and/deeper/file",
    "quote'and\"double&amp;<x>.txt",
];

pub fn aws_program() -> Option<PathBuf> {
    match std::env::var_os("ASHLAR_TEST_AWS").map(PathBuf::from) {
        Some(path) if path.is_file() => Some(path),
        _ => have("aws").then(|| "aws".into()),
    }
}

pub struct Aws<'a> {
    pub program: PathBuf,
    pub store: &'a Store,
}

impl Aws<'_> {
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = clean(&self.program);
        command.args(args).stdin(Stdio::null()).env("AWS_PAGER", "").env("AWS_EC2_METADATA_DISABLED", "true");
        // No profile of whoever runs the tests.
        command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL"] {
            command.env(name, self.store.env(name));
        }
        command
    }

    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        expect_success(&format!("aws {}", args.join(" ")), &output, &self.store.log())
    }
}

#[test]
fn the_everyday_of_aws_cli() {
    let Some(program) = aws_program() else {
        return skip("the_everyday_of_aws_cli", "aws-cli is not installed");
    };
    let store = Store::start("2G");
    let aws = Aws { program, store: &store };
    let dir = store.dir.path();
    aws.run(&["s3", "mb", "s3://everyday"]);
    for (name, len) in [("0", 0), ("3k", 3 << 10), ("8k", 8 << 10), ("64m", 64 << 20)] {
        let data = noise(9, len);
        let file = dir.join(name);
        std::fs::write(&file, &data).unwrap();
        let there = format!("s3://everyday/copied/{name}");
        aws.run(&["s3", "cp", "--only-show-errors", file.to_str().unwrap(), &there]);
        let back = dir.join(format!("{name}.back"));
        aws.run(&["s3", "cp", "--only-show-errors", &there, back.to_str().unwrap()]);
        assert_eq!(sha256(&std::fs::read(&back).unwrap()), sha256(&data), "{name}");
    }
    let listed = aws.run(&["s3", "ls", "s3://everyday/copied/"]);
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(listed.contains("67108864 64m"), "{listed}");

    let tree = dir.join("tree");
    for (index, name) in NAMES.iter().enumerate() {
        let file = tree.join(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, noise(index as u64, 1000 * index)).unwrap();
    }
    let path = |name: &str| dir.join(name).to_str().unwrap().to_owned();
    aws.run(&["s3", "sync", "--only-show-errors", &path("tree"), "s3://everyday/tree"]);
    aws.run(&["s3", "sync", "--only-show-errors", "s3://everyday/tree", &path("back")]);
    assert_eq!(contents(&dir.join("back")), contents(&tree));
    let again = aws.run(&["s3", "sync", &path("tree"), "s3://everyday/tree"]);
    assert!(again.trim().is_empty(), "a second sync copies nothing: {again}");
    let recursive = aws.run(&["s3", "ls", "--recursive", "s3://everyday/tree/"]);
    for name in NAMES {
        assert!(recursive.contains(&format!("tree/{name}")), "{name}: {recursive}");
    }

    let url = aws.run(&["s3", "presign", "s3://everyday/copied/8k"]);
    let curl = clean("curl").args(["--silent", "--fail", url.trim()]).output().unwrap();
    assert!(curl.status.success() && curl.stdout == noise(9, 8 << 10), "{}", curl.status);
    let unsigned = url.trim().split('?').next().unwrap();
    let closed =
        clean("curl").args(["--silent", "-o", "/dev/null", "-w", "%{http_code}", unsigned]).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&closed.stdout), "403", "nothing is public");

    assert!(!aws.command(&["s3", "rb", "s3://everyday"]).output().unwrap().status.success());
    aws.run(&["s3", "rm", "--recursive", "--only-show-errors", "s3://everyday"]);
    assert_eq!(aws.run(&["s3", "ls", "--recursive", "s3://everyday"]).trim(), "");
    aws.run(&["s3", "rb", "s3://everyday"]);
    assert_eq!(aws.run(&["s3", "ls"]).trim(), "");
}

/// Every file below a folder: its path and its content's hash.
fn contents(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let name = path.strip_prefix(root).unwrap().to_owned();
                found.insert(name, sha256(&std::fs::read(&path).unwrap()));
            }
        }
    }
    found
}
