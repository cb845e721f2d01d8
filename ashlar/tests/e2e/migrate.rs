//! A running VM moves between two agents, or stays where it was; and a volume is taken over by a guest that somebody
//! else moves.

use crate::block_client::BlockClient;
use crate::guest::Guest;
use crate::harness::{Random, clean, eventually, expect_success, noise, refused, seed, skip, sleep};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use trial::fleet::{Fleet, Network};
use trial::process::{Daemon, program};

/// Emulated guests are slow on a busy machine.
const GUEST: Duration = Duration::from_secs(240);
const MINUTE: Duration = Duration::from_secs(60);
const HERE: &str = "node-vm";
const THERE: &str = "node-vm2";

/// Writes and checks for as long as it takes to be moved, and then everything once more.
const BUSY: &str = r"
/real/mke2fs -q -t ext4 -E nodiscard /dev/vda
mount -t ext4 /dev/vda /mnt
n=0
while [ $n -lt 40 ]; do
    n=$((n+1))
    dd if=/dev/urandom of=/mnt/file$n bs=64k count=8 conv=fsync 2>/dev/null
    sha256sum /mnt/file$n >> /mnt/sums
    echo 3 > /proc/sys/vm/drop_caches
    sha256sum -c -s /mnt/sums || { echo WRONG; sha256sum -c /mnt/sums 2>&1 | grep -v OK; }
    echo ROUND $n
    sleep 0.3
done
sync
umount /mnt
mount -t ext4 /dev/vda /mnt
sha256sum -c -s /mnt/sums && echo ALL-RIGHT
umount /mnt
";

/// A pool with two agents.
struct Two {
    fleet: Fleet,
    other: Option<Daemon>,
}

impl Two {
    fn start() -> Self {
        let fleet = Fleet::start("1G", Network::Plain, seed()).unwrap();
        let mut two = Self { fleet, other: None };
        two.start_other(&[]);
        two.fleet.cli(&["volume", "create", "root", "--size", "128M"]);
        two
    }

    fn dir(&self, agent: &str) -> PathBuf {
        self.fleet.dir.path().join(agent)
    }

    fn start_other(&mut self, more: &[&str]) {
        let mut command = clean(program());
        command.arg("agent").arg("--dir").arg(self.dir("agent2")).args(["--node", THERE]).args(more);
        command.arg("--meta").arg(self.fleet.env("ASHLAR_ADMIN"));
        command.arg("--token-file").arg(self.dir("voter/secrets/daemon.token"));
        self.other = Some(Daemon::start("the other agent", &mut command, &self.dir("agent2.log")));
        eventually("the other agent in the pool", MINUTE, || {
            self.fleet.cli(&["node", "list"]).contains(THERE).then_some(())
        });
    }

    /// A program in the place of QEMU.
    fn qemu(&self, script: &str) -> PathBuf {
        let qemu = self.dir("qemu");
        std::fs::write(&qemu, format!("#!/bin/bash\n{script}")).unwrap();
        std::fs::set_permissions(&qemu, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        qemu
    }

    fn json(&self, args: &[&str]) -> Value {
        let args = [args, &["-o", "json"]].concat();
        serde_json::from_str(&self.fleet.cli(&args)).unwrap()
    }

    fn fails(&self, code: i32, args: &[&str]) -> String {
        refused(code, &self.fleet.command(args).output().unwrap())
    }

    /// Starts the guest here and waits until it is in the middle of its work.
    fn run(&self, guest: &Guest) {
        let initrd = guest.initrd(self.fleet.dir.path(), BUSY);
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        let (kernel, initrd) = (path(&guest.kernel), path(&initrd));
        let start = ["vm", "run", "busy", "--volume", "root", "--node", HERE, "--memory", "192M"];
        let boot = ["--kernel", &kernel, "--initrd", &initrd, "--append", "console=ttyS0 quiet panic=-1"];
        self.fleet.cli(&[&start[..], &boot[..]].concat());
        self.await_console("agent", "ROUND 3\r");
    }

    fn migrate(&self, to: &str) {
        // A machine that stops everything for some seconds makes an agent look gone, and the VM stays: it is asked again.
        let moved: Value = eventually("the move", GUEST, || {
            let output =
                self.fleet.command(&["vm", "migrate", "busy", "--to", to, "-o", "json"]).output().unwrap();
            if output.status.code() == Some(6) {
                return None;
            }
            Some(serde_json::from_str(&expect_success("vm migrate", &output, &self.fleet.logs())).unwrap())
        });
        assert_eq!((&moved["node"], &moved["state"]), (&to.into(), &"running".into()), "{moved}");
    }

    fn console(&self, agent: &str) -> String {
        let bytes = std::fs::read(self.dir(agent).join("vms/busy/console.log")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn await_console(&self, agent: &str, text: &str) {
        eventually(text, GUEST, || {
            let console = self.console(agent);
            assert!(!console.contains("GUEST-FAILED"), "{console}");
            console.contains(text).then_some(())
        });
    }

    /// The guest's end, wherever it is, with nothing lost and nothing done twice.
    fn await_end(&self) {
        let both = || self.console("agent") + &self.console("agent2");
        eventually("the guest's end", GUEST, || both().contains("GUEST-").then_some(()));
        let console = both();
        for bad in ["WRONG", "I/O error", "GUEST-FAILED", "EXT4-fs error", "BUG: "] {
            let log = || std::fs::read_to_string(self.dir("agent2.log")).unwrap_or_default();
            assert!(!console.contains(bad), "{bad}: {console}\nthe other agent: {}", log());
        }
        for good in ["ALL-RIGHT", "GUEST-OK"] {
            assert_eq!(console.matches(good).count(), 1, "{good}: {console}");
        }
        eventually("the volume's release", GUEST, || {
            self.json(&["volume", "show", "root"])["attachment"].is_null().then_some(())
        });
    }
}

fn guest(test: &str) -> Option<Guest> {
    Guest::get().map_err(|why| skip(test, &why)).ok()
}

#[test]
fn a_running_vm_moves_to_another_machine() {
    let Some(guest) = guest("a_running_vm_moves_to_another_machine") else { return };
    let mut two = Two::start();
    two.run(&guest);
    two.fails(5, &["vm", "run", "busy", "--volume", "root", "--node", THERE]);
    // Also back to a machine that it was on before.
    for to in [THERE, HERE, THERE, HERE, THERE] {
        two.migrate(to);
    }
    let vms = two.json(&["vm", "list"]);
    let state = |node: &str| vms.as_array().unwrap().iter().find(|vm| vm["node"] == node).cloned();
    let left = state(HERE).unwrap();
    assert!(left["state"] == "stopped" && left["reason"].to_string().contains("moved"), "{vms}");
    // What it came from must not be needed any more.
    two.fleet.kill_agent();
    two.await_console("agent2", "ROUND");
    two.await_end();
    two.fleet.start_agent();
}

#[test]
fn a_vm_that_cannot_move_goes_on_where_it_is() {
    let Some(guest) = guest("a_vm_that_cannot_move_goes_on_where_it_is") else { return };
    let mut two = Two::start();
    two.run(&guest);
    two.fails(3, &["vm", "migrate", "none", "--to", THERE]);
    two.fails(5, &["vm", "migrate", "busy", "--to", HERE]);
    two.fails(6, &["vm", "migrate", "busy", "--to", "nowhere"]);
    // A machine that QEMU refuses at the end of the transfer: less memory than the guest has.
    let qemu = two.qemu("exec qemu-system-x86_64 \"${@//192M/128M}\"\n");
    two.other.take().unwrap().stop();
    two.start_other(&["--qemu", qemu.to_str().unwrap()]);
    let line = two.fails(1, &["vm", "migrate", "busy", "--to", THERE]);
    assert!(line.contains("goes on on node 'node-vm'"), "{line}");
    let vms = two.json(&["vm", "list"]);
    assert!(vms.as_array().is_some_and(|vms| vms.len() == 1) && vms[0]["state"] == "running", "{vms}");
    two.await_end();
    assert!(!two.console("agent2").contains("ROUND"));
}

#[test]
fn whichever_agent_dies_in_a_move_one_guest_goes_on() {
    let Some(guest) = guest("whichever_agent_dies_in_a_move_one_guest_goes_on") else { return };
    let mut random = Random(seed());
    for is_target in [true, false] {
        let mut two = Two::start();
        two.run(&guest);
        let after = Duration::from_millis(200 + random.below(1800));
        let mut command = two.fleet.command(&["vm", "migrate", "busy", "--to", THERE]);
        let mut moving = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        sleep(after);
        if is_target {
            two.other.take().unwrap().kill();
        } else {
            two.fleet.kill_agent();
        }
        moving.wait().unwrap();
        if is_target {
            two.start_other(&[]);
        } else {
            two.fleet.start_agent();
        }
        two.await_end();
    }
}

#[test]
fn a_machine_that_was_killed_while_it_waited_for_a_guest_forgets_it() {
    let Some(guest) = guest("a_machine_that_was_killed_while_it_waited_for_a_guest_forgets_it") else {
        return;
    };
    let mut two = Two::start();
    two.run(&guest);
    // Its agent does not get to know that it waits.
    let qemu = two.qemu("exec qemu-system-x86_64 \"${@//qmp.sock/another.sock}\"\n");
    two.other.take().unwrap().stop();
    two.start_other(&["--qemu", qemu.to_str().unwrap()]);
    let mut command = two.fleet.command(&["vm", "migrate", "busy", "--to", THERE]);
    let mut moving = command.stdout(std::process::Stdio::null()).spawn().unwrap();
    let vm = two.dir("agent2").join("vms/busy");
    eventually("a QEMU that waits", MINUTE, || vm.join("incoming.sock").exists().then_some(()));
    two.other.take().unwrap().kill();
    moving.wait().unwrap();
    assert!(vm.join("vm.json").exists());
    two.start_other(&[]);
    assert!(!vm.join("vm.json").exists(), "a VM that did not come is forgotten");
    let vms = two.json(&["vm", "list"]);
    let [left] = &vms.as_array().unwrap()[..] else { panic!("{vms}") };
    assert_eq!((&left["node"], &left["state"]), (&HERE.into(), &"running".into()), "{vms}");
    two.fleet.cli(&["vm", "stop", "busy", "--timeout", "1"]);
}

#[test]
fn a_guest_that_starts_elsewhere_takes_the_volume_over() {
    let two = Two::start();
    let sockets = ["a.sock", "b.sock"].map(|name| two.dir(name));
    let [here, there] = sockets.each_ref().map(|path| path.to_str().unwrap());
    two.fails(5, &["volume", "attach", "root", "--socket", there, "--node", THERE, "--takeover"]);
    two.fleet.cli(&["volume", "attach", "root", "--socket", here, "--node", HERE]);
    let mut first = BlockClient::connect(&sockets[0]);
    let take = ["volume", "attach", "root", "--socket", there, "--node", THERE, "--takeover"];
    two.fleet.cli(&take);
    two.fleet.cli(&["volume", "detach", "root", "--node", THERE]);
    assert!(!sockets[1].exists(), "it was called off");
    two.fleet.cli(&take);
    assert!(two.fails(5, &take).contains("already"));
    // Until a guest starts there, the first serves, and is the one that is attached.
    let data = noise(1, 4096);
    assert_eq!((first.write(8192, &data), first.flush()), (0, 0));
    let node = || two.json(&["volume", "show", "root"])["attachment"]["node"].clone();
    let before = node();
    let mut second = BlockClient::connect(&sockets[1]);
    assert_eq!(second.read(8192, 4096), data);
    assert_eq!((second.write(8192, &noise(2, 4096)), second.flush()), (0, 0));
    assert_ne!(node(), before);
    assert_ne!(first.write(8192, &data), 0, "the former writer is fenced");
    assert_eq!(second.read(8192, 4096), noise(2, 4096));
    drop(first);
    eventually("the end of the former device", MINUTE, || (!sockets[0].exists()).then_some(()));
    drop(second);
    two.fleet.cli(&["volume", "detach", "root"]);
}
