//! `ashlar vm`.

use crate::api::{MigrateVm, RunVm, StopVm, VmList, VmView};
use crate::cli::client::{Client, ClientArgs, path};
use crate::cli::console;
use crate::cli::output::{show, table};
use crate::cli::volume::absolute;
use crate::error::Error;
use crate::limits::STOP_DEADLINE;
use compute::{Accel, Boot, VmInfo, VmSpec, VmState};
use proto::size;
use std::path::PathBuf;
use std::time::Duration;

/// How long a VM may take to move: QEMU's own limit, and some for the machines to get ready.
const MIGRATE_WAIT: Duration = Duration::from_secs(3600 + 600);

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Start a VM with a volume as its disk
    Run(RunArgs),
    /// List all VMs
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Power a VM off; past the deadline its QEMU is told to quit
    Stop {
        /// The VM's name
        name: String,
        /// Seconds the guest may take
        #[arg(long, default_value_t = STOP_DEADLINE.as_secs(), value_name = "SECONDS")]
        timeout: u64,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Move a running VM to another machine; its guest stands still for less than a second
    Migrate {
        /// The VM's name
        name: String,
        /// The machine to move it to
        #[arg(long, value_name = "NAME")]
        to: String,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Talk to a VM's serial console; ^] leaves
    Console {
        /// The VM's name
        name: String,
        /// Print what the guest has written so far instead
        #[arg(long)]
        log: bool,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// The VM's name, new in the pool
    name: String,
    /// The volume that is its disk
    #[arg(long, value_name = "NAME")]
    volume: String,
    /// Boot this Linux kernel instead of the volume's own
    #[arg(long, value_name = "FILE", conflicts_with = "boot")]
    kernel: Option<PathBuf>,
    /// The initial RAM disk that goes with the kernel
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", requires = "kernel", allow_hyphen_values = true)]
    append: Option<String>,
    /// Boot from the volume, which is also the default
    #[arg(long)]
    boot: bool,
    /// Virtual processors
    #[arg(long, default_value_t = 1, value_name = "N")]
    cpus: u32,
    /// The guest's memory, such as 2G
    #[arg(long, default_value = "512M", value_parser = size::parse, value_name = "SIZE")]
    memory: u64,
    /// The machine to run it on; needed where there are several
    #[arg(long, value_name = "NAME")]
    node: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Run(args) => start(args),
        Command::List { client } => {
            let vms: VmList = Client::new(&client)?.get("/v1/vms")?;
            show(client.output, &vms, |vms| list(vms))
        }
        Command::Stop { name, timeout, client } => {
            let wait = Duration::from_secs(timeout.min(24 * 3600));
            let deadline_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            let vm: VmInfo = Client::new(&client)?.post_slowly(
                &path(&["vms", &name, "stop"]),
                &StopVm { deadline_ms },
                (&format!("stopping {name}"), wait),
            )?;
            show(client.output, &vm, |vm| format!("{name}: {}\n", state(vm)))
        }
        Command::Migrate { name, to, client } => {
            let body = MigrateVm { node: to };
            let what = format!("moving {name} to {}", body.node);
            let moved: VmView = Client::new(&client)?.post_slowly(
                &path(&["vms", &name, "migrate"]),
                &body,
                (&what, MIGRATE_WAIT),
            )?;
            show(client.output, &moved, |view| format!("{name} runs on {}\n", view.node))
        }
        Command::Console { name, log, client } => {
            let VmView { vm, .. } = Client::new(&client)?.get(&path(&["vms", &name]))?;
            if log { console::print_log(&vm) } else { console::attach(&vm) }
        }
    }
}

fn start(args: RunArgs) -> Result<(), Error> {
    let boot = match args.kernel {
        None => Boot::Disk,
        Some(kernel) => Boot::Kernel {
            kernel: absolute(&kernel)?,
            initrd: args.initrd.as_deref().map(absolute).transpose()?,
            append: args.append.unwrap_or_else(|| "console=ttyS0".to_owned()),
        },
    };
    let spec =
        VmSpec { name: args.name, volume: args.volume, boot, cpus: args.cpus, memory_bytes: args.memory };
    let vm: VmInfo = Client::new(&args.client)?.post("/v1/vms", &RunVm { node: args.node, spec })?;
    show(args.client.output, &vm, |vm| {
        format!("{} runs, {}\nconsole: ashlar vm console {}\n", vm.name, acceleration(vm), vm.name)
    })
}

fn list(vms: &[VmView]) -> String {
    let rows: Vec<_> = vms
        .iter()
        .map(|VmView { node, vm }| {
            vec![
                vm.name.clone(),
                node.clone(),
                vm.volume.clone(),
                vm.cpus.to_string(),
                size::show(vm.memory_bytes),
                match vm.acceleration.accel {
                    Accel::Kvm => "kvm".to_owned(),
                    Accel::Tcg => "emulation".to_owned(),
                },
                state(vm),
            ]
        })
        .collect();
    table(&["NAME", "NODE", "VOLUME", "CPUS", "MEMORY", "BY", "STATE"], &rows)
}

fn acceleration(vm: &VmInfo) -> String {
    match (&vm.acceleration.accel, &vm.acceleration.reason) {
        (Accel::Kvm, _) => "with KVM".to_owned(),
        (Accel::Tcg, Some(reason)) => format!("emulated and so several times slower: {reason}"),
        (Accel::Tcg, None) => "emulated".to_owned(),
    }
}

fn state(vm: &VmInfo) -> String {
    match &vm.state {
        VmState::Running => "running".to_owned(),
        VmState::Stopped { reason } => format!("stopped: {reason}"),
        VmState::Exited { reason } => format!("exited: {reason}"),
    }
}
