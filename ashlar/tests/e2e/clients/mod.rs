//! What people keep their backups with, as it is: each client's everyday against a real store, over plain HTTP and
//! over HTTPS with the local CA, with its own defaults but for endpoint, region, keys and, as the endpoint is no
//! domain, path style.

mod boto3;
mod duplicity;
mod pgbackrest;
mod rclone;
mod restic;
mod s3cmd;
mod s3fs;

use crate::awscli::{NAMES, contents};
use crate::harness::{clean, expect_success, have, noise, skip};
use crate::s3_client::{S3Client, runtime};
use crate::s3_suite::append;
use crate::up::Up;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{File, FileTimes};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};
use trial::process::tail;

/// More than any client sends in one piece at its defaults, but rclone.
const LARGE_BYTES: usize = 20 << 20;
/// Many more than any client's threads.
const SMALL_FILES: u64 = 90;

/// Whether a test can run; if not, it is said and counted.
fn installed(test: &str, programs: &[&str]) -> bool {
    let missing = programs.iter().find(|program| !have(program));
    if let Some(program) = missing {
        skip(test, &format!("{program} is not installed"));
    }
    missing.is_none()
}

/// Says which version runs, here and where `make test` lists them.
pub fn tell_version(name: &str, program: impl AsRef<OsStr>, args: &[&str]) {
    let output = clean(program).args(args).stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).lines().next().unwrap_or_default().to_owned();
    assert!(output.status.success() && said.contains(|byte: char| byte.is_ascii_digit()), "{name}: {said}");
    eprintln!("{name}: {said}");
    append("ASHLAR_TEST_CLIENTS", &format!("{name}: {said}\n"));
}

/// One of the two ways in.
struct Way {
    /// `http` or `https`.
    name: &'static str,
    /// With its scheme and port.
    url: String,
    /// Whose signature a client must trust.
    ca: Option<String>,
}

impl Way {
    fn host_and_port(&self) -> &str {
        self.url.split_once("://").unwrap().1
    }
}

/// A store, and a home for clients.
struct Shop {
    up: Up,
}

impl Shop {
    fn open() -> Self {
        let shop = Shop { up: Up::start(&["--tls"]) };
        std::fs::create_dir(shop.path("home")).unwrap();
        shop
    }

    fn http(&self) -> Way {
        Way { name: "http", url: self.up.http(), ca: None }
    }

    fn https(&self) -> Way {
        let ca = self.up.data().join("tls/ca.pem").to_str().unwrap().to_owned();
        Way { name: "https", url: format!("https://{}", self.up.tls()), ca: Some(ca) }
    }

    fn ways(&self) -> [Way; 2] {
        [self.http(), self.https()]
    }

    fn path(&self, name: &str) -> PathBuf {
        self.up.dir.path().join(name)
    }

    fn env(&self, name: &str) -> &str {
        &self.up.env[name]
    }

    /// A client with the store's keys and region, and nothing else of whoever runs the tests.
    fn client(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = clean(program);
        command.stdin(Stdio::null()).current_dir(self.up.dir.path()).env("HOME", self.path("home"));
        for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"] {
            command.env(name, self.env(name));
        }
        command.env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// Runs it and expects success; its stdout.
    #[track_caller]
    fn run(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let said = expect_success(&format!("{command:?}"), &output, &tail(&self.path("up.log")));
        said + &String::from_utf8_lossy(&output.stderr)
    }

    fn ask(&self, method: &str, path: &str) -> (u16, String) {
        let [region, id, secret] =
            ["AWS_DEFAULT_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].map(|name| self.env(name));
        let client = S3Client::new(self.up.http(), region.to_owned(), id, secret);
        let answer = runtime().block_on(client.send(method, path, Vec::new())).expect("an answer");
        (answer.status, String::from_utf8(answer.body).unwrap())
    }

    fn make_bucket(&self, bucket: &str) {
        let (status, body) = self.ask("PUT", &format!("/{bucket}"));
        assert_eq!(status, 200, "{body}");
    }

    /// All keys of a bucket.
    fn keys(&self, bucket: &str) -> Vec<String> {
        let (mut keys, mut from) = (Vec::new(), String::new());
        loop {
            let (status, body) = self.ask("GET", &format!("/{bucket}?list-type=2{from}"));
            assert_eq!(status, 200, "{body}");
            let named = |name: &str| {
                let ends = (format!("<{name}>"), format!("</{name}>"));
                let found =
                    body.split(&ends.0).skip(1).map(|rest| rest.split(&ends.1).next().unwrap().to_owned());
                found.collect::<Vec<_>>()
            };
            keys.extend(named("Key"));
            match named("NextContinuationToken").as_slice() {
                [] => return keys,
                token => from = format!("&continuation-token={}", token[0]),
            }
        }
    }

    /// No upload was begun and left.
    fn expect_no_uploads(&self, bucket: &str) {
        let (status, body) = self.ask("GET", &format!("/{bucket}?uploads="));
        assert!(status == 200 && !body.contains("<UploadId>"), "{body}");
    }

    /// A bucket in which nothing is left can be deleted.
    fn expect_empty(&self, bucket: &str) {
        assert!(self.keys(bucket).is_empty(), "{:?}", self.keys(bucket));
        self.expect_no_uploads(bucket);
        assert_eq!(self.ask("DELETE", &format!("/{bucket}")).0, 204);
    }

    /// That it is gone, by the client's own hand.
    fn expect_gone(&self, bucket: &str) {
        assert_eq!(self.ask("HEAD", &format!("/{bucket}")).0, 404);
    }
}

/// Seconds of 1970 that files were last changed at: what a client compares, and no clock of ours.
const FIRST: u64 = 1_600_000_000;
const LATER: u64 = 1_700_000_000;

fn write(path: &Path, data: &[u8], changed: u64) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, data).unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(changed);
    // Both: a file system in user space may not be told of one alone.
    let times = FileTimes::new().set_accessed(time).set_modified(time);
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

/// A folder that somebody keeps.
struct Tree {
    root: PathBuf,
    small_files: u64,
    large_bytes: usize,
}

impl Tree {
    fn new(root: PathBuf) -> Self {
        Tree { root, small_files: SMALL_FILES, large_bytes: LARGE_BYTES }
    }

    /// Many small files, the names that clients get wrong, an empty one and a large one.
    fn plant(&self) {
        for index in 0..self.small_files {
            let file = self.root.join(format!("{}/{}/file {index}", index % 9, index % 2));
            write(&file, &noise(index, usize::try_from(index * index * 7 % 20_011).unwrap()), FIRST);
        }
        for (index, name) in NAMES.iter().enumerate() {
            write(&self.root.join(name), &noise(index as u64, 1000 * index), FIRST);
        }
        write(&self.root.join("empty"), b"", FIRST);
        write(&self.root.join("large"), &noise(77, self.large_bytes), FIRST);
    }

    /// The next day: one changed in its middle, one longer, one shorter, one new, some gone.
    fn tend(&self) {
        self.tend_at(&self.root);
    }

    /// The same with a copy of it.
    fn tend_at(&self, root: &Path) {
        let (mut large, middle) = (noise(77, self.large_bytes), self.large_bytes / 2);
        large[middle..middle + 100_000].copy_from_slice(&noise(78, 100_000));
        write(&root.join("large"), &large, LATER);
        write(&root.join("empty"), b"no more", LATER);
        write(&root.join("0/1/file 9"), b"short", LATER);
        write(&root.join("new/also large"), &noise(79, 7 << 20), LATER);
        std::fs::remove_dir_all(root.join("3")).unwrap();
        std::fs::remove_file(root.join("plain.txt")).unwrap();
    }

    fn path(&self) -> &str {
        self.root.to_str().unwrap()
    }

    fn contents(&self) -> BTreeMap<PathBuf, String> {
        contents(&self.root)
    }
}
