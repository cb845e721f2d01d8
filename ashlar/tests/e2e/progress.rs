//! Long work shows itself on a terminal, and nowhere else.

use crate::harness::{Store, eventually, have, noise, skip};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::time::Duration;

/// What a terminal sees that a command of the store's runs on.
fn on_a_terminal(store: &Store, args: &[&str]) -> String {
    let plain = store.command(args);
    let words = [plain.get_program()].into_iter().chain(plain.get_args());
    let line: Vec<_> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut command = Command::new("script");
    // script's own terminal has no size; indicatif then draws nothing.
    let line = format!("stty cols 120 rows 24; {}", line.join(" "));
    command.args(["--quiet", "--return", "--command", &line, "/dev/null"]).stdin(Stdio::null());
    for (name, value) in plain.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command.env("TERM", "xterm").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}");
    text
}

#[test]
fn a_scrub_is_a_bar_on_a_terminal_and_json_without_one() {
    const TEST: &str = "progress::a_scrub_is_a_bar_on_a_terminal_and_json_without_one";
    let store = Store::start("256M");
    let output = store.command(&["scrub", "start", "--wait", "-o", "json"]).output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&view["running"], &view["percent"]), (&Value::Bool(false), &Value::from(100)), "{view}");
    if !have("script") {
        skip(TEST, "script, which makes a terminal, is missing");
        return;
    }
    let text = on_a_terminal(&store, &["scrub", "start", "--wait"]);
    assert!(text.contains("comparing all copies ["), "{text:?}");
    assert!(text.contains("finished"), "{text:?}");
}

#[test]
fn how_far_an_import_is_can_be_asked() {
    let store = Store::start("1G");
    let image = store.dir.path().join("in.img");
    std::fs::write(&image, noise(1, 192 << 20)).unwrap();
    store.cli(&["volume", "create", "v", "--size", "192M"]);
    let mut import = store.command(&["volume", "import", "v", "--file", image.to_str().unwrap()]);
    let mut importing = import.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let far = eventually("a copy on its way", Duration::from_secs(60), || {
        let volumes = store.json(&["volume", "list"]);
        let copy = volumes[0]["copy"].clone();
        let ended = importing.try_wait().unwrap().is_some();
        assert!(!ended || copy.is_object(), "the import ended before it was seen once");
        copy.is_object().then_some(copy)
    });
    let (done, total) = (far["done_bytes"].as_u64().unwrap(), far["total_bytes"].as_u64().unwrap());
    assert!(done <= total && total == 192 << 20, "{far}");
    let output = importing.wait_with_output().unwrap();
    // No terminal: nothing but the answer.
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(store.json(&["volume", "list"])[0].get("copy"), None, "it has ended");
}
