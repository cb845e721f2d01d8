//! One run of one workload on one side: what the client saw, and what it cost.

use super::Shape;
use super::drive::Drivers;
use super::side::Side;
use super::workload::Workload;
use crate::counters::{Asked, Census, Meter};
use crate::limits::{CENSUS_TIME, WARM_UP_PART};
use crate::machine::pause;
use crate::report::Report;
use crate::report::figure::{IOPS, Sample, THROUGHPUT, count};
use anyhow::{Result, bail};
use std::path::Path;
use std::time::Duration;

/// How a turn goes.
#[derive(Debug, Clone, Copy)]
pub struct Turn<'a> {
    /// What counts; warming up comes before, and counting system calls after.
    pub time: Duration,
    pub shape: Shape,
    /// Where the data lies.
    pub folder: &'a Path,
}

pub struct Measured {
    pub sample: Sample,
    /// With those of warming up and of counting system calls.
    pub all_operations: u64,
}

/// `None` if the side is not made for this.
pub fn measure(
    side: &Side,
    workload: &Workload,
    turn: Turn<'_>,
    (census, report): (&mut Census, &mut Report),
) -> Result<Option<Measured>> {
    let Some(drivers) = Drivers::start(side, workload, turn.shape)? else { return Ok(None) };
    pause(turn.time / WARM_UP_PART);
    let meter = Meter::start(&side.members, turn.folder)?;
    drivers.count();
    pause(turn.time);
    drivers.idle();
    let usage = meter.read()?;
    let counted = census.system_calls(&side.members, report, || {
        drivers.count_only();
        pause(turn.time.min(CENSUS_TIME));
        drivers.idle();
        Ok(drivers.counted_only())
    });
    let mut outcome = drivers.end()?;
    if outcome.operations == 0 {
        // What was answered came before or after; there is nothing to divide by.
        bail!("no request was answered in {} s", turn.time.as_secs());
    }
    let seconds = usage.elapsed.as_secs_f64();
    let bytes = outcome.operations * workload.request_bytes as u64;
    let mut sample = Sample::default();
    sample.put(&IOPS, count(outcome.operations) / seconds);
    sample.put(&THROUGHPUT, count(bytes) / count(1 << 20) / seconds);
    sample.put_latencies(&mut outcome.latencies);
    let written_bytes = if workload.is_write() { bytes } else { 0 };
    usage.put(&mut sample, Asked { operations: outcome.operations, written_bytes });
    if let Some(counted) = counted? {
        counted.put(&mut sample);
    }
    Ok(Some(Measured { sample, all_operations: outcome.all_operations }))
}
