//! Networks that can be hurt: every machine of a [`Fleet`](crate::fleet::Fleet) has a network namespace of its
//! own, and reaches the others only through relays here, which take orders.
//!
//! A daemon listens on 127.0.0.1 of its own namespace; the others' namespaces have a relay on the same port. So
//! addresses are the same everywhere, and every connection passes a relay that knows its two ends.

use crate::harness::{Random, now, sleep};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

const HEADER_BYTES: usize = 64;
const PIECE_BYTES: usize = 16 << 10;
/// Pieces that one direction of a connection holds back.
const PIECES: usize = 1024;

/// What a relay does to what it carries in one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weather {
    #[default]
    Clear,
    /// Nothing passes and nobody is told: a link that is down, a route into nowhere.
    Blackhole,
    /// Everything arrives this much later.
    Delay(Duration),
    /// Bytes a second.
    Throttle(u64),
    /// Connections are cut, each after some bytes.
    Reset,
    /// A bit of a frame is turned over, now and then.
    Flip,
    /// A frame is sent twice, now and then.
    Repeat,
    /// A frame of an older connection is sent again, now and then.
    Replay,
}

/// A network namespace, removed when dropped.
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes one with its loopback up. Needs root.
    pub fn new(what: &str) -> Result<Self, String> {
        let name = format!("ashlar-{}-{what}", std::process::id());
        run(Command::new("ip").args(["netns", "add", &name]))?;
        let namespace = Self { name };
        run(Command::new("ip").args(["-n", &namespace.name, "link", "set", "lo", "up"]))?;
        Ok(namespace)
    }

    /// A command that runs inside.
    pub fn command(&self, program: &std::path::Path) -> Command {
        let mut command = crate::harness::clean("ip");
        command.args(["netns", "exec", &self.name]).arg(program);
        command
    }

    /// Runs `work` on a thread of this namespace. Sockets it makes stay in it.
    pub(crate) fn within<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let path = format!("/run/netns/{}", self.name);
        let enter = move || {
            let file = File::open(&path).unwrap();
            move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            work()
        };
        std::thread::spawn(enter).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = run(Command::new("ip").args(["netns", "del", &self.name]));
    }
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// The state of one relay: from one place to another.
#[derive(Debug, Default)]
pub struct Link {
    towards: Mutex<Weather>,
    back: Mutex<Weather>,
    /// How often weather did something to a connection: a fault that never fires is no test.
    pub fired: AtomicU64,
    closed: AtomicBool,
    /// What is read from as long as it is.
    streams: Mutex<Vec<Weak<TcpStream>>>,
    /// A frame seen some time ago, in each direction.
    remembered: [Mutex<Vec<u8>>; 2],
}

impl Link {
    /// Sets the weather for what is asked and what is answered.
    pub fn set(&self, towards: Weather, back: Weather) {
        *self.towards.lock().unwrap() = towards;
        *self.back.lock().unwrap() = back;
        if towards == Weather::Reset || back == Weather::Reset {
            self.cut();
        }
    }

    /// Cuts the connections there are.
    pub fn cut(&self) {
        let streams = std::mem::take(&mut *self.streams.lock().unwrap());
        for stream in streams.iter().filter_map(Weak::upgrade) {
            self.fired.fetch_add(1, Ordering::Relaxed);
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    pub fn fired(&self) -> u64 {
        self.fired.load(Ordering::Relaxed)
    }

    fn weather(&self, direction: usize) -> Weather {
        *[&self.towards, &self.back][direction].lock().unwrap()
    }
}

/// A relay that listens in one namespace and connects in another; `None` is this process's own.
pub struct Relay {
    pub link: Arc<Link>,
    wake: SocketAddr,
    from: Option<Arc<Namespace>>,
}

impl Relay {
    /// From 127.0.0.1:`port` in `from` to the same port in `to`. A port of 0 takes a free one.
    pub fn start(from: Option<&Arc<Namespace>>, port: u16, to: Option<&Arc<Namespace>>, seed: u64) -> Self {
        let link = Arc::<Link>::default();
        let bind = move || TcpListener::bind(("127.0.0.1", port)).unwrap();
        let listener = match from {
            Some(namespace) => namespace.within(bind),
            None => bind(),
        };
        let wake = listener.local_addr().unwrap();
        let (accepting, to) = (Arc::clone(&link), to.cloned());
        let target = wake.port();
        std::thread::spawn(move || accept(&listener, &accepting, to.as_ref(), target, seed));
        Self { link, wake, from: from.cloned() }
    }

    pub fn port(&self) -> u16 {
        self.wake.port()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.link.closed.store(true, Ordering::SeqCst);
        self.link.cut();
        let wake = self.wake;
        let knock = move || drop(TcpStream::connect_timeout(&wake, Duration::from_secs(1)));
        match &self.from {
            Some(namespace) => namespace.within(knock),
            None => knock(),
        }
    }
}

fn accept(listener: &TcpListener, link: &Arc<Link>, to: Option<&Arc<Namespace>>, target: u16, mut seed: u64) {
    for client in listener.incoming() {
        if link.closed.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let connect =
            move || TcpStream::connect_timeout(&([127, 0, 0, 1], target).into(), Duration::from_secs(2));
        let server = match to {
            // A route into nowhere takes the SYN too: the connection stands here and nothing comes of it.
            Some(namespace) => namespace.within(connect),
            None => connect(),
        };
        // Dropping the client tells it that nobody listens.
        let Ok(server) = server else { continue };
        let _ = (client.set_nodelay(true), server.set_nodelay(true));
        let pairs = [(&client, &server), (&server, &client)];
        for (direction, (from, to)) in pairs.into_iter().enumerate() {
            let (Ok(from), Ok(to)) = (from.try_clone(), to.try_clone()) else { continue };
            let from = Arc::new(from);
            let mut streams = link.streams.lock().unwrap();
            streams.retain(|stream| stream.strong_count() > 0);
            streams.push(Arc::downgrade(&from));
            drop(streams);
            seed = seed.wrapping_add(1);
            let carrier = Carrier { link: Arc::clone(link), direction, random: Random(seed) };
            std::thread::spawn(move || carrier.run(&from, to));
        }
    }
}

/// Bytes, and when they may go.
type Piece = (Option<Instant>, Vec<u8>);

fn send_when_due(pieces: &Receiver<Piece>, mut to: TcpStream) {
    for (due, bytes) in pieces {
        if let Some(early) = due.and_then(|due| due.checked_duration_since(now())) {
            sleep(early);
        }
        if to.write_all(&bytes).is_err() {
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// One direction of one connection.
struct Carrier {
    link: Arc<Link>,
    direction: usize,
    random: Random,
}

impl Carrier {
    fn run(mut self, mut from: &TcpStream, to: TcpStream) {
        let (sender, pieces) = sync_channel(PIECES);
        std::thread::spawn(move || send_when_due(&pieces, to));
        let _ = from.set_read_timeout(Some(Duration::from_millis(200)));
        let mut buffer = vec![0; PIECE_BYTES];
        // Bytes of the frame under way that are still to come.
        let mut left = 0usize;
        loop {
            let weather = self.link.weather(self.direction);
            if weather == Weather::Blackhole {
                self.link.fired.fetch_add(1, Ordering::Relaxed);
                while self.link.weather(self.direction) == Weather::Blackhole {
                    if self.link.closed.load(Ordering::SeqCst) {
                        return;
                    }
                    sleep(Duration::from_millis(20));
                }
            }
            // Whole headers, then pieces of the payload, so that faults know where frames begin.
            let count = if left == 0 {
                match read_header(from, &mut buffer[..HEADER_BYTES], &self.link) {
                    Some(count) => count,
                    None => break,
                }
            } else {
                match from.read(&mut buffer[..left.min(PIECE_BYTES)]) {
                    Ok(0) => break,
                    Ok(count) => count,
                    Err(error) if is_timeout(&error) => continue,
                    Err(_) => break,
                }
            };
            let is_header = left == 0;
            if is_header && buffer.starts_with(b"ASHF") && count == HEADER_BYTES {
                left = u32::from_le_bytes(buffer[52..56].try_into().unwrap()) as usize;
            } else if !is_header {
                left -= count;
            }
            if !self.carry(&sender, &mut buffer[..count], is_header && left == 0) {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Read);
    }

    /// Sends bytes on, as the weather is. `is_whole`: they are a whole frame. False when nothing more goes.
    fn carry(&mut self, to: &SyncSender<Piece>, bytes: &mut [u8], is_whole: bool) -> bool {
        let mut due = None;
        let mut twice = false;
        let mut old = Vec::new();
        match self.link.weather(self.direction) {
            // Taken up between reading and here: what was read waits with the rest.
            Weather::Clear | Weather::Blackhole => {}
            Weather::Delay(time) => {
                self.fire();
                due = Some(now() + time);
            }
            Weather::Throttle(rate) => {
                self.fire();
                sleep(Duration::from_micros(bytes.len() as u64 * 1_000_000 / rate.max(1)));
            }
            Weather::Reset => {
                if self.random.below(50) == 0 {
                    self.fire();
                    return false;
                }
            }
            Weather::Flip => {
                if self.random.below(100) == 0 {
                    self.fire();
                    let at = self.random.below(bytes.len() as u64) as usize;
                    bytes[at] ^= 1 << self.random.below(8);
                }
            }
            Weather::Repeat => twice = is_whole && self.random.below(20) == 0,
            Weather::Replay => {
                if is_whole && self.random.below(20) == 0 {
                    old.clone_from(&self.link.remembered[self.direction].lock().unwrap());
                }
            }
        }
        if is_whole && self.random.below(50) == 0 {
            *self.link.remembered[self.direction].lock().unwrap() = bytes.to_vec();
        }
        if twice {
            old = bytes.to_vec();
        }
        let sent = to.send((due, bytes.to_vec())).is_ok();
        if old.is_empty() {
            return sent;
        }
        self.fire();
        sent && to.send((due, old)).is_ok()
    }

    fn fire(&self) {
        self.link.fired.fetch_add(1, Ordering::Relaxed);
    }
}

/// Fills `header`, or as much of it as is there before the end. None at the end, or when the relay is closed.
fn read_header(mut from: &TcpStream, header: &mut [u8], link: &Link) -> Option<usize> {
    let mut filled = 0;
    let begun = now();
    while filled < header.len() {
        match from.read(&mut header[filled..]) {
            Ok(0) => return (filled > 0).then_some(filled),
            Ok(count) => filled += count,
            Err(error) if is_timeout(&error) => {
                // What is no frame (the control plane's HTTP) goes on in pieces.
                if filled > 0 && begun.elapsed() > Duration::from_millis(1) && !header.starts_with(b"ASHF") {
                    return Some(filled);
                }
            }
            Err(_) => return None,
        }
        if filled > 0 && filled < header.len() && !b"ASHF".starts_with(&header[..filled.min(4)]) {
            return Some(filled);
        }
        if link.closed.load(Ordering::SeqCst) {
            return None;
        }
    }
    Some(filled)
}

fn is_timeout(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut | std::io::ErrorKind::Interrupted
    )
}
