//! pgBackRest: a PostgreSQL's archive and backups, checked, restored, expired. It speaks HTTPS only.

use super::{Shop, installed, tell_version};
use crate::harness::{clean, deadline, eventually, pause, skip};
use rustix::process::Signal;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;
use trial::process::{Daemon, tail};

const TEST: &str = "the_everyday_of_pgbackrest";
const PATIENCE: Duration = Duration::from_secs(60);
/// PostgreSQL does not run as root; its package makes this user.
const USER: &str = "postgres";
const SERVER_LOG: &str = "postgres.log";

#[test]
fn the_everyday_of_pgbackrest() {
    if !installed(TEST, &["pgbackrest", "setpriv"]) {
        return;
    }
    let Some(programs) = postgres_programs() else {
        return skip(TEST, "PostgreSQL is not installed");
    };
    let root = rustix::process::geteuid().is_root();
    if root && !clean("id").arg(USER).output().is_ok_and(|output| output.status.success()) {
        return skip(TEST, "there is no user postgres");
    }
    tell_version("pgbackrest", "pgbackrest", &["version"]);
    tell_version("pgbackrest's postgres", programs.join("postgres"), &["--version"]);
    let shop = Shop::open();
    shop.make_bucket("pgbackrest");
    let cluster = Cluster::new(&shop, programs, root);

    let server = cluster.start();
    cluster.backrest(&["stanza-create"]);
    cluster.backrest(&["check"]);
    cluster.sql(
        "create table big as select id, sha256(id::text::bytea) || sha256((-id)::text::bytea) as data \
         from generate_series(1, 100000) id",
    );
    cluster.backrest(&["backup", "--type=full"]);
    cluster.sql("update big set data = 'changed' where id % 100 = 0; create table small as select 1 as id");
    cluster.backrest(&["backup", "--type=incr"]);
    // What is in no backup comes back from the archive.
    cluster.sql("delete from big where id < 100");
    cluster.sql("select pg_switch_wal()");
    let expected = cluster.digest();
    cluster.backrest(&["verify"]);
    assert_eq!(cluster.backups(), ["full", "incr"]);
    stop(server);

    std::fs::remove_dir_all(cluster.path("data")).unwrap();
    cluster.make_folder("data");
    cluster.backrest(&["restore"]);
    let server = cluster.start();
    eventually("the end of the recovery", PATIENCE, || {
        (cluster.sql("select pg_is_in_recovery()") == "f").then_some(())
    });
    assert_eq!(cluster.digest(), expected);
    cluster.backrest(&["check"]);
    let before = shop.keys("pgbackrest");
    // It expires the full backup of before, and what rests on that.
    cluster.backrest(&["backup", "--type=full"]);
    assert_eq!(cluster.backups(), ["full"]);
    let after = shop.keys("pgbackrest");
    assert!(before.iter().any(|key| !after.contains(key)), "{after:?}");
    stop(server);
    cluster.backrest(&["stop"]);
    cluster.backrest(&["stanza-delete"]);
    shop.expect_empty("pgbackrest");
}

/// Where Debian has the newest PostgreSQL's programs, else where somebody put one.
fn postgres_programs() -> Option<PathBuf> {
    let mut versions: Vec<_> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<u32>().ok())
        .collect();
    versions.sort_unstable_by(|one, other| other.cmp(one));
    let folders = versions.iter().map(|version| format!("/usr/lib/postgresql/{version}/bin").into());
    let in_path = std::env::var_os("PATH").unwrap_or_default();
    let mut all = folders.chain(std::env::split_paths(&in_path));
    let needed = ["initdb", "postgres", "psql", "pg_isready"];
    all.find(|folder| needed.iter().all(|program| folder.join(program).is_file()))
}

/// A fast end: nobody's connection is waited for, but the archive is.
fn stop(server: Daemon) {
    server.signal(Signal::INT);
    server.stop();
}

/// A PostgreSQL that listens at a socket of its own folder only, and archives to the store.
struct Cluster {
    dir: tempfile::TempDir,
    programs: PathBuf,
    /// Whether another user must be taken.
    root: bool,
}

impl Cluster {
    fn new(shop: &Shop, programs: PathBuf, root: bool) -> Self {
        let dir = tempfile::Builder::new().prefix("ashlar-pg").tempdir().unwrap();
        let cluster = Cluster { dir, programs, root };
        cluster.give("");
        for name in ["data", "log", "lock", "spool"] {
            cluster.make_folder(name);
        }
        let https = shop.https();
        // Not the store's own file, which is in a folder that is not for others.
        std::fs::copy(https.ca.as_ref().unwrap(), cluster.path("ca.pem")).unwrap();
        cluster.give("ca.pem");
        cluster.configure(shop, https.host_and_port().rsplit(':').next().unwrap());
        let data = cluster.path("data");
        let program = cluster.programs.join("initdb");
        cluster.run(cluster.command(program).args(["--no-sync", "-A", "trust", "-U", USER, "-D"]).arg(&data));
        cluster
    }

    fn configure(&self, shop: &Shop, port: &str) {
        let place = self.dir.path().display();
        // It asks a certificate for a name, so it is given one. That is below no domain of the gateway.
        let text = format!(
            "[global]\nrepo1-type=s3\nrepo1-path=/daily\nrepo1-s3-bucket=pgbackrest\n\
             repo1-s3-endpoint=localhost\nrepo1-storage-port={port}\nrepo1-s3-uri-style=path\n\
             repo1-storage-ca-file={place}/ca.pem\nrepo1-s3-region={}\nrepo1-s3-key={}\n\
             repo1-s3-key-secret={}\nrepo1-retention-full=1\nstart-fast=y\nlog-path={place}/log\n\
             lock-path={place}/lock\nspool-path={place}/spool\n\n\
             [main]\npg1-path={place}/data\npg1-socket-path={place}\npg1-user={USER}\n",
            shop.env("AWS_DEFAULT_REGION"),
            shop.env("AWS_ACCESS_KEY_ID"),
            shop.env("AWS_SECRET_ACCESS_KEY"),
        );
        std::fs::write(self.path("pgbackrest.conf"), text).unwrap();
        self.give("pgbackrest.conf");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A folder for the server's user alone.
    fn make_folder(&self, name: &str) {
        std::fs::create_dir(self.path(name)).unwrap();
        self.give(name);
        let mut chmod = Command::new("chmod");
        self.run(chmod.arg("700").arg(self.path(name)));
    }

    fn give(&self, name: &str) {
        if self.root {
            let mut chown = Command::new("chown");
            self.run(chown.arg(USER).arg(self.path(name)));
        }
    }

    /// A program as the server's user.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = if self.root {
            let mut command = clean("setpriv");
            let user = ["--reuid", USER, "--regid", USER, "--init-groups"];
            // Changing the user forgets what the harness asked for.
            command.args(user).args(["--pdeathsig", "KILL", "--"]).arg(program);
            command
        } else {
            clean(program)
        };
        command.current_dir(self.dir.path()).stdin(Stdio::null()).env("PGHOST", self.dir.path());
        command.env("PGUSER", USER).env("PGDATABASE", "postgres").env_remove("PGPORT");
        command
    }

    #[track_caller]
    fn run(&self, command: &mut Command) -> String {
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let log = tail(&self.path(SERVER_LOG));
        assert!(output.status.success(), "{command:?}: {}\n{said}\n{errors}\n{log}", output.status);
        said
    }

    /// The server, when it answers.
    fn start(&self) -> Daemon {
        let archive = format!("archive_command={} archive-push %p", self.backrest_command().join(" "));
        let mut command = self.command(self.programs.join("postgres"));
        command.arg("-D").arg(self.path("data")).arg("-k").arg(self.dir.path());
        for setting in ["listen_addresses=", "archive_mode=on", "fsync=off", &archive] {
            command.args(["-c", setting]);
        }
        let daemon = Daemon::launch("postgres", &mut command, &self.path(SERVER_LOG));
        let ready = self.programs.join("pg_isready");
        let end = deadline(PATIENCE);
        loop {
            let asked = self.command(&ready).output().unwrap();
            if asked.status.success() {
                break;
            }
            assert!(!end.over(), "{}: {}", asked.status, tail(&self.path(SERVER_LOG)));
            pause();
        }
        daemon
    }

    fn sql(&self, statement: &str) -> String {
        let psql = self.programs.join("psql");
        self.run(self.command(psql).args(["-X", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-c", statement]))
    }

    /// Of every row of every table.
    fn digest(&self) -> String {
        let big = "select count(*) || md5(string_agg(id || data::text, ',' order by id)) from big";
        format!("{} {}", self.sql(big), self.sql("select sum(id) from small"))
    }

    fn backrest_command(&self) -> [String; 3] {
        let config = format!("--config={}", self.path("pgbackrest.conf").display());
        ["pgbackrest".into(), config, "--stanza=main".into()]
    }

    #[track_caller]
    fn backrest(&self, args: &[&str]) -> String {
        let [program, config, stanza] = self.backrest_command();
        self.run(self.command(program).args([config, stanza]).args(args))
    }

    /// The kinds of backups, oldest first.
    fn backups(&self) -> Vec<String> {
        let info: serde_json::Value =
            serde_json::from_str(&self.backrest(&["info", "--output=json"])).unwrap();
        assert_eq!(info[0]["status"]["message"], "ok", "{info}");
        let backups = info[0]["backup"].as_array().unwrap();
        backups.iter().map(|backup| backup["type"].as_str().unwrap().to_owned()).collect()
    }
}
