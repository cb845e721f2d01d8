//! Three chunk servers in this process, and devices in processes of their own, which can be killed.

use blockd::client::{OnFull, VolumeConfig};
use blockd::server::{ChunkServer, Missing, ServerConfig};
use proto::control::{DiskPlace, Group, Lease, Member, PoolMap, PoolToken};
use proto::{ClientId, DiskId, GroupEpoch, GroupId, NodeId, VolumeEpoch, VolumeId};
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use vhost_user::{Device, DeviceConfig, MemorySlots, Open};

/// Of the volume when it is opened.
pub const SIZE: u64 = 128 << 20;
const DISK_BYTES: u64 = 2 << 30;
const TOKEN: PoolToken = PoolToken([7; 32]);
/// Tells the process what to serve: socket, epoch, when to open, and the chunk servers' addresses.
const TASK: &str = "ASHLAR_TEST_AGENT";

pub struct Pool {
    folder: PathBuf,
    servers: Vec<ChunkServer>,
    addrs: Vec<SocketAddr>,
}

impl Pool {
    pub fn start(folder: &Path) -> Self {
        let any = "127.0.0.1:0".parse().unwrap();
        let servers: Vec<_> = (1..=3).map(|number| start_server(folder, number, any)).collect();
        let addrs = servers.iter().map(ChunkServer::addr).collect();
        Self { folder: folder.to_owned(), servers, addrs }
    }

    /// Stops all chunk servers but one.
    pub fn break_down(&mut self) {
        self.servers.drain(1..).for_each(|server| server.stop().unwrap());
    }

    /// Starts them again where they were.
    pub fn mend(&mut self) {
        for (number, addr) in (1..).zip(&self.addrs).skip(1) {
            self.servers.push(start_server(&self.folder, number, *addr));
        }
    }
}

fn start_server(folder: &Path, number: u8, listen: SocketAddr) -> ChunkServer {
    ChunkServer::start(ServerConfig {
        path: folder.join(format!("disk{number}")),
        disk: DiskId([number; 16]),
        missing: Missing::Create { len_bytes: DISK_BYTES },
        listen,
        token: TOKEN,
    })
    .unwrap()
}

/// A device in a process of its own.
pub struct Agent {
    process: Child,
    recovered: Arc<AtomicU64>,
    is_connected: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Agent {
    /// Starts one and waits until it serves.
    pub fn start(pool: &Pool, socket: &Path, epoch: u32, open: Open) -> Self {
        let when = if open == Open::AtOnce { "now" } else { "later" };
        let mut task = format!("{},{epoch},{when}", socket.display());
        for addr in &pool.addrs {
            task += &format!(",{addr}");
        }
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["agent::agent_process", "--exact", "--ignored", "--nocapture"])
            .env(TASK, task)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let is_serving = lines.by_ref().map_while(Result::ok).any(|line| line.contains("SERVING"));
        assert!(is_serving, "a device's process ended before it served");
        let recovered = Arc::<AtomicU64>::default();
        let is_connected = Arc::<AtomicBool>::default();
        let (told, connected) = (Arc::clone(&recovered), Arc::clone(&is_connected));
        let reader = std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                connected.fetch_or(line == "CONNECTED", Ordering::SeqCst);
                if let Some(Ok(number)) = line.strip_prefix("RECOVERED ").map(str::parse) {
                    told.store(number, Ordering::SeqCst);
                }
            }
        });
        Self { process, recovered, is_connected, reader: Some(reader) }
    }

    /// Whether a front end has come.
    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::SeqCst)
    }

    /// Makes the disk larger.
    pub fn resize(&mut self, size_bytes: u64) {
        writeln!(self.process.stdin.as_mut().unwrap(), "{size_bytes}").unwrap();
    }

    /// SIGKILL; how many requests it had asked again for the one before it.
    pub fn kill(mut self) -> u64 {
        self.end();
        self.recovered.load(Ordering::SeqCst)
    }

    fn end(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.end();
    }
}

/// Not a test: what the other processes run.
#[test]
#[ignore = "run by the tests as another process"]
fn agent_process() {
    let Ok(task) = std::env::var(TASK) else { return };
    let [socket, epoch, when, addrs @ ..] = &task.split(',').collect::<Vec<_>>()[..] else {
        panic!("a task that can't be read: {task}");
    };
    let open = if *when == "now" { Open::AtOnce } else { Open::WithFirstQueue };
    let volume = volume(addrs, epoch.parse().unwrap());
    let config = DeviceConfig {
        open,
        memory_slots: MemorySlots::Withheld,
        ..DeviceConfig::new(PathBuf::from(socket), "a-disk".into(), volume)
    };
    let device = Device::serve(config).unwrap();
    println!("SERVING");
    std::thread::scope(|scope| {
        // Each line is a new size. The end of the test's process, however it comes, is the end of this one.
        let orphaned = scope.spawn(|| {
            for line in std::io::stdin().lines().map_while(Result::ok) {
                device.resize(line.parse().unwrap()).unwrap();
            }
        });
        let (mut last, mut was_connected) = (0, false);
        while !orphaned.is_finished() {
            let status = device.status();
            if status.recovered != last {
                last = status.recovered;
                println!("RECOVERED {last}");
            }
            if status.is_connected && !was_connected {
                was_connected = true;
                println!("CONNECTED");
            }
            std::thread::park_timeout(Duration::from_millis(20));
        }
    });
}

fn volume(addrs: &[&str], epoch: u32) -> VolumeConfig {
    let disks = (1u8..).map(|number| DiskId([number; 16]));
    let addrs = addrs.iter().map(|addr| addr.parse::<SocketAddr>().unwrap());
    let disks: Vec<_> =
        disks.zip(addrs).map(|(disk, addr)| DiskPlace { disk, node: NodeId(1), addr }).collect();
    let members: Vec<_> = disks.iter().map(|place| Member::in_sync(place.disk)).collect();
    let group = |id| Group { id: GroupId(id), epoch: GroupEpoch(1), members: members.clone() };
    let map = PoolMap {
        groups: (0..8).map(group).collect(),
        disks,
        copies: Vec::new(),
        min_in_sync: 2,
        version: 1,
    };
    let lease = Lease { volume: VolumeId(5), epoch: VolumeEpoch(epoch), size_bytes: SIZE, map };
    let client = ClientId(u128::from(epoch).to_le_bytes());
    VolumeConfig { lease, token: TOKEN, client, on_full: OnFull::Wait, control: None }
}
