//! How long a volume is away when its server ends and starts again: after `kill -9` under writes, and after a clean stop.
//! What a start reads grows with the log behind the newest checkpoint, and with the index; `--size` and `--fill` show how.

use super::client::Client;
use super::drive::Drivers;
use super::side::{Disks, Keeper, Side};
use super::workload::{RANDWRITE_D32, WORKLOADS};
use super::{Options, Shape};
use crate::machine::{now, pause, say_aside};
use crate::report::figure::{Better, Figure, Sample};
use crate::report::{OURS, Report, RowName};
use crate::store::End;
use anyhow::{Context, Result, bail};

const READY: Figure = Figure::new("until it says ready", "ms", Better::Lower);
const READ: Figure = Figure::new("until a volume reads", "ms", Better::Lower);

/// A row, and how the old server ends.
pub struct Start {
    row: RowName,
    end: End,
}

const ROWS: [(&str, End); 2] = [("start after kill -9", End::Kill), ("start after a stop", End::Stop)];

/// Those that are wanted by the name that they have in the report.
pub fn wanted(options: &Options, name: impl Fn(&str) -> String) -> Vec<Start> {
    let rows = ROWS.into_iter().map(|(row, end)| Start { row: RowName::new(name(row), &READ), end });
    rows.filter(|start| options.run.wants(&start.row.workload)).collect()
}

/// Measures them; a store that somebody else started is left alone.
pub fn run(
    ours: &mut Side,
    report: &mut Report,
    starts: &[Start],
    (options, shape): (&Options, Shape),
) -> Result<()> {
    let rounds = options.run.rounds;
    for round in 0..rounds {
        for Start { row, end } in starts {
            let sample = measure(ours, *end, (options, shape));
            let Some(sample) = sample.with_context(|| format!("{} on {}", row.workload, ours.name))? else {
                return Ok(());
            };
            say_aside(&format!("round {} of {rounds}: {:<24} {}", round + 1, row.workload, sample.summary()));
            report.add(row, OURS, sample);
        }
    }
    Ok(())
}

fn measure(ours: &mut Side, end: End, (options, shape): (&Options, Shape)) -> Result<Option<Sample>> {
    let Keeper::Ours(_) = ours.keeper else { return Ok(None) };
    let writes = WORKLOADS.iter().find(|workload| workload.name == RANDWRITE_D32).context("it is a row")?;
    let drivers = Drivers::start(ours, writes, shape)?.context("every side takes random writes")?;
    pause(options.run.time());
    drivers.end()?;
    let (Keeper::Ours(store), Disks::Sockets(sockets)) = (&mut ours.keeper, &ours.disks) else {
        bail!("ours serves sockets");
    };
    for socket in sockets {
        // What a killed server leaves behind is no sign of the next one.
        std::fs::remove_file(socket).context("removing the old socket")?;
    }
    // A clean stop takes its time before the clock starts; the way from the end to the start is not waited for.
    if end == End::Stop {
        store.server.stop();
    }
    let begin = now();
    store.restart(end)?;
    let ready = begin.elapsed();
    for socket in sockets {
        store.server.wait_for_socket(socket)?;
        // The attachment comes back by itself; its first read shows that the volume does too.
        Client::connect(socket)?.read_once(0)?;
    }
    let read = begin.elapsed();
    ours.members = store.members();
    let mut sample = Sample::default();
    sample.put(&READY, ready.as_secs_f64() * 1e3);
    sample.put(&READ, read.as_secs_f64() * 1e3);
    let memory: u64 =
        ours.members.iter().map(|member| crate::counters::memory_bytes(member.pid)).sum::<Result<u64>>()?;
    sample.put(&crate::report::figure::MEMORY, crate::report::figure::count(memory >> 20));
    Ok(Some(sample))
}
