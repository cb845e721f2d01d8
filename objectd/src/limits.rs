//! Every bound of the gateway. What AWS fixes is named so; the rest keeps one client from hurting others.

use proto::units::BLOCK_LEN;
use std::time::Duration;

/// Bytes of a key, in UTF-8 (AWS).
pub const MAX_KEY_BYTES: usize = 1024;
/// Bytes of user metadata: names without their prefix, plus values (AWS).
pub const MAX_USER_METADATA_BYTES: usize = 2048;
/// Keys, common prefixes, uploads or parts of one page of a list; keys of one DeleteObjects (AWS).
pub const MAX_PAGE: usize = 1000;
/// Buckets of one page of ListBuckets (AWS).
pub const MAX_BUCKET_PAGE: u32 = 10_000;
/// The highest part number (AWS).
pub const MAX_PART_NUMBER: u32 = 10_000;
/// The least size of every part but the last (AWS).
pub const MIN_PART_BYTES: u64 = 5 << 20;
/// The largest body of one PUT or part (AWS).
pub const MAX_PUT_BYTES: u64 = 5 << 30;
/// The largest object (AWS).
pub const MAX_OBJECT_BYTES: u64 = 5 << 40;
/// The largest source of one CopyObject (AWS).
pub const MAX_COPY_BYTES: u64 = 5 << 30;

/// Bodies from this length on are not read where a quota would refuse them.
pub const EARLY_QUOTA_BYTES: u64 = 1 << 20;

/// Objects up to this size live in the index entry; larger ones in the object log.
pub const MAX_INLINE_BYTES: usize = 3 << 10;
/// One write to, or read from, the object log. Whole blocks.
pub const PIECE_BYTES: usize = 1 << 20;
/// Pieces of one upload that may be on their way to the disks.
pub const WRITE_PIECES_IN_FLIGHT: usize = 4;
/// Pieces of one download that are read ahead of the client.
pub const READ_PIECES_AHEAD: usize = 3;
/// Bytes of pieces that all bodies of a gateway hold together, on their way to the disks and from them, besides what
/// each may always: this many pieces of this many bytes.
pub const SHARED_PIECE_BYTES: usize = 12 << 20;
pub const OWN_PIECES: usize = 2;
pub const OWN_PIECE_BYTES: usize = 256 << 10;
/// What was read of the log and is kept for the next who asks, in bytes, and the longest piece that is.
pub const LOG_CACHE_BYTES: usize = 24 << 20;
pub const MAX_CACHED_PIECE_BYTES: usize = 128 << 10;
/// Address space of the log that is reserved at a time.
pub const RESERVE_BYTES: u64 = 256 << 20;
/// The longest run of the log that one upload takes at a time, so that an abandoned one wastes little.
pub const MAX_RUN_BYTES: u64 = 64 << 20;
/// The log's address space: thin, and never used twice.
pub const LOG_VOLUME_BYTES: u64 = proto::limits::MAX_SYSTEM_VOLUME_BYTES;
/// The longest trim sent to the log at a time.
pub const TRIM_BYTES: u64 = 256 << 20;
/// Dead extents that the garbage worker takes at a time.
pub const GARBAGE_PAGE: usize = 1024;
/// How long the garbage worker sleeps when this gateway deleted nothing; others may have.
pub const GARBAGE_IDLE: Duration = Duration::from_secs(30);
/// How long the garbage worker lets deletions gather.
pub const GARBAGE_BATCH_WAIT: Duration = Duration::from_millis(50);
/// How long the garbage worker waits after a failure, and for extents that are being read.
pub const GARBAGE_RETRY: Duration = Duration::from_secs(1);
/// Trims of garbage on their way at once.
pub const TRIMS_IN_FLIGHT: usize = 8;

/// The form of one call of IAM: a policy of 128 KiB, each byte of which may be written as three.
pub const MAX_CALL_BYTES: usize = 512 << 10;
/// Policies of one session, together: they travel in its token, in a header (AWS packs them into about as much).
pub const MAX_SESSION_POLICY_BYTES: usize = 8 << 10;

/// Buckets whose policies are kept parsed; each takes a few times its text, which is at most 20 KiB.
pub const MAX_PARSED_POLICIES: usize = 1024;

/// A policy as it is sent: longer ones are refused unread, those over AWS's 20 KiB with its own words.
pub const MAX_POLICY_BODY_BYTES: usize = policy::limits::MAX_TEXT_BYTES;

/// A CORS configuration, in bytes (AWS).
pub const MAX_CORS_BYTES: usize = 64 << 10;
/// Tags of a bucket (AWS).
pub const MAX_BUCKET_TAGS: usize = 50;
/// Fields of a form before its file, in bytes (AWS), and how many.
pub const MAX_FORM_BYTES: usize = 20 << 10;
pub const MAX_FORM_FIELDS: usize = 100;
/// Rules of a CORS configuration (AWS).
pub const MAX_CORS_RULES: usize = 100;
/// A website configuration, in bytes (AWS).
pub const MAX_WEBSITE_BYTES: usize = 128 << 10;
/// Routing rules of one (AWS).
pub const MAX_ROUTING_RULES: usize = 50;
/// The longest name of a host (DNS), and its port.
pub const MAX_HOST_BYTES: usize = 253 + 6;
/// A lifecycle configuration, in bytes.
pub const MAX_LIFECYCLE_BYTES: usize = 1 << 20;
/// Rules of one (AWS).
pub const MAX_LIFECYCLE_RULES: usize = 1000;
/// Characters of a lifecycle rule's id (AWS).
pub const MAX_LIFECYCLE_ID_CHARS: usize = 255;
/// How often a worker looks whether a pass over all buckets is due.
pub const LIFECYCLE_LOOK_EVERY: Duration = Duration::from_secs(10);
/// The same where tests move the clock.
pub const LIFECYCLE_MOVED_LOOK_EVERY: Duration = Duration::from_millis(500);
/// From the beginning of one pass to the next, by the clock that rules go by. All that is due is so at a midnight, so
/// this is how late after one it may go.
pub const LIFECYCLE_PASS_EVERY: Duration = Duration::from_secs(3600);
/// How often a worker at work says so and how far it is: several times while the control plane waits for it.
pub const LIFECYCLE_KEEP_EVERY: Duration = Duration::from_secs(4);
/// Versions or uploads that a worker looks at together.
pub const LIFECYCLE_PAGE: u32 = 500;
/// Versions taken away in one step of the control plane: with all their tags they fit into a command.
pub const LIFECYCLE_BATCH: usize = 100;
/// Uploads, each of which may have ten thousand parts.
pub const LIFECYCLE_UPLOAD_BATCH: usize = 4;
/// How long a gateway tells when objects expire by rules that it read before.
pub const LIFECYCLE_KNOWN_FOR: Duration = Duration::from_secs(5);
/// Buckets whose rules it keeps for that, and the bytes of their texts.
pub const MAX_KNOWN_LIFECYCLES: usize = 1024;
pub const MAX_KNOWN_LIFECYCLE_BYTES: usize = 16 << 20;
/// A notification configuration, in bytes.
pub const MAX_NOTIFICATION_BYTES: usize = 1 << 20;
/// Characters of a notification configuration's id.
pub const MAX_EVENT_ID_CHARS: usize = 255;
/// Longest token of a webhook, in bytes: sealed, it fits into what the control plane keeps.
pub const MAX_WEBHOOK_TOKEN_BYTES: usize = 200;
/// How often a worker looks whether there is something to tell.
pub const EVENT_LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often a worker that posts says so: several times while the control plane waits for it.
pub const EVENT_KEEP_EVERY: Duration = Duration::from_secs(4);
/// Events of a webhook that are read and settled together, and how often without a look at the others.
pub const EVENT_PAGE: u32 = 100;
pub const EVENT_PAGES: usize = 50;
/// Events on their way to one webhook at once.
pub const EVENTS_IN_FLIGHT: usize = 8;
/// A webhook that took none of so many is left alone for a while.
pub const EVENT_GIVE_UP: u32 = 4;
/// How long a webhook may take to be connected to, and to answer.
pub const EVENT_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub const EVENT_TIMEOUT: Duration = Duration::from_secs(10);
/// How much of a webhook's answer is read.
pub const EVENT_ANSWER_BYTES: usize = 4096;
/// How long a webhook is left alone that failed, the first time, and at most; it doubles in between.
pub const EVENT_RETRY: Duration = Duration::from_secs(1);
pub const EVENT_RETRY_MOST: Duration = Duration::from_secs(300);
/// A logging configuration, in bytes.
pub const MAX_LOGGING_BYTES: usize = 64 << 10;
/// Lines of access logs that wait in a gateway, in bytes; more are not kept. Half of that is delivered at once.
pub const MAX_LOG_LINES_BYTES: usize = 16 << 20;
/// Buckets that log, as far as a gateway remembers them.
pub const MAX_LOGGING_BUCKETS: usize = 100_000;
/// How long lines wait to be delivered, if nobody says otherwise.
pub const LOG_DELIVERY: Duration = Duration::from_secs(300);
/// How long after a delivery failed it is tried again.
pub const LOG_RETRY: Duration = Duration::from_secs(10);
/// How long a stop waits for the last deliveries.
pub const LOG_STOP_TIMEOUT: Duration = Duration::from_secs(5);
/// Characters of a CORS rule's id (AWS).
pub const MAX_CORS_ID_CHARS: usize = 255;

/// How often the use of one key is told to the control plane, in milliseconds.
pub const KEY_USE_EVERY_MS: u64 = 15 * 60 * 1000;
/// How long uses are gathered, to be told together.
pub const KEY_USE_GATHER: Duration = Duration::from_millis(500);
/// Uses that wait to be told.
pub const KEY_USE_QUEUE: usize = 4096;
/// How long the next attempt waits if the control plane can't be reached.
pub const KEY_USE_RETRY: Duration = Duration::from_secs(5);
/// Keys of which a gateway knows when it last told of them.
pub const MAX_NOTED_KEYS: usize = 65_536;
/// XML bodies of requests: 10,000 parts, or 1,000 keys of 1 KiB with their escapes, fit.
pub const MAX_XML_BYTES: usize = 4 << 20;
/// Elements of a request's XML.
pub const MAX_XML_ELEMENTS: usize = 100_000;
/// Depth of a request's XML.
pub const MAX_XML_DEPTH: usize = 16;
/// Bytes of one tag of a request's XML, attributes included.
pub const MAX_XML_TAG_BYTES: usize = 1024;

/// Connections served at once; further ones wait in the listen queue.
pub const MAX_CONNECTIONS: usize = 8192;
/// How long a client may take to agree on TLS.
pub const TLS_HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the certificate's files are looked at for a change.
pub const TLS_LOOK_EVERY: Duration = Duration::from_secs(2);
/// The longest file of certificates or keys.
pub const MAX_PEM_BYTES: u64 = 1 << 20;
/// How often the file of pool keys is looked at for a change.
pub const KEY_FILE_LOOK_EVERY: Duration = Duration::from_secs(2);
/// The longest file of pool keys.
pub const MAX_KEY_FILE_BYTES: u64 = 64 << 10;
/// Versions that are looked at together when objects' keys are encrypted anew.
pub const REWRAP_PAGE: u32 = 500;
/// How many of them are changed at once.
pub const REWRAPS_IN_FLIGHT: usize = 8;
/// How long that rests between two pages, so that requests come first.
pub const REWRAP_PAUSE: Duration = Duration::from_millis(50);
/// How long after a pass over all objects what is left is looked for: uploads that were unfinished.
pub const REWRAP_AGAIN_AFTER: Duration = Duration::from_secs(600);
/// An encryption setting of a bucket, in bytes: AWS's has one rule.
pub const MAX_ENCRYPTION_BYTES: usize = 16 << 10;
/// Query parameters of one request. No operation takes more than twenty.
pub const MAX_QUERY_PARAMETERS: usize = 64;
/// Parameters of a call of IAM or STS: fifty tags, each with key and value, and a few.
pub const MAX_FORM_PARAMETERS: usize = 128;
/// Headers of one request.
pub const MAX_HEADERS: usize = 128;
/// Bytes of a request's line and headers.
pub const MAX_HEADER_BYTES: usize = 32 << 10;
/// How long a client may take to send its headers, and how long a kept-alive connection may idle.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a client may take to send the next bytes of a body.
pub const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// How long an answer may wait for its client to read the next [`MIN_WRITE_BYTES`]. What waits for disks is not counted.
pub const WRITE_TIMEOUT: Duration = Duration::from_secs(60);
/// Less than this in that time is a client that holds its connection rather than reads.
pub const MIN_WRITE_BYTES: usize = 16 << 10;
/// Bytes of an answer that the kernel takes before it can send them.
pub const UNSENT_BYTES: u32 = 512 << 10;
/// Bytes of a failed request's body that are read away, so that the client sees the answer.
pub const DRAIN_BYTES: usize = 32 << 20;
/// The same for a request that was refused by its head: its sender may be anybody.
pub const REFUSED_DRAIN_BYTES: usize = 1 << 20;
/// How long reading them may take.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(1);
/// How long a stop waits for the requests in flight.
pub const STOP_TIMEOUT: Duration = Duration::from_secs(10);

const _: () = assert!(3 * policy::limits::MAX_TEXT_BYTES < MAX_CALL_BYTES);
// JSON may double a text's length, and Base64 adds a third.
const _: () = assert!(MAX_SESSION_POLICY_BYTES * 8 / 3 + 4096 < MAX_HEADER_BYTES);
const _: () = assert!(PIECE_BYTES.is_multiple_of(BLOCK_LEN) && MAX_INLINE_BYTES < BLOCK_LEN);
const _: () = assert!(RESERVE_BYTES.is_multiple_of(BLOCK_LEN as u64) && MAX_RUN_BYTES <= RESERVE_BYTES);
const _: () = assert!(MAX_CORS_BYTES <= meta::limits::MAX_SETTING_BYTES);
const _: () = assert!(MAX_WEBSITE_BYTES <= meta::limits::MAX_SETTING_BYTES);
const _: () = assert!(MAX_NOTIFICATION_BYTES <= meta::limits::MAX_SETTING_BYTES);
const _: () = assert!(EVENT_PAGE <= meta::limits::MAX_EVENT_PAGE);
const _: () = assert!(EVENT_KEEP_EVERY.as_millis() * 3 < meta::limits::EVENT_LEASE_MS as u128);
const _: () = assert!(MAX_LIFECYCLE_BYTES <= meta::limits::MAX_SETTING_BYTES);
const _: () = assert!(LIFECYCLE_KEEP_EVERY.as_millis() * 3 < meta::limits::LIFECYCLE_LEASE_MS as u128);
const _: () = assert!(PIECE_BYTES as u64 <= MAX_RUN_BYTES);
// Reads end at multiples of either, so that none crosses two chunks.
const _: () =
    assert!(PIECE_BYTES.is_multiple_of(OWN_PIECE_BYTES) && OWN_PIECE_BYTES.is_multiple_of(BLOCK_LEN));
// A piece that is filled, and one on its way to the disks.
const _: () = assert!(OWN_PIECES >= 2 && OWN_PIECES * OWN_PIECE_BYTES <= 1 << 20);
