//! How often verdicts err, in small: `examples/verdict_rates.rs` has the large numbers.

use std::path::Path;
use velodrome_results::archive;
use velodrome_results::compare::CompareOptions;
use velodrome_results::compare::simulate::{Rates, Setting, simulate};
use velodrome_results::run::Run;

fn rates(setting: Setting, comparisons: usize) -> Rates {
    let board = |name: &str| -> Run {
        let boards = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
        archive::read(&boards.join(name).join("records.parquet")).unwrap()
    };
    let records = [board("external-digits"), board("external-quick")];
    let found = simulate(
        &records,
        &setting,
        &CompareOptions::default(),
        comparisons,
        1,
    )
    .unwrap();
    let all = found.regressed + found.improved + found.same + found.inconclusive;
    assert_eq!(all, comparisons);
    found
}

const TWO: Setting = Setting {
    rows: 6,
    studies: 10,
    race: false,
    other_seeds: false,
    sittings: 0.1,
    scatter: 0.1,
    step: 1.0,
    steps: 1.0,
    state: 1.0,
};
const RACE: Setting = Setting {
    race: true,
    studies: 100,
    ..TWO
};

#[test]
fn the_default_setting_is_the_one_of_the_table() {
    assert_eq!(Setting::default(), TWO);
}

#[test]
fn unchanged_programs_are_hardly_ever_called_worse() {
    for setting in [
        TWO,
        Setting {
            other_seeds: true,
            ..TWO
        },
        RACE,
    ] {
        let found = rates(setting, if setting.race { 100 } else { 200 });
        println!("{setting:?}\n{found:?}");
        assert!(found.regressed <= 4, "{setting:?} {found:?}");
        assert!(found.improved <= 4, "{setting:?} {found:?}");
    }
}

#[test]
fn what_is_worse_is_found() {
    for (setting, comparisons) in [
        (Setting { step: 1.05, ..RACE }, 60),
        (Setting { steps: 1.1, ..RACE }, 60),
        (Setting { steps: 1.1, ..TWO }, 100),
        (Setting { state: 1.2, ..TWO }, 20),
        (Setting { state: 1.2, ..RACE }, 20),
    ] {
        let found = rates(setting, comparisons);
        println!("{setting:?}\n{found:?}");
        assert!(
            100 * found.regressed >= 95 * comparisons,
            "{setting:?} {found:?}"
        );
    }
}

/// On a machine that wanders as much as the recorded one, two sittings leave much open; nothing of it
/// may pass as the same.
#[test]
fn a_slow_candidate_never_passes_as_the_same() {
    let found = rates(Setting { step: 1.3, ..TWO }, 100);
    println!("{found:?}");
    assert!(
        found.same == 0 && found.improved == 0 && found.regressed >= 40,
        "{found:?}"
    );
}

/// A simulation that could not tell a change would pass the first test.
#[test]
fn the_simulation_sees_improvements_too() {
    let setting = Setting {
        steps: 0.8,
        sittings: 0.02,
        ..TWO
    };
    let found = rates(setting, 50);
    println!("{found:?}");
    assert!(found.improved >= 15 && found.regressed == 0, "{found:?}");
}
