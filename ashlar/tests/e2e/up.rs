//! `ashlar up`, and clients with its env.sh sourced.

use crate::harness::{clean, expect_success, read_env, skip};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use trial::process::{Daemon, program, tail};

/// A store in one process, with flags of the test's own.
pub struct Up {
    pub dir: tempfile::TempDir,
    daemon: Option<Daemon>,
    pub env: BTreeMap<String, String>,
}

impl Up {
    pub fn start(flags: &[&str]) -> Up {
        let mut up = Up::of(tempfile::Builder::new().prefix("ashlar").tempdir().unwrap());
        up.again(flags);
        up
    }

    /// Of a folder with a data folder in it, not started yet.
    pub fn of(dir: tempfile::TempDir) -> Up {
        Up { dir, daemon: None, env: BTreeMap::new() }
    }

    pub fn again(&mut self, flags: &[&str]) {
        let mut command = clean(program());
        command.args(["up", "--s3", "127.0.0.1:0", "--admin", "127.0.0.1:0"]);
        if !self.data().exists() {
            command.args(["--disk-size", "1G"]);
        }
        if flags.iter().any(|flag| flag.starts_with("--tls")) {
            command.args(["--tls-listen", "127.0.0.1:0"]);
        }
        command.args(flags).arg("--data").arg(self.data());
        command.arg("--pool-key").arg(self.dir.path().join("pool.key"));
        self.daemon = Some(Daemon::start("ashlar up", &mut command, &self.dir.path().join("up.log")));
        self.env = read_env(&self.data().join("env.sh"));
    }

    pub fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub fn stop(&mut self) {
        self.daemon.take().unwrap().stop();
    }

    pub fn stdout(&self) -> &str {
        &self.daemon.as_ref().unwrap().stdout
    }

    /// Where plain HTTP is, with its scheme.
    pub fn http(&self) -> String {
        self.daemon.as_ref().unwrap().ready("s3")
    }

    /// Where HTTPS is, without its scheme.
    pub fn tls(&self) -> String {
        self.daemon.as_ref().unwrap().ready("s3-tls").trim_start_matches("https://").to_owned()
    }

    /// A client with env.sh sourced.
    pub fn client(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = clean(program);
        command.stdin(Stdio::null()).envs(&self.env);
        command.env("AWS_PAGER", "").env("AWS_EC2_METADATA_DISABLED", "true");
        command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
        command
    }

    #[track_caller]
    pub fn run(&self, program: impl AsRef<std::ffi::OsStr>, args: &[&str]) -> String {
        let output = self.client(program).args(args).output().unwrap();
        expect_success(&args.join(" "), &output, &tail(&self.dir.path().join("up.log")))
    }

    pub fn status(&self) -> String {
        self.run(program(), &["status", "-o", "json"])
    }

    /// A script that says at its end that all was right.
    #[track_caller]
    pub fn check(&self, python: &str, script: &str, more: &[(&str, &str)]) {
        let output = self.client(python).args(["-c", script]).envs(more.iter().copied()).output().unwrap();
        let said = expect_success("boto3", &output, &tail(&self.dir.path().join("up.log")));
        assert!(said.contains("ALL-RIGHT"), "{said}");
    }
}

/// The Python that has these modules, boto3 among them; without one the test says so and is counted as skipped.
pub fn python(test: &str, modules: &str) -> Option<String> {
    let python = std::env::var("ASHLAR_TEST_PYTHON").unwrap_or_else(|_| "python3".into());
    let import = format!("import {modules}");
    if clean(&python).args(["-c", &import]).output().is_ok_and(|output| output.status.success()) {
        return Some(python);
    }
    skip(test, &format!("Python has not all of {modules}"));
    None
}
