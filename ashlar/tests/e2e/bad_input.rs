//! Input that can't be right: one clear line, the exit code of its kind, and nothing changed.

use crate::harness::{Store, clean, refused};
use std::net::TcpListener;
use std::process::Output;
use trial::process::program;

fn up(store: &Store, args: &[&str]) -> Output {
    clean(program())
        .arg("up")
        .arg("--data")
        .arg(store.data())
        .args(["--s3", "127.0.0.1:0", "--admin", "127.0.0.1:0"])
        .args(args)
        .output()
        .unwrap()
}

#[test]
fn a_start_that_cannot_be_right_changes_nothing() {
    let store = Store::new("1G");
    let config = store.dir.path().join("ashlar.toml");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().to_string();
    let config_path = config.to_str().unwrap();
    for (text, args, code, part) in [
        ("disk-sizes = '1G'\n", vec!["--config", config_path], 2, "disk-sizes"),
        ("disk-size = 'big'\n", vec!["--config", config_path], 2, "'big' is not a size"),
        ("", vec!["--config", "/nonexistent.toml"], 2, "/nonexistent.toml"),
        ("", vec!["--disk-size", "2Q"], 2, "2Q"),
        ("", vec!["--disk-size", "1K"], 2, "not possible"),
        ("", vec!["--s3", "here"], 2, "not an address"),
        ("", vec!["--frobnicate"], 2, "--frobnicate"),
        ("", vec!["--accel", "warp"], 2, "none of auto"),
    ] {
        std::fs::write(&config, text).unwrap();
        let mut command = clean(program());
        command.arg("up").arg("--data").arg(store.data()).args(&args);
        let line = refused(code, &command.output().unwrap());
        assert!(line.contains(part), "{args:?}: {line}");
        assert!(!store.data().exists(), "{args:?} made a data folder");
    }
    for flag in ["--s3", "--admin"] {
        let other = if flag == "--s3" { "--admin" } else { "--s3" };
        let mut command = clean(program());
        command.arg("up").arg("--data").arg(store.data()).args([flag, &port, other, "127.0.0.1:0"]);
        let line = refused(5, &command.output().unwrap());
        assert!(line.contains(&port) && line.contains(flag), "{line}");
        assert!(!store.data().exists(), "a taken port left a data folder");
    }
}

#[test]
fn a_folder_that_is_not_ours_or_newer_is_left_alone() {
    let store = Store::new("1G");
    std::fs::create_dir(store.data()).unwrap();
    std::fs::write(store.data().join("VERSION"), "ashlar data folder\nformat 99\n").unwrap();
    let line = refused(1, &up(&store, &[]));
    assert!(line.contains("format 99"), "{line}");
    assert_eq!(std::fs::read_dir(store.data()).unwrap().count(), 1);
    std::fs::rename(store.data().join("VERSION"), store.data().join("notes.txt")).unwrap();
    refused(5, &up(&store, &[]));
    assert_eq!(std::fs::read_dir(store.data()).unwrap().count(), 1);
}

#[test]
fn commands_that_cannot_be_right_say_why() {
    let mut store = Store::start("256M");
    store.cli(&["volume", "create", "v", "--size", "64M"]);
    let before = store.json(&["volume", "list"]);
    for (code, args, part) in [
        (2, vec!["volume", "create", "w", "--size", "2X"], "2X"),
        (2, vec!["volume", "create", "w", "--size", "0"], "size"),
        (2, vec!["volume", "create", "a b/c", "--size", "1G"], "name"),
        (2, vec!["volume", "create", "w"], "--size"),
        (5, vec!["volume", "create", "v", "--size", "1G"], "v"),
        (3, vec!["volume", "show", "none"], "none"),
        (3, vec!["volume", "delete", "none", "--yes"], "none"),
        (2, vec!["volume", "delete", "v"], "--yes"),
        (3, vec!["volume", "attach", "none", "--socket", "/tmp/ashlar-none.sock"], "none"),
        (3, vec!["volume", "detach", "none"], "none"),
        (5, vec!["volume", "detach", "v"], "not attached"),
        (3, vec!["vm", "run", "a", "--volume", "none"], "none"),
        (2, vec!["vm", "run", "a/b", "--volume", "v"], "a/b"),
        (2, vec!["vm", "run", "a", "--volume", "v", "--memory", "1K"], "memory"),
        (2, vec!["vm", "run", "a", "--volume", "v", "--kernel", "/nonexistent"], "/nonexistent"),
        (3, vec!["vm", "stop", "none"], "none"),
        (3, vec!["vm", "console", "none"], "none"),
        (2, vec!["status", "-o", "xml"], "xml"),
        (2, vec!["fly"], "fly"),
    ] {
        let line = store.fails(code, &args);
        assert!(line.contains(part), "{args:?}: {line}");
    }
    assert_eq!(store.json(&["volume", "list"]), before);

    let line = refused(5, &up(&store, &[]));
    assert!(line.contains("already runs"), "{line}");
    let mut command = store.command(&["status"]);
    let line = refused(4, &command.env("ASHLAR_TOKEN", "wrong").output().unwrap());
    assert!(line.contains("token"), "{line}");
    let mut command = store.command(&["status"]);
    store.stop();
    let line = refused(6, &command.output().unwrap());
    assert!(line.contains("ashlar up"), "{line}");
    let line = refused(5, &up(&store, &["--disk-size", "2G"]));
    assert!(line.contains("--disk-size"), "{line}");
    for path in ["/nonexistent.img", "/etc/hostname"] {
        let output = clean(program()).args(["disk", "check", path]).output().unwrap();
        assert!(!output.status.success());
    }
    std::fs::rename(store.disk_file(1), store.dir.path().join("away")).unwrap();
    store.up();
    let status = store.json(&["status"]);
    let causes = status["causes"].to_string();
    assert!(status["health"] != "healthy" && causes.contains("disk1.img"), "{status}");
    assert!(!store.disk_file(1).exists(), "a disk that was known was made anew");
    store.stop();
    std::fs::rename(store.dir.path().join("away"), store.disk_file(1)).unwrap();
    store.up();
    assert_eq!(store.json(&["volume", "list"]), before);
}
