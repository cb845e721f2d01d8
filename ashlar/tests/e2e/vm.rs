//! A real VM: its file system outlives it and the daemon.

use crate::guest::Guest;
use crate::harness::{Store, eventually, skip, sleep};
use std::path::Path;
use std::time::Duration;

/// Emulated guests are slow on a busy machine.
const GUEST: Duration = Duration::from_secs(180);

const FIRST: &str = r"
/real/mke2fs -q -t ext4 -E nodiscard /dev/vda
mount -t ext4 -o discard /dev/vda /mnt
for n in 1 2 3 4 5; do dd if=/dev/urandom of=/mnt/file$n bs=64k count=$((n * 16)) 2>/dev/null; done
printf 'small' > /mnt/small
sync
cd /mnt
echo SUMS-BEGIN
sha256sum file1 file2 file3 file4 file5 small
echo SUMS-END
cd /
umount /mnt
";

const SECOND: &str = r"
mount -t ext4 /dev/vda /mnt
cd /mnt
echo SUMS-BEGIN
sha256sum file1 file2 file3 file4 file5 small
echo SUMS-END
rm file2 file3 file4 file5
cd /
sync
fstrim -v /mnt
umount /mnt
";

#[test]
fn a_file_system_survives_its_vm_and_the_daemon() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_file_system_survives_its_vm_and_the_daemon", &why),
    };
    let mut store = Store::start("4G");
    store.cli(&["volume", "create", "root", "--size", "1G"]);
    let console = run_guest(&store, &guest, "first", FIRST);
    let written = sums(&console);
    assert_eq!(written.lines().count(), 6, "{console}");
    let used = used(&store);
    assert!(used > 15 << 20, "15 MiB of files take {used} bytes");

    store.stop();
    store.up();
    let console = run_guest(&store, &guest, "second", SECOND);
    assert_eq!(sums(&console), written);
    let freed = used.saturating_sub(self::used(&store));
    assert!(freed > 13 << 20, "trimming 14 MiB of files freed {freed} of {used} bytes");
    store.stop();
}

#[test]
fn a_running_vm_is_seen_stopped_and_guards_its_volume() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_running_vm_is_seen_stopped_and_guards_its_volume", &why),
    };
    let store = Store::start("1G");
    store.cli(&["volume", "create", "root", "--size", "64M"]);
    start(&store, &guest, "idle", "echo UP; sleep 600");
    eventually("the guest's start", GUEST, || console(&store, "idle").contains("UP").then_some(()));
    store.fails(5, &["volume", "detach", "root"]);
    store.fails(5, &["volume", "delete", "root", "--yes"]);
    store.fails(5, &["vm", "run", "idle", "--volume", "root"]);
    let vm = store.json(&["vm", "stop", "idle", "--timeout", "1"]);
    assert_eq!(vm["state"], "stopped", "{vm}");
    let shown = store.json(&["volume", "show", "root"]);
    assert!(shown["attachment"].is_null(), "{shown}");
    store.cli(&["volume", "delete", "root", "--yes"]);
}

const ROUNDS: &str = r"
/real/mke2fs -q -t ext4 -E nodiscard /dev/vda
mount -t ext4 /dev/vda /mnt
for n in 1 2 3 4 5 6 7 8 9 10 11 12; do
    dd if=/dev/urandom of=/mnt/file$n bs=64k count=8 conv=fsync 2>/dev/null
    sha256sum /mnt/file$n >> /mnt/sums
    echo ROUND $n
    sleep 1
done
sync
echo 3 > /proc/sys/vm/drop_caches
sha256sum -c -s /mnt/sums && echo ALL-RIGHT
umount /mnt
";

#[test]
fn a_guest_does_not_see_the_daemon_die() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_guest_does_not_see_the_daemon_die", &why),
    };
    let mut store = Store::start("1G");
    store.cli(&["volume", "create", "root", "--size", "128M"]);
    start(&store, &guest, "busy", ROUNDS);
    for round in ["ROUND 3", "ROUND 7"] {
        eventually(round, GUEST, || console(&store, "busy").contains(round).then_some(()));
        store.kill();
        store.up();
    }
    let console = eventually("the guest's end", GUEST, || {
        let console = console(&store, "busy");
        (console.contains("GUEST-OK") || console.contains("GUEST-FAILED")).then_some(console)
    });
    assert!(console.contains("ALL-RIGHT") && !console.contains("I/O error"), "{console}");
    eventually("the volume's release", GUEST, || {
        store.json(&["volume", "show", "root"])["attachment"].is_null().then_some(())
    });
    store.stop();
}

#[test]
fn a_guest_that_boots_does_not_see_the_daemon_die() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_guest_that_boots_does_not_see_the_daemon_die", &why),
    };
    let mut store = Store::start("1G");
    store.cli(&["volume", "create", "root", "--size", "64M"]);
    let script = "dd if=/dev/vda of=/dev/null bs=64k count=16 2>/dev/null && echo ALL-RIGHT";
    start(&store, &guest, "early", script);
    // Its BIOS is about to start the disk, and then waits for it.
    store.kill();
    let dir = store.dir.path().join("data/vms/early");
    let file = |name: &str| {
        let bytes = std::fs::read(dir.join(name)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    for _ in 0..20 {
        if file("qemu.log").contains("vhost start failed") {
            break;
        }
        sleep(Duration::from_millis(100));
    }
    store.up();
    eventually("the guest's end", GUEST, || file("console.log").contains("GUEST-").then_some(()));
    let console = file("console.log");
    assert!(console.contains("ALL-RIGHT") && !console.contains("I/O error"), "{console}");
    store.stop();
}

fn start(store: &Store, guest: &Guest, name: &str, script: &str) {
    let dir = store.dir.path().join(name);
    std::fs::create_dir_all(&dir).unwrap();
    let initrd = guest.initrd(&dir, script);
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let vm = store.json(&[
        "vm",
        "run",
        name,
        "--volume",
        "root",
        "--kernel",
        &path(&guest.kernel),
        "--initrd",
        &path(&initrd),
        "--append",
        "console=ttyS0 quiet panic=-1",
        "--memory",
        "256M",
        "--cpus",
        "2",
    ]);
    assert_eq!(vm["state"], "running", "{vm}");
}

/// Runs a guest to its end; what it wrote on its console.
fn run_guest(store: &Store, guest: &Guest, name: &str, script: &str) -> String {
    start(store, guest, name, script);
    let ended = eventually("the guest's end", GUEST, || {
        let vms = store.json(&["vm", "list"]);
        let vm = vms.as_array().unwrap().iter().find(|vm| vm["name"] == name).cloned()?;
        (vm["state"] != "running").then_some(vm)
    });
    let console = console(store, name);
    assert!(console.contains("GUEST-OK"), "{console}");
    assert_eq!(ended["state"], "exited", "{ended}");
    assert_eq!(ended["reason"], "the guest powered off", "{ended}");
    console
}

fn console(store: &Store, name: &str) -> String {
    store.cli(&["vm", "console", name, "--log"])
}

fn sums(console: &str) -> String {
    let lines = console.lines().map(str::trim_end);
    let sums: Vec<&str> = lines
        .skip_while(|line| *line != "SUMS-BEGIN")
        .skip(1)
        .take_while(|line| *line != "SUMS-END")
        .collect();
    sums.join("\n")
}

fn used(store: &Store) -> u64 {
    store.json(&["volume", "show", "root"])["used_bytes"].as_u64().unwrap()
}
