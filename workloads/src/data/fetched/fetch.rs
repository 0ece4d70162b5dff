//! Bringing the archives of a set into the cache folder.

use super::client::{Find, download, installed};
use super::{FetchError, Fetched, Package, sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

/// What happens to one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// It is there already, whole.
    Kept,
    /// It is about to be brought.
    Started,
    /// It was copied from the folder that the user named.
    Copied,
    /// The registry's client brought it.
    Downloaded,
}

/// Room that is left free beside the archives.
const SPARE_BYTES: u64 = 64 << 20;
/// Beginning of the names of folders in which archives wait for their check.
const WORK: &str = ".fetch-";

/// Brings what is missing of `set` into the folder `cache`: from the folder `from` where one is given,
/// or else through the registry's client. An archive appears under its name only when its SHA-256 is
/// the pinned one, so that an interrupted fetch leaves nothing half-valid and the next one goes on.
/// `report` hears of each archive. One that cannot be had does not keep the others away.
///
/// # Errors
/// All that went wrong, at least one; see [`FetchError`].
pub fn fetch(
    set: &Fetched,
    cache: &Path,
    from: Option<&Path>,
    report: &mut dyn FnMut(&Package, Fetch),
) -> Result<(), Vec<FetchError>> {
    fetch_with(set, cache, from, &installed, report)
}

/// As [`fetch`]; `find` says where a client's program lies.
fn fetch_with(
    set: &Fetched,
    cache: &Path,
    from: Option<&Path>,
    find: &Find<'_>,
    report: &mut dyn FnMut(&Package, Fetch),
) -> Result<(), Vec<FetchError>> {
    let mut faults = Vec::new();
    let mut missing = Vec::new();
    // Without the lock: a folder in which everything is need not be writable.
    for package in set.packages {
        match set.check(package, cache) {
            Ok(_) => report(package, Fetch::Kept),
            Err(FetchError::Missing { .. }) => missing.push(package),
            Err(error) => faults.push(error),
        }
    }
    if !missing.is_empty() {
        match prepare(cache, &missing) {
            Ok(_lock) => {
                for package in missing {
                    match bring(set, package, cache, from, find, report) {
                        Ok(how) => report(package, how),
                        Err(error) => faults.push(error),
                    }
                }
            }
            Err(error) => faults.push(error),
        }
    }
    if faults.is_empty() {
        Ok(())
    } else {
        Err(faults)
    }
}

/// Makes and locks the folder, removes what a killed fetch left in it, and checks that there is room.
fn prepare(cache: &Path, missing: &[&Package]) -> Result<File, FetchError> {
    fs::create_dir_all(cache).map_err(|e| FetchError::io(cache, "create", e))?;
    let lock = lock(cache)?;
    for entry in fs::read_dir(cache).map_err(|e| FetchError::io(cache, "read", e))? {
        let entry = entry.map_err(|e| FetchError::io(cache, "read", e))?;
        if entry.file_name().to_string_lossy().starts_with(WORK) {
            // What cannot be removed costs room and nothing else.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    let needed = missing.iter().map(|p| p.bytes).sum::<u64>();
    check_space(cache, needed, free_bytes(cache))?;
    Ok(lock)
}

/// Brings one archive.
fn bring(
    set: &Fetched,
    package: &Package,
    cache: &Path,
    from: Option<&Path>,
    find: &Find<'_>,
    report: &mut dyn FnMut(&Package, Fetch),
) -> Result<Fetch, FetchError> {
    // Another process may have brought it before this one had the lock.
    if set.check(package, cache).is_ok() {
        return Ok(Fetch::Kept);
    }
    report(package, Fetch::Started);
    let work = tempfile::Builder::new()
        .prefix(WORK)
        .tempdir_in(cache)
        .map_err(|e| FetchError::io(cache, "create a folder in", e))?;
    let (file, how) = match from {
        Some(folder) => (copy(package, folder, work.path())?, Fetch::Copied),
        None => (download(package, work.path(), find)?, Fetch::Downloaded),
    };
    let found = sha256(&file)?;
    if found != package.sha256 {
        let place = from.map_or(package.registry.as_str().into(), |f| {
            f.display().to_string()
        });
        return Err(FetchError::Other {
            archive: package.archive,
            place,
            found,
            expected: package.sha256,
        });
    }
    let target = cache.join(package.archive);
    readable(&file)?;
    fs::rename(&file, &target).map_err(|e| FetchError::io(&target, "write", e))?;
    Ok(how)
}

/// One fetch at a time in a folder. The lock ends with the process.
fn lock(cache: &Path) -> Result<File, FetchError> {
    let path = cache.join(".lock");
    let opened = File::options().create(true).append(true).open(&path);
    let file = match opened {
        // The lock of a shared folder may be another user's; reading is enough to hold it.
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => File::open(&path),
        opened => opened,
    };
    let file = file.map_err(|e| FetchError::io(&path, "write", e))?;
    // A child of this process holds the lock of a fetch that is over until it has become another program.
    let mut tries = 10;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(fs::TryLockError::WouldBlock) if tries > 0 => {
                tries -= 1;
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
            Err(fs::TryLockError::WouldBlock) => return Err(FetchError::Busy { path }),
            Err(fs::TryLockError::Error(e)) => return Err(FetchError::io(&path, "lock", e)),
        }
    }
}

fn check_space(cache: &Path, needed: u64, free: Option<u64>) -> Result<(), FetchError> {
    // Twice: a client may keep a copy of its own while it writes.
    let needed = if needed == 0 {
        0
    } else {
        2 * needed + SPARE_BYTES
    };
    match free {
        Some(available) if available < needed => Err(FetchError::Space {
            path: cache.to_path_buf(),
            needed,
            available,
        }),
        _ => Ok(()),
    }
}

/// Bytes free for this user in the file system of `folder`, where the system tells.
#[cfg(unix)]
fn free_bytes(folder: &Path) -> Option<u64> {
    let stat = nix::sys::statvfs::statvfs(folder).ok()?;
    #[allow(
        clippy::useless_conversion,
        reason = "the types differ between systems"
    )]
    let (blocks, size) = (
        u64::from(stat.blocks_available()),
        u64::from(stat.fragment_size()),
    );
    blocks.checked_mul(size)
}

#[cfg(not(unix))]
fn free_bytes(_folder: &Path) -> Option<u64> {
    None
}

/// A cache may be shared: everybody may read what is in it.
fn readable(file: &Path) -> Result<(), FetchError> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let permissions = fs::Permissions::from_mode(0o644);
        fs::set_permissions(file, permissions).map_err(|e| FetchError::io(file, "share", e))?;
    }
    #[cfg(not(unix))]
    let _ = file;
    Ok(())
}

fn copy(package: &Package, folder: &Path, work: &Path) -> Result<PathBuf, FetchError> {
    let source = folder.join(package.archive);
    let target = work.join(package.archive);
    fs::copy(&source, &target).map_err(|e| FetchError::io(&source, "copy", e))?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::fetched::Registry;
    use std::collections::BTreeSet;

    const RIGHT: &[u8] = b"velo\r\n";
    const SHA256: &str = "7cdda22afac7c49e4ee2b095de58507588186f834c1e681ed95be6439406a1c1";

    const fn six(registry: Registry, archive: &'static str) -> Package {
        Package {
            registry,
            name: "six",
            version: "1.0.0",
            archive,
            sha256: SHA256,
            bytes: 6,
        }
    }

    /// Three archives of the six bytes [`RIGHT`].
    const SET: Fetched = Fetched {
        name: "six",
        about: "six bytes",
        licence: "none",
        packages: &[
            six(Registry::Npm, "six-1.0.0.tgz"),
            six(Registry::Pypi, "six-1.0.0-py3-none-any.whl"),
            six(Registry::Debian, "six_1.0.0_all.deb"),
        ],
    };

    /// Names in a folder.
    fn names(folder: &Path) -> BTreeSet<String> {
        fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect()
    }

    fn copied(cache: &Path, from: &Path) -> (Vec<Fetch>, Vec<FetchError>) {
        let mut seen = Vec::new();
        let result = fetch(&SET, cache, Some(from), &mut |_, how| seen.push(how));
        (seen, result.err().unwrap_or_default())
    }

    #[test]
    fn too_little_room_is_an_error_before_anything_is_fetched() {
        let cache = Path::new("cache");
        assert!(check_space(cache, 10, Some(20 + SPARE_BYTES)).is_ok());
        assert!(check_space(cache, 0, Some(0)).is_ok());
        assert!(check_space(cache, 10, None).is_ok());
        let error = check_space(cache, 10, Some(19 + SPARE_BYTES)).unwrap_err();
        assert!(error.to_string().contains("are needed"), "{error}");
        #[cfg(unix)]
        assert!(free_bytes(Path::new("/")).is_some_and(|free| free > 0));
    }

    #[test]
    fn two_at_once_are_refused() {
        let (cache, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let held = lock(cache.path()).unwrap();
        let (_, faults) = copied(cache.path(), from.path());
        assert!(matches!(faults[..], [FetchError::Busy { .. }]));
        drop(held);
        assert!(lock(cache.path()).is_ok());
    }

    #[test]
    fn a_fetch_goes_on_past_a_fault_and_the_next_one_where_it_stopped() {
        let (cache, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let [npm, pypi, debian] = [0, 1, 2].map(|i| SET.packages[i].archive);
        fs::write(from.path().join(npm), b"other").unwrap();
        fs::write(from.path().join(debian), RIGHT).unwrap();
        // What a killed fetch left behind.
        fs::create_dir(cache.path().join(".fetch-killed")).unwrap();
        fs::write(cache.path().join(".fetch-killed").join(npm), b"ve").unwrap();
        let (seen, faults) = copied(cache.path(), from.path());
        use Fetch::{Copied, Kept, Started};
        assert_eq!(seen, [Started, Started, Started, Copied]);
        let wrong = faults[0].to_string();
        assert!(wrong.contains(SHA256) && wrong.contains(npm), "{wrong}");
        let found = "d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";
        assert!(wrong.contains(found), "{wrong}");
        assert!(matches!(&faults[1], FetchError::Io { path, .. } if path.ends_with(pypi)));
        assert_eq!(
            names(cache.path()),
            [".lock", debian].map(String::from).into()
        );

        fs::write(from.path().join(npm), RIGHT).unwrap();
        fs::write(from.path().join(pypi), RIGHT).unwrap();
        let (seen, faults) = copied(cache.path(), from.path());
        assert_eq!(seen, [Kept, Started, Copied, Started, Copied]);
        assert!(faults.is_empty());
        let (seen, faults) = copied(cache.path(), Path::new("/nowhere"));
        assert_eq!(seen, [Kept; 3]);
        assert!(faults.is_empty());
        for package in SET.packages {
            assert!(SET.check(package, cache.path()).is_ok());
        }
    }

    #[cfg(unix)]
    #[test]
    fn the_clients_bring_what_is_pinned() {
        use std::os::unix::fs::PermissionsExt;
        let (cache, bin) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        for (program, words, archive) in [
            ("npm", "pack --silent six@1.0.0", "six-1.0.0.tgz"),
            (
                "pip",
                "download --quiet --no-deps --ignore-requires-python --only-binary six six==1.0.0",
                "six-1.0.0-py3-none-any.whl",
            ),
            ("apt-get", "download -qq six=1.0.0", "six_1.0.0_all.deb"),
        ] {
            let path = bin.path().join(program);
            let script =
                format!("#!/bin/sh\n[ \"$*\" = '{words}' ] && printf 'velo\\r\\n' > '{archive}'\n");
            fs::write(&path, script).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let find = |program: &str| bin.path().join(program);
        let mut seen = Vec::new();
        let mut report = |_: &Package, how| seen.push(how);
        fetch_with(&SET, cache.path(), None, &find, &mut report).unwrap();
        assert_eq!(seen, [Fetch::Started, Fetch::Downloaded].repeat(3));
        for package in SET.packages {
            let path = SET.check(package, cache.path()).unwrap();
            let mode = fs::metadata(path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o644);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_whole_cache_need_not_be_writable() {
        use std::os::unix::fs::PermissionsExt;
        let cache = tempfile::tempdir().unwrap();
        for package in SET.packages {
            fs::write(cache.path().join(package.archive), RIGHT).unwrap();
        }
        fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o555)).unwrap();
        let (seen, faults) = copied(cache.path(), Path::new("/nowhere"));
        fs::set_permissions(cache.path(), fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(seen, [Fetch::Kept; 3]);
        assert!(faults.is_empty());
        assert!(!cache.path().join(".lock").exists());
    }
}
