//! Real VMs on QEMU whose disk's process is killed under them, or left behind when they move. The processes are
//! this program again: see [`agent`].

#![allow(clippy::unwrap_used, reason = "a test's panic is its report")]
#![allow(clippy::print_stdout, reason = "the processes tell their test how they are")]

mod agent;
#[path = "../../../ashlar/tests/e2e/guest.rs"]
mod guest;
mod vm;

use agent::{Agent, Pool, SIZE};
use guest::Guest;
use harness::{eventually, skip};
use std::time::Duration;
use trial::harness;
use vhost_user::Open;
use vm::Vm;

/// Four writers at once, each of which checks what it wrote before; the page cache is dropped all the time.
const BUSY: &str = r"
/real/mke2fs -q -t ext4 -E nodiscard /dev/vda
mount -t ext4 /dev/vda /mnt
work() {
    for n in 1 2 3 4 5 6; do
        dd if=/dev/urandom of=/mnt/file$1.$n bs=64k count=12 conv=fsync 2>/dev/null
        sha256sum /mnt/file$1.$n >> /mnt/sums$1
        echo 3 > /proc/sys/vm/drop_caches
        sha256sum -c -s /mnt/sums$1 || echo WRONG
        echo ROUND $1 $n
    done
}
work 1 & work 2 & work 3 & work 4 &
wait
sync
umount /mnt
mount -t ext4 /dev/vda /mnt
for n in 1 2 3 4; do sha256sum -c -s /mnt/sums$n || echo WRONG; done
umount /mnt
echo ALL-DONE
";

fn verdict(console: &str) {
    for bad in ["WRONG", "I/O error", "GUEST-FAILED", "EXT4-fs error"] {
        assert!(!console.contains(bad), "{bad}: {console}");
    }
    assert!(console.contains("ALL-DONE") && console.contains("GUEST-OK"), "{console}");
}

#[test]
fn a_guest_outlives_its_device_again_and_again() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_guest_outlives_its_device_again_and_again", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut pool = Pool::start(folder.path());
    let socket = folder.path().join("disk.sock");
    let mut agent = Agent::start(&pool, &socket, 1, Open::AtOnce);
    let mut vm = Vm::start(&guest, folder.path(), "busy", BUSY, &socket, None);
    vm.await_console("a mounted disk", "ROUND 1 1");
    let (mut epoch, mut recovered) = (1, 0);
    while !vm.console().contains("ALL-DONE") && epoch < 21 && vm.is_running() {
        std::thread::park_timeout(Duration::from_millis(250));
        // Every other time with two of three replicas gone: writes wait, so that some are in flight however fast the
        // disk is and however little of the time the guest uses it.
        let waits = epoch % 2 == 1;
        if waits {
            pool.break_down();
            std::thread::park_timeout(Duration::from_millis(500));
        }
        recovered += agent.kill();
        if waits {
            pool.mend();
        }
        epoch += 1;
        agent = Agent::start(&pool, &socket, epoch, Open::AtOnce);
    }
    vm.await_end();
    verdict(&vm.console());
    recovered += agent.kill();
    // The fault must have fired, and in the middle of something.
    assert!(epoch > 4 && recovered > 0, "{epoch} devices, {recovered} requests asked again");
}

#[test]
fn a_guest_may_be_paused_while_its_volume_stalls() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_guest_may_be_paused_while_its_volume_stalls", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let mut pool = Pool::start(folder.path());
    let socket = folder.path().join("disk.sock");
    let agent = Agent::start(&pool, &socket, 1, Open::AtOnce);
    let mut vm = Vm::start(&guest, folder.path(), "stalled", BUSY, &socket, None);
    vm.await_console("a mounted disk", "ROUND 1 1");
    // Two of three replicas go: writes wait. QEMU waits for the queues, and is answered though they don't end.
    pool.break_down();
    std::thread::park_timeout(Duration::from_secs(3));
    vm.pause();
    vm.resume();
    pool.mend();
    vm.await_end();
    verdict(&vm.console());
    agent.kill();
}

#[test]
fn a_paused_guest_outlives_its_device() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_paused_guest_outlives_its_device", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let pool = Pool::start(folder.path());
    let socket = folder.path().join("disk.sock");
    let agent = Agent::start(&pool, &socket, 1, Open::AtOnce);
    let mut vm = Vm::start(&guest, folder.path(), "paused", BUSY, &socket, None);
    vm.await_console("a mounted disk", "ROUND 1 1");
    vm.pause();
    agent.kill();
    let agent = Agent::start(&pool, &socket, 2, Open::AtOnce);
    eventually("QEMU's connection", vm::LIMIT, || agent.is_connected().then_some(()));
    vm.resume();
    vm.await_end();
    verdict(&vm.console());
    agent.kill();
}

/// Waits for a larger disk, and writes where it was none.
const GROWING: &str = r"
echo SECTORS $(cat /sys/block/vda/size)
n=0
while [ $(cat /sys/block/vda/size) = 262144 ] && [ $n -lt 3000 ]; do sleep 0.1; n=$((n+1)); done
echo SECTORS $(cat /sys/block/vda/size)
dd if=/dev/urandom of=/tmp/data bs=64k count=16 2>/dev/null
dd if=/tmp/data of=/dev/vda bs=64k seek=2040 conv=fsync 2>/dev/null
echo 3 > /proc/sys/vm/drop_caches
dd if=/dev/vda of=/tmp/back bs=64k skip=2040 count=16 2>/dev/null
cmp /tmp/data /tmp/back || echo WRONG
echo ALL-DONE
";

#[test]
fn a_guest_s_disk_grows() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_guest_s_disk_grows", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let pool = Pool::start(folder.path());
    let socket = folder.path().join("disk.sock");
    let mut agent = Agent::start(&pool, &socket, 1, Open::AtOnce);
    let mut vm = Vm::start(&guest, folder.path(), "growing", GROWING, &socket, None);
    vm.await_console("a disk of its old size", &format!("SECTORS {}", SIZE / 512));
    agent.resize(2 * SIZE);
    vm.await_end();
    verdict(&vm.console());
    assert!(vm.console().contains(&format!("SECTORS {}", 2 * SIZE / 512)), "{}", vm.console());
    agent.kill();
}

#[test]
fn a_guest_moves_to_another_host_s_device() {
    let guest = match Guest::get() {
        Ok(guest) => guest,
        Err(why) => return skip("a_guest_moves_to_another_host_s_device", &why),
    };
    let folder = tempfile::tempdir().unwrap();
    let pool = Pool::start(folder.path());
    let sockets = ["source.sock", "target.sock"].map(|name| folder.path().join(name));
    let source_agent = Agent::start(&pool, &sockets[0], 1, Open::AtOnce);
    let mut source = Vm::start(&guest, folder.path(), "source", BUSY, &sockets[0], None);
    source.await_console("a mounted disk", "ROUND 1 2");
    let target_agent = Agent::start(&pool, &sockets[1], 2, Open::WithFirstQueue);
    let incoming = folder.path().join("incoming.sock");
    let mut target = Vm::start(&guest, folder.path(), "target", BUSY, &sockets[1], Some(&incoming));
    eventually("the target's monitor", vm::LIMIT, || incoming.exists().then_some(()));
    source.migrate_to(&incoming);
    // It must not be needed any more.
    source_agent.kill();
    target.await_end();
    let console = source.console() + &target.console();
    verdict(&console);
    assert!(target.console().contains("ROUND"), "it moved when there was nothing left to do: {console}");
    target_agent.kill();
}
