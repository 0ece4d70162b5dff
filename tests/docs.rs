//! The tables of `docs/workloads.md` are those of the workloads, and `docs/integrity.md` names tests that exist.

use std::path::Path;
use velodrome::harness::contract::WorkloadSpec;
use velodrome::harness::registry::Registry;
use velodrome::results::Direction;

const BEGIN: &str = "<!-- begin: written by the test `docs` -->\n";
const END: &str = "<!-- end -->\n";

/// A row of a Markdown table.
fn row(cells: &[String]) -> String {
    let cells: Vec<String> = cells.iter().map(|c| c.replace('|', "\\|")).collect();
    format!("| {} |\n", cells.join(" | "))
}

fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|h| h.to_string()).collect();
    let rows: String = rows.iter().map(|cells| row(cells)).collect();
    format!("{}{}{rows}", row(&head), "|---".repeat(head.len()) + "|\n")
}

/// `1234567` as `1,234,567`.
fn thousands(n: usize) -> String {
    let digits = n.to_string();
    let parts: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .filter_map(|part| std::str::from_utf8(part).ok())
        .collect();
    parts.join(",")
}

fn model(spec: &WorkloadSpec) -> String {
    let count = format!(", {} parameters", spec.parameters);
    spec.model.trim_end_matches(&count).to_string()
}

fn target(spec: &WorkloadSpec) -> String {
    let sign = match spec.target.direction {
        Direction::Minimize => "at most",
        Direction::Maximize => "at least",
    };
    let provisional = spec.target_provenance.starts_with("Provisional:");
    let mark = if provisional { " (provisional)" } else { "" };
    format!("{sign} {}{mark}", spec.target.validation)
}

/// Both tables, from the descriptions of the workloads.
fn tables() -> String {
    let mut registry = Registry::new();
    velodrome::workloads::register(&mut registry).unwrap();
    let specs: Vec<WorkloadSpec> = registry.workloads().map(|w| w.spec()).collect();
    let (bases, variants): (Vec<_>, Vec<_>) = specs.iter().partition(|s| s.change.is_none());
    let bases = bases.into_iter().map(|s| {
        vec![
            format!("`{}`", s.name),
            s.version.to_string(),
            s.kind.clone(),
            s.size.as_str().to_string(),
            model(s),
            thousands(s.parameters),
            format!("{}; {}", s.data.name, s.data.licence),
            format!("`{}`", s.target.metric),
            target(s),
        ]
    });
    let variants = variants.into_iter().map(|s| {
        vec![
            format!("`{}`", s.name),
            s.version.to_string(),
            s.change.clone().unwrap_or_default(),
            model(s),
            thousands(s.parameters),
            target(s),
        ]
    });
    format!(
        "### Base workloads\n\n{}\n### Variants\n\nKind, size, data and metric are those of the base.\n\n{}",
        table(
            &[
                "workload",
                "version",
                "kind",
                "size",
                "model",
                "parameters",
                "data; licence",
                "metric",
                "target",
            ],
            bases.collect(),
        ),
        table(
            &[
                "variant",
                "version",
                "change",
                "model",
                "parameters",
                "target"
            ],
            variants.collect(),
        )
    )
}

#[test]
fn the_tables_of_the_workloads_are_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/workloads.md");
    let page = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = page.split_once(BEGIN).expect("the mark of the beginning");
    let (found, after) = rest.split_once(END).expect("the mark of the end");
    let wanted = tables();
    if std::env::var_os("VELODROME_BLESS").is_some_and(|v| v == "1") {
        std::fs::write(&path, format!("{before}{BEGIN}{wanted}{END}{after}")).unwrap();
        return;
    }
    let only = |of: &str, other: &str, sign: char| -> String {
        let lines = of.lines().filter(|l| other.lines().all(|o| o != *l));
        lines.map(|l| format!("{sign} {l}\n")).collect()
    };
    assert!(
        found == wanted,
        "docs/workloads.md (-) and the workloads (+) differ:\n{}{}Write the tables again with\n  \
         VELODROME_BLESS=1 cargo test --release --workspace --test docs",
        only(found, &wanted, '-'),
        only(&wanted, found, '+')
    );
}

/// The Rust files of the program and its tests, as one text.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            sources(&path, text);
        } else if name.ends_with(".rs") {
            *text += &std::fs::read_to_string(&path).unwrap();
        }
    }
}

/// The names of functions that stand in backticks.
fn named(text: &str) -> Vec<&str> {
    let spans = text.split('`').skip(1).step_by(2);
    let function = |s: &&str| {
        s.matches('_').count() > 2
            && s.chars()
                .all(|c| c.is_ascii_lowercase() || "_0123456789".contains(c))
    };
    spans.filter(function).collect()
}

#[test]
fn each_defence_names_a_test_that_is_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut code = String::new();
    for folder in [
        "harness",
        "results",
        "submissions",
        "workloads",
        "kernels",
        "src",
        "tests",
    ] {
        sources(&root.join(folder), &mut code);
    }
    let page = std::fs::read_to_string(root.join("docs/integrity.md")).unwrap();
    let mut defences = 0;
    for line in page.lines() {
        for name in named(line) {
            let test = format!("#[test]\nfn {name}() {{");
            let inner = format!("#[test]\n    fn {name}() {{");
            assert!(
                code.contains(&test) || code.contains(&inner),
                "{name} is no test"
            );
        }
        let Some((_, what)) = line
            .strip_prefix("| ")
            .and_then(|row| row.split_once(" | "))
        else {
            continue;
        };
        if ["Impossible", "Measured", "Found"]
            .iter()
            .any(|kind| what.starts_with(kind))
        {
            defences += 1;
            assert!(!named(what).is_empty(), "no test stands behind: {line}");
        }
    }
    assert!(defences > 15, "{defences}");
}
