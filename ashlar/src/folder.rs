//! The data folder: whose it is, which format, who holds it, and the secrets in it.

use crate::error::{Error, Exit};
use crate::limits::{LOCK_PAUSE, LOCK_TRIES, TOKEN_BYTES};
use proto::control::PoolToken;
use rt::rng::Rng;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The folder's layout: raised when an older binary could not use what a newer one wrote.
const FORMAT: u32 = 1;
const MARKER: &str = "VERSION";
const LOCK: &str = "lock";

/// A data folder that this process holds.
#[derive(Debug)]
pub struct Folder {
    pub path: PathBuf,
    /// Locked for as long as it is open; the kernel lets go when the process ends, however it ends.
    _lock: File,
}

/// What a client needs to find and prove itself to the daemon.
#[derive(Debug, Clone)]
pub struct Secrets {
    pub pool: PoolToken,
    pub admin: String,
    pub key: RootKey,
    /// Whether the key was made by this start, and is to be shown.
    pub key_is_new: bool,
}

/// The first S3 key. `Debug` does not show its secret.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RootKey {
    pub id: String,
    pub secret: String,
}

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Folder {
    /// Where the audit logs of the daemons in it are.
    pub fn audit(&self) -> PathBuf {
        self.path.join("audit")
    }

    /// Whether [`take`](Self::take) could succeed now. Changes nothing.
    pub async fn check(path: &Path) -> Result<(), Error> {
        check_format(path)?;
        if path.exists() && !path.join(MARKER).exists() {
            check_empty(path)?;
        }
        if path.join(LOCK).exists() {
            lock(path).await?;
        }
        Ok(())
    }

    /// Makes the folder or takes the one that is there; refuses a newer format, a folder with somebody else's
    /// files, and one that another daemon holds. Nothing is changed before the format is known.
    pub async fn take(path: &Path) -> Result<Self, Error> {
        check_format(path)?;
        if !path.exists() {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| {
                Error::failed(format!("can't make the data folder {}: {error}", path.display()))
            })?;
        }
        if !path.join(MARKER).exists() {
            check_empty(path)?;
        }
        let lock = lock(path).await?;
        // Read again under the lock: another daemon may have made the folder just now.
        check_format(path)?;
        let fresh = !path.join(MARKER).exists();
        if fresh {
            write_whole(&path.join(MARKER), format!("ashlar data folder\nformat {FORMAT}\n").as_bytes())?;
        }
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    /// Reads the secrets, making at random those that are missing.
    pub fn secrets(&self, rng: &mut impl Rng) -> Result<Secrets, Error> {
        let dir = self.path.join("secrets");
        make_private_dir(&dir)?;
        let mut token = || {
            let mut token = [0u8; TOKEN_BYTES];
            rng.fill(&mut token);
            hex::encode(token)
        };
        let (pool_text, _) = keep(&dir.join("pool-token"), &mut token)?;
        let (admin, _) = keep(&dir.join("admin-token"), &mut token)?;
        let pool = pool_token(&pool_text).ok_or_else(|| damaged(&dir.join("pool-token")))?;
        let text =
            format!("# The pool's secrets, for its daemons.\nadmin = \"{admin}\"\npool = \"{pool_text}\"\n");
        write_whole(&self.daemon_token(), text.as_bytes())?;
        let path = dir.join("s3-root-key.json");
        let (text, key_is_new) = keep(&path, &mut || {
            serde_json::to_string(&root_key(rng)).expect("a struct of two strings is always JSON")
        })?;
        let key = serde_json::from_str(&text).map_err(|_| damaged(&path))?;
        Ok(Secrets { pool, admin, key, key_is_new })
    }

    /// Writes a file that only its owner reads, whole or not at all.
    pub fn write(&self, name: &str, content: &[u8]) -> Result<(), Error> {
        write_whole(&self.path.join(name), content)
    }

    /// The file that other daemons are given.
    pub fn daemon_token(&self) -> PathBuf {
        self.path.join("secrets").join("daemon.token")
    }

    /// Where a disk's file is.
    pub fn disk(&self, index: usize) -> PathBuf {
        self.path.join("disks").join(format!("disk{index}.img"))
    }
}

/// What a daemon proves itself with to the others of its pool: the file that `ashlar meta` writes. `Debug` shows
/// neither.
#[derive(Clone)]
pub struct DaemonToken {
    pub admin: String,
    pub pool: PoolToken,
}

impl DaemonToken {
    /// Reads the file, unless others than its owner may.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let failed = |error| Error::usage(format!("can't read the token file {}: {error}", path.display()));
        let metadata = std::fs::metadata(path).map_err(failed)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(Error::new(
                Exit::Denied,
                format!(
                    "the token file {0} can be read by others than its owner; run: chmod 600 {0}",
                    path.display()
                ),
            ));
        }
        let file: TokenFile = crate::config::read(path)?;
        let pool = pool_token(&file.pool).ok_or_else(|| damaged(path))?;
        Ok(Self { admin: file.admin, pool })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenFile {
    admin: String,
    pool: String,
}

fn pool_token(text: &str) -> Option<PoolToken> {
    hex::decode(text).ok()?.try_into().ok().map(PoolToken)
}

/// Makes a folder that only its owner reads, with its parents.
pub fn make_private_dir(path: &Path) -> Result<(), Error> {
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| Error::failed(format!("can't make {}: {error}", path.display())))
}

fn check_format(path: &Path) -> Result<(), Error> {
    let marker = path.join(MARKER);
    let text = match std::fs::read_to_string(&marker) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(Error::usage(format!("the data folder {} is not a folder", path.display())));
        }
        Err(error) => return Err(Error::failed(format!("can't read {}: {error}", marker.display()))),
    };
    let format = text.lines().find_map(|line| line.strip_prefix("format ")?.trim().parse::<u32>().ok());
    match format {
        Some(FORMAT) => Ok(()),
        Some(other) if other > FORMAT => Err(Error::failed(format!(
            "the data folder {} has format {other}, and this ashlar knows up to {FORMAT}; \
             nothing was changed; start the newer ashlar that wrote it",
            path.display()
        ))),
        _ => Err(damaged(&marker)),
    }
}

fn check_empty(path: &Path) -> Result<(), Error> {
    let failed = |error| Error::failed(format!("can't list {}: {error}", path.display()));
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        // A first start that died between the lock and the marker leaves these two.
        if name != LOCK && name != "VERSION.new" {
            return Err(Error::new(
                Exit::Conflict,
                format!(
                    "{} holds files but is not an Ashlar data folder; give --data an empty or a new folder",
                    path.display()
                ),
            ));
        }
    }
    Ok(())
}

async fn lock(path: &Path) -> Result<File, Error> {
    let name = path.join(LOCK);
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&name)
        .map_err(|error| Error::failed(format!("can't open {}: {error}", name.display())))?;
    let mut outcome = file.try_lock();
    // A daemon that was just killed keeps its lock until the kernel has taken its memory and rings apart.
    for _ in 0..LOCK_TRIES {
        if !matches!(outcome, Err(TryLockError::WouldBlock)) {
            break;
        }
        tokio::time::sleep(LOCK_PAUSE).await;
        outcome = file.try_lock();
    }
    match outcome {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::new(
            Exit::Conflict,
            format!(
                "another ashlar already runs on {}; stop it first, or give another --data",
                path.display()
            ),
        )),
        Err(TryLockError::Error(error)) => {
            Err(Error::failed(format!("can't lock {}: {error}", name.display())))
        }
    }
}

/// The content of a secret's file, and whether `make` has just made it.
fn keep(path: &Path, make: &mut dyn FnMut() -> String) -> Result<(String, bool), Error> {
    match std::fs::read_to_string(path) {
        Ok(text) if text.trim().is_empty() => Err(damaged(path)),
        Ok(text) => Ok((text.trim().to_owned(), false)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let text = make();
            write_whole(path, format!("{text}\n").as_bytes())?;
            Ok((text, true))
        }
        Err(error) => Err(Error::failed(format!("can't read {}: {error}", path.display()))),
    }
}

fn root_key(rng: &mut impl Rng) -> RootKey {
    // The alphabet of AWS's own ids, since some clients check the shape.
    const ID: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    const SECRET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = |alphabet: &[u8], length: usize| -> String {
        let mut bytes = vec![0u8; length];
        rng.fill(&mut bytes);
        // Both alphabets' lengths divide 256, so every letter is as likely.
        bytes.iter().map(|byte| char::from(alphabet[usize::from(*byte) % alphabet.len()])).collect()
    };
    RootKey { id: format!("AKIA{}", text(ID, 16)), secret: text(SECRET, 40) }
}

fn damaged(path: &Path) -> Error {
    Error::failed(format!("{} is damaged; put it back from a copy", path.display()))
}

fn write_whole(path: &Path, content: &[u8]) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::failed(format!("can't write {}: {error}", path.display()));
    let mut next = path.as_os_str().to_owned();
    next.push(".new");
    let next = PathBuf::from(next);
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next).map_err(failed)?;
    file.write_all(content).and_then(|()| file.sync_all()).map_err(failed)?;
    std::fs::rename(&next, path).map_err(failed)?;
    // The name itself is durable only when its folder is.
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::rng::SystemRng;

    #[tokio::test]
    async fn keeps_its_secrets_and_its_lock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let folder = Folder::take(&path).await.unwrap();
        let first = folder.secrets(&mut SystemRng).unwrap();
        assert!(first.key_is_new);
        assert_eq!(Folder::take(&path).await.expect_err("held").exit, Exit::Conflict);
        drop(folder);
        let folder = Folder::take(&path).await.unwrap();
        let second = folder.secrets(&mut SystemRng).unwrap();
        assert!(!second.key_is_new);
        assert_eq!(
            (first.pool, first.admin, first.key.secret),
            (second.pool, second.admin.clone(), second.key.secret)
        );
        let mode = |name: &str| std::fs::metadata(path.join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(""), 0o700);
        assert_eq!(mode("secrets/s3-root-key.json"), 0o600);
        assert_eq!(mode("secrets/daemon.token"), 0o600);
        let token = DaemonToken::read(&folder.daemon_token()).unwrap();
        assert_eq!((token.admin, token.pool), (second.admin, second.pool));
        std::fs::set_permissions(folder.daemon_token(), std::fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(DaemonToken::read(&folder.daemon_token()).err().unwrap().exit, Exit::Denied);
    }

    #[tokio::test]
    async fn a_newer_folder_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("VERSION"), "ashlar data folder\nformat 2\n").unwrap();
        let error = Folder::take(dir.path()).await.expect_err("newer");
        assert!(error.to_string().contains("format 2"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[tokio::test]
    async fn somebody_elses_folder_is_left_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("thesis.txt"), "").unwrap();
        assert_eq!(Folder::take(dir.path()).await.expect_err("not ours").exit, Exit::Conflict);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}
