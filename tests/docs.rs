//! The tables of `docs/workloads.md` are those of the workloads.

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
