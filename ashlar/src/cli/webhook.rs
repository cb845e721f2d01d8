//! `ashlar webhook`: where buckets' notifications may go.

use crate::api::{AddWebhook, WebhookView};
use crate::cli::client::{Client, ClientArgs, path};
use crate::cli::output::{fields, show, table};
use crate::config::region_name;
use crate::error::Error;
use crate::limits::MAX_TOKEN_FILE_BYTES;
use objectd::events::arn_of;
use rt::clock::{Clock, SystemClock};
use std::io::Read;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Make a webhook, and show the ARN by which buckets' notification configurations name it
    Add {
        /// 1 to 63 of a-z, 0-9, '.', '_' and '-'
        name: String,
        /// Where events are posted to
        #[arg(long, value_name = "http(s)://HOST/PATH")]
        url: String,
        /// A file with the token that is sent as `Authorization: Bearer TOKEN`
        #[arg(long, value_name = "FILE")]
        auth_token_file: Option<PathBuf>,
        /// Only buckets of this project may name it, by its account's number
        #[arg(long, value_name = "NUMBER")]
        account: Option<String>,
        /// The gateways' region, which the ARN names [default: ashlar-1]
        #[arg(long, value_name = "NAME", env = "AWS_DEFAULT_REGION")]
        region: Option<String>,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// List the webhooks, with what waits for each, since when, and what went wrong last
    List {
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Remove a webhook that no bucket names, with what waits for it
    Remove {
        name: String,
        #[command(flatten)]
        client: ClientArgs,
    },
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Add { name, url, auth_token_file, account, region, client } => {
            let region = region_name(region)?;
            let token = auth_token_file.as_deref().map(token).transpose()?;
            let asked = AddWebhook { name, url, token, account };
            let made: WebhookView = Client::new(&client)?.post("/v1/webhooks", &asked)?;
            let arn = arn_of(&region, &made.name);
            let shown = serde_json::json!({ "name": made.name, "url": made.url, "arn": arn });
            show(client.output, &shown, |_| {
                fields(&[("webhook", made.name.clone()), ("url", made.url.clone()), ("arn", arn.clone())])
            })
        }
        Command::List { client } => {
            let all: Vec<WebhookView> = Client::new(&client)?.get("/v1/webhooks")?;
            show(client.output, &all, |all| {
                let headings = ["NAME", "URL", "WAITING", "OLDEST", "DELIVERED", "DROPPED", "LAST ERROR"];
                table(&headings, &all.iter().map(row).collect::<Vec<_>>())
            })
        }
        Command::Remove { name, client } => {
            let gone: serde_json::Value = Client::new(&client)?.delete(&path(&["webhooks", &name]))?;
            show(client.output, &gone, |_| format!("removed {name}\n"))
        }
    }
}

fn row(webhook: &WebhookView) -> Vec<String> {
    let age = |since_ms: u64| format!("{}s", SystemClock.wall().0.saturating_sub(since_ms) / 1000);
    let error = webhook.last_error.clone().map(|error| match (webhook.failing, webhook.failed_ms) {
        (true, Some(failed_ms)) => format!("{error} ({} ago)", age(failed_ms)),
        (false, Some(failed_ms)) => format!("{error} ({} ago; well since)", age(failed_ms)),
        (_, None) => error,
    });
    vec![
        webhook.name.clone(),
        webhook.url.clone(),
        webhook.waiting.to_string(),
        webhook.oldest_ms.map_or_else(|| "-".to_owned(), age),
        webhook.delivered.to_string(),
        (webhook.dropped_full + webhook.dropped_old).to_string(),
        error.unwrap_or_else(|| "-".to_owned()),
    ]
}

fn token(file: &Path) -> Result<String, Error> {
    let failed = |error: std::io::Error| {
        Error::usage(format!("the token's file {} can't be read: {error}", file.display()))
    };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(failed)?;
    opened.take(MAX_TOKEN_FILE_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(text.trim().to_owned())
}
