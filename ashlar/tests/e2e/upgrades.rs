//! Folders that earlier builds left when they were killed open in this one, with all that is in them. `folders/make`
//! makes another; one is added with each release.

use crate::harness::sha256;
use crate::up::{Up, python};
use std::path::Path;
use std::process::Command;
use trial::process::program;

const FOLDERS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/folders");

#[test]
fn folders_of_earlier_builds_open_with_all_that_is_in_them() {
    let name = "folders_of_earlier_builds_open_with_all_that_is_in_them";
    let Some(python) = python(name, "boto3") else { return };
    let mut opened = 0;
    for entry in std::fs::read_dir(FOLDERS).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "gz") {
            opens(&path, &python);
            opened += 1;
        }
    }
    assert!(opened > 0, "no folder is there");
}

fn opens(folder: &Path, python: &str) {
    let dir = tempfile::Builder::new().prefix("ashlar").tempdir().unwrap();
    let unpacked = Command::new("tar").arg("-xzSf").arg(folder).arg("-C").arg(dir.path()).status().unwrap();
    assert!(unpacked.success(), "{}", folder.display());
    let mut up = Up::of(dir);
    // Once to bring it forward, and once more as this build's own.
    up.again(&[]);
    let olga = up.data().join("olga");
    let check = std::fs::read_to_string(Path::new(FOLDERS).join("check.py")).unwrap();
    up.check(python, &check, &[("OLGA", olga.to_str().unwrap())]);
    up.stop();
    up.again(&[]);
    let image = up.dir.path().join("image.raw");
    up.run(program(), &["volume", "export", "disk1", "--file", image.to_str().unwrap()]);
    let image = std::fs::read(&image).unwrap();
    let mut expected = vec![b'v'; 3_000_000];
    expected.resize(8 << 20, 0);
    assert_eq!((image.len(), sha256(&image)), (expected.len(), sha256(&expected)), "{}", folder.display());
    let [plain, project] = [["bucket", "quota", "plain"], ["project", "show", "000000000000"]];
    up.run(program(), &plain);
    up.run(program(), &project);
    up.stop();
}
