//! `ashlar key`: the keys that objects are encrypted with. The file is changed here; gateways look at it every few seconds.

use crate::cli::client::{Client, ClientArgs};
use crate::cli::output::{fields, show, table};
use crate::cli::progress::{Far, Unit, bar};
use crate::error::{Error, Exit};
use crate::limits::PROGRESS_POLL;
use crate::pool_key;
use meta::query::{Answer, Query};
use meta::sealing::{PoolKeyId, PoolKeyRecord};
use objectd::sse::key_file::KeyFile;
use rt::rng::SystemRng;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// List the pool's keys, how much each of them opens, and whether the file has it
    List {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Add a new key to the file: gateways encrypt with it from then on; what was encrypted before still needs the old ones
    Rotate {
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
    /// Have the keys of all objects encrypted anew with the newest key, once all gateways have it; returns at once
    Rewrap {
        /// Return only when no object needs an older key
        #[arg(long)]
        wait: bool,
        #[command(flatten)]
        file: FileArgs,
        #[command(flatten)]
        client: ClientArgs,
    },
}

#[derive(Debug, clap::Args)]
pub struct FileArgs {
    /// The file of the pool's keys [default: ashlar/pool-ID.key in your configuration folder]
    #[arg(long, env = "ASHLAR_POOL_KEY", value_name = "FILE")]
    pool_key: Option<PathBuf>,
}

/// What is shown of a key.
#[derive(Debug, Serialize)]
struct KeyView {
    id: String,
    /// Objects and unfinished uploads whose keys only it opens.
    uses: u64,
    /// Whether the file has it.
    in_file: bool,
    /// Whether it is what the file's holders encrypt with.
    newest: bool,
}

pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List { file, client } => list(file, client),
        Command::Rotate { file, client } => rotate(file, client),
        Command::Rewrap { wait, file, client } => rewrap(file, client, wait),
    }
}

fn list(file: FileArgs, args: ClientArgs) -> Result<(), Error> {
    let client = Client::new(&args)?;
    let path = file.path(&client)?;
    let known = known(&client)?;
    let file = KeyFile::read(&path).map_err(Error::failed)?;
    let in_file = |id: PoolKeyId| file.as_ref().is_some_and(|file| file.key(id).is_some());
    let newest = |id: PoolKeyId| file.as_ref().is_some_and(|file| file.newest().id == id);
    let view = |id: PoolKeyId, uses: u64| KeyView {
        id: id.to_string(),
        uses,
        in_file: in_file(id),
        newest: newest(id),
    };
    let mut views: Vec<KeyView> = known.iter().map(|key| view(key.id, key.uses)).collect();
    // Those that no gateway has told of yet.
    let unknown = file.iter().flat_map(|file| &file.keys).map(|key| key.id);
    views.extend(unknown.filter(|id| known.iter().all(|key| key.id != *id)).map(|id| view(id, 0)));
    show(args.output, &views, |views| {
        let word = |flag: bool| if flag { "yes" } else { "no" }.to_owned();
        let row = |view: &KeyView| {
            vec![view.id.clone(), view.uses.to_string(), word(view.in_file), word(view.newest)]
        };
        table(&["KEY", "USES", "IN FILE", "ENCRYPTS"], &views.iter().map(row).collect::<Vec<_>>())
    })?;
    let lacking: Vec<&str> =
        views.iter().filter(|view| view.uses > 0 && !view.in_file).map(|view| view.id.as_str()).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    Err(Error::failed(format!(
        "{} lacks keys of encrypted objects: {}; put it back from a copy",
        path.display(),
        lacking.join(", ")
    )))
}

#[derive(Debug, Serialize)]
struct Rotated {
    key: String,
    file: String,
}

fn rotate(file: FileArgs, args: ClientArgs) -> Result<(), Error> {
    let (path, mut file) = file.open(&Client::new(&args)?)?;
    if file.keys.len() >= meta::limits::MAX_POOL_KEYS {
        return Err(Error::failed(format!("a pool has {} keys at most", meta::limits::MAX_POOL_KEYS)));
    }
    file.rotate(&mut SystemRng);
    file.replace(&path).map_err(Error::failed)?;
    let rotated = Rotated { key: file.newest().id.to_string(), file: path.display().to_string() };
    show(args.output, &rotated, |rotated| {
        fields(&[
            ("new key", rotated.key.clone()),
            ("file", rotated.file.clone()),
            ("now", "keep a new copy of the file, and give it to every other gateway's machine".to_owned()),
        ])
    })
}

fn rewrap(file: FileArgs, args: ClientArgs, wait: bool) -> Result<(), Error> {
    let client = Client::new(&args)?;
    let (path, mut file) = file.open(&client)?;
    file.rewrap = true;
    file.replace(&path).map_err(Error::failed)?;
    let view = Rotated { key: file.newest().id.to_string(), file: path.display().to_string() };
    show(args.output, &view, |view| {
        fields(&[
            ("key", view.key.clone()),
            ("file", view.file.clone()),
            ("now", "ashlar key list shows how many objects still need the older keys".to_owned()),
        ])
    })?;
    if wait { rewrapped(&client, file.newest().id) } else { Ok(()) }
}

/// Waits until nothing needs another key than this one, and shows how far that is.
fn rewrapped(client: &Client, newest: PoolKeyId) -> Result<(), Error> {
    let sign = bar("encrypting keys anew".to_owned(), Unit::Objects);
    let mut first = None;
    loop {
        let left = known(client)?.iter().filter(|key| key.id != newest).map(|key| key.uses).sum();
        if left == 0 {
            return Ok(());
        }
        sign.at(Far::left(*first.get_or_insert(left), left));
        client.pause(PROGRESS_POLL);
    }
}

impl FileArgs {
    /// The file of this pool, which must be there.
    fn open(&self, client: &Client) -> Result<(PathBuf, KeyFile), Error> {
        let path = self.path(client)?;
        let missing = || {
            let why = format!(
                "{} is not there; a gateway makes it when something is first encrypted, or name it with --pool-key",
                path.display()
            );
            Error::new(Exit::NotFound, why)
        };
        let file = KeyFile::read(&path).map_err(Error::failed)?.ok_or_else(missing)?;
        let pool = pool(client)?;
        if file.pool == pool {
            return Ok((path, file));
        }
        let why = format!("{} is of the pool {}, and this pool is {pool}", path.display(), file.pool);
        Err(Error::new(Exit::Conflict, why))
    }

    fn path(&self, client: &Client) -> Result<PathBuf, Error> {
        if let Some(path) = &self.pool_key {
            return Ok(path.clone());
        }
        let none = || Error::usage("there is no configuration folder here; name the file with --pool-key");
        pool_key::usual(&pool(client)?).ok_or_else(none)
    }
}

fn pool(client: &Client) -> Result<String, Error> {
    match client.ask(Query::Status)? {
        Answer::Status(status) => {
            status.pool.map(|pool| pool.id).ok_or_else(|| Error::failed("the pool was not made yet"))
        }
        _ => Err(Error::failed("the control plane's answer is not a status")),
    }
}

fn known(client: &Client) -> Result<Vec<PoolKeyRecord>, Error> {
    match client.ask_quietly(Query::PoolKeys)? {
        Answer::PoolKeys(keys) => Ok(keys),
        _ => Err(Error::failed("the control plane's answer is not about keys")),
    }
}
