use super::*;
use crate::spec::Boot;

fn spec(name: &str) -> VmSpec {
    VmSpec { name: name.into(), volume: "v".into(), boot: Boot::Disk, cpus: 1, memory_bytes: 64 << 20 }
}

/// A program that stands where QEMU should, to see what becomes of its failures.
fn pretend(dir: &Path, script: &str) -> ComputeConfig {
    use std::os::unix::fs::PermissionsExt;
    let qemu = dir.join("qemu");
    std::fs::write(&qemu, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&qemu, std::fs::Permissions::from_mode(0o755)).unwrap();
    ComputeConfig { dir: dir.join("vms"), qemu, accel: AccelChoice::Tcg }
}

#[tokio::test]
async fn says_what_qemu_said_when_it_ends_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (compute, _exits) =
        Compute::open(pretend(dir.path(), "echo 'no such machine' >&2; exit 1")).await.unwrap();
    let error = compute.run(spec("a"), Path::new("/nowhere")).await.expect_err("it ended");
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(error.to_string().contains("no such machine"), "{error}");
    assert!(compute.list().is_empty());
}

#[tokio::test]
async fn names_the_package_when_qemu_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let config =
        ComputeConfig { dir: dir.path().join("vms"), qemu: dir.path().join("none"), accel: AccelChoice::Tcg };
    let (compute, _exits) = Compute::open(config).await.unwrap();
    let error = compute.run(spec("a"), Path::new("/nowhere")).await.expect_err("missing");
    assert_eq!(error.kind, ErrorKind::Unavailable);
    assert!(error.to_string().contains("apt-get install"), "{error}");
}

#[tokio::test]
async fn unknown_vms_are_not_found() {
    let dir = tempfile::tempdir().unwrap();
    let (compute, _exits) = Compute::open(pretend(dir.path(), "exit 1")).await.unwrap();
    assert_eq!(compute.get("a").expect_err("none").kind, ErrorKind::NotFound);
    assert_eq!(compute.stop("a", Duration::ZERO).await.expect_err("none").kind, ErrorKind::NotFound);
}

#[tokio::test]
async fn a_record_of_a_process_that_is_gone_is_an_exited_vm() {
    let dir = tempfile::tempdir().unwrap();
    let config = pretend(dir.path(), "exit 1");
    let files = VmFiles { dir: config.dir.join("a") };
    std::fs::create_dir_all(&files.dir).unwrap();
    let record = VmRecord {
        format: 1,
        spec: spec("a"),
        acceleration: Acceleration { accel: Accel::Tcg, reason: None },
        disk_socket: files.disk(),
        process: Some(ProcessId { pid: 1, start_ticks: u64::MAX, boot: "another".into() }),
        state: VmState::Running,
        is_receiving: false,
    };
    record.save(&files.record()).unwrap();
    let (compute, _exits) = Compute::open(config).await.unwrap();
    assert!(matches!(compute.get("a").unwrap().state, VmState::Exited { .. }));
    assert!(matches!(VmRecord::load(&files.record()).unwrap().state, VmState::Exited { .. }));
    compute.check_free("a").unwrap();
}

#[tokio::test]
async fn a_data_folder_with_too_long_a_path_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = pretend(dir.path(), "exit 1");
    config.dir = dir.path().join("x".repeat(100));
    let (compute, _exits) = Compute::open(config).await.unwrap();
    assert_eq!(compute.disk_socket("a").expect_err("too long").kind, ErrorKind::Invalid);
}
