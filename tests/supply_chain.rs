//! What the program is made of and whom it talks to: unsafe code in named modules alone, pinned crates from
//! one registry, and no network in any command but `data fetch`.

mod common;

use std::path::{Path, PathBuf};

/// Folders with the code that is built into the program, its tests and its benchmarks.
const CODE: [&str; 9] = [
    "benches",
    "examples",
    "harness",
    "kernels",
    "results",
    "src",
    "submissions",
    "tests",
    "workloads",
];

/// The members of the workspace, the root package included.
const PACKAGES: [&str; 6] = [
    ".",
    "harness",
    "kernels",
    "results",
    "submissions",
    "workloads",
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files with their texts, by path from the root. This file, which names what it looks for, is
/// left out.
fn sources() -> Vec<(String, String)> {
    let mut files = vec![(
        "fuzz/src/count.rs".to_string(),
        root().join("fuzz/src/count.rs"),
    )];
    let mut folders: Vec<PathBuf> = CODE.iter().map(|f| root().join(f)).collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && path.file_name() != Some("target".as_ref()) {
                folders.push(path);
            } else if path.extension() == Some("rs".as_ref()) {
                let name = path.strip_prefix(root()).unwrap().to_string_lossy();
                files.push((name.replace('\\', "/"), path));
            }
        }
    }
    files.retain(|(name, _)| name != "tests/supply_chain.rs");
    files.sort();
    let text = |path: &Path| std::fs::read_to_string(path).unwrap();
    files
        .into_iter()
        .map(|(name, path)| (name, text(&path)))
        .collect()
}

/// Names of the files with a line of code (not of a comment) for which this holds.
fn files_where(sources: &[(String, String)], holds: impl Fn(&str) -> bool) -> Vec<String> {
    let has = |line: &str| holds(line.split("//").next().unwrap_or(line));
    let found = sources.iter().filter(|(_, text)| text.lines().any(has));
    found.map(|(name, _)| name.clone()).collect()
}

/// Names of the files in which a line of code has one of these.
fn files_with(sources: &[(String, String)], words: &[&str]) -> Vec<String> {
    files_where(sources, |code| words.iter().any(|word| code.contains(word)))
}

/// The modules with unsafe code: vector instructions, a product of matrices by pointers, the allocator that
/// counts for the fuzz targets, and tests that take rights from a process before it starts.
const UNSAFE: [&str; 8] = [
    "fuzz/src/count.rs",
    "kernels/src/lanes.rs",
    "kernels/src/product.rs",
    "kernels/src/wide.rs",
    "submissions/src/compression/eight_bit.rs",
    "submissions/src/fused/pass.rs",
    "tests/injection/disk.rs",
    "tests/injection/refuse.rs",
];

#[test]
fn unsafe_code_stands_in_named_modules_alone() {
    let sources = sources();
    assert!(sources.len() > 300, "{} files", sources.len());
    assert_eq!(files_with(&sources, &["allow(unsafe_code)"]), UNSAFE);
    let words = [
        "unsafe {",
        "unsafe fn",
        "unsafe impl",
        "unsafe extern",
        "unsafe trait",
    ];
    assert_eq!(files_with(&sources, &words), UNSAFE);
    // The compiler refuses it elsewhere, in every package.
    let manifest = |package: &str| {
        let text = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        text.parse::<toml::Table>().unwrap()
    };
    let lints = &manifest(".")["workspace"]["lints"]["rust"];
    assert_eq!(lints["unsafe_code"].as_str(), Some("deny"));
    let mut members: Vec<String> = manifest(".")["workspace"]["members"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| m.as_str().unwrap().to_string())
        .collect();
    members.push(".".into());
    members.sort();
    assert_eq!(members, PACKAGES);
    for package in PACKAGES {
        assert_eq!(
            manifest(package)["lints"]["workspace"].as_bool(),
            Some(true),
            "{package}"
        );
    }
}

#[test]
fn crates_come_from_one_registry_with_their_sums() {
    let lock = std::fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let lock: toml::Table = lock.parse().unwrap();
    let mut own = Vec::new();
    for package in lock["package"].as_array().unwrap() {
        let name = package["name"].as_str().unwrap();
        let Some(source) = package.get("source") else {
            own.push(name);
            continue;
        };
        let registry = "registry+https://github.com/rust-lang/crates.io-index";
        assert_eq!(source.as_str(), Some(registry), "{name}");
        let sum = package["checksum"].as_str().unwrap();
        assert!(
            sum.len() == 64 && sum.bytes().all(|b| b.is_ascii_hexdigit()),
            "{name}"
        );
    }
    // Without a source: our own, and nothing that was put beside them.
    let ours = [
        "",
        "-harness",
        "-kernels",
        "-results",
        "-submissions",
        "-workloads",
    ];
    assert_eq!(own, ours.map(|end| format!("velodrome{end}")));
}

/// Crates that speak with a network; none of ours may ask for one.
const NETWORK: [&str; 14] = [
    "async-std",
    "attohttpc",
    "curl",
    "git2",
    "hf-hub",
    "hyper",
    "isahc",
    "minreq",
    "object_store",
    "reqwest",
    "surf",
    "tokio",
    "tonic",
    "ureq",
];

#[test]
fn no_code_opens_a_connection_and_few_files_start_programs() {
    let sources = sources();
    let code: Vec<_> = sources
        .into_iter()
        .filter(|(name, _)| !name.starts_with("tests/") && !name.starts_with("fuzz/"))
        .collect();
    let words = [
        "std::net",
        "TcpStream",
        "UdpSocket",
        "UnixStream",
        "ToSocketAddrs",
    ];
    assert_eq!(files_with(&code, &words), [""; 0]);
    for package in PACKAGES {
        let text = std::fs::read_to_string(root().join(package).join("Cargo.toml")).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let tables = ["dependencies", "dev-dependencies", "build-dependencies"];
        let asked = tables.iter().filter_map(|t| table.get(*t)?.as_table());
        for name in asked.flat_map(|t| t.keys()) {
            assert!(
                !NETWORK.contains(&name.as_str()),
                "{package} depends on {name}"
            );
        }
    }
    // Programs of others, which might: what starts one says which.
    let library = code.iter().filter(|(name, _)| {
        let part = name
            .split('/')
            .any(|part| ["benches", "examples", "tests"].contains(&part));
        !part
    });
    let library: Vec<_> = library.cloned().collect();
    let starts = |code: &str| code.contains("process::") && code.contains("Command");
    assert_eq!(
        files_where(&library, starts),
        [
            // `rustc --version` and `git`, when the crate is built.
            "harness/build.rs",
            // The program itself.
            "harness/src/race/watch.rs",
            // `git` on this machine's repository, and `cargo` without a network.
            "src/commands/race/build.rs",
            // The two programs of a race.
            "src/commands/race/side.rs",
            // The registries' clients, for `data fetch`.
            "workloads/src/data/fetched/client.rs",
        ]
    );
    assert_eq!(
        files_with(&library, &["client::download", "client::{"]),
        ["workloads/src/data/fetched/fetch.rs"]
    );
    assert_eq!(
        files_with(&library, &["fetched::fetch("]),
        ["src/commands/data.rs"]
    );
}

/// The program's own list of what it takes from the system's libraries has nothing to open a connection
/// with: `std::net` and every crate for a network would bring it.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn the_program_has_no_code_for_a_network() {
    let program = std::fs::read(env!("CARGO_BIN_EXE_velodrome")).unwrap();
    // Names stand between zeros in the table of the file.
    let known = [
        "write",
        "getcwd",
        "connect",
        "getaddrinfo",
        "gethostbyname",
        "accept4",
        "listen",
        "res_init",
    ];
    let words = program.split(|byte| *byte == 0).filter(|w| w.len() < 14);
    let found: Vec<&[u8]> = words
        .filter(|w| known.iter().any(|k| k.as_bytes() == *w))
        .collect();
    let imports = |name: &str| found.contains(&name.as_bytes());
    for name in ["write", "getcwd"] {
        assert!(
            imports(name),
            "`{name}` is imported by every program: this test sees nothing"
        );
    }
    for name in [
        "connect",
        "getaddrinfo",
        "gethostbyname",
        "accept4",
        "listen",
        "res_init",
    ] {
        assert!(!imports(name), "the program imports `{name}`");
    }
}

/// A folder of programs with the names of clients, which write down that they were called.
#[cfg(unix)]
fn clients(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let log = folder.join("calls");
    for name in [
        "apt-get", "cargo", "curl", "git", "npm", "pip", "pip3", "python3", "ssh", "wget",
    ] {
        let path = folder.join(name);
        let script = format!(
            "#!/bin/sh\necho \"{name} $*\" >> '{}'\nexit 1\n",
            log.display()
        );
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    log
}

#[cfg(unix)]
#[test]
fn no_command_but_data_fetch_calls_a_client() {
    let folder = tempfile::tempdir().unwrap();
    let bin = folder.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let calls = clients(&bin);
    let suite = common::suite(
        folder.path(),
        "name = \"small\"\nworkloads = [\"digits_mlp\"]\nsubmissions = [\"adamw\"]\n\
         [limits]\ncheckpoint_seconds = 0\n\
         [overrides.digits_mlp]\nbudget_work = 1280\neval_every_work = 640\n",
    );
    let suite = suite.to_str().unwrap();
    let run = |line: &str| {
        let mut command = common::velodrome();
        command.args(
            line.split(' ')
                .map(|word| if word == "SUITE" { suite } else { word }),
        );
        command.current_dir(folder.path()).env("PATH", &bin);
        command.env("HOME", folder.path()).env_remove("CARGO");
        command
            .env_remove("VELODROME_CACHE")
            .env_remove("VELODROME_DATA");
        common::finish(&mut command)
    };
    let lines = [
        ("list workloads", 0),
        ("list suites --format json", 0),
        ("data list", 0),
        ("data verify", 0),
        ("run SUITE --out one", 0),
        ("run SUITE --out two", 0),
        ("score one", 0),
        ("report one", 0),
        ("export one --records one.parquet", 0),
        ("audit one", 0),
        ("compare one two", 12),
        ("history add history.parquet one --commit abc", 0),
        ("new submission mine", 0),
        ("completions bash", 0),
        // Data that is not there is asked for, and not fetched.
        ("run SUITE -w cifar10_resnet --out three", 0),
    ];
    for (line, wanted) in lines {
        let (out, err, code) = run(line);
        assert_eq!(code, wanted, "{line}\n{out}\n{err}");
        if line.contains("cifar10") {
            assert!(format!("{out}{err}").contains("data fetch"), "{out}\n{err}");
        }
        let called = std::fs::read_to_string(&calls).unwrap_or_default();
        assert_eq!(called, "", "`velodrome {line}` called a client");
    }
    // The one that does, which shows that calls are seen.
    let (_, err, _) = run("data fetch flights3m");
    let called = std::fs::read_to_string(&calls).unwrap();
    assert_eq!(called, "npm pack --silent vega-datasets@3.2.1\n", "{err}");
}

/// A revision is built by a Cargo that may not use the network, unless its user says so.
#[cfg(unix)]
#[test]
fn a_race_of_revisions_builds_without_a_network() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("calls");
    let cargo = folder.path().join("cargo");
    let script = format!(
        "#!/bin/sh\necho \"$1 $CARGO_NET_OFFLINE\" >> '{}'\nexit 1\n",
        log.display()
    );
    std::fs::write(&cargo, script).unwrap();
    std::fs::set_permissions(&cargo, std::fs::Permissions::from_mode(0o755)).unwrap();
    let git = |words: &[&str]| {
        let mut command = std::process::Command::new("git");
        command.args(["-c", "user.name=x", "-c", "user.email=x@example.org"]);
        let done = command
            .args(words)
            .current_dir(folder.path())
            .output()
            .unwrap();
        assert!(done.status.success(), "git {words:?}: {done:?}");
    };
    git(&["init", "--quiet"]);
    git(&["commit", "--quiet", "--allow-empty", "--message=x"]);
    let race = |offline: Option<&str>| {
        let mut command = common::velodrome();
        command.args([
            "race",
            "--base-rev",
            "HEAD",
            "--candidate-rev",
            "HEAD",
            "smoke",
        ]);
        command.current_dir(folder.path()).env("CARGO", &cargo);
        match offline {
            Some(value) => command.env("CARGO_NET_OFFLINE", value),
            None => command.env_remove("CARGO_NET_OFFLINE"),
        };
        let (_, err, code) = common::finish(&mut command);
        assert_eq!(code, 13, "{err}");
        assert!(err.contains("cargo fetch"), "{err}");
        let called = std::fs::read_to_string(&log).unwrap();
        std::fs::remove_file(&log).unwrap();
        called
    };
    assert_eq!(race(None), "clean true\n");
    assert_eq!(race(Some("false")), "clean false\n");
}
