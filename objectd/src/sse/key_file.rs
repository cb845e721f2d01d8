//! The file of pool keys: text, the oldest key first, for its owner alone. The last one wraps, all of them open.

use super::cipher::KEY_BYTES;
use super::wrap::PoolKey;
use crate::limits::MAX_KEY_FILE_BYTES;
use meta::limits::MAX_POOL_KEYS;
use meta::sealing::PoolKeyId;
use rt::rng::Rng;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

const HEAD: &str = "# Ashlar pool keys. Without this file, what is encrypted in the pool is lost for good: keep a copy\n\
                    # elsewhere, and not on the pool's disks.\n";

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFile {
    /// The pool's id, so that another pool's file is known as such.
    pub pool: String,
    /// The oldest first; at least one.
    pub keys: Vec<PoolKey>,
    /// Whether what the others opened is to be encrypted anew with the newest.
    pub rewrap: bool,
}

impl KeyFile {
    /// A first key for a pool.
    pub fn new(pool: &str, rng: &mut impl Rng) -> Self {
        Self { pool: pool.to_owned(), keys: vec![PoolKey::random(rng)], rewrap: false }
    }

    /// Adds a key. The others open what they did until all holders of the file have it, and somebody says so again.
    pub fn rotate(&mut self, rng: &mut impl Rng) {
        self.keys.push(PoolKey::random(rng));
        self.rewrap = false;
    }

    pub fn newest(&self) -> &PoolKey {
        self.keys.last().expect("a key file has a key")
    }

    pub fn key(&self, id: PoolKeyId) -> Option<&PoolKey> {
        self.keys.iter().find(|key| key.id == id)
    }

    /// Errors: why it is no key file, without anything of a key.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (mut pool, mut keys, mut rewrap) = (None, Vec::<PoolKey>::new(), false);
        for (number, line) in (1..).zip(text.lines()) {
            let wrong = || format!("line {number} is damaged");
            let words: Vec<&str> = line.split_whitespace().collect();
            match words[..] {
                [] => {}
                [first, ..] if first.starts_with('#') => {}
                ["rewrap"] => rewrap = true,
                ["pool", id] if pool.is_none() => pool = Some(id.to_owned()),
                ["key", id, key] => {
                    let mut bytes = [0; KEY_BYTES];
                    hex::decode_to_slice(key, &mut bytes).map_err(|_| wrong())?;
                    let key = PoolKey::new(bytes);
                    // The id is made from the key: a digit that changed shows.
                    if id.parse() != Ok(key.id) || keys.iter().any(|known| known.id == key.id) {
                        return Err(wrong());
                    }
                    keys.push(key);
                }
                _ => return Err(wrong()),
            }
        }
        let pool = pool.ok_or("it does not say which pool it is of")?;
        if keys.is_empty() || keys.len() > MAX_POOL_KEYS {
            return Err(format!("it holds {} keys, and not 1 to {MAX_POOL_KEYS}", keys.len()));
        }
        Ok(Self { pool, keys, rewrap })
    }

    pub fn text(&self) -> String {
        let keys = self.keys.iter().map(|key| format!("key {} {}\n", key.id, hex::encode(key.secret())));
        let rewrap = if self.rewrap { "rewrap\n" } else { "" };
        format!("{HEAD}pool {}\n{}{rewrap}", self.pool, keys.collect::<String>())
    }

    /// Reads the file; `None` if there is none.
    ///
    /// Errors: it can't be read, others than its owner may, or it is damaged; what to do about it.
    pub fn read(path: &Path) -> Result<Option<Self>, String> {
        let shown = path.display();
        let failed = |error| format!("can't read the pool key file {shown}: {error}");
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let metadata = file.metadata().map_err(failed)?;
        if metadata.permissions().mode() & 0o077 != 0 {
            return Err(format!(
                "the pool key file {shown} can be read by others than its owner; run: chmod 600 {shown}"
            ));
        }
        let mut text = String::new();
        file.take(MAX_KEY_FILE_BYTES + 1).read_to_string(&mut text).map_err(failed)?;
        if text.len() as u64 > MAX_KEY_FILE_BYTES {
            return Err(format!("the pool key file {shown} is longer than {MAX_KEY_FILE_BYTES} bytes"));
        }
        let parsed = Self::parse(&text);
        parsed
            .map(Some)
            .map_err(|why| format!("the pool key file {shown} can't be used: {why}; put it back from a copy"))
    }

    /// Writes a file that was not there; it and its name are durable then.
    pub fn create(&self, path: &Path) -> Result<(), String> {
        let failed = |error| format!("can't make the pool key file {}: {error}", path.display());
        let dir = folder_of(path);
        DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed)?;
        let next = self.write_beside(path).map_err(failed)?;
        // Unlike a renaming, this doesn't take the place of a file that another process has just made.
        let linked = std::fs::hard_link(&next, path);
        let _ = std::fs::remove_file(&next);
        linked.and_then(|()| sync_dir(dir)).map_err(failed)
    }

    /// Puts it in the place of the file that is there, as a whole.
    pub fn replace(&self, path: &Path) -> Result<(), String> {
        let failed = |error| format!("can't write the pool key file {}: {error}", path.display());
        let next = self.write_beside(path).map_err(failed)?;
        std::fs::rename(&next, path).and_then(|()| sync_dir(folder_of(path))).map_err(failed)
    }

    fn write_beside(&self, path: &Path) -> std::io::Result<PathBuf> {
        let mut next = path.as_os_str().to_owned();
        next.push(".new");
        let next = PathBuf::from(next);
        // One that a crash left behind may be anybody's to read.
        match std::fs::remove_file(&next) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&next)?;
        file.write_all(self.text().as_bytes())?;
        file.sync_all()?;
        Ok(next)
    }
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn sync_dir(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rt::rng::SystemRng;

    #[test]
    fn is_kept_for_its_owner_and_grows() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new").join("pool.key");
        assert_eq!(KeyFile::read(&path), Ok(None));
        let mut file = KeyFile::new("p", &mut SystemRng);
        file.create(&path).unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(KeyFile::read(&path), Ok(Some(file.clone())));
        assert!(
            KeyFile::new("p", &mut SystemRng).create(&path).is_err(),
            "one that is there is never replaced"
        );
        file.rewrap = true;
        file.replace(&path).unwrap();
        assert_eq!(KeyFile::read(&path), Ok(Some(file.clone())));
        file.rotate(&mut SystemRng);
        file.replace(&path).unwrap();
        let read = KeyFile::read(&path).unwrap().unwrap();
        assert_eq!((read.newest(), read.keys.len(), read.rewrap), (file.newest(), 2, false));
        assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(KeyFile::read(&path).unwrap_err().contains("chmod 600"));
    }

    #[test]
    fn damage_is_found_and_no_key_is_shown() {
        let file = KeyFile::new("p", &mut SystemRng);
        let text = file.text();
        assert_eq!(KeyFile::parse(&text), Ok(file.clone()));
        let secret = hex::encode(file.newest().secret());
        let flipped = if secret.starts_with('0') { "1" } else { "0" };
        let line = text.lines().last().unwrap();
        for bad in [
            text.replace(&secret, &format!("{flipped}{}", &secret[1..])),
            text.replace(&secret, &secret[1..]),
            text.replace("pool p\n", ""),
            text.replace("key ", "lock "),
            format!("{text}{line}\n"),
            format!("{text}pool q\n"),
            HEAD.to_owned() + "pool p\n",
            String::new(),
        ] {
            let why = KeyFile::parse(&bad).unwrap_err();
            assert!(!why.contains(&secret[1..]), "{why}");
        }
    }
}
