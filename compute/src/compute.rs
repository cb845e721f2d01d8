//! All the VMs of one data folder: start, list, stop, and take back those an earlier daemon left running.

use crate::command::{Begin, VmFiles, arguments};
use crate::error::{ComputeError, ErrorKind};
use crate::keeper::{Keeper, Request, log_tail};
use crate::limits::{CONNECT_PAUSE, EXIT_QUEUE, KEEPER_QUEUE, MAX_SOCKET_PATH_BYTES, START_DEADLINE};
use crate::probe::{self, Accel, AccelChoice, Acceleration};
use crate::process::{Process, ProcessId};
use crate::qmp::Qmp;
use crate::record::{VmInfo, VmRecord, VmState};
use crate::spec::{VmSpec, check_name};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::sync::{OnceCell, mpsc, oneshot, watch};

/// Where VMs live and how they run.
#[derive(Debug, Clone)]
pub struct ComputeConfig {
    /// The folder of all VMs; made if it is missing.
    pub dir: PathBuf,
    /// QEMU's program, looked up in `PATH` if it has no slash.
    pub qemu: PathBuf,
    pub accel: AccelChoice,
}

/// A VM's end, told to who serves its disk.
#[derive(Debug)]
pub struct Exit {
    pub name: String,
    pub disk_socket: PathBuf,
    /// Dropped or sent once the disk is let go of; only then is the VM seen as ended.
    pub done: oneshot::Sender<()>,
}

/// The VMs of one data folder.
#[derive(Debug)]
pub struct Compute {
    config: ComputeConfig,
    acceleration: OnceCell<Acceleration>,
    vms: Mutex<BTreeMap<String, Entry>>,
    exits: mpsc::Sender<Exit>,
}

#[derive(Debug, Clone)]
pub(crate) enum Entry {
    /// Its name is taken while it starts.
    Starting,
    /// Its QEMU waits for a guest that is on its way here.
    Receiving(Vm),
    Known(Vm),
}

#[derive(Debug, Clone)]
pub(crate) struct Vm {
    pub record: VmRecord,
    pub state: watch::Receiver<VmState>,
    pub requests: mpsc::Sender<Request>,
}

impl Compute {
    /// Reads the records and takes back every VM that still runs. The receiver is told of each VM's end and
    /// must be emptied, since a keeper waits for it.
    pub async fn open(config: ComputeConfig) -> Result<(Self, mpsc::Receiver<Exit>), ComputeError> {
        make_folder(&config.dir)?;
        let (exits, receiver) = mpsc::channel(EXIT_QUEUE);
        let compute = Self { config, acceleration: OnceCell::new(), vms: Mutex::new(BTreeMap::new()), exits };
        let failed = |error| ComputeError::io(format!("can't list {}", compute.config.dir.display()), error);
        for folder in std::fs::read_dir(&compute.config.dir).map_err(failed)? {
            let files = VmFiles { dir: folder.map_err(failed)?.path() };
            if files.record().exists() {
                match VmRecord::load(&files.record()) {
                    Ok(record) => compute.take_back(files, record).await,
                    Err(error) => tracing::warn!(%error, "a VM's record is left alone"),
                }
            }
        }
        Ok((compute, receiver))
    }

    /// How guests run here; the first call probes.
    pub async fn acceleration(&self) -> Result<Acceleration, ComputeError> {
        let probe = async {
            match self.config.accel {
                AccelChoice::Kvm => Ok(Acceleration { accel: Accel::Kvm, reason: None }),
                AccelChoice::Tcg => {
                    Ok(Acceleration { accel: Accel::Tcg, reason: Some("emulation was asked for".into()) })
                }
                AccelChoice::Auto => probe::probe(&self.config.qemu, &self.config.dir).await,
            }
        };
        self.acceleration.get_or_try_init(|| probe).await.cloned()
    }

    /// Whether QEMU is installed; the error says what to do.
    pub fn check_qemu(&self) -> Result<(), ComputeError> {
        let qemu = &self.config.qemu;
        let found = if qemu.as_os_str().as_bytes().contains(&b'/') {
            qemu.is_file()
        } else {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(qemu).is_file())
        };
        if found {
            return Ok(());
        }
        Err(ComputeError::new(
            ErrorKind::Unavailable,
            format!("{} is not installed; run: apt-get install qemu-system-x86 qemu-utils", qemu.display()),
        ))
    }

    /// Where the disk of a VM of this name is to be served. Makes its folder.
    pub fn disk_socket(&self, name: &str) -> Result<PathBuf, ComputeError> {
        check_name(name)?;
        let files = self.files(name);
        make_folder(&files.dir)?;
        let longest = files.console();
        if longest.as_os_str().len() > MAX_SOCKET_PATH_BYTES {
            return Err(ComputeError::new(
                ErrorKind::Invalid,
                format!(
                    "{} is longer than a unix socket's path may be ({MAX_SOCKET_PATH_BYTES} bytes); \
                     use a data folder with a shorter path",
                    longest.display()
                ),
            ));
        }
        Ok(files.disk())
    }

    /// Whether a socket is the disk of a VM of this machine, of today or from before.
    pub fn is_disk_socket(&self, socket: &Path) -> bool {
        let folder = socket.parent();
        folder.and_then(Path::parent) == Some(&self.config.dir)
            && folder.is_some_and(|dir| VmFiles { dir: dir.to_owned() }.disk() == socket)
    }

    /// Whether a VM of this name may be started now.
    pub fn check_free(&self, name: &str) -> Result<(), ComputeError> {
        match self.lock().get(name) {
            Some(Entry::Known(vm)) if !vm.state.borrow().is_running() => Ok(()),
            None => Ok(()),
            Some(Entry::Receiving(_)) => Err(ComputeError::new(
                ErrorKind::Conflict,
                format!("a VM named '{name}' is on its way to this machine already"),
            )),
            Some(_) => Err(ComputeError::new(
                ErrorKind::Conflict,
                format!("a VM named '{name}' runs already; stop it first: ashlar vm stop {name}"),
            )),
        }
    }

    /// Starts a VM whose disk is served on `disk_socket`, and returns once its processors run.
    pub async fn run(&self, spec: VmSpec, disk_socket: &Path) -> Result<VmInfo, ComputeError> {
        self.begin(spec, disk_socket, Begin::Boot).await
    }

    pub(crate) async fn begin(
        &self,
        spec: VmSpec,
        disk_socket: &Path,
        begin: Begin,
    ) -> Result<VmInfo, ComputeError> {
        spec.check()?;
        self.check_qemu()?;
        self.check_free(&spec.name)?;
        let before = self.lock().insert(spec.name.clone(), Entry::Starting);
        let name = spec.name.clone();
        match self.start(spec, disk_socket, begin).await {
            Ok(vm) => {
                let info = self.info(&vm);
                let entry = match begin {
                    Begin::Boot => Entry::Known(vm),
                    Begin::Receive => Entry::Receiving(vm),
                };
                self.lock().insert(name, entry);
                Ok(info)
            }
            Err(error) => {
                match before {
                    Some(before) => self.lock().insert(name, before),
                    None => self.lock().remove(&name),
                };
                Err(error)
            }
        }
    }

    /// Every VM known here, by name.
    pub fn list(&self) -> Vec<VmInfo> {
        let vms = self.lock();
        vms.values()
            .filter_map(|entry| match entry {
                Entry::Starting | Entry::Receiving(_) => None,
                Entry::Known(vm) => Some(self.info(vm)),
            })
            .collect()
    }

    /// One VM.
    pub fn get(&self, name: &str) -> Result<VmInfo, ComputeError> {
        Ok(self.info(&self.find(name)?))
    }

    /// Asks the guest to power off and waits; past the deadline QEMU is told to quit, and then killed.
    pub async fn stop(&self, name: &str, deadline: Duration) -> Result<VmInfo, ComputeError> {
        let mut vm = self.find(name)?;
        if vm.state.borrow().is_running() {
            // A closed channel means that the VM has just ended, which is what was asked for.
            let _ = vm.requests.send(Request::Stop { deadline }).await;
            let _ = vm.state.wait_for(|state| !state.is_running()).await;
        }
        Ok(self.info(&vm))
    }

    /// Stops every VM that runs, all at once, and receives none any more.
    pub async fn stop_all(&self, deadline: Duration) {
        for name in self.receiving() {
            self.discard(&name).await;
        }
        let running: Vec<String> =
            self.list().into_iter().filter(|vm| vm.state.is_running()).map(|vm| vm.name).collect();
        let stops = running.iter().map(|name| self.stop(name, deadline));
        for stop in join_all(stops).await {
            if let Err(error) = stop {
                tracing::warn!(%error, "a VM was not stopped");
            }
        }
    }

    pub(crate) fn files(&self, name: &str) -> VmFiles {
        VmFiles { dir: self.config.dir.join(name) }
    }

    pub(crate) fn find(&self, name: &str) -> Result<Vm, ComputeError> {
        match self.lock().get(name) {
            Some(Entry::Known(vm)) => Ok(vm.clone()),
            Some(Entry::Receiving(_)) => Err(ComputeError::new(
                ErrorKind::Conflict,
                format!("VM '{name}' is on its way to this machine; try again"),
            )),
            Some(Entry::Starting) => {
                Err(ComputeError::new(ErrorKind::Conflict, format!("VM '{name}' is starting; try again")))
            }
            None => Err(ComputeError::new(
                ErrorKind::NotFound,
                format!("there is no VM named '{name}'; ashlar vm list shows those there are"),
            )),
        }
    }

    pub(crate) fn info(&self, vm: &Vm) -> VmInfo {
        let files = self.files(&vm.record.spec.name);
        let state = vm.state.borrow().clone();
        VmInfo {
            name: vm.record.spec.name.clone(),
            volume: vm.record.spec.volume.clone(),
            cpus: vm.record.spec.cpus,
            memory_bytes: vm.record.spec.memory_bytes,
            acceleration: vm.record.acceleration.clone(),
            pid: vm.record.process.as_ref().filter(|_| state.is_running()).map(|process| process.pid),
            console: files.console(),
            console_log: files.console_log(),
            state,
        }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        self.vms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn start(&self, spec: VmSpec, disk_socket: &Path, begin: Begin) -> Result<Vm, ComputeError> {
        let acceleration = self.acceleration().await?;
        if let Some(reason) = &acceleration.reason {
            tracing::warn!(vm = %spec.name, reason, "no KVM; the guest is emulated, several times slower");
        }
        self.disk_socket(&spec.name)?;
        let files = self.files(&spec.name);
        let args = arguments(&spec, &files, disk_socket, acceleration.accel, begin);
        let mut child = spawn(&self.config.qemu, &files, args)?;
        let pid = child.id().expect("a child not yet waited for has a pid");
        let id = ProcessId::of(pid)?;
        let mut record = VmRecord {
            format: 1,
            spec,
            acceleration,
            disk_socket: disk_socket.to_owned(),
            process: Some(id.clone()),
            state: VmState::Running,
            is_receiving: begin == Begin::Receive,
        };
        // Recorded before it is known to run: a daemon that dies here must find the process again.
        record.save(&files.record())?;
        let outcome = match reach(&files, &mut child, begin).await {
            Ok(qmp) => Process::find(&id).map(|process| (qmp, process)).ok_or_else(|| ended(&files)),
            Err(error) => Err(error),
        };
        match outcome {
            Ok((qmp, process)) => Ok(self.keep(files, record, process, Some(child), Some(qmp))),
            Err(error) => {
                let _ = child.kill().await;
                record.process = None;
                record.is_receiving = false;
                record.state = VmState::Exited { reason: error.to_string() };
                record.save(&files.record())?;
                Err(error)
            }
        }
    }

    async fn take_back(&self, files: VmFiles, mut record: VmRecord) {
        let name = record.spec.name.clone();
        let found = record.process.as_ref().and_then(Process::find);
        let vm = match found {
            Some(process) if record.state.is_running() => {
                let qmp = Qmp::connect(&files.qmp()).await.ok();
                tracing::info!(vm = %name, monitor = qmp.is_some(), "a VM still runs and is taken back");
                self.keep(files, record, process, None, qmp)
            }
            _ => {
                if record.state.is_running() {
                    record.state =
                        VmState::Exited { reason: "QEMU ended while no daemon followed it".into() };
                    record.process = None;
                    record.is_receiving = false;
                    if let Err(error) = record.save(&files.record()) {
                        tracing::warn!(vm = %name, %error, "the VM's end was not recorded");
                    }
                }
                let (requests, _) = mpsc::channel(1);
                let (_, state) = watch::channel(record.state.clone());
                Vm { record, state, requests }
            }
        };
        let entry = if vm.record.is_receiving { Entry::Receiving(vm) } else { Entry::Known(vm) };
        self.lock().insert(name, entry);
    }

    fn keep(
        &self,
        files: VmFiles,
        record: VmRecord,
        process: Process,
        child: Option<Child>,
        qmp: Option<Qmp>,
    ) -> Vm {
        let (ask, requests) = mpsc::channel(KEEPER_QUEUE);
        let (sender, state) = watch::channel(VmState::Running);
        let keeper = Keeper {
            files,
            record: record.clone(),
            process,
            child,
            qmp,
            requests,
            state: sender,
            exits: self.exits.clone(),
            ended_because: None,
        };
        tokio::spawn(keeper.watch());
        Vm { record, state, requests: ask }
    }
}

fn make_folder(dir: &Path) -> Result<(), ComputeError> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| ComputeError::io(format!("can't make {}", dir.display()), error))
}

fn spawn(qemu: &Path, files: &VmFiles, args: Vec<OsString>) -> Result<Child, ComputeError> {
    for stale in [files.qmp(), files.console(), files.console_log(), files.incoming()] {
        let _ = std::fs::remove_file(stale);
    }
    let log = std::fs::File::create(files.qemu_log())
        .map_err(|error| ComputeError::io(format!("can't write {}", files.qemu_log().display()), error))?;
    let errors = log.try_clone().map_err(|error| ComputeError::io("can't share QEMU's log", error))?;
    Command::new(qemu)
        .args(args)
        .stdin(Stdio::null())
        .stdout(log)
        .stderr(errors)
        // Its own group: an interrupt typed at the daemon's terminal must not reach the guest's QEMU.
        .process_group(0)
        .spawn()
        .map_err(|error| ComputeError::io(format!("can't start {}", qemu.display()), error))
}

/// Waits until the monitor answers and the guest runs, or may come in, or QEMU ends.
async fn reach(files: &VmFiles, child: &mut Child, begin: Begin) -> Result<Qmp, ComputeError> {
    let wanted = match begin {
        Begin::Boot => "running",
        Begin::Receive => "inmigrate",
    };
    let wait = async {
        loop {
            if child.try_wait().ok().flatten().is_some() {
                return Err(ended(files));
            }
            if let Ok(mut qmp) = Qmp::connect(&files.qmp()).await
                && qmp.status().await.is_ok_and(|status| status == wanted)
            {
                return Ok(qmp);
            }
            tokio::time::sleep(CONNECT_PAUSE).await;
        }
    };
    tokio::time::timeout(START_DEADLINE, wait).await.unwrap_or_else(|_| {
        Err(ComputeError::new(
            ErrorKind::Timeout,
            format!("QEMU did not start the guest in {} s: {}", START_DEADLINE.as_secs(), log_tail(files)),
        ))
    })
}

fn ended(files: &VmFiles) -> ComputeError {
    ComputeError::new(ErrorKind::Failed, format!("QEMU ended at once: {}", log_tail(files)))
}

#[cfg(test)]
#[path = "compute_test.rs"]
mod tests;
