//! What a test's guest is made of: Debian's cloud kernel from its package, and an initrd of busybox, mke2fs and
//! the test's own script.

use crate::harness::{cache, have};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// In the order in which they need each other.
const MODULES: [&str; 6] =
    ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"];

const INIT: &str = r"#!/bin/busybox sh
/bin/busybox mkdir -p /proc /sys /dev /mnt /etc /tmp /sbin /usr/bin /usr/sbin
/bin/busybox --install -s /bin
mount -t proc none /proc
mount -t sysfs none /sys
mount -t devtmpfs none /dev
ln -sf /proc/mounts /etc/mtab
# Two of them need each other's symbols in an order that differs between kernels.
for module in MODULES MODULES; do insmod /modules/$module.ko 2>/dev/null; done
n=0
while [ ! -b /dev/vda ] && [ $n -lt 200 ]; do sleep 0.1; n=$((n+1)); done
sh -e /run.sh && echo GUEST-OK || echo GUEST-FAILED
sync
poweroff -f
";

/// A kernel and how to make initrds for it.
pub struct Guest {
    pub kernel: PathBuf,
    modules: PathBuf,
    version: String,
}

impl Guest {
    /// The newest 6.1 cloud kernel that the package lists know, fetched once; or why there is none.
    pub fn get() -> Result<Self, String> {
        for program in ["qemu-system-x86_64", "busybox", "cpio", "mke2fs", "dpkg", "apt-get"] {
            if !have(program) {
                return Err(format!("{program} is not installed"));
            }
        }
        let root = cache().join("kernel");
        if let Some(guest) = Self::find(&root) {
            return Ok(guest);
        }
        let package = newest_package()?;
        // In a folder of its own and renamed when whole, so that a broken download is never used.
        let work =
            tempfile::Builder::new().prefix("kernel-").tempdir_in(cache()).map_err(|e| e.to_string())?;
        run(Command::new("apt-get").args(["download", "-q", &package]).current_dir(work.path()))?;
        let archive = fs::read_dir(work.path())
            .map_err(|error| error.to_string())?
            .filter_map(Result::ok)
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
            .ok_or("apt-get download left no package")?;
        run(Command::new("dpkg").arg("-x").arg(&archive).arg(work.path().join("x")))?;
        let _ = fs::remove_dir_all(&root);
        fs::rename(work.path().join("x"), &root).map_err(|error| error.to_string())?;
        Self::find(&root).ok_or_else(|| format!("{package} holds no kernel"))
    }

    fn find(root: &Path) -> Option<Self> {
        let kernel =
            fs::read_dir(root.join("boot")).ok()?.filter_map(Result::ok).map(|entry| entry.path()).find(
                |path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")),
            )?;
        let version = kernel.file_name()?.to_str()?.strip_prefix("vmlinuz-")?.to_owned();
        Some(Self { kernel, modules: root.join("lib/modules").join(&version), version })
    }

    /// An initrd that runs `script` with /dev/vda there, prints GUEST-OK or GUEST-FAILED, and powers off.
    pub fn initrd(&self, dir: &Path, script: &str) -> PathBuf {
        let root = dir.join("initrd");
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(root.join("bin")).unwrap();
        fs::create_dir_all(root.join("modules")).unwrap();
        copy(&which("busybox"), &root.join("bin/busybox"));
        install_with_libraries(&which("mke2fs"), &root);
        for module in MODULES {
            let found = find_file(&self.modules, &format!("{module}.ko"))
                .unwrap_or_else(|| panic!("kernel {} has no module {module}", self.version));
            copy(&found, &root.join(format!("modules/{module}.ko")));
        }
        write_script(&root.join("init"), &INIT.replace("MODULES", &MODULES.join(" ")));
        write_script(&root.join("run.sh"), script);
        let path = dir.join("initrd.img");
        let status = Command::new("sh")
            .args(["-c", "find . | cpio -o -H newc --quiet"])
            .current_dir(&root)
            .stdout(fs::File::create(&path).unwrap())
            .status()
            .unwrap();
        assert!(status.success());
        path
    }
}

fn newest_package() -> Result<String, String> {
    let names = || -> Result<Vec<String>, String> {
        let output = Command::new("apt-cache")
            .args(["search", "--names-only", "^linux-image-6\\.1\\.0-[0-9]+-cloud-amd64$"])
            .output()
            .map_err(|error| error.to_string())?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        Ok(text.lines().filter_map(|line| Some(line.split_once(' ')?.0.to_owned())).collect())
    };
    let mut found = names()?;
    if found.is_empty() {
        run(Command::new("apt-get").args(["update", "-q"]))?;
        found = names()?;
    }
    let number = |name: &String| {
        name.strip_prefix("linux-image-6.1.0-")
            .and_then(|rest| rest.split('-').next()?.parse::<u32>().ok())
            .unwrap_or(0)
    };
    found.into_iter().max_by_key(number).ok_or_else(|| "no cloud kernel in the package lists".to_owned())
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

fn which(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir: PathBuf| dir.join(program))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("{program} is not installed"))
}

/// The program and the libraries `ldd` names, at the paths it names.
fn install_with_libraries(program: &Path, root: &Path) {
    // Out of the way of busybox's applet of the same name, which makes ext2 only.
    copy(program, &root.join("real").join(program.file_name().unwrap()));
    let output = Command::new("ldd").arg(program).output().unwrap();
    for word in
        String::from_utf8_lossy(&output.stdout).split_whitespace().filter(|word| word.starts_with('/'))
    {
        copy(Path::new(word), &root.join(word.trim_start_matches('/')));
    }
}

fn find_file(dir: &Path, name: &str) -> Option<PathBuf> {
    for entry in fs::read_dir(dir).ok()?.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            if let Some(found) = find_file(&path, name) {
                return Some(found);
            }
        } else if path.file_name().is_some_and(|file| file == name) {
            return Some(path);
        }
    }
    None
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|error| panic!("can't copy {}: {error}", from.display()));
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}
