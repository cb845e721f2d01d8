//! `ashlar scrub objects`: that no data of objects is lost, and none is left behind.

use crate::api::{ObjectScrubView, StartObjectScrub};
use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::{fields, show};
use crate::cli::progress::waiting;
use crate::error::Error;
use crate::limits::OBJECT_SCRUB_POLL;
use objectd::scrub::{Phase, Report};
use proto::size;

/// Where it is asked for and looked at.
const PATH: &str = "/v1/scrub/objects";

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Read all data too, and compute checksums and ETags of it
    #[arg(long)]
    deep: bool,
    /// Give what is orphaned back, and put usages right
    #[arg(long)]
    repair: bool,
    /// Only show the check that runs, or what the last one found
    #[arg(long, conflicts_with_all = ["deep", "repair"])]
    status: bool,
    #[command(flatten)]
    client: ClientArgs,
}

/// Exits with 0 only when all is well.
pub fn run(args: &Args) -> Result<(), Error> {
    let client = Client::new(&args.client)?;
    if args.status {
        let view: ObjectScrubView = client.get(PATH)?;
        show(args.client.output, &view, table)?;
        return if view.finished_ms.is_some() { verdict(&view.report) } else { Ok(()) };
    }
    let asked = StartObjectScrub { deep: args.deep, repair: args.repair };
    let begun: ObjectScrubView = client.post(PATH, &asked)?;
    let view = follow(&client, begun)?;
    show(args.client.output, &view, table)?;
    verdict(&view.report)
}

/// Waits for the end, and tells how far it is meanwhile.
fn follow(client: &Client, begun: ObjectScrubView) -> Result<ObjectScrubView, Error> {
    let started_ms = begun.started_ms;
    let mut view = begun;
    let sign = waiting(so_far(&view.report));
    while view.running {
        client.pause(OBJECT_SCRUB_POLL);
        view = client.get(PATH)?;
        sign.say(so_far(&view.report));
        if view.started_ms != started_ms {
            return Err(Error::failed(
                "another check was begun, or the daemon started again; begin it again",
            ));
        }
    }
    Ok(view)
}

fn so_far(report: &Report) -> String {
    match report.phase {
        Phase::Index => format!("checking the index: {} entries", report.entries),
        Phase::Logs => format!(
            "checking logs: {} of {} done, {} held",
            report.logs_done,
            report.logs,
            size::show(report.held_bytes)
        ),
        Phase::Usages => format!("counting usages: {} done", report.usages),
        Phase::Data => {
            format!("reading: {} objects, {}", report.objects_read, size::show(report.bytes_read))
        }
        Phase::SecondLook => "looking again at what seems orphaned".to_owned(),
        Phase::Done => "done".to_owned(),
    }
}

fn verdict(report: &Report) -> Result<(), Error> {
    if report.is_well() {
        return Ok(());
    }
    Err(Error::failed("not all is well with the objects; docs/FAILURES.md says what to do"))
}

fn table(view: &ObjectScrubView) -> String {
    let report = &view.report;
    let state = match (view.running, view.finished_ms) {
        (true, _) => so_far(report),
        (false, Some(_)) if report.is_well() => "finished: all is well".to_owned(),
        (false, Some(_)) => "finished: not all is well".to_owned(),
        (false, None) => "none yet; ashlar scrub objects begins one".to_owned(),
    };
    let bytes = |bytes: u64| size::show(bytes);
    let orphaned = match report.reclaimed_bytes {
        0 => bytes(report.orphaned_bytes),
        back => format!("{}, {} of it given back", bytes(report.orphaned_bytes), bytes(back)),
    };
    let mut lines = vec![
        ("check", state),
        ("index", format!("{} entries, {} extents", report.entries, report.extents)),
        (
            "data",
            format!("{}, {} held in {} logs", bytes(report.bytes), bytes(report.held_bytes), report.logs),
        ),
        ("lost", format!("{} extents", report.lost_extents)),
        ("orphaned", orphaned),
        ("waiting", format!("{} of garbage to be trimmed", bytes(report.waiting_bytes))),
        ("in flight", format!("{}, too new to be judged", bytes(report.in_flight_bytes))),
        ("index faults", report.index_fault_count.to_string()),
        ("usages off", format!("{} of {}", report.counters_off.len(), report.usages)),
    ];
    if view.deep {
        let read = format!("{} objects, {}", report.objects_read, bytes(report.bytes_read));
        lines.push(("read", format!("{read}; {} bad", report.bad_object_count)));
    }
    if report.unproven_chunks > 0 {
        lines.push(("not proven", format!("{} chunks", report.unproven_chunks)));
    }
    fields(&lines) + &findings(report)
}

/// One line for each.
fn findings(report: &Report) -> String {
    let mut found = Vec::new();
    for lost in &report.lost {
        let (at, missing) = (lost.extent, lost.missing_bytes);
        let whose = &lost.owner;
        found.push(format!("lost: {missing} bytes of {whose}, at {} of log {}", at.offset, at.volume));
    }
    for fault in &report.index_faults {
        let at = fault.extent;
        found.push(format!("index: {} of log {}, of {}, {}", at.offset, at.volume, fault.owner, fault.kind));
    }
    for bad in &report.bad_objects {
        found.push(format!("bad: {}: {}", bad.object, bad.why));
    }
    for orphan in &report.orphans {
        found.push(format!("orphaned: {} bytes at {} of log {}", orphan.len, orphan.offset, orphan.volume));
    }
    for off in &report.counters_off {
        let (kept, counted) = (off.kept, off.counted);
        let mended = if off.mended { ", put right" } else { "" };
        found.push(format!("usage of {}: kept {kept:?}, counted {counted:?}{mended}", off.of));
    }
    found.extend(report.troubles.iter().cloned());
    found.iter().map(|line| format!("  - {line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn only_what_is_well_is_a_success() {
        let view = ObjectScrubView { finished_ms: Some(1), ..ObjectScrubView::default() };
        assert!(verdict(&view.report).is_ok());
        assert!(table(&view).starts_with("check         finished: all is well\n"), "{}", table(&view));
        let cases: [fn(&mut Report); 5] = [
            |report| report.lost_extents = 1,
            |report| report.index_fault_count = 1,
            |report| report.orphaned_bytes = 4096,
            |report| report.unproven_chunks = 1,
            |report| report.troubles.push("a disk is away".into()),
        ];
        for change in cases {
            let mut view = view.clone();
            change(&mut view.report);
            assert_eq!(verdict(&view.report).map_err(|error| error.exit), Err(Exit::Failed));
            assert!(table(&view).starts_with("check         finished: not all is well\n"));
        }
        let mut view = view;
        (view.report.orphaned_bytes, view.report.reclaimed_bytes) = (4096, 4096);
        assert!(verdict(&view.report).is_ok(), "it is given back");
    }
}
