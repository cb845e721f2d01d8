//! Bounds of everything the control plane keeps, queues or accepts.

use proto::limits::{MAX_SYSTEM_VOLUME_BYTES, MAX_VOLUME_BYTES};
use proto::units::BLOCK_BYTES;

/// Smallest volume, in bytes: 1 MiB.
pub const MIN_VOLUME_BYTES: u64 = 1 << 20;
/// Longest volume name, in bytes.
pub const MAX_VOLUME_NAME_BYTES: usize = 63;
/// Longest name of a node, a zone, a gateway, an owner or an access key, in bytes.
pub const MAX_LABEL_BYTES: usize = 128;
/// Longest path of an attachment's socket: what a `sockaddr_un` holds.
pub const MAX_SOCKET_PATH_BYTES: usize = 107;
/// Replica groups a pool may be made with.
pub const MAX_GROUPS: u32 = 4096;
/// Disks one pool may have.
pub const MAX_DISKS: usize = 4096;
/// Longest text kept of why a disk was evicted or is not healthy, in bytes; the rest is cut off.
pub const MAX_WHY_BYTES: usize = 512;
/// Disks that a status names one by one as problems.
pub const MAX_SENTENCES: usize = 16;
/// Volumes that a refusal or a record of lost data names; more are counted.
pub const MAX_LOSS_NAMES: usize = 32;
/// A disk that was not heard of for so long is shown as a problem.
pub const UNSEEN_MS: u64 = 15_000;

/// Largest object body kept in the index itself.
pub const MAX_INLINE_BYTES: usize = 3 * 1024;
/// Longest object key, in bytes of UTF-8 (S3).
pub const MAX_KEY_BYTES: usize = 1024;
/// Longest delimiter of a listing, in bytes.
pub const MAX_DELIMITER_BYTES: usize = 1024;
/// Bytes of user metadata and kept headers of one object; S3's 2 KiB of user metadata and room for headers.
pub const MAX_METADATA_BYTES: usize = 16 * 1024;
/// Extents of one object or part.
pub const MAX_EXTENTS: usize = 65_536;
/// Largest object, in bytes (S3): 5 TiB.
pub const MAX_OBJECT_BYTES: u64 = 5 << 40;
/// Longest policy of a bucket, in bytes (S3): 20 KiB.
pub const MAX_POLICY_BYTES: usize = 20 << 10;
/// Longest setting of a bucket, in bytes: a thousand lifecycle rules with long prefixes fit.
pub const MAX_SETTING_BYTES: usize = 1 << 20;
/// Most versions that a rule keeps behind a key's newest one (S3).
pub const MAX_NEWER_VERSIONS: u32 = 100;
/// How long the lifecycle work is somebody's who isn't heard of.
pub const LIFECYCLE_LEASE_MS: u64 = 15_000;
/// Webhooks of a pool.
pub const MAX_WEBHOOKS: usize = 64;
/// Longest URL of a webhook, in bytes.
pub const MAX_URL_BYTES: usize = 2048;
/// Events that wait for one webhook; the oldest gives way to one more.
pub const MAX_EVENTS: u64 = 50_000;
/// How long an event waits for its webhook: a day.
pub const MAX_EVENT_AGE_MS: u64 = 24 * 3_600_000;
/// Configurations of one bucket's notifications (AWS: 100 event configurations).
pub const MAX_EVENT_ROUTES: usize = 100;
/// Events that are read, settled or removed at once.
pub const MAX_EVENT_PAGE: u32 = 1000;
/// How long posting events is the work of somebody who isn't heard of.
pub const EVENT_LEASE_MS: u64 = 15_000;
/// Longest text of a policy of an identity, white space included, in bytes; IAM counts less of it.
pub const MAX_POLICY_TEXT_BYTES: usize = 128 << 10;
/// Characters of all inline policies of one user, group or role, white space not counted (IAM).
pub const MAX_USER_INLINE_CHARS: usize = 2048;
pub const MAX_GROUP_INLINE_CHARS: usize = 5120;
pub const MAX_ROLE_INLINE_CHARS: usize = 10_240;
/// Managed policies attached to one identity (IAM).
pub const MAX_ATTACHED: usize = 10;
/// Groups of one user (IAM).
pub const MAX_GROUPS_OF_USER: usize = 10;
/// Access keys of one user, and of an account's root (IAM).
pub const MAX_KEYS_OF_IDENTITY: usize = 2;
/// Versions of one managed policy (IAM).
pub const MAX_POLICY_VERSIONS: usize = 5;
/// Tags of one user, role or managed policy (IAM).
pub const MAX_IAM_TAGS: usize = 50;
/// Longest key and value of one, in characters (IAM).
pub const MAX_IAM_TAG_KEY_CHARS: usize = 128;
pub const MAX_IAM_TAG_VALUE_CHARS: usize = 256;
/// Uses of keys that are told at once.
pub const MAX_KEY_USES: usize = 256;
/// Longest name of a user, group, role or policy, in characters (IAM).
pub const MAX_IAM_NAME_CHARS: usize = 128;
/// Longest path of one, in characters (IAM).
pub const MAX_IAM_PATH_CHARS: usize = 512;
/// Users and roles that one policy may name: more than fit into its text.
pub const MAX_BOUND: usize = 1024;
/// Longest ARN of a user or role, in bytes (AWS).
pub const MAX_ARN_BYTES: usize = 2048;
/// Digits of an account's number (AWS).
pub const ACCOUNT_DIGITS: usize = 12;
/// Longest sealed secret, in bytes.
pub const MAX_SEALED_BYTES: usize = 256;
/// Pool keys of one pool, those that open nothing any more included.
pub const MAX_POOL_KEYS: usize = 256;
/// What encryption adds to an inline body, in bytes, at most.
pub const MAX_SEAL_OVERHEAD_BYTES: usize = 64;
/// Identities of one page.
pub const MAX_IDENTITY_PAGE: u32 = 1000;
/// Tags of one object (S3).
pub const MAX_TAGS: usize = 10;
/// Grants of one access control list.
pub const MAX_ACL_GRANTS: usize = 100;
/// Longest name of a tag, in characters (S3).
pub const MAX_TAG_NAME_CHARS: usize = 128;
/// Longest value of a tag, in characters (S3).
pub const MAX_TAG_VALUE_CHARS: usize = 256;
/// Longest default retention, in days (S3): 100 years.
pub const MAX_RETENTION_DAYS: u32 = 36_500;
/// Smallest part of a multipart upload but its last, in bytes (S3).
pub const MIN_PART_BYTES: u64 = 5 << 20;
/// Highest part number (S3).
pub const MAX_PARTS: u16 = 10_000;
/// Entries of one page of a listing, and keys of one multi-object delete (S3).
pub const MAX_PAGE: u32 = 1000;
/// Deleted names that one look for a page passes over, so that no look takes long; whoever asked goes on from there.
pub const MAX_SKIPPED_NAMES: usize = 4096;
/// Extents of one page of garbage or references, and of one `GarbageDone`.
pub const MAX_EXTENT_PAGE: u32 = 4096;

/// Records, and about extents, of one page of a check of the index.
pub const MAX_CHECK_PAGE: u32 = 1000;
/// Faults that a page of it tells of.
pub const MAX_INDEX_FAULTS: usize = 100;

/// Largest encoded command, in bytes: a completed upload of 10,000 parts with their extents is well below.
pub const MAX_COMMAND_BYTES: usize = 4 << 20;
/// Largest body of an admin request, in bytes: one command or query.
pub const MAX_REQUEST_BYTES: usize = MAX_COMMAND_BYTES;
/// Largest answer a remote client reads, in bytes: a page of full records.
pub const MAX_ANSWER_BYTES: usize = 64 << 20;
/// How long a remote client waits for one answer.
pub const REMOTE_TIMEOUT_MS: u64 = 10_000;

const _: () =
    assert!(MIN_VOLUME_BYTES.is_multiple_of(BLOCK_BYTES) && MAX_VOLUME_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(MAX_SYSTEM_VOLUME_BYTES.is_multiple_of(BLOCK_BYTES));
const _: () = assert!(MAX_INLINE_BYTES < MAX_COMMAND_BYTES && 2 * MAX_SETTING_BYTES < MAX_COMMAND_BYTES);

/// The format of everything the control plane keeps on disk.
pub const FORMAT_VERSION: u32 = 2;
/// Largest file of the vote, in bytes.
pub const MAX_HARD_STATE_BYTES: usize = 4096;
/// Largest payload of one log record, in bytes.
pub const MAX_RECORD_BYTES: usize = 64 << 20;
/// A log segment that reached this size is followed by a new one.
pub const SEGMENT_BYTES: u32 = 16 << 20;
/// How far ahead of the log's end zeros are written.
pub const SEGMENT_ZERO_BYTES: u64 = 2 << 20;
/// Entries' bytes kept in memory behind the log's end, so that applying them reads no file.
pub const LOG_CACHE_BYTES: usize = 8 << 20;
/// Bytes of log after which a snapshot is taken and the log behind it dropped; more if the last snapshot
/// was larger, so that writing snapshots costs no more than writing the log.
pub const SNAPSHOT_AFTER_BYTES: u64 = 32 << 20;
/// Payload of one block of a snapshot file, in bytes, before the last pair goes over it.
pub const SNAPSHOT_BLOCK_BYTES: usize = 256 << 10;
/// Largest block of a snapshot file.
pub const MAX_SNAPSHOT_BLOCK_BYTES: usize = SNAPSHOT_BLOCK_BYTES + MAX_RECORD_BYTES;
/// Pages that sled may keep in memory, by what they take in its log (in memory it is another amount): this part of what
/// the process may use at all, within bounds in bytes. It keeps no more than the state is large, which was about 220 MiB
/// for a million objects; where it keeps less, each page of a list costs a hundred reads.
pub const SLED_CACHE_DIVISOR: u64 = 16;
pub const MIN_SLED_CACHE_BYTES: u64 = 64 << 20;
pub const MAX_SLED_CACHE_BYTES: u64 = 4 << 30;
/// Changes of the state that are gathered before sled gets them, in bytes of keys and values: some dozen objects'.
/// Nobody reads the state and nothing is applied while sled takes them: about 12 ms for 256 KiB.
pub const STATE_BEHIND_BYTES: usize = 32 << 10;
/// Answers of one kind that are kept for the next request, and how long they are together.
pub const MAX_KNOWN_ANSWERS: usize = 1024;
pub const MAX_KNOWN_BYTES: usize = 4 << 20;
/// Proposals that wait for the log; more are refused as unavailable until some are through.
pub const MAX_WAITING_PROPOSALS: usize = 4096;
/// Commands of one log entry.
pub const MAX_BATCH_COMMANDS: usize = 512;
/// Encoded bytes of the commands of one log entry, before the last one goes over it.
pub const MAX_BATCH_BYTES: usize = 2 << 20;
/// Log entries in the air at once: one being flushed while the one before it is applied.
pub const MAX_BATCHES_IN_FLIGHT: usize = 2;

const _: () = assert!(MAX_BATCH_BYTES + MAX_COMMAND_BYTES < MAX_RECORD_BYTES);
/// How often a leader tells its peers that it leads.
pub const HEARTBEAT_MS: u64 = 250;
/// How often the planner looks at the pool.
pub const PLAN_INTERVAL_MS: u64 = 5000;
/// The same while members are on their way: few are at a time, and the next should not wait long.
pub const BUSY_PLAN_INTERVAL_MS: u64 = 1000;
/// How long a disk must have been gone before others take its places: 10 minutes.
pub const REPLACE_AFTER_MS: u64 = 600_000;
/// The same in groups whose writes wait for too few members in sync: half a minute.
pub const URGENT_AFTER_MS: u64 = 30_000;
/// How long a disk that was evicted for being slow is kept out, the first time: a minute. Short, since a healthy
/// one may have had a bad time; it doubles each time.
pub const SLOW_PAUSE_MS: u64 = 60_000;
/// How often that is doubled at most: up to 4 hours and 16 minutes.
pub const SLOW_PAUSE_DOUBLINGS: u32 = 8;
/// After a day without another strike, its strikes are forgotten.
pub const SLOW_FORGET_MS: u64 = 24 * 3_600_000;
/// A disk that was heard of as healthy within this time may get replicas and serve as a source.
pub const FRESH_MS: u64 = UNSEEN_MS;
/// The most time between two looks of the planner that counts as silence: what passed beyond it while the
/// planner itself stood still says nothing about disks.
pub const MAX_WATCH_STEP_MS: u64 = 3 * PLAN_INTERVAL_MS;
/// Members that may be catching up when the planner adds others for lost ones.
pub const MAX_REPAIRS_IN_FLIGHT: usize = 32;
/// The same when it moves what could as well stay.
pub const MAX_MOVES_IN_FLIGHT: usize = 4;
/// A disk that would be fuller than this, in percent, gets no more replicas.
pub const FULL_PERCENT: u8 = 85;
/// Disks from either end of the order of fullness that the planner tries for a move.
pub const MAX_BALANCE_TRIES: usize = 16;
/// The range a voter draws its election timeout from.
pub const ELECTION_TIMEOUT_MS: std::ops::Range<u64> = 1000..2000;
/// How long a start may take to apply the log.
pub const START_TIMEOUT_MS: u64 = 120_000;
/// Largest body of an admin request in JSON, in bytes.
pub const MAX_JSON_BYTES: usize = 64 << 10;
/// How often a stopping node looks whether everybody let go of its state.
pub const STOP_POLL_MS: u64 = 2;
/// How long a start waits for the state's files to be closed by the node before it.
pub const MAX_OPEN_WAIT_MS: u64 = 5000;

/// A file of an audit log is followed by the next from this length on, in bytes.
pub const AUDIT_FILE_BYTES: u64 = 64 << 20;
/// Longest line of an audit log: a DeleteObjects of a thousand keys, each escaped, fits.
pub const MAX_AUDIT_LINE_BYTES: usize = 16 << 20;
/// Lines that wait for each other's write to an audit log.
pub const MAX_AUDIT_BATCH: usize = 256;
/// How much of an audit log a power cut may take, in milliseconds.
pub const AUDIT_SYNC_MS: u64 = 1_000;
/// Longest text of a client's own in a line of an audit log, such as its User-Agent, in bytes.
pub const MAX_AUDIT_TEXT_BYTES: usize = 256;
/// Longest text of what was asked of the control plane in a line of an audit log, in bytes.
pub const MAX_AUDIT_DETAIL_BYTES: usize = 2048;
/// Daemons that may have an audit log.
pub const MAX_AUDIT_LOGS: usize = 4096;
/// How often the control plane is told how far an audit log is, in milliseconds.
pub const AUDIT_NOTE_MS: u64 = 5_000;
/// Faults of an audit log that are told one by one.
pub const MAX_AUDIT_FAULTS: usize = 100;
