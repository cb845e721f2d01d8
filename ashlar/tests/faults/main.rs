//! Faults on real daemons: each row of the list of faults is a test here, shortened, or is proven nearer to what it
//! hurts. `cargo run --release -p bench -- soak` runs the rows mixed and at length.
//!
//! | row | where |
//! |---|---|
//! | 1, 2, 3 | `processes` |
//! | 6, 11, 14, 16, 17, 18, 19 | the soak |
//! | 4 | `restarts`, and `e2e::kill` with S3 beside it |
//! | 5 | vhost-user's `guests`: a VM whose backend is killed |
//! | 12 | `restarts` |
//! | 13 | `network` (as root: each chunk server gets a network namespace) |
//! | 20, 22, 23, 24, 25 | `copies` |
//! | 26, 32 | blockd's `store::damage_test` and `store_test`: every cut and every subset, on recorded writes |
//! | 27, 28 | blockd's `store_test::a_failed_write_or_flush_is_the_end` |
//! | 29 | `e2e::disk_full` |
//! | 34, 35 | rt's `ring_test` |
//!
//! Every test prints its seed when it fails; `ASHLAR_TEST_SEED` repeats one.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

mod copies;
mod frames;
mod network;
mod processes;
mod restarts;
