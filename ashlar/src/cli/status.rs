//! `ashlar status`: one screen.

use crate::api::{Health, StatusReport};
use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::{fields, show, table};
use crate::error::Error;
use proto::size;

pub fn run(args: &ClientArgs) -> Result<(), Error> {
    let report: StatusReport = Client::new(args)?.get("/v1/status")?;
    show(args.output, &report, screen)
}

fn screen(report: &StatusReport) -> String {
    let mut text = sentence(report);
    text.push('\n');
    for cause in &report.causes {
        text.push_str(&format!("  - {cause}\n"));
    }
    for note in &report.notes {
        text.push_str(&format!("  note: {note}\n"));
    }
    text.push('\n');
    let capacity = &report.capacity;
    let replicas = &report.replicas;
    text.push_str(&fields(&[
        (
            "capacity",
            format!(
                "{} usable, {} free ({} raw, {} used)",
                size::show(capacity.usable_bytes),
                size::show(capacity.usable_free_bytes),
                size::show(capacity.raw_bytes),
                size::show(capacity.raw_used_bytes)
            ),
        ),
        (
            "replicas",
            format!("{} of {} groups whole, {} waiting", replicas.whole, replicas.groups, replicas.stalled),
        ),
        ("rebuild", rebuild(report)),
        ("volumes", format!("{}, {} attached", report.volumes, report.volumes_attached)),
        ("VMs", format!("{} running", report.vms_running)),
        (
            "objects",
            format!("{} in {} buckets, {}", report.objects, report.buckets, size::show(report.object_bytes)),
        ),
    ]));
    text.push('\n');
    let services: Vec<_> = report
        .services
        .iter()
        .map(|service| vec![service.name.clone(), service.address.clone(), service.state.clone()])
        .collect();
    text.push_str(&table(&["SERVICE", "ADDRESS", "STATE"], &services));
    text.push('\n');
    let disks: Vec<_> = report
        .disks
        .iter()
        .map(|disk| {
            vec![
                disk.id.clone(),
                disk.file.display().to_string(),
                size::show(disk.capacity_bytes),
                size::show(disk.used_bytes),
                disk.error.clone().unwrap_or_else(|| "good".to_owned()),
            ]
        })
        .collect();
    text.push_str(&table(&["DISK", "FILE", "SIZE", "USED", "STATE"], &disks));
    text
}

fn sentence(report: &StatusReport) -> String {
    match report.health {
        Health::Healthy => "Healthy: everything is served, and every byte is on three replicas.".to_owned(),
        Health::Rebuilding => {
            "Rebuilding: everything is served, and what is missing is being copied:".to_owned()
        }
        Health::Stalled => "Stalled: some writes wait until more replicas are back:".to_owned(),
        Health::Degraded => "Degraded: everything is served, but:".to_owned(),
        Health::Unavailable => "Unavailable: something is not served:".to_owned(),
    }
}

fn rebuild(report: &StatusReport) -> String {
    let Some(rebuild) = &report.rebuild else { return "nothing to do".to_owned() };
    let mut text = format!("{} %: {} replicas back, {} to go", rebuild.percent, rebuild.done, rebuild.left);
    match (rebuild.seconds_left, rebuild.copying) {
        (_, 0) => text.push_str(", none of them being copied now"),
        (Some(seconds), _) => text.push_str(&format!(", about {seconds} s left")),
        (None, _) => {}
    }
    for trouble in &rebuild.troubles {
        text.push_str(&format!("; {trouble}"));
    }
    text
}
