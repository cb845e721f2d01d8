//! The deterministic simulator: the real cores of blockd and of the control plane on simulated disks, clocks and
//! networks.
//!
//! A simulated hour holds, on the average over seeds (measured over 8000 of them): 290 operations of two tenants
//! (180 acked writes, 73 reads, 23 flushes), 11 troubles, 13600 events, and beside them 170 changes and reads of
//! a control plane with three voters. A seed picks how bad its days are: on the worst a trouble comes every three
//! minutes, on the best one an hour, with the time to heal wholly between ([`world`]'s `PACES`). Nothing else is scaled: the cores run with the limits that
//! they have in production. Time in which nothing happens costs nothing.
//!
//! A seed decides everything, so a failure is replayed by its seed. See [`scenario`] for what a run does,
//! [`trouble`] for what goes wrong in it, [`tenant`], [`council`] and [`check`] for what is checked, [`oracle`]
//! for what a volume may hold, and [`fault`] for the bugs planted to prove the checkers.

pub mod check;
pub mod clearing;
pub mod clock;
pub mod control;
pub mod council;
pub mod custody;
pub mod damage;
pub mod deleter;
pub mod disk;
pub mod durable;
pub mod fault;
pub mod finale;
pub mod grow;
pub mod hog;
pub mod keeper;
pub mod net;
pub mod operator;
pub mod oracle;
mod planted;
pub mod rng;
pub mod scenario;
pub mod scrubber;
pub mod server;
pub mod tenant;
pub mod totals;
pub mod trace;
pub mod trouble;
pub mod world;
pub mod writer;
