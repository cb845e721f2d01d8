//! Where the file of a pool's keys is: outside of the data folder, so that whoever gets the disks doesn't get the keys.

use crate::error::Error;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The file that was named, or else the one of this pool in the user's configuration folder; `None` if there is no such
/// folder.
///
/// Errors: the named one lies in the data folder.
pub fn place(named: Option<&Path>, data: &Path, pool: &str) -> Result<Option<PathBuf>, Error> {
    let Some(named) = named else {
        return Ok(usual(pool).filter(|path| !lies_in(path, data)));
    };
    let path = std::path::absolute(named)
        .map_err(|error| Error::usage(format!("can't use the pool key file {}: {error}", named.display())))?;
    if lies_in(&path, data) {
        return Err(Error::usage(format!(
            "the pool key file {} lies in the data folder: whoever gets the disks would have the keys too; name \
             another place with --pool-key",
            path.display()
        )));
    }
    Ok(Some(path))
}

/// The file that is used if nobody names one.
pub fn usual(pool: &str) -> Option<PathBuf> {
    in_configuration(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"), pool)
}

/// As the XDG Base Directory Specification has it.
fn in_configuration(xdg: Option<OsString>, home: Option<OsString>, pool: &str) -> Option<PathBuf> {
    let absolute = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    let folder = xdg.and_then(absolute).or_else(|| Some(home.and_then(absolute)?.join(".config")))?;
    Some(folder.join("ashlar").join(format!("pool-{pool}.key")))
}

/// Links are followed, as far as there is something.
fn lies_in(path: &Path, folder: &Path) -> bool {
    let resolved = |path: &Path| -> PathBuf {
        let there = path.ancestors().find_map(|above| Some((above, above.canonicalize().ok()?)));
        let Some((above, real)) = there else { return path.to_owned() };
        path.strip_prefix(above).map_or_else(|_| path.to_owned(), |rest| real.join(rest))
    };
    resolved(path).starts_with(resolved(folder))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn the_keys_are_never_with_the_data() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::os::unix::fs::symlink(&data, dir.path().join("link")).unwrap();
        for bad in ["data/pool.key", "data/deep/pool.key", "link/pool.key"] {
            let refused = place(Some(&dir.path().join(bad)), &data, "p").expect_err(bad);
            assert_eq!(refused.exit, Exit::Usage);
        }
        let good = dir.path().join("keys/pool.key");
        assert_eq!(place(Some(&good), &data, "p").unwrap(), Some(good));
    }

    #[test]
    fn the_usual_place_is_the_user_s_configuration() {
        let usual = |xdg: Option<&str>, home: Option<&str>| {
            in_configuration(xdg.map(Into::into), home.map(Into::into), "p1")
        };
        let at = |path: &str| Some(PathBuf::from(path));
        assert_eq!(usual(None, Some("/home/a")), at("/home/a/.config/ashlar/pool-p1.key"));
        assert_eq!(usual(Some("/c"), Some("/home/a")), at("/c/ashlar/pool-p1.key"));
        assert_eq!(usual(Some("c"), Some("/home/a")), at("/home/a/.config/ashlar/pool-p1.key"));
        assert_eq!(usual(None, None), None);
    }
}
