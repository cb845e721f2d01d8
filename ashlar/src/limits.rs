//! Bounds of the binary.

use std::time::Duration;

/// Disks that `up` makes: one a replica.
pub const DISKS: usize = proto::limits::REPLICAS;
/// Size of each disk unless told otherwise; the files are sparse.
pub const DEFAULT_DISK_BYTES: u64 = 10 << 30;
/// Smallest disk a log has room to clean in.
pub const MIN_DISK_BYTES: u64 = 64 << 20;
/// Largest disk file `up` makes.
pub const MAX_DISK_BYTES: u64 = 16 << 40;
/// Longest config file.
pub const MAX_CONFIG_BYTES: u64 = 64 << 10;
/// Longest name of a domain (RFC 1035).
pub const MAX_DOMAIN_BYTES: usize = 253;
/// What takes longer than this shows that it is waited for.
pub const QUIET_WAIT: Duration = Duration::from_secs(2);
/// A start that takes longer says so in the log, again and again.
pub const MOUNT_SIGN: Duration = Duration::from_secs(2);
/// How often the CLI looks how far long work is.
pub const PROGRESS_POLL: Duration = Duration::from_millis(300);
/// Longest answer of the admin API that the CLI reads.
pub const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Longest request body that the agent reads.
pub const MAX_BODY_BYTES: usize = 64 << 10;
/// Buckets of one page of a list.
pub const MAX_BUCKETS_PAGE: u32 = 1000;
/// Projects of which the metrics tell what they hold: those that hold most.
pub const MAX_PROJECT_SERIES: usize = 256;
/// How long after a check of objects found orphans it looks again, before it gives them back.
pub const OBJECT_SCRUB_GRACE: Duration = Duration::from_secs(5);
/// How often the CLI looks how far such a check is.
pub const OBJECT_SCRUB_POLL: Duration = Duration::from_millis(200);
/// Bytes of a token made at random.
pub const TOKEN_BYTES: usize = 32;
/// How long the CLI waits to reach the daemon.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the CLI waits for an answer, beyond what it asked the daemon to wait for.
pub const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);
/// How long a guest may take to power off before its QEMU is told to quit.
pub const STOP_DEADLINE: Duration = Duration::from_secs(20);
/// The same while the daemon itself is stopping.
pub const SHUTDOWN_STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How long the parts of the daemon may take to stop before it goes without them.
pub const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(20);
/// How long the control plane may take to elect itself and lay out the groups.
pub const POOL_DEADLINE: Duration = Duration::from_secs(30);
/// How long one disk may take to say how it is.
pub const DISK_STAT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often a volume that is being deleted is tried again.
pub const DELETE_RETRY: Duration = Duration::from_secs(5);
/// Deletions waiting for the one who does them.
pub const DELETE_QUEUE: usize = 64;
/// How often, and how long apart, a data folder that another daemon holds is tried again.
pub const LOCK_TRIES: u32 = 20;
pub const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Most disks of one machine.
pub const MAX_SHELF_DISKS: usize = 64;
/// How often a disk's keeper looks at it.
pub const KEEPER_TICK: Duration = Duration::from_secs(1);
/// How long a disk that failed waits before it is started again, at first and at most.
pub const RESTART_PAUSE: Duration = Duration::from_secs(1);
pub const RESTART_PAUSE_MOST: Duration = Duration::from_secs(30);
/// How long a disk's start waits for the control plane to say where it listened before.
pub const REGISTER_TIMEOUT: Duration = Duration::from_secs(2);
/// Most daemons that one admin API knows.
pub const MAX_DAEMONS: usize = 1024;
/// Most requests that wait for one daemon.
pub const MAX_ORDERS: usize = 64;
/// How long a daemon's call waits for something to do.
pub const POLL_WAIT: Duration = Duration::from_millis(900);
/// How long a daemon waits for its call's answer.
pub const POLL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between two calls when the control plane can't be reached.
pub const POLL_RETRY: Duration = Duration::from_secs(1);
/// A daemon that was silent for so long is taken for gone.
pub const DAEMON_GONE: Duration = Duration::from_secs(6);
/// Longest report of a daemon.
pub const MAX_POLL_BYTES: usize = 4 << 20;
/// Between two tries to start a gateway, or to serve an attached volume that could not be served.
pub const SERVE_RETRY: Duration = Duration::from_secs(2);
/// How long a VM may be connected to its disk without a word before QEMU is told to start the disk again; QEMU speaks at
/// once, unless it has lost sight of it.
pub const WAKE_AFTER: Duration = Duration::from_millis(1500);
/// How often an agent looks whether what it serves is attached elsewhere by now.
pub const RECONCILE_EVERY: Duration = Duration::from_secs(10);
/// How long a machine waits for a VM to come in, and then for the word that all of it has.
pub const MOVE_PATIENCE: Duration = Duration::from_secs(60);
/// How long a VM that was sent stays paused before its machine asks the control plane where it goes on.
pub const SETTLE_AFTER: Duration = Duration::from_secs(90);
/// How long who comes to a door may take to show the key.
pub const DOOR_KEY_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a door's key, in hex digits.
pub const DOOR_KEY_BYTES: usize = 64;
/// How often a device that is to take a volume over is asked whether a guest wants it.
pub const TAKEOVER_POLL: Duration = Duration::from_millis(50);
/// How long `up` waits for the S3 gateway before it goes on without it.
pub const GATEWAY_PATIENCE: Duration = Duration::from_secs(20);
const _: () = assert!(POLL_WAIT.as_millis() < POLL_TIMEOUT.as_millis());
const _: () = assert!(POLL_TIMEOUT.as_millis() < DAEMON_GONE.as_millis());
/// How long one round with the control plane may take before a disk is looked at again.
pub const MEMBERSHIP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a keeper says how its disk is, while nothing changes.
pub const HEARTBEAT: Duration = Duration::from_secs(2);
/// How often a keeper asks whether its disk was found slow, while nothing else makes it ask.
pub const SLOW_LOOK: Duration = Duration::from_secs(60);
/// How long a rebuild that failed waits before it is tried again, at first and at most.
pub const REBUILD_PAUSE: Duration = Duration::from_secs(1);
pub const REBUILD_PAUSE_MOST: Duration = Duration::from_secs(30);
/// Groups that a disk left and is cleared of in one look of its keeper: each waits for the disk's flush.
pub const CLEAR_AT_ONCE: usize = 32;
/// How often a catch-up looks again because a volume was opened meanwhile, before it lets others go first.
pub const JOIN_TRIES: u32 = 10;
/// Groups that one disk catches up in at a time.
pub const REBUILDS_AT_ONCE: usize = 4;
/// How fast each of them copies at most, so that guests are felt before the rebuild is.
pub const REBUILD_BYTES_PER_SECOND: u64 = 64 << 20;
/// How long after its start the first scrub begins by itself, and how long one waits for the next.
pub const SCRUB_FIRST: Duration = Duration::from_secs(3600);
pub const SCRUB_INTERVAL: Duration = Duration::from_secs(7 * 24 * 3600);
/// What a scrub reads from all disks of a group together: by itself, and when somebody asked for it.
pub const SCRUB_GENTLE_BYTES_PER_SECOND: u64 = 16 << 20;
pub const SCRUB_BRISK_BYTES_PER_SECOND: u64 = 256 << 20;
/// How often a group that changes or does not answer is tried before it is skipped, and how long apart.
pub const SCRUB_TRIES: u32 = 3;
pub const SCRUB_RETRY: Duration = Duration::from_secs(2);
/// How long the local CA is good for, and the server's certificate that it signs. A client trusts the former by hand.
pub const CA_LIFE: Duration = Duration::from_secs(3650 * 24 * 3600);
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(90 * 24 * 3600);
/// How long before its end the server's certificate is made again, and how often that is looked at.
pub const CERTIFICATE_RENEW_BEFORE: Duration = Duration::from_secs(30 * 24 * 3600);
pub const CERTIFICATE_LOOK_EVERY: Duration = Duration::from_secs(3600);
/// How far a client's clock may be behind when it meets a new certificate.
pub const CLOCK_SKEW: Duration = Duration::from_secs(24 * 3600);
/// Addresses of this machine in one certificate: bridges and containers may give it any number.
pub const MAX_CERTIFICATE_ADDRESSES: usize = 64;
const _: () = assert!(CERTIFICATE_LOOK_EVERY.as_secs() < CERTIFICATE_RENEW_BEFORE.as_secs());
const _: () = assert!(CERTIFICATE_RENEW_BEFORE.as_secs() < CERTIFICATE_LIFE.as_secs());
const _: () = assert!(CERTIFICATE_LIFE.as_secs() < CA_LIFE.as_secs());

/// How much of a file with a token is read, in bytes; a token is far shorter.
pub const MAX_TOKEN_FILE_BYTES: u64 = 4096;

/// How long lines of an audit log are kept, in days, if nobody says otherwise.
pub const AUDIT_KEEP_DAYS: u32 = 90;
/// How much of an audit log is kept, in bytes, if nobody says otherwise: about two million lines.
pub const AUDIT_KEEP_BYTES: u64 = 1 << 30;
