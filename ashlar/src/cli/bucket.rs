//! `ashlar bucket`: what buckets hold, and what they may.

use crate::api::{BucketPage, BucketView, QuotaView, SetQuota, UsageView};
use crate::cli::client::{Client, ClientArgs, path};
use crate::cli::output::{fields, show, table};
use crate::error::Error;
use meta::quota::BoundChange;
use proto::size;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the buckets with what they hold and may hold
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Show a bucket's quota, or change it
    Quota {
        name: String,
        #[command(flatten)]
        bounds: Bounds,
        #[command(flatten)]
        client: ClientArgs,
    },
}

/// What is to change of a quota.
#[derive(Debug, Clone, clap::Args)]
pub struct Bounds {
    /// The most bytes, of all versions and of the parts of unfinished uploads; "none" lifts it
    #[arg(long, value_parser = bytes, value_name = "SIZE|none")]
    bytes: Option<BoundChange>,
    /// The most objects, all versions counted; "none" lifts it
    #[arg(long, value_parser = objects, value_name = "COUNT|none")]
    objects: Option<BoundChange>,
}

impl Bounds {
    /// What is to be asked for; nothing if the quota is only to be shown.
    pub fn change(&self) -> Option<SetQuota> {
        let asked = self.bytes.is_some() || self.objects.is_some();
        asked.then(|| SetQuota {
            bytes: self.bytes.unwrap_or_default(),
            objects: self.objects.unwrap_or_default(),
        })
    }
}

fn bytes(text: &str) -> Result<BoundChange, String> {
    if text == "none" {
        return Ok(BoundChange::Lift);
    }
    size::parse(text).map(BoundChange::Set).map_err(|error| format!("{error}, or none"))
}

fn objects(text: &str) -> Result<BoundChange, String> {
    if text == "none" {
        return Ok(BoundChange::Lift);
    }
    text.parse().map(BoundChange::Set).map_err(|_| format!("'{text}' is not a number, nor none"))
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List { client } => {
            let buckets = all(&Client::new(&client)?)?;
            show(client.output, &buckets, |buckets| {
                let row = |bucket: &BucketView| {
                    let mut row = vec![bucket.name.clone(), bucket.project.clone()];
                    row.extend(cells(&bucket.usage, &bucket.quota));
                    row
                };
                let rows: Vec<_> = buckets.iter().map(row).collect();
                table(&["BUCKET", "ACCOUNT", "OBJECTS", "QUOTA", "BYTES", "UPLOADS", "QUOTA"], &rows)
            })
        }
        Command::Quota { name, bounds, client } => {
            let connection = Client::new(&client)?;
            let bucket: BucketView = match bounds.change() {
                Some(change) => connection.post(&path(&["buckets", &name, "quota"]), &change)?,
                None => connection.get(&path(&["buckets", &name]))?,
            };
            show(client.output, &bucket, |bucket| {
                let mut lines = vec![("bucket", bucket.name.clone()), ("account", bucket.project.clone())];
                lines.extend(lines_of(&bucket.usage, &bucket.quota));
                fields(&lines)
            })
        }
    }
}

/// Every page of the list.
fn all(client: &Client) -> Result<Vec<BucketView>, Error> {
    let mut buckets = Vec::new();
    let mut after = String::new();
    loop {
        // Names of buckets need no escapes.
        let page: BucketPage = client.get(&format!("/v1/buckets?after={after}"))?;
        buckets.extend(page.buckets);
        match page.next {
            Some(next) => after = next,
            None => return Ok(buckets),
        }
    }
}

fn bound(bound: Option<u64>, show: impl Fn(u64) -> String) -> String {
    bound.map_or_else(|| "none".to_owned(), show)
}

/// Of a row: objects and their bound, bytes, those of unfinished uploads, and their bound.
pub fn cells(usage: &UsageView, quota: &QuotaView) -> [String; 5] {
    [
        usage.objects.to_string(),
        bound(quota.objects, |bound| bound.to_string()),
        size::show(usage.bytes),
        size::show(usage.upload_bytes),
        bound(quota.bytes, size::show),
    ]
}

/// The same with their names.
pub fn lines_of(usage: &UsageView, quota: &QuotaView) -> [(&'static str, String); 4] {
    let of = |bytes: u64| format!("{} ({bytes} bytes)", size::show(bytes));
    [
        ("objects", format!("{} of {}", usage.objects, bound(quota.objects, |bound| bound.to_string()))),
        ("bytes", of(usage.bytes)),
        ("unfinished uploads", format!("{}, {}", usage.uploads, of(usage.upload_bytes))),
        ("quota of both", bound(quota.bytes, of)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_read_as_they_are_meant() {
        assert_eq!(bytes("10G"), Ok(BoundChange::Set(10 << 30)));
        assert_eq!(bytes("none"), Ok(BoundChange::Lift));
        assert_eq!(objects("0"), Ok(BoundChange::Set(0)));
        assert_eq!(objects("none"), Ok(BoundChange::Lift));
        for bad in ["", "ten", "-1", "None"] {
            assert!(bytes(bad).is_err() && objects(bad).is_err(), "{bad}");
        }
        assert_eq!(Bounds { bytes: None, objects: None }.change(), None);
        let one = Bounds { bytes: None, objects: Some(BoundChange::Lift) };
        assert_eq!(one.change(), Some(SetQuota { bytes: BoundChange::Keep, objects: BoundChange::Lift }));
    }
}
