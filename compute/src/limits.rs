//! Bounds of the compute shim.

use std::time::Duration;

/// Longest name of a VM, so that its sockets' paths stay short.
pub const MAX_NAME_BYTES: usize = 40;
/// Longest path of a unix socket: `sun_path` is 108 bytes with its closing zero.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;
/// Most virtual CPUs of one VM.
pub const MAX_CPUS: u32 = 64;
/// Least memory that a Linux guest boots in.
pub const MIN_MEMORY_BYTES: u64 = 64 << 20;
/// Most memory of one VM.
pub const MAX_MEMORY_BYTES: u64 = 1 << 40;
/// Longest kernel command line that Linux takes.
pub const MAX_APPEND_BYTES: usize = 2048;
/// Most queues of the guest's disk, whatever its CPUs.
pub const MAX_DISK_QUEUES: u32 = 4;
/// Longest line QMP may send; a longer one means that the peer is not QEMU.
pub const MAX_QMP_LINE_BYTES: usize = 1 << 20;
/// Requests waiting for a VM's keeper.
pub const KEEPER_QUEUE: usize = 8;
/// Exits waiting for who follows them.
pub const EXIT_QUEUE: usize = 64;
/// Bytes of QEMU's own log that an error quotes.
pub const LOG_TAIL_BYTES: usize = 600;
/// How long a probe guest may take to run its few instructions (it takes 0.2 s under plain emulation).
pub const PROBE_DEADLINE: Duration = Duration::from_millis(2500);
/// How long QEMU may take from its start to a running guest.
pub const START_DEADLINE: Duration = Duration::from_secs(20);
/// Between two tries to reach QEMU's monitor while it starts.
pub const CONNECT_PAUSE: Duration = Duration::from_millis(20);
/// How long QEMU may take to quit once told, before it is killed.
pub const QUIT_DEADLINE: Duration = Duration::from_secs(5);
/// How long all of a guest's memory may take to be sent to another machine.
pub const MOVE_DEADLINE: Duration = Duration::from_secs(3600);
/// How long a guest that moves may stand still while the last of its memory is sent.
pub const MOVE_DOWNTIME: Duration = Duration::from_millis(500);
/// How fast its memory is sent at most; QEMU's own bound is an eighth of this.
pub const MOVE_BYTES_PER_SECOND: u64 = 1 << 30;
/// How often QEMU is asked how far it is.
pub const MOVE_POLL: Duration = Duration::from_millis(100);
/// How long a guest that an earlier daemon began to send may take to be sent, or to fail.
pub const LEFT_DEADLINE: Duration = Duration::from_secs(30);
/// How long one answer on QMP may take. QEMU gives none while it stops a disk, for whose requests the device waits ten
/// seconds.
pub const QMP_DEADLINE: Duration = Duration::from_secs(15);
