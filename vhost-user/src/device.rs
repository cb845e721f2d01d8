//! A device: its socket, its control thread and its data task, and the handle that ends them.

use crate::config_space::MemorySlots;
use crate::control::{self, Line};
use crate::data::{Backend, Command, DataLink, DataTask, VOLUME};
use crate::engine::{Counters, Disk, Engine};
use crate::error::{Error, ErrorKind};
use crate::limits::{DATA_OPERATIONS, DEFAULT_QUEUES, ID_BYTES, MAX_QUEUE_SIZE, MAX_QUEUES};
use crate::opening::Open;
use crate::session::Offer;
use blockd::client::{VolumeConfig, VolumeDriver};
use proto::units::SECTOR_BYTES;
use rt::clock::SystemClock;
use rt::event_loop::{Company, EventLoops, TaskHandle};
use rt::ring::Reactor;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread::{self, JoinHandle};

/// What a device is served with.
#[derive(Debug, Clone)]
pub struct DeviceConfig {
    /// Where front ends connect. A socket that nobody listens on any more is replaced.
    pub socket: PathBuf,
    /// What GET_ID answers: the volume's name, cut after 20 bytes.
    pub serial: String,
    /// The most queues that a front end may set up.
    pub num_queues: u16,
    /// The largest queue a front end may set up: a power of two.
    pub max_queue_size: u16,
    pub volume: VolumeConfig,
    /// When the volume is opened, which fences its former writer.
    pub open: Open,
    pub memory_slots: MemorySlots,
}

impl DeviceConfig {
    /// A volume at a socket, with the usual queues.
    pub fn new(socket: PathBuf, serial: String, volume: VolumeConfig) -> Self {
        Self {
            socket,
            serial,
            num_queues: DEFAULT_QUEUES,
            max_queue_size: MAX_QUEUE_SIZE,
            volume,
            open: Open::AtOnce,
            memory_slots: MemorySlots::Offered,
        }
    }
}

/// A device but for what is behind it.
#[derive(Debug, Clone)]
pub(crate) struct Front {
    pub socket: PathBuf,
    pub serial: String,
    /// Multiple of 512.
    pub size_bytes: u64,
    pub num_queues: u16,
    pub max_queue_size: u16,
    pub open: Open,
    pub memory_slots: MemorySlots,
}

/// A vhost-user-blk device.
#[derive(Debug)]
pub struct Device;

/// A device that is being served. Dropping it stops it.
pub struct DeviceHandle {
    socket: PathBuf,
    listener: UnixListener,
    line: Arc<Line>,
    counters: Arc<Counters>,
    data: DataLink,
    size_bytes: Arc<AtomicU64>,
    control: Option<JoinHandle<()>>,
    task: Option<TaskHandle<()>>,
}

/// What a device is doing and has done.
#[derive(Debug, Clone)]
pub struct DeviceStatus {
    pub socket: PathBuf,
    pub is_connected: bool,
    /// The front end that is connected has not said a word yet.
    pub is_silent: bool,
    pub sessions: u64,
    pub reads: u64,
    pub read_bytes: u64,
    pub writes: u64,
    pub written_bytes: u64,
    pub flushes: u64,
    pub trims: u64,
    /// Requests that a former device had in flight and that this one asked again.
    pub recovered: u64,
    /// Queues that were started, in all sessions: a guest wants the disk.
    pub queue_starts: u64,
    pub errors: u64,
    pub size_bytes: u64,
    /// Why a session ended, if one ended by more than a disconnect.
    pub last_error: Option<String>,
}

impl Device {
    /// Serves a volume. With [`Open::AtOnce`], waits until the volume is open, as long as its own limit at most;
    /// front ends that connect meanwhile wait too.
    pub fn serve(config: DeviceConfig) -> Result<DeviceHandle, Error> {
        let DeviceConfig { socket, serial, num_queues, max_queue_size, volume, open, memory_slots } = config;
        let size_bytes = volume.lease.size_bytes;
        let driver = VolumeDriver::new(volume, VOLUME)
            .map_err(|error| Error::caused(ErrorKind::Volume, "the volume can't be opened", error))?;
        let front = Front { socket, serial, size_bytes, num_queues, max_queue_size, open, memory_slots };
        Self::serve_backend(front, driver)
    }

    /// Serves what is behind `volume`.
    pub(crate) fn serve_backend<B: Backend + Send + 'static>(
        config: Front,
        volume: B,
    ) -> Result<DeviceHandle, Error> {
        check(&config)?;
        let listener = listen(&config.socket)?;
        let counters = Arc::<Counters>::default();
        let line = Arc::<Line>::default();
        let disk = Disk { size_bytes: config.size_bytes, serial: serial(&config.serial) };
        let engine = Engine::new(disk, config.num_queues, Arc::clone(&counters));
        let (data, task) = spawn_data(engine, &config, Arc::clone(&line), volume).inspect_err(|_| {
            let _ = std::fs::remove_file(&config.socket);
        })?;
        let mut handle = DeviceHandle {
            socket: config.socket.clone(),
            listener,
            line: Arc::clone(&line),
            counters,
            data: data.clone(),
            size_bytes: Arc::new(config.size_bytes.into()),
            control: None,
            task: Some(task),
        };
        if config.open == Open::AtOnce {
            handle.open()?;
        }
        let offer = Offer {
            size_bytes: Arc::clone(&handle.size_bytes),
            num_queues: config.num_queues,
            max_queue_size: config.max_queue_size,
            memory_slots: config.memory_slots,
        };
        let listener =
            handle.listener.try_clone().map_err(|error| Error::system("the device's socket", error))?;
        let control = thread::Builder::new()
            .name("vhost-control".into())
            .spawn(move || control::run(&listener, &line, &offer, &data))
            .map_err(|error| Error::system("the device's control thread", error))?;
        handle.control = Some(control);
        Ok(handle)
    }
}

impl DeviceHandle {
    /// Ends the session, joins the threads and removes the socket. Requests in flight may or may not have
    /// been done; the guest was told of none of them.
    pub fn stop(mut self) {
        self.end();
    }

    /// Opens the volume, if it is not open, and waits until it is: its former writer is fenced from then on.
    pub fn open(&self) -> Result<(), Error> {
        self.data.ask(Command::Open)
    }

    /// The volume has grown to `size_bytes`, a multiple of 512: requests may reach there from now on, and the
    /// guest hears of it if its front end passes it on. A disk never shrinks under its guest.
    pub fn resize(&self, size_bytes: u64) -> Result<(), Error> {
        let present = self.size_bytes.load(Ordering::Acquire);
        if size_bytes < present || !size_bytes.is_multiple_of(SECTOR_BYTES) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "a disk of {present} bytes resized to {size_bytes}: it only grows, by multiples of 512"
                ),
            ));
        }
        // The guest must not learn of sectors that would be refused.
        self.data.ask(|reply| Command::Resize { size_bytes, reply })?;
        self.size_bytes.fetch_max(size_bytes, Ordering::AcqRel);
        self.line.say_config_changed();
        Ok(())
    }

    pub fn status(&self) -> DeviceStatus {
        let line = self.line.status();
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        DeviceStatus {
            socket: self.socket.clone(),
            is_connected: line.is_connected,
            is_silent: line.is_silent,
            sessions: line.sessions,
            reads: of(&self.counters.reads),
            read_bytes: of(&self.counters.read_bytes),
            writes: of(&self.counters.writes),
            written_bytes: of(&self.counters.written_bytes),
            flushes: of(&self.counters.flushes),
            trims: of(&self.counters.trims),
            recovered: of(&self.counters.recovered),
            queue_starts: of(&self.counters.queue_starts),
            errors: of(&self.counters.errors),
            size_bytes: self.size_bytes.load(Ordering::Acquire),
            last_error: line.last_error,
        }
    }

    /// Stops it where it stands, for tests that need its remains.
    #[cfg(test)]
    pub(crate) fn halt(&mut self) {
        self.end();
    }

    fn end(&mut self) {
        let Some(task) = self.task.take() else { return };
        self.line.stop();
        control::close_listener(&self.listener);
        // Joined before the data task ends, which answers its last question.
        if self.control.take().is_some_and(|control| control.join().is_err()) {
            tracing::error!("the control thread of a vhost-user device panicked");
        }
        // It fails when the data task has ended already, which is what it asks for.
        let _ = self.data.send(Command::Shutdown);
        if let Err(error) = task.join() {
            tracing::error!(%error, "a vhost-user device's queues");
        }
        // Somebody else may have removed it.
        let _ = std::fs::remove_file(&self.socket);
    }
}

impl Drop for DeviceHandle {
    fn drop(&mut self) {
        self.end();
    }
}

fn spawn_data<B: Backend + Send + 'static>(
    engine: Engine,
    config: &Front,
    line: Arc<Line>,
    volume: B,
) -> Result<(DataLink, TaskHandle<()>), Error> {
    let (tell, told) = sync_channel(1);
    let &Front { num_queues, open, .. } = config;
    let begin = move |reactor: &mut Reactor| {
        let hang_up = Box::new(move |error: &Error| line.hang_up(error));
        let clock = Arc::new(SystemClock);
        let (mut data, link) = DataTask::new(reactor, clock, engine, num_queues, volume, hang_up);
        match open {
            Open::AtOnce => data.begin_to_open(reactor),
            Open::WithFirstQueue => {}
            Open::WhenTold => data.hold(),
        }
        let _ = tell.send(link);
        Ok(data)
    };
    let name = format!("device {}", config.socket.display());
    let task = EventLoops::of_process()
        .spawn(name, Company::Welcome, DATA_OPERATIONS, begin)
        .map_err(|error| Error::system("the device's thread", error))?;
    let link =
        told.recv().map_err(|_| Error::new(ErrorKind::Closed, "the device's task died at its start"))?;
    Ok((link, task))
}

fn check(config: &Front) -> Result<(), Error> {
    let invalid = |message: String| Err(Error::new(ErrorKind::Invalid, message));
    if config.size_bytes == 0 || !config.size_bytes.is_multiple_of(SECTOR_BYTES) {
        return invalid(format!("a disk of {} bytes: the size is a multiple of 512", config.size_bytes));
    }
    if config.num_queues == 0 || config.num_queues > MAX_QUEUES {
        return invalid(format!("{} queues: a device has 1 to {MAX_QUEUES}", config.num_queues));
    }
    if !config.max_queue_size.is_power_of_two() || config.max_queue_size > MAX_QUEUE_SIZE {
        let size = config.max_queue_size;
        return invalid(format!("queues of {size}: the size is a power of two up to {MAX_QUEUE_SIZE}"));
    }
    Ok(())
}

fn serial(name: &str) -> [u8; ID_BYTES] {
    let mut serial = [0; ID_BYTES];
    let len = name.len().min(ID_BYTES);
    serial[..len].copy_from_slice(&name.as_bytes()[..len]);
    serial
}

/// Listens at `path`, taking the place of a socket whose listener is gone.
fn listen(path: &Path) -> Result<UnixListener, Error> {
    let in_use = |why: &str| Err(Error::new(ErrorKind::InUse, format!("{}: {why}", path.display())));
    let failed = |error| Error::system(format_args!("listening at {}", path.display()), error);
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.file_type().is_socket() => return in_use("this is a file and no socket"),
        Ok(_) => match UnixStream::connect(path) {
            Ok(_) => return in_use("another device is served here"),
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                std::fs::remove_file(path).map_err(failed)?;
            }
            Err(error) => return Err(failed(error)),
        },
    }
    // Bound beside its place and moved there when only its owner may connect: no moment in between.
    let mut beside = path.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let _ = std::fs::remove_file(&beside);
    let listener = UnixListener::bind(&beside).map_err(failed)?;
    std::fs::set_permissions(&beside, Permissions::from_mode(0o600))
        .and_then(|()| std::fs::rename(&beside, path))
        .map_err(failed)?;
    Ok(listener)
}
