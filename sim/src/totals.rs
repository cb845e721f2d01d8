//! What runs add up to.

use crate::fault::Trouble;
use std::collections::BTreeMap;

/// What happened in a run.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    pub operations: u64,
    pub acked_writes: u64,
    pub flushes: u64,
    pub reads: u64,
    pub failed: u64,
    pub writers: u64,
    pub repaired: u64,
    pub reconciled: u64,
    pub events: u64,
    pub conditional: u64,
    /// Changes of the control plane that nobody heard of again.
    pub unheard: u64,
    pub elections: u64,
    pub catch_ups: u64,
    pub copied: u64,
    /// Old copies of groups that were cleared.
    pub cleared: u64,
    pub new_disks: u64,
    pub reports: u64,
    pub scrubs: u64,
    pub scrubbed: u64,
    pub simulated_ns: u64,
    pub trace: u64,
    pub troubles: BTreeMap<Trouble, u64>,
}

impl Totals {
    pub fn count(&mut self, trouble: Trouble, times: u64) {
        if times > 0 {
            *self.troubles.entry(trouble).or_default() += times;
        }
    }

    pub fn add(&mut self, other: &Totals) {
        self.operations += other.operations;
        self.acked_writes += other.acked_writes;
        self.flushes += other.flushes;
        self.reads += other.reads;
        self.failed += other.failed;
        self.writers += other.writers;
        self.repaired += other.repaired;
        self.reconciled += other.reconciled;
        self.events += other.events;
        self.conditional += other.conditional;
        self.unheard += other.unheard;
        self.elections += other.elections;
        self.catch_ups += other.catch_ups;
        self.copied += other.copied;
        self.cleared += other.cleared;
        self.new_disks += other.new_disks;
        self.reports += other.reports;
        self.scrubs += other.scrubs;
        self.scrubbed += other.scrubbed;
        self.simulated_ns += other.simulated_ns;
        self.trace ^= other.trace;
        for (&trouble, &times) in &other.troubles {
            self.count(trouble, times);
        }
    }
}
