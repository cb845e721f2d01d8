//! aws-cli's everyday, over plain HTTP.

use crate::clients::tell_version;
use crate::harness::{Store, clean, expect_success, have, noise, sha256, skip};
use crate::s3_client::S3Client;
use crate::up::Up;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use trial::fleet::Fleet;
use trial::process::tail;

pub const NAMES: [&str; 7] = [
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

/// aws-cli with one key at one gateway.
#[derive(Clone)]
pub struct Aws {
    pub program: PathBuf,
    pub endpoint: String,
    pub region: String,
    pub key: (String, String),
    pub token: Option<String>,
    /// The daemon's, for what fails.
    pub log: PathBuf,
}

impl Aws {
    pub fn of(program: PathBuf, store: &Store) -> Self {
        Self {
            program,
            endpoint: store.env("AWS_ENDPOINT_URL"),
            region: store.env("AWS_DEFAULT_REGION"),
            key: (store.env("AWS_ACCESS_KEY_ID"), store.env("AWS_SECRET_ACCESS_KEY")),
            token: None,
            log: store.dir.path().join("up.log"),
        }
    }

    /// With the key of a store that was started with flags of the test's own.
    pub fn of_up(program: PathBuf, up: &Up) -> Self {
        Self {
            program,
            endpoint: up.env["AWS_ENDPOINT_URL"].clone(),
            region: up.env["AWS_DEFAULT_REGION"].clone(),
            key: (up.env["AWS_ACCESS_KEY_ID"].clone(), up.env["AWS_SECRET_ACCESS_KEY"].clone()),
            token: None,
            log: up.dir.path().join("up.log"),
        }
    }

    /// With the pool's own key.
    pub fn of_fleet(program: PathBuf, fleet: &Fleet) -> Self {
        Self {
            program,
            endpoint: fleet.s3_url(),
            region: fleet.env("AWS_DEFAULT_REGION"),
            key: (fleet.env("AWS_ACCESS_KEY_ID"), fleet.env("AWS_SECRET_ACCESS_KEY")),
            token: None,
            log: fleet.dir.path().join("gateway.log"),
        }
    }

    /// With the credentials in an answer: of `create-access-key`, `assume-role`, or `project create`.
    pub fn with(&self, found: &Value) -> Self {
        let text = |names: [&str; 2]| {
            let value = names.iter().find_map(|name| found[*name].as_str());
            value.unwrap_or_else(|| panic!("no {names:?} in {found}")).to_owned()
        };
        let key = (text(["AccessKeyId", "access_key_id"]), text(["SecretAccessKey", "secret_access_key"]));
        Self { key, token: found["SessionToken"].as_str().map(str::to_owned), ..self.clone() }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.dressed(&self.program, args[0] == "s3control");
        command.args(args);
        command
    }

    /// A line for a shell that begins with `aws `.
    pub fn line(&self, line: &str) -> Command {
        let rest = line.strip_prefix("aws ").unwrap_or_else(|| panic!("{line}"));
        let mut command = self.dressed("sh", rest.starts_with("s3control "));
        command.arg("-c").arg(format!("{} {rest}", self.program.display()));
        command
    }

    /// A program with the key in its environment.
    fn dressed(&self, program: impl AsRef<std::ffi::OsStr>, account_in_host: bool) -> Command {
        let mut command = clean(program);
        command.stdin(Stdio::null()).env("AWS_PAGER", "").env("AWS_EC2_METADATA_DISABLED", "true");
        // No profile of whoever runs the tests.
        command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
        command.env("AWS_ENDPOINT_URL", &self.endpoint).env("AWS_DEFAULT_REGION", &self.region);
        command.env("AWS_ACCESS_KEY_ID", &self.key.0).env("AWS_SECRET_ACCESS_KEY", &self.key.1);
        if let Some(token) = &self.token {
            command.env("AWS_SESSION_TOKEN", token);
        }
        if account_in_host {
            // The account's number is put before the host, which resolves on few machines: whoever has a proxy leaves
            // resolving to that. The gateway must be started with this domain.
            let port = self.endpoint.rsplit(':').next().unwrap();
            command.env("AWS_ENDPOINT_URL", format!("http://s3.localhost:{port}"));
            command.env("http_proxy", &self.endpoint);
        }
        command
    }

    /// Runs it and expects success; its stdout.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> String {
        let output = self.command(args).output().unwrap();
        expect_success(&format!("aws {}", args.join(" ")), &output, &tail(&self.log))
    }

    /// Runs it; what it answers, or its stderr.
    pub fn attempt(&self, args: &[&str]) -> Result<Value, String> {
        let output = self.command(args).args(["--output", "json"]).output().unwrap();
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned());
        }
        let text = String::from_utf8(output.stdout).unwrap();
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// Runs it and expects success; what it answers.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> Value {
        self.attempt(args).unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", tail(&self.log)))
    }

    /// Runs what must fail with this code.
    #[track_caller]
    pub fn fails(&self, args: &[&str], code: &str) {
        match self.attempt(args) {
            Ok(answer) => panic!("{args:?} must fail with {code}, not answer {answer}"),
            Err(error) => assert!(error.contains(&format!("({code})")), "{args:?}: {error}"),
        }
    }

    #[track_caller]
    pub fn new_key(&self, user: &str) -> Value {
        self.ok(&["iam", "create-access-key", "--user-name", user])["AccessKey"].clone()
    }

    /// Puts an inline policy on who is of this kind and name, such as `("user", "alice")`.
    pub fn put_policy(&self, (kind, who): (&str, &str), name: &str, text: &str) -> Result<Value, String> {
        let (call, option) = (format!("put-{kind}-policy"), format!("--{kind}-name"));
        self.attempt(&["iam", &call, &option, who, "--policy-name", name, "--policy-document", text])
    }

    pub fn s3(&self, base: &str) -> S3Client {
        S3Client::new(base.to_owned(), self.region.clone(), &self.key.0, &self.key.1)
    }
}

#[test]
fn the_everyday_of_aws_cli() {
    let Some(program) = aws_program() else {
        return skip("the_everyday_of_aws_cli", "aws-cli is not installed");
    };
    tell_version("aws-cli", &program, &["--version"]);
    let store = Store::start("2G");
    let aws = Aws::of(program, &store);
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
pub fn contents(root: &Path) -> BTreeMap<PathBuf, String> {
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
