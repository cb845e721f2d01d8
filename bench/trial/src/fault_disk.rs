//! A disk that fails to order: a file over FUSE, served by this process, for a chunk server that knows nothing of it.
//!
//! What can be had by no other way without changing the daemon: an error of one write or one flush, a device that
//! hangs or is slow, short reads and interrupted I/O, and a power cut that takes what was written since the last flush.

use crate::harness::{Random, now, sleep};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::collections::BTreeMap;
use std::ffi::CString;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const SECTOR: usize = 512;
const BLOCK: usize = 4096;
/// Requests served at one moment.
const THREADS: usize = 8;
/// The longest read or write of one request.
const MAX_IO: usize = 1 << 20;
/// What a request may have before its data.
const HEAD: usize = 4096;
/// The kernel may keep what it knows of the file.
const VALID_SECONDS: u64 = 1 << 20;
/// Of so many requests, one is answered oddly.
const ODD: u64 = 4;

/// What a power cut leaves of the writes that no flush followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Those up to some moment, the last one up to some sector.
    Prefix,
    /// Any blocks of them, some of those in part.
    Subset,
}

/// The orders.
#[derive(Default)]
struct Faults {
    fail_writes: u32,
    fail_flushes: u32,
    is_stalled: bool,
    bytes_per_second: Option<u64>,
    is_odd: bool,
    /// The power is off.
    is_dead: bool,
    /// Since the last flush, in order: where something was written, and what was there before.
    undo: Option<Vec<(u64, Vec<u8>)>>,
}

struct Served {
    channel: File,
    backing: File,
    len: u64,
    faults: Mutex<Faults>,
    changed: Condvar,
    /// Until when the slow device is busy.
    busy: Mutex<Option<Instant>>,
    random: Mutex<Random>,
    fired: AtomicU64,
}

/// A mounted disk. Dropping it takes it away.
pub struct FaultDisk {
    path: PathBuf,
    served: Arc<Served>,
}

impl FaultDisk {
    /// Serves the file `backing`, made with `len` bytes, at `path`, which is made too. Needs root and FUSE.
    pub fn mount(path: &Path, backing: &Path, len: u64, seed: u64) -> Result<Self, String> {
        let told = |what: &str, error: std::io::Error| format!("{what}: {error}");
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let channel = options.open("/dev/fuse").map_err(|error| told("/dev/fuse", error))?;
        let file = options.clone().create(true).truncate(true).open(backing);
        let file = file.map_err(|error| told("its file", error))?;
        file.set_len(len).map_err(|error| told("its file", error))?;
        File::create(path).map_err(|error| told("its path", error))?;
        let fd = channel.as_raw_fd();
        let data = CString::new(format!("fd={fd},rootmode=100000,user_id=0,group_id=0")).unwrap();
        let flags = MountFlags::NOSUID | MountFlags::NODEV;
        mount("ashlar-trial", path, "fuse", flags, data.as_c_str())
            .map_err(|error| told("mounting it", error.into()))?;
        let served = Arc::new(Served {
            channel,
            backing: file,
            len,
            faults: Mutex::default(),
            changed: Condvar::new(),
            busy: Mutex::default(),
            random: Mutex::new(Random(seed)),
            fired: AtomicU64::new(0),
        });
        for _ in 0..THREADS {
            let served = Arc::clone(&served);
            std::thread::spawn(move || served.serve());
        }
        Ok(Self { path: path.to_owned(), served })
    }

    /// The next writes fail with EIO.
    pub fn fail_writes(&self, count: u32) {
        self.served.faults().fail_writes = count;
    }

    /// The next flushes fail with EIO.
    pub fn fail_flushes(&self, count: u32) {
        self.served.faults().fail_flushes = count;
    }

    /// Nothing is answered any more.
    pub fn stall(&self) {
        self.served.faults().is_stalled = true;
    }

    pub fn throttle(&self, bytes_per_second: u64) {
        self.served.faults().bytes_per_second = Some(bytes_per_second);
    }

    /// Reads come back short, and reads and writes interrupted or to be tried again.
    pub fn be_odd(&self) {
        self.served.faults().is_odd = true;
    }

    /// All is well again, and the power is on.
    pub fn heal(&self) {
        *self.served.faults() = Faults::default();
        self.served.changed.notify_all();
    }

    /// From now on what is written is only kept by a flush.
    pub fn be_volatile(&self) {
        self.served.faults().undo = Some(Vec::new());
    }

    /// How often a fault did something.
    pub fn fired(&self) -> u64 {
        self.served.fired.load(Ordering::Relaxed)
    }

    /// Cuts the power: the disk is dead until it is healed, and some of what was not flushed is gone. How many writes
    /// lost something.
    pub fn cut_power(&self, cut: Cut, random: &mut Random) -> u64 {
        let mut faults = self.served.faults();
        faults.is_dead = true;
        let undo = faults.undo.take().unwrap_or_default();
        let lost = match cut {
            Cut::Prefix => self.served.keep_prefix(&undo, random),
            Cut::Subset => self.served.keep_subset(&undo, random),
        };
        self.served.fired.fetch_add(lost, Ordering::Relaxed);
        lost
    }
}

impl Drop for FaultDisk {
    fn drop(&mut self) {
        self.heal();
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}

impl Served {
    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep_prefix(&self, undo: &[(u64, Vec<u8>)], random: &mut Random) -> u64 {
        if undo.is_empty() {
            return 0;
        }
        let kept = random.below(undo.len() as u64) as usize;
        for (index, (at, old)) in undo.iter().enumerate().skip(kept).rev() {
            let torn =
                if index == kept { random.below((old.len() / SECTOR) as u64) as usize * SECTOR } else { 0 };
            self.backing.write_all_at(&old[torn..], at + torn as u64).unwrap();
        }
        (undo.len() - kept) as u64
    }

    fn keep_subset(&self, undo: &[(u64, Vec<u8>)], random: &mut Random) -> u64 {
        let mut durable = BTreeMap::<u64, &[u8]>::new();
        for (at, old) in undo {
            for (block, old) in (*at..).step_by(BLOCK).zip(old.chunks(BLOCK)) {
                durable.entry(block).or_insert(old);
            }
        }
        let mut lost = 0;
        for (at, old) in durable {
            let from = match random.below(3) {
                0 => continue,
                1 => 0,
                _ => random.below((old.len() / SECTOR) as u64) as usize * SECTOR,
            };
            self.backing.write_all_at(&old[from..], at + from as u64).unwrap();
            lost += 1;
        }
        lost
    }

    fn fire(&self) {
        self.fired.fetch_add(1, Ordering::Relaxed);
    }

    fn roll(&self, bound: u64) -> u64 {
        self.random.lock().unwrap_or_else(PoisonError::into_inner).below(bound)
    }

    /// Answers until the disk is taken away.
    fn serve(&self) {
        let mut request = vec![0; MAX_IO + HEAD];
        loop {
            match (&self.channel).read(&mut request) {
                Ok(len) => self.answer(&request[..len]),
                Err(error) if error.raw_os_error() == Some(Errno::NODEV.raw_os_error()) => return,
                // A request that was withdrawn in the meantime.
                Err(_) => continue,
            }
        }
    }

    /// One request: a `fuse_in_header` (include/uapi/linux/fuse.h) and what belongs to it.
    fn answer(&self, request: &[u8]) {
        const INIT: u32 = 26;
        let (opcode, unique) = (u32_at(request, 4), u64_at(request, 8));
        let body = &request[40..];
        let answer = match opcode {
            // FORGET, INTERRUPT, BATCH_FORGET: nobody waits.
            2 | 36 | 42 => return,
            INIT => Ok(init(body)),
            // GETATTR
            3 => Ok(self.attributes()),
            // OPEN: no page cache, so that everything comes here; writes beside each other.
            14 => Ok([&[0; 8][..], &0x41u32.to_le_bytes(), &[0; 4]].concat()),
            15 => self.read(u64_at(body, 8), u32_at(body, 16) as usize),
            16 => {
                let len = u32_at(body, 16) as usize;
                self.write(u64_at(body, 8), &body[40..40 + len])
                    .map(|count| [(count as u32).to_le_bytes(), [0; 4]].concat())
            }
            20 => self.flush(),
            // RELEASE, FLUSH (of a close), DESTROY, ACCESS
            18 | 25 | 38 | 34 => Ok(Vec::new()),
            _ => Err(Errno::NOSYS),
        };
        let (error, data) = match answer {
            Ok(data) => (0, data),
            Err(errno) => (-errno.raw_os_error(), Vec::new()),
        };
        let len = (16 + data.len()) as u32;
        let head = [&len.to_le_bytes()[..], &error.to_le_bytes(), &unique.to_le_bytes()].concat();
        // Fails if whoever asked is gone.
        let _ = (&self.channel).write(&[head, data].concat());
    }

    fn attributes(&self) -> Vec<u8> {
        let words = [VALID_SECONDS, 0, 1, self.len, self.len / SECTOR as u64, 0, 0, 0];
        let halves = [0, 0, 0, 0o100_600u32, 1, 0, 0, 0, BLOCK as u32, 0];
        let words = words.into_iter().flat_map(u64::to_le_bytes);
        words.chain(halves.into_iter().flat_map(u32::to_le_bytes)).collect()
    }

    /// Waits as long as the orders say.
    fn gate(&self, len: usize) -> Result<MutexGuard<'_, Faults>, Errno> {
        let mut faults = self.faults();
        if faults.is_stalled {
            self.fire();
        }
        while faults.is_stalled {
            faults = self.changed.wait(faults).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(rate) = faults.bytes_per_second {
            drop(faults);
            self.fire();
            let until = {
                let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
                let from = busy.filter(|busy| *busy > now()).unwrap_or_else(now);
                let until = from + Duration::from_micros(len as u64 * 1_000_000 / rate);
                *busy = Some(until);
                until
            };
            sleep(until.saturating_duration_since(now()));
            faults = self.faults();
        }
        if faults.is_dead {
            return Err(Errno::IO);
        }
        Ok(faults)
    }

    /// Now and then a request is to be tried again.
    fn hiccup(&self) -> Result<(), Errno> {
        if self.roll(ODD) > 0 {
            return Ok(());
        }
        self.fire();
        Err(if self.roll(2) == 0 { Errno::INTR } else { Errno::AGAIN })
    }

    /// How many bytes a read gives. (Of a write that it does not wait for, the kernel's FUSE makes EIO if it is
    /// short: that is another fault.)
    fn short(&self, len: usize) -> usize {
        if len <= SECTOR || self.roll(ODD) > 0 {
            return len;
        }
        self.fire();
        (1 + self.roll((len / SECTOR) as u64 - 1) as usize) * SECTOR
    }

    fn read(&self, at: u64, len: usize) -> Result<Vec<u8>, Errno> {
        let faults = self.gate(len)?;
        let is_odd = faults.is_odd;
        drop(faults);
        let len = if is_odd { self.hiccup().map(|()| self.short(len))? } else { len };
        let mut data = vec![0; len.min(self.len.saturating_sub(at) as usize)];
        self.backing.read_exact_at(&mut data, at).map_err(errno)?;
        Ok(data)
    }

    fn write(&self, at: u64, data: &[u8]) -> Result<usize, Errno> {
        let mut faults = self.gate(data.len())?;
        if faults.fail_writes > 0 {
            faults.fail_writes -= 1;
            self.fire();
            return Err(Errno::IO);
        }
        if faults.is_odd {
            self.hiccup()?;
        }
        let len = data.len();
        if let Some(undo) = &mut faults.undo {
            let mut old = vec![0; len];
            self.backing.read_exact_at(&mut old, at).map_err(errno)?;
            undo.push((at, old));
        }
        // Under the lock, so that what a flush and a power cut see is all or nothing.
        self.backing.write_all_at(data, at).map_err(errno)?;
        Ok(len)
    }

    fn flush(&self) -> Result<Vec<u8>, Errno> {
        let mut faults = self.gate(0)?;
        if faults.fail_flushes > 0 {
            faults.fail_flushes -= 1;
            self.fire();
            return Err(Errno::IO);
        }
        if let Some(undo) = &mut faults.undo {
            undo.clear();
        }
        Ok(Vec::new())
    }
}

/// The answer to the kernel's first request: `fuse_init_out`.
fn init(asked: &[u8]) -> Vec<u8> {
    // ASYNC_READ, BIG_WRITES, ASYNC_DIO, MAX_PAGES
    let flags = u32_at(asked, 12) & (1 | 1 << 5 | 1 << 15 | 1 << 22);
    let mut out = [7u32, 31, 0, flags].map(u32::to_le_bytes).concat();
    // In the background at most, and when that counts as many.
    out.extend([64u16, 48].map(u16::to_le_bytes).concat());
    out.extend([MAX_IO as u32, 1].map(u32::to_le_bytes).concat());
    out.extend([(MAX_IO / BLOCK) as u16, 0].map(u16::to_le_bytes).concat());
    out.resize(64, 0);
    out
}

fn errno(error: std::io::Error) -> Errno {
    Errno::from_io_error(&error).unwrap_or(Errno::IO)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{noise, skip};

    fn disk() -> Option<(tempfile::TempDir, FaultDisk, File)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disk");
        let disk = match FaultDisk::mount(&path, &dir.path().join("backing"), 8 << 20, 1) {
            Ok(disk) => disk,
            Err(why) => {
                skip("fault_disk", &why);
                return None;
            }
        };
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        Some((dir, disk, file))
    }

    fn read(file: &File, at: u64) -> Vec<u8> {
        let mut data = vec![0; 2 * BLOCK];
        file.read_exact_at(&mut data, at).unwrap();
        data
    }

    #[test]
    fn it_is_a_disk_until_it_is_told_otherwise() {
        let Some((_dir, disk, file)) = disk() else { return };
        assert_eq!(file.metadata().unwrap().len(), 8 << 20);
        let data = noise(1, 2 * BLOCK);
        file.write_all_at(&data, 8192).unwrap();
        file.sync_data().unwrap();
        assert!(read(&file, 8192) == data);
        let big = noise(2, 3 << 20);
        file.write_all_at(&big, 4 << 20).unwrap();
        let mut seen = vec![0; big.len()];
        file.read_exact_at(&mut seen, 4 << 20).unwrap();
        assert!(seen == big);

        disk.fail_writes(1);
        assert_eq!(file.write_at(&data, 0).unwrap_err().raw_os_error(), Some(5));
        assert!(file.write_at(&data, 0).is_ok());
        disk.fail_flushes(1);
        assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(5));
        assert!(file.sync_data().is_ok());
        disk.be_odd();
        let odd = (0..100).filter(|_| file.write_at(&data, 0).ok() != Some(data.len())).count();
        assert!(odd > 5, "{odd} of 100 were odd");
        assert!(disk.fired() > 7);
        disk.heal();
        assert_eq!(file.write_at(&data, 0).unwrap(), data.len());
    }

    #[test]
    fn a_power_cut_takes_only_what_was_not_flushed() {
        let Some((_dir, disk, file)) = disk() else { return };
        let mut random = Random(5);
        for cut in [Cut::Prefix, Cut::Subset] {
            let (kept, lost) = (noise(1, 2 * BLOCK), noise(2, 2 * BLOCK));
            disk.be_volatile();
            (0..64).for_each(|at| file.write_all_at(&kept, at * 8192).unwrap());
            file.sync_data().unwrap();
            (0..32).for_each(|at| file.write_all_at(&lost, at * 8192).unwrap());
            assert!(disk.cut_power(cut, &mut random) > 0);
            assert_eq!(file.write_at(&lost, 0).unwrap_err().raw_os_error(), Some(5));
            disk.heal();
            let states: Vec<bool> = (0..32)
                .flat_map(|at| read(&file, at * 8192).chunks(SECTOR).map(<[u8]>::to_vec).collect::<Vec<_>>())
                .zip((0..32).flat_map(|_| lost.chunks(SECTOR).zip(kept.chunks(SECTOR))))
                .map(|(seen, (lost, kept))| {
                    assert!(seen == lost || seen == kept);
                    seen == lost
                })
                .collect();
            assert!(states.contains(&false));
            if cut == Cut::Prefix {
                assert!(states.is_sorted_by(|one, next| one >= next), "{states:?}");
            }
            assert!((32..64).all(|at| read(&file, at * 8192) == kept));
        }
    }
}
