//! The ordinary clients of the registries.

use super::{FetchError, Package, Registry};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Says where a program lies.
pub(super) type Find<'a> = dyn Fn(&str) -> PathBuf + 'a;

/// Leaves it to the system to find an installed program.
pub(super) fn installed(program: &str) -> PathBuf {
    // npm is a batch file on Windows, which needs its full name.
    if cfg!(windows) && program == "npm" {
        "npm.cmd".into()
    } else {
        program.into()
    }
}

/// Command lines that bring the archive into the working folder, the first choice first.
fn commands(package: &Package) -> Vec<Vec<String>> {
    let words = |line: &str| line.split(' ').map(str::to_string).collect::<Vec<_>>();
    let (name, version) = (package.name, package.version);
    match package.registry {
        Registry::Npm => vec![words(&format!("npm pack --silent {name}@{version}"))],
        Registry::Debian => vec![words(&format!("apt-get download -qq {name}={version}"))],
        Registry::Pypi => {
            // A wheel is taken as it is. For a source archive, pip runs the package's own setup to
            // learn its name, and what that needs to run on is not asked for.
            let form = if package.archive.ends_with(".whl") {
                "--only-binary"
            } else {
                "--no-binary"
            };
            ["pip", "pip3", "python3 -m pip"]
                .iter()
                .map(|pip| {
                    words(&format!(
                        "{pip} download --quiet --no-deps --ignore-requires-python {form} {name} \
                         {name}=={version}"
                    ))
                })
                .collect()
        }
    }
}

/// How to get an archive without its client.
fn by_hand(package: &Package) -> String {
    let place = match package.registry {
        Registry::Npm => "https://registry.npmjs.org",
        Registry::Pypi => "https://pypi.org",
        // The mirrors drop a version when the next one comes.
        Registry::Debian => "https://snapshot.debian.org",
    };
    format!(
        "or get the file {} (SHA-256 {}), from {place} for example, put it into a folder, and run \
         the command with --from FOLDER",
        package.archive, package.sha256
    )
}

/// Runs the registry's client in the folder `work` and returns the path of the archive there, whose
/// sum is not checked yet.
pub(super) fn download(
    package: &Package,
    work: &Path,
    find: &Find<'_>,
) -> Result<PathBuf, FetchError> {
    let by_hand = by_hand(package);
    let fault = |message: String| Err(FetchError::Client { message });
    for line in commands(package) {
        let [program, arguments @ ..] = line.as_slice() else {
            continue;
        };
        let output = Command::new(find(program))
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
            // The end says what was wrong.
            let from = text.char_indices().rev().nth(600).map_or(0, |(at, _)| at);
            return fault(format!(
                "`{}` failed ({}): {}; mend that, {by_hand}",
                line.join(" "),
                output.status,
                &text[from..]
            ));
        }
        let file = work.join(package.archive);
        return if file.is_file() {
            Ok(file)
        } else {
            fault(format!(
                "`{}` wrote no file {}; {by_hand}",
                line.join(" "),
                package.archive
            ))
        };
    }
    let client = match package.registry {
        Registry::Npm => "npm",
        Registry::Pypi => "pip",
        Registry::Debian => "apt-get",
    };
    fault(format!(
        "{} {} comes from {}, whose client `{client}` is not installed: install it, {by_hand}",
        package.name,
        package.version,
        package.registry.as_str()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIX: Package = Package {
        registry: Registry::Npm,
        name: "six",
        version: "1.0.0",
        archive: "six-1.0.0.tgz",
        sha256: "7cdda22afac7c49e4ee2b095de58507588186f834c1e681ed95be6439406a1c1",
        bytes: 6,
    };

    #[cfg(unix)]
    #[test]
    fn clients_that_are_absent_fail_or_write_nothing_say_what_to_do() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let script = |text: &str| {
            let path = folder.path().join("client");
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            path
        };
        let message = |client: PathBuf| {
            let work = tempfile::tempdir().unwrap();
            let result = download(&SIX, work.path(), &move |_| client.clone());
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
            assert!(error.contains(SIX.sha256), "{error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn pip_is_looked_for_under_each_of_its_names() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let python = folder.path().join("python3");
        let script = "#!/bin/sh\n[ \"$1 $2\" = '-m pip' ] && echo > six-1.0.0.tar.gz\n";
        std::fs::write(&python, script).unwrap();
        std::fs::set_permissions(&python, std::fs::Permissions::from_mode(0o755)).unwrap();
        let package = Package {
            registry: Registry::Pypi,
            archive: "six-1.0.0.tar.gz",
            ..SIX
        };
        let find = |program: &str| folder.path().join(program);
        let work = tempfile::tempdir().unwrap();
        assert!(download(&package, work.path(), &find).unwrap().is_file());
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
