//! End to end: the real binary, real clients, real guests, real kills.
//!
//! Each test makes its own data folder and takes free ports. One that can't run here says so and is counted
//! as skipped by `make test`.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::cast_sign_loss, clippy::cast_possible_truncation)]

mod audit;
mod awscli;
mod bad_input;
mod bit_flips;
mod clients;
mod degraded;
mod disk_full;
mod findings;
mod gateways;
mod guest;
mod https;
mod identity;
mod kill;
mod lifecycle;
mod migrate;
mod million;
mod policies;
mod progress;
mod quotas;
mod s3_suite;
mod surface;
mod tenants;
mod up;
mod upgrades;
mod versions;
mod virtual_hosts;
mod vm;
mod webhooks;
mod websites;

use trial::{block_client, harness, s3_client};
