//! Whose work a process of ours did on its event loops, which its threads' names don't tell.

use crate::metrics::Metrics;
use anyhow::Result;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// The part of all event loops' threads, before it is divided.
pub const LOOPS: &str = "event loops";
/// What is left of it then: what the kernel does in a loop's calls for all of its tasks, mostly writing to disks and
/// waking clients.
const REST: &str = "event loops, in the kernel";

/// How long each kind of task had a thread, since the process began.
#[derive(Debug, Default, PartialEq)]
pub struct Loops(BTreeMap<String, Duration>);

impl Loops {
    pub fn of(admin: Option<SocketAddr>) -> Result<Self> {
        let Some(admin) = admin else { return Ok(Self::default()) };
        let busy =
            Metrics::fetch(&format!("http://{admin}"))?.by_label("ashlar_task_busy_microseconds_total");
        Ok(Self(busy.into_iter().map(|(kind, us)| (kind, Duration::from_secs_f64(us / 1e6))).collect()))
    }

    pub fn since(&self, before: &Self) -> Self {
        let of = |kind| before.0.get(kind).copied().unwrap_or_default();
        Self(self.0.iter().map(|(kind, busy)| (kind.clone(), busy.saturating_sub(of(kind)))).collect())
    }

    /// Divides the loops' part of `cpu` by task. A task is also charged for the time in which its thread had to wait for a
    /// processor, so that the tasks' shares may be more than there is: then they are of that.
    pub fn divide(&self, cpu: &mut BTreeMap<String, Duration>) {
        let busy: Duration = self.0.values().sum();
        if busy.is_zero() {
            return;
        }
        let Some(loops) = cpu.remove(LOOPS) else { return };
        let scale = (loops.as_secs_f64() / busy.as_secs_f64()).min(1.0);
        for (kind, busy) in &self.0 {
            let part = match kind.as_str() {
                "disk" => "chunk servers",
                "volume" => "gateway's object log",
                other => other,
            };
            *cpu.entry(part.to_owned()).or_default() += busy.mul_f64(scale);
        }
        *cpu.entry(REST.to_owned()).or_default() += loops.saturating_sub(busy);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loops(disk_us: u64, device_us: u64) -> Loops {
        let us = Duration::from_micros;
        Loops(
            [("disk", us(disk_us)), ("device", us(device_us))].map(|(kind, busy)| (kind.into(), busy)).into(),
        )
    }

    #[test]
    fn the_loops_part_is_divided_by_task() {
        let us = Duration::from_micros;
        let used = loops(160, 70).since(&loops(100, 30));
        assert_eq!(used, loops(60, 40));
        let mut cpu = BTreeMap::from([(LOOPS.to_owned(), us(150)), ("rest".to_owned(), us(5))]);
        used.divide(&mut cpu);
        let parts = ["chunk servers", "device", REST, "rest"].map(|part| cpu[part]);
        assert_eq!((parts, cpu.len()), ([us(60), us(40), us(50), us(5)], 4));
        let mut scarce = BTreeMap::from([(LOOPS.to_owned(), us(50))]);
        used.divide(&mut scarce);
        assert_eq!(["chunk servers", "device", REST].map(|part| scarce[part]), [us(30), us(20), us(0)]);
        let mut untold = BTreeMap::from([(LOOPS.to_owned(), us(50))]);
        Loops::default().divide(&mut untold);
        assert_eq!(untold[LOOPS], us(50));
    }
}
