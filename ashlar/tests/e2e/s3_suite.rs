//! objectd/tests/s3, the suite in Python, against a store of its own.

use crate::harness::{Store, clean};
use crate::up::python;
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

const TEST: &str = "every_case_of_the_s3_suite";
/// Fewer than this is a suite that was not found, not one that passed.
const LEAST_CASES: u64 = 400;

#[test]
fn every_case_of_the_s3_suite() {
    let Some(python) = python(TEST, "boto3, pytest") else { return };
    // Customers' keys are taken over HTTPS only, and all else is asked without it.
    let store = Store::start_with("2G", &["--tls", "--tls-listen", "127.0.0.1:0"]);
    // Nobody listens there: the cases are about configurations, not about what comes of them.
    store.cli(&["webhook", "add", "suite", "--url", "http://127.0.0.1:9/"]);
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../objectd/tests/s3");
    let report = store.dir.path().join("report.xml");
    let mut command = clean(&python);
    command.args(["-m", "pytest", "-q", "--tb=short", "--junitxml"]).arg(&report).arg(&cases);
    command.current_dir(&cases).stdin(Stdio::null());
    command.env("PYTHONDONTWRITEBYTECODE", "1").env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/nonexistent").env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent");
    let queue = format!("arn:aws:sqs:{}::suite", store.env("AWS_DEFAULT_REGION"));
    command.env("S3_NOTIFICATION_QUEUE", queue);
    command.env("S3_ENDPOINT", ready(&store, "s3"));
    command.env("S3_TLS_ENDPOINT", ready(&store, "s3-tls")).env("S3_TLS_CA", store.data().join("tls/ca.pem"));
    for name in ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"] {
        command.env(name, store.env(name));
    }
    let other = store.json(&["project", "create", "other"]);
    for (name, field) in
        [("S3_OTHER_ACCESS_KEY_ID", "access_key_id"), ("S3_OTHER_SECRET_ACCESS_KEY", "secret_access_key")]
    {
        command.env(name, other[field].as_str().unwrap());
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let totals = Totals::read(&std::fs::read_to_string(&report).unwrap_or_default());
    let all = format!("{said}\n{}\n{}", String::from_utf8_lossy(&output.stderr), store.log());
    let totals = totals.unwrap_or_else(|| panic!("the suite made no report: {all}"));
    totals.tell(&said);
    assert!(output.status.success() && totals.failed == 0, "{totals:?} {all}");
    assert!(totals.cases >= LEAST_CASES, "{totals:?} {all}");
}

/// What the ready line says of one of the store's faces.
fn ready(store: &Store, face: &str) -> String {
    let line = store.stdout().lines().find(|line| line.starts_with("ready ")).unwrap();
    let words = line.split_whitespace().filter_map(|word| word.split_once('='));
    words.filter(|(name, _)| *name == face).map(|(_, url)| url.to_owned()).next().unwrap()
}

#[derive(Debug)]
struct Totals {
    cases: u64,
    failed: u64,
    skipped: u64,
}

impl Totals {
    /// From a report in JUnit's form, which begins with the totals.
    fn read(report: &str) -> Option<Totals> {
        let head = report.split_once("<testsuite ")?.1.split_once('>')?.0;
        let number = |name: &str| {
            let value = head.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0;
            value.parse::<u64>().ok()
        };
        let failed = number("errors")? + number("failures")?;
        Some(Totals { cases: number("tests")?, failed, skipped: number("skipped")? })
    }

    /// Says the totals, and where `make test` counts them.
    fn tell(&self, said: &str) {
        let Totals { cases, failed, skipped } = self;
        let passed = cases - failed - skipped;
        let totals = format!("s3-suite {passed} {failed}\n");
        eprintln!("the S3 suite: {passed} passed, {failed} failed, {skipped} skipped");
        append("ASHLAR_TEST_SUITES", &totals);
        for line in said.lines().filter(|line| line.starts_with("SKIPPED ")) {
            append("ASHLAR_TEST_SKIPS", &format!("s3-suite {line}\n"));
        }
    }
}

/// Adds a line to the file that this variable names, if it names one.
pub fn append(variable: &str, line: &str) {
    if let Some(path) = std::env::var_os(variable) {
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(line.as_bytes()).unwrap();
    }
}
