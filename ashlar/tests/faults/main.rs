//! Faults on real daemons: each row of the list of faults is a test here, shortened, or is proven nearer to what it
//! hurts. `cargo run --release -p bench -- soak` runs the rows mixed and at length.
//!
//! | row | where |
//! |---|---|
//! | 1, 2, 3, 4, 6 | `processes` |
//! | 4, 12 | `restarts`, and `e2e::kill` with S3 beside it |
//! | 5 | vhost-user's `guests`: a VM whose backend is killed |
//! | 11 | `gateway` |
//! | 13, 14, 16, 17, 18, 19 | `network` (as root: each chunk server gets a network namespace) |
//! | 20, 22, 23, 24, 25 | `copies`, and blockd's `store::damage_test` for what is no data |
//! | 26, 32 | blockd's `store::damage_test`, `store::power_test` and `store_test`: every cut and every subset, on recorded writes |
//! | 27, 28, 30, 31 | `disks` (as root: a disk over FUSE), and blockd's `store_test::a_failed_write_or_flush_is_the_end` |
//! | 29 | `e2e::disk_full`, and `full` for writers that die in a full pool |
//! | 34, 35 | rt's `ring::shim` and `framed`: faults between the reactor and the kernel; on daemons in the soak |
//! | 36, 37 | `repair` |
//!
//! After each of `processes`, `network` and `repair` a scrub compares all copies: they must be alike.
//! Of the hostile inputs, 34 (by the pool's token, there being no TLS yet) to 37 are in `frames` and in blockd's
//! `hostile_frames`.
//!
//! Every test prints its seed when it fails; `ASHLAR_TEST_SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

mod copies;
mod disks;
mod frames;
mod full;
mod gateway;
mod moves;
mod network;
mod processes;
mod repair;
mod restarts;
